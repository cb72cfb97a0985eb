//! How long the workers of a sworm may go on, in mode "majority".

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::sworm::{Slot, SwormShared};
use crate::core::majority::Rules;

/// Until when workers may take messages and answer.
#[derive(Debug)]
pub(crate) struct Lease {
    until_ms: AtomicU64,
    rules: Option<Rules>,
}

/// How long before its process would be a task is aborted.
const ABORT_BEFORE: Duration = Duration::from_millis(1_000);
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(50);

impl Lease {
    /// In mode "available" workers may always go on.
    pub(crate) fn new(rules: Option<Rules>) -> Self {
        Self { until_ms: AtomicU64::new(if rules.is_some() { NEVER_HELD } else { u64::MAX }), rules }
    }

    /// A lease until then; 0 when it is lost.
    pub(crate) fn set(&self, until_ms: u64) {
        self.until_ms.store(until_ms, SeqCst);
    }

    /// Whether it is that of mode "available": then nobody need look at the time.
    pub(crate) fn is_for_ever(&self) -> bool {
        self.rules.is_none()
    }

    /// Whether workers may go on now.
    pub(crate) fn is_valid(&self, now_ms: u64) -> bool {
        let until_ms = self.until_ms.load(SeqCst);
        until_ms != NEVER_HELD && now_ms < until_ms
    }

    /// Whether it was held and has ended.
    pub(crate) fn is_lost(&self, now_ms: u64) -> bool {
        let until_ms = self.until_ms.load(SeqCst);
        until_ms != NEVER_HELD && now_ms >= until_ms
    }

    /// How long workers may take to stop when it has ended.
    pub(crate) fn stop_limit(&self) -> Option<Duration> {
        self.rules.map(|rules| Duration::from_millis(rules.stop_ms))
    }
}

/// Stands for a lease that was not held yet.
const NEVER_HELD: u64 = u64::MAX - 1;

/// The lease has ended: tasks that have not stopped shortly before they must have are aborted.
pub(crate) fn abort_late(shared: &Arc<SwormShared>) {
    let Some(limit) = shared.lease.stop_limit() else { return };
    let running = |slot: &Slot| slot.task.as_ref().map(|task| task.handle.clone());
    let tasks: Vec<_> = shared.slots().iter().filter_map(|(name, slot)| Some((name.clone(), running(slot)?))).collect();
    tokio::spawn(async move {
        tokio::time::sleep(limit.saturating_sub(ABORT_BEFORE)).await;
        for (name, task) in tasks.iter().filter(|(_, task)| !task.is_finished()) {
            tracing::warn!(
                name = &**name,
                "a worker did not stop in time, and there is no majority; its task is aborted"
            );
            task.abort();
        }
    });
}

/// Watches from a thread of its own, which no worker can block, that no worker outlives the lease by more than the time to
/// stop: a task that blocks its thread cannot be ended otherwise than with its process. Where the process was suspended, the
/// time counts from when it goes on.
pub(crate) fn watch(shared: &Arc<SwormShared>) {
    let Some(limit) = shared.lease.stop_limit() else { return };
    let weak = Arc::downgrade(shared);
    let watching = move || {
        let mut lost_ms = None;
        while let Some(shared) = weak.upgrade() {
            let now = shared.node.mono_ms();
            if shared.node.has_stopped() {
                return;
            }
            let lost = shared.lease.is_lost(now);
            let since = lost.then(|| *lost_ms.get_or_insert(now));
            match since {
                None => lost_ms = None,
                Some(since) if now >= since + u64::try_from(limit.as_millis()).unwrap_or(u64::MAX) => {
                    if let Some(name) = shared.unfinished() {
                        tracing::error!(
                            sworm = &*shared.name,
                            name = &*name,
                            "this node has no majority any more, and a worker did not stop within {limit:?}: the process ends, \
                             since the other side may start it"
                        );
                        std::process::abort();
                    }
                }
                Some(_) => {}
            }
            drop(shared);
            thread::sleep(LOOK);
        }
    };
    if let Err(error) = thread::Builder::new().name("sworm-lease".into()).spawn(watching) {
        shared.node.fail(&format!("the thread that watches the lease cannot be started: {error}"));
    }
}
