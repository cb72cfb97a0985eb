//! Restart strategies: what happens when a worker ends.

use std::time::Duration;

use backon::BackoffBuilder;
use serde::{Deserialize, Serialize};

use crate::core::ids::{NodeId, Pid};

/// How a worker ended, or why it is being stopped. What follows on the first six is up to its restart strategy; on the
/// others it is settled, no strategy is asked, and the worker is told by [`Context::exit`](crate::Context::exit).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Exit {
    /// It stopped by itself: [`Context::stop`](crate::Context::stop), or `run` returned `Ok`.
    Normal,
    /// `run` returned an error, or a checkpoint could not be made durable.
    Error(String),
    /// A handler or a hook panicked.
    Panic(String),
    /// `started` returned an error, or the saved state could not be decoded.
    StartFailed(String),
    /// `started` did not return in time.
    StartTimedOut,
    /// Its task was gone without a word, for this reason: somebody has aborted it.
    Killed(String),
    /// Its name was unregistered.
    Unregistered,
    /// It goes on on another node.
    Moved {
        /// Which one.
        to: NodeId,
    },
    /// Its node leaves, and nobody takes it over.
    Shutdown,
    /// Two workers had its name, and the other one goes on.
    Conflict {
        /// The other one.
        winner: Pid,
    },
    /// A later state of it has turned up: it is started again from there.
    Superseded,
    /// Its node has no majority any more, in mode "majority": it goes on, here or elsewhere, where there is one.
    MajorityLost,
}

impl Exit {
    /// Whether the worker ended because it wanted to.
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal)
    }

    /// Whether it is a start that failed.
    pub(crate) fn is_of_start(&self) -> bool {
        matches!(self, Self::StartFailed(_) | Self::StartTimedOut)
    }

    /// The same, of a start.
    pub(crate) fn into_start(self) -> Self {
        match self {
            Self::Panic(text) => Self::StartFailed(format!("it panicked: {text}")),
            exit => exit,
        }
    }

    /// Whether what follows is settled: no restart strategy is asked.
    pub fn is_settled(&self) -> bool {
        match self {
            Self::Normal
            | Self::Error(_)
            | Self::Panic(_)
            | Self::StartFailed(_)
            | Self::StartTimedOut
            | Self::Killed(_) => false,
            Self::Unregistered
            | Self::Moved { .. }
            | Self::Shutdown
            | Self::Conflict { .. }
            | Self::Superseded
            | Self::MajorityLost => true,
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Normal => f.write_str("ended normally"),
            Self::Error(why) => write!(f, "failed: {why}"),
            Self::Panic(why) => write!(f, "panicked: {why}"),
            Self::StartFailed(why) => write!(f, "start failed: {why}"),
            Self::StartTimedOut => f.write_str("start timed out"),
            Self::Killed(why) => write!(f, "was killed: {why}"),
            Self::Unregistered => f.write_str("was unregistered"),
            Self::Moved { to } => write!(f, "moves to {to}"),
            Self::Shutdown => f.write_str("stops with its node"),
            Self::Conflict { winner } => write!(f, "lost a conflict against {winner}"),
            Self::Superseded => f.write_str("starts again from a later state"),
            Self::MajorityLost => f.write_str("stops, since its node has no majority any more"),
        }
    }
}

/// The restarts of one worker so far; it moves with the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestartHistory {
    /// How long ago each restart was, newest first; at most the last 32.
    pub restarts: Vec<Duration>,
    /// A random number, for jitter.
    pub random: u32,
}

impl RestartHistory {
    /// A history with these restarts (how long ago, newest first) and this random number.
    pub fn new(restarts: Vec<Duration>, random: u32) -> Self {
        Self { restarts, random }
    }

    /// How many restarts fall within the last `period`.
    pub fn within(&self, period: Duration) -> usize {
        self.restarts.iter().filter(|ago| **ago < period).count()
    }

    /// Exponential back-off for the next restart: nothing for the first within `period`, then `first`, doubling up to
    /// `most`, each shortened by up to a quarter of jitter.
    pub fn back_off(&self, period: Duration, first: Duration, most: Duration) -> Duration {
        let Some(step) = self.within(period).checked_sub(1) else { return Duration::ZERO };
        let base = backon::ExponentialBuilder::default()
            .with_min_delay(first)
            .with_max_delay(most)
            .without_max_times()
            .build()
            .nth(step)
            .unwrap_or(most);
        let jittered = base.mul_f64(1.0 - f64::from(self.random) / f64::from(u32::MAX) / 4.0);
        Duration::from_millis(u64::try_from(jittered.as_millis()).unwrap_or(u64::MAX)).min(most)
    }
}

/// What is to happen with a worker that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartDecision {
    /// Its name is removed.
    Remove,
    /// It starts again on the same node after this time.
    Restart {
        /// How long to wait.
        after: Duration,
    },
    /// It stays visible as failed, with the reason, until it is unregistered or registered anew.
    GiveUp,
}

/// Decides what happens when a worker ends. Pure: the same input gives the same answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a restart strategy; write `impl Restart for {Self}`, or name a strategy in quotes",
    label = "not a restart strategy"
)]
pub trait Restart: Send + Sync + 'static {
    /// Decides for one exit, which is never a [settled](Exit::is_settled) one. A panic counts as
    /// [`RestartDecision::GiveUp`]. A first start that fails is not asked about either (it leaves no name), nor is a failed
    /// start after a move or on another node, which is tried again until it works.
    fn decide(&self, exit: &Exit, history: &RestartHistory) -> RestartDecision;
}

/// How often a worker is restarted before it is given up: 3 times in 5 s, unless something else is said (Erlang's default
/// intensity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Intensity {
    restarts: usize,
    period: Duration,
}

const DEFAULT: Intensity = Intensity { restarts: 3, period: Duration::from_secs(5) };
/// So many restarts of a worker are remembered.
pub(crate) const MAX_RESTARTS: usize = 32;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const MAX_DELAY: Duration = Duration::from_secs(30);

impl Intensity {
    const fn new(restarts: usize, period: Duration) -> Self {
        assert!(restarts <= MAX_RESTARTS, "at most 32 restarts of a worker are remembered");
        Self { restarts, period }
    }

    fn restart_or_give_up(self, history: &RestartHistory) -> RestartDecision {
        if history.within(self.period) >= self.restarts {
            RestartDecision::GiveUp
        } else {
            RestartDecision::Restart { after: history.back_off(self.period, FIRST_DELAY, MAX_DELAY) }
        }
    }
}

/// `"permanent"`: restarted whatever the reason, at most 3 times in 5 s, or as [`with_intensity`](Self::with_intensity) says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permanent;

impl Permanent {
    /// The same with another intensity: at most `restarts` (0 to 32) within `period`; after that the worker is given up, and its
    /// name stays visible as failed.
    ///
    /// # Panics
    ///
    /// With more than 32 restarts, which is as many as are remembered of a worker: in a constant, as in `#[worker(restart = ..)]`
    /// and [`plugin!`](crate::plugin!), that is an error of the compiler.
    pub const fn with_intensity(restarts: usize, period: Duration) -> PermanentWithin {
        PermanentWithin(Intensity::new(restarts, period))
    }
}

impl Restart for Permanent {
    fn decide(&self, _: &Exit, history: &RestartHistory) -> RestartDecision {
        DEFAULT.restart_or_give_up(history)
    }
}

/// [`Permanent`] with an intensity of its own: [`Permanent::with_intensity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermanentWithin(Intensity);

impl Restart for PermanentWithin {
    fn decide(&self, _: &Exit, history: &RestartHistory) -> RestartDecision {
        self.0.restart_or_give_up(history)
    }
}

/// `"transient"` (the default): removed when it ended normally, else restarted, at most 3 times in 5 s, or as
/// [`with_intensity`](Self::with_intensity) says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transient;

impl Transient {
    /// The same with another intensity: at most `restarts` (0 to 32) within `period`; after that the worker is given up, and its
    /// name stays visible as failed.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// use std::time::Duration;
    /// use sworm::Transient;
    ///
    /// #[derive(Worker, Serialize, Deserialize)]
    /// #[worker(restart = Transient::with_intensity(10, Duration::from_secs(60)))]
    /// struct Feed;
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Permanent::with_intensity`].
    pub const fn with_intensity(restarts: usize, period: Duration) -> TransientWithin {
        TransientWithin(Intensity::new(restarts, period))
    }
}

impl Restart for Transient {
    fn decide(&self, exit: &Exit, history: &RestartHistory) -> RestartDecision {
        TransientWithin(DEFAULT).decide(exit, history)
    }
}

/// [`Transient`] with an intensity of its own: [`Transient::with_intensity`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransientWithin(Intensity);

impl Restart for TransientWithin {
    fn decide(&self, exit: &Exit, history: &RestartHistory) -> RestartDecision {
        if exit.is_normal() { RestartDecision::Remove } else { self.0.restart_or_give_up(history) }
    }
}

/// `"temporary"`: never restarted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Temporary;

impl Restart for Temporary {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::Remove
    }
}

crate::plugin!(dyn Restart, "permanent", Permanent);
crate::plugin!(dyn Restart, "transient", Transient);
crate::plugin!(dyn Restart, "temporary", Temporary);

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(restarts: &[u64]) -> RestartHistory {
        RestartHistory::new(restarts.iter().map(|s| Duration::from_secs(*s)).collect(), 0)
    }

    #[test]
    fn every_strategy_decides_for_every_exit_that_is_not_settled() {
        use RestartDecision::{GiveUp, Remove, Restart as Again};
        let now = Again { after: Duration::ZERO };
        let later = Again { after: Duration::from_millis(100) };
        let (often, less_often) = (ago(&[1, 2, 3]), ago(&[1, 2, 9]));
        // What each of them says to one exit: the first one, and the one after three restarts in five seconds.
        let table: &[(Exit, [(RestartDecision, RestartDecision); 3])] = &[
            (Exit::Normal, [(now, GiveUp), (Remove, Remove), (Remove, Remove)]),
            (Exit::Error("e".into()), [(now, GiveUp), (now, GiveUp), (Remove, Remove)]),
            (Exit::Panic("p".into()), [(now, GiveUp), (now, GiveUp), (Remove, Remove)]),
            (Exit::StartFailed("s".into()), [(now, GiveUp), (now, GiveUp), (Remove, Remove)]),
            (Exit::StartTimedOut, [(now, GiveUp), (now, GiveUp), (Remove, Remove)]),
            (Exit::Killed("k".into()), [(now, GiveUp), (now, GiveUp), (Remove, Remove)]),
        ];
        let strategies: [&dyn Restart; 3] = [&Permanent, &Transient, &Temporary];
        for (exit, row) in table {
            assert!(!exit.is_settled(), "{exit}");
            for (strategy, (first, last)) in strategies.iter().zip(row) {
                assert_eq!(strategy.decide(exit, &ago(&[])), *first, "{exit}");
                assert_eq!(strategy.decide(exit, &often), *last, "{exit}");
                let between = if *first == now { later } else { *first };
                assert_eq!(strategy.decide(exit, &less_often), between, "{exit}");
            }
        }
    }

    #[test]
    fn each_worker_may_have_an_intensity_of_its_own() {
        const MINUTE: Duration = Duration::from_secs(60);
        let strategies: [&dyn Restart; 2] =
            [&Permanent::with_intensity(5, MINUTE), &const { Transient::with_intensity(5, MINUTE) }];
        let exit = Exit::Error("e".into());
        for strategy in strategies {
            let fourth = strategy.decide(&exit, &ago(&[1, 2, 3, 59]));
            assert_eq!(fourth, RestartDecision::Restart { after: Duration::from_millis(400) });
            assert_eq!(strategy.decide(&exit, &ago(&[1, 2, 3, 58, 59])), RestartDecision::GiveUp);
            let old = strategy.decide(&exit, &ago(&[1, 2, 3, 58, 60]));
            assert!(matches!(old, RestartDecision::Restart { .. }), "{old:?}");
        }
        let normal = strategies.map(|strategy| strategy.decide(&Exit::Normal, &ago(&[])));
        assert_eq!(normal, [RestartDecision::Restart { after: Duration::ZERO }, RestartDecision::Remove]);
        assert_eq!(Transient::with_intensity(0, MINUTE).decide(&exit, &ago(&[])), RestartDecision::GiveUp);
        let all: Vec<u64> = vec![1; MAX_RESTARTS];
        assert_eq!(Transient::with_intensity(MAX_RESTARTS, MINUTE).decide(&exit, &ago(&all)), RestartDecision::GiveUp);
    }

    #[test]
    #[should_panic(expected = "at most 32 restarts")]
    fn more_restarts_than_are_remembered_are_refused() {
        let _ = Transient::with_intensity(MAX_RESTARTS + 1, Duration::from_secs(60));
    }

    #[test]
    fn jitter_shortens_the_back_off_by_at_most_a_quarter() {
        let mut history = ago(&[1]);
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        assert_eq!(history.back_off(DEFAULT.period, first, most), first);
        history.random = u32::MAX;
        assert_eq!(history.back_off(DEFAULT.period, first, most), first.mul_f64(0.75));
        history.restarts = vec![Duration::from_secs(1); 30];
        history.random = 0;
        assert_eq!(history.back_off(DEFAULT.period, first, most), most);
    }
}
