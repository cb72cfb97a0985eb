//! Emptying a node: what all its sworms are told, those that are opened later as well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::NodeShared;
use super::sworm::SwormShared;
use crate::core::Input;

/// Whether this node is being emptied. It is changed while the sworms are locked: each that is open is told, and each that
/// is opened finds it here.
#[derive(Default)]
pub(crate) struct Drains(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    /// How often somebody has asked for it or called it off.
    count: u64,
    /// The newest that asked for it, unless that was called off.
    draining: Option<u64>,
    /// The newest that called it off.
    undrained: u64,
}

impl Drains {
    /// The call by which this node is being emptied.
    pub(crate) fn call(&self) -> Option<u64> {
        self.calls().draining
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeShared {
    /// Nothing is to stay here: gives the number of this call, and the sworms that will say what came of it.
    pub(crate) fn drain(&self) -> (u64, Vec<Arc<SwormShared>>) {
        let sworms = self.sworms();
        let mut calls = self.drains.calls();
        calls.count += 1;
        calls.draining = Some(calls.count);
        sworms.values().for_each(|sworm| sworm.input(Input::Drain(calls.draining)));
        (calls.count, sworms.values().cloned().collect())
    }

    /// It takes part as before.
    pub(crate) fn undrain(&self) {
        let sworms = self.sworms();
        let mut calls = self.drains.calls();
        calls.count += 1;
        (calls.draining, calls.undrained) = (None, calls.count);
        sworms.values().for_each(|sworm| sworm.input(Input::Drain(None)));
    }

    /// Whether that was called off after the call of that number.
    pub(crate) fn was_undrained_after(&self, call: u64) -> bool {
        self.drains.calls().undrained > call
    }
}
