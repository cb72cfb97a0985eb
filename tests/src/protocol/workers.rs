//! The workers of a test node, and what they are told.

use serde::{Deserialize, Serialize};

/// The worker types of the test node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Counts; its state is handed over.
    Counter,
    /// The same, `restart = "temporary"`.
    Temporary,
    /// The same, `restart = "permanent"`.
    Permanent,
    /// The same without handoff.
    NoHandoff,
    /// Its start fails.
    Broken,
    /// Its start takes as many milliseconds as its value says.
    Slow,
    /// Its start waits until the gate is open, which [`crate::Cluster::open_gate`] does.
    Gated,
    /// Its start fails unless the gate is open.
    Moody,
    /// Counts; of version 2, where `test-node-bare` links version 1.
    Newer,
    /// Holds a lock of the system while it runs.
    Held,
    /// Counts, and is restarted at most twice, however long that takes.
    Twice,
    /// Counts, and runs only on nodes with the label `disk = fast`.
    Fast,
    /// Counts; `snapshot = "each"`.
    Each,
    /// The same with `durable = "local"`.
    EachLocal,
    /// Counts; its state is handed over, and its checkpoints are `durable = "local"`.
    Local,
    /// Counts; `snapshot = "5s"`.
    Paced,
    /// Counts; `every = 5`.
    EveryFive,
    /// Counts; its state is handed over, with two replicas.
    TwoReplicas,
    /// Counts; its state is handed over. The thousands of a state that it lacked are added to its own.
    Merging,
    /// Counts; its state is handed over. Panics where its name says: see `Rough` in the test node.
    Rough,
}

/// Messages to these workers.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Say {
    /// Adds; answers the total.
    Add(i64),
    /// Adds and makes that durable; answers the total.
    AddDurable(i64),
    /// Answers the total.
    Get,
    /// Answers the node that it runs on.
    Where,
    /// Panics.
    Crash,
    /// Ends `run` with an error.
    Fail,
    /// Stops normally.
    Stop,
    /// Is busy for as many milliseconds.
    Sleep(u64),
    /// Blocks its thread for ever.
    Block,
    /// Is busy until the gate is open.
    Wait,
}
