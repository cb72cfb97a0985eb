//! Of what a sworm is asked for.

use std::time::Duration;

use crate::core::ids::{NodeId, Pid};

/// Why a name was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody has the name, whether its worker runs, or ran before and is being started again. Nothing was changed.
    #[error("{} is registered already, as {pid}", .pid.name)]
    AlreadyRegistered {
        /// Who has it.
        pid: Pid,
        /// Of which type.
        worker_type: String,
    },
    /// A worker of another type has the name (`whereis_or_register_name` only). Nothing was changed.
    #[error("{name:?} is registered with worker type {found:?}, not {expected:?}")]
    WrongType {
        /// The name.
        name: String,
        /// The type that has it.
        found: String,
        /// The type that was asked for.
        expected: String,
    },
    /// Its worker has failed and is not started again by itself (`whereis_or_register_name` only:
    /// [`register_name`](crate::Sworm::register_name) replaces it). Nothing was changed: see
    /// [`Sworm::restart_name`](crate::Sworm::restart_name).
    #[error("the worker of {name:?} has failed: {reason}")]
    Failed {
        /// The name.
        name: String,
        /// Why it failed.
        reason: String,
    },
    /// The name is empty or longer than 512 bytes. Nothing was changed.
    #[error("a name has 1 to 512 bytes; this one has {bytes}")]
    BadName {
        /// Its length.
        bytes: usize,
    },
    /// The value could not be encoded, or is larger than 1 MiB encoded. Nothing was changed.
    #[error("the value cannot be registered: {why}")]
    BadValue {
        /// Why.
        why: String,
    },
    /// There are more than 64 entries of metadata, a key does not have 1 to 255 bytes, or all of it is larger than 16 KiB. Nothing
    /// was changed.
    #[error("the metadata cannot be registered: {why}")]
    BadMetadata {
        /// What is wrong and what is allowed.
        why: String,
    },
    /// The worker's type says how its states are saved, and in this sworm they are not: give the type `handoff`, `snapshot` or
    /// `every`, open the sworm with [`handoff`](crate::SwormSpec::handoff), or leave that attribute out. Nothing was changed.
    #[error(
        "worker type {worker_type:?} has `{option}`, and in sworm {sworm:?} its state is not saved; add `handoff`, or leave `{option}` out"
    )]
    NothingSaved {
        /// The worker type.
        worker_type: String,
        /// The attribute that has no meaning: `durable` or `replicas`.
        option: &'static str,
        /// The sworm.
        sworm: String,
    },
    /// The worker's `started` returned an error or panicked. There is no name, nor will there be one when all have lost their
    /// power the moment after: that is on two disks by then, as it is when
    /// [a name is unregistered](crate::Sworm::unregister_name). Only nodes that are cut off, and have heard of that start but not
    /// of its end, may try it once more (mode "available"); when the cut heals that is over.
    #[error("the worker could not start: {reason}")]
    StartFailed {
        /// What the worker said.
        reason: String,
    },
    /// The worker's `started` did not return in time. There is no name, as with [`StartFailed`](Self::StartFailed).
    #[error("the worker did not start in time")]
    StartTimedOut,
    /// No node may run the worker. Nothing was changed.
    #[error("{why}")]
    NoCandidate {
        /// What is missing where.
        why: String,
    },
    /// The deciding node does not link the distribution strategy. Nothing was changed.
    #[error("node {node} decides about this name and does not link the distribution strategy {name:?}; it knows {}", .known.join(", "))]
    UnknownStrategy {
        /// The strategy.
        name: String,
        /// The node that decides.
        node: NodeId,
        /// What it knows.
        known: Vec<String>,
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
    /// The time is over. **Unknown outcome**: the name may be registered or become so; look it up.
    #[error("no answer within {after:?}; the name may be registered or not")]
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

/// Why a name was not unregistered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnregisterError {
    /// Nobody has the name. Nothing was changed, and there is nothing to do.
    #[error("{name:?} is not registered")]
    NotRegistered {
        /// The name.
        name: String,
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
    /// The time is over. **Unknown outcome**: ask again.
    #[error("no answer within {after:?}; the name may be unregistered or not")]
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

/// Why a worker that has failed was not started again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// Nobody has the name. Nothing was changed; register it.
    #[error("{name:?} is not registered")]
    NotRegistered {
        /// The name.
        name: String,
    },
    /// No node may run the worker. Nothing was changed.
    #[error("{why}")]
    NoCandidate {
        /// What is missing where.
        why: String,
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
    /// The time is over. **Unknown outcome**: a start that fails is tried again, with back-off, and a node that holds the
    /// state may be away. Asking again is safe.
    #[error("no answer within {after:?}; the worker may be starting or not")]
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

/// Why a group was not joined or left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
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
    /// The group's name is empty or longer than 255 bytes. Nothing was changed.
    #[error("a group's name has 1 to 255 bytes; this one has {bytes}")]
    BadGroup {
        /// Its length.
        bytes: usize,
    },
    /// The name is in as many groups as it can be in. Nothing was changed: leave one first.
    #[error("{name:?} is in {limit} groups, and can be in no more")]
    TooManyGroups {
        /// The name.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// A worker with `snapshot = "each"` has changed the group, and its code has sent so much since its state was durable last that
    /// no more is held back: see [`Snapshots::Each`](crate::Snapshots::Each). Nothing was changed.
    #[error("the worker has sent so much that no more is held back until its state is durable")]
    Overloaded,
    /// This node has no majority, or there is none yet (mode "majority" only): see [`Mode::Majority`](crate::Mode::Majority).
    /// Nothing was changed; ask again when it is back.
    #[error("no majority: {why}")]
    NoMajority {
        /// How many voters are heard of.
        why: String,
    },
    /// The time is over. Unknown outcome; asking again is safe.
    #[error("no answer within {after:?}; the group may be changed or not")]
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
