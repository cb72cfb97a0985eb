//! What a worker's code does at the moment, for whoever looks that it gets on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a worker may be busy with one thing until that is reported: as long as a call waits unless told otherwise.
const REPORTED_AFTER: Duration = Duration::from_secs(5);
/// The most that counts between two looks at how long a state is being saved: the whole process may have stood still.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

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
    saving: Saving,
}

/// How it is with saving the state, if that is what it does.
#[derive(Debug)]
enum Saving {
    No,
    Begun,
    /// When somebody looked last, and how long it had taken by then.
    Seen(Box<(Instant, Duration)>),
    /// Nobody waits for it any more, nor for anything else of this worker.
    GivenUp,
}

impl Activity {
    /// People's code begins: a handler, by its message's id, or a hook.
    pub(crate) fn begins(&self, what: &'static str) {
        *self.doing() = Some(Doing { what, since: None, reports: 0, saving: Saving::No });
    }

    /// It begins to save its state. As that changes nothing, it can be given up in the midst of it.
    pub(crate) fn begins_saving(&self) {
        *self.doing() = Some(Doing { what: "saving its state", since: None, reports: 0, saving: Saving::Begun });
    }

    /// It has its state, or none. Gives whether it was given up meanwhile: then it must do nothing more.
    pub(crate) fn ends_saving(&self) -> bool {
        matches!(self.doing().take(), Some(Doing { saving: Saving::GivenUp, .. }))
    }

    /// How long it saves its state already, as far as was looked.
    pub(crate) fn saving_for(&self, now: Instant) -> Option<Duration> {
        let mut doing = self.doing();
        let saving = &mut doing.as_mut()?.saving;
        match saving {
            Saving::No | Saving::GivenUp => None,
            Saving::Begun => {
                *saving = Saving::Seen(Box::new((now, Duration::ZERO)));
                Some(Duration::ZERO)
            }
            Saving::Seen(seen) => {
                let (last, taken) = &mut **seen;
                *taken += now.saturating_duration_since(std::mem::replace(last, now)).min(BETWEEN_LOOKS);
                Some(*taken)
            }
        }
    }

    /// Gives it up, if it saves its state just now: it ends as soon as it has it, without another word.
    pub(crate) fn give_up_saving(&self) -> bool {
        let mut doing = self.doing();
        let Some(doing) = doing.as_mut().filter(|doing| matches!(doing.saving, Saving::Begun | Saving::Seen(_))) else {
            return false;
        };
        doing.saving = Saving::GivenUp;
        true
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

    #[test]
    fn what_saves_its_state_is_given_up_once_and_nothing_else_is() {
        let activity = Activity::default();
        assert!(!activity.give_up_saving(), "it does nothing");
        activity.begins("Add");
        assert!(!activity.give_up_saving(), "it handles a message");
        activity.ends();
        activity.begins_saving();
        assert!(!activity.ends_saving(), "nobody has given it up");
        assert!(!activity.give_up_saving(), "it has its state already");
        activity.begins_saving();
        assert!(activity.give_up_saving());
        assert!(!activity.give_up_saving(), "it was given up before");
        assert!(activity.ends_saving());
    }

    #[test]
    fn a_time_in_which_nobody_looked_counts_only_so_much() {
        let activity = Activity::default();
        let began = Instant::now();
        let taken = |at| activity.saving_for(began + Duration::from_secs(at)).map(|taken| taken.as_secs());
        assert_eq!(taken(0), None, "it does not save");
        activity.begins_saving();
        assert_eq!([taken(0), taken(1), taken(9)], [Some(0), Some(1), Some(9)]);
        assert_eq!(taken(1_000), Some(19), "the process may have stood still");
        activity.ends();
        activity.begins_saving();
        assert_eq!(taken(1_001), Some(0), "it is another time");
    }
}
