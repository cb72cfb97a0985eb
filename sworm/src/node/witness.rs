//! Looks at what a core wants done, right before and right after it is: for tests in which a process dies there.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::Effect;
use crate::core::state::Core;

/// Is shown an effect before it is performed, and the core that wants it; what it returns is called when that is done and
/// handed to the store.
type Witness = dyn Fn(&Effect, &Core) -> Option<Box<dyn FnOnce()>> + Send + Sync;

/// Whoever looks, if anybody does.
#[derive(Default)]
pub(crate) struct Witnesses(Mutex<Option<Arc<Witness>>>);

impl Witnesses {
    /// Shows an effect that is about to be performed.
    pub(crate) fn show(&self, effect: &Effect, core: &Core) -> Option<Box<dyn FnOnce()>> {
        let witness = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        witness(effect, core)
    }
}

/// Shows all effects of this node's core of a sworm to this function, in place of any before it. It may block.
pub fn witness(
    sworm: &crate::Sworm,
    witness: impl Fn(&Effect, &Core) -> Option<Box<dyn FnOnce()>> + Send + Sync + 'static,
) {
    let mut slot = sworm.shared.witnesses.0.lock().unwrap_or_else(PoisonError::into_inner);
    *slot = Some(Arc::new(witness));
}
