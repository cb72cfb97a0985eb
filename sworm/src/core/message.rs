//! What the cores of one sworm say to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::cell::{NameCell, Revision, Spec};
use super::chunks::{SetId, Shipment};
use super::ids::{Birth, Epoch, Incarnation, LaneId, NodeId, Peer, Pid, Request};
use super::lane::{Delta, Part};
use super::majority::Votes;
use super::past::Past;

/// A message between two cores of one sworm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// Sent once per interval and when the view changes; it is the acknowledgement of a view.
    Beat(Beat),
    /// "I have not opened this sworm."
    NotOpen,
    /// Which lanes the sender holds.
    Versions(Versions),
    /// Asks for the changes of these lanes after these numbers.
    Pull(Vec<(LaneId, u64)>),
    /// Changes of a lane.
    Delta(Delta),
    /// A part of changes that are too many for one message.
    Part(Part),
    /// Asks for the part after `after`, of a transfer that builds on `from` and began with this `gc`.
    PullPart { lane: LaneId, from: u64, gc: u64, after: u64 },
    /// From a requester to the arbiter, or to the host for what only the host can do.
    Ask { request: Request, ask: Ask },
    /// The answer to that attempt of it.
    Answer { number: u64, attempt: u32, answer: Answer },
    /// From the arbiter to a host: start this.
    Grant(Box<Grant>),
    /// What became of a grant.
    Granted { name: Arc<str>, epoch: Epoch, outcome: GrantOutcome },
    /// From the arbiter to the host: end this name.
    End { name: Arc<str>, births: BTreeSet<Birth> },
    /// The host's answer, durable.
    Ended { name: Arc<str>, births: BTreeSet<Birth> },
    /// From a host to the arbiter: this name must go elsewhere, to that node if one is given.
    Move { name: Arc<str>, birth: Birth, to: Option<NodeId> },
    /// The arbiter's answer: where to, and the epoch of the new assignment; or why there is no such place.
    MoveTo { name: Arc<str>, birth: Birth, to: Result<(Peer, Epoch), String> },
    /// To a host: move these names for balance, each to that node.
    Rebalance(Vec<(Arc<str>, NodeId)>),
    /// From the source of a move to its receiver: will you take this, with this state?
    Offer { name: Arc<str>, birth: Birth, epoch: Epoch, snapshot: Option<Shipment> },
    /// The receiver's answer; accepted means that the state is durable there.
    OfferAnswer { name: Arc<str>, birth: Birth, epoch: Epoch, accepted: bool },
    /// A copy of a snapshot for a replica to keep, and what is behind the worker that has saved it.
    Keep { name: Arc<str>, snapshot: Shipment, past: Past },
    /// The replica has it, durable.
    Kept { name: Arc<str>, birth: Birth, revision: Revision },
    /// From the host of a name to a member: what is the best snapshot that you have, beyond this one?
    Best { name: Arc<str>, birth: Birth, beyond: Option<Revision> },
    /// The answer; none if it has none beyond. And which one it has, beyond that or not: whoever has none holds nothing, though
    /// it may have been counted among those who do.
    BestIs { name: Arc<str>, birth: Birth, snapshot: Option<Shipment>, held: Option<Revision> },
    /// From whoever holds a state that a name's worker lacks to its host. The answer is the host's cell, which says that
    /// the state is behind the worker.
    Diverged { name: Arc<str>, snapshot: Shipment },
    /// The worker that started at that epoch could not be given it.
    DivergedRefused { name: Arc<str>, revision: Revision, since: Epoch },
    /// From whoever fetches a large state, to whom it has the manifest from: send this chunk; or none yet, but it will ask.
    PullChunk { name: Arc<str>, set: SetId, index: Option<u32> },
    /// A chunk.
    Chunk { name: Arc<str>, set: SetId, index: u32, bytes: Bytes },
    /// The sender does not have that state, or not any more.
    NoChunk { name: Arc<str>, set: SetId },
    /// To all, after each heartbeat, in mode "majority".
    Votes(Votes),
    /// The sender leaves for good; its lane ends with this number.
    Goodbye { max: u64 },
}

/// A heartbeat. Encoded it has the same size whatever it says: see [`BEAT_BYTES`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "ByteArray<BEAT_BYTES>", try_from = "ByteArray<BEAT_BYTES>")]
pub struct Beat {
    /// Counts the heartbeats of the sender.
    pub counter: u64,
    /// How the sender takes part.
    pub phase: Phase,
    /// The sender's view.
    pub view: u64,
    /// How often it has changed: the same view may come back, and something may have been decided meanwhile.
    pub changes: u64,
    /// Which changes of the views of all in it the sender has heard of, in one number: who says the same has heard of those.
    pub seen: u64,
    /// The sender's own lane.
    pub max: u64,
    /// How much of it is on the sender's disk.
    pub durable: u64,
    /// How much of it all others in the sender's view hold, as far as the sender knows.
    pub heard: u64,
    /// Hash of all that the sender holds.
    pub holds: u64,
    /// The sender's hybrid time.
    pub time: u64,
}

/// Of so many heartbeats one is answered by a node that has not opened the sworm.
const ANSWERED: u64 = 4;

impl Beat {
    /// Whether a node that has not opened the sworm says so when it gets this: each time to one that joins, which waits for that,
    /// and now and then to all others, who would wait for a word of it else.
    pub fn is_answered_unopened(&self) -> bool {
        self.phase == Phase::Joining || self.counter.is_multiple_of(ANSWERED)
    }
}

/// A heartbeat's size: nine numbers and the phase. It is all that is sent when nothing happens.
pub const BEAT_BYTES: usize = 9 * 8 + 1;

impl From<Beat> for ByteArray<BEAT_BYTES> {
    fn from(beat: Beat) -> Self {
        let Beat { counter, phase, view, changes, seen, max, durable, heard, holds, time } = beat;
        let mut bytes = [0; BEAT_BYTES];
        let numbers = [counter, view, changes, seen, max, durable, heard, holds, time];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes[BEAT_BYTES - 1] = phase as u8;
        Self::new(bytes)
    }
}

impl TryFrom<ByteArray<BEAT_BYTES>> for Beat {
    type Error = &'static str;

    fn try_from(bytes: ByteArray<BEAT_BYTES>) -> Result<Self, Self::Error> {
        let [numbers @ .., phase] = bytes.into_array();
        let phase = Phase::ALL.into_iter().find(|known| *known as u8 == phase);
        let mut numbers =
            numbers.chunks_exact(8).map(|place| place.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)));
        let mut next = || numbers.next().expect("there are nine");
        let (counter, view, changes, seen) = (next(), next(), next(), next());
        let (max, durable, heard, holds, time) = (next(), next(), next(), next(), next());
        let phase = phase.ok_or("no such phase")?;
        Ok(Self { counter, phase, view, changes, seen, max, durable, heard, holds, time })
    }
}

/// How a node takes part in a sworm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// It collects what the others hold.
    Joining,
    /// It is in.
    Up,
    /// It hands its workers over.
    Leaving,
    /// It hands its workers over, and stays.
    Draining,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Joining, Self::Up, Self::Leaving, Self::Draining];
}

/// Which lanes a node holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The view in which it says so.
    pub view: u64,
    /// How often that has changed.
    pub changes: u64,
    /// Each lane with its number and fingerprint.
    pub lanes: Vec<(LaneId, u64, u64)>,
    /// Incarnations that ended.
    pub ended: BTreeMap<NodeId, Incarnation>,
    /// Incarnations that were given up.
    pub dropped: BTreeMap<NodeId, Incarnation>,
    /// Where the lanes of those who left end.
    pub finals: Vec<(LaneId, u64)>,
    /// Whether the receiver is to answer with its own.
    pub answer: bool,
    /// Whether the answer is to wait until all of that is on the receiver's disk; of an answer, that it has waited.
    pub durable: bool,
}

/// What one can ask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Start a worker under a name.
    Register(Box<Registering>),
    /// End a name.
    Unregister {
        /// Which.
        name: Arc<str>,
        /// Only this lineage of it, if given: by now the name may be somebody else's.
        birth: Option<Birth>,
    },
    /// Start the worker of a name that has failed again, from its state.
    Restart {
        /// Which.
        name: Arc<str>,
    },
    /// Put a name into a group (host).
    Join {
        /// Which name.
        name: Arc<str>,
        /// Which group.
        group: Arc<str>,
    },
    /// Take a name out of a group (host).
    Leave {
        /// Which name.
        name: Arc<str>,
        /// Which group.
        group: Arc<str>,
    },
    /// Run a name on that node (host).
    Move {
        /// Which name.
        name: Arc<str>,
        /// Where.
        to: NodeId,
    },
    /// Add a voter, or take one away (the node that leads).
    Voter {
        /// Which, as a name.
        node: Arc<str>,
        /// Whether it is added.
        add: bool,
    },
}

impl Ask {
    /// The name that it is about.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Register(registering) => &registering.name,
            Self::Unregister { name, .. }
            | Self::Restart { name }
            | Self::Join { name, .. }
            | Self::Leave { name, .. }
            | Self::Move { name, .. } => name,
            Self::Voter { node, .. } => node,
        }
    }
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registering {
    /// The name.
    pub name: Arc<str>,
    /// What to start.
    pub spec: Arc<Spec>,
    /// Where, if the caller said so.
    pub on: Option<NodeId>,
    /// What the caller said beside the value.
    pub metadata: BTreeMap<String, String>,
    /// Whether it is a task outside the library.
    pub attached: bool,
    /// Whether it takes the place of a worker that has failed.
    pub replaces_failed: bool,
}

/// What one is answered.
pub type Answer = Result<Done, Refusal>;

impl Request {
    /// The answer to it.
    pub fn answer(&self, answer: Answer) -> Message {
        Message::Answer { number: self.id.number, attempt: self.attempt, answer }
    }
}

/// A request was carried out. Of a name it says what its host has stated of it, and at which number of its lane (`said`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Done {
    /// The name runs there, with this cell.
    Registered { name: Arc<str>, host: Peer, cell: Arc<NameCell>, said: u64 },
    /// The name and its worker are gone.
    Unregistered { name: Arc<str>, births: BTreeSet<Birth> },
    /// The group was changed; the cell as it is now.
    Regrouped { name: Arc<str>, host: Peer, cell: Arc<NameCell>, said: u64 },
    /// The name runs where it should.
    Moved { name: Arc<str>, host: Peer, cell: Arc<NameCell>, said: u64 },
    /// The list of voters as it is now.
    Voters { number: u64, nodes: BTreeSet<NodeId> },
}

/// A request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Somebody has the name.
    AlreadyRegistered { pid: Pid, worker_type: Arc<str> },
    /// Nobody has the name.
    NotRegistered,
    /// The name's worker has failed, and is not started again by itself.
    Failed { reason: Arc<str> },
    /// The name is in so many groups already, and can be in no more.
    TooManyGroups { limit: usize },
    /// The first start failed; there is no name.
    StartFailed { reason: String, timed_out: bool },
    /// No node may run it.
    NoCandidate { why: String },
    /// The worker was to move, and its state could not be saved.
    NotSaved { why: String },
    /// The arbiter does not link the distribution strategy.
    UnknownStrategy { name: String, node: NodeId, known: Vec<String> },
    /// This side has no majority.
    NoMajority { why: String },
    /// The last voter cannot be taken away.
    LastVoter,
    /// With that list of voters there would be no majority.
    NotThere { why: String },
    /// The sworm has no voters: its mode is another one.
    NotMajority,
    /// Not decided here and now: ask again.
    Again,
}

impl Refusal {
    /// For people.
    pub fn why(&self) -> String {
        match self {
            Self::NoCandidate { why } | Self::NotSaved { why } => why.clone(),
            Self::UnknownStrategy { name, node, known } => {
                format!("node {node} does not link the distribution strategy {name:?}; it knows {}", known.join(", "))
            }
            Self::Failed { reason } => format!("its worker has failed: {reason}"),
            other => format!("{other:?}"),
        }
    }
}

/// The arbiter's decision that a node runs a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// The name.
    pub name: Arc<str>,
    /// The view in which it was decided, as it has come about then: the sum of what heartbeats say as `view` and as `seen`. The host
    /// refuses it in any other.
    pub view: u64,
    /// What the host is to state: birth, epoch, spec, groups and so on, in state `Starting`.
    pub cell: NameCell,
    /// Whether the lineage is older than this grant: then its state is looked for, and a failed start is tried again.
    pub adoption: bool,
}

/// What became of a grant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum GrantOutcome {
    /// It runs.
    Running { cell: Arc<NameCell>, said: u64 },
    /// The first start failed; the name was taken back.
    Failed { reason: String, timed_out: bool },
    /// Another view, or a newer epoch was seen: decide again.
    Refused,
}

/// A worker's saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The lineage that it belongs to.
    pub birth: Birth,
    /// Its place in the worker's history.
    pub revision: Revision,
    /// Whether the worker asked for it, so that a restart in place continues from it.
    pub checkpoint: bool,
    /// The version of the stored form.
    pub version: u32,
    /// xxh3 of `state`.
    pub checksum: u64,
    /// The encoded state.
    pub state: Bytes,
}

impl Snapshot {
    /// Whether the state is what was saved.
    pub fn is_intact(&self) -> bool {
        xxhash_rust::xxh3::xxh3_64(&self.state) == self.checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{decode, encode};

    fn beat(number: u64, phase: Phase) -> Beat {
        let [counter, view, changes, seen, max, durable, heard, holds, time] =
            [0, 1, 2, 3, 4, 5, 6, 7, 8].map(|n: u64| number.wrapping_sub(n));
        Beat { counter, phase, view, changes, seen, max, durable, heard, holds, time }
    }

    #[test]
    fn heartbeats_come_back_and_all_have_one_size() {
        let phases = Phase::ALL;
        for (number, phase) in [5, 30, 300, 70_000, 1 << 40, u64::MAX].into_iter().zip(phases.into_iter().cycle()) {
            let bytes = encode(&beat(number, phase)).expect("plain data");
            assert_eq!(bytes.len(), BEAT_BYTES + 2);
            assert_eq!(decode(&bytes), Ok(beat(number, phase)));
        }
    }

    #[test]
    fn a_heartbeat_of_another_size_or_phase_is_refused() {
        let bytes: ByteArray<BEAT_BYTES> = beat(7, Phase::Up).into();
        for size in [0, 8, BEAT_BYTES - 1, BEAT_BYTES + 1] {
            let other: Vec<u8> = bytes.iter().copied().cycle().take(size).collect();
            assert!(decode::<Beat>(&encode(serde_bytes::Bytes::new(&other)).expect("plain data")).is_err());
        }
        let mut other = bytes.to_vec();
        other[BEAT_BYTES - 1] = Phase::ALL.len() as u8;
        assert!(decode::<Beat>(&encode(serde_bytes::Bytes::new(&other)).expect("plain data")).is_err());
    }
}
