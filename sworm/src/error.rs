//! What can go wrong, one enum per operation.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::ids::{NodeId, Pid};
use crate::store::StoreError;
use crate::transport::TransportError;

/// A result with any of this library's errors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any of this library's errors, for functions that do several things.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A sworm could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A name could not be unregistered.
    #[error(transparent)]
    Unregister(#[from] UnregisterError),
    /// A group could not be joined or left.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A name was not moved, or a node not emptied.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// A call did not come back with a reply.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A state was not saved.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// A node did not leave in good order.
    #[error(transparent)]
    Leave(#[from] LeaveError),
}

/// Why [`NodeBuilder::start`](crate::NodeBuilder::start) failed. Nothing runs afterwards, and nothing on disk was changed
/// but what each variant says.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Neither a store nor memory was chosen. Say where the node keeps its names and states, or that it need not.
    #[error(
        "choose where node {node:?} keeps its names and states: `.store(\"some/directory\")`, or `.in_memory()` if they may be lost with the process"
    )]
    NoStore {
        /// The node.
        node: String,
    },
    /// The node's id is empty or longer than 128 bytes.
    #[error("a node's id has 1 to 128 bytes; {id:?} has {}", .id.len())]
    BadNodeId {
        /// What was given.
        id: String,
    },
    /// A node's weight is not from 1 to [`MAX_WEIGHT`](crate::MAX_WEIGHT). A node that runs nothing is a `client()`.
    #[error("a node's weight is 1 to {}, not {weight}", crate::MAX_WEIGHT)]
    BadWeight {
        /// What was given.
        weight: u32,
    },
    /// No worker of the node could start, or more at a time than can be counted.
    #[error("a node starts 1 or more workers at a time, up to {}; not {starts}", tokio::sync::Semaphore::MAX_PERMITS)]
    BadConcurrentStarts {
        /// What was given.
        starts: usize,
    },
    /// The cluster's name is empty or longer than 255 bytes.
    #[error("a cluster's name has 1 to 255 bytes; {name:?} has {}", .name.len())]
    BadClusterName {
        /// What was given.
        name: String,
    },
    /// The data directory could not be used. Its variants say why.
    #[error("the data directory cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The data directory belongs to another node or cluster. Give each node a directory of its own.
    #[error("the data directory {} belongs to {theirs}, not to {ours}; give each node a directory of its own", .path.display())]
    ForeignStore {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
        /// Who asked.
        ours: String,
    },
    /// The data directory was written by a newer version of this library. Use that version.
    #[error("the data directory {} has format {found}, and this version reads up to {known}; use the version that wrote it", .path.display())]
    NewerStore {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// The network could not be used. Its variants say why. What is wrong with the arguments is found before the data
    /// directory is touched; if the network itself fails after that, the directory is this node's by then.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// The library was built without its feature `zenoh`, and without `memory_network` there is nothing to connect by.
    #[error("choose `.memory_network(..)`, or build sworm with its feature `zenoh`, which is on by default")]
    NoNetwork,
    /// `memory_network` was used together with `listen`, `advertise`, `join` or `zenoh`. Choose one network.
    #[error("choose one network: `.memory_network(..)`, or `.listen(..)`, `.join(..)` and `.zenoh(..)`")]
    TwoNetworks,
    /// Another living node has this id. Give each node an id of its own. The data directory is this node's by then.
    #[error("another node with the id {node:?} is running in this cluster; give each node an id of its own")]
    IdTaken {
        /// The id.
        node: NodeId,
    },
    /// Two plugins of one kind have one name. Rename one.
    #[error("two plugins are named {name:?}: {first} and {second}; rename one")]
    DuplicatePlugin {
        /// The name.
        name: String,
        /// Where the first was registered.
        first: String,
        /// Where the second was registered.
        second: String,
    },
    /// No store of that kind is linked. Link its crate (`use the_crate as _;`), or use a known one.
    #[error("the kind of store {name:?} is not linked; known are {}", .known.join(", "))]
    UnknownStore {
        /// The kind.
        name: String,
        /// What is linked.
        known: Vec<String>,
    },
    /// Two worker types have one name. Rename one.
    #[error("two worker types are named {name:?}: {first} and {second}; set `#[worker(name = \"…\")]` on one")]
    DuplicateWorkerType {
        /// The name.
        name: String,
        /// Where the first was derived.
        first: String,
        /// Where the second was derived.
        second: String,
    },
    /// A worker type's attribute names a strategy that is not linked. Link its crate (`use the_crate as _;`), or use a
    /// known one.
    #[error("worker type {worker_type:?} asks for the {kind} strategy {name:?}, which is not linked; known are {}", .known.join(", "))]
    UnknownStrategy {
        /// The worker type.
        worker_type: String,
        /// `restart` or `distribution`.
        kind: &'static str,
        /// The strategy.
        name: String,
        /// What is linked.
        known: Vec<String>,
    },
}

/// Why a sworm could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name is empty or longer than 255 bytes.
    #[error("a sworm's name has 1 to 255 bytes; {name:?} has {}", .name.len())]
    BadName {
        /// What was given.
        name: String,
    },
    /// Another node opened the sworm with another `handoff`, on which all nodes must agree, or this node has it open with
    /// other settings of any kind. Nothing was changed.
    #[error("sworm {sworm:?} was opened on {node} with {theirs}, here with {ours}; all nodes must open it alike")]
    Disagreed {
        /// The sworm.
        sworm: String,
        /// Who opened it otherwise.
        node: NodeId,
        /// Their settings.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// The sworm's settings name a strategy that is not linked.
    #[error("sworm {sworm:?} asks for the {kind} strategy {name:?}, which is not linked; known are {}", .known.join(", "))]
    UnknownStrategy {
        /// The sworm.
        sworm: String,
        /// `restart` or `distribution`.
        kind: &'static str,
        /// The strategy.
        name: String,
        /// What is linked.
        known: Vec<String>,
    },
    /// What the store has of the sworm could not be read.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A setting is outside its limits.
    #[error("sworm {sworm:?}: {what}")]
    BadSetting {
        /// The sworm.
        sworm: String,
        /// What is wrong and what is allowed.
        what: String,
    },
    /// The node did not come to know what the others know of the sworm: one of them does not answer, or the node has not
    /// met those that it looks for. The sworm is not open. Try again; the log and [`Node::members`](crate::Node::members)
    /// tell who is missing.
    #[error("sworm {sworm:?} was not opened within {after:?}: another node does not answer")]
    Timeout {
        /// The sworm.
        sworm: String,
        /// How long was waited.
        after: Duration,
    },
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// The node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped).
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}

/// Why a name was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Somebody has the name. Nothing was changed.
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
    /// The worker's `started` returned an error or panicked. There is no name.
    #[error("the worker could not start: {reason}")]
    StartFailed {
        /// What the worker said.
        reason: String,
    },
    /// The worker's `started` did not return in time. There is no name.
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
    /// Nobody has the name.
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
    /// The group's name is empty or longer than 255 bytes. Nothing was changed.
    #[error("a group's name has 1 to 255 bytes; this one has {bytes}")]
    BadGroup {
        /// Its length.
        bytes: usize,
    },
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
    /// It cannot run there: `why` says what each node lacks. It goes on where it is.
    #[error("{why}")]
    NoCandidate {
        /// What is missing where.
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
    /// The time is over. The worker runs, here or there; asking again is safe.
    #[error("no answer within {after:?}; it may have moved or not")]
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

/// Why the list of voters was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VotersError {
    /// The sworm was opened in mode "available", which has no voters.
    #[error("sworm {sworm:?} was not opened with mode = \"majority\"")]
    NotMajority {
        /// The sworm.
        sworm: String,
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

/// Why a call did not come back with a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody has the name. The message was not handled.
    #[error("{name:?} is not registered")]
    NotRegistered {
        /// The name.
        name: String,
    },
    /// A worker of another type has the name. The message was not handled.
    #[error("{name:?} is registered with worker type {found:?}")]
    WrongType {
        /// The name.
        name: String,
        /// The type that has it.
        found: String,
    },
    /// The worker failed and is not started again. The message was not handled.
    #[error("the worker is not running: {reason}")]
    Failed {
        /// Why it failed.
        reason: String,
    },
    /// The time was over before the message could be sent: the name was moving or starting. It was not handled.
    #[error("not sent within {after:?}: the name was moving or starting")]
    NotSent {
        /// How long was waited.
        after: Duration,
    },
    /// This node, or the worker's, has no majority (mode "majority" only). The message was not handled.
    #[error("this side has no majority; the message was not handled")]
    NoMajority,
    /// The worker's node lost its majority while the message was handled: its reply is held back, since the other side may
    /// start the worker from an older state. **Unknown outcome**.
    #[error("the majority was lost while the message was handled")]
    MajorityLost,
    /// The worker's mailbox is full. The message was not handled.
    #[error("the worker's mailbox is full")]
    Overloaded,
    /// The worker type on that node does not know the message. It was not handled.
    #[error("the worker's node does not know the message {message:?}")]
    NoSuchMessage {
        /// The message's id.
        message: String,
    },
    /// The message or its reply could not be encoded or decoded. With a message it was not handled.
    #[error("{what} {why}")]
    Undecodable {
        /// What: a message, or `reply to` one.
        what: String,
        /// Why.
        why: String,
    },
    /// The message is larger than 16 MiB encoded, and its worker is on another node. It was not sent. Within a node nothing
    /// is encoded, so there it would have been handled: do not rely on that, since workers move.
    #[error("the message has {bytes} bytes; at most {limit} can be sent")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No reply in time. **Unknown outcome**: it may have been handled, or be handled yet.
    #[error("no reply within {after:?}; the message may have been handled or not")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The worker's node is gone. **Unknown outcome**.
    #[error("the worker's node is gone; the message may have been handled or not")]
    NodeDown,
    /// The worker ended while it handled the message. **Unknown outcome**: effects before its end may remain.
    #[error("the worker died while it handled the message: {reason}")]
    WorkerDied {
        /// Why.
        reason: String,
    },
    /// The message was handled, but the state could not be made durable as the worker asked. **Unknown outcome**: the
    /// worker starts again from its last checkpoint.
    #[error("the state after the message could not be made durable: {reason}")]
    NotDurable {
        /// Why.
        reason: String,
    },
    /// This node has stopped. Unknown outcome.
    #[error("the node has stopped")]
    Stopped,
    /// This node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped). Unknown
    /// outcome.
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// Whether the message may have been handled. If not, sending it again cannot handle it twice.
    pub fn is_unknown_outcome(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::NodeDown
            | Self::WorkerDied { .. }
            | Self::NotDurable { .. }
            | Self::MajorityLost
            | Self::Stopped
            | Self::NodeFailed { .. } => true,
            Self::Undecodable { what, .. } => what.starts_with("reply"),
            _ => false,
        }
    }
}

/// Why a state was not saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The worker type does not save its state. Add `handoff` to `#[worker(..)]`.
    #[error("worker type {worker_type:?} does not save its state; add `handoff` to `#[worker(..)]`")]
    NotEnabled {
        /// The worker type.
        worker_type: String,
    },
    /// In `started` and `stopping` there is nothing to save yet, or it is saved anyway.
    #[error("`checkpoint` is for handlers and `run`; in `started` and `stopping` it has no effect")]
    NotHere,
}

/// Why a node did not leave in good order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The node has stopped already.
    #[error("the node has stopped already")]
    Stopped,
    /// The time is over. What was not handed over is in the store as far as it was saved, and starts elsewhere.
    #[error("not everything was handed over in time")]
    Timeout,
    /// The store failed, now or before. What was acknowledged before is safe.
    #[error("the store failed: {0}")]
    Store(String),
}
