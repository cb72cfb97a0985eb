//! Lets nodes leave, join, die and come back while the rows go out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanCount;
use sworm::BoxError;
use sworm::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::aircraft::Save;
use crate::args::Fault;
use crate::cluster::{Cluster, Gone};
use crate::delivery::ask_all;
use crate::progress::Progress;

/// How long the workers may take to run again.
const HEAL_LIMIT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The nodes, and at most one fault at a time that strikes them.
pub(crate) struct Faults {
    state: State,
    sworm: Sworm,
    progress: Progress,
}

enum State {
    Quiet(Box<Cluster>),
    Striking(JoinHandle<Result<Box<Cluster>, BoxError>>),
    /// The last fault failed, and with it the run.
    Failed,
}

impl Faults {
    pub(crate) fn new(cluster: Cluster, sworm: Sworm, progress: Progress) -> Self {
        Self { state: State::Quiet(Box::new(cluster)), sworm, progress }
    }

    /// Whether a fault has struck whose workers do not all run again.
    pub(crate) fn active(&self) -> bool {
        matches!(self.state, State::Striking(_))
    }

    /// Waits until the workers of the last fault all run again. May be cancelled.
    pub(crate) async fn healed(&mut self) -> Result<(), BoxError> {
        if let State::Striking(task) = &mut self.state {
            let struck = task.await;
            self.state = State::Failed;
            self.state = State::Quiet(struck??);
        }
        Ok(())
    }

    /// Strikes, in the background: rows are in flight meanwhile. If it is not the last one, all is made ready for the next.
    pub(crate) async fn strike(&mut self, row: u64, fault: Fault, last: bool) -> Result<(), BoxError> {
        self.healed().await?;
        if let State::Quiet(mut cluster) = std::mem::replace(&mut self.state, State::Failed) {
            cluster.check()?;
            let strike = Strike { row, last, sworm: self.sworm.clone(), progress: self.progress.clone() };
            self.state = State::Striking(tokio::spawn(async move {
                strike.strike(&mut cluster, fault).await.map_err(|error| format!("row {row}: {error}"))?;
                Ok(cluster)
            }));
        }
        Ok(())
    }

    /// Gives the nodes back when nothing is under way any more.
    pub(crate) async fn finish(mut self) -> Result<Cluster, BoxError> {
        self.healed().await?;
        match self.state {
            State::Quiet(cluster) => Ok(*cluster),
            State::Striking(_) | State::Failed => Err("the last fault did not end".into()),
        }
    }
}

struct Strike {
    row: u64,
    last: bool,
    sworm: Sworm,
    progress: Progress,
}

impl Strike {
    async fn strike(&self, cluster: &mut Cluster, fault: Fault) -> Result<(), BoxError> {
        let began = Instant::now();
        let names: Vec<Arc<str>> = self.sworm.registered().into_iter().map(|found| found.name).collect();
        match fault {
            Fault::Join => {
                let id = cluster.join().await?;
                self.say(format_args!("{id} joined after {:.1?}", began.elapsed()));
            }
            Fault::Leave => {
                let gone = self.busiest(cluster, "left")?;
                let (id, workers) = (gone.id.clone(), HumanCount(gone.workers as u64));
                self.say(format_args!("{id} leaves, {workers} workers"));
                cluster.leave(gone).await?;
                self.say(format_args!("{id} left in good order after {:.1?}", began.elapsed()));
            }
            Fault::Kill => {
                let gone = self.busiest(cluster, "killed")?;
                let (id, workers) = (gone.id.clone(), HumanCount(gone.workers as u64));
                cluster.kill(gone).await?;
                self.say(format_args!("{id} killed (SIGKILL), {workers} workers"));
            }
            Fault::Restart => {
                let launches = cluster.kill_all().await?;
                let workers = HumanCount(names.len() as u64);
                self.say(format_args!("all {} nodes killed (SIGKILL), {workers} workers", launches.len()));
                cluster.start_again(launches).await?;
                self.say(format_args!("all nodes are back after {:.1?}", began.elapsed()));
            }
        }
        all_run(&self.sworm, cluster, &names).await?;
        let workers = HumanCount(names.len() as u64);
        if fault != Fault::Join {
            self.say(format_args!("all {workers} workers run after {:.1?}", began.elapsed()));
        }
        if !self.last {
            // The copies of states that went with a node are made up for in the background, and nothing tells when that
            // is done. A checkpoint does: its reply leaves when as many nodes as can be have the state.
            ask_all(&self.sworm, names, Save).await?;
            self.say(format_args!("all {workers} states are on as many nodes as before after {:.1?}", began.elapsed()));
        }
        Ok(())
    }

    /// The node with most workers, and how it will have gone.
    fn busiest(&self, cluster: &Cluster, how: &str) -> Result<Gone, BoxError> {
        let workers = workers_by_node(&self.sworm);
        let of = |id: &str| workers.get(id).copied().unwrap_or(0);
        let id = cluster.running().max_by_key(|id| of(id)).ok_or("no node is left")?;
        Ok(Gone { id: id.to_owned(), workers: of(id), how: format!("{how} at row {}", HumanCount(self.row)) })
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.progress.event(self.row, text);
    }
}

/// How many workers each node has.
pub(crate) fn workers_by_node(sworm: &Sworm) -> BTreeMap<String, usize> {
    let mut workers = BTreeMap::new();
    for found in sworm.registered() {
        *workers.entry(found.pid.node.to_string()).or_default() += 1;
    }
    workers
}

/// Waits until all these names run on nodes that are there.
async fn all_run(sworm: &Sworm, cluster: &mut Cluster, names: &[Arc<str>]) -> Result<(), BoxError> {
    let until = Instant::now() + HEAL_LIMIT;
    loop {
        cluster.check()?;
        let waiting: Vec<&Arc<str>> = names.iter().filter(|name| !runs(sworm, cluster, name)).collect();
        let Some(first) = waiting.first() else { return Ok(()) };
        let (count, state) = (waiting.len(), sworm.whereis(first).map(|found| (found.pid, found.state)));
        if Instant::now() >= until {
            return Err(format!("{count} workers do not run after {HEAL_LIMIT:?}; {first} is {state:?}").into());
        }
        tracing::debug!(count, name = &***first, ?state, "not all workers run");
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether a name runs on a node that is there, with its state on as many nodes as there may be copies: else the next
/// kill could take the only one along.
fn runs(sworm: &Sworm, cluster: &Cluster, name: &str) -> bool {
    sworm.whereis(name).is_some_and(|found| {
        let copies = found.holders.iter().filter(|node| cluster.running().any(|id| **node == id)).count();
        found.state == RegistrationState::Running
            && cluster.runs(&found.pid.node, found.pid.incarnation)
            && (found.holders.is_empty() || copies >= COPIES.min(cluster.running().count()))
    })
}
