//! Calls of this node that wait for a reply of another one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::frame::Replied;
use crate::core::ids::Peer;
use crate::error::CallError;

/// The calls without a reply.
#[derive(Default)]
pub(crate) struct Calls {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, (Peer, oneshot::Sender<Replied>)>>,
}

/// A call that waits; dropping it forgets the call.
pub(crate) struct Waiting<'a> {
    calls: &'a Calls,
    pub(crate) number: u64,
    pub(crate) reply: oneshot::Receiver<Replied>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.calls.lock().remove(&self.number);
    }
}

impl Calls {
    /// A number for a message that nobody answers.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Waits for a reply of that node.
    pub(crate) fn wait(&self, to: &Peer) -> Waiting<'_> {
        let number = self.number();
        let (sender, reply) = oneshot::channel();
        self.lock().insert(number, (to.clone(), sender));
        Waiting { calls: self, number, reply }
    }

    /// A reply has come.
    pub(crate) fn replied(&self, number: u64, replied: Replied) {
        if let Some((_, sender)) = self.lock().remove(&number) {
            let _ = sender.send(replied);
        }
    }

    /// A node is gone: what it was sent has an unknown outcome.
    pub(crate) fn gone(&self, peer: &Peer) {
        for (_, (_, sender)) in self.lock().extract_if(|_, (to, _)| to == peer) {
            let _ = sender.send(Replied::Failed(CallError::NodeDown));
        }
    }

    /// This node has stopped: nobody brings replies any more.
    pub(crate) fn stopped(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (Peer, oneshot::Sender<Replied>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
