//! The queues in front of the threads that send: without bound in messages, bounded in bytes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use zenoh::query::Query;

use super::lanes::{Lanes, Sent};
use super::puts::Puts;
use crate::core::ids::Peer;
use crate::seldom::Seldom;
use crate::transport::{Class, MAX_MESSAGE_BYTES, Shortcut};

/// Beyond so many bytes that are queued for all nodes messages are dropped.
const QUEUE_BYTES: usize = 512 << 20;
/// But not those for a node for which no more than that is queued: what others do not take is no reason.
const EXEMPT_BYTES: usize = 1 << 20;
/// Beyond so many bytes that have come in and were not taken yet, what comes is dropped.
const UNREAD_BYTES: usize = 256 << 20;
/// What an item costs besides its message.
const ITEM_BYTES: usize = size_of::<(Class, Bytes)>();

/// What the thread that looks after the session is asked to do.
pub(super) enum Item {
    /// Forget what is kept about a peer.
    Forget(Peer),
    /// Answer that everything before this query has been received.
    Answer(Query),
    /// Send what is queued and end; the first says that the queue is empty, the second that all is closed.
    Close { flushed: oneshot::Sender<()>, closed: oneshot::Sender<()> },
    /// End at once.
    Abort,
}

/// The sending end; clones are the same queue.
#[derive(Clone)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    pub(super) shared: Arc<Shared>,
}

/// What both ends of the queue know.
pub(super) struct Shared {
    queued_bytes: AtomicUsize,
    /// What has come in and was not taken yet, and how much of that there may be.
    unread_bytes: AtomicUsize,
    unread_limit: AtomicUsize,
    /// The thread discards what is still queued.
    pub(super) abandoned: AtomicBool,
    pub(super) counters: Counters,
    /// What waits for each node.
    pub(super) lanes: Lanes,
    /// How messages leave.
    pub(super) puts: Puts,
    /// Whom a message to everybody goes to.
    everybody: Mutex<BTreeSet<Peer>>,
    /// Who is asked first about what comes in.
    pub(super) shortcut: OnceLock<Shortcut>,
    /// Where the members of the cluster listen, one a line, for those who ask before they join.
    pub(super) known: Mutex<String>,
    warned: Seldom,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            queued_bytes: AtomicUsize::new(0),
            unread_bytes: AtomicUsize::new(0),
            unread_limit: AtomicUsize::new(UNREAD_BYTES),
            abandoned: AtomicBool::new(false),
            counters: Counters::default(),
            lanes: Lanes::default(),
            puts: Puts::default(),
            everybody: Mutex::default(),
            shortcut: OnceLock::new(),
            known: Default::default(),
            warned: Default::default(),
        }
    }
}

/// Counts since the transport was opened.
#[derive(Default, Debug)]
pub(crate) struct Counters {
    /// Packets handed to zenoh.
    pub(crate) packets_sent: AtomicU64,
    /// Messages dropped before they were sent: too long, or too many in the queue.
    pub(crate) messages_dropped: AtomicU64,
    /// Messages dropped on arrival: the node does not take them fast enough.
    pub(crate) messages_unread: AtomicU64,
    /// Packets dropped on arrival, because they are none.
    pub(crate) packets_malformed: AtomicU64,
}

/// Makes a queue.
pub(super) fn queue() -> (Queue, Receiver<Item>) {
    let (items, received) = mpsc::channel();
    (Queue { items, shared: Arc::default() }, received)
}

impl Queue {
    pub(super) fn send(&self, to: &Peer, class: Class, message: Bytes) {
        if message.len() > MAX_MESSAGE_BYTES {
            self.shared.counters.messages_dropped.fetch_add(1, Relaxed);
            tracing::error!(bytes = message.len(), "dropped a message that is too long to be sent");
            return;
        }
        let bytes = bytes_of(&message);
        let room = self.shared.room_with(bytes);
        self.shared.queued_bytes.fetch_add(bytes, Relaxed);
        match self.shared.lanes.send(&self.shared, to, class, message, room) {
            Sent::Taken => {}
            Sent::Full => {
                self.shared.taken(bytes);
                self.shared.drop_one();
            }
            // As after any loss of the links.
            Sent::Over => self.shared.taken(bytes),
        }
    }

    /// Forgets what is kept about a node, when what is queued for it has been put.
    pub(super) fn forget(&self, peer: &Peer) {
        if !self.shared.lanes.forget(peer) {
            self.push(Item::Forget(peer.clone()));
        }
    }

    /// Sends to all nodes that are seen.
    pub(super) fn broadcast(&self, class: Class, message: &Bytes) {
        let everybody = self.shared.everybody().clone();
        everybody.iter().for_each(|to| self.send(to, class, message.clone()));
    }

    /// After the end nobody takes what is pushed, as after any loss of the links.
    pub(super) fn push(&self, item: Item) {
        let _ = self.items.send(item);
    }
}

impl Shared {
    /// Whether an important message of so many bytes would be taken now.
    pub(super) fn has_room_for(&self, to: &Peer, bytes: usize) -> bool {
        let bytes = ITEM_BYTES + bytes;
        self.lanes.has_room_for(to, Class::Important, bytes, self.room_with(bytes))
    }

    /// How much there may be for one node when so much more is queued.
    fn room_with(&self, bytes: usize) -> usize {
        let is_full = self.queued_bytes.load(Relaxed).saturating_add(bytes) > QUEUE_BYTES;
        if is_full { EXEMPT_BYTES } else { usize::MAX }
    }

    /// Whom a message to everybody goes to.
    pub(super) fn everybody(&self) -> MutexGuard<'_, BTreeSet<Peer>> {
        self.everybody.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes are queued no more.
    pub(super) fn taken(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Relaxed);
    }

    fn drop_one(&self) {
        let dropped = self.counters.messages_dropped.fetch_add(1, Relaxed) + 1;
        if self.warned.is_due() {
            tracing::warn!(dropped, "messages are dropped: the links to the other nodes do not take them fast enough");
        }
    }

    /// Whether a message that has come in needs no event.
    pub(super) fn is_taken(&self, message: &Bytes) -> bool {
        self.shortcut.get().is_some_and(|take| take(message))
    }

    /// A message has come in. Whether there is room for it.
    pub(super) fn has_come(&self, message: &Bytes) -> bool {
        let unread = self.unread_bytes.fetch_add(message.len(), Relaxed);
        if unread + message.len() <= self.unread_limit.load(Relaxed) {
            return true;
        }
        self.unread_bytes.fetch_sub(message.len(), Relaxed);
        let dropped = self.counters.messages_unread.fetch_add(1, Relaxed) + 1;
        if self.warned.is_due() {
            tracing::warn!(dropped, "messages are dropped: this node does not take what comes in fast enough");
        }
        false
    }

    /// So much of what came in was taken.
    pub(super) fn was_read(&self, bytes: usize) {
        self.unread_bytes.fetch_sub(bytes, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes.load(Relaxed)
    }

    #[cfg(test)]
    pub(super) fn limit_unread(&self, bytes: usize) {
        self.unread_limit.store(bytes, Relaxed);
    }
}

pub(super) fn bytes_of(message: &Bytes) -> usize {
    ITEM_BYTES + message.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Incarnation, NodeId};

    fn dropped(queue: &Queue) -> u64 {
        queue.shared.counters.messages_dropped.load(Relaxed)
    }

    fn peer(id: &str) -> Peer {
        Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(1) }
    }

    #[test]
    fn a_full_queue_drops_droppable_messages_first_and_takes_messages_again_when_it_is_emptied() {
        let (queue, _received) = queue();
        let message = Bytes::from(vec![0; 8 << 20]);
        let send = |class| queue.send(&peer("a"), class, message.clone());
        // There is no session yet: everything waits.
        (0..7).for_each(|_| send(Class::Droppable));
        assert_eq!(dropped(&queue), 0);
        (0..2).for_each(|_| send(Class::Droppable));
        assert_eq!(dropped(&queue), 2);
        (0..8).for_each(|_| send(Class::Important));
        assert_eq!(dropped(&queue), 2);
        let has_room = |to, bytes| queue.shared.has_room_for(&peer(to), bytes);
        assert!(!has_room("a", message.len()) && has_room("a", message.len() / 2));
        send(Class::Important);
        assert_eq!(dropped(&queue), 3);
        for other in ["b", "c", "d"] {
            assert!(has_room(other, message.len()), "one node takes no more than a quarter of the room");
            (0..15).for_each(|_| queue.send(&peer(other), Class::Important, message.clone()));
        }
        (0..3).for_each(|_| queue.send(&peer("e"), Class::Important, message.clone()));
        assert_eq!(dropped(&queue), 3);
        assert!(!has_room("f", message.len()), "all of them take no more than there is");
        queue.send(&peer("e"), Class::Important, Bytes::from(vec![0; (8 << 20) - 10_000]));
        assert_eq!(dropped(&queue), 3);
        assert!(has_room("f", 100_000) && !has_room("f", 2 << 20) && !has_room("e", 100_000), "but for a little");
        queue.shared.puts.end();
        queue.shared.lanes.flush_and_end(&queue.shared);
        assert_eq!(queue.shared.queued_bytes.load(Relaxed), 0);
    }

    #[test]
    fn a_message_that_no_receiver_would_take_is_dropped() {
        let (queue, _received) = queue();
        queue.send(&peer("a"), Class::Important, Bytes::from(vec![0; MAX_MESSAGE_BYTES + 1]));
        assert_eq!(dropped(&queue), 1);
        assert_eq!(queue.shared.queued_bytes.load(Relaxed), 0);
    }
}
