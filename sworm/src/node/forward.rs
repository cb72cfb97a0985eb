//! Sends on what did not find its worker where it came to: casts, for which nobody else would. What must wait for a worker
//! waits in order, and whatever comes for that stay of the worker meanwhile waits behind it.
//!
//! What was sent to one stay of a worker keeps its order here: it goes on to a later stay only when all that went to an
//! earlier one is where the worker is. Waiting for what went to a stay needs only what goes to later ones, so no two nodes
//! wait for each other. What senders send to different stays they keep in order themselves ([`order`](super::order)).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::frame::{Call, Frame, Replied};
use super::order::Stay;
use super::rooms::{Addressee, LIMIT, Waiting};
use super::sworm::SwormShared;
use crate::core::Entry;
use crate::core::cell::NameState;
use crate::core::fault::{Fault, planted};
use crate::core::ids::Epoch;
use crate::error::CallError;
use crate::transport::Class;
use crate::worker::mailbox::{AnyMailbox, NotTaken, RemoteParcel};

/// How often a cast is sent on.
const MAX_HOPS: u8 = 16;
/// How long what was sent to here is kept as long as this node knows no more of the name than the one that sent it.
const NEWS_WAIT: Duration = Duration::from_secs(1);
/// How long a message waits for what went to its worker's former place.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(10);
/// How soon a name is looked at again, if no change comes first.
const LOOK_AT_NAME_AGAIN: Duration = Duration::from_millis(100);
/// How soon those that wait for room are looked at again whose time may be over.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The id of a message that is for no worker: it is answered when all casts that went to that stay before it are where their
/// worker is.
pub(crate) const FLUSH: &str = "";

/// Where a message goes next.
enum Next {
    Here(Arc<dyn AnyMailbox>, Epoch),
    There(Stay),
    /// Its worker starts or is about to go, or its node is gone.
    Later,
    Nowhere(&'static str),
}

/// Why a message was not passed on.
enum Held {
    /// Its worker does not run yet.
    Absent,
    Full(Arc<dyn AnyMailbox>),
    /// What went there before is not known to be where the worker is.
    Unsettled(Stay),
}

impl SwormShared {
    /// Sends a cast that came back to where its worker is, as soon as it is somewhere. With `was_in` it was in the mailbox
    /// of a worker that has ended: it goes before those that come for that stay now.
    pub(crate) fn forward(self: &Arc<Self>, name: &Arc<str>, mut cast: RemoteParcel, was_in: bool) {
        if cast.hops >= MAX_HOPS {
            return self.drop_parcel(
                name,
                &cast,
                CallError::WorkerDied { reason: "its worker moved too often".into() },
            );
        }
        cast.hops += 1;
        if planted(Fault::ForwardTwice) {
            self.bring(name, cast.clone(), was_in);
        }
        self.bring(name, cast, was_in);
    }

    /// Brings a message to its worker, behind those that wait with it.
    pub(crate) fn bring(self: &Arc<Self>, name: &Arc<str>, parcel: RemoteParcel, was_in: bool) {
        let to = Addressee { name: name.clone(), since: parcel.stay };
        let mut waiting = Waiting::new(parcel, was_in);
        let mut rooms = self.rooms.lock();
        // At once where that is possible: a node that leaves sends nothing later.
        if !rooms.contains_key(&to) && (was_in || !self.is_ending(&to)) {
            match self.pass_on(&to, waiting) {
                Ok(()) => return,
                Err((back, _)) => waiting = back,
            }
        }
        if waiting.until() <= Instant::now() {
            drop(rooms);
            return self.expires(name, &waiting.parcel);
        }
        let pushed = self.rooms.push(&mut rooms, &to, waiting);
        drop(rooms);
        match pushed {
            Ok(true) => drop(tokio::spawn(self.clone().empty(to))),
            Ok(false) => {}
            Err(waiting) => self.drop_parcel(name, &waiting.parcel, CallError::Overloaded),
        }
    }

    /// Brings what waits for a worker to it, in order, until nothing waits.
    async fn empty(self: Arc<Self>, to: Addressee) {
        // Until what waited for others to arrive has gone on itself.
        let mut settling = None;
        loop {
            let changed = self.index.changed(&to.name);
            self.drop_expired(&to);
            let Some((waiting, held)) = self.pass_all_on(&to) else { return };
            if !matches!(held, Held::Unsettled(_)) {
                settling = None;
            }
            match (waiting, held) {
                (Some(waiting), Held::Full(mailbox)) => self.wait_for_room(&to, waiting, &*mailbox).await,
                (_, Held::Unsettled(stay)) => {
                    settling.get_or_insert_with(|| self.rooms.settling());
                    self.flush(&to.name, &stay).await;
                    self.rooms.settles(&to, &stay);
                }
                _ => drop(timeout(LOOK_AT_NAME_AGAIN, changed).await),
            }
        }
    }

    /// Passes on what can go. Gives why the first that cannot is held, and that one itself if a mailbox has no room for it,
    /// else it waits on; nothing when nothing waits any more.
    fn pass_all_on(self: &Arc<Self>, to: &Addressee) -> Option<(Option<Waiting>, Held)> {
        let mut rooms = self.rooms.lock();
        let room = rooms.get_mut(to)?;
        while let Some(waiting) = room.pop() {
            if self.node.has_stopped() {
                self.expires(&to.name, &waiting.parcel);
                continue;
            }
            if !waiting.was_in && self.is_ending(to) {
                room.push_front(waiting);
                return Some((None, Held::Absent));
            }
            match self.pass_on(to, waiting) {
                Ok(()) => {}
                Err((waiting, Held::Full(mailbox))) => return Some((Some(waiting), Held::Full(mailbox))),
                Err((waiting, held)) => {
                    room.push_front(waiting);
                    return Some((None, held));
                }
            }
        }
        self.rooms.remove(&mut rooms, to);
        None
    }

    /// Puts a message into a mailbox as soon as it has room; it waits on if it has none in time.
    async fn wait_for_room(self: &Arc<Self>, to: &Addressee, waiting: Waiting, mailbox: &dyn AnyMailbox) {
        let until = waiting.until();
        let Waiting { since, parcel, was_in } = waiting;
        let mut parcel = Some(parcel);
        {
            let mut delivering = mailbox.deliver_waiting(&mut parcel);
            // Its place among those that wait for room is kept meanwhile.
            while timeout(LOOK_AGAIN, &mut delivering).await.is_err() {
                self.drop_expired(to);
                if self.node.has_stopped() || until <= Instant::now() {
                    break;
                }
            }
        }
        if let Some(parcel) = parcel {
            self.rooms.push_front(&mut self.rooms.lock(), to, Waiting { since, parcel, was_in });
        }
    }

    /// What has waited for too long is not waited for any more.
    fn drop_expired(self: &Arc<Self>, to: &Addressee) {
        for parcel in self.rooms.expired(to) {
            self.expires(&to.name, &parcel);
        }
    }

    fn expires(&self, name: &str, parcel: &RemoteParcel) {
        let full = self.mailbox(name).is_some_and(|mailbox| !mailbox.is_closed());
        if !full && !parcel.cast && parcel.limit > LIMIT {
            // Its caller has time left, and looks for the worker anew.
            return self.reply_with(parcel, Replied::NotHere);
        }
        let error = if full { CallError::Overloaded } else { CallError::NotSent { after: parcel.limit.min(LIMIT) } };
        self.drop_parcel(name, parcel, error);
    }

    /// Whether the worker of that stay is about to go from here, or has ended: what is in its mailbox goes first.
    fn is_ending(&self, to: &Addressee) -> bool {
        let runs = |entry: &Entry| entry.host == self.node.me && entry.running;
        let mailbox = self.slots().get(&to.name).filter(|slot| slot.since == to.since).map(|slot| slot.mailbox.clone());
        mailbox.is_some_and(|mailbox| mailbox.is_closed() || !self.index.get(&to.name).as_ref().is_some_and(runs))
    }

    /// Gives the message back if it must wait.
    fn pass_on(self: &Arc<Self>, to: &Addressee, waiting: Waiting) -> Result<(), (Waiting, Held)> {
        if *waiting.parcel.message == *FLUSH {
            self.answer_in_order(to, waiting.parcel);
            return Ok(());
        }
        let entry = self.index.get(&to.name);
        let next = self.next(entry.as_ref(), &to.name);
        let stay = match &next {
            Next::Later => return Err((waiting, Held::Absent)),
            // This node is behind. What was in a mailbox here has seen its worker end.
            Next::There(stay) if !waiting.was_in && to.since >= stay.since && waiting.since.elapsed() < NEWS_WAIT => {
                return Err((waiting, Held::Absent));
            }
            Next::Here(_, since) if !waiting.parcel.cast && *since != to.since && self.rooms.has_refused(to) => None,
            Next::There(_) | Next::Nowhere(_) if !waiting.parcel.cast => None,
            Next::There(stay) => Some(stay.clone()),
            Next::Here(_, since) => Some(Stay { host: self.node.me.clone(), since: *since }),
            Next::Nowhere(why) => {
                self.lost(&to.name, &waiting.parcel, why);
                return Ok(());
            }
        };
        let Some(stay) = stay else {
            self.refuse(to, &waiting.parcel);
            return Ok(());
        };
        if let Some(before) = self.rooms.passed_to(to).filter(|before| *before != stay) {
            return Err((waiting, Held::Unsettled(before)));
        }
        let Waiting { since: came, parcel, was_in } = waiting;
        match next {
            Next::Here(mailbox, since) => match mailbox.deliver(parcel) {
                // What comes after it for that earlier stay goes behind it, wherever the worker is by then.
                Ok(()) if since != to.since => self.rooms.passes_to(to, stay),
                Ok(()) => {}
                Err((parcel, NotTaken::Closed)) => return Err((Waiting { since: came, parcel, was_in }, Held::Absent)),
                Err((parcel, NotTaken::Full)) => {
                    return Err((Waiting { since: came, parcel, was_in }, Held::Full(mailbox)));
                }
                Err((parcel, NotTaken::Unknown)) => {
                    let message = parcel.message.to_string();
                    self.drop_parcel(&to.name, &parcel, CallError::NoSuchMessage { message });
                }
            },
            _ => self.send_on(stay, to, parcel),
        }
        Ok(())
    }

    /// A call did not find its worker: its caller looks for it anew, and so do those who called after it.
    fn refuse(&self, to: &Addressee, call: &RemoteParcel) {
        self.rooms.refuses(to);
        self.reply_with(call, Replied::NotHere);
    }

    /// The worker is not here: whoever calls it looks for it anew, a cast is sent on.
    pub(crate) fn not_here(self: &Arc<Self>, name: &Arc<str>, parcel: RemoteParcel, was_in: bool) {
        if parcel.cast {
            return self.forward(name, parcel, was_in);
        }
        self.refuse(&Addressee { name: name.clone(), since: parcel.stay }, &parcel);
    }

    fn next(&self, entry: Option<&Entry>, name: &str) -> Next {
        let Some(entry) = entry else { return Next::Nowhere("nobody has the name") };
        let me = &self.node.me;
        match &entry.cell.state {
            NameState::Failed { .. } => Next::Nowhere("its worker is not started again"),
            NameState::Released(release) if release.to != *me => {
                Next::There(Stay { host: release.to.clone(), since: release.epoch })
            }
            NameState::Running if entry.running && entry.host != *me => {
                Next::There(Stay { host: entry.host.clone(), since: entry.cell.since })
            }
            NameState::Running if entry.running => {
                self.mailbox(name).map_or(Next::Later, |mailbox| Next::Here(mailbox, entry.cell.since))
            }
            _ => Next::Later,
        }
    }

    fn send_on(&self, stay: Stay, to: &Addressee, parcel: RemoteParcel) {
        let RemoteParcel { hops, message, payload, .. } = parcel;
        self.send_call(&stay, &to.name, self.node.calls.number(), hops, message, payload);
        self.node.calls.has_sent(&stay.host, 1);
        self.rooms.passes_to(to, stay);
    }

    /// Answers one who wants to know that the casts of before are where their worker is now: at once if none were passed on.
    fn answer_in_order(self: &Arc<Self>, to: &Addressee, flush: RemoteParcel) {
        let Some(stay) = self.rooms.passed_to(to) else { return self.answer_flush(&flush) };
        let (shared, to) = (self.clone(), to.clone());
        tokio::spawn(async move {
            shared.flush(&to.name, &stay).await;
            shared.answer_flush(&flush);
        });
    }

    fn answer_flush(&self, flush: &RemoteParcel) {
        self.answer(&flush.from, flush.number, Replied::Done(Bytes::new()), false);
    }

    /// Waits until a node has passed on all casts for the worker that went there, for a while.
    pub(crate) async fn flush(&self, name: &Arc<str>, stay: &Stay) {
        let mut waiting = self.node.calls.wait(&stay.host, None);
        // A node that has stopped ends no wait that begins now.
        if self.node.has_stopped() || !self.node.is_present(&stay.host) {
            return;
        }
        self.send_call(stay, name, waiting.number, 0, FLUSH.into(), Bytes::new());
        let _ = timeout(SETTLE_WAIT, &mut waiting.reply).await;
    }

    /// Sends a cast to a stay. It has a number of its own: to a node that it comes to for the second time it is no repeat.
    fn send_call(&self, to: &Stay, name: &Arc<str>, number: u64, hops: u8, message: Arc<str>, payload: Bytes) {
        let (sworm, from, name, cast) = (self.hash, self.node.me.clone(), name.clone(), true);
        let (stay, limit_ms, alone) = (to.since, None, false);
        let call = Call { sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload };
        match Frame::Call(call).encode() {
            Ok(frame) => self.node.send(&to.host, Class::Important, frame),
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    /// A message is not delivered: whoever waits for the reply is told.
    pub(crate) fn drop_parcel(&self, name: &str, parcel: &RemoteParcel, error: CallError) {
        if parcel.cast {
            let is_cast = *parcel.message != *FLUSH;
            if is_cast && matches!(error, CallError::Overloaded | CallError::NotSent { .. }) {
                let lost = self.rooms.lost.fetch_add(1, Relaxed) + 1;
                if self.rooms.says_lost.is_due() {
                    let sworm = &*self.name;
                    tracing::warn!(sworm, name, %error, lost, "casts are lost: their workers do not take them in time");
                }
            }
            return self.lost(name, parcel, &error.to_string());
        }
        self.reply_with(parcel, Replied::Failed(error));
    }

    /// Nobody waits for a cast: that it is lost is said in the log only, each time at level debug.
    fn lost(&self, name: &str, cast: &RemoteParcel, why: &str) {
        tracing::debug!(sworm = &*self.name, name, message = &*cast.message, from = %cast.from, why, "a cast is lost");
    }
}

#[cfg(test)]
mod tests;
