//! Waiting for something to be so.

use std::future::Future;
use std::time::{Duration, Instant};

/// Long enough for a slow and busy machine: what takes this long does not come at all.
const DEADLINE: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and gives it.
///
/// # Panics
///
/// When there is none for 40 s.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    eventually_within(DEADLINE, what, ask).await
}

/// The same with another deadline, for what must be quick.
///
/// # Panics
///
/// When the time is over.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    deadline: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < deadline, "{deadline:?} passed without {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Asks for that long whether something stays so: for what must *not* happen there is no event to wait for.
///
/// # Panics
///
/// When it is not so.
pub async fn holds_for<F: Future<Output = bool>>(time: Duration, what: &str, mut ask: impl FnMut() -> F) {
    let started = Instant::now();
    while started.elapsed() < time {
        assert!(ask().await, "it did not stay so that {what}");
        tokio::time::sleep(POLL).await;
    }
}
