//! Keeps a runtime going while people's code blocks some of its threads.
//!
//! Of the threads that have nothing to do, one waits for time and sockets in the name of all. When that wakes up for a single
//! task it runs that itself and wakes no other; if the task blocks, nobody waits for time and sockets any more, though
//! threads are free. Whoever gives the runtime a task from outside wakes one of those.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

use super::NodeShared;

/// How often that is done: so long may everything stand still.
const EVERY: Duration = Duration::from_secs(1);

/// Wakes the runtime up from a thread of its own, until the node stops.
pub(crate) fn keep(shared: &Arc<NodeShared>) {
    let runtime = Handle::current();
    if runtime.runtime_flavor() != RuntimeFlavor::MultiThread {
        return;
    }
    let weak = Arc::downgrade(shared);
    let runs = |node: &Weak<NodeShared>| node.upgrade().is_some_and(|node| !node.has_stopped());
    let keeping = move || {
        while runs(&weak) {
            runtime.spawn(async {});
            thread::sleep(EVERY);
        }
    };
    if let Err(error) = thread::Builder::new().name("sworm-awake".into()).spawn(keeping) {
        tracing::warn!(%error, "a worker that blocks its thread may hold up others: the thread that prevents that cannot be started");
    }
}
