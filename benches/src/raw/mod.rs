//! The baselines of messages: the same without Sworm.

pub(crate) mod sled;
pub(crate) mod tcp;
pub(crate) mod zenoh;

/// How long a message is, and its answer.
pub(crate) const MESSAGE_BYTES: usize = 64;
/// The first bytes of a message tell its number.
const NUMBER_BYTES: usize = 8;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

/// The callers that wait for an answer to a message of theirs.
#[derive(Default)]
struct Waiting {
    next: AtomicU64,
    callers: Mutex<HashMap<u64, oneshot::Sender<()>>>,
}

impl Waiting {
    /// A fresh message, and what tells of its answer.
    fn message(&self) -> ([u8; MESSAGE_BYTES], oneshot::Receiver<()>) {
        let number = self.next.fetch_add(1, Relaxed);
        let mut message = [7; MESSAGE_BYTES];
        message[..NUMBER_BYTES].copy_from_slice(&number.to_be_bytes());
        let (sender, answered) = oneshot::channel();
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
        (message, answered)
    }

    /// An answer has come.
    fn answered(&self, message: &[u8]) {
        let Some(number) = message.first_chunk::<NUMBER_BYTES>().map(|bytes| u64::from_be_bytes(*bytes)) else {
            return;
        };
        let caller = self.callers.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(caller) = caller {
            let _ = caller.send(());
        }
    }
}
