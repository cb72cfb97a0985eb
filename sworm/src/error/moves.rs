//! Of moves, and of the list of voters.

use std::time::Duration;

use crate::core::draining::Drained;
use crate::core::ids::NodeId;

/// Why a name was not moved, or a node not emptied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MoveError {
    /// Nobody has the name. Nothing was changed.
    #[error("{name:?} is not registered")]
    NotRegistered {
        /// The name.
        name: String,
    },
    /// Its worker has failed and is not started again by itself. Nothing was changed: see
    /// [`Sworm::restart_name`](crate::Sworm::restart_name).
    #[error("the worker of {name:?} has failed: {reason}")]
    Failed {
        /// The name.
        name: String,
        /// Why it failed.
        reason: String,
    },
    /// It cannot run there: `why` says what each node lacks. It goes on where it is.
    #[error("{why}")]
    NoCandidate {
        /// What is missing where.
        why: String,
    },
    /// Its state could not be saved: it is too large, or its type failed to encode it, or did not give it in time. It goes on
    /// where it is, with its state (one that does not come back from [`Handoff::save`](crate::Handoff::save) at all: see there); ask
    /// again when it can be saved.
    #[error("the state could not be saved: {why}")]
    NotSaved {
        /// What is wrong.
        why: String,
    },
    /// The sworm was opened without [`Rebalance::On`](crate::Rebalance::On) or
    /// [`Rebalance::Manual`](crate::Rebalance::Manual). Nothing was changed.
    #[error("sworm {sworm:?} was opened with rebalance = \"off\"")]
    RebalanceIsOff {
        /// The sworm.
        sworm: String,
    },
    /// This node has no majority, or there is none yet (mode "majority" only): see [`Mode::Majority`](crate::Mode::Majority).
    /// Nothing was changed; ask again when it is back.
    #[error("no majority: {why}")]
    NoMajority {
        /// How many voters are heard of.
        why: String,
    },
    /// It is a worker with `snapshot = "each"` that asks, and its own state is too large to be saved: what it would show by that
    /// might be lost. Nothing was changed, nor will it be until its state is small enough again.
    #[error("the state of the worker that asks has {bytes} bytes; at most {limit} are saved")]
    CallerTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of its node: [`NodeBuilder::snapshot_limit`](crate::NodeBuilder::snapshot_limit).
        limit: usize,
    },
    /// The time is over. The worker runs, here or there, or is being started there, again and again where that fails; asking
    /// again is safe.
    #[error("no answer within {after:?}; it may have moved or not")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The time is over, and the node is not empty ([`Node::drain`](crate::Node::drain) only). The rest goes on moving;
    /// asking again is safe.
    #[error("not empty after {after:?}: {} have moved, {} are still there", .drained.moved, .drained.stays.len())]
    NotEmptied {
        /// How long was waited.
        after: Duration,
        /// What has moved by then, and what has not, and why.
        drained: Drained,
    },
    /// [`Node::undrain`](crate::Node::undrain) was called before the caller of [`Node::drain`](crate::Node::drain) had its
    /// answer. The node takes part as before, and nothing more is moved because of that call.
    #[error("undrained meanwhile: {} had moved, {} were still there", .drained.moved, .drained.stays.len())]
    Undrained {
        /// What had moved by then, and what had not, and why.
        drained: Drained,
    },
    /// The node has stopped. Unknown outcome.
    #[error("the node has stopped")]
    Stopped,
    /// The node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped). Unknown
    /// outcome.
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}

/// Why the list of voters was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VotersError {
    /// The sworm was opened in mode "available", which has no voters. Nothing was changed.
    #[error("sworm {sworm:?} was not opened with mode = \"majority\"")]
    NotMajority {
        /// The sworm.
        sworm: String,
    },
    /// The voter to be added is not there, or of the new list no majority is: with it the sworm would stand still. That was waited
    /// for, for 5 s. Nothing was changed; ask again when they are there.
    #[error("the voters were not changed: {why}")]
    NotThere {
        /// Who is missing.
        why: String,
    },
    /// The last voter cannot be taken away. Nothing was changed.
    #[error("{node} is the last voter")]
    LastVoter {
        /// The voter.
        node: NodeId,
    },
    /// This node has no majority, or there is none yet (mode "majority" only): see [`Mode::Majority`](crate::Mode::Majority).
    /// Nothing was changed; ask again when it is back.
    #[error("no majority: {why}")]
    NoMajority {
        /// How many voters are heard of.
        why: String,
    },
    /// It is a worker with `snapshot = "each"` that asks, and its own state is too large to be saved: what it would show by that
    /// might be lost. Nothing was changed, nor will it be until its state is small enough again.
    #[error("the state of the worker that asks has {bytes} bytes; at most {limit} are saved")]
    CallerTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of its node: [`NodeBuilder::snapshot_limit`](crate::NodeBuilder::snapshot_limit).
        limit: usize,
    },
    /// The time is over. Unknown outcome; asking again is safe.
    #[error("no answer within {after:?}; the voters may be changed or not")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The node has stopped. Unknown outcome.
    #[error("the node has stopped")]
    Stopped,
    /// The node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped). Unknown
    /// outcome.
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}
