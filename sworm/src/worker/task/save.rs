//! Saving the state of a running worker.

use std::fmt;

use bytes::Bytes;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::{Control, End, Task, lets_the_driver_run};
use crate::codec::Limited;
use crate::core::Input;
use crate::core::cell::{Revision, Spec};
use crate::core::chunks::CHUNK_BYTES;
use crate::core::message::Snapshot;
use crate::core::snapshots::Wait;
use crate::panics;
use crate::strategy::Exit;
use crate::worker::Lifecycle;
use crate::worker::places::Place;
use crate::worker::saving::{Durable, Saving};

/// What of a worker was saved, and when the next time comes.
pub(super) struct Saver {
    saving: Saving,
    /// Whether it starts again from what was saved after a crash in place.
    goes_on: bool,
    /// Counts what this worker has saved.
    number: u64,
    /// The newest state that was sent to be saved, and the same when it is known to be durable.
    sent: Option<Mark>,
    /// Its number, until it has arrived where it was to, or is known not to: the next one that nobody waits for waits for
    /// that.
    underway: Option<u64>,
    /// Whether the last one that was taken was small.
    is_small: bool,
    durable: Option<Mark>,
    was_the_same: bool,
    /// What it has begun with, where that counts.
    began: Option<Began>,
    /// Whether anything may have changed since, how many messages were handled, and when it was saved.
    changed: bool,
    messages: u32,
    saved_at: Instant,
}

/// Tells a state from another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    checksum: u64,
    bytes: usize,
    checkpoint: bool,
}

impl Mark {
    fn of(snapshot: &Snapshot) -> Self {
        Self { checksum: snapshot.checksum, bytes: snapshot.state.len(), checkpoint: snapshot.checkpoint }
    }
}

/// What a worker has begun with: a saved state, or its registered value.
#[derive(Clone, Copy)]
pub(super) struct Began {
    checksum: u64,
    bytes: usize,
    restored: bool,
}

impl Began {
    pub(super) fn of(state: Option<&Snapshot>, spec: &Spec) -> Self {
        match state {
            Some(state) => Self { checksum: state.checksum, bytes: state.state.len(), restored: true },
            None => Self { checksum: xxh3_64(&spec.value), bytes: spec.value.len(), restored: false },
        }
    }
}

/// When the state is to be saved next, and whether it has changed.
#[derive(Clone, Copy)]
pub(super) struct Due {
    pub(super) at: Option<Instant>,
    pub(super) changed: bool,
}

impl Saver {
    pub(super) fn new(saving: Saving, checkpointed: bool, began: Option<Began>) -> Self {
        Self {
            saving,
            goes_on: checkpointed || saving.goes_on(),
            number: 0,
            sent: None,
            underway: None,
            is_small: false,
            durable: None,
            was_the_same: false,
            began,
            changed: true,
            messages: 0,
            saved_at: Instant::now(),
        }
    }

    /// When its type wants it saved.
    pub(super) fn saving(&self) -> Saving {
        self.saving
    }

    /// Whether what it has begun with was restored.
    pub(super) fn is_restored(&self) -> bool {
        self.began.is_some_and(|began| began.restored)
    }

    /// Whether the state was durable already when it was to be saved last.
    pub(super) fn was_the_same(&self) -> bool {
        self.was_the_same
    }

    /// A message was handled.
    pub(super) fn handled(&mut self) {
        self.messages = self.messages.saturating_add(1);
        self.changed = true;
    }

    /// Something else may have changed the state.
    pub(super) fn stirs(&mut self) {
        self.changed = true;
    }

    pub(super) fn due(&self) -> Due {
        let free = self.underway.is_none();
        let at = self.saving.period.filter(|_| free).and_then(|period| self.saved_at.checked_add(period));
        Due { at, changed: self.changed }
    }

    /// Whether it is to be saved now, and nobody waits for that.
    pub(super) fn is_due(&self) -> bool {
        let Due { at, changed } = self.due();
        self.underway.is_none()
            && (changed && at.is_some_and(|at| at <= Instant::now())
                || self.saving.messages.is_some_and(|messages| self.messages >= messages))
    }

    /// A state is where it was to go, or will not get there.
    pub(super) fn arrived(&mut self, number: u64) {
        self.underway.take_if(|underway| *underway <= number);
    }

    /// A state is saved that is not one of these: what was before it is the newest no more.
    pub(super) fn is_replaced(&mut self) {
        (self.sent, self.durable) = (None, None);
    }

    fn is_saved(&mut self) {
        self.changed = false;
        self.messages = 0;
        self.saved_at = Instant::now();
    }
}

/// Why a state was not saved.
pub(super) enum Unsaved {
    /// It is too large; the worker goes on.
    TooLarge { bytes: usize, limit: usize },
    /// It cannot be saved, or is not durable, and the worker ends.
    Ends { reason: String, end: End },
    /// That took so long that the worker was given up: another one may have its name, and it does nothing more.
    GivenUp,
}

impl Unsaved {
    fn ends(reason: String) -> Self {
        let exit = Exit::Error(format!("checkpoint: {reason}"));
        Self::Ends { reason, end: End::Exit(exit) }
    }

    fn stopped() -> Self {
        Self::Ends { reason: "the worker was stopped".into(), end: End::Stopped }
    }
}

impl fmt::Display for Unsaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit } => write!(f, "the state has {bytes} bytes; at most {limit} are saved"),
            Self::Ends { reason, .. } => f.write_str(reason),
            Self::GivenUp => f.write_str("the state was not given in time"),
        }
    }
}

impl<W: Lifecycle> Task<W> {
    /// Saves the state before the reply leaves, if it is to be.
    pub(super) async fn save_after_message(&mut self, worker: &mut W) -> Result<(), Unsaved> {
        let due = self.ctx.asked.take_checkpoint() || self.saver.saving.each;
        self.checkpoint(worker, due).await
    }

    pub(super) async fn checkpoint(&mut self, worker: &mut W, due: bool) -> Result<(), Unsaved> {
        if !due {
            return Ok(());
        }
        let place = self.place().await;
        let saved = match self.begin_checkpoint(worker, place) {
            Ok(begun) => self.finish_checkpoint(begun).await,
            Err(unsaved) => Err(unsaved),
        };
        self.note_saved(&saved);
        saved
    }

    /// A place for the state in memory, unless it is known to be small.
    pub(super) async fn place(&self) -> Place {
        if self.saver.is_small { Place::default() } else { self.places.find().await }
    }

    /// Takes the state; `None` if what is durable already is the same.
    fn begin_checkpoint(&mut self, worker: &W, place: Place) -> Result<Option<Snapshot>, Unsaved> {
        self.saver.goes_on = true;
        self.saver.was_the_same = false;
        let snapshot = self.snapshot(worker, place)?;
        self.saver.was_the_same = self.saver.durable == Some(Mark::of(&snapshot));
        if self.saver.was_the_same {
            self.saver.is_saved();
            return Ok(None);
        }
        Ok(Some(snapshot))
    }

    /// Waits until it is durable.
    async fn finish_checkpoint(&mut self, begun: Option<Snapshot>) -> Result<(), Unsaved> {
        let Some(snapshot) = begun else { return Ok(()) };
        let (number, mark) = (snapshot.revision.number, Mark::of(&snapshot));
        let wait = match self.saver.saving.durable {
            Durable::Replicas => Wait::Replicas,
            Durable::Local => Wait::Disk,
        };
        self.send_snapshot(snapshot, wait);
        loop {
            match self.control.recv().await {
                Some(Control::Checkpointed { number: done, result }) if done == number => {
                    self.saver.arrived(number);
                    self.saver.durable = result.is_ok().then_some(mark);
                    return result.map_err(Unsaved::ends);
                }
                // The message is finished first: its caller waits for it.
                Some(Control::Pause { answered, why }) => self.pause_due = Some((answered, why)),
                Some(Control::Resume) => self.pause_due = None,
                Some(Control::Checkpointed { .. }) => {}
                Some(Control::Diverged { snapshot }) => self.diverged_due.push_back(snapshot),
                Some(Control::Stop { why }) => {
                    self.loses(&why);
                    return Err(Unsaved::stopped());
                }
                None => return Err(Unsaved::stopped()),
            }
        }
    }

    /// Saves the state without waiting for that.
    pub(super) async fn save_aside(&mut self, worker: &mut W) -> Option<End> {
        let place = self.place().await;
        match self.snapshot(worker, place) {
            Ok(snapshot) if self.saver.sent == Some(Mark::of(&snapshot)) => {
                self.saver.is_saved();
                return None;
            }
            Ok(snapshot) => self.send_snapshot(snapshot, Wait::Nothing),
            Err(Unsaved::GivenUp) => return Some(End::Stopped),
            Err(unsaved) => {
                // It may be saved again when it has changed again.
                self.saver.is_saved();
                let _ = self.tell_unsaved(unsaved);
            }
        }
        lets_the_driver_run().await;
        None
    }

    /// Whether the state is the one that the worker has begun with.
    pub(super) fn is_as_begun(&self, worker: &W) -> Result<bool, Unsaved> {
        let Some(began) = self.saver.began else { return Ok(false) };
        match self.state_of(worker) {
            Ok(state) => Ok(state.len() == began.bytes && xxh3_64(&state) == began.checksum),
            Err(Unsaved::GivenUp) => Err(Unsaved::GivenUp),
            // Whatever is wrong with it is found when it is saved.
            Err(_) => Ok(false),
        }
    }

    fn send_snapshot(&mut self, snapshot: Snapshot, wait: Wait) {
        self.saver.is_replaced();
        self.saver.sent = Some(Mark::of(&snapshot));
        self.saver.underway = Some(snapshot.revision.number);
        self.saver.is_saved();
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::Checkpoint { name, since, snapshot, wait });
    }

    /// Tells that a state was not saved for which no caller waits.
    pub(super) fn tell_unsaved(&mut self, unsaved: Unsaved) -> Option<End> {
        let why = unsaved.to_string().into();
        let end = match unsaved {
            Unsaved::TooLarge { .. } => None,
            Unsaved::Ends { end, .. } => Some(end),
            // That was told when it was given up.
            Unsaved::GivenUp => return Some(End::Stopped),
        };
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::Unsaved { name, since, why });
        end
    }

    /// Takes the state, encoded.
    fn state_of(&self, worker: &W) -> Result<Bytes, Unsaved> {
        let limit = self.ctx.sworm.shared.node.snapshot_limit;
        let mut encoded = Limited::new(limit);
        self.activity.begins_saving();
        let saved = panics::guarded(|| worker.save(&mut encoded));
        if self.activity.ends_saving() {
            return Err(Unsaved::GivenUp);
        }
        match saved {
            Ok(Ok(())) => encoded.into_bytes().map(Bytes::from).map_err(|bytes| Unsaved::TooLarge { bytes, limit }),
            Ok(Err(error)) => Err(Unsaved::ends(format!("the state {error}"))),
            Err(panic) => Err(Unsaved::ends(format!("saving panicked: {panic}"))),
        }
    }

    /// Takes the state.
    pub(super) fn snapshot(&mut self, worker: &W, place: Place) -> Result<Snapshot, Unsaved> {
        let state = self.state_of(worker)?;
        self.saver.number += 1;
        self.saver.is_small = state.len() <= CHUNK_BYTES;
        Ok(Snapshot {
            birth: self.birth,
            revision: Revision { epoch: self.ctx.pid.epoch, number: self.saver.number },
            checkpoint: self.saver.goes_on,
            version: W::VERSION,
            checksum: xxh3_64(&state),
            state: place.of(state),
        })
    }
}
