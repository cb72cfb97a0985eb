//! Runs seeds of the simulation on all cores; `--trace` replays one and prints what happened.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use sworm::core::fault::Fault;
use sworm_tests::sim::{Case, Outcome, Plot, Shape, each, run, run_planted};

/// Where the seeds that fail are kept.
const KEPT: &str = "target/failing-seeds.txt";

/// Simulates clusters: seed after seed, with faults of network, disks, clocks and processes.
#[derive(Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Nodes of each cluster.
    #[arg(long, default_value_t = Shape::SMALL.nodes, value_parser = clap::value_parser!(u8).range(1..=50).map(usize::from))]
    nodes: usize,
    /// Names that are used.
    #[arg(long, default_value_t = Shape::SMALL.names, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    names: u64,
    /// What happens, instead of what each seed says: --list-plots lists it.
    #[arg(long, value_name = "NAME", value_parser = plot)]
    plot: Option<Plot>,
    /// Runs the first seed only, and prints what happens.
    #[arg(long)]
    trace: bool,
    /// Plants a fault in the library's code.
    #[arg(long, value_name = "NAME", value_parser = fault)]
    fault: Option<Fault>,
    /// Lists the faults that can be planted.
    #[arg(long)]
    list_faults: bool,
    /// Lists the plots.
    #[arg(long)]
    list_plots: bool,
}

use clap::builder::TypedValueParser as _;

fn fault(name: &str) -> Result<Fault, String> {
    let found = Fault::ALL.iter().find(|fault| fault.name() == name);
    found.copied().ok_or_else(|| format!("there is no fault {name:?}; --list-faults lists them"))
}

fn plot(name: &str) -> Result<Plot, String> {
    let mut all = Plot::ALL.into_iter().chain([Plot::Random]);
    all.find(|plot| format!("{plot:?}") == name)
        .ok_or_else(|| format!("there is no plot {name:?}; --list-plots lists them"))
}

#[expect(clippy::print_stdout, reason = "a command line program")]
fn main() -> ExitCode {
    let options = Options::parse();
    if options.list_faults {
        for fault in Fault::ALL {
            println!("{:24} {}", fault.name(), fault.about());
        }
        return ExitCode::SUCCESS;
    }
    if options.list_plots {
        Plot::ALL.iter().chain([&Plot::Random]).for_each(|plot| println!("{plot:?}"));
        return ExitCode::SUCCESS;
    }
    let shape = Shape { nodes: options.nodes, names: options.names };
    let case = |seed: u64| {
        let chosen = Case::of(seed, shape);
        Case { plot: options.plot.unwrap_or(chosen.plot), ..chosen }
    };
    let one = |case: Case, traced: bool| match options.fault {
        Some(fault) => run_planted(case, traced, fault),
        None => run(case, traced),
    };
    // A panic is a violation, and is told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    if options.trace {
        let case = case(options.from);
        let outcome = one(case, true);
        println!("{}", outcome.options);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        return verdict(&[(case, outcome)], options.fault);
    }
    let bar = ProgressBar::new(options.seeds).with_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {msg} violations, {elapsed} of {duration}")
            .expect("a valid template"),
    );
    bar.set_message("0");
    let failed = Mutex::new(Vec::new());
    let (simulated_ms, messages) = (AtomicU64::new(0), AtomicU64::new(0));
    each(options.from..options.from.saturating_add(options.seeds), |seed| {
        let case = case(seed);
        let outcome = one(case, false);
        simulated_ms.fetch_add(outcome.took_ms, Relaxed);
        messages.fetch_add(outcome.messages, Relaxed);
        if outcome.violation.is_some() {
            let mut failed = failed.lock().expect("nobody panics with it");
            failed.push((case, outcome));
            bar.set_message(failed.len().to_string());
        }
        bar.inc(1);
        ControlFlow::Continue(())
    });
    bar.finish();
    let hours = simulated_ms.into_inner() / 3_600_000;
    println!("{} seeds: {hours} cluster-hours, {} messages", options.seeds, messages.into_inner());
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort_by_key(|(case, _)| case.seed);
    verdict(&failed, options.fault)
}

#[expect(clippy::print_stdout, reason = "a command line program")]
fn verdict(outcomes: &[(Case, Outcome)], planted: Option<Fault>) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (case, outcome) in outcomes {
        let Some(violation) = &outcome.violation else { continue };
        code = ExitCode::FAILURE;
        let (replay, Case { seed, shape: Shape { nodes, names }, plot }) = (case.command(planted), case);
        println!("\nseed {seed}: {violation}\n  {}\n  {replay}", outcome.options);
        if planted.is_none() {
            keep(&format!("{seed} {nodes} {names} {plot:?}"));
        }
    }
    code
}

/// Keeps a failing seed beside the others, once.
#[expect(clippy::print_stderr, reason = "a command line program")]
fn keep(line: &str) {
    let known = std::fs::read_to_string(KEPT).unwrap_or_default();
    if known.lines().any(|known| known == line) {
        return;
    }
    let written = OpenOptions::new().create(true).append(true).open(KEPT).and_then(|mut kept| writeln!(kept, "{line}"));
    if let Err(error) = written {
        eprintln!("the seed could not be kept in {KEPT}: {error}");
    }
}
