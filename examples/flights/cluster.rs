//! The node processes of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use sworm::prelude::*;
use sworm::{BoxError, Incarnation};

use crate::process::{Launch, Process};

/// Any free port of this machine only.
const ANY_PORT: &str = "tcp/127.0.0.1:0";
/// How long to wait before a node is started on another port than the one that it had.
const PORT_WAIT: Duration = Duration::from_millis(500);

/// All nodes that run, and what became of the others.
pub(crate) struct Cluster {
    name: String,
    directory: PathBuf,
    running: BTreeMap<String, Process>,
    gone: Vec<Gone>,
    /// How many were started, for the next one's id.
    started: usize,
    /// Where the feeder listens: nodes that come later find the cluster through it too.
    feeder: Vec<String>,
}

/// A node that is not there any more.
pub(crate) struct Gone {
    pub(crate) id: String,
    pub(crate) workers: usize,
    pub(crate) how: String,
}

impl Cluster {
    /// Starts so many nodes; they keep their stores and logs below the directory.
    pub(crate) async fn start(name: String, directory: &Path, nodes: u32) -> Result<Self, BoxError> {
        let mut cluster = Self {
            name,
            directory: directory.to_owned(),
            running: BTreeMap::new(),
            gone: Vec::new(),
            started: 0,
            feeder: Vec::new(),
        };
        // The first one alone, so that the others have somebody to join; they then find each other.
        cluster.join().await?;
        let launches: Vec<Launch> = (1..nodes).map(|_| cluster.next()).collect();
        let processes = try_join_all(launches.into_iter().map(Process::start)).await?;
        cluster.running.extend(processes.into_iter().map(|process| (process.id.clone(), process)));
        Ok(cluster)
    }

    /// The cluster's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where the running nodes listen.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.running.values().map(|process| process.endpoint.clone()).collect()
    }

    /// Says where the feeder listens.
    pub(crate) fn feeder_is_at(&mut self, endpoints: Vec<String>) {
        self.feeder = endpoints;
    }

    /// Whether that node runs in that incarnation.
    pub(crate) fn runs(&self, node: &NodeId, incarnation: Incarnation) -> bool {
        self.running.get(node.as_str()).is_some_and(|process| process.incarnation == incarnation)
    }

    /// The nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &str> {
        self.running.keys().map(String::as_str)
    }

    /// The nodes that left or were killed.
    pub(crate) fn gone(&self) -> &[Gone] {
        &self.gone
    }

    /// An error if a node has ended although nobody asked it to.
    pub(crate) fn check(&mut self) -> Result<(), BoxError> {
        self.running.values_mut().try_for_each(Process::check)
    }

    /// Starts one more node, and gives its id.
    pub(crate) async fn join(&mut self) -> Result<String, BoxError> {
        let process = Process::start(self.next()).await?;
        let id = process.id.clone();
        self.running.insert(id.clone(), process);
        Ok(id)
    }

    /// Makes a node hand over its workers and end.
    pub(crate) async fn leave(&mut self, gone: Gone) -> Result<(), BoxError> {
        let process = self.running.remove(&gone.id).ok_or("there is no such node")?;
        self.gone.push(gone);
        process.leave().await
    }

    /// Kills a node with SIGKILL.
    pub(crate) async fn kill(&mut self, gone: Gone) -> Result<(), BoxError> {
        let mut process = self.running.remove(&gone.id).ok_or("there is no such node")?;
        process.kill()?;
        self.gone.push(gone);
        process.gone().await
    }

    /// Kills all nodes with SIGKILL, and gives what it takes to start them again.
    pub(crate) async fn kill_all(&mut self) -> Result<Vec<Launch>, BoxError> {
        let mut processes: Vec<Process> = std::mem::take(&mut self.running).into_values().collect();
        for process in &mut processes {
            process.kill()?;
        }
        // The ports that they had, so that each finds the others where it remembers them.
        let endpoints: Vec<String> = processes.iter().map(|process| process.endpoint.clone()).collect();
        let launch = |process: &Process| {
            let others = endpoints.iter().filter(|endpoint| **endpoint != process.endpoint).cloned();
            self.launch(process.id.clone(), process.endpoint.clone(), others.chain(self.feeder.clone()).collect())
        };
        let launches = processes.iter().map(launch).collect();
        for process in processes {
            process.gone().await?;
        }
        Ok(launches)
    }

    /// Starts killed nodes again.
    pub(crate) async fn start_again(&mut self, launches: Vec<Launch>) -> Result<(), BoxError> {
        let processes = try_join_all(launches.into_iter().map(start_again)).await?;
        self.running.extend(processes.into_iter().map(|process| (process.id.clone(), process)));
        Ok(())
    }

    /// Ends all nodes.
    pub(crate) async fn stop(self) {
        join_all(self.running.into_values().map(Process::stop)).await;
    }

    fn next(&mut self) -> Launch {
        self.started += 1;
        let join = self.endpoints().into_iter().chain(self.feeder.clone()).collect();
        self.launch(format!("n{}", self.started), ANY_PORT.to_owned(), join)
    }

    fn launch(&self, id: String, listen: String, join: Vec<String>) -> Launch {
        Launch { id, cluster: self.name.clone(), directory: self.directory.clone(), listen, join }
    }
}

/// Starts a node on its former port; if somebody took that meanwhile, on another one.
async fn start_again(launch: Launch) -> Result<Process, BoxError> {
    let elsewhere = Launch { listen: ANY_PORT.to_owned(), ..launch.clone() };
    match Process::start(launch).await {
        Ok(process) => Ok(process),
        Err(error) => {
            tracing::warn!(%error, "a node is started again, on another port");
            tokio::time::sleep(PORT_WAIT).await;
            Process::start(elsewhere).await
        }
    }
}
