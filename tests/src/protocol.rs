//! What a test and a node process say to each other, a line of JSON each.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::iter::Sum;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sworm::{Incarnation, Pid};

mod losses;
mod moves;
mod operating;
mod workers;

pub use self::losses::Loss;
pub use self::moves::{Balance, Emptied, Moving, Planned};
pub use self::operating::{Considered, Explained, Happened, Operating, Voting};
pub use self::workers::{Kind, Say};

/// A command; answers carry its id and come in any order.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// The id.
    pub id: u64,
    /// The command.
    pub command: Command,
}

/// What came of a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The command's id.
    pub id: u64,
    /// The result.
    pub result: Result<Value, Failure>,
}

/// An error of the library, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The variant's name.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// The pid in it, if there is one.
    pub pid: Option<Pid>,
    /// Whether the outcome is unknown.
    pub unknown: bool,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// A node to start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its id.
    pub id: String,
    /// The cluster.
    pub cluster: String,
    /// Its directory; none keeps everything in memory.
    pub store: Option<PathBuf>,
    /// What kind of store is in it.
    pub store_kind: String,
    /// Where it listens.
    pub listen: Vec<String>,
    /// Whom it joins.
    pub join: Vec<String>,
    /// Whether it is a client.
    pub client: bool,
    /// Where the others are told to reach it, if not where it listens.
    pub advertise: Vec<String>,
    /// A zenoh configuration.
    pub zenoh: Option<String>,
    /// How long it waits for those that were there before, if that is said.
    pub recover_wait_ms: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many shares of the names it takes, if not one.
    pub weight: Option<u32>,
}

/// How a sworm in mode "majority" is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Majority {
    /// How many nodes found it.
    pub expect_nodes: usize,
    /// Its lease.
    pub lease_ms: u64,
}

/// What a node can be told.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the library's functions")]
pub enum Command {
    Start(NodeSpec),
    Open {
        sworm: String,
        handoff: Option<bool>,
        majority: Option<Majority>,
        balance: Option<Balance>,
        distribution: Option<String>,
    },
    Moving(Moving),
    Operating(Operating),
    Typed {
        sworm: String,
        command: TypedCommand,
    },
    Unregister {
        sworm: String,
        name: String,
    },
    Find {
        sworm: String,
        name: String,
    },
    Registered {
        sworm: String,
    },
    /// The nodes that have a name's newest state.
    Holders {
        sworm: String,
        name: String,
    },
    GroupMembers {
        sworm: String,
        group: String,
    },
    Attach {
        sworm: String,
        name: String,
    },
    Detach {
        name: String,
    },
    AwaitInboxEnd {
        name: String,
    },
    CallInbox {
        sworm: String,
        name: String,
        n: i64,
    },
    Members,
    SwormNodes {
        sworm: String,
    },
    Census {
        sworm: String,
    },
    Living {
        sworm: String,
    },
    /// Makes the node lose something of a worker that it runs.
    Lose {
        sworm: String,
        name: String,
        what: Loss,
    },
    Leave,
    Close,
    /// Waits until the node has stopped; answers why, if it did so by itself.
    Stopped,
    /// Carries it out, answers, and aborts the process at once.
    ThenDie(Box<Command>),
}

/// What a node can be told about workers of one type.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the library's functions")]
pub enum TypedCommand {
    Register {
        kind: Kind,
        name: String,
        value: i64,
        on: Option<String>,
        within_ms: Option<u64>,
        metadata: BTreeMap<String, String>,
    },
    /// Registers counters with all these values at once.
    Race {
        name: String,
        values: Vec<i64>,
    },
    FindTyped {
        kind: Kind,
        name: String,
    },
    FindOrRegister {
        kind: Kind,
        name: String,
        value: i64,
    },
    Call {
        kind: Kind,
        name: String,
        say: Say,
        within_ms: Option<u64>,
    },
    Cast {
        kind: Kind,
        name: String,
        say: Say,
    },
    /// Registers all these names at once; answers with those that failed.
    RegisterAll {
        kind: Kind,
        names: Vec<String>,
    },
    /// Adds to all these at once; answers their totals.
    AddAll {
        kind: Kind,
        names: Vec<String>,
        n: i64,
    },
    Join {
        kind: Kind,
        group: String,
        name: String,
    },
    LeaveGroup {
        kind: Kind,
        group: String,
        name: String,
    },
    /// Adds to all counters in a group; answers their totals, by name.
    AddToGroup {
        group: String,
        n: i64,
    },
    /// Publishes the same; answers to how many.
    PublishToGroup {
        group: String,
        n: i64,
    },
}

/// A node that has started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Started {
    /// Where it listens.
    pub endpoints: Vec<String>,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

/// A look-up's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `sworm::Registration`")]
pub struct Found {
    pub name: String,
    pub pid: Pid,
    pub worker_type: String,
    pub state: String,
    pub metadata: BTreeMap<String, String>,
    pub groups: BTreeSet<String>,
    pub attached: bool,
}

/// What a node's directory says and what really lives in its process, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// The names that are registered and run, by their pids.
    pub running: Digest,
    /// Those that are registered and do not run.
    pub idle: usize,
    /// Those of which `whereis` says something else than `registered`.
    pub odd: usize,
    /// The workers that exist in this process, whatever the library says.
    pub living: Digest,
}

/// A set of pids in short: equal sets, equal digests. Those of disjoint sets can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// How many.
    pub count: usize,
    /// The sum of their hashes.
    pub sum: u64,
}

impl Digest {
    /// The digest of these.
    pub fn of<'a>(pids: impl IntoIterator<Item = &'a Pid>) -> Self {
        let one = |pid: &Pid| Self { count: 1, sum: BuildHasherDefault::<DefaultHasher>::new().hash_one(pid) };
        pids.into_iter().map(one).sum()
    }
}

impl Sum for Digest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        digests.fold(Self::default(), |a, b| Self { count: a.count + b.count, sum: a.sum.wrapping_add(b.sum) })
    }
}

/// A node as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `sworm::Member`")]
pub struct Seen {
    pub id: String,
    pub incarnation: Incarnation,
    pub state: String,
}
