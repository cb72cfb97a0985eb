//! Moves of workers: the commands, and what comes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Step;

/// What a node can be told about moves.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the library's functions")]
pub enum Moving {
    MoveName {
        sworm: String,
        name: String,
        to: String,
    },
    PlanRebalance {
        sworm: String,
    },
    Rebalance {
        sworm: String,
    },
    PlanDrain {
        sworm: String,
        node: String,
    },
    Drain,
    Undrain,
    /// Stops the node's work right before a step of a name's next move that it does, or right after it.
    Hold {
        sworm: String,
        name: String,
        step: Step,
        before: bool,
    },
    /// Waits until it has come to that.
    Held,
    /// Lets it go on.
    LetGo,
}

/// Whether names move for balance; without it they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the values of `sworm::Rebalance`")]
pub enum Balance {
    On,
    Manual,
}

/// A move that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `sworm::PlannedMove`")]
pub struct Planned {
    pub name: String,
    pub from: String,
    pub to: Result<String, String>,
}

/// What came of emptying a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emptied {
    /// How many workers have gone.
    pub moved: u64,
    /// The names that are still there, and why.
    pub stays: BTreeMap<String, String>,
}
