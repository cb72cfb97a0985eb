//! The facts that stand in a lane: what is stated of a name, a ban, the sworm's settings, a linked worker type.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, planted};
use super::ids::{Birth, Epoch, LaneId, NodeId, Peer, RequestId};
use super::majority::voters::Ballot;
use super::past::Past;
use super::rare::{Empty, Rare};
use super::time::to_ms;

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
    /// What the node held of other lanes when it took names back because of what they say.
    Seen,
    /// What the node knows of the voters.
    Voters,
    /// The strategies of workers whose type names none, where they are not the usual ones.
    Unusual,
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
    /// Of what was held: up to which number of which lane. Whoever holds less of those must not take a name for free that
    /// is not in this one any more.
    Seen(BTreeMap<LaneId, u64>),
    /// Of the voters.
    Voters(Box<Ballot>),
    /// Of the strategies, as text.
    Unusual(Arc<str>),
}

/// What one node states of one name. Every node holds one for every name, so it is small: what is rare in it takes one
/// word, and what many cells say alike is held once ([`Shared`](super::shared::Shared)).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NameCell {
    /// The lineage.
    #[serde(rename = "b")]
    pub birth: Birth,
    /// The assignment that this cell stands for.
    #[serde(rename = "e")]
    pub epoch: Epoch,
    /// The epoch at which the present worker started; re-stating raises `epoch`, not this.
    #[serde(rename = "s")]
    pub since: Epoch,
    /// Hybrid time of the assignment, the last but one tie-breaker between claims.
    #[serde(rename = "a")]
    pub assigned: u64,
    /// What the worker is started from.
    #[serde(rename = "p")]
    pub spec: Arc<Spec>,
    /// The request that registered the lineage.
    #[serde(rename = "q")]
    pub request: RequestId,
    /// The groups that the worker is in.
    #[serde(rename = "g", default, skip_serializing_if = "Rare::is_empty")]
    pub groups: Rare<BTreeSet<Arc<str>>>,
    /// What the registration said beside the value.
    #[serde(rename = "m", default, skip_serializing_if = "Rare::is_empty")]
    pub metadata: Rare<BTreeMap<String, String>>,
    /// A task outside the library under a name: never moved, restarted or adopted.
    #[serde(rename = "t")]
    pub attached: bool,
    /// Whether the last worker ended without its last state, which was to be saved and could not be, until the next one runs.
    #[serde(rename = "u", default, skip_serializing_if = "is_not")]
    pub unsaved: bool,
    /// Which saved states are behind the present worker.
    #[serde(rename = "f", default, skip_serializing_if = "Rare::is_empty")]
    pub past: Rare<Past>,
    /// Workers of epochs between these two have lost a conflict against an earlier one of the lineage, which its successors go on
    /// from.
    #[serde(rename = "o", default, skip_serializing_if = "Rare::is_empty")]
    pub outdone: Rare<Outdone>,
    /// Who holds the newest acknowledged snapshot; each of them alone is enough.
    #[serde(rename = "h", default, skip_serializing_if = "Rare::is_empty")]
    pub holders: Rare<BTreeSet<NodeId>>,
    /// Hybrid times (ms) of the worker's restarts, newest first; the count moves with the worker.
    #[serde(rename = "r", default, skip_serializing_if = "Rare::is_empty")]
    pub restarts: Rare<Vec<u64>>,
    /// What the worker does.
    #[serde(rename = "w")]
    pub state: NameState,
}

/// The epochs between two.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Outdone(pub Epoch, pub Epoch);

impl Empty for Outdone {
    const EMPTY: &'static Self = &Self(Epoch { major: 0, minor: 0 }, Epoch { major: 0, minor: 0 });
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
        to: Box<Peer>,
    },
    /// It was given away: from now on this node never runs it at an epoch below the one given.
    Released(Box<Release>),
    /// It was stopped with its state saved, since nobody could take it over.
    Parked,
    /// It is not started again, for this reason.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

/// A worker was given away.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Release {
    /// To whom.
    pub to: Peer,
    /// The epoch at which the receiver starts it.
    pub epoch: Epoch,
    /// The snapshot that went along.
    pub snapshot: Option<Revision>,
}

impl NameState {
    /// Whether the host says by it that the name is its own.
    pub fn is_claim(&self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Leaving { .. })
    }

    /// Whether the host has given the name to another node, which has not taken it yet as far as is known.
    pub fn is_released(&self) -> bool {
        matches!(self, Self::Released(_))
    }
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
    /// What all workers of a type have in common.
    #[serde(rename = "k")]
    pub kind: Arc<Kind>,
    /// The registered value, encoded.
    #[serde(rename = "v", with = "serde_bytes")]
    pub value: Box<[u8]>,
}

impl Deref for Spec {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        &self.kind
    }
}

/// What the specs of all workers of one type have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Kind {
    /// The worker type's name.
    #[serde(rename = "t")]
    pub worker_type: Arc<str>,
    /// The version of the stored form.
    #[serde(rename = "v")]
    pub version: u32,
    /// The distribution strategy's name.
    #[serde(rename = "d")]
    pub distribution: Arc<str>,
    /// Whether its state is saved when it stops or moves.
    #[serde(rename = "h")]
    pub handoff: bool,
    /// How many peers hold each checkpoint.
    #[serde(rename = "r")]
    pub replicas: u8,
    /// Whether all that was replied to is in its state, so that those who hold the newest are waited for until one is back.
    /// It stands here for those who do not link the type.
    #[serde(rename = "p", default, skip_serializing_if = "is_not")]
    pub patient: bool,
}

fn is_not(said: &bool) -> bool {
    !said
}

/// The worker type of an attached task is this and the message's id.
pub const INBOX_PREFIX: &str = "inbox:";

impl NameCell {
    /// Whether its registration waits for its worker to start: if that fails there will be no such name. What starts a name
    /// anew, wherever, gives it a later epoch.
    pub fn starts_first(&self) -> bool {
        let granted_at_once = to_ms(self.epoch.major) == to_ms(self.birth.0) && self.epoch.minor == 0;
        matches!(self.state, NameState::Starting) && self.restarts.is_empty() && granted_at_once
    }

    /// Whether it starts again where it has ended by itself, and was not given to anybody since.
    pub fn restarts_in_place(&self) -> bool {
        self.state == NameState::Starting && self.restarts.first() == Some(&to_ms(self.assigned))
    }

    /// Whether what was done up to a snapshot of this lineage is in the worker, or was given to it.
    pub fn has(&self, revision: Revision) -> bool {
        revision.epoch == self.since || self.past.covers(revision)
    }

    /// Whether a snapshot of this lineage was saved by another worker, before this one or in a conflict with it, and shows what it
    /// has not.
    pub fn lacks(&self, revision: Revision) -> bool {
        (revision.epoch < self.since || self.outdoes(revision)) && !self.past.covers(revision)
    }

    /// Whether a snapshot of this lineage is of a worker that has lost a conflict, though its epoch is later: who wins one states
    /// itself above all epochs that were seen.
    pub fn outdoes(&self, revision: Revision) -> bool {
        let between =
            |after, before| after < revision.epoch && revision.epoch < before && !planted(Fault::LoserIsLater);
        between(self.since, self.epoch) || between(self.outdone.0, self.outdone.1)
    }

    /// The next worker of the lineage.
    pub fn next(&self, epoch: Epoch, assigned: u64) -> Self {
        let has_won = self.epoch > self.since;
        let outdone = if has_won { Outdone(self.since, self.epoch).into() } else { self.outdone.clone() };
        Self { epoch, since: epoch, assigned, outdone, ..self.clone() }
    }

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
