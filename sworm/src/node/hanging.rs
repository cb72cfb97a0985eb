//! Workers that do not come back from people's code: those that were told to stop, and those that save their state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::HashMap;
use tokio::time::{Instant, timeout};

use super::sworm::{Slot, SwormShared};
use crate::core::Input;
use crate::core::ids::Epoch;
use crate::worker::task::STOPPING_LIMIT;

/// How long a worker that was told to stop or pause may take beyond its hooks.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
/// How long saving a state may take, encoding included.
const SAVE_LIMIT: Duration = Duration::from_secs(30);
/// How often a worker that is to stop is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The longest time between two words about a worker that cannot be stopped.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long saving a state may take on this node.
pub(crate) struct SaveLimit(AtomicU64);

impl Default for SaveLimit {
    fn default() -> Self {
        Self(AtomicU64::new(millis(SAVE_LIMIT)))
    }
}

impl SaveLimit {
    pub(crate) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Says how long saving a state may take on this node, so that a test need not wait as long as others do.
#[cfg(feature = "faults")]
pub fn limit_saves(sworm: &crate::Sworm, limit: Duration) {
    sworm.shared.save_limit.0.store(millis(limit), Relaxed);
}

/// What a core is told of a worker that was given up while it saved its state.
pub(crate) fn given_up(name: Arc<str>, since: Epoch, after: Duration) -> Input {
    Input::GivenUp { name, since, why: format!("its state was not given within {after:?}").into() }
}

/// Waits until a worker that was told to stop has ended. One that ignores it is aborted after its time, and one that does not
/// come back from saving its state is given up. Any other that blocks its thread cannot be ended, and keeps its name until it
/// ends or its node stops: nobody else starts it meanwhile.
pub(crate) async fn stopped_within(limit: Duration, shared: Arc<SwormShared>, name: Arc<str>, since: Epoch) {
    let slot = |slots: &HashMap<Arc<str>, Slot>| {
        let slot = slots.get(&name).filter(|slot| slot.since == since)?;
        let task = slot.task.as_ref()?;
        Some((slot.control.clone(), task.handle.clone(), task.activity.clone()))
    };
    let Some((control, task, activity)) = slot(&shared.slots()) else { return };
    let began = Instant::now();
    let (mut aborted, mut said, mut wait) = (false, limit, GRACE);
    while timeout(LOOK, control.closed()).await.is_err() {
        let waited = began.elapsed();
        let saving = activity.saving_for(std::time::Instant::now());
        let hangs = saving.is_some_and(|taken| taken >= shared.save_limit.get().min(STOPPING_LIMIT));
        if hangs && activity.give_up_saving() {
            tracing::error!(
                name = &*name,
                "a worker that is to stop does not come back from saving its state; it is given up"
            );
            break;
        }
        if shared.node.has_stopped() {
            return;
        }
        if !aborted && waited >= limit {
            tracing::warn!(name = &*name, "a worker did not stop in time; its task is aborted");
            task.abort();
            (aborted, said) = (true, waited + GRACE);
        } else if aborted && waited >= said {
            tracing::error!(name = &*name, "a worker blocks its thread and cannot be ended; its name stays taken");
            wait = (wait * 2).min(LONGEST_WAIT);
            said = waited + wait;
        }
    }
    shared.input(Input::Stopped { name, since });
}
