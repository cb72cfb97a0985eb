//! A pause, between the worker that pauses and the node that waits for that.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::places::{Place, Places};

/// Whether a pause was answered, and whether its worker gets on with what it takes.
#[derive(Debug, Default)]
pub(crate) struct Pausing {
    answered: AtomicBool,
    queues: AtomicBool,
    steps: AtomicU64,
}

impl Pausing {
    /// Whoever comes first answers: the worker, or its node when that takes too long.
    pub(crate) fn answers(&self) -> bool {
        !self.answered.swap(true, Relaxed)
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Relaxed)
    }

    /// A part of a large state has gone to the store.
    pub(crate) fn gets_on(&self) {
        self.steps.fetch_add(1, Relaxed);
    }

    /// A place in memory: who waits for one is not slow.
    pub(crate) async fn find(&self, places: &Places) -> Place {
        self.queues.store(true, Relaxed);
        let place = places.find().await;
        self.gets_on();
        self.queues.store(false, Release);
        place
    }

    /// Whether it has got on since it had come so far, or cannot at the moment.
    pub(crate) fn got_on_since(&self, steps: &mut u64) -> bool {
        let queues = self.queues.load(Acquire);
        let now = self.steps.load(Relaxed);
        std::mem::replace(steps, now) != now || queues
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_worker_gets_on_while_it_waits_for_a_place_and_with_each_part() {
        let (pausing, places, mut steps) = (Pausing::default(), Places::default(), 0);
        assert!(!pausing.got_on_since(&mut steps));
        pausing.gets_on();
        assert!(pausing.got_on_since(&mut steps));
        assert!(!pausing.got_on_since(&mut steps));
        let _all = [places.find().await, places.find().await, places.find().await, places.find().await];
        let mut found = std::pin::pin!(pausing.find(&places));
        let waited = timeout(Duration::from_millis(1), &mut found).await;
        assert!(waited.is_err(), "all are taken");
        assert!(pausing.got_on_since(&mut steps) && pausing.got_on_since(&mut steps), "as long as it waits");
        drop(found.await);
        assert!(pausing.got_on_since(&mut steps));
        assert!(!pausing.got_on_since(&mut steps));
        assert!(pausing.answers() && !pausing.answers() && pausing.is_answered(), "once");
    }
}
