//! How a node is built and started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::Node;
use super::network::Asked;
use crate::core::ids::{MAX_LABEL_BYTES, NodeId, Peer};
use crate::core::membership::{Membership, Profile};
use crate::error::StartError;
use crate::node::clock::Clock;
use crate::node::{GRACE_MS, Introduction, NodeShared, identity, network, open, random_u64, unix_ms};
use crate::plugin::{Duplicate, Stores, Strategies};
use crate::store::{MemoryStore, Store, StoreError, StoreFactory};
use crate::strategy::MAX_WEIGHT;
use crate::transport::MemoryNetwork;
use crate::worker::WorkerTypes;

/// The most that [`NodeBuilder::snapshot_limit`] may be: 64 MiB.
pub const MAX_SNAPSHOT_LIMIT: usize = crate::core::chunks::MAX_BYTES as usize;

const DEFAULT_CLUSTER: &str = "default";
const DEFAULT_STORE: &str = "sled";
/// How many workers start at a time.
const DEFAULT_STARTS: usize = 64;
/// How long those that were there before are waited for, before what they may know better is started.
const DEFAULT_RECOVER_WAIT: Duration = Duration::from_secs(5);
const MAX_RECOVER_WAIT: Duration = Duration::from_secs(86_400);
/// The largest state that a worker may save.
const DEFAULT_SNAPSHOT_LIMIT: usize = 16 << 20;
/// How long a starter waits for those that answered its dial.
const JOIN_WAIT: Duration = Duration::from_secs(3);

/// How long a directory that is in use is waited for, and how often it is looked at.
const STORE_WAIT: Duration = Duration::from_secs(2);
const STORE_AGAIN: Duration = Duration::from_millis(20);

/// Builds a [`Node`].
///
/// ```standalone_crate
/// # #[tokio::main]
/// # async fn main() -> sworm::Result<()> {
/// use sworm::prelude::*;
///
/// let node = Node::builder("a").cluster("docs").in_memory().start().await?;
/// assert_eq!(node.members().len(), 1);
/// # node.close().await
/// # }
/// ```
#[must_use = "a node is started by `.start().await`"]
pub struct NodeBuilder {
    id: String,
    cluster: String,
    place: Option<Place>,
    profile: Profile,
    hosts: bool,
    starts: usize,
    recover_wait: Duration,
    snapshot_limit: usize,
    encode_local_calls: bool,
    network: Asked,
}

/// Where a node keeps what it remembers, as it was said.
enum Place {
    Directory { kind: String, path: PathBuf },
    Memory,
    Own(Arc<dyn Store>),
}

/// The same, with the store or what opens it.
enum Chosen {
    Store(Arc<dyn Store>),
    Directory(&'static dyn StoreFactory, PathBuf),
}

impl NodeBuilder {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            cluster: DEFAULT_CLUSTER.to_owned(),
            place: None,
            profile: Profile::default(),
            hosts: true,
            starts: DEFAULT_STARTS,
            recover_wait: DEFAULT_RECOVER_WAIT,
            snapshot_limit: DEFAULT_SNAPSHOT_LIMIT,
            encode_local_calls: false,
            network: Asked::default(),
        }
    }

    /// The cluster's name, 1 to 255 bytes (default `"default"`). Clusters with other names never see each other.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Keeps names and states in this directory, which is created if it is not there. Each node needs its own.
    pub fn store(self, directory: impl Into<PathBuf>) -> Self {
        self.store_plugin(DEFAULT_STORE, directory)
    }

    /// Keeps names and states in this directory, in a store of that kind: `"sled"`, which is what [`store`](Self::store) opens, or
    /// what a crate has registered with [`plugin!`](crate::plugin!) as a [`StoreFactory`](crate::store::StoreFactory).
    pub fn store_plugin(mut self, kind: impl Into<String>, directory: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Directory { kind: kind.into(), path: directory.into() });
        self
    }

    /// Keeps nothing on disk: names and states live as long as some node of the cluster does.
    pub fn in_memory(mut self) -> Self {
        self.place = Some(Place::Memory);
        self
    }

    /// Keeps names and states in a store of your own. What it owes is written down as tests:
    /// [`store_laws`](crate::store::store_laws). A node closes its store when it stops.
    ///
    /// ```standalone_crate
    /// # #[tokio::main]
    /// # async fn main() -> sworm::Result<()> {
    /// use std::sync::Arc;
    /// use sworm::prelude::*;
    /// use sworm::store::MemoryStore;
    ///
    /// let node = Node::builder("a").cluster("docs-store").store_with(Arc::new(MemoryStore::new())).start().await?;
    /// # node.close().await
    /// # }
    /// ```
    pub fn store_with(mut self, store: Arc<dyn Store>) -> Self {
        self.place = Some(Place::Own(store));
        self
    }

    /// Listens there, as `tcp/host:port`; may be called more than once. Without it the node listens on this machine's
    /// loopback only, on any free port, and says so in the log.
    #[cfg(feature = "zenoh")]
    pub fn listen(mut self, endpoint: impl Into<String>) -> Self {
        self.network.sockets.listen.push(endpoint.into());
        self
    }

    /// Tells the other nodes to reach this one there, as `tcp/host:port`, where that is not what it listens on: behind
    /// address translation, in a container with a published port. It must be refused when this node's process is gone,
    /// else its death is noticed only when the grace time is over. Gossip of zenoh's, which is on without
    /// [`zenoh`](Self::zenoh), tells where the node listens all the same.
    #[cfg(feature = "zenoh")]
    pub fn advertise<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.network.sockets.advertise.extend(endpoints.into_iter().map(|endpoint| endpoint.as_ref().to_owned()));
        self
    }

    /// Joins the cluster through these nodes, as `tcp/host:port`. Those that are not there are tried for ever. Without
    /// any, the nodes of the cluster on this machine are found, and those remembered on disk.
    #[cfg(feature = "zenoh")]
    pub fn join<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.network.sockets.join.extend(endpoints.into_iter().map(|endpoint| endpoint.as_ref().to_owned()));
        self
    }

    /// A label that distribution strategies can read, such as `("zone", "a")`.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.profile.labels.insert(key.into(), value.into());
        self
    }

    /// How many shares of the names this node takes, 1 (the default) to [`MAX_WEIGHT`]: one of weight 2 gets twice as many
    /// as one of weight 1. Every strategy that comes with the library honours it.
    pub fn weight(mut self, weight: u32) -> Self {
        self.profile.weight = weight;
        self
    }

    /// How many workers of this node start at a time, 1 or more (default 64): the others wait for their turn, which is not
    /// counted as a part of their start's time. Whoever blocks a thread in `started` keeps its place.
    pub fn concurrent_starts(mut self, starts: usize) -> Self {
        self.starts = starts;
        self
    }

    /// For how long after its start this node waits for the nodes that were there before, as far as they are not back, before
    /// it starts names of theirs and registers new ones: they may know of later states, or have the name (default 5 s, at most
    /// a day). When all of them are back it waits no longer. What a name waits for beside that is its state's holders:
    /// [`SwormSpec::state_wait`](crate::SwormSpec::state_wait).
    pub fn recover_wait(mut self, limit: Duration) -> Self {
        self.recover_wait = limit;
        self
    }

    /// How many bytes the state of a worker may have, encoded, 1 to [`MAX_SNAPSHOT_LIMIT`] (default 16 MiB). A worker whose
    /// state is larger is told so ([`CallError::StateTooLarge`](crate::CallError::StateTooLarge), or
    /// [`Event::SnapshotFailed`](crate::Event::SnapshotFailed) where no caller waits) and goes on with what it has in memory. It
    /// is the limit of the node that the worker runs on, and should be the same on all: a state that is within that of another
    /// node is taken over from it, and cannot be saved here. A node holds up to four large states in memory while they are saved.
    pub fn snapshot_limit(mut self, bytes: usize) -> Self {
        self.snapshot_limit = bytes;
        self
    }

    /// For tests: calls and casts of a worker on this node are encoded, as those of one on another node are (default no).
    /// Then a message that does not come back from its encoding as it was, is larger than 16 MiB, or finds a full mailbox,
    /// shows that before its worker has moved. Timers of a worker are not encoded.
    pub fn encode_local_calls(mut self, on: bool) -> Self {
        self.encode_local_calls = on;
        self
    }

    /// Makes this node a client: it looks up, registers and calls, but never runs workers.
    pub fn client(mut self) -> Self {
        self.hosts = false;
        self
    }

    /// The zenoh configuration that everything else is put on top of: TLS, authentication, scouting, routers. If neither
    /// it nor `listen` says where to listen, that is this machine's loopback.
    #[cfg(feature = "zenoh")]
    pub fn zenoh(mut self, config: zenoh::Config) -> Self {
        self.network.sockets.config = Some(config);
        self
    }

    /// Connects through a network inside this process instead of sockets, for tests of services: `listen`, `advertise`,
    /// `join` and `zenoh` must not be used with it. Clusters with other names do not see each other there either.
    pub fn memory_network(mut self, network: &MemoryNetwork) -> Self {
        self.network.memory = Some(network.clone());
        self
    }

    /// Starts the node: opens its store, listens, and meets the nodes that it was told of or finds (for up to 3 s). A
    /// directory that is still in use is waited for, for up to 2 s: a node that was dropped, or whose process was told to
    /// end, lets go of it a moment later.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing runs then. Must be called in tokio's multi-thread runtime (with `memory_network` in
    /// any).
    pub async fn start(self) -> crate::Result<Node> {
        Ok(self.start_node().await?)
    }

    async fn start_node(self) -> Result<Node, StartError> {
        let Some(id) = NodeId::new(&self.id) else { return Err(StartError::BadNodeId { id: self.id }) };
        if !(1..=MAX_LABEL_BYTES).contains(&self.cluster.len()) {
            return Err(StartError::BadClusterName { name: self.cluster });
        }
        if !(1..=MAX_WEIGHT).contains(&self.profile.weight) {
            return Err(StartError::BadWeight { weight: self.profile.weight });
        }
        if !(1..=Semaphore::MAX_PERMITS).contains(&self.starts) {
            return Err(StartError::BadConcurrentStarts { starts: self.starts });
        }
        if self.recover_wait > MAX_RECOVER_WAIT {
            return Err(StartError::BadRecoverWait { wait: self.recover_wait });
        }
        if !(1..=MAX_SNAPSHOT_LIMIT).contains(&self.snapshot_limit) {
            return Err(StartError::BadSnapshotLimit { bytes: self.snapshot_limit });
        }
        let types = WorkerTypes::linked().map_err(duplicate_type)?;
        let strategies = open::settle(&types, Strategies::linked().map_err(duplicate_plugin)?)?;
        let stores = Stores::linked().map_err(duplicate_plugin)?;
        let Some(place) = self.place else { return Err(StartError::NoStore { node: self.id }) };
        let place = match place {
            Place::Memory => Chosen::Store(Arc::new(MemoryStore::volatile())),
            Place::Own(store) => Chosen::Store(store),
            Place::Directory { kind, path } => match stores.get(&kind) {
                Some(factory) => Chosen::Directory(factory, path),
                None => return Err(StartError::UnknownStore { name: kind, known: stores.names() }),
            },
        };
        let wanted = self.network.check().await?;
        // What can be wrong with the arguments has been looked at: only now something is changed.
        let owner = identity::Owner { cluster: &self.cluster, node: &id };
        let (store, path) = match place {
            Chosen::Store(store) => (store, None),
            Chosen::Directory(factory, path) => {
                identity::check(&path, owner)?;
                (free(&path, factory).await?, Some(path))
            }
        };
        let remembered = identity::remembered(&*store)?;
        let claimed = identity::claim(&*store, path.as_deref(), owner, unix_ms(), random_u64()).await?;
        let me = Peer { node: id, incarnation: claimed.incarnation };

        let (events_sender, events) = mpsc::unbounded_channel();
        let clock = Clock::start();
        let network = wanted.open(&self.cluster, &me, &*store, &remembered, events_sender).await?;
        let join_until_ms = clock.ms() + u64::try_from(JOIN_WAIT.as_millis()).unwrap_or(u64::MAX);
        let looked_for = network.looked_for.clone();
        let membership = Membership::new(me.clone(), claimed.instance, looked_for, GRACE_MS, join_until_ms);
        let shared = Arc::new(NodeShared::new(
            me.clone(),
            self.cluster,
            claimed.instance,
            self.profile,
            self.hosts,
            self.encode_local_calls,
            self.starts,
            self.recover_wait,
            self.snapshot_limit,
            store,
            types,
            strategies,
            membership,
            clock,
        ));
        network.transport.shortcut(network::shortcut(&shared));
        shared.set_transport(network.transport);
        say_what_is_linked(&shared, &stores);
        tokio::spawn(network::run(shared.clone(), remembered, events));
        network::dial_seeds(&shared, network.looked_for);
        let node = Node::new(shared.clone(), network.announcement);

        let mut introduced = shared.introduced.subscribe();
        let met = timeout(2 * JOIN_WAIT, introduced.wait_for(|now| *now != Introduction::Waiting));
        // Cloned at once: what `wait_for` gives is a lock.
        let taken = met.await.is_ok_and(|met| met.is_ok_and(|now| now.clone() == Introduction::IdTaken));
        if taken {
            // It never took part: there is nothing that a failed close could lose.
            let _ = node.close().await;
            return Err(StartError::IdTaken { node: me.node });
        }
        Ok(node)
    }
}

/// Opens a store as soon as nobody else has it open.
async fn free(path: &Path, factory: &dyn StoreFactory) -> Result<Arc<dyn Store>, StoreError> {
    let until = Instant::now() + STORE_WAIT;
    loop {
        match factory.open(path) {
            Err(StoreError::Locked { .. }) if Instant::now() < until => sleep(STORE_AGAIN).await,
            opened => return opened,
        }
    }
}

fn say_what_is_linked(shared: &NodeShared, stores: &Stores) {
    let types: Vec<&str> = shared.types.iter().map(|worker| worker.name()).collect();
    tracing::info!(
        node = %shared.me,
        cluster = shared.cluster,
        endpoints = ?shared.endpoints(),
        worker_types = ?types,
        restart = ?shared.strategies.restart_names(),
        distribution = ?shared.strategies.distribution_names(),
        stores = ?stores.names(),
        "node started",
    );
}

fn duplicate_type(duplicate: Duplicate) -> StartError {
    StartError::DuplicateWorkerType {
        name: duplicate.name.to_owned(),
        first: duplicate.first.to_string(),
        second: duplicate.second.to_string(),
    }
}

fn duplicate_plugin(duplicate: Duplicate) -> StartError {
    StartError::DuplicatePlugin {
        name: duplicate.name.to_owned(),
        first: duplicate.first.to_string(),
        second: duplicate.second.to_string(),
    }
}

#[cfg(all(test, feature = "zenoh"))]
mod tests;
