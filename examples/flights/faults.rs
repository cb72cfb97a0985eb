//! Lets nodes leave, join, die and come back while the rows go out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanCount;
use sworm::BoxError;
use sworm::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::aircraft::COPIES;
use crate::args::Fault;
use crate::cluster::{Cluster, Gone};
use crate::progress::Progress;

/// How long the workers may take to run again, and to have all copies of their states.
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

    /// Strikes, in the background: rows are in flight meanwhile.
    pub(crate) async fn strike(&mut self, row: u64, fault: Fault) -> Result<(), BoxError> {
        self.healed().await?;
        if let State::Quiet(mut cluster) = std::mem::replace(&mut self.state, State::Failed) {
            cluster.check()?;
            let strike = Strike { row, sworm: self.sworm.clone(), progress: self.progress.clone() };
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
        wait_for(&self.sworm, cluster, &names, "run", runs).await?;
        let run = began.elapsed();
        wait_for(&self.sworm, cluster, &names, "have all copies of their states", is_safe).await?;
        let (workers, safe) = (HumanCount(names.len() as u64), began.elapsed());
        self.say(format_args!(
            "all {workers} workers run after {run:.1?}, with all copies of their states after {safe:.1?}"
        ));
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

/// Waits until something is true of all these names.
async fn wait_for(
    sworm: &Sworm,
    cluster: &mut Cluster,
    names: &[Arc<str>],
    what: &str,
    is_so: impl Fn(&Registration, &Cluster) -> bool,
) -> Result<(), BoxError> {
    let until = Instant::now() + HEAL_LIMIT;
    loop {
        cluster.check()?;
        let is_so = |name: &str| sworm.whereis(name).is_some_and(|found| is_so(&found, cluster));
        let waiting: Vec<&Arc<str>> = names.iter().filter(|name| !is_so(name)).collect();
        let Some(first) = waiting.first() else { return Ok(()) };
        let (count, found) = (waiting.len(), sworm.whereis(first));
        if Instant::now() >= until {
            return Err(format!("{count} workers do not {what} after {HEAL_LIMIT:?}; {first}: {found:?}").into());
        }
        tracing::debug!(count, name = &***first, ?found, "not all workers {what}");
        sleep(LOOK_AGAIN).await;
    }
}

/// Whether a worker runs on a node that is there.
fn runs(found: &Registration, cluster: &Cluster) -> bool {
    found.state == RegistrationState::Running && cluster.runs(&found.pid.node, found.pid.incarnation)
}

/// Whether its state is on as many nodes as can be too: else the next kill could take the only copy along.
fn is_safe(found: &Registration, cluster: &Cluster) -> bool {
    let there = cluster.running().count();
    let copies = cluster.running().filter(|id| found.holders.iter().any(|holder| holder == id)).count();
    runs(found, cluster) && (found.holders.is_empty() || copies >= COPIES.min(there))
}
