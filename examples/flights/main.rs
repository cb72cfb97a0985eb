//! 27,004 real flights, one worker per aircraft, three node processes: every row that names its aircraft is a call, and
//! whatever happens to the nodes meanwhile, every aircraft's worker ends up with the count that a plain loop over the
//! file has.
//!
//! ```text
//! cargo run --release --example flights
//! cargo run --release --example flights -- --kill-at 9000 --join-at 12000 --leave-at 15000 --restart-at 20000
//! ```
//!
//! This process feeds the rows; it starts the nodes as children of its own program and talks to them through pipes.
//!
//! - `aircraft`: the worker and its messages, which is all that a service would write
//! - `node`: what a node process does
//! - `feeder`, `delivery`: rows to workers, each until its outcome is known
//! - `faults`, `cluster`, `process`: nodes that leave, join, are killed and are started again
//! - `data`, `tally`, `report`: the file, the count to compare with, the tables
#![allow(clippy::print_stdout, clippy::print_stderr)] // a command line program

mod aircraft;
mod args;
mod cluster;
mod data;
mod delivery;
mod faults;
mod feeder;
mod node;
mod process;
mod progress;
mod report;
mod run;
mod tally;

use std::process::ExitCode;

use clap::Parser;
use sworm::BoxError;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Off unless RUST_LOG asks for it; on stderr, since stdout is for the tables and the children's lines.
    tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Some(Command::Node(node)) => node::run(node).await.map(|()| true),
            None => run::run(cli.run).await,
        }
    });
    // Not dropped: a thread that waits for a line on stdin would hold it up.
    runtime.shutdown_background();
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

fn failed(error: &BoxError) -> ExitCode {
    eprintln!("flights: {error}");
    ExitCode::FAILURE
}
