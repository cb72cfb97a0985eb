//! What is measured, alike with each library.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm_benches::{Load, load};

/// How many actors the other node has, each with a name.
pub(crate) const NAMES: usize = 200;
/// How many call at a time.
pub(crate) const CALLERS: [usize; 2] = [1, 64];
/// How often each library has its turn.
pub(crate) const ROUNDS: usize = 3;
/// How long a message is, and its answer.
pub(crate) const MESSAGE_BYTES: usize = 64;
/// How long the nodes may take to know each other.
pub(crate) const LINK_LIMIT: Duration = Duration::from_secs(30);
/// How soon it is looked again at what has not come yet.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The time is looked at after so many look-ups.
const LOOK_UPS: usize = 16;

/// How long things are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) quick: bool,
}

impl Time {
    fn each(self) -> Duration {
        Duration::from_millis(if self.quick { 400 } else { 3_000 })
    }
}

/// What came of one round.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Measured {
    look_up_ns: f64,
    /// By the number of callers.
    calls: Vec<(usize, Load)>,
}

impl Measured {
    /// The middle one of several rounds.
    pub(crate) fn look_up(rounds: &[Self]) -> f64 {
        let mut times: Vec<f64> = rounds.iter().map(|round| round.look_up_ns).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// The same, each number by itself.
    pub(crate) fn calls(rounds: &[Self], callers: usize) -> Load {
        let of = |round: &Self| round.calls.iter().find(|(number, _)| *number == callers).map(|(_, load)| *load);
        Load::median(&rounds.iter().filter_map(of).collect::<Vec<_>>())
    }
}

/// The name of an actor.
pub(crate) fn name(number: usize) -> String {
    format!("aircraft-{number:07}")
}

/// Finds actors by their names, one after another, and calls them, each caller one of its own.
pub(crate) async fn measure<A, F, C>(
    time: Time,
    mut find: impl AsyncFnMut(String) -> Result<A, BoxError>,
    call: F,
) -> Result<Measured, BoxError>
where
    A: Clone + Send + Sync + 'static,
    F: Fn(A) -> C + Clone + Send + 'static,
    C: Future<Output = Result<(), BoxError>> + Send,
{
    let mut actors = Vec::new();
    for number in 0..NAMES {
        let until = Instant::now() + LINK_LIMIT;
        let actor = loop {
            match find(name(number)).await {
                Ok(actor) => break actor,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        };
        actors.push(actor);
    }
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let (begin, mut done) = (Instant::now(), 0);
    while begin.elapsed() < time.each() {
        for _ in 0..LOOK_UPS {
            find(names[done % NAMES].clone()).await?;
            done += 1;
        }
    }
    let look_up_ns = begin.elapsed().as_secs_f64() * 1e9 / done as f64;
    let mut calls = Vec::new();
    for callers in CALLERS {
        let caller = |number: usize| {
            let (actor, call) = (actors[number].clone(), call.clone());
            move || call(actor.clone())
        };
        calls.push((callers, load(callers, time.each(), caller).await?));
    }
    Ok(Measured { look_up_ns, calls })
}

/// A port that is free just now.
pub(crate) fn free_port() -> Result<u16, BoxError> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
