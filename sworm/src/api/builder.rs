//! How a node is built and started.

mod start;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Node;
use super::network::Asked;
use crate::core::membership::Profile;
use crate::store::{Store, StoreFactory};
use crate::transport::MemoryNetwork;

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
/// How many labels a node may have.
const MAX_LABELS: usize = 64;
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
    weight: Option<u32>,
    starts: Option<usize>,
    recover_wait: Duration,
    snapshot_limit: Option<usize>,
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
    Directory(&'static dyn StoreFactory, String, PathBuf),
}

impl NodeBuilder {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            cluster: DEFAULT_CLUSTER.to_owned(),
            place: None,
            profile: Profile::default(),
            hosts: true,
            weight: None,
            starts: None,
            recover_wait: DEFAULT_RECOVER_WAIT,
            snapshot_limit: None,
            encode_local_calls: false,
            network: Asked::default(),
        }
    }

    /// The cluster's name, 1 to 255 bytes (default `"default"`). Clusters with other names never see each other.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Keeps names and states in this directory, which is created if it is not there. Each node needs its own: one of another
    /// node, or with another kind of store, is refused. What else is in it is left alone, but `identity`, `kind`, `lock` and what
    /// the store calls its own are written over.
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

    /// A label that distribution strategies can read, such as `("zone", "a")`. A node has up to 64, with keys of 1 to 255 bytes
    /// and values of up to 255.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.profile.labels.insert(key.into(), value.into());
        self
    }

    /// How many shares of the names this node takes, 1 (the default) to [`MAX_WEIGHT`](crate::MAX_WEIGHT): one of weight 2 gets twice as many
    /// as one of weight 1. The strategies that come with the library honour it, with two exceptions: `"local-first"` puts a name
    /// where it is asked for, whatever that node's weight, and [`Spread`](crate::Spread) gives all values of its label alike, and
    /// goes by weight among the nodes of one.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// How many workers of this node start at a time, 1 or more (default 64): the others wait for their turn, which is not
    /// counted as a part of their start's time. A start that has taken 1 s, be it that it hangs or blocks its thread, makes way
    /// when others wait: it goes on, still within its `start_timeout`, and another one starts beside it. So this many begin
    /// each second at least, and none waits for ever.
    pub fn concurrent_starts(mut self, starts: usize) -> Self {
        self.starts = Some(starts);
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
    /// node is taken over from it, and cannot be saved here. Of a state above 256 kB a node has 2 MB at a time in memory while it is
    /// saved, and of four such states at most; [`Handoff::save`](crate::Handoff::save) says when that is not so.
    ///
    /// Beside that there is what the store keeps of what it was given last: up to 16 MiB that wait for the disk, and a cache, which
    /// is 64 MiB of pages with sled and with redb. sled takes up to twice as much for it when hundreds of MiB of states pass
    /// through.
    pub fn snapshot_limit(mut self, bytes: usize) -> Self {
        self.snapshot_limit = Some(bytes);
        self
    }

    /// For tests: calls and casts of a worker on this node are encoded, as those of one on another node are (default no).
    /// Then a message that does not come back from its encoding as it was, is larger than 16 MiB, or finds a full mailbox,
    /// shows that before its worker has moved. Timers of a worker are not encoded.
    pub fn encode_local_calls(mut self, on: bool) -> Self {
        self.encode_local_calls = on;
        self
    }

    /// Makes this node a client: it looks up, registers and calls, but never runs workers. It takes no [`weight`](Self::weight),
    /// [`concurrent_starts`](Self::concurrent_starts) or [`snapshot_limit`](Self::snapshot_limit).
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
    /// See [`StartError`](crate::StartError); nothing runs then. Must be called in tokio's multi-thread runtime (with `memory_network` in
    /// any).
    pub async fn start(self) -> crate::Result<Node> {
        Ok(self.start_node().await?)
    }
}

#[cfg(all(test, feature = "zenoh"))]
mod tests;
