//! States of a worker's lineage that it lacks are given to it.

use tokio::time::timeout;

use super::decode::decode_within;
use super::save::Unsaved;
use super::showing::held;
use super::{End, STOPPING_LIMIT, Task, guarded};
use crate::core::Input;
use crate::core::cell::Revision;
use crate::core::chunks::Shipment;
use crate::core::message::Snapshot;
use crate::strategy::Exit;
use crate::worker::Lifecycle;

impl<W: Lifecycle> Task<W> {
    /// Gives the worker a state of its lineage that it lacks, and says when it has done with it. Whoever holds that state lets
    /// go of it then: where the worker's type saves states while it runs, or its hook has asked for it, what it has made of it
    /// is durable before.
    pub(super) async fn diverged(&mut self, worker: &mut W, snapshot: Snapshot) -> Option<End> {
        // It is about to be parked; whoever goes on is given the state.
        if !self.ctx.sworm.shared.may_go_on() {
            self.not_given(snapshot.revision);
            return None;
        }
        let (revision, state) = (snapshot.revision, Shipment::Whole(snapshot));
        self.saver.stirs();
        self.activity.begins("its decoding");
        let of = (&self.ctx.sworm.shared, &self.ctx.pid.name);
        let decoded = decode_within::<W>(self.start_timeout, of, &self.spec, self.saver.saving(), Some(state)).await;
        let decoded = decoded.map(|(other, _)| other);
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
        let due = self.ctx.asked.take_checkpoint() || self.saver.saving().goes_on();
        let (result, end) = match given {
            Ok(()) => match self.checkpoint(worker, due).await {
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
                // It is about to be parked with it, and is not yet: whoever goes on is given the state again.
                Err(Unsaved::NoMajority) => {
                    self.forget_outbox();
                    self.not_given(revision);
                    return None;
                }
                Err(Unsaved::GivenUp) => {
                    self.forget_outbox();
                    return Some(End::Stopped);
                }
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

    fn not_given(&self, revision: Revision) {
        let (name, since) = (self.ctx.pid.name.clone(), self.ctx.pid.epoch);
        self.send(Input::NotGiven { name, since, revision });
    }
}
