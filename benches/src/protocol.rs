//! What a node process is asked: a line of JSON for each command, and one for each answer.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A command and the number of its answer.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) command: Command,
}

/// An answer, or why there is none.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) result: Result<Value, String>,
}

/// What a process is asked to do; names are told by their numbers.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) enum Command {
    /// Start a node and open the sworm of all benches. Answers where it listens.
    Start(NodeSpec),
    /// The ids of the nodes that take part in the sworm.
    Nodes,
    /// Watch this node's directory for the names in `..count` from now on, for [`Command::Watched`].
    Watch { count: usize },
    /// All are registered. Wait until all the names that are watched for run, and answer when this node knew of the last one,
    /// on the shared clock.
    Watched,
    /// Register the names in `first..end` by so many callers. Answers with [`Filled`].
    Fill { kind: Kind, first: usize, end: usize, callers: usize, on: Option<String> },
    /// Wait until this node knows that the names in `..count` run, and answer the time on the shared clock.
    Hold { count: usize },
    /// Remember which of the names in `..count` run on a node. Answers how many.
    Mark { count: usize, on: String },
    /// Wait until a node is down and every name that was marked answers. Answers with [`Failover`].
    Recovered { gone: String },
    /// Wait until all these nodes are up, and answer the time on the shared clock.
    AllUp { ids: Vec<String> },
    /// How many of the names in `..count` run, how many of them here, and a hash of who runs where.
    Digest { count: usize },
    /// Give each of the names in `..count` its state, or check that it has it.
    States { count: usize, check: bool },
    /// Look names up that run on other nodes, for that long. Answers with [`LookUps`].
    LookUp { count: usize, readers: usize, time: Duration },
    /// Call workers of names that run on one node. Answers with a `Load`.
    Call { count: usize, on: String, callers: usize, time: Duration },
    /// The same over channels of tokio's to so many tasks, without Sworm.
    CallChannel { tasks: usize, callers: usize, time: Duration },
    /// Change the states of workers, of one for each caller.
    Save { callers: usize, time: Duration },
    /// Leave in good order. Answers the seconds that it took.
    Leave,
    /// Stop the node.
    Close,
    /// Put the names in `..count` into a plain map, which stays.
    Map { count: usize },
    /// Answer messages and queries of zenoh's, without Sworm.
    EchoZenoh { config: String },
    /// Send everything back that comes over TCP. Answers the address.
    EchoTcp,
}

/// How to start a node.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct NodeSpec {
    pub(crate) id: String,
    pub(crate) cluster: String,
    pub(crate) store: Option<PathBuf>,
    /// Whether registrations are acknowledged before they are on the disk.
    pub(crate) ack_in_memory: bool,
    pub(crate) client: bool,
    pub(crate) listen: String,
    pub(crate) advertise: Vec<String>,
    pub(crate) join: Vec<String>,
    /// A configuration of zenoh's.
    pub(crate) zenoh: Option<String>,
}

/// A worker type.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub(crate) enum Kind {
    Keeper,
    Saver,
}

/// Names were registered.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub(crate) struct Filled {
    pub(crate) seconds: f64,
    /// When the last registration returned, on the shared clock.
    pub(crate) at: f64,
}

/// A node was lost and its workers are back.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub(crate) struct Failover {
    /// When it was taken for down, on the shared clock.
    pub(crate) down: f64,
    /// When the last name answered.
    pub(crate) answered: f64,
}

/// What a look-up takes, in nanoseconds.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub(crate) struct LookUps {
    pub(crate) sworm_ns: f64,
    pub(crate) map_ns: f64,
}

/// What a node knows of some names.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) running: usize,
    pub(crate) here: usize,
    pub(crate) hash: u64,
}
