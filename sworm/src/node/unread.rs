//! Messages that have come in and that nobody has taken yet: the transport holds no more than so many bytes of them.

use std::sync::{Arc, Weak};

use crate::transport::Transport;

/// The bytes of such a message. Dropping it tells the transport that the message was taken, or is not kept.
pub(crate) struct Unread {
    /// Not held on to: a node that stops lets go of it, whatever still waits.
    transport: Weak<dyn Transport>,
    bytes: usize,
}

impl Unread {
    pub(super) fn new(transport: &Arc<dyn Transport>, bytes: usize) -> Self {
        Self { transport: Arc::downgrade(transport), bytes }
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let Some(transport) = self.transport.upgrade() {
            transport.was_read(self.bytes);
        }
    }
}
