//! Turns of the workers of a node that start: only so many count at a time, and a start that takes long counts no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{self, OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};

/// After this time a start makes way for another one. It goes on: as many as hang must not hold up the others, and most that
/// have something to do have done it by then.
const MAKES_WAY_AFTER: Duration = Duration::from_secs(1);

/// The turns. Clones are the same.
#[derive(Clone)]
pub(crate) struct Starts(Arc<Shared>);

struct Shared {
    free: Arc<Semaphore>,
    /// Whoever waits next; only that one looks who takes long. A start that blocks its thread could not say so itself.
    next: sync::Mutex<()>,
    counted: Mutex<Counted>,
}

/// The starts that count, in the order of their beginnings.
#[derive(Default)]
struct Counted {
    last: u64,
    starts: BTreeMap<u64, (Instant, OwnedSemaphorePermit)>,
}

/// A start whose turn it is, until it is dropped.
pub(crate) struct Turn {
    starts: Starts,
    number: u64,
}

impl Starts {
    /// At most that many count at a time.
    pub(crate) fn new(at_a_time: usize) -> Self {
        let free = Arc::new(Semaphore::new(at_a_time));
        Self(Arc::new(Shared { free, next: sync::Mutex::default(), counted: Mutex::default() }))
    }

    /// Waits for the turn of one that starts.
    pub(crate) async fn turn(&self) -> Turn {
        match self.0.free.clone().try_acquire_owned() {
            Ok(permit) => self.begins(permit),
            Err(_) => self.wait().await,
        }
    }

    async fn wait(&self) -> Turn {
        let next = self.0.next.lock().await;
        let permit = loop {
            let free = self.0.free.clone().acquire_owned();
            if let Ok(permit) = timeout_at(self.next_makes_way(), free).await {
                break permit.expect("nobody closes it");
            }
            self.make_way();
        };
        drop(next);
        // The next one may run on this very thread, which people's code may block, and on no other.
        yield_now().await;
        self.begins(permit)
    }

    fn begins(&self, permit: OwnedSemaphorePermit) -> Turn {
        let mut counted = self.counted();
        counted.last += 1;
        let number = counted.last;
        counted.starts.insert(number, (Instant::now(), permit));
        Turn { starts: self.clone(), number }
    }

    /// When the next one will have taken long.
    fn next_makes_way(&self) -> Instant {
        let since = self.counted().starts.first_key_value().map(|(_, (since, _))| *since);
        since.unwrap_or_else(Instant::now) + MAKES_WAY_AFTER
    }

    /// Those that have taken long count no more.
    fn make_way(&self) {
        let now = Instant::now();
        let mut counted = self.counted();
        while let Some(first) = counted.starts.first_entry().filter(|first| first.get().0 + MAKES_WAY_AFTER <= now) {
            drop(first.remove());
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.starts.counted().starts.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn waits(turn: Pin<&mut impl Future<Output = Turn>>) -> bool {
        matches!(turn.poll(&mut Context::from_waker(Waker::noop())), Poll::Pending)
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_start_at_a_time_and_one_that_has_ended_makes_way_at_once() {
        let starts = Starts::new(2);
        let (first, _second) = (starts.turn().await, starts.turn().await);
        let began = Instant::now();
        let mut third = pin!(starts.turn());
        assert!(waits(third.as_mut()), "two start already");
        drop(first);
        third.await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_take_long_make_way_when_somebody_waits_and_count_no_more_when_they_end() {
        let starts = Starts::new(2);
        let began = Instant::now();
        let mut hanging = Vec::new();
        // Two each second.
        for n in 0..6 {
            hanging.push(starts.turn().await);
            assert_eq!(began.elapsed().as_secs(), n / 2, "the start with number {n}");
        }
        hanging.drain(..4);
        let mut next = pin!(starts.turn());
        assert!(waits(next.as_mut()), "two count, and have just begun");
        next.await;
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_leaves_its_turn_to_the_next() {
        let starts = Starts::new(1);
        let hangs = starts.turn().await;
        {
            let mut gives_up = pin!(starts.turn());
            assert!(waits(gives_up.as_mut()));
        }
        let mut next = pin!(starts.turn());
        assert!(waits(next.as_mut()));
        drop(hangs);
        next.await;
    }
}
