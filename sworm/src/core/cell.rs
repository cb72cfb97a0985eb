//! The facts that stand in a lane: what is stated of a name, a ban, the sworm's settings, a linked worker type.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{Birth, Epoch, NodeId, Peer, RequestId};

/// What a fact is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Key {
    /// A name and the worker under it.
    Name(Arc<str>),
    /// Births of a name that have ended for good.
    Ban(Arc<str>),
    /// The settings with which the node opened the sworm.
    Sworm,
    /// A worker type that the node links.
    WorkerType(Arc<str>),
}

/// A fact.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Value {
    /// Of a name.
    Name(Arc<NameCell>),
    /// Of a ban: a set, so that two bans of one name never undo each other.
    Ban(BTreeSet<Birth>),
    /// Of the settings, as text, for comparison and for the message when they differ.
    Sworm(Arc<str>),
    /// Of a worker type: its version.
    WorkerType(u32),
}

/// A fact with its place in the lane; a tombstone has no value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// The lane's `max` when it was written.
    pub seq: u64,
    /// The fact; `None` says that there is none any more.
    pub value: Option<Value>,
}

/// What one node states of one name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameCell {
    /// The lineage.
    pub birth: Birth,
    /// The assignment that this cell stands for.
    pub epoch: Epoch,
    /// The epoch at which the present worker started; re-stating raises `epoch`, not this.
    pub since: Epoch,
    /// Hybrid time of the assignment, the last but one tie-breaker between claims.
    pub assigned: u64,
    /// What the worker is started from.
    pub spec: Arc<Spec>,
    /// The request that registered the lineage.
    pub request: RequestId,
    /// The groups that the worker is in.
    pub groups: BTreeSet<Arc<str>>,
    /// What the registration said beside the value.
    pub metadata: BTreeMap<String, String>,
    /// A task outside the library under a name: never moved, restarted or adopted.
    pub attached: bool,
    /// The snapshot that the present worker was started from.
    pub restored_from: Option<Revision>,
    /// Who holds the newest acknowledged snapshot; each of them alone is enough.
    pub holders: BTreeSet<NodeId>,
    /// Hybrid times (ms) of the worker's restarts, newest first; the count moves with the worker.
    pub restarts: Vec<u64>,
    /// What the worker does.
    pub state: NameState,
}

/// What the host states of the worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NameState {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being handed to another node.
    Leaving {
        /// Which node.
        to: Peer,
    },
    /// It was given away: from now on this node never runs it at an epoch below the one given.
    Released {
        /// To whom.
        to: Peer,
        /// The epoch at which the receiver starts it.
        epoch: Epoch,
        /// The snapshot that went along.
        snapshot: Option<Revision>,
    },
    /// An offer was refused after the release.
    Declined {
        /// Who offered.
        from: Peer,
        /// The epoch that was offered.
        epoch: Epoch,
    },
    /// It was stopped with its state saved, since nobody could take it over.
    Parked,
    /// It is not started again, for this reason.
    Failed {
        /// Why.
        reason: String,
    },
}

/// The place of a snapshot in a worker's history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Revision {
    /// The epoch of the worker that took it.
    pub epoch: Epoch,
    /// Counts the snapshots of that worker.
    pub number: u64,
}

/// What a worker can be started from anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The worker type's name.
    pub worker_type: Arc<str>,
    /// The version of the stored form.
    pub version: u32,
    /// The registered value, encoded.
    pub value: Bytes,
    /// The distribution strategy's name.
    pub distribution: Arc<str>,
    /// Whether its state is saved when it stops or moves.
    pub handoff: bool,
    /// How many peers hold each checkpoint.
    pub replicas: u8,
}

/// The worker type of an attached task is this and the message's id.
pub const INBOX_PREFIX: &str = "inbox:";

impl NameCell {
    /// The pid of the worker that a host's cell speaks of.
    pub fn pid(&self, sworm: &Arc<str>, name: &Arc<str>, host: &Peer) -> super::ids::Pid {
        super::ids::Pid {
            sworm: sworm.clone(),
            name: name.clone(),
            node: host.node.clone(),
            incarnation: host.incarnation,
            epoch: self.since,
        }
    }
}
