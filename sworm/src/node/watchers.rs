//! Those who watch a sworm on this node. Without any it costs a look whether there are some.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::core::events::Event;

/// How many events are kept for a slow reader.
pub(crate) const CAPACITY: usize = 4096;

/// Who watches.
#[derive(Default)]
pub(crate) struct Watchers {
    are_there: AtomicBool,
    to: Mutex<To>,
}

#[derive(Default)]
enum To {
    #[default]
    Nobody,
    Some(Sender<Event>),
    /// The sworm has ended on this node.
    Ended,
}

impl Watchers {
    /// One more.
    pub(crate) fn subscribe(&self) -> Receiver<Event> {
        let mut to = self.to();
        let receiver = match &*to {
            To::Some(sender) => sender.subscribe(),
            To::Nobody => {
                let (sender, receiver) = broadcast::channel(CAPACITY);
                *to = To::Some(sender);
                receiver
            }
            To::Ended => return broadcast::channel(1).1,
        };
        self.are_there.store(true, SeqCst);
        fence(SeqCst); // before anything that the new one looks up
        receiver
    }

    /// Whether there may be some: whoever is not seen here sees whatever was put into the index before the call.
    pub(crate) fn are_there(&self) -> bool {
        fence(SeqCst);
        self.are_there.load(SeqCst)
    }

    /// Tells all of them.
    pub(crate) fn tell(&self, events: impl IntoIterator<Item = Event>) {
        let mut to = self.to();
        let To::Some(sender) = &*to else { return };
        if events.into_iter().any(|event| sender.send(event).is_err()) {
            // The last one has gone.
            *to = To::Nobody;
            self.are_there.store(false, SeqCst);
        }
    }

    /// Nothing happens here any more.
    pub(crate) fn end(&self) {
        *self.to() = To::Ended;
        self.are_there.store(false, SeqCst);
    }

    fn to(&self) -> MutexGuard<'_, To> {
        self.to.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(events: u64) -> Event {
        Event::Missed { events }
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let watchers = Watchers::default();
        watchers.tell([event(1)]);
        assert!(!watchers.are_there());
        let (mut first, mut second) = (watchers.subscribe(), watchers.subscribe());
        watchers.tell([event(2)]);
        drop(first.try_recv().expect("it was told"));
        drop(first);
        watchers.tell([event(3)]);
        assert!(watchers.are_there());
        assert_eq!([second.try_recv(), second.try_recv()], [Ok(event(2)), Ok(event(3))]);
        drop(second);
        watchers.tell([event(4)]);
        assert!(!watchers.are_there() && matches!(*watchers.to(), To::Nobody));
    }

    #[test]
    fn after_the_end_there_is_nothing_to_wait_for() {
        let watchers = Watchers::default();
        let mut before = watchers.subscribe();
        watchers.end();
        for receiver in [&mut before, &mut watchers.subscribe()] {
            assert_eq!(receiver.try_recv(), Err(broadcast::error::TryRecvError::Closed));
        }
        watchers.tell([event(1)]);
        assert!(!watchers.are_there());
    }
}
