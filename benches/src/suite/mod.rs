//! The benches, a file each.

use futures_util::future::BoxFuture;
use sworm::BoxError;

use crate::report::Row;

mod call;
mod failover;
mod idle;
mod join;
mod leave;
mod lookup;
mod recovery;
mod register;
mod snapshots;
mod split;
mod tick;

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// Hardly anything: whether it works, not how fast.
    Smoke,
    /// Fewer names and less time.
    Quick,
    /// All of it.
    Full,
}

/// A run of that size.
#[derive(Clone, Copy, Debug)]
pub struct Run(pub Size);

impl Run {
    /// One of three: for tests, for a quick run, and for a full one.
    fn of<T>(self, smoke: T, quick: T, full: T) -> T {
        match self.0 {
            Size::Smoke => smoke,
            Size::Quick => quick,
            Size::Full => full,
        }
    }

    /// How long callers work.
    fn time(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.of(20, 400, 3_000))
    }
}

type Bench = for<'a> fn(Run, &'a mut Vec<Row>) -> BoxFuture<'a, Result<(), BoxError>>;

const BENCHES: &[(&str, Bench)] = &[
    (lookup::NAME, |run, rows| Box::pin(lookup::run(run, rows))),
    (register::NAME, |run, rows| Box::pin(register::run(run, rows))),
    (call::NAME, |run, rows| Box::pin(call::run(run, rows))),
    (failover::NAME, |run, rows| Box::pin(failover::run(run, rows))),
    (leave::NAME, |run, rows| Box::pin(leave::run(run, rows))),
    (join::NAME, |run, rows| Box::pin(join::run(run, rows))),
    (split::NAME, |run, rows| Box::pin(split::run(run, rows))),
    (idle::NAME, |run, rows| Box::pin(idle::run(run, rows))),
    (tick::NAME, |run, rows| Box::pin(async move { tick::run(run, rows) })),
    (recovery::NAME, |run, rows| Box::pin(recovery::run(run, rows))),
    (snapshots::NAME, |run, rows| Box::pin(snapshots::run(run, rows))),
];

/// The names of the benches, in the order in which they run.
pub fn known() -> impl Iterator<Item = &'static str> {
    BENCHES.iter().map(|(name, _)| *name)
}

/// Runs one of them, and puts what it measures with the rows.
///
/// # Errors
///
/// When there is none of that name, and when something went wrong in it, such as a state that got lost. What was measured
/// before that stays.
pub async fn run(name: &str, run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let Some((_, bench)) = BENCHES.iter().find(|(known, _)| *known == name) else {
        return Err(format!("there is no bench {name:?}; there are {}", known().collect::<Vec<_>>().join(", ")).into());
    };
    bench(run, rows).await
}
