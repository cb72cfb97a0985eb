//! Waiting for something to be so.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Long enough for a slow and busy machine: what takes this long does not come at all.
const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and gives it.
///
/// # Panics
///
/// When there is none for two minutes.
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

/// Asks for that long whether something stays so: for what must *not* happen there is no event to wait for. On a machine
/// that stands still meanwhile it takes longer: who has hardly looked has seen nothing.
///
/// # Panics
///
/// When it is not so.
pub async fn holds_for<F: Future<Output = bool>>(time: Duration, what: &str, mut ask: impl FnMut() -> F) {
    let least = time.as_millis() / POLL.as_millis() / 2;
    let (started, mut looks) = (Instant::now(), 0);
    while started.elapsed() < time || looks < least {
        looks += 1;
        assert!(ask().await, "it did not stay so that {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Does something and looks around again and again meanwhile; also gives the longest time between two looks. Where that is
/// long the machine stood still, and what came of it shows nothing.
pub async fn while_looking<T>(what: impl Future<Output = T>, look: impl AsyncFn()) -> (T, Duration) {
    let (mut what, mut last, mut longest) = (pin!(what), Instant::now(), Duration::ZERO);
    loop {
        let next = async {
            tokio::time::sleep(POLL).await;
            look().await;
        };
        tokio::select! {
            done = &mut what => return (done, longest.max(last.elapsed())),
            () = next => longest = longest.max(last.elapsed()),
        }
        last = Instant::now();
    }
}

/// An error with that text, if something is not so.
///
/// # Errors
///
/// That one.
pub fn ensure(is_so: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(text()) }
}
