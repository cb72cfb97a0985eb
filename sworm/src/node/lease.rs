//! How long the workers of a sworm may go on, in mode "majority".

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::sworm::{Opened, Slot, SwormShared};
use crate::core::majority::Rules;

/// Until when workers may take messages and answer.
#[derive(Debug)]
pub(crate) struct Lease {
    until_ms: AtomicU64,
    rules: Option<Rules>,
    /// The workers whose sworm has let go of them, when it stopped.
    left: Mutex<Vec<(Arc<str>, AbortHandle)>>,
}

/// How long before its process would be a task is aborted.
const ABORT_BEFORE: Duration = Duration::from_millis(1_000);
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(50);

impl Lease {
    /// In mode "available" workers may always go on.
    pub(crate) fn new(rules: Option<Rules>) -> Self {
        let until_ms = AtomicU64::new(if rules.is_some() { NEVER_HELD } else { u64::MAX });
        Self { until_ms, rules, left: Mutex::default() }
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

    /// The sworm lets go of its workers, and some may not have ended.
    pub(crate) fn leave(&self, tasks: impl IntoIterator<Item = (Arc<str>, AbortHandle)>) {
        if !self.is_for_ever() {
            self.left().extend(tasks);
        }
    }

    /// One of those whose task has not ended.
    fn unfinished(&self) -> Option<Arc<str>> {
        let mut left = self.left();
        left.retain(|(_, task)| !task.is_finished());
        left.first().map(|(name, _)| name.clone())
    }

    fn left(&self) -> MutexGuard<'_, Vec<(Arc<str>, AbortHandle)>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
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
/// stop: a task that blocks its thread cannot be ended otherwise than with its process. A node that stops takes nothing of that
/// back, since the others may start the worker all the same. Where the process was suspended, the time counts from when it goes
/// on.
pub(crate) fn watch(shared: &Arc<SwormShared>) {
    let Some(limit) = shared.lease.stop_limit() else { return };
    let watch = Watch {
        name: shared.name.clone(),
        shared: Arc::downgrade(shared),
        lease: shared.lease.clone(),
        opened: shared.opened.clone(),
        clock: shared.node.clock,
        limit,
    };
    if let Err(error) = thread::Builder::new().name("sworm-lease".into()).spawn(move || watch.run()) {
        shared.node.fail(&format!("the thread that watches the lease cannot be started: {error}"));
    }
}

/// What the thread needs when its sworm is there no more.
struct Watch {
    name: Arc<str>,
    shared: Weak<SwormShared>,
    lease: Arc<Lease>,
    /// The other end is the driver's.
    opened: watch::Receiver<Opened>,
    clock: Clock,
    limit: Duration,
}

impl Watch {
    /// Goes on until its driver has ended, which starts no more workers then, and so have all workers.
    fn run(self) {
        let mut lost_ms = None;
        loop {
            let now = self.clock.ms();
            let late = if self.lease.is_lost(now) {
                let since = *lost_ms.get_or_insert(now);
                now >= since + u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX)
            } else {
                lost_ms = None;
                false
            };
            // Before the workers are looked at: what it has started is among them.
            let is_over = self.opened.has_changed().is_err();
            if is_over || late {
                match self.unfinished() {
                    None if is_over => return,
                    Some((name, why)) if late => {
                        let limit = self.limit;
                        tracing::error!(
                            sworm = &*self.name,
                            name = &*name,
                            "{why}, and a worker did not stop within {limit:?}: the process ends, since the other side may \
                             start it"
                        );
                        std::process::abort();
                    }
                    _ => {}
                }
            }
            thread::sleep(LOOK);
        }
    }

    /// A worker whose task has not ended, and why it should have when the lease is lost.
    fn unfinished(&self) -> Option<(Arc<str>, &'static str)> {
        let running = self.shared.upgrade().and_then(|shared| shared.unfinished());
        let running = running.map(|name| (name, "this node has no majority any more"));
        // Looked at later: those that are left behind meanwhile have been there.
        running.or_else(|| Some((self.lease.unfinished()?, "this node has stopped, its majority has ended since")))
    }
}
