//! What a node process does with names.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sworm::prelude::*;
use sworm::{BoxError, MemberState, NodeId, RegistrationState};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::names::{clock, name, state};
use crate::protocol::{Digest, Failover, Filled, Kind};
use crate::workers::{Keep, Keeper, Kept, Saver};

/// How soon it is looked again at what has not come yet.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// The same while it must cost nothing, and where it must be seen at once.
const LOOK_SELDOM: Duration = Duration::from_millis(10);
const LOOK_AT_ONCE: Duration = Duration::from_micros(50);
/// How many calls go on at a time where it does not matter.
const TOGETHER: usize = 64;
/// How long a name may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// Registers names, by so many callers that each wait for one registration before the next.
pub(super) async fn fill(
    sworm: &Sworm,
    kind: Kind,
    range: Range<usize>,
    callers: usize,
    on: Option<String>,
) -> Result<Filled, BoxError> {
    let on = on.and_then(NodeId::new);
    let started = Instant::now();
    let mut working = JoinSet::new();
    for caller in 0..callers {
        let (sworm, range, on) = (sworm.clone(), range.clone(), on.clone());
        working.spawn(async move {
            for number in range.skip(caller).step_by(callers) {
                match kind {
                    Kind::Keeper => register(&sworm, number, Keeper::default(), on.as_ref()).await?,
                    Kind::Saver => register(&sworm, number, Saver::default(), on.as_ref()).await?,
                }
            }
            Ok::<_, BoxError>(())
        });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    Ok(Filled { seconds: started.elapsed().as_secs_f64(), at: clock() })
}

async fn register<W: Lifecycle>(sworm: &Sworm, number: usize, value: W, on: Option<&NodeId>) -> Result<(), BoxError> {
    let mut asked = sworm.register(name(number), value);
    if let Some(on) = on {
        asked = asked.on(on);
    }
    asked.await?;
    Ok(())
}

/// Waits until all the names run, as far as this node knows.
pub(super) async fn hold(sworm: &Sworm, count: usize) -> f64 {
    for number in 0..count {
        let name = name(number);
        while sworm.whereis(&name).is_none_or(|found| found.state != RegistrationState::Running) {
            sleep(LOOK_AGAIN).await;
        }
    }
    clock()
}

/// The same from now on, while they are registered, on a thread of its own: what is left to look at in the end is what came
/// last. It looks seldom until `told` says that all are registered, then all the time. Answers when it knew all.
pub(super) fn watch(sworm: &Sworm, count: usize, told: &mpsc::Receiver<()>) -> f64 {
    let mut is_told = false;
    for number in 0..count {
        let name = name(number);
        while sworm.whereis(&name).is_none_or(|found| found.state != RegistrationState::Running) {
            if is_told {
                std::thread::sleep(LOOK_AT_ONCE);
            } else {
                is_told = told.recv_timeout(LOOK_SELDOM) != Err(RecvTimeoutError::Timeout);
            }
        }
    }
    clock()
}

/// Waits until all these nodes are up.
pub(super) async fn all_up(node: &Node, ids: &[String]) -> f64 {
    let is_up = |id: &String| node.members().iter().any(|m| *m.id == **id && m.state == MemberState::Up);
    while !ids.iter().all(is_up) {
        sleep(LOOK_AGAIN).await;
    }
    clock()
}

/// Names that run on a node which is about to be lost.
#[derive(Default)]
pub(super) struct Marked(Vec<String>);

impl Marked {
    pub(super) fn on(sworm: &Sworm, count: usize, host: &str) -> Self {
        let runs_there = |name: &String| sworm.whereis(name).is_some_and(|found| *found.pid.node == *host);
        Self((0..count).map(name).filter(runs_there).collect())
    }

    pub(super) fn names(&self) -> usize {
        self.0.len()
    }

    /// Calls each until it answers, and sees when the node is down.
    pub(super) async fn recovered(self, node: &Node, sworm: &Sworm, gone: &str) -> Result<Failover, BoxError> {
        let is_gone = || node.members().iter().any(|m| *m.id == *gone && m.state == MemberState::Down);
        let down = async {
            while !is_gone() {
                sleep(LOOK_AGAIN).await;
            }
            Ok(clock())
        };
        let answered = async {
            let calls = stream::iter(self.0).map(|name| answers(sworm, name));
            calls.buffer_unordered(TOGETHER).try_collect::<()>().await?;
            Ok::<_, BoxError>(clock())
        };
        let (down, answered) = tokio::try_join!(down, answered)?;
        Ok(Failover { down, answered })
    }
}

async fn answers(sworm: &Sworm, name: String) -> Result<(), BoxError> {
    let until = Instant::now() + ANSWER_LIMIT;
    let worker = sworm.whereis_name::<Keeper>(&name).ok_or_else(|| format!("{name} is lost"))?;
    while let Err(error) = worker.call(Kept).await {
        if Instant::now() > until {
            return Err(error.into());
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// What this node knows of the names.
pub(super) fn digest(node: &Node, sworm: &Sworm, count: usize) -> Digest {
    let mut digest = Digest { running: 0, here: 0, hash: 0 };
    for number in 0..count {
        let found = sworm.whereis(name(number)).filter(|found| found.state == RegistrationState::Running);
        let Some(found) = found else { continue };
        digest.running += 1;
        digest.here += usize::from(found.pid.node == *node.id());
        let mut hasher = DefaultHasher::new();
        found.pid.hash(&mut hasher);
        digest.hash ^= hasher.finish();
    }
    digest
}

/// Gives each name the state that belongs to its number, or checks that it has it.
pub(super) async fn states(sworm: &Sworm, count: usize, check: bool) -> Result<(), BoxError> {
    let each = stream::iter(0..count).map(|number| async move {
        let (name, state): (Arc<str>, _) = (name(number).into(), Bytes::from(state(number)));
        let worker = sworm.whereis_name::<Keeper>(&name).ok_or_else(|| format!("{name} is lost"))?;
        if !check {
            worker.call(Keep(state)).await?;
        } else if worker.call(Kept).await? != state {
            return Err(format!("{name} has another state").into());
        }
        Ok::<_, BoxError>(())
    });
    each.buffer_unordered(TOGETHER).try_collect().await
}
