//! Makes a node lose something of a worker of its own.

use sworm::Sworm;
use sworm::internals;

use crate::protocol::Loss;

pub(super) fn lose(sworm: &Sworm, name: &str, what: Loss) {
    match what {
        Loss::Task => internals::abort(sworm, name),
        Loss::Slot => internals::lose(sworm, name),
        Loss::Name => internals::lose_name(sworm, name),
        Loss::Worker => internals::forget_worker(sworm, name),
    }
}
