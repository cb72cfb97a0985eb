//! Sends on what did not find its worker where it came to: casts, for which nobody else would. What must wait for a worker
//! waits in order, and whatever comes for that worker meanwhile waits behind it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::HashMap;
use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::frame::{Call, Frame, Replied};
use super::order::Stay;
use super::sworm::SwormShared;
use crate::codec;
use crate::core::Entry;
use crate::core::cell::NameState;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Epoch, Peer};
use crate::error::CallError;
use crate::transport::Class;
use crate::worker::mailbox::{AnyMailbox, NotTaken, RemoteParcel};

/// How often a cast is sent on.
const MAX_HOPS: u8 = 3;
/// How long it waits for its worker, each time.
const LIMIT: Duration = Duration::from_secs(30);
/// How long what was sent on to here is kept as long as this node knows no more of the name than the one that sent it.
const NEWS_WAIT: Duration = Duration::from_secs(1);
/// How long a message waits for what went to its worker's former place.
pub(crate) const SETTLE_WAIT: Duration = Duration::from_secs(10);
/// How long it is known where the last cast was passed on to.
const PASSED_IS_NEWS: Duration = Duration::from_secs(30);
/// So many names are known at least of which casts were passed on.
const SWEEP_AT_LEAST: usize = 1_024;
/// How soon a name is looked at again, if no change comes first.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many messages wait for one worker beside its mailbox, and with how many bytes; more are refused.
const MAX_WAITING: usize = 10_000;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// With how many bytes they may wait for all workers of a sworm here.
const MAX_ALL_BYTES: usize = 256 << 20;
/// What a message costs besides what it carries.
const PARCEL_BYTES: usize = size_of::<(Instant, RemoteParcel)>();
/// The id of a message that is for no worker: it is answered when all casts before it are where their worker is. Says
/// which stay of the worker it was sent to.
pub(crate) const FLUSH: &str = "";

/// Where a message goes next.
enum Next {
    Here(Arc<dyn AnyMailbox>),
    There(Stay),
    /// Its worker starts, or its node is gone.
    Later,
    Nowhere(&'static str),
}

/// What waits for workers of this node.
#[derive(Default)]
pub(crate) struct Rooms {
    /// How many names it waits for, so that most need not look.
    count: AtomicUsize,
    /// What they hold together.
    bytes: Arc<AtomicUsize>,
    of: Mutex<HashMap<Arc<str>, Room>>,
    passed: Mutex<HashMap<Arc<str>, (Stay, Instant)>>,
}

/// What waits for one worker.
struct Room {
    /// What was in the mailbox of one that has ended, which came before all else.
    back: VecDeque<(Instant, RemoteParcel)>,
    fresh: VecDeque<(Instant, RemoteParcel)>,
    bytes: usize,
    all_bytes: Arc<AtomicUsize>,
}

/// A message, and whether it was in a mailbox before.
struct Waiting {
    since: Instant,
    parcel: RemoteParcel,
    was_in: bool,
}

impl Waiting {
    fn bytes(&self) -> usize {
        PARCEL_BYTES + self.parcel.payload.len()
    }
}

impl Rooms {
    /// Whether something waits for that name.
    pub(crate) fn is_waited_for(&self, name: &str) -> bool {
        self.count.load(Relaxed) > 0 && self.lock().contains_key(name)
    }

    /// Where the last cast for that name was passed on to, if that is not long ago.
    fn passed_to(&self, name: &str) -> Option<Stay> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed.get(name).filter(|(_, at)| at.elapsed() < PASSED_IS_NEWS).map(|(stay, _)| stay.clone())
    }

    fn passes_to(&self, name: &Arc<str>, stay: Stay) {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.len() >= SWEEP_AT_LEAST && passed.len() == passed.capacity() {
            passed.retain(|_, (_, at)| at.elapsed() < PASSED_IS_NEWS);
        }
        passed.insert(name.clone(), (stay, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Room>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn new(all_bytes: &Arc<AtomicUsize>) -> Self {
        Self { back: VecDeque::new(), fresh: VecDeque::new(), bytes: 0, all_bytes: all_bytes.clone() }
    }

    fn has_place_for(&self, waiting: &Waiting) -> bool {
        let bytes = waiting.bytes();
        self.back.len() + self.fresh.len() < MAX_WAITING
            && self.bytes + bytes <= MAX_WAITING_BYTES
            && self.all_bytes.load(Relaxed) + bytes <= MAX_ALL_BYTES
    }

    fn push(&mut self, waiting: Waiting) {
        self.holds(waiting.bytes());
        let Waiting { since, mut parcel, was_in } = waiting;
        // It shares the memory of the packet that it came in.
        parcel.payload = Bytes::copy_from_slice(&parcel.payload);
        if was_in { &mut self.back } else { &mut self.fresh }.push_back((since, parcel));
    }

    fn push_front(&mut self, waiting: Waiting) {
        self.holds(waiting.bytes());
        let Waiting { since, parcel, was_in } = waiting;
        if was_in { &mut self.back } else { &mut self.fresh }.push_front((since, parcel));
    }

    fn pop(&mut self) -> Option<Waiting> {
        let was_in = !self.back.is_empty();
        let (since, parcel) = if was_in { &mut self.back } else { &mut self.fresh }.pop_front()?;
        let waiting = Waiting { since, parcel, was_in };
        self.bytes -= waiting.bytes();
        self.all_bytes.fetch_sub(waiting.bytes(), Relaxed);
        Some(waiting)
    }

    fn holds(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Why a message was not passed on.
enum Stays {
    /// Its worker does not run yet.
    Absent(RemoteParcel),
    Full(RemoteParcel, Arc<dyn AnyMailbox>),
}

impl SwormShared {
    /// Sends a cast that came back to where its worker is, as soon as it is somewhere. With `was_in` it was in the mailbox
    /// of a worker that has ended: it goes before those that come for that name now.
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

    /// Brings a message to its worker, behind those that wait for it.
    pub(crate) fn bring(self: &Arc<Self>, name: &Arc<str>, parcel: RemoteParcel, was_in: bool) {
        let mut waiting = Waiting { since: Instant::now(), parcel, was_in };
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get_mut(name) {
            if room.has_place_for(&waiting) {
                return room.push(waiting);
            }
            drop(rooms);
            return self.drop_parcel(name, &waiting.parcel, CallError::Overloaded);
        }
        // At once where that is possible: a node that leaves sends nothing later.
        if was_in || !self.is_ending(name) {
            match self.pass_on(name, waiting.parcel, Duration::ZERO) {
                Ok(()) => return,
                Err(Stays::Absent(parcel) | Stays::Full(parcel, _)) => waiting.parcel = parcel,
            }
        }
        let mut room = Room::new(&self.rooms.bytes);
        if !room.has_place_for(&waiting) {
            drop(rooms);
            return self.drop_parcel(name, &waiting.parcel, CallError::Overloaded);
        }
        room.push(waiting);
        rooms.insert(name.clone(), room);
        self.rooms.count.store(rooms.len(), Relaxed);
        drop(rooms);
        tokio::spawn(self.clone().empty(name.clone()));
    }

    /// Brings what waits for a worker to it, in order, until nothing waits.
    async fn empty(self: Arc<Self>, name: Arc<str>) {
        loop {
            let changed = self.index.changed(&name);
            let Some(full) = self.pass_all_on(&name) else { return };
            match full {
                Some((waiting, mailbox)) => self.wait_for_room(&name, waiting, &*mailbox).await,
                None => drop(timeout(LOOK_AGAIN, changed).await),
            }
        }
    }

    /// Passes on what can go. Gives the first for which a mailbox has no room; nothing when nothing waits any more.
    fn pass_all_on(self: &Arc<Self>, name: &Arc<str>) -> Option<Option<(Waiting, Arc<dyn AnyMailbox>)>> {
        let mut rooms = self.rooms.lock();
        let room = rooms.get_mut(name)?;
        while let Some(mut waiting) = room.pop() {
            let waited = waiting.since.elapsed();
            if self.node.has_stopped() || waited >= LIMIT {
                self.drop_parcel(name, &waiting.parcel, CallError::NotSent { after: LIMIT });
                continue;
            }
            if !waiting.was_in && self.is_ending(name) {
                room.push_front(waiting);
                return Some(None);
            }
            match self.pass_on(name, waiting.parcel, waited) {
                Ok(()) => {}
                Err(Stays::Absent(parcel)) => {
                    waiting.parcel = parcel;
                    room.push_front(waiting);
                    return Some(None);
                }
                Err(Stays::Full(parcel, mailbox)) => {
                    waiting.parcel = parcel;
                    return Some(Some((waiting, mailbox)));
                }
            }
        }
        rooms.remove(name);
        self.rooms.count.store(rooms.len(), Relaxed);
        None
    }

    /// Puts a message into a mailbox as soon as it has room; it waits on if it has none in time.
    async fn wait_for_room(&self, name: &Arc<str>, waiting: Waiting, mailbox: &dyn AnyMailbox) {
        let Waiting { since, parcel, was_in } = waiting;
        let mut parcel = Some(parcel);
        let _ = timeout(LOOK_AGAIN, mailbox.deliver_waiting(&mut parcel)).await;
        if let Some(parcel) = parcel {
            let mut rooms = self.rooms.lock();
            let room = rooms.entry(name.clone()).or_insert_with(|| Room::new(&self.rooms.bytes));
            room.push_front(Waiting { since, parcel, was_in });
        }
    }

    /// Whether a worker of that name is about to go from here, or has ended: what is in its mailbox goes first.
    fn is_ending(&self, name: &str) -> bool {
        let runs = |entry: &Entry| entry.host == self.node.me && entry.running;
        self.mailbox(name)
            .is_some_and(|mailbox| mailbox.is_closed() || !self.index.get(name).as_ref().is_some_and(runs))
    }

    /// Gives the message back if it must wait.
    fn pass_on(self: &Arc<Self>, name: &Arc<str>, parcel: RemoteParcel, waited: Duration) -> Result<(), Stays> {
        let entry = self.index.get(name);
        let seen = entry.as_ref().map(|entry| entry.cell.epoch);
        match self.next(entry.as_ref(), name) {
            Next::Later => return Err(Stays::Absent(parcel)),
            _ if *parcel.message == *FLUSH => self.answer_in_order(name, parcel),
            Next::There(_) if parcel.hops > 0 && parcel.seen >= seen && waited < NEWS_WAIT => {
                return Err(Stays::Absent(parcel));
            }
            Next::There(_) | Next::Nowhere(_) if !parcel.cast => self.reply_with(&parcel, Replied::NotHere),
            Next::Nowhere(why) => self.lost(name, &parcel, why),
            Next::There(stay) => self.send_on(stay, name, parcel, seen),
            Next::Here(mailbox) => match mailbox.deliver(parcel) {
                Ok(()) => {}
                Err((parcel, NotTaken::Closed)) => return Err(Stays::Absent(parcel)),
                Err((parcel, NotTaken::Full)) => return Err(Stays::Full(parcel, mailbox)),
                Err((parcel, NotTaken::Unknown)) => {
                    let message = parcel.message.to_string();
                    self.drop_parcel(name, &parcel, CallError::NoSuchMessage { message });
                }
            },
        }
        Ok(())
    }

    fn next(&self, entry: Option<&Entry>, name: &str) -> Next {
        let Some(entry) = entry else { return Next::Nowhere("nobody has the name") };
        let me = &self.node.me;
        match &entry.cell.state {
            NameState::Failed { .. } => Next::Nowhere("its worker is not started again"),
            NameState::Leaving { to } if **to != *me => Next::There(Stay::next((**to).clone(), entry.cell.since)),
            NameState::Released(release) if release.to != *me => {
                Next::There(Stay::begun(release.to.clone(), release.epoch))
            }
            NameState::Running if entry.running && entry.host != *me => {
                Next::There(Stay::begun(entry.host.clone(), entry.cell.since))
            }
            NameState::Running if entry.running => self.mailbox(name).map_or(Next::Later, Next::Here),
            _ => Next::Later,
        }
    }

    fn send_on(&self, stay: Stay, name: &Arc<str>, parcel: RemoteParcel, seen: Option<Epoch>) {
        let RemoteParcel { cast, hops, message, payload, .. } = parcel;
        // Under a number of its own: to a node that it comes to for the second time it is no repeat.
        let (from, number) = (self.node.me.clone(), self.node.calls.number());
        let (sworm, name_of, alone) = (self.hash, name.clone(), false);
        let call = Call { sworm, from, number, name: name_of, message, cast, hops, seen, alone, payload };
        self.send_call(&stay.host, call);
        self.node.calls.has_sent(&stay.host, 1);
        self.rooms.passes_to(name, stay);
    }

    /// Answers one who wants to know that the casts of before are where their worker is now: at once if none were passed on.
    fn answer_in_order(self: &Arc<Self>, name: &Arc<str>, flush: RemoteParcel) {
        let entry = self.index.get(name).filter(|entry| entry.host == self.node.me && entry.running);
        let Ok((as_of, has_begun)) = codec::decode::<(Epoch, bool)>(&flush.payload) else { return };
        let still_here = entry.is_some_and(|entry| !has_begun || as_of >= entry.cell.since);
        // What was passed on before that stay was not part of it.
        let later = |stay: &Stay| stay.since >= as_of && !still_here;
        let Some(stay) = self.rooms.passed_to(name).filter(later) else { return self.answer_flush(&flush) };
        let (shared, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            shared.flush(&name, &stay).await;
            shared.answer_flush(&flush);
        });
    }

    fn answer_flush(&self, flush: &RemoteParcel) {
        self.answer(&flush.from, flush.number, Replied::Done(Bytes::new()), false);
    }

    /// Waits until a node has passed on all casts for the worker that went there, for a while.
    pub(crate) async fn flush(&self, name: &Arc<str>, stay: &Stay) {
        let mut waiting = self.node.calls.wait(&stay.host);
        if !self.node.is_present(&stay.host) {
            return;
        }
        let (from, number) = (self.node.me.clone(), waiting.number);
        let payload = codec::encode(&(stay.since, stay.has_begun)).unwrap_or_default().into();
        let (name, message) = (name.clone(), FLUSH.into());
        let (sworm, seen, alone) = (self.hash, None, false);
        let call = Call { sworm, from, number, name, message, cast: true, hops: 0, seen, alone, payload };
        self.send_call(&stay.host, call);
        let _ = timeout(SETTLE_WAIT, &mut waiting.reply).await;
    }

    fn send_call(&self, host: &Peer, call: Call) {
        match Frame::Call(call).encode() {
            Ok(frame) => self.node.send(host, Class::Important, frame),
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    /// A message is not delivered: whoever waits for the reply is told.
    pub(crate) fn drop_parcel(&self, name: &str, parcel: &RemoteParcel, error: CallError) {
        if parcel.cast {
            return self.lost(name, parcel, &error.to_string());
        }
        self.reply_with(parcel, Replied::Failed(error));
    }

    /// Nobody waits for a cast: that it is lost is said in the log only.
    fn lost(&self, name: &str, cast: &RemoteParcel, why: &str) {
        tracing::debug!(sworm = &*self.name, name, message = &*cast.message, from = %cast.from, why, "a cast is lost");
    }
}
