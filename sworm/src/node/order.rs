//! Keeps what this node sends to one worker in the order in which it was asked to, wherever the worker goes meanwhile: what
//! is sent to a new place waits until all that went to the old one has been answered, has come back, or was passed on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ahash::HashMap;
use tokio::sync::oneshot;

use crate::core::ids::{Epoch, Peer};

/// How long after a cast something may still be on its way to a place where its worker is not any more.
const CAST_IS_NEWS: Duration = Duration::from_secs(30);
/// How long one that was told to look, or was given its place again, may take to do so; then the others go before it: its future
/// may not be polled.
pub(crate) const SEES_ITS_TURN: Duration = Duration::from_secs(1);
/// So many names at least are known before those are forgotten to which nothing is on its way.
const SWEEP_AT_LEAST: usize = 1_024;

/// What is on its way to the workers of a sworm, as far as this node has sent it.
#[derive(Default)]
pub(crate) struct Order {
    tickets: AtomicU64,
    /// How many streams there are, so that most need not look.
    count: AtomicUsize,
    streams: Mutex<Streams>,
}

#[derive(Default)]
struct Streams {
    of: HashMap<Arc<str>, Stream>,
    generation: u64,
    sweep_at: usize,
}

/// A worker's stay on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    pub(crate) host: Peer,
    /// With which epoch it began.
    pub(crate) since: Epoch,
}

/// What is on its way to one worker.
struct Stream {
    /// Where all of it went, if anything did.
    stay: Option<Stay>,
    /// Since what was given up: its end does not count any more.
    generation: u64,
    /// Calls without an answer.
    calls: usize,
    /// When a cast went there last.
    cast: Option<Instant>,
    /// Since when what comes waits for what went to another place.
    unsettled: Option<Instant>,
    /// Those that are not sent yet, by their tickets.
    waiting: BTreeMap<u64, Place>,
}

/// One that is not sent yet.
#[derive(Default)]
enum Place {
    /// It waits for something else, and looks by itself.
    #[default]
    Looks,
    /// It waits until it is told to look again.
    Waits(oneshot::Sender<()>),
    /// It was told, at that time, and has not looked since.
    Told(Instant),
}

/// Whether a message may go.
pub(crate) enum Turn {
    /// It may; what is returned is to be kept until it is answered.
    Now(OnItsWay),
    /// Not before one that came earlier.
    Behind(oneshot::Receiver<()>),
    /// Not before what went to another place is settled, which the first has waited for since then.
    Unsettled(oneshot::Receiver<()>, Instant),
    /// Not before that node has passed on the casts that went there, which the first has waited for since then.
    Flush(Stay, Instant),
}

/// A message's place in the order; dropping it gives the place up.
pub(crate) struct Ticket<'a> {
    order: &'a Arc<Order>,
    name: &'a Arc<str>,
    number: u64,
    /// Whether others wait for it.
    waits: bool,
}

/// A message that was sent and not answered; dropping it says that it is settled.
pub(crate) struct OnItsWay {
    order: Arc<Order>,
    name: Arc<str>,
    number: u64,
    generation: u64,
}

/// Something that has its place again, which its caller may not have seen yet.
pub(crate) struct Back {
    order: Arc<Order>,
    name: Arc<str>,
    number: u64,
}

impl Order {
    /// A place behind all that have one.
    pub(crate) fn ticket<'a>(self: &'a Arc<Self>, name: &'a Arc<str>) -> Ticket<'a> {
        let number = self.tickets.fetch_add(1, Relaxed);
        Ticket { order: self, name, number, waits: false }
    }

    /// Whether nothing is on its way to that name: then a message for a worker of this node need not wait its turn.
    pub(crate) fn is_idle(&self, name: &str) -> bool {
        self.count.load(Relaxed) == 0 || !self.lock().of.contains_key(name)
    }

    /// Something that waited for a worker of this node goes back to its caller, and has its place again.
    pub(crate) fn comes_back(self: &Arc<Self>, name: &Arc<str>, stay: &Stay, number: u64) -> Back {
        let mut streams = self.lock();
        let stream = self.stream(&mut streams, name);
        stream.stay.get_or_insert_with(|| stay.clone());
        stream.waiting.entry(number).or_insert_with(|| Place::Told(Instant::now()));
        Back { order: self.clone(), name: name.clone(), number }
    }

    /// A cast for a worker of this node is passed on.
    pub(crate) fn passes_on(&self, name: &Arc<str>, stay: &Stay) {
        let mut streams = self.lock();
        let stream = self.stream(&mut streams, name);
        stream.stay.get_or_insert_with(|| stay.clone());
        stream.cast = Some(Instant::now());
    }

    /// The casts that went to that node have been passed on, or are lost.
    pub(crate) fn flushed(&self, name: &str, stay: &Stay) {
        if let Some(stream) = self.lock().of.get_mut(name).filter(|stream| stream.stay.as_ref() == Some(stay)) {
            (stream.cast, stream.unsettled) = (None, None);
        }
    }

    /// What has not come back in time is waited for no longer, by anybody.
    pub(crate) fn give_up(&self, name: &str) {
        let mut streams = self.lock();
        streams.generation += 1;
        let generation = streams.generation;
        if let Some(stream) = streams.of.get_mut(name) {
            tracing::debug!(name, calls = stream.calls, "what went there is not waited for any longer");
            (stream.generation, stream.calls, stream.cast, stream.unsettled) = (generation, 0, None, None);
        }
    }

    fn stream<'a>(&self, streams: &'a mut Streams, name: &Arc<str>) -> &'a mut Stream {
        if streams.of.len() >= streams.sweep_at.max(SWEEP_AT_LEAST) {
            streams.of.retain(|_, stream| !stream.is_over());
            streams.sweep_at = streams.of.len() * 2;
        }
        if !streams.of.contains_key(name) {
            let generation = streams.generation;
            let stream =
                Stream { stay: None, generation, calls: 0, cast: None, unsettled: None, waiting: BTreeMap::new() };
            streams.of.insert(name.clone(), stream);
            self.count.store(streams.of.len(), Relaxed);
        }
        streams.of.get_mut(name).expect("it was put in")
    }

    /// Looks at a stream that may be over then.
    fn change(&self, name: &str, change: impl FnOnce(&mut Stream)) {
        let mut streams = self.lock();
        let Some(stream) = streams.of.get_mut(name) else { return };
        change(stream);
        if stream.is_over() {
            streams.of.remove(name);
            self.count.store(streams.of.len(), Relaxed);
        }
    }

    fn goes_away(&self, name: &str, number: u64) {
        self.change(name, |stream| {
            stream.waiting.remove(&number);
            stream.wake();
        });
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn has_news(&self) -> bool {
        self.cast.is_some_and(|at| at.elapsed() < CAST_IS_NEWS)
    }

    fn is_over(&self) -> bool {
        self.calls == 0 && self.waiting.is_empty() && !self.has_news()
    }

    fn unsettled_since(&mut self) -> Instant {
        *self.unsettled.get_or_insert_with(Instant::now)
    }

    /// The first of those that wait, and do not let their turn pass.
    fn first(&mut self) -> Option<(u64, &mut Place)> {
        let passes = |place: &Place| matches!(place, Place::Told(at) if at.elapsed() >= SEES_ITS_TURN);
        self.waiting.iter_mut().find(|(_, place)| !passes(place)).map(|(number, place)| (*number, place))
    }

    /// The first of those that wait looks again.
    fn wake(&mut self) {
        if let Some((_, place)) = self.first()
            && matches!(place, Place::Waits(_))
            && let Place::Waits(waiting) = std::mem::replace(place, Place::Told(Instant::now()))
        {
            let _ = waiting.send(());
        }
    }
}

impl Ticket<'_> {
    /// Whether the message may go there now.
    pub(crate) fn turn(&mut self, stay: &Stay, cast: bool) -> Turn {
        let mut streams = self.order.lock();
        let stream = self.order.stream(&mut streams, self.name);
        let is_behind = stream.first().is_some_and(|(first, _)| first < self.number);
        let moved = stream.stay.as_ref().is_some_and(|before| before != stay);
        if is_behind || moved && stream.calls > 0 {
            let (sender, receiver) = oneshot::channel();
            stream.waiting.insert(self.number, Place::Waits(sender));
            self.waits = true;
            return if is_behind {
                Turn::Behind(receiver)
            } else {
                Turn::Unsettled(receiver, stream.unsettled_since())
            };
        }
        if let Some(before) = stream.stay.clone().filter(|_| moved && stream.has_news()) {
            stream.waiting.insert(self.number, Place::Looks);
            self.waits = true;
            return Turn::Flush(before, stream.unsettled_since());
        }
        if moved || stream.stay.is_none() {
            (stream.stay, stream.cast, stream.unsettled) = (Some(stay.clone()), None, None);
        }
        stream.waiting.remove(&self.number);
        self.waits = false;
        stream.calls += 1;
        if cast {
            stream.cast = Some(Instant::now());
        }
        stream.wake();
        let (order, name, number) = (Arc::clone(self.order), self.name.clone(), self.number);
        Turn::Now(OnItsWay { order, name, number, generation: stream.generation })
    }

    /// It cannot go yet: those behind it wait for it.
    pub(crate) fn waits(&mut self) {
        if !self.waits {
            let mut streams = self.order.lock();
            self.order.stream(&mut streams, self.name).waiting.entry(self.number).or_default();
            self.waits = true;
        }
    }

    /// Which one it is.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// It has gone, and may come back to its place while nobody looks.
    pub(crate) fn is_sent(&mut self) {
        self.waits = true;
    }

    /// It was answered: it does not come back any more.
    pub(crate) fn is_answered(&mut self) {
        self.waits = false;
    }

    /// It was sent and was not handled: it has its place again.
    pub(crate) fn is_back(&mut self) {
        let mut streams = self.order.lock();
        self.order.stream(&mut streams, self.name).waiting.insert(self.number, Place::Looks);
        self.waits = true;
    }
}

impl Back {
    /// Nobody wants it any more.
    pub(crate) fn goes_away(self) {
        self.order.goes_away(&self.name, self.number);
    }
}

impl OnItsWay {
    /// It comes back to its place, whoever waits for that.
    pub(crate) fn comes_back(self) -> Back {
        let number = self.number;
        self.order.change(&self.name, |stream| {
            stream.waiting.entry(number).or_insert_with(|| Place::Told(Instant::now()));
        });
        Back { order: self.order.clone(), name: self.name.clone(), number }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.waits {
            self.order.goes_away(self.name, self.number);
        }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let generation = self.generation;
        self.order.change(&self.name, |stream| {
            if stream.generation == generation {
                stream.calls = stream.calls.saturating_sub(1);
            }
            if stream.calls == 0 {
                stream.wake();
            }
        });
    }
}

#[cfg(test)]
mod tests;
