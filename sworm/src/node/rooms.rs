//! What waits on this node for workers that are not here yet, or whose mailboxes are full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::HashMap;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::forward::FLUSH;
use super::order::Stay;
use crate::core::ids::Epoch;
use crate::seldom::Seldom;
use crate::worker::mailbox::RemoteParcel;

/// How long something waits here at most, each time.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// How long it is known what became of the messages for a stay that is over.
const PAST_IS_NEWS: Duration = Duration::from_secs(30);
/// So many stays are known at least of which messages were passed on.
const SWEEP_AT_LEAST: usize = 1_024;
/// How many messages wait for one worker beside its mailbox, and with how many bytes; more are refused.
const MAX_WAITING: usize = 10_000;
const MAX_WAITING_BYTES: usize = 32 << 20;
/// With how many bytes they may wait for all workers of a sworm here.
const MAX_ALL_BYTES: usize = 256 << 20;
/// A worker for which little waits has its room whatever waits for others.
const EXEMPT_BYTES: usize = 64 << 10;
/// What a message costs besides what it carries.
const PARCEL_BYTES: usize = size_of::<(Instant, RemoteParcel)>();

/// A stay of a worker on this node: what was sent to it keeps its order, apart from what was sent to others.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Addressee {
    pub(crate) name: Arc<str>,
    /// With which epoch it began.
    pub(crate) since: Epoch,
}

/// What waits for workers of this node.
#[derive(Default)]
pub(crate) struct Rooms {
    /// How many stays something waits for, so that most need not look.
    count: AtomicUsize,
    /// What they hold together.
    bytes: Arc<AtomicUsize>,
    of: Mutex<HashMap<Addressee, Room>>,
    past: Mutex<HashMap<Addressee, Past>>,
    /// How many stays wait for what was passed on to be where their workers are.
    settling: watch::Sender<usize>,
    /// How many casts have found no room or no worker in time.
    pub(super) lost: AtomicU64,
    pub(super) says_lost: Seldom,
}

/// Something waits for what was passed on; dropping it ends that.
pub(super) struct Settling<'a>(&'a watch::Sender<usize>);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// What became of the messages for a stay.
struct Past {
    /// Where the last casts were passed on to, unless all of them are known to be where their worker is.
    passed_to: Option<Stay>,
    /// Whether a call was told that it is over.
    has_refused: bool,
    at: Instant,
}

/// What waits for one worker.
pub(super) struct Room {
    /// What was in the mailbox of one that has ended, which came before all else.
    back: VecDeque<(Instant, RemoteParcel)>,
    fresh: VecDeque<(Instant, RemoteParcel)>,
    bytes: usize,
    /// Until when the first waits whose time is over, or earlier.
    until: Option<Instant>,
    all_bytes: Arc<AtomicUsize>,
}

/// A message, and whether it was in a mailbox before.
pub(super) struct Waiting {
    pub(super) since: Instant,
    pub(super) parcel: RemoteParcel,
    pub(super) was_in: bool,
}

impl Waiting {
    /// One that waits from now on.
    pub(super) fn new(parcel: RemoteParcel, was_in: bool) -> Self {
        Self { since: Instant::now(), parcel, was_in }
    }

    /// Until when it waits.
    pub(super) fn until(&self) -> Instant {
        until(self.since, &self.parcel)
    }

    fn bytes(&self) -> usize {
        PARCEL_BYTES + self.parcel.payload.len()
    }
}

fn until(since: Instant, parcel: &RemoteParcel) -> Instant {
    since + parcel.limit.min(LIMIT)
}

impl Rooms {
    /// Whether something waits for that stay.
    pub(crate) fn is_waited_for(&self, name: &Arc<str>, since: Epoch) -> bool {
        self.count.load(Relaxed) > 0 && self.lock().contains_key(&Addressee { name: name.clone(), since })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<Addressee, Room>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message behind those that wait with it. Gives it back where too much waits;
    /// else whether it is the only one.
    pub(super) fn push(
        &self,
        rooms: &mut HashMap<Addressee, Room>,
        to: &Addressee,
        waiting: Waiting,
    ) -> Result<bool, Waiting> {
        let is_new = !rooms.contains_key(to);
        let room = rooms.entry(to.clone()).or_insert_with(|| Room::new(&self.bytes));
        if room.has_place_for(&waiting) {
            room.push(waiting);
            self.count.store(rooms.len(), Relaxed);
            return Ok(is_new);
        }
        if is_new {
            rooms.remove(to);
        }
        Err(waiting)
    }

    /// Puts a message before those that wait, which it was the first of.
    pub(super) fn push_front(&self, rooms: &mut HashMap<Addressee, Room>, to: &Addressee, waiting: Waiting) {
        rooms.entry(to.clone()).or_insert_with(|| Room::new(&self.bytes)).push_front(waiting);
    }

    /// Nothing waits for that stay any more.
    pub(super) fn remove(&self, rooms: &mut HashMap<Addressee, Room>, to: &Addressee) {
        rooms.remove(to);
        self.count.store(rooms.len(), Relaxed);
    }

    /// Something waits for what was passed on, which goes on itself only then.
    pub(super) fn settling(&self) -> Settling<'_> {
        self.settling.send_modify(|count| *count += 1);
        Settling(&self.settling)
    }

    /// Waits until nothing does.
    pub(crate) async fn settled(&self) {
        let _ = self.settling.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Takes out what has waited for longer than it may.
    pub(super) fn expired(&self, to: &Addressee) -> Vec<RemoteParcel> {
        self.lock().get_mut(to).map_or_else(Vec::new, Room::expired)
    }

    /// Where the last casts for that stay were passed on to, as far as they may be on their way.
    pub(super) fn passed_to(&self, to: &Addressee) -> Option<Stay> {
        self.past().get(to).filter(|past| past.is_news())?.passed_to.clone()
    }

    /// Casts for that stay are passed on to there.
    pub(super) fn passes_to(&self, to: &Addressee, stay: Stay) {
        self.note(to, |past| past.passed_to = Some(stay));
    }

    /// What was passed on to there is where its worker is, or lost.
    pub(super) fn settles(&self, to: &Addressee, stay: &Stay) {
        if let Some(past) = self.past().get_mut(to).filter(|past| past.passed_to.as_ref() == Some(stay)) {
            past.passed_to = None;
        }
    }

    /// Whether a call for that stay has been told that it is over: so must those that came after it.
    pub(super) fn has_refused(&self, to: &Addressee) -> bool {
        self.past().get(to).is_some_and(|past| past.has_refused && past.is_news())
    }

    /// A call is told that the stay is over.
    pub(super) fn refuses(&self, to: &Addressee) {
        self.note(to, |past| past.has_refused = true);
    }

    fn note(&self, to: &Addressee, change: impl FnOnce(&mut Past)) {
        let mut all = self.past();
        if all.len() >= SWEEP_AT_LEAST && all.len() == all.capacity() {
            all.retain(|_, past| past.is_news());
        }
        let fresh = || Past { passed_to: None, has_refused: false, at: Instant::now() };
        let past = all.entry(to.clone()).or_insert_with(fresh);
        past.at = Instant::now();
        change(past);
    }

    fn past(&self) -> MutexGuard<'_, HashMap<Addressee, Past>> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn is_news(&self) -> bool {
        self.at.elapsed() < PAST_IS_NEWS
    }
}

impl Room {
    fn new(all_bytes: &Arc<AtomicUsize>) -> Self {
        Self { back: VecDeque::new(), fresh: VecDeque::new(), bytes: 0, until: None, all_bytes: all_bytes.clone() }
    }

    fn has_place_for(&self, waiting: &Waiting) -> bool {
        // Who asks waits with it for all that came before, and nobody else would answer.
        if *waiting.parcel.message == *FLUSH {
            return true;
        }
        let bytes = waiting.bytes();
        self.back.len() + self.fresh.len() < MAX_WAITING
            && self.bytes + bytes <= MAX_WAITING_BYTES
            && (self.bytes + bytes <= EXEMPT_BYTES || self.all_bytes.load(Relaxed) + bytes <= MAX_ALL_BYTES)
    }

    fn push(&mut self, waiting: Waiting) {
        self.holds(&waiting);
        let Waiting { since, mut parcel, was_in } = waiting;
        // It shares the memory of the packet that it came in.
        parcel.payload = Bytes::copy_from_slice(&parcel.payload);
        if was_in { &mut self.back } else { &mut self.fresh }.push_back((since, parcel));
    }

    pub(super) fn push_front(&mut self, waiting: Waiting) {
        self.holds(&waiting);
        let Waiting { since, parcel, was_in } = waiting;
        if was_in { &mut self.back } else { &mut self.fresh }.push_front((since, parcel));
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let was_in = !self.back.is_empty();
        let (since, parcel) = if was_in { &mut self.back } else { &mut self.fresh }.pop_front()?;
        let waiting = Waiting { since, parcel, was_in };
        self.frees(waiting.bytes());
        Some(waiting)
    }

    fn expired(&mut self) -> Vec<RemoteParcel> {
        let now = Instant::now();
        if self.until.is_none_or(|until| now < until) {
            return Vec::new();
        }
        let is_over = |(since, parcel): &(Instant, RemoteParcel)| until(*since, parcel) <= now;
        let mut expired = Vec::new();
        for queue in [&mut self.back, &mut self.fresh] {
            if queue.iter().any(is_over) {
                let (over, rest): (VecDeque<_>, _) = queue.drain(..).partition(is_over);
                *queue = rest;
                expired.extend(over.into_iter().map(|(_, parcel)| parcel));
            }
        }
        let waiting = self.back.iter().chain(&self.fresh);
        self.until = waiting.map(|(since, parcel)| until(*since, parcel)).min();
        let bytes = expired.iter().map(|parcel| PARCEL_BYTES + parcel.payload.len()).sum();
        self.frees(bytes);
        expired
    }

    fn holds(&mut self, waiting: &Waiting) {
        let (bytes, until) = (waiting.bytes(), waiting.until());
        self.until = Some(self.until.map_or(until, |earlier| earlier.min(until)));
        self.bytes += bytes;
        self.all_bytes.fetch_add(bytes, Relaxed);
    }

    fn frees(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.all_bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.all_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests;
