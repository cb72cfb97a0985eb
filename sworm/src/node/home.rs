//! Where a reference leads: a sworm of this node, which it does not keep.

use std::sync::{Arc, OnceLock, Weak};

use super::sworm::SwormShared;
use crate::error::CallError;

/// A sworm as references to its names hold it. All of them share one; what is in it is counted nowhere else, so that readers on
/// several threads do not wait for each other's counts.
#[derive(Default)]
pub(crate) struct Home {
    /// The sworm's name, and its hash.
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    shared: Weak<SwormShared>,
    /// Why the node has stopped by itself, if it has.
    failure: Arc<OnceLock<String>>,
}

impl Home {
    pub(super) fn new(name: Arc<str>, shared: Weak<SwormShared>, failure: Arc<OnceLock<String>>) -> Self {
        Self { hash: super::sworm_hash(&name), name, shared, failure }
    }

    /// The sworm, unless its node has stopped and nobody holds it any more.
    pub(crate) fn shared(&self) -> Option<Arc<SwormShared>> {
        self.shared.upgrade()
    }

    /// The same, or why there is nothing to call any more.
    pub(crate) fn to_call(&self) -> Result<Arc<SwormShared>, CallError> {
        let gone = || match self.failure.get() {
            Some(reason) => CallError::NodeFailed { reason: reason.clone() },
            None => CallError::Stopped,
        };
        self.shared().ok_or_else(gone)
    }
}
