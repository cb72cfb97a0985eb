//! Node processes of one cluster, over loopback.

use std::collections::BTreeMap;
use std::ops::Index;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use sworm::{BoxError, NodeId};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::Process;
use crate::protocol::{Command, Filled, Kind, NodeSpec};
use crate::relay::Network;

/// The nodes that most benches have.
pub(crate) const THREE: [&str; 3] = ["a", "b", "c"];
/// How soon it is looked again at what nodes see.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many callers register names where that is not what is measured.
const CALLERS: usize = 64;

/// Where nodes keep what they must not forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Storage {
    /// Nowhere.
    Memory,
    /// In sled.
    Disk,
    /// In sled, and registrations do not wait for it.
    DiskLater,
}

/// Nodes that see each other. Dropping it kills them.
pub(crate) struct Cluster {
    directory: TempDir,
    storage: Storage,
    network: Option<Network>,
    nodes: BTreeMap<String, Process>,
    endpoints: BTreeMap<String, Vec<String>>,
}

impl Cluster {
    /// A cluster without nodes.
    pub(crate) fn new(storage: Storage) -> Result<Self, BoxError> {
        let directory = tempfile::Builder::new().prefix("sworm-bench-").tempdir()?;
        Ok(Self { directory, storage, network: None, nodes: BTreeMap::new(), endpoints: BTreeMap::new() })
    }

    /// Three nodes.
    pub(crate) async fn of_three(storage: Storage) -> Result<Self, BoxError> {
        let mut cluster = Self::new(storage)?;
        for id in THREE {
            cluster.add(id, false).await?;
        }
        cluster.see_each_other().await?;
        Ok(cluster)
    }

    /// From now on nodes are reached over a network that counts what it carries and can be cut.
    pub(crate) fn behind(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// The network between the nodes.
    pub(crate) fn network(&self) -> &Network {
        self.network.as_ref().expect("it was given one")
    }

    /// Where a node keeps its files.
    pub(crate) fn store(&self, id: &str) -> PathBuf {
        self.directory.path().join(id)
    }

    /// A process without a node, for a baseline.
    pub(crate) fn process(&self, name: &str) -> Result<Process, BoxError> {
        Process::spawn(&self.directory.path().join(format!("tmp-{name}")))
    }

    /// Starts a node; a client runs no workers.
    pub(crate) async fn add(&mut self, id: &str, client: bool) -> Result<(), BoxError> {
        let spec = self.spec(id, client);
        let (temporary, spec) = match &mut self.network {
            None => ("tmp".into(), spec),
            // Nodes that find each other on this machine would go around the network.
            Some(network) => (format!("tmp-{id}"), network.connect(spec).await?),
        };
        let process = Process::spawn(&self.directory.path().join(temporary))?;
        let endpoints = process.ask(Command::Start(spec)).await?;
        self.nodes.insert(id.into(), process);
        self.endpoints.insert(id.into(), endpoints);
        Ok(())
    }

    /// Starts several at the same time, that find each other on this machine.
    pub(crate) async fn add_together(&mut self, ids: &[&str]) -> Result<(), BoxError> {
        let started = ids.iter().map(|id| async {
            let process = Process::spawn(&self.directory.path().join("tmp"))?;
            let endpoints = process.ask(Command::Start(self.spec(id, false))).await?;
            Ok::<_, BoxError>((String::from(*id), process, endpoints))
        });
        for (id, process, endpoints) in try_join_all(started).await? {
            self.nodes.insert(id.clone(), process);
            self.endpoints.insert(id, endpoints);
        }
        Ok(())
    }

    fn spec(&self, id: &str, client: bool) -> NodeSpec {
        NodeSpec {
            id: id.into(),
            cluster: self.directory.path().to_string_lossy().into_owned(),
            store: (self.storage != Storage::Memory).then(|| self.store(id)),
            ack_in_memory: self.storage == Storage::DiskLater,
            client,
            listen: "tcp/127.0.0.1:0".into(),
            advertise: Vec::new(),
            join: self.endpoints.values().flatten().cloned().collect(),
            zenoh: None,
        }
    }

    /// Waits until all nodes see all.
    pub(crate) async fn see_each_other(&self) -> Result<(), BoxError> {
        let all: Vec<NodeId> = self.nodes.keys().filter_map(|id| NodeId::new(id.as_str())).collect();
        for node in self.nodes.values() {
            while node.ask::<Vec<NodeId>>(Command::Nodes).await? != all {
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Registers the names up to `count` that are not there yet, and waits until all nodes know that they run. Answers
    /// the seconds that the registrations took.
    pub(crate) async fn fill(&self, first: usize, count: usize) -> Result<f64, BoxError> {
        let command = Command::Fill { kind: Kind::Keeper, first, end: count, callers: CALLERS, on: None };
        let filled: Filled = self["a"].ask(command).await?;
        self.all_hold(count).await?;
        Ok(filled.seconds)
    }

    /// Waits until all nodes know that the names run, and answers when the last one did.
    pub(crate) async fn all_hold(&self, count: usize) -> Result<f64, BoxError> {
        let held = try_join_all(self.nodes().map(|node| node.ask::<f64>(Command::Hold { count }))).await?;
        Ok(held.into_iter().fold(0.0, f64::max))
    }

    /// Lets all nodes watch for the names up to `count`.
    pub(crate) async fn watch(&self, count: usize) -> Result<(), BoxError> {
        try_join_all(self.nodes().map(|node| node.ask::<()>(Command::Watch { count }))).await?;
        Ok(())
    }

    /// Waits until all nodes know that these names run, and answers when the last one knew it.
    pub(crate) async fn watched(&self) -> Result<f64, BoxError> {
        let knew = try_join_all(self.nodes().map(|node| node.ask::<f64>(Command::Watched))).await?;
        Ok(knew.into_iter().fold(0.0, f64::max))
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.values()
    }

    /// Takes a node out, to kill or end it.
    pub(crate) fn take(&mut self, id: &str) -> Process {
        self.endpoints.remove(id);
        self.nodes.remove(id).expect("it is there")
    }

    /// The seconds that the processor has worked for all nodes.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BoxError> {
        self.nodes().map(Process::cpu_seconds).sum()
    }
}

impl Index<&str> for Cluster {
    type Output = Process;

    fn index(&self, id: &str) -> &Process {
        &self.nodes[id]
    }
}
