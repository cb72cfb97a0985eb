//! The bench program: runs all benches or one, prints a table, writes `target/sworm-bench.json`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::{Parser, Subcommand};
use sworm::BoxError;
use sworm_benches::{Run, known, run, serve, table, write};

/// The bench that `cargo test` runs for hardly any time: whether it works, not how fast.
const SMOKE: &str = "call";

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    /// Only the bench of this name.
    bench: Option<String>,
    /// A short run.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Subcommand)]
enum Part {
    /// A process that the benches start.
    #[command(hide = true)]
    Node,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // `cargo bench` passes `--bench`, which is no option of ours; `cargo test` passes what a test harness takes.
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    let is_part = arguments.get(1).is_some_and(|first| first == "node");
    if !is_part && arguments.len() == std::env::args().len() {
        return test(&arguments[1..]).await;
    }
    let options = Options::parse_from(arguments);
    if options.part.is_some() {
        return serve().await;
    }
    let wanted: Vec<String> = options.bench.map_or_else(|| known().map(String::from).collect(), |one| vec![one]);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for bench in wanted {
        eprintln!("{bench} …");
        // What the others measure is worth as much.
        if let Err(error) = run(&bench, Run { quick: options.quick, smoke: false }, &mut rows).await {
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

/// As a test harness with one test: `smoke`.
async fn test(arguments: &[String]) -> Result<(), BoxError> {
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let is_wanted =
        arguments.iter().filter(|argument| !argument.starts_with('-')).all(|filter| "smoke".contains(&**filter));
    if has("--ignored") || !is_wanted {
        return Ok(());
    }
    if has("--list") {
        println!("smoke: test");
        return Ok(());
    }
    let mut rows = Vec::new();
    run(SMOKE, Run { quick: true, smoke: true }, &mut rows).await?;
    if rows.is_empty() { Err("nothing was measured".into()) } else { Ok(()) }
}
