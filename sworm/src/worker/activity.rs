//! What a worker's code does at the moment, for whoever looks that it gets on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a worker may be busy with one thing until that is reported: as long as a call waits unless told otherwise.
const REPORTED_AFTER: Duration = Duration::from_secs(5);

/// What a worker does. Each step of its task writes it, and anybody may read it: a task that blocks its thread cannot say
/// anything itself.
#[derive(Debug, Default)]
pub(crate) struct Activity(Mutex<Option<Doing>>);

#[derive(Debug)]
struct Doing {
    what: &'static str,
    /// When somebody looked for the first time: most of what is done has ended by then, and never costs a look at the clock.
    since: Option<Instant>,
    /// How often it was reported that it takes long.
    reports: u32,
}

impl Activity {
    /// People's code begins: a handler, by its message's id, or a hook.
    pub(crate) fn begins(&self, what: &'static str) {
        *self.doing() = Some(Doing { what, since: None, reports: 0 });
    }

    /// It has ended.
    pub(crate) fn ends(&self) {
        *self.doing() = None;
    }

    /// What takes long, and how long already as far as was looked, if that is to be said (again): after 5 s, 10 s, 20 s and
    /// so on.
    pub(crate) fn overdue(&self, now: Instant) -> Option<(&'static str, Duration)> {
        let mut doing = self.doing();
        let doing = doing.as_mut()?;
        let busy = now.saturating_duration_since(*doing.since.get_or_insert(now));
        if busy < REPORTED_AFTER.saturating_mul(1 << doing.reports.min(20)) {
            return None;
        }
        doing.reports += 1;
        Some((doing.what, busy))
    }

    fn doing(&self) -> MutexGuard<'_, Option<Doing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_reported_at_growing_intervals_until_it_ends() {
        let activity = Activity::default();
        activity.begins("Add");
        let began = Instant::now();
        let reported = |at: u64| activity.overdue(began + Duration::from_secs(at)).map(|(what, _)| what);
        let seconds: Vec<u64> = (0..100).filter(|at| reported(*at).is_some()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80]);
        activity.ends();
        assert_eq!(reported(1_000), None);
        activity.begins("started");
        assert_eq!(reported(1_000), None, "nobody has looked before");
        assert_eq!(reported(1_005), Some("started"));
    }
}
