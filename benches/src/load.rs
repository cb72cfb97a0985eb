//! Callers that do one thing over and over for a while: how long it takes each time, and how often it is done.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use sworm::BoxError;
use tokio::task::JoinSet;

/// What callers do before their time counts.
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);
/// The longest time that is told apart, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// What came of it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub struct Load {
    /// Half of the times are at most this, in microseconds.
    pub p50_us: f64,
    /// All but a hundredth of them are at most this.
    pub p99_us: f64,
    /// By all callers together.
    pub per_second: f64,
}

impl Load {
    /// The middle ones of several rounds, each number by itself.
    pub fn median(rounds: &[Self]) -> Self {
        let middle = |number: fn(&Self) -> f64| {
            let mut numbers: Vec<f64> = rounds.iter().map(number).collect();
            numbers.sort_by(f64::total_cmp);
            numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            p50_us: middle(|load| load.p50_us),
            p99_us: middle(|load| load.p99_us),
            per_second: middle(|load| load.per_second),
        }
    }
}

/// Lets so many callers work for that long. Each has its own of what `caller` makes.
///
/// # Errors
///
/// The first that one of them comes to.
pub async fn load<C, F, O>(callers: usize, time: Duration, caller: C) -> Result<Load, BoxError>
where
    C: Fn(usize) -> F,
    F: FnMut() -> O + Send + 'static,
    O: Future<Output = Result<(), BoxError>> + Send,
{
    let begin = Instant::now() + WARM_UP;
    let mut working = JoinSet::new();
    for number in 0..callers {
        let mut act = caller(number);
        working.spawn(async move {
            let mut times = Histogram::<u64>::new_with_max(LONGEST_NS, 3)?;
            loop {
                let started = Instant::now();
                if started >= begin + time {
                    return Ok::<_, BoxError>(times);
                }
                act().await?;
                if started >= begin {
                    times.saturating_record(nanoseconds(started.elapsed()));
                }
            }
        });
    }
    let mut all = Histogram::<u64>::new_with_max(LONGEST_NS, 3)?;
    while let Some(times) = working.join_next().await {
        all.add(times??)?;
    }
    let micros = |quantile| all.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Load { p50_us: micros(0.5), p99_us: micros(0.99), per_second: all.len() as f64 / time.as_secs_f64() })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
