//! Puts: the session and the keys by which messages leave. The thread that sends uses them for all that is queued; a message that
//! is alone on its way leaves on its caller's thread, which saves that the other one has to be woken.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use bytes::Bytes;
use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::sample::Locality;
use zenoh::session::Session;

use super::packet::Packet;
use super::queue::Counters;
use crate::core::ids::Peer;

/// The longest message that is put at once. Such messages have a priority, and so a queue of zenoh's, of their own, and few are on
/// their way to a node at a time, a call and a reply as a rule: with a tenth each of what a batch of that queue holds (64 KiB)
/// none has to wait for room.
const MAX_NOW_BYTES: usize = 6 << 10;

/// Empty while there is no session.
#[derive(Default)]
pub(super) struct Puts(Mutex<Option<Way>>);

struct Way {
    session: Session,
    /// Keys that zenoh knows by a number: a put by such a key is cheaper.
    direct: HashMap<Peer, KeyExpr<'static>>,
    /// Whether messages of another priority have a queue of their own.
    priorities: bool,
}

impl Puts {
    /// From now on messages leave over this session.
    pub(super) fn begin(&self, session: Session, priorities: bool) {
        *self.lock() = Some(Way { session, direct: HashMap::new(), priorities });
    }

    /// The session is about to be closed: nobody else uses it when this returns.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// The key of a node.
    pub(super) fn key(&self, peer: &Peer, declare: impl FnOnce() -> KeyExpr<'static>) -> Option<KeyExpr<'static>> {
        if let Some(key) = self.lock().as_ref()?.direct.get(peer) {
            return Some(key.clone());
        }
        // Not under the lock: it takes a while.
        let key = declare();
        self.lock().as_mut()?.direct.insert(peer.clone(), key.clone());
        Some(key)
    }

    /// Forgets the key of a node and gives it.
    pub(super) fn forget(&self, peer: &Peer) -> Option<KeyExpr<'static>> {
        self.lock().as_mut()?.direct.remove(peer)
    }

    /// Puts a message at once, if nobody else does so just now; says whether it did. See
    /// [`Transport::send_now`](crate::transport::Transport::send_now).
    pub(super) fn put_now(&self, to: &Peer, message: &Bytes, counters: &Counters) -> bool {
        if message.len() > MAX_NOW_BYTES {
            return false;
        }
        let way = match self.0.try_lock() {
            Ok(way) => way,
            Err(TryLockError::Poisoned(way)) => way.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let Some(Way { session, direct, .. }) = way.as_ref().filter(|way| way.priorities) else { return false };
        // One that nothing was sent to yet, or that is gone.
        let Some(key) = direct.get(to) else { return false };
        let put = session
            .put(key, Packet::of_one(message))
            .priority(Priority::InteractiveHigh)
            .congestion_control(CongestionControl::Block)
            .allowed_destination(Locality::Remote);
        match put.wait() {
            Ok(()) => _ = counters.packets_sent.fetch_add(1, Relaxed),
            Err(error) => {
                tracing::debug!(%error, "a packet was not sent");
                return false;
            }
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Way>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
