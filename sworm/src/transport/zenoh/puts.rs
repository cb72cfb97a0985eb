//! Puts: the session and the keys by which messages leave. Each lane's thread uses them for what is queued; a message that is alone
//! on its way leaves on its caller's thread, which saves that the other one has to be woken.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use ahash::HashMap;
use bytes::Bytes;
use zenoh::Wait;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::sample::Locality;
use zenoh::session::Session;

use super::keys::Keys;
use super::packet::Packet;
use super::queue::Counters;
use crate::core::ids::Peer;
use crate::transport::Class;

/// The longest message that is put at once. Such messages have a priority, and so a queue of zenoh's, of their own, and few are on
/// their way to a node at a time, a call and a reply as a rule: with a tenth each of what a batch of that queue holds (64 KiB)
/// none has to wait for room.
const MAX_NOW_BYTES: usize = 6 << 10;

/// How long a put takes at most: then zenoh has given up the link.
const LONGEST_PUT: Duration = Duration::from_millis(600);
const LOOK: Duration = Duration::from_millis(1);

/// How messages leave.
#[derive(Default)]
pub(super) struct Puts {
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Held while a key is declared, or its declaration is taken back.
    declaring: Mutex<()>,
}

#[derive(Default)]
enum Phase {
    /// There is no session yet, or no more and another one to come.
    #[default]
    Waiting,
    Open(Arc<Way>),
    /// There is none any more.
    Over,
}

struct Way {
    session: Session,
    keys: Keys,
    /// Keys that zenoh knows by a number: a put by such a key is cheaper.
    direct: Mutex<HashMap<Peer, KeyExpr<'static>>>,
    /// Whether messages of another priority have a queue of their own.
    priorities: bool,
}

impl Puts {
    /// From now on messages leave over this session.
    pub(super) fn begin(&self, session: Session, keys: Keys, priorities: bool) {
        let way = Way { session, keys, direct: Mutex::default(), priorities };
        self.set(Phase::Open(Arc::new(way)));
    }

    /// The session is about to be closed, and another one comes: what is to be put waits for that.
    pub(super) fn pause(&self) {
        self.leave(Phase::Waiting);
    }

    /// There is no session any more.
    pub(super) fn end(&self) {
        self.leave(Phase::Over);
    }

    /// Waits until what is being put is put, unless that takes longer than a link lives that takes nothing.
    fn leave(&self, phase: Phase) {
        let Phase::Open(way) = self.set(phase) else { return };
        let until = Instant::now() + LONGEST_PUT;
        while Arc::strong_count(&way) > 1 && Instant::now() < until {
            thread::sleep(LOOK);
        }
    }

    /// Gives what was before.
    fn set(&self, phase: Phase) -> Phase {
        let before = std::mem::replace(&mut *self.phase(), phase);
        self.changed.notify_all();
        before
    }

    /// The session, when there is one.
    fn way(&self) -> Option<Arc<Way>> {
        let is_waiting = |phase: &mut Phase| matches!(phase, Phase::Waiting);
        let phase = self.changed.wait_while(self.phase(), is_waiting).unwrap_or_else(PoisonError::into_inner);
        match &*phase {
            Phase::Open(way) => Some(way.clone()),
            Phase::Waiting | Phase::Over => None,
        }
    }

    /// Puts a packet for a node. Waits where there is no room on its link; then the link is given up after a while.
    pub(super) fn put(&self, to: &Peer, packet: Packet, counters: &Counters) {
        let congestion = match packet.class {
            Class::Droppable => CongestionControl::Drop,
            Class::Important => CongestionControl::Block,
        };
        let payload = ZBytes::from(packet.payload);
        let mut closed: Option<Arc<Way>> = None;
        while let Some(way) = self.way() {
            if closed.is_some_and(|closed| Arc::ptr_eq(&closed, &way)) {
                return;
            }
            let put = way.session.put(self.key(&way, to), payload.clone());
            match put.congestion_control(congestion).allowed_destination(Locality::Remote).wait() {
                Ok(()) => {
                    counters.packets_sent.fetch_add(1, Relaxed);
                    return;
                }
                Err(error) => tracing::debug!(%error, "a packet was not sent"),
            }
            // Once more if the session was closed meanwhile, and there is another one.
            closed = Some(way);
        }
    }

    /// The key of a node.
    fn key(&self, way: &Way, peer: &Peer) -> KeyExpr<'static> {
        if let Some(key) = way.direct().get(peer) {
            return key.clone();
        }
        let _declaring = self.declaring();
        let key = numbered(&way.session, way.keys.direct(peer));
        way.direct().insert(peer.clone(), key.clone());
        key
    }

    /// Forgets the key of a node.
    pub(super) fn forget(&self, peer: &Peer) {
        let way = match &*self.phase() {
            Phase::Open(way) => way.clone(),
            Phase::Waiting | Phase::Over => return,
        };
        // Whoever needs it from now on declares it anew, after this.
        let _declaring = self.declaring();
        let key = way.direct().remove(peer);
        if let Some(Err(error)) = key.map(|key| way.session.undeclare(key).wait()) {
            tracing::debug!(%error, "a key could not be undeclared");
        }
    }

    /// Puts a message at once; says whether it did. See [`Transport::send_now`](crate::transport::Transport::send_now).
    pub(super) fn put_now(&self, to: &Peer, message: &Bytes, counters: &Counters) -> bool {
        if message.len() > MAX_NOW_BYTES {
            return false;
        }
        let way = match &*self.phase() {
            Phase::Open(way) if way.priorities => way.clone(),
            _ => return false,
        };
        let key = match way.direct.try_lock() {
            Ok(direct) => direct.get(to).cloned(),
            Err(TryLockError::Poisoned(direct)) => direct.into_inner().get(to).cloned(),
            Err(TryLockError::WouldBlock) => None,
        };
        // One that nothing was sent to yet, or that is gone.
        let Some(key) = key else { return false };
        let put = way
            .session
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

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn declaring(&self) -> MutexGuard<'_, ()> {
        self.declaring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn direct(&self) -> MutexGuard<'_, HashMap<Peer, KeyExpr<'static>>> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key that zenoh knows by a number, if it can be.
fn numbered(session: &Session, key: String) -> KeyExpr<'static> {
    session.declare_keyexpr(key.clone()).wait().unwrap_or_else(|error| {
        tracing::debug!(%error, "a key could not be declared");
        KeyExpr::new(key).expect("slashes and letters form a key expression")
    })
}
