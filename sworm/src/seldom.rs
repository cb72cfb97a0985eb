//! What would be said too often is said now and then.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How often it is said at most.
const EVERY: Duration = Duration::from_secs(10);

/// When it was said last.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is to be said now; then it counts as said.
    pub(crate) fn is_due(&self) -> bool {
        let Ok(mut said) = self.0.try_lock() else { return false };
        let is_due = said.is_none_or(|at| at.elapsed() >= EVERY);
        if is_due {
            *said = Some(Instant::now());
        }
        is_due
    }
}
