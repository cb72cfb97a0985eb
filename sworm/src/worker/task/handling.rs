//! Handling a message: the handler runs, the state is saved if it is to be, and then the reply leaves.

use bytes::Bytes;

use super::save::Unsaved;
use super::showing::held;
use super::{End, Task, guarded};
use crate::error::CallError;
use crate::strategy::Exit;
use crate::worker::mailbox::{LocalParcel, Parcel};
use crate::worker::{Lifecycle, entry_of};

/// A reply that waits until it may leave: at once, or when the state that it shows is durable.
enum Release<W> {
    Local(Box<dyn LocalParcel<W>>),
    /// To the call that is in hand.
    Remote(Result<Bytes, CallError>),
}

impl<W: Lifecycle> Task<W> {
    pub(super) async fn handle(&mut self, worker: &mut W, parcel: Parcel<W>) -> Option<End> {
        if !self.ctx.sworm.shared.may_go_on() {
            self.give_back(parcel);
            return None;
        }
        let (handled, release): (Result<(), String>, Release<W>) = match parcel {
            Parcel::Local(mut parcel) => {
                self.activity.begins(parcel.id());
                let handled = guarded(held(self.outbox.as_ref(), parcel.handle(worker, &mut self.ctx))).await;
                self.activity.ends();
                (handled, Release::Local(parcel))
            }
            Parcel::Remote(parcel) => {
                let Some(entry) = entry_of::<W>(&parcel.message) else {
                    let unknown = CallError::NoSuchMessage { message: parcel.message.to_string() };
                    self.tell.replies.reply(&parcel, Err(unknown));
                    return None;
                };
                self.activity.begins(entry.id);
                let payload = &self.in_hand.insert(parcel).payload;
                let run = (entry.run)(worker, &mut self.ctx, payload);
                let handled = guarded(held(self.outbox.as_ref(), run)).await;
                self.activity.ends();
                let (handled, reply) = match handled {
                    Ok(reply) => (Ok(()), reply.map(Bytes::from)),
                    Err(panic) => (Err(panic), Ok(Bytes::new())),
                };
                (handled, Release::Remote(reply))
            }
        };
        self.saver.handled();
        if let Err(panic) = handled {
            self.release(release, Some(CallError::WorkerDied { reason: panic.clone() }));
            return Some(End::Exit(Exit::Panic(panic)));
        }
        let saved = if self.is_settled() { Ok(()) } else { Box::pin(self.save_after_message(worker)).await };
        let saved = match saved {
            // What is said now may be contradicted by the other side, which starts the worker from what it has.
            Ok(()) if !self.ctx.sworm.shared.may_go_on() => Err((CallError::MajorityLost, None)),
            Ok(()) => Ok(()),
            Err(Unsaved::TooLarge { bytes, limit }) => Err((CallError::StateTooLarge { bytes, limit }, None)),
            Err(Unsaved::NoMajority) => Err((CallError::MajorityLost, None)),
            Err(Unsaved::Ends { reason, end }) => Err((CallError::NotDurable { reason }, Some(end))),
            Err(unsaved @ Unsaved::GivenUp) => {
                Err((CallError::NotDurable { reason: unsaved.to_string() }, Some(End::Stopped)))
            }
        };
        match saved {
            Ok(()) => {
                if self.outbox.is_some() {
                    Box::pin(self.send_outbox()).await;
                }
                // That may have taken its time.
                let lost = (!self.ctx.sworm.shared.may_go_on()).then_some(CallError::MajorityLost);
                self.release(release, lost);
                None
            }
            Err((error, end)) => {
                self.forget_outbox();
                self.release(release, Some(error));
                end
            }
        }
    }

    /// Sends a reply, or this error instead.
    fn release(&mut self, release: Release<W>, error: Option<CallError>) {
        match release {
            Release::Local(parcel) => parcel.release(error),
            Release::Remote(reply) => {
                if let Some(parcel) = self.in_hand.take() {
                    self.tell.replies.reply(&parcel, error.map_or(reply, Err));
                }
            }
        }
    }
}
