//! The command line, and the faults that it asks for.

use std::collections::VecDeque;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind, value_parser};

/// Counts flights per aircraft with one worker each, on node processes that come and go, and compares the result with
/// a plain count.
#[derive(Parser)]
#[command(name = "flights", args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What this program is started as by itself.
#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(hide = true)]
    Node(NodeArgs),
}

/// The options of a run.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// A CSV file, plain or gzipped, with the columns tailnum, dep_delay and distance [default: 27,004 flights of
    /// January 2013]
    #[arg(long, value_name = "FILE")]
    pub(crate) data: Option<PathBuf>,
    /// How many nodes to begin with
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=50))]
    pub(crate) nodes: u32,
    /// When this row is sent, the node with most workers leaves in good order (repeatable)
    #[arg(long, value_name = "ROW", value_parser = value_parser!(u64).range(1..))]
    pub(crate) leave_at: Vec<u64>,
    /// When this row is sent, one more node joins (repeatable)
    #[arg(long, value_name = "ROW", value_parser = value_parser!(u64).range(1..))]
    pub(crate) join_at: Vec<u64>,
    /// When this row is sent, the node with most workers is killed with SIGKILL (repeatable)
    #[arg(long, value_name = "ROW", value_parser = value_parser!(u64).range(1..))]
    pub(crate) kill_at: Vec<u64>,
    /// When this row is sent, every node is killed with SIGKILL and started again on its data (repeatable)
    #[arg(long, value_name = "ROW", value_parser = value_parser!(u64).range(1..))]
    pub(crate) restart_at: Vec<u64>,
    /// Where to write tailnum,flights,cancelled,distance,dep_delay per aircraft, sorted by tail number
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Where the nodes keep their stores and logs, in a new directory that stays [default: a temporary one]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) dir: Option<PathBuf>,
    /// Sends this row with a mile too many: the run must end with a difference (for the tests)
    #[arg(long, value_name = "ROW", hide = true)]
    pub(crate) falsify: Option<u64>,
}

/// What a node process is started with.
#[derive(Args)]
pub(crate) struct NodeArgs {
    #[arg(long)]
    pub(crate) id: String,
    #[arg(long)]
    pub(crate) cluster: String,
    #[arg(long)]
    pub(crate) store: PathBuf,
    #[arg(long)]
    pub(crate) listen: String,
    #[arg(long)]
    pub(crate) join: Vec<String>,
}

/// What can happen to the nodes. Those of one row happen in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Join,
    Leave,
    Kill,
    Restart,
}

impl Fault {
    fn option(self) -> &'static str {
        match self {
            Self::Join => "--join-at",
            Self::Leave => "--leave-at",
            Self::Kill => "--kill-at",
            Self::Restart => "--restart-at",
        }
    }
}

impl RunArgs {
    /// The faults by row. Ends the program, as wrong usage, when one cannot be.
    pub(crate) fn schedule(&self, rows: u64) -> VecDeque<(u64, Fault)> {
        self.checked_schedule(rows).unwrap_or_else(|why| Cli::command().error(ErrorKind::ValueValidation, why).exit())
    }

    fn checked_schedule(&self, rows: u64) -> Result<VecDeque<(u64, Fault)>, String> {
        let of = |fault: Fault, at: &[u64]| at.iter().map(|row| (*row, fault)).collect::<Vec<_>>();
        let mut faults = of(Fault::Join, &self.join_at);
        faults.extend(of(Fault::Leave, &self.leave_at));
        faults.extend(of(Fault::Kill, &self.kill_at));
        faults.extend(of(Fault::Restart, &self.restart_at));
        faults.sort_unstable();
        let mut nodes = self.nodes;
        for (row, fault) in &faults {
            let option = fault.option();
            if *row > rows {
                return Err(format!("{option} {row}: the file has {rows} rows"));
            }
            match fault {
                Fault::Join => nodes += 1,
                Fault::Restart => {}
                Fault::Leave | Fault::Kill if nodes == 1 => {
                    return Err(format!(
                        "{option} {row}: only one node is there by then, and nobody could take over its workers"
                    ));
                }
                Fault::Leave | Fault::Kill => nodes -= 1,
            }
        }
        Ok(faults.into())
    }
}
