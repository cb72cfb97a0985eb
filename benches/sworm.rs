//! The bench program: runs all benches or one, prints a table, writes `target/sworm-bench.json`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use clap::{Parser, Subcommand};
use sworm::BoxError;
use sworm_benches::{Run, known, run, serve, table, write};

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
    // Cargo passes `--bench`, which is no option of ours.
    let options = Options::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    if options.part.is_some() {
        return serve().await;
    }
    let wanted: Vec<String> = options.bench.map_or_else(|| known().map(String::from).collect(), |one| vec![one]);
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for bench in wanted {
        eprintln!("{bench} …");
        // What the others measure is worth as much.
        if let Err(error) = run(&bench, Run { quick: options.quick }, &mut rows).await {
            eprintln!("{bench} failed: {error}");
            failed.push(bench);
        }
    }
    if !rows.is_empty() {
        println!("{}", table(&rows));
        println!("{}", write(&rows)?.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these benches failed: {}", failed.join(", ")).into()) }
}
