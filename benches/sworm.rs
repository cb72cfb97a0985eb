//! The bench program: runs all benches or one, prints a table, writes `target/sworm-bench.json`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::future::ready;
use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use futures_util::{StreamExt, stream};
use sworm::BoxError;
use sworm_benches::{Run, SERVE, Size, known, run, serve, table, write};
use tokio::time::timeout;

/// So many benches are tested at a time.
const TOGETHER: usize = 4;
/// No test takes longer, however busy the machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Measures Sworm, each time beside a baseline.
#[derive(Parser)]
struct Options {
    /// Only this bench.
    #[arg(value_parser = PossibleValuesParser::new(known()))]
    bench: Option<String>,
    /// A short run.
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `cargo bench` passes `--bench`, which is no option of ours; `cargo test` passes what a test harness takes.
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    if arguments.get(1).is_some_and(|first| first == SERVE) {
        return serve().await;
    }
    let by_cargo = std::env::var_os("CARGO_MANIFEST_DIR").is_some();
    if by_cargo && arguments.len() == std::env::args().len() {
        return test(&arguments[1..]).await;
    }
    let options = Options::parse_from(arguments);
    let size = if options.quick { Size::Quick } else { Size::Full };
    let wanted: Vec<String> = options.bench.map_or_else(|| known().map(String::from).collect(), |one| vec![one]);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for bench in wanted {
        eprintln!("{bench} …");
        // What the others measure is worth as much.
        if let Err(error) = run(&bench, Run(size), &mut rows).await {
            eprintln!("{bench} failed: {error}");
            failed.push(bench);
        }
    }
    if !rows.is_empty() {
        println!("{}", table(&rows));
        println!("{}", write(&rows, "sworm-bench.json")?.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these benches failed: {}", failed.join(", ")).into()) }
}

/// As a test harness with a test for each bench: whether it works, not how fast.
async fn test(arguments: &[String]) -> Result<(), BoxError> {
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |test: &str| filters.is_empty() || filters.iter().any(|filter| test.contains(filter.as_str()));
    let mut benches: Vec<_> =
        known().filter(|bench| !has("--ignored") && is_wanted(&format!("smoke_{bench}"))).collect();
    if has("--list") {
        benches.drain(..).for_each(|bench| println!("smoke_{bench}: test"));
    }
    let running = benches.into_iter().map(|bench| async move {
        let started = Instant::now();
        match smoke(bench).await {
            Ok(()) => println!("test smoke_{bench} ... ok ({:.1?})", started.elapsed()),
            Err(why) => {
                println!("test smoke_{bench} ... FAILED\n{why}");
                return false;
            }
        }
        true
    });
    // Much of it is waiting. What the others say is worth as much as the first failure.
    let all = stream::iter(running).buffer_unordered(TOGETHER);
    match all.filter(|is_ok| ready(!is_ok)).count().await {
        0 => Ok(()),
        failed => {
            println!("test result: FAILED. {failed} failed");
            Err(format!("{failed} of them failed").into())
        }
    }
}

/// Runs a bench in a task of its own. Now and then zenoh blocks the thread that calls it, and tokio takes the wake-up that comes
/// meanwhile for what is blocked on: within the future of `main`, that would be one that the other benches wait for.
async fn smoke(bench: &'static str) -> Result<(), BoxError> {
    let mut task = tokio::spawn(async move {
        let mut rows = Vec::new();
        run(bench, Run(Size::Smoke), &mut rows).await?;
        if rows.is_empty() { Err("nothing was measured".into()) } else { Ok(()) }
    });
    match timeout(LIMIT, &mut task).await {
        Ok(ended) => ended?,
        Err(_) => {
            task.abort();
            Err(format!("it was not over after {LIMIT:?}").into())
        }
    }
}
