//! One message, and the states that come from elsewhere: what they leave behind is saved if it is to be, and what is sent waits
//! for that.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use tokio::time::timeout;

use super::decode::decode;
use super::save::Unsaved;
use super::showing::held;
use super::{Control, End, Release, STOPPING_LIMIT, Task, guarded};
use crate::core::Input;
use crate::core::message::Snapshot;
use crate::error::CallError;
use crate::strategy::Exit;
use crate::worker::mailbox::Parcel;
use crate::worker::{Lifecycle, entry_of};

impl<W: Lifecycle> Task<W> {
    pub(super) async fn handle(&mut self, worker: &mut W, parcel: Parcel<W>) -> Option<End> {
        if !self.ctx.sworm.shared.may_go_on() {
            self.give_back(parcel);
            return None;
        }
        let (handled, release): (Result<(), String>, Release) = match parcel {
            Parcel::Local(mut parcel) => {
                self.activity.begins(parcel.id());
                let handled = guarded(held(self.outbox.as_ref(), parcel.handle(worker, &mut self.ctx))).await;
                self.activity.ends();
                (handled, Box::new(move |error| parcel.release(error)))
            }
            Parcel::Remote(parcel) => {
                let replies = self.tell.replies.clone();
                let Some(entry) = entry_of::<W>(&parcel.message) else {
                    let unknown = CallError::NoSuchMessage { message: parcel.message.to_string() };
                    replies.reply(&parcel, Err(unknown));
                    return None;
                };
                self.activity.begins(entry.id);
                let run = (entry.run)(worker, &mut self.ctx, &parcel.payload);
                let handled = guarded(held(self.outbox.as_ref(), run)).await;
                self.activity.ends();
                let (handled, reply) = match handled {
                    Ok(reply) => (Ok(()), reply.map(Bytes::from)),
                    Err(panic) => (Err(panic), Ok(Bytes::new())),
                };
                (handled, Box::new(move |error| replies.reply(&parcel, error.map_or(reply, Err))))
            }
        };
        self.saver.handled();
        if let Err(panic) = handled {
            release(Some(CallError::WorkerDied { reason: panic.clone() }));
            return Some(End::Exit(Exit::Panic(panic)));
        }
        let saved = self.save_after_message(worker).await;
        let saved = match saved {
            // What is said now may be contradicted by the other side, which starts the worker from what it has.
            Ok(()) if !self.ctx.sworm.shared.may_go_on() => Err((CallError::MajorityLost, None)),
            Ok(()) => Ok(()),
            Err(Unsaved::TooLarge { bytes, limit }) => Err((CallError::StateTooLarge { bytes, limit }, None)),
            Err(Unsaved::Ends { reason, end }) => Err((CallError::NotDurable { reason }, Some(end))),
        };
        match saved {
            Ok(()) => {
                self.send_outbox().await;
                release(None);
                None
            }
            Err((error, end)) => {
                self.forget_outbox();
                release(Some(error));
                end
            }
        }
    }

    /// Saves the state for whoever takes over, and waits for what becomes of that.
    pub(super) async fn pause(&mut self, worker: &mut W, answered: &AtomicBool, why: Exit) -> Option<End> {
        let outbox = self.outbox.clone();
        held(outbox.as_ref(), self.stopping(worker, why)).await;
        let state = if self.ctx.handoff {
            let place = self.place().await;
            self.snapshot(worker, place).map(Some).map_err(|unsaved| unsaved.to_string())
        } else {
            Ok(None)
        };
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        let mut is_given = state.is_ok();
        if answered.swap(true, Relaxed) {
            is_given = false;
        } else {
            self.saver.is_replaced();
            self.send(Input::Paused { name, since, state });
        }
        loop {
            match self.control.recv().await {
                Some(Control::Resume) => {
                    self.saver.stirs();
                    // `started` sets them again.
                    self.ctx.timers.clear();
                    let resumed = self.started(worker).await;
                    self.fresh = false;
                    return resumed.err().map(End::Exit);
                }
                Some(Control::Stop { why }) => {
                    self.loses(&why);
                    if is_given && self.lost_to.is_none() {
                        self.send_outbox_aside();
                    }
                    return Some(End::Stopped);
                }
                None => return Some(End::Stopped),
                Some(Control::Diverged { snapshot }) => self.diverged_due.push_back(snapshot),
                Some(Control::Checkpointed { number, .. }) => self.saver.arrived(number),
                Some(Control::Pause { .. }) => {}
            }
        }
    }

    /// Gives the worker a state of its lineage that it lacks, and says when it has done with it, and has saved that if it
    /// wants to.
    pub(super) async fn diverged(&mut self, worker: &mut W, snapshot: Snapshot) -> Option<End> {
        // It is about to be parked; whoever goes on is given the state.
        if !self.ctx.sworm.shared.may_go_on() {
            return None;
        }
        let revision = snapshot.revision;
        self.saver.stirs();
        self.activity.begins("its decoding");
        let node = &self.ctx.sworm.shared.node;
        let decoded = decode::<W>(node, &self.spec, self.saver.saving(), Some(&snapshot)).map(|(other, _)| other);
        self.activity.ends();
        let given = match decoded {
            Ok(other) => {
                self.activity.begins("`on_diverged`");
                let outbox = self.outbox.clone();
                let hook = guarded(held(outbox.as_ref(), worker.on_diverged(other, &mut self.ctx)));
                let given = timeout(STOPPING_LIMIT, hook).await;
                self.activity.ends();
                self.stirred = true;
                match given {
                    Ok(given) => given.map_err(|panic| (panic.clone(), Some(End::Exit(Exit::Panic(panic))))),
                    Err(_) => Err((format!("`on_diverged` did not return in {STOPPING_LIMIT:?}"), None)),
                }
            }
            Err(exit) => Err((exit.to_string(), None)),
        };
        let (result, end) = match given {
            Ok(()) => match self.save_after_message(worker).await {
                Ok(()) => {
                    if self.ctx.sworm.shared.may_go_on() {
                        self.send_outbox().await;
                    } else {
                        self.forget_outbox();
                    }
                    (Ok(()), None)
                }
                // It starts again from what it had before, and is given the state again.
                Err(Unsaved::Ends { end, .. }) => return Some(end),
                Err(unsaved) => {
                    self.forget_outbox();
                    (Err(unsaved.to_string()), None)
                }
            },
            Err((why, end)) => {
                self.forget_outbox();
                tracing::error!(pid = %self.ctx.pid, why, "a state that the worker lacks could not be given to it, and is kept");
                (Err(why), end)
            }
        };
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::Merged { name, since, revision, result });
        end
    }
}
