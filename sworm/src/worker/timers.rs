//! Messages that a worker sends itself later.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as Polling, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::mailbox::LocalParcel;
use super::{Handler, Request, Worker, outbox};

mod parcels;

use parcels::{Again, Once};

/// How many messages of one worker to itself may be to come.
const MAX_TIMERS: usize = 100_000;
const SHORTEST_PERIOD: Duration = Duration::from_millis(1);
/// Stands for times beyond the clock's end.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A message that a worker has sent itself for later, with
/// [`Context::send_after`](crate::Context::send_after) or [`Context::send_every`](crate::Context::send_every). Dropping it changes
/// nothing.
#[derive(Clone)]
pub struct Timer {
    number: u64,
    of: Weak<dyn Cancel>,
}

impl Timer {
    /// Takes the message back; says whether there was one to come. What has come already is handled.
    pub fn cancel(&self) -> bool {
        self.of.upgrade().is_some_and(|timers| timers.cancel(self.number))
    }

    /// Whether the message is to come, or to come again.
    pub fn is_pending(&self) -> bool {
        self.of.upgrade().is_some_and(|timers| timers.is_pending(self.number))
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").field("number", &self.number).finish_non_exhaustive()
    }
}

trait Cancel: Send + Sync {
    fn cancel(&self, number: u64) -> bool;
    fn is_pending(&self, number: u64) -> bool;
}

/// The timers of one start of a worker.
pub(super) struct Timers<W>(Arc<Shared<W>>);

struct Shared<W> {
    set: Mutex<Set<W>>,
    /// Whether there may be one whose time has begun, so that most workers need not look.
    any: AtomicBool,
    /// Whether the time of one has begun since that was looked at.
    news: AtomicBool,
}

struct Set<W> {
    next: u64,
    timers: BTreeMap<u64, Entry<W>>,
    /// Those whose time has begun, by when they are due.
    due: BTreeSet<(Instant, u64)>,
    /// Whether the last one was refused: that is said once.
    refuses: bool,
}

struct Entry<W> {
    /// Until it is due, and from then on to the next time.
    after: Duration,
    due: Option<Instant>,
    message: Later<W>,
}

enum Later<W> {
    Once(Box<dyn LocalParcel<W>>),
    Again(Box<dyn Fn() -> Box<dyn LocalParcel<W>> + Send>),
}

impl<W> Timers<W> {
    /// Ends all of them.
    pub(super) fn clear(&self) {
        let mut set = self.0.set();
        set.due.clear();
        // What people's destructors do is not done under the lock.
        let ended = std::mem::take(&mut set.timers);
        drop(set);
        drop(ended);
    }

    /// The next message that is due, when it is; `wake` is kept from one time to the next. The worker's task alone adds
    /// timers, and looks here after all that may have.
    pub(super) fn poll_due(
        &self,
        cx: &mut Polling<'_>,
        wake: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Box<dyn LocalParcel<W>>> {
        self.0.news.store(false, Relaxed);
        while self.any() {
            let taken = self.0.set().take(Instant::now());
            let at = match taken {
                Taken::Parcel(parcel) => return Poll::Ready(parcel),
                Taken::Later(at) => at,
                Taken::Nothing => {
                    self.0.any.store(false, Relaxed);
                    break;
                }
            };
            let wake = wake.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if wake.deadline() != at {
                wake.as_mut().reset(at);
            }
            ready!(wake.as_mut().poll(cx));
        }
        Poll::Pending
    }

    /// Whether there may be one whose time has begun.
    pub(super) fn any(&self) -> bool {
        self.0.any.load(Relaxed)
    }

    /// Whether the time of one has begun since [`Self::poll_due`].
    pub(super) fn has_news(&self) -> bool {
        self.0.news.load(Relaxed)
    }
}

impl<W: Worker> Timers<W> {
    pub(super) fn once<M>(&self, after: Duration, message: M) -> Timer
    where
        M: Request<W>,
        W: Handler<M>,
    {
        self.add(after, Later::Once(Box::new(Once(Some(message)))))
    }

    pub(super) fn every<M>(&self, period: Duration, message: M) -> Timer
    where
        M: Request<W> + Clone,
        W: Handler<M>,
    {
        let message = Arc::new(Mutex::new(message));
        self.add(period.max(SHORTEST_PERIOD), Later::Again(Box::new(move || Box::new(Again(message.clone())))))
    }

    /// Its time begins now, or when what the handler is about to show is durable. Beyond the limit it never does.
    fn add(&self, after: Duration, message: Later<W>) -> Timer {
        let mut set = self.0.set();
        let number = set.next;
        set.next += 1;
        let of: Weak<Shared<W>> = Arc::downgrade(&self.0);
        let timer = Timer { number, of };
        if set.timers.len() >= MAX_TIMERS {
            drop(set);
            self.refuse();
            return timer;
        }
        set.timers.insert(number, Entry { after, due: None, message });
        drop(set);
        let held = Held { shared: self.0.clone(), number };
        let Some(outbox) = outbox::present() else {
            held.begin();
            return timer;
        };
        // What is not taken is dropped, and the timer with it.
        if outbox.push(0, move || Box::pin(async move { held.begin() })).is_err() {
            self.refuse();
        }
        timer
    }

    /// There are as many as there may be. Nobody else would say so.
    fn refuse(&self) {
        if !std::mem::replace(&mut self.0.set().refuses, true) {
            tracing::error!(
                worker_type = W::NAME,
                "a message of a worker to itself is not set and will not come: too many are to come, or wait for its state"
            );
        }
    }
}

impl<W> Clone for Timers<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W> Default for Timers<W> {
    fn default() -> Self {
        let set = Set { next: 0, timers: BTreeMap::new(), due: BTreeSet::new(), refuses: false };
        Self(Arc::new(Shared { set: Mutex::new(set), any: AtomicBool::new(false), news: AtomicBool::new(false) }))
    }
}

/// A timer whose time has not begun. It never does if this is dropped.
struct Held<W> {
    shared: Arc<Shared<W>>,
    number: u64,
}

impl<W> Held<W> {
    fn begin(&self) {
        self.shared.set().begin(self.number);
        self.shared.any.store(true, Relaxed);
        self.shared.news.store(true, Relaxed);
    }
}

impl<W> Drop for Held<W> {
    fn drop(&mut self) {
        let mut set = self.shared.set();
        let begun = set.timers.get(&self.number).is_none_or(|entry| entry.due.is_some());
        let ended = if begun { None } else { set.timers.remove(&self.number) };
        drop(set);
        drop(ended);
    }
}

impl<W> Shared<W> {
    fn set(&self) -> MutexGuard<'_, Set<W>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W> Cancel for Shared<W> {
    fn cancel(&self, number: u64) -> bool {
        let mut set = self.set();
        let cancelled = set.timers.remove(&number);
        if let Some(at) = cancelled.as_ref().and_then(|entry| entry.due) {
            set.due.remove(&(at, number));
        }
        drop(set);
        cancelled.is_some()
    }

    fn is_pending(&self, number: u64) -> bool {
        self.set().timers.contains_key(&number)
    }
}

enum Taken<W> {
    Parcel(Box<dyn LocalParcel<W>>),
    Later(Instant),
    Nothing,
}

impl<W> Set<W> {
    fn begin(&mut self, number: u64) {
        self.refuses = false;
        let Some(entry) = self.timers.get_mut(&number) else { return };
        let now = Instant::now();
        let at = now.checked_add(entry.after).unwrap_or(now + FOR_EVER);
        entry.due = Some(at);
        self.due.insert((at, number));
    }

    fn take(&mut self, now: Instant) -> Taken<W> {
        let Some((at, number)) = self.due.first().copied() else { return Taken::Nothing };
        if at > now {
            return Taken::Later(at);
        }
        self.due.remove(&(at, number));
        let Some(mut entry) = self.timers.remove(&number) else { return Taken::Nothing };
        match entry.message {
            Later::Once(parcel) => Taken::Parcel(parcel),
            Later::Again(ref make) => {
                let parcel = make();
                let next =
                    [at, now].into_iter().filter_map(|from| from.checked_add(entry.after)).find(|next| *next > now);
                if let Some(next) = next {
                    entry.due = Some(next);
                    self.due.insert((next, number));
                    self.timers.insert(number, entry);
                }
                Taken::Parcel(parcel)
            }
        }
    }
}

#[cfg(test)]
mod tests;
