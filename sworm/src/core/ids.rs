//! The identities of everything: nodes, incarnations, births, epochs, pids, lanes and requests.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// The longest node id, in bytes.
pub const MAX_NODE_ID_BYTES: usize = 128;
/// The longest name of a worker, in bytes.
pub const MAX_NAME_BYTES: usize = 512;
/// The longest name of a sworm, a cluster, a group or a worker type, in bytes.
pub const MAX_LABEL_BYTES: usize = 255;
/// In how many groups a name can be.
pub const MAX_GROUPS: usize = 256;

/// The id of a node: text of 1 to 128 bytes, the same at every start of the node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Makes an id of a text; `None` when it is empty or too long.
    pub fn new(id: impl AsRef<str>) -> Option<Self> {
        let id = id.as_ref();
        (1..=MAX_NODE_ID_BYTES).contains(&id.len()).then(|| Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, for sharing it with others.
    pub(super) fn text(&mut self) -> &mut Arc<str> {
        &mut self.0
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::new(&id).ok_or_else(|| serde::de::Error::custom("a node id has 1 to 128 bytes"))
    }
}

impl Deref for NodeId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for NodeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for NodeId {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for NodeId {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts the starts of a node: rises at every start, and is on disk before the node joins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A random number that a data directory keeps: two directories with one node id are two instances.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct InstanceId(pub u64);

/// When a name's lineage was registered: hybrid-logical time, and the arbiter that gave it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Birth(pub u64, pub u32);

/// The number of an assignment of a name, handed to the worker as its fencing number. `major` rises with every strong
/// assignment, `minor` with a weak one (an adoption by a side that may be the smaller one).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Rises with every strong assignment.
    pub major: u64,
    /// Rises with every weak assignment.
    pub minor: u32,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// One worker: its name, and the node, incarnation and epoch at which it started.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Pid {
    /// The sworm that it belongs to.
    pub sworm: Arc<str>,
    /// The name that it runs under.
    pub name: Arc<str>,
    /// The node that it runs on.
    pub node: NodeId,
    /// The incarnation of that node.
    pub incarnation: Incarnation,
    /// The epoch at which it started.
    pub epoch: Epoch,
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}#{}:{}", self.sworm, self.name, self.node, self.incarnation, self.epoch)
    }
}

/// One running instance of a node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.node, self.incarnation)
    }
}

/// A lane within a sworm: the facts that one node incarnation states.
pub type LaneId = Peer;

/// One request of one node incarnation; it stands in the cell that it led to, so that a repeat gets the same answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RequestId {
    /// Who asks.
    pub from: Peer,
    /// Counts the requests of that incarnation.
    pub number: u64,
}

/// A request as it was sent once: it may have been sent before, and be sent again, to others too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Which one it is.
    pub id: RequestId,
    /// Counts how often it was sent. Who refuses it says which attempt that was: a later one may be carried out.
    pub attempt: u32,
}
