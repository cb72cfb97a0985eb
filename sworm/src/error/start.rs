//! Of nodes and sworms as a whole.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::ids::NodeId;
use crate::store::StoreError;
use crate::transport::TransportError;

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
    /// A label's key has 1 to 255 bytes, and its value at most 255.
    #[error("a label's key has 1 to 255 bytes and its value at most 255; {key:?} has {} and {}", .bytes[0], .bytes[1])]
    BadLabel {
        /// The key.
        key: String,
        /// How long the key and the value are.
        bytes: [usize; 2],
    },
    /// A node has at most 64 labels.
    #[error("a node has at most 64 labels, not {labels}")]
    TooManyLabels {
        /// How many were given.
        labels: usize,
    },
    /// A node waits at most a day for those that were there before.
    #[error("a node waits at most a day for those that were there before; not {wait:?}")]
    BadRecoverWait {
        /// What was given.
        wait: Duration,
    },
    /// A worker's state may have 1 byte to [`MAX_SNAPSHOT_LIMIT`](crate::MAX_SNAPSHOT_LIMIT).
    #[error("a snapshot may have 1 to {} bytes at most, not {bytes}", crate::MAX_SNAPSHOT_LIMIT)]
    BadSnapshotLimit {
        /// What was given.
        bytes: usize,
    },
    /// No worker of the node could start, or more at a time than can be counted.
    #[error(
        "`concurrent_starts` is {starts}; a node must start at least 1 worker at a time, and at most {}",
        tokio::sync::Semaphore::MAX_PERMITS
    )]
    BadConcurrentStarts {
        /// What was given.
        starts: usize,
    },
    /// The node is a [`client`](crate::NodeBuilder::client), and was told something about the workers that it runs. Leave one out.
    #[error("node {node:?} is a client, which runs no workers, and `{option}` has no meaning for it; leave one out")]
    RunsNothing {
        /// The node.
        node: String,
        /// The option.
        option: &'static str,
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
    /// The data directory has a store of another kind, and nothing is carried over from one to the other. Use that kind, or give
    /// the node an empty directory: then names and states come back from the other nodes.
    #[error("the data directory {} has a store of kind {found:?}, not {asked:?}; use that kind, or an empty directory", .path.display())]
    OtherStore {
        /// The directory.
        path: PathBuf,
        /// The kind that is there.
        found: String,
        /// The kind that was asked for.
        asked: String,
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
    /// The name is empty or longer than 255 bytes. Nothing was changed; choose another one.
    #[error("a sworm's name has 1 to 255 bytes; {name:?} has {}", .name.len())]
    BadName {
        /// What was given.
        name: String,
    },
    /// Another node opened the sworm with another mode, `expect_nodes`, `lease`, `handoff`, `ack`, `rebalance` or `state_wait`, on
    /// which all nodes must agree, or this node has it open with other settings of any kind. Nothing was changed.
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
    /// The sworm's settings name a strategy that is not linked. Nothing was changed; link the crate that has it, or choose one of
    /// those that are known.
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
    /// What the store has of the sworm could not be read. The sworm is not open, and what is stored is as it was; see to the disk,
    /// then start the node anew.
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    /// A setting is outside its limits. Nothing was changed; the text says what is allowed.
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
    /// The node has stopped. Nothing was changed; start another one.
    #[error("the node has stopped")]
    Stopped,
    /// The node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped).
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}

/// Why a node did not leave in good order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The node has stopped already. Nothing was changed: whatever it ran is up to the others.
    #[error("the node has stopped already")]
    Stopped,
    /// The time is over. What was not handed over is in the store as far as it was saved, and starts elsewhere.
    #[error("not everything was handed over in time")]
    Timeout,
    /// Others are there, and have taken nothing over for 30 s ([`Node::leave`](crate::Node::leave)). What was not handed over is in this node's store; the others wait
    /// for it as long as [`SwormSpec::state_wait`](crate::SwormSpec::state_wait) says, and then start from what they have. Start
    /// this node again to give it to them.
    #[error("{parked} workers were not handed over in time; their states are in this node's store")]
    NotHandedOver {
        /// How many.
        parked: u64,
    },
    /// The states of some workers could not be saved: they were too large, or their types failed to encode them, or did not
    /// give them in time ([`Event::SnapshotFailed`](crate::Event::SnapshotFailed) says which, and why). What these had since
    /// their last saved state is lost: they start from that one, elsewhere or when this node is started again. All others
    /// were handed over, or are in this node's store.
    #[error("the states of {workers} workers could not be saved; they start from older ones")]
    NotSaved {
        /// How many.
        workers: u64,
    },
    /// The store failed, now or before. What was acknowledged before is safe.
    #[error("the store failed: {0}")]
    Store(String),
}
