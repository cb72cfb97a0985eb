//! Where a reference leads: a sworm of this node, which it does not keep.

use std::sync::{Arc, Weak};

use super::sworm::SwormShared;

/// A sworm as references to its names hold it. All of them share one; what is in it is counted nowhere else, so that readers on
/// several threads do not wait for each other's counts.
#[derive(Default)]
pub(crate) struct Home {
    /// The sworm's name, and its hash.
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    shared: Weak<SwormShared>,
}

impl Home {
    pub(super) fn new(name: Arc<str>, shared: Weak<SwormShared>) -> Self {
        Self { hash: super::sworm_hash(&name), name, shared }
    }

    /// The sworm, unless its node has stopped and nobody holds it any more.
    pub(crate) fn shared(&self) -> Option<Arc<SwormShared>> {
        self.shared.upgrade()
    }
}
