//! Saving the state of a running worker.

use std::fmt;

use tokio::time::Instant;

use super::taking::{Mark, Taken};
use super::{Control, End, Task, lets_the_driver_run};
use crate::core::Input;
use crate::core::cell::Spec;
use crate::core::chunks::Shipment;
use crate::core::snapshots::{NotKept, Wait};
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
    sent: Option<Saved>,
    /// Its number, until it has arrived where it was to, or is known not to: the next one that nobody waits for waits for
    /// that.
    underway: Option<u64>,
    /// Whether the last one that was taken was small.
    is_small: bool,
    durable: Option<Saved>,
    was_the_same: bool,
    /// What it has begun with, where that counts.
    began: Option<Began>,
    /// Whether anything may have changed since, how many messages were handled, and when it was saved.
    changed: bool,
    messages: u32,
    saved_at: Instant,
}

/// A state that was saved: its bytes, and whether the worker goes on from it.
type Saved = (Mark, bool);

fn saved(state: &Shipment) -> Saved {
    (Mark::of(state), state.checkpoint())
}

/// What a worker has begun with: a saved state, or its registered value.
#[derive(Clone, Copy)]
pub(super) struct Began {
    mark: Mark,
    restored: bool,
}

impl Began {
    pub(super) fn of(state: Option<&Shipment>, spec: &Spec) -> Self {
        let mark = state.map_or_else(|| Mark::of_value(spec), Mark::of);
        Self { mark, restored: state.is_some() }
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

    /// Whether the last state that was taken was small.
    pub(super) fn is_small(&self) -> bool {
        self.is_small
    }

    /// Whether a restart in place goes on from what is saved.
    pub(super) fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Counts a state that was taken.
    pub(super) fn counts(&mut self, is_small: bool) -> u64 {
        self.is_small = is_small;
        self.number += 1;
        self.number
    }

    /// A state for which nobody waits will not become durable: the next one is not the same, whatever it is.
    pub(super) fn is_lost(&mut self) {
        self.is_replaced();
        self.changed = true;
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
    /// There is no majority any more: the worker is about to be parked with it.
    NoMajority,
    /// That took so long that the worker was given up: another one may have its name, and it does nothing more.
    GivenUp,
}

impl Unsaved {
    pub(super) fn ends(reason: String) -> Self {
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
            Self::NoMajority => f.write_str("there is no majority any more"),
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
        let saved = self.checkpoint_now(worker).await;
        self.note_saved(&saved);
        saved
    }

    async fn checkpoint_now(&mut self, worker: &mut W) -> Result<(), Unsaved> {
        for again in [true, false] {
            let place = self.place().await;
            let Some(taken) = self.begin_checkpoint(worker, place)? else { return Ok(()) };
            let state = self.send_chunks(worker, taken).await?;
            match self.finish_checkpoint(state).await? {
                // Now all chunks are sent.
                Err(NotKept::NotWhole) if again => {}
                Err(NotKept::NoMajority) => {
                    self.saver.is_lost();
                    return Err(Unsaved::NoMajority);
                }
                kept => return kept.map_err(|why| Unsaved::ends(why.to_string())),
            }
        }
        Ok(())
    }

    /// Takes the state; `None` if what is durable already is the same.
    fn begin_checkpoint(&mut self, worker: &W, place: Place) -> Result<Option<Taken>, Unsaved> {
        self.saver.goes_on = true;
        self.saver.was_the_same = false;
        let taken = self.take(worker, place)?;
        self.saver.was_the_same = self.saver.durable == Some(saved(&taken.state));
        if self.saver.was_the_same {
            self.saver.is_saved();
            return Ok(None);
        }
        Ok(Some(taken))
    }

    /// Waits until it is durable, or is said not to be kept.
    async fn finish_checkpoint(&mut self, state: Shipment) -> Result<Result<(), NotKept>, Unsaved> {
        let (number, saved) = (state.revision().number, saved(&state));
        let wait = match self.saver.saving.durable {
            Durable::Replicas => Wait::Replicas,
            Durable::Local => Wait::Disk,
        };
        self.send_snapshot(state, wait);
        loop {
            match self.control.recv().await.map(|control| *control) {
                Some(Control::Checkpointed { number: done, result }) if done == number => {
                    self.saver.arrived(number);
                    self.saver.durable = result.is_ok().then_some(saved);
                    return Ok(result);
                }
                // The message is finished first: its caller waits for it.
                Some(Control::Pause { pausing, why }) => self.pause_due = Some((pausing, why)),
                Some(Control::Resume) => self.pause_due = None,
                Some(Control::Checkpointed { .. }) => {}
                Some(Control::Diverged { snapshot }) => self.diverged_due.push_back(snapshot),
                Some(Control::Stop { why }) => {
                    self.loses(&why);
                    self.stop_due = Some(why);
                    return Err(Unsaved::stopped());
                }
                None => return Err(Unsaved::stopped()),
            }
        }
    }

    /// Saves the state without waiting for that.
    pub(super) async fn save_aside(&mut self, worker: &mut W) -> Option<End> {
        let place = self.place().await;
        let taken = match self.take(worker, place) {
            Ok(taken) if self.saver.sent == Some(saved(&taken.state)) => {
                self.saver.is_saved();
                return None;
            }
            taken => taken,
        };
        let taken = match taken {
            Ok(taken) => self.send_chunks(worker, taken).await,
            Err(unsaved) => Err(unsaved),
        };
        match taken {
            Ok(state) => self.send_snapshot(state, Wait::Nothing),
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
        match self.saver.began {
            Some(began) => self.has(worker, began.mark),
            None => Ok(false),
        }
    }

    fn send_snapshot(&mut self, snapshot: Shipment, wait: Wait) {
        self.saver.is_replaced();
        self.saver.sent = Some(saved(&snapshot));
        self.saver.underway = Some(snapshot.revision().number);
        self.saver.is_saved();
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::Checkpoint { name, since, snapshot, wait });
    }

    /// Tells that a state was not saved for which no caller waits.
    pub(super) fn tell_unsaved(&mut self, unsaved: Unsaved) -> Option<End> {
        let why = unsaved.to_string().into();
        let end = match unsaved {
            Unsaved::TooLarge { .. } => None,
            // Nothing is lost: it is parked with its state.
            Unsaved::NoMajority => return None,
            Unsaved::Ends { end, .. } => Some(end),
            // That was told when it was given up.
            Unsaved::GivenUp => return Some(End::Stopped),
        };
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::Unsaved { name, since, why });
        end
    }
}
