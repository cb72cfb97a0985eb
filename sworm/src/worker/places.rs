//! Places for large states in memory: only so many of a node are there at a time, besides what its workers themselves are.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::core::chunks::CHUNK_BYTES;

/// So many there are.
const PLACES: usize = 4;
/// How long the first in the queue waits for one. Then it goes on without: a worker that hangs while it is saved or read must
/// not hold up the others.
const LONGEST: Duration = Duration::from_secs(2);

/// The places. Clones are the same.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// Whoever waits next; only that one goes on without a place in the end.
    next: Arc<Mutex<()>>,
}

/// A place that was found free; or none, for what is small.
#[derive(Default)]
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Bytes that need a place.
struct Placed {
    bytes: Bytes,
    _place: Arc<Place>,
    _there: Option<mpsc::Sender<Infallible>>,
}

/// Is closed when bytes are not there any more; nothing ever comes of it.
pub(crate) type Gone = mpsc::Receiver<Infallible>;

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(PLACES)), next: Arc::default() }
    }
}

impl Places {
    /// Waits until there is a place.
    pub(crate) async fn find(&self) -> Place {
        let _next = self.next.lock().await;
        let permit = timeout(LONGEST, self.free.clone().acquire_owned()).await;
        Place { _permit: permit.ok().and_then(Result::ok) }
    }
}

impl Place {
    /// A state that was made in this place. A large one keeps it for as long as any of its bytes are there.
    pub(crate) fn of(self, bytes: Bytes) -> Bytes {
        if bytes.len() > CHUNK_BYTES {
            Bytes::from_owner(Placed { bytes, _place: self.into(), _there: None })
        } else {
            bytes
        }
    }

    /// Chunks of a large state, each of which keeps the place; and what is closed when none of them is there any more.
    pub(crate) fn of_all(self: &Arc<Self>, chunks: Vec<Bytes>) -> (Vec<Bytes>, Gone) {
        let (there, gone) = mpsc::channel(1);
        let placed = |bytes| {
            let (_place, _there) = (self.clone(), Some(there.clone()));
            Bytes::from_owner(Placed { bytes, _place, _there })
        };
        (chunks.into_iter().map(placed).collect(), gone)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use futures_util::stream::FuturesUnordered;
    use tokio::sync::mpsc::error::TryRecvError;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_states_keep_their_places_and_small_ones_do_not() {
        let places = Places::default();
        let small = places.find().await.of(Bytes::from_static(b"small"));
        let mut large = Vec::new();
        for _ in 0..PLACES {
            large.push(places.find().await.of(vec![7; CHUNK_BYTES + 1].into()));
        }
        assert_eq!((places.free.available_permits(), &small[..]), (0, &b"small"[..]));
        let part = large.pop().expect("there are some").slice(5..9);
        assert_eq!((places.free.available_permits(), &part[..]), (0, &[7; 4][..]));
        drop(part);
        assert_eq!(places.free.available_permits(), 1);
        let place = Arc::new(places.find().await);
        let (mut chunks, mut gone) = place.of_all(vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")]);
        drop(place);
        chunks.pop();
        assert_eq!((places.free.available_permits(), gone.try_recv()), (0, Err(TryRecvError::Empty)));
        chunks.pop();
        assert_eq!((places.free.available_permits(), gone.recv().await), (1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_not_waited_for_for_ever() {
        let places = Places::default();
        let mut all = Vec::new();
        for _ in 0..PLACES {
            all.push(places.find().await);
        }
        assert!(places.find().await._permit.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_who_wait_one_at_a_time_goes_on_without_a_place() {
        let places = Places::default();
        let mut held = Vec::new();
        for _ in 0..PLACES {
            held.push(places.find().await);
        }
        let mut waiting: FuturesUnordered<_> = (0..10).map(|_| places.find()).collect();
        let began = Instant::now();
        for nth in 1..=10 {
            waiting.next().await.expect("ten wait");
            assert_eq!(began.elapsed().as_secs(), nth * LONGEST.as_secs());
        }
    }
}
