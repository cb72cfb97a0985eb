//! What there is to tell.

use std::sync::Arc;
use std::time::Duration;

use crate::core::ids::{Epoch, Incarnation, NodeId, Pid};

/// Something that has happened in a sworm or to a node: see [`Sworm::events`](crate::Sworm::events). Of each that is about a
/// name, [`name`](Self::name), [`pid`](Self::pid) and [`reason`](Self::reason) tell which, whose worker, and why.
///
/// Most are told on every node, each as its own copy of the directory shows it: in order for each name, and if a name
/// changes several times between two looks, perhaps only the last of that. Those that say so are told on one node only.
///
/// A worker's pid is announced by `Registered`, `Moved` or `Restarted`, and `Started` follows when it runs. Whoever follows
/// these, and begins with what [`Sworm::registered`](crate::Sworm::registered) says after the stream was asked for, knows what
/// look-ups know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Another node is there, or there again. Whether it has opened this sworm is another matter.
    NodeUp {
        /// Which.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// The link to another node is lost: it may still be there, and is reached over another node if it is.
    NodeSuspect {
        /// Which.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// Another node leaves in good order.
    NodeLeaving {
        /// Which.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// Another node is gone.
    NodeDown {
        /// Which.
        node: NodeId,
        /// Its incarnation.
        incarnation: Incarnation,
    },
    /// A name was registered; its worker is about to start. If that fails it is `Unregistered` at once.
    Registered {
        /// The worker.
        pid: Pid,
        /// The worker type's name.
        worker_type: Arc<str>,
    },
    /// A worker runs.
    Started {
        /// The worker.
        pid: Pid,
    },
    /// A worker is being handed to another node: it does not take messages, which wait. `Moved` follows, or `Resumed`.
    Handoff {
        /// The worker.
        pid: Pid,
        /// To which node.
        to: NodeId,
    },
    /// A name was given to another node.
    Moved {
        /// The worker until now.
        from: Pid,
        /// The worker that is about to start.
        pid: Pid,
        /// Why.
        cause: Cause,
    },
    /// A name's worker is started anew on the same node, perhaps after a while.
    Restarted {
        /// The worker until now.
        from: Pid,
        /// The worker that is about to start.
        pid: Pid,
        /// Why.
        cause: Cause,
        /// How the worker until now has ended, on the node that it was on; else, and if it did not end by itself, nothing.
        reason: Option<Arc<str>>,
    },
    /// The node of a worker is gone, and its name waits for a start elsewhere. `Moved` follows, or `Resumed`.
    Recovering {
        /// The worker.
        pid: Pid,
    },
    /// A worker was stopped with its state saved, since nobody could take it over. `Moved` or `Restarted` follows when
    /// somebody can. If its last state could not be saved, `SnapshotFailed` has come before this.
    Parked {
        /// The worker.
        pid: Pid,
    },
    /// A worker goes on: its handover did not come about, or its node, which was taken for gone, is there.
    Resumed {
        /// The worker.
        pid: Pid,
    },
    /// A name's worker is not started again. The name stays until it is registered anew or unregistered.
    Failed {
        /// The last worker.
        pid: Pid,
        /// Why.
        reason: Arc<str>,
    },
    /// A name is gone: it was unregistered, its worker has ended for good, or another registration of it has won.
    Unregistered {
        /// The last worker.
        pid: Pid,
        /// Why, as far as this node knows.
        why: Gone,
    },
    /// On the worker's node only: a worker has ended by itself. `Restarted`, `Failed` or `Unregistered` follows.
    Exited {
        /// The worker.
        pid: Pid,
        /// How it ended.
        reason: String,
    },
    /// On the worker's node only: a worker that ran before could not start here, and is tried again.
    StartFailed {
        /// The worker.
        pid: Pid,
        /// What it said.
        reason: String,
        /// When it is tried again.
        again: Duration,
    },
    /// On the worker's node only: a worker has been busy with one thing for long. Told again when it has been so for twice as
    /// long, and so on.
    Stuck {
        /// The worker.
        pid: Pid,
        /// A message's id, or a hook.
        with: Arc<str>,
        /// For how long.
        busy: Duration,
    },
    /// On the worker's node only: the directory had lost the name of a worker, which went on, perhaps unseen by look-ups, and
    /// has it back. Nothing is to be done; but it should not happen, so report it.
    NameLost {
        /// The worker.
        pid: Pid,
    },
    /// On this node only, in mode "majority": it does not hear of a majority any more, and parks its workers.
    MajorityLost,
    /// On this node only, in mode "majority": it hears of a majority, for the first time or again.
    MajorityHeard,
    /// On the loser's node only: two workers had one name, and the one here stops.
    Conflict {
        /// The one that stops.
        pid: Pid,
        /// The one that goes on.
        winner: Pid,
    },
    /// On the worker's node only: a saved state of the name has turned up that the worker lacks, since it was started from
    /// an older one. It is given to [`Lifecycle::on_diverged`](crate::Lifecycle::on_diverged). Told once for each such state
    /// while the worker stays on the node.
    StateDiverged {
        /// The worker.
        pid: Pid,
        /// The epoch of the worker that had saved the state.
        epoch: Epoch,
        /// The node that has kept it.
        node: NodeId,
    },
    /// On the node that starts a name only: nobody who holds the newest state is there, or the last worker had to end without
    /// its state being saved, as that failed or was never done (`SnapshotFailed`), and an older one may be used: the last that
    /// is durable.
    RestoredOlder {
        /// The name.
        name: Arc<str>,
        /// The worker that is started.
        pid: Pid,
        /// Which of that it is, and who holds the newest state.
        reason: Arc<str>,
    },
    /// On the node that decides about the name, or on the one that is to start it: none of those who hold its newest state is
    /// there, or none has it any more, and it is waited for them for longer than usual, as its type or [`SwormSpec::state_wait`](crate::SwormSpec::state_wait) says. The name runs
    /// nowhere until one of them is back, or it is unregistered.
    StateAwaited {
        /// The name.
        name: Arc<str>,
        /// The last worker, or the one that is to start.
        pid: Pid,
        /// The nodes.
        holders: Vec<NodeId>,
    },
    /// On the worker's node only: a worker's state was to be saved in the background, or since its node leaves, and could not
    /// be: it is too large, or its type failed to encode it, or did not do so in time. In the background the worker goes on; one
    /// that ends is followed by one that starts from the last state that was saved (`RestoredOlder`). So is one that was given
    /// up, whatever its state was saved for: it was not given in 30 s ([`Handoff::save`](crate::Handoff::save)).
    SnapshotFailed {
        /// The worker.
        pid: Pid,
        /// Why.
        reason: Arc<str>,
    },
    /// On the worker's node only: a hook of a worker that ends, or moves, has panicked or did not return in 5 s, and that goes on
    /// without it.
    HookFailed {
        /// The worker.
        pid: Pid,
        /// `stopping` or `on_conflict`.
        hook: Arc<str>,
        /// What it did.
        reason: Arc<str>,
    },
    /// On the node that decides about the name only: there is no node that it can run on now. It is tried again.
    NoCandidate {
        /// The name.
        name: Arc<str>,
        /// The last worker.
        pid: Pid,
        /// What speaks against each node.
        reason: String,
    },
    /// The reader was too slow: that many events were dropped. Look names up anew.
    Missed {
        /// How many.
        events: u64,
    },
}

/// Why a name has another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The worker ended by itself.
    Exit,
    /// It was handed over, with its state if its type saves it.
    Handoff,
    /// Its node was gone.
    NodeDown,
    /// It was parked, and goes on.
    Parked,
    /// Two workers of the name, or a worker and a later state of it, have met: this is the one that goes on.
    Conflict,
}

/// Why a name is gone, as far as the node knows that tells of it. The worker's node knows it, and so do mostly the one that
/// decides about the name and the one that has asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gone {
    /// Somebody has unregistered it, or has dropped its [`Inbox`](crate::Inbox).
    Unregistered,
    /// Its worker has ended by itself and is not to be restarted. Known on the worker's node.
    Exited {
        /// How it ended.
        reason: Arc<str>,
    },
    /// Its first start failed. Known on the worker's node and on the one that decides about the name.
    StartFailed {
        /// What it said.
        reason: Arc<str>,
    },
    /// Another registration of it has won, or has taken the place of this one, whose worker had failed.
    Replaced,
    /// It was the name of a task, whose node is gone, leaves, or has lost its majority.
    NodeGone,
    /// This node does not know.
    Unknown,
}
