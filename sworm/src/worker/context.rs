//! What a worker knows of itself and can ask for while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::timers::{Timer, Timers};
use super::{BoxError, Handler, Request, Worker};
use crate::api::{Ref, Sworm};
use crate::core::ids::{Epoch, NodeId, Pid};
use crate::error::{GroupError, HandoffError};
use crate::strategy::Exit;

/// Handed to every handler and hook: who the worker is, and what it can ask for.
pub struct Context<W> {
    pub(super) pid: Pid,
    pub(super) sworm: Sworm,
    pub(super) handoff: bool,
    pub(super) place: Place,
    pub(super) asked: Arc<Asked>,
    pub(super) exit: Option<Box<Exit>>,
    /// The error with which it is to end.
    pub(super) failed: Option<Box<str>>,
    pub(super) timers: Timers<W>,
}

/// Which code holds the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Hook,
    Work,
}

/// What a worker has asked for and has not got yet. Shared, so that it is seen while `run` holds the context.
#[derive(Default)]
pub(super) struct Asked {
    checkpoint: AtomicBool,
    stop: AtomicBool,
}

impl Asked {
    pub(super) fn anything(&self) -> bool {
        self.checkpoint.load(Relaxed) || self.stop()
    }

    pub(super) fn stop(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub(super) fn checkpoint(&self) -> bool {
        self.checkpoint.load(Relaxed)
    }

    pub(super) fn take_checkpoint(&self) -> bool {
        self.checkpoint.swap(false, Relaxed)
    }
}

impl<W: Worker> Context<W> {
    /// The worker's name.
    pub fn name(&self) -> &str {
        &self.pid.name
    }

    /// The worker's pid.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// The epoch at which it started: higher at every start of this name while the nodes agree on who is in. In a network
    /// cut both sides start it with epochs of their own, so it is no fencing token across one.
    pub fn epoch(&self) -> Epoch {
        self.pid.epoch
    }

    /// The node that it runs on.
    pub fn node(&self) -> &NodeId {
        &self.pid.node
    }

    /// The sworm that it belongs to.
    pub fn sworm(&self) -> &Sworm {
        &self.sworm
    }

    /// Why the worker is being stopped, in [`stopping`](crate::Lifecycle::stopping) and
    /// [`on_conflict`](crate::Lifecycle::on_conflict): [`Exit::Normal`] when it has ended by itself. `None` elsewhere.
    pub fn exit(&self) -> Option<&Exit> {
        self.exit.as_deref()
    }

    /// A reference to the worker itself. To call oneself from a handler never ends. A `cast` takes a place in the worker's own
    /// mailbox, which a handler waits for in vain if it is full, and in [`started`](crate::Lifecycle::started) the worker does not
    /// take any yet: [`send_after`](Self::send_after) with no time at all does neither.
    pub fn this(&self) -> Ref<W> {
        Ref::new(&self.sworm, Arc::clone(&self.pid.name), self.pid.clone())
    }

    /// Puts the worker into a group; twice is the same as once. The group goes with it wherever it moves, and stays over
    /// restarts: it is left with [`leave`](Self::leave), or when the name ends. What may be lost of that: [`Sworm::join`]. In a worker with `snapshot = "each"` that
    /// happens when the state is durable ([`Snapshots::Each`](crate::Snapshots::Each)): at once it is told
    /// [`GroupError::BadGroup`] and [`GroupError::Overloaded`]; all other errors are in the log only. It can be in 256 groups.
    ///
    /// # Errors
    ///
    /// See [`GroupError`]. Waits 10 s at most.
    pub async fn join(&self, group: impl AsRef<str>) -> Result<(), GroupError> {
        self.sworm.join(group, &self.this()).await
    }

    /// Takes the worker out of a group; twice is the same as once. Otherwise as [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// See [`GroupError`]. Waits 10 s at most.
    pub async fn leave(&self, group: impl AsRef<str>) -> Result<(), GroupError> {
        self.sworm.leave(group, &self.this()).await
    }

    /// Sends the worker this message after that time, once. It is handled between other messages, by turns with them when
    /// many wait, and takes no place in the mailbox. Times are as exact as tokio's: to a millisecond, and never early.
    ///
    /// Up to 100,000 messages of a worker may be to come. One beyond that, or beyond what is held back for a worker with
    /// `snapshot = "each"`, is **not set**: the log says so at level error, once until there is room again, and the timer's
    /// [`is_pending`](Timer::is_pending) and [`cancel`](Timer::cancel) say `false`.
    ///
    /// A timer belongs to this start of the worker and ends with it: also when it moves or is started again after a crash.
    /// Set those that it always needs in [`started`](crate::Lifecycle::started), which then runs again. In a worker with
    /// `snapshot = "each"` the time begins when the state is durable ([`Snapshots::Each`](crate::Snapshots::Each)); if it does
    /// not become durable, there is no timer.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// # use sworm::BoxError;
    /// # use std::time::Duration;
    /// #[derive(Worker, Serialize, Deserialize)]
    /// #[worker(handles(Tick), lifecycle)]
    /// struct Clock;
    ///
    /// #[derive(Message, Serialize, Deserialize, Clone)]
    /// struct Tick;
    ///
    /// impl Lifecycle for Clock {
    ///     async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
    ///         ctx.send_every(Duration::from_secs(1), Tick);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Handler<Tick> for Clock {
    ///     async fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
    ///         println!("{} ticks", ctx.name());
    ///     }
    /// }
    /// ```
    pub fn send_after<M: Request<W>>(&self, after: Duration, message: M) -> Timer
    where
        W: Handler<M>,
    {
        self.timers.once(after, message)
    }

    /// Sends the worker this message again and again, for the first time after one period. A period is 1 ms at least. Those
    /// that pass while the worker is busy are left out: it gets one message, and the next one a period later. Otherwise as
    /// [`send_after`](Self::send_after).
    pub fn send_every<M: Request<W> + Clone>(&self, period: Duration, message: M) -> Timer
    where
        W: Handler<M>,
    {
        self.timers.every(period, message)
    }

    /// Asks for the state to be made durable, here and on the replicas, **before the reply to the present message leaves**.
    ///
    /// The await **returns at once, before anything is saved**: the state is the one that the handler leaves behind (it cannot
    /// be taken while the handler holds it), so it does not matter where in the handler this is called, and the code after it
    /// must not count on what it asks for. What waits is the reply alone; what the handler casts, calls or writes elsewhere
    /// leaves when it does so ([`snapshot = "each"`](crate::Snapshots::Each) holds that back, too).
    ///
    /// If the state cannot be made durable the caller gets [`CallError::NotDurable`](crate::CallError::NotDurable), and if the
    /// handler panics after it has asked, [`CallError::WorkerDied`](crate::CallError::WorkerDied), and nothing is saved. Either
    /// way the worker starts again from the checkpoint before, or from its registered value if there was none. Where the majority
    /// is lost before it is durable the caller gets [`CallError::MajorityLost`](crate::CallError::MajorityLost), and the worker
    /// is parked with the state.
    ///
    /// In [`run`](crate::Lifecycle::run) it is the state at the next await that has to wait, or at the end: there `run` is
    /// dropped, the state is made durable, and `run` is called anew unless it had ended. If that fails the worker starts
    /// again from its last checkpoint.
    ///
    /// From then on the worker also restarts in place from its last checkpoint, not from its registered value.
    ///
    /// # Errors
    ///
    /// [`HandoffError::NotEnabled`] without `handoff` in `#[worker(..)]`, [`HandoffError::NotHere`] in `started` and
    /// `stopping`. Nothing is saved then.
    pub async fn checkpoint(&mut self) -> Result<(), HandoffError> {
        if !self.handoff {
            return Err(HandoffError::NotEnabled { worker_type: W::NAME.to_owned() });
        }
        if self.place == Place::Hook {
            return Err(HandoffError::NotHere);
        }
        self.asked.checkpoint.store(true, Relaxed);
        Ok(())
    }

    /// Ends the worker normally after the present message; in `started` after it, in [`run`](crate::Lifecycle::run) at the
    /// next await that has to wait. `stopping` runs, and what follows is up to the restart strategy (with the default its
    /// name is removed).
    pub fn stop(&mut self) {
        self.asked.stop.store(true, Relaxed);
    }

    /// Ends the worker with an error, when [`stop`](Self::stop) would: as [`Exit::Error`], as if
    /// [`run`](crate::Lifecycle::run) had returned it. The reply to the present message leaves first. `stopping` does not run, and
    /// what follows is up to the restart strategy (with the default the worker is started again). Beside a `stop` it is the error
    /// that counts, and of two errors the first.
    pub fn fail(&mut self, error: impl Into<BoxError>) {
        self.failed.get_or_insert_with(|| error.into().to_string().into());
        self.asked.stop.store(true, Relaxed);
    }
}

impl<W> std::fmt::Debug for Context<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("pid", &self.pid).finish_non_exhaustive()
    }
}
