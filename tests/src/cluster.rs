//! Several node processes in a directory of their own.

use std::collections::BTreeMap;
use std::ops::Index;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use tempfile::TempDir;

use crate::protocol::{Balance, Census, Command, Digest, Failure, Majority, NodeSpec, Started};
use crate::{Process, eventually};

mod apart;

use apart::drawn_store;
pub use apart::fresh_host;

/// The sworm that every node of [`Cluster::start`] opens.
pub const SWORM: &str = "s";

/// The file beside the locks that is there when the gate is open.
pub const GATE: &str = "gate-is-open";

/// A cluster's living node processes. Dropping it kills them; if the test has failed, it shows the ends of their logs.
pub struct Cluster {
    program: &'static str,
    name: String,
    host: String,
    strangers: bool,
    file_blocks: Option<u64>,
    majority: Option<Majority>,
    balance: Option<Balance>,
    store_kind: String,
    recover_wait_ms: Option<u64>,
    zenoh: Option<String>,
    directory: TempDir,
    nodes: BTreeMap<String, Arc<Process>>,
}

impl Cluster {
    /// A cluster without nodes. What kind of store they will have is drawn by the test's name, and by `SWORM_TEST_STORES`: with
    /// `other` it is the other one.
    pub fn new(program: &'static str) -> Self {
        let directory = tempfile::Builder::new().prefix("sworm-tests-").tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("locks")).expect("a directory");
        let name = directory.path().file_name().expect("it has one").to_string_lossy().into_owned();
        Self {
            program,
            name,
            host: fresh_host(),
            strangers: false,
            file_blocks: None,
            majority: None,
            balance: None,
            store_kind: drawn_store().into(),
            recover_wait_ms: None,
            zenoh: None,
            directory,
            nodes: BTreeMap::new(),
        }
    }

    /// From now on nodes that start wait a minute for those that were there before: where all of them come, but on a busy
    /// machine not soon.
    pub fn patient(mut self) -> Self {
        self.recover_wait_ms = Some(60_000);
        self
    }

    /// From now on nodes do not find each other by being on one machine.
    pub fn as_strangers(mut self) -> Self {
        self.strangers = true;
        self
    }

    /// From now on nodes open [`SWORM`] in mode "majority".
    pub fn in_majority(mut self, majority: Majority) -> Self {
        self.majority = Some(majority);
        self
    }

    /// From now on nodes open [`SWORM`] so that names move for balance.
    pub fn balanced(mut self, balance: Balance) -> Self {
        self.balance = Some(balance);
        self
    }

    /// From now on nodes have this kind of store.
    pub fn with_store(mut self, kind: &str) -> Self {
        self.store_kind = kind.into();
        self
    }

    /// From now on nodes have this configuration of zenoh's.
    pub fn with_zenoh(mut self, config: &str) -> Self {
        self.zenoh = Some(config.into());
        self
    }

    /// Nodes that are started from now on cannot make a file larger than that many blocks of 512 bytes, as if the disk
    /// were full.
    pub fn limit_files(&mut self, blocks: Option<u64>) {
        self.file_blocks = blocks;
    }

    /// Starts these nodes, each with a store, joined through the first; each has opened [`SWORM`] and sees all others.
    pub async fn start(program: &'static str, ids: &[&str]) -> Self {
        Self::new(program).started(ids).await
    }

    /// The same with a cluster that has no nodes yet.
    pub async fn started(mut self, ids: &[&str]) -> Self {
        let (first, others) = ids.split_first().expect("at least one node");
        self.add(first).await;
        self.add_all(others).await;
        self
    }

    /// Starts these nodes at once, and waits until all see all. When none was there they find each other.
    pub async fn add_all(&mut self, ids: &[&str]) {
        let specs: Vec<NodeSpec> = ids.iter().map(|id| self.spec(id)).collect();
        self.launch_all(&specs).await;
        self.all_see_all().await;
    }

    /// Starts these nodes at once.
    pub async fn launch_all(&mut self, specs: &[NodeSpec]) {
        let started = join_all(specs.iter().map(|spec| self.open(self.program, spec))).await;
        for process in started {
            let process = process.unwrap_or_else(|failure| panic!("it does not start: {failure}"));
            self.nodes.insert(process.id().to_owned(), Arc::new(process));
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of all its nodes' directories and logs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A loopback address that no other test uses.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A port of a machine's loopback address that no other test uses.
    pub fn listen(&self) -> String {
        format!("tcp/{}:0", self.host)
    }

    /// A node with a store of its own that joins one that is there.
    pub fn spec(&self, id: &str) -> NodeSpec {
        NodeSpec {
            id: id.into(),
            cluster: self.name.clone(),
            store: Some(self.store(id)),
            store_kind: self.store_kind.clone(),
            listen: vec![self.listen()],
            join: self.nodes.values().next().map(|node| node.endpoints.clone()).unwrap_or_default(),
            client: false,
            advertise: Vec::new(),
            zenoh: self.zenoh.clone(),
            recover_wait_ms: self.recover_wait_ms,
            labels: BTreeMap::new(),
            weight: None,
        }
    }

    /// A node's data directory.
    pub fn store(&self, id: &str) -> PathBuf {
        self.directory.path().join(id)
    }

    /// Starts a node, again if it was there before, and opens [`SWORM`] on it.
    pub async fn add(&mut self, id: &str) -> Arc<Process> {
        self.launch(self.spec(id)).await.unwrap_or_else(|failure| panic!("{id} does not start: {failure}"))
    }

    /// Starts a node that is described in full, and opens [`SWORM`] on it.
    pub async fn launch(&mut self, spec: NodeSpec) -> Result<Arc<Process>, Failure> {
        self.launch_as(self.program, spec).await
    }

    /// The same with another program.
    pub async fn launch_as(&mut self, program: &'static str, spec: NodeSpec) -> Result<Arc<Process>, Failure> {
        let process = Arc::new(self.open(program, &spec).await?);
        self.nodes.insert(spec.id, process.clone());
        Ok(process)
    }

    /// Starts a node without opening any sworm.
    pub async fn launch_only(&mut self, spec: NodeSpec) -> Result<Arc<Process>, Failure> {
        let process = Arc::new(self.process(self.program, &spec).await?);
        self.nodes.insert(spec.id, process.clone());
        Ok(process)
    }

    async fn process(&self, program: &'static str, spec: &NodeSpec) -> Result<Process, Failure> {
        let temporary =
            self.directory.path().join(if self.strangers { format!("tmp-{}", spec.id) } else { "tmp".into() });
        std::fs::create_dir_all(&temporary).expect("a directory");
        let mut process = Process::spawn(program, self.file_blocks, &spec.id, self.directory.path(), &temporary);
        let started: Started = process.get(Command::Start(spec.clone())).await?;
        process.endpoints = started.endpoints;
        process.majority = self.majority;
        process.balance = self.balance;
        Ok(process)
    }

    async fn open(&self, program: &'static str, spec: &NodeSpec) -> Result<Process, Failure> {
        let process = self.process(program, spec).await?;
        process.open().await?;
        Ok(process)
    }

    /// All living nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Process>> {
        self.nodes.values()
    }

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(&mut self, id: &str) {
        let node = self.nodes.remove(id).expect("it lives");
        node.kill().await;
    }

    /// Forgets a process that has ended by itself.
    pub fn bury(&mut self, id: &str) {
        self.nodes.remove(id);
    }

    /// SIGKILL to all at once.
    pub async fn kill_all(&mut self) {
        let nodes = std::mem::take(&mut self.nodes);
        join_all(nodes.values().map(|node| node.kill())).await;
    }

    /// SIGKILL to these at once: none of them sees another one go.
    pub async fn kill_these(&mut self, ids: &[&str]) {
        let nodes: Vec<_> = ids.iter().map(|id| self.nodes.remove(*id).expect("it lives")).collect();
        join_all(nodes.iter().map(|node| node.kill())).await;
    }

    /// The node leaves in good order, and its process ends.
    pub async fn leave(&mut self, id: &str) {
        let log = self[id].clone();
        let left = self.try_leave(id).await;
        assert!(left.is_ok(), "{id}: {left:?}\n{}", log.log());
    }

    /// The same where faults may keep it from handing everything over; its process ends all the same.
    pub async fn try_leave(&mut self, id: &str) -> Result<(), Failure> {
        let node = self.nodes.remove(id).expect("it lives");
        let left = node.ask(Command::Leave).await;
        node.end().await;
        left.map(drop)
    }

    /// Waits until every node sees exactly the living ones as up, and in [`SWORM`] those that opened it.
    pub async fn all_see_all(&self) {
        let all: Vec<&str> = self.nodes.values().map(|node| node.id()).collect();
        let open: Vec<&str> = self.nodes.values().filter(|node| node.has_opened()).map(|node| node.id()).collect();
        for node in self.nodes.values() {
            let what = format!("{} seeing {all:?}", node.id());
            eventually(&what, || async { (node.up().await == all).then_some(()) }).await;
            if node.has_opened() {
                let what = format!("{} seeing {open:?} in the sworm", node.id());
                eventually(&what, || async { (node.sworm_nodes().await == open).then_some(()) }).await;
            }
        }
    }

    /// Waits until every node knows so many names, all of them run, and what the nodes say is what lives in them.
    pub async fn all_run(&self, count: usize) {
        eventually("every name running once", || async {
            let censuses = join_all(self.nodes().map(|node| node.census())).await;
            let censuses: Vec<_> = censuses.into_iter().map(|census| census.expect("look-ups never fail")).collect();
            let living: Digest = censuses.iter().map(|census| census.living).sum();
            let same = |census: &Census| {
                census.running == living && census.idle == 0 && census.odd == 0 && living.count == count
            };
            censuses.iter().all(same).then_some(())
        })
        .await;
    }

    /// Lets workers of type `Gated` start, these and later ones.
    pub fn open_gate(&self) {
        std::fs::write(self.directory.path().join("locks").join(GATE), "").expect("it can be written");
    }

    /// Holds those back that come to it from now on.
    pub fn close_gate(&self) {
        std::fs::remove_file(self.directory.path().join("locks").join(GATE)).expect("it was open");
    }

    /// Workers that ran twice at a time, as the system's locks tell (of type `Held` only).
    pub fn overlaps(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("locks/overlaps")).unwrap_or_default()
    }
}

impl Index<&str> for Cluster {
    type Output = Arc<Process>;

    fn index(&self, id: &str) -> &Arc<Process> {
        self.nodes.get(id).unwrap_or_else(|| panic!("{id} does not live"))
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "the harness shows it with the failed test")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for entry in std::fs::read_dir(self.directory.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines.len().saturating_sub(60);
                eprintln!("--- {} (of {} lines)\n{}", path.display(), lines.len(), lines[end..].join("\n"));
            }
        }
    }
}
