//! Decides: a state machine without I/O, clock or random source. One core per sworm takes inputs and returns effects;
//! the same code runs in production and in simulation.

mod adoption;
pub mod arbiter;
pub mod balance;
pub mod cell;
pub mod chunks;
mod describing;
pub mod directory;
pub mod diverged;
pub mod draining;
pub mod ends;
pub mod events;
mod exits;
pub mod fault;
pub mod fetch;
#[cfg(test)]
mod fixture;
pub mod handoff;
pub mod hearing;
pub mod host;
pub mod ids;
pub mod keeping;
pub mod lane;
pub mod majority;
pub mod membership;
pub mod message;
pub mod moves;
pub mod names;
pub mod past;
pub mod placement;
mod publishing;
pub mod rare;
pub mod repair;
pub mod replicas;
pub mod requests;
pub mod restoring;
pub mod shared;
pub mod snapshots;
pub(crate) mod staging;
pub mod state;
mod stopping;
pub mod sync;
pub mod time;
pub mod told;
pub mod transfer;
mod unusual;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cell::{NameCell, Revision, Spec};
use chunks::{Manifest, SetId, Shipment};
use ids::{Birth, Epoch, Incarnation, LaneId, NodeId, Peer, Pid};
use lane::{Delta, Lane};
use membership::Profile;
use message::{Answer, Ask, Message, Snapshot};

pub use state::Core;

use crate::plugin::Strategies;
use crate::strategy::{Exit, Restart};

/// What a core must know from the start.
#[derive(Clone)]
pub struct Config {
    /// The sworm's name.
    pub sworm: Arc<str>,
    /// This node.
    pub me: Peer,
    /// The settings that all nodes must share, as text.
    pub agreed: Arc<str>,
    /// The strategies of workers whose type names none, as text, if they are not the usual ones: other nodes may have others.
    pub unusual: Option<Arc<str>>,
    /// Whether a registration is confirmed before it is durable on its host.
    pub ack_in_memory: bool,
    /// The worker types that this node hosts, with their versions; empty for a client.
    pub hosts: BTreeMap<Arc<str>, u32>,
    /// Time between heartbeats.
    pub interval_ms: u64,
    /// How old a heartbeat may be.
    pub grace_ms: u64,
    /// How long a node that starts waits for the members that it remembers before it starts what they may have.
    pub recover_wait_ms: u64,
    /// How long to wait for the holders of a state before an older one is taken, if that is said: else some seconds, and for
    /// ever with those workers whose states are saved after each message.
    pub state_wait_ms: Option<u64>,
    /// The largest part of a lane that travels in one message, in bytes; only a single cell may be larger.
    pub part_bytes: usize,
    /// The largest chunk of a state; one that is not larger travels in one message.
    pub chunk_bytes: usize,
    /// What happens when a worker of a type ends.
    pub restart: BTreeMap<Arc<str>, &'static dyn Restart>,
    /// The linked strategies.
    pub strategies: Strategies,
    /// Whether names move for balance.
    pub rebalance: balance::Rebalance,
    /// How majorities are counted, in mode "majority".
    pub majority: Option<majority::Rules>,
    /// What strategies may know of this node; of others it is told when they come.
    pub profile: Profile,
}

/// What a store kept of a sworm.
#[derive(Default)]
pub struct Recovered {
    /// The lanes.
    pub lanes: BTreeMap<LaneId, Lane>,
    /// Ended incarnations.
    pub ended: BTreeMap<NodeId, Incarnation>,
    /// Dropped incarnations.
    pub dropped: BTreeMap<NodeId, Incarnation>,
    /// The snapshots, one of each name.
    pub snapshots: BTreeMap<Arc<str>, snapshots::Stored>,
    /// Those that were set aside.
    pub aside: Vec<(Arc<str>, snapshots::Stored)>,
}

/// Time and chance, as the caller sees them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub mono_ms: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    /// A random number, new at each input.
    pub random: u32,
}

/// What happens to a core.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// Another node is there (or there again), and what strategies may know of it.
    Present { peer: Peer, profile: Profile },
    /// Another node is thought to be gone.
    Absent { peer: Peer },
    /// All nodes that this node looked for have answered, or were waited for long enough.
    Introduced,
    /// A message of another node's core.
    Message { from: Peer, message: Box<Message> },
    /// Somebody on this node asks for something, until a time of the `mono_ms` clock.
    Ask { number: u64, ask: Ask, until_ms: u64 },
    /// All that was to be persisted before that number is durable.
    Durable(u64),
    /// A worker was started, or not.
    Started { name: Arc<str>, since: Epoch, result: Result<(), Exit> },
    /// A worker ended.
    Exited { name: Arc<str>, since: Epoch, exit: Exit },
    /// A worker was stopped as asked.
    Stopped { name: Arc<str>, since: Epoch },
    /// A worker was paused as asked, with its state saved if it has any.
    Paused { name: Arc<str>, since: Epoch, state: Result<Option<Shipment>, String> },
    /// A worker that pauses gets on with a large state, or waits until there is room for it.
    PauseGoesOn { name: Arc<str>, since: Epoch },
    /// A worker's state is to be made durable; this is waited for. The chunks of a large one have come before, or it is cut
    /// now.
    Checkpoint { name: Arc<str>, since: Epoch, snapshot: Shipment, wait: snapshots::Wait },
    /// A chunk of a large state that a worker saves, or is paused with.
    StateChunk { name: Arc<str>, since: Epoch, manifest: Arc<Manifest>, index: u32, bytes: Bytes },
    /// A worker has begun to give its state in chunks, and does not end that.
    UnsentState { name: Arc<str>, since: Epoch },
    /// A worker's state could not be saved, and nobody waits for that.
    Unsaved { name: Arc<str>, since: Epoch, why: Arc<str> },
    /// A worker did not give its state in time, and was given up: its task does nothing more.
    GivenUp { name: Arc<str>, since: Epoch, why: Arc<str> },
    /// A hook of a worker that ends has panicked or did not return in time, and it was gone on without it.
    HookFailed { name: Arc<str>, since: Epoch, hook: &'static str, why: Arc<str> },
    /// A worker that is about to say that it has started was registered with an older version: its spec in the present one.
    Renewed { name: Arc<str>, since: Epoch, spec: Arc<Spec> },
    /// A worker that was to be looked after has no task, or no task wants the name that was attached.
    Gone { name: Arc<str>, since: Epoch },
    /// A worker was given a state of its lineage that it lacked, and has done with it what it wants to; or could not be
    /// given it.
    Merged { name: Arc<str>, since: Epoch, revision: Revision, result: Result<(), String> },
    /// A worker was not given a state that it lacks, since there is no majority, as its task sees it: if it goes on here after
    /// all, it is to be given it then.
    NotGiven { name: Arc<str>, since: Epoch, revision: Revision },
    /// A chunk that was to be sent cannot be read.
    LostChunk { to: Peer, name: Arc<str>, set: SetId },
    /// A stored snapshot was read; of a large one that a worker is to start from, that all of it can be.
    Loaded { purpose: snapshots::Purpose, snapshot: Option<Shipment> },
    /// This node leaves in good order, until a time of the `mono_ms` clock.
    Leave { until_ms: u64 },
    /// This node is to be emptied, by the call of that number, and to take nothing in; or to take part as before.
    Drain(Option<u64>),
    /// Names are to move for balance, as planned.
    Rebalance(Vec<balance::PlannedMove>),
}

/// What a core wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// This node has been emptied, as far as that goes, or is not to be any more: what came of it, up to that call.
    Drained { call: u64, drained: draining::Drained },
    /// Send to one node.
    Send { to: Peer, message: Box<Message> },
    /// Send to all nodes.
    Broadcast(Box<Message>),
    /// Keep these changes of a lane.
    Persist(Delta),
    /// Keep which incarnations have ended and were dropped.
    PersistEnds { ended: BTreeMap<NodeId, Incarnation>, dropped: BTreeMap<NodeId, Incarnation> },
    /// Workers may take messages and answer until then, of the `mono_ms` clock; 0: not any more.
    Lease { until_ms: u64 },
    /// Forget a lane.
    ForgetLane(LaneId),
    /// Say `Durable` with this number when all before it is on disk.
    Sync(u64),
    /// Keep a snapshot; it replaces what was kept of that name.
    StoreSnapshot { name: Arc<str>, snapshot: Shipment },
    /// Keep a chunk of a state whose manifest is to follow.
    StoreChunk { name: Arc<str>, manifest: Arc<Manifest>, index: u32, bytes: Bytes },
    /// Forget the chunks of a state, unless a manifest is kept that tells of them.
    DropChunks { name: Arc<str>, manifest: Arc<Manifest> },
    /// Read a chunk of a state that is kept and send it, or say that it is lost.
    SendChunk { to: Peer, name: Arc<str>, manifest: Arc<Manifest>, index: u32 },
    /// Forget the snapshot of a name.
    DeleteSnapshot { name: Arc<str> },
    /// Read the snapshot of a name: what the purpose says, or else the one that is kept.
    LoadSnapshot { purpose: snapshots::Purpose },
    /// Keep a second copy of the snapshot that is kept of a name, whatever takes its place.
    SetAside { name: Arc<str>, birth: Birth, revision: Revision },
    /// Forget that copy.
    DeleteAside { name: Arc<str>, birth: Birth, revision: Revision },
    /// Give a worker a state of its lineage that it lacks.
    Merge { name: Arc<str>, since: Epoch, snapshot: Snapshot },
    /// Start a worker.
    Start { name: Arc<str>, since: Epoch, spec: Arc<Spec>, state: Option<Shipment> },
    /// Stop taking messages, run the hook, save the state, since this is to follow.
    Pause { name: Arc<str>, since: Epoch, why: Exit },
    /// Go on after a pause.
    Resume { name: Arc<str>, since: Epoch },
    /// End a worker, for a reason that is settled; what waits in its mailbox goes back to those who sent it. One that lost
    /// a conflict is told first who has won.
    Stop { name: Arc<str>, since: Epoch, why: Exit },
    /// Look whether these workers' tasks are there (else they are `Gone`), and get on. Of attached names: whether a task
    /// still waits for them or has them.
    LookAfter(Vec<(Arc<str>, Epoch)>),
    /// The state of a checkpoint is durable, or is not to become so.
    Checkpointed { name: Arc<str>, since: Epoch, number: u64, result: Result<(), snapshots::NotKept> },
    /// What look-ups are to say of a name.
    Index { name: Arc<str>, entry: Option<Entry> },
    /// Look-ups are to say this of a name, which an answer has said, until they are told what the directory says.
    Overlay { name: Arc<str>, entry: Entry },
    /// An answer to somebody on this node.
    Answer { number: u64, answer: Answer },
    /// A request has passed its time.
    Expired { number: u64 },
    /// These nodes have opened the sworm and are in view.
    Viewed(Vec<Peer>),
    /// This node takes part: it has what the others hold.
    Ready,
    /// Another node opened the sworm with other settings.
    Disagreed { node: NodeId, theirs: Arc<str> },
    /// This node has left: every worker moved, parked or ended, so many of them without their states. `late` when others are
    /// there who have not taken them in time.
    Left { parked: u64, unsaved: u64, late: bool },
    /// Something to tell whoever watches.
    Tell(Notice),
}

/// What an effect has to do with statements that wait to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It shows whoever uses this node what has been stated: not before that is on its way to the others.
    AfterPublishing,
    /// They are published with it. What is stated at the same time must be on the disk as soon as it is, of both or neither;
    /// or whoever watches is told something, before what is shown after it and after what was shown before.
    WithPublishing,
    /// None.
    AtOnce,
}

impl Effect {
    pub(crate) fn turn(&self) -> Turn {
        match self {
            Self::Index { .. }
            | Self::Overlay { .. }
            | Self::Answer { .. }
            | Self::Expired { .. }
            | Self::Viewed(_)
            | Self::Ready => Turn::AfterPublishing,
            Self::PersistEnds { .. }
            | Self::ForgetLane(_)
            | Self::StoreSnapshot { .. }
            | Self::DeleteSnapshot { .. }
            | Self::StoreChunk { .. }
            | Self::DropChunks { .. }
            | Self::SetAside { .. }
            | Self::DeleteAside { .. }
            | Self::LoadSnapshot { .. }
            | Self::SendChunk { .. }
            | Self::Tell(_)
            | Self::Disagreed { .. }
            | Self::Left { .. }
            | Self::Drained { .. } => Turn::WithPublishing,
            Self::Send { .. }
            | Self::Broadcast(_)
            | Self::Persist(_)
            | Self::Sync(_)
            | Self::Lease { .. }
            | Self::Merge { .. }
            | Self::Start { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Stop { .. }
            | Self::LookAfter(_)
            | Self::Checkpointed { .. } => Turn::AtOnce,
        }
    }
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A name has no node to run on.
    NoCandidate { pid: Pid, why: String },
    /// A worker starts from a state that may not be its last.
    RestoredOlder { pid: Pid, reason: Arc<str> },
    /// Nobody who holds the newest state of a name is there, and it is waited for them.
    StateAwaited { pid: Pid, holders: BTreeSet<NodeId> },
    /// A worker's state could not be saved.
    Unsaved { pid: Pid, reason: Arc<str> },
    /// A hook of a worker that ends has failed.
    HookFailed { pid: Pid, hook: &'static str, reason: Arc<str> },
    /// A worker lost a conflict and was stopped.
    Conflict { pid: Pid, winner: Pid },
    /// A worker is given a state of its lineage that it lacks: the epoch of the worker that has saved it, and who kept it.
    StateDiverged { pid: Pid, epoch: Epoch, node: NodeId },
    /// A worker ended by itself.
    Exited { pid: Pid, reason: String },
    /// A worker is not started again.
    GaveUp { name: Arc<str>, reason: String },
    /// A start failed and will be tried again.
    StartFailed { pid: Pid, reason: String, again: Duration },
    /// A worker has been busy with one thing for so long.
    Stuck { pid: Pid, with: Arc<str>, busy: Duration },
    /// This node has no majority any more.
    MajorityLost,
    /// This node has a majority.
    MajorityHeard,
    /// A worker had lost its name, and has it back.
    NameLost { pid: Pid },
    /// A node has other strategies for workers whose type names none than this one; nothing stands for the usual ones.
    OtherStrategies { node: NodeId, theirs: Option<Arc<str>>, ours: Option<Arc<str>> },
}

/// What look-ups say of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The node that runs it, or ran it last.
    pub host: Peer,
    /// The cell.
    pub cell: Arc<NameCell>,
    /// Whether it can be called there.
    pub running: bool,
}
