//! How a node is built and started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Node;
use crate::core::ids::{MAX_LABEL_BYTES, NodeId, Peer};
use crate::core::membership::Membership;
use crate::error::StartError;
use crate::node::{GRACE_MS, Introduction, NodeShared, identity, mono_ms, network, open, random_u64, unix_ms};
use crate::plugin::{Duplicate, Strategies};
use crate::store::{MemoryStore, SledStore, Store};
use crate::transport::local::{self, LocalAnnouncement};
use crate::transport::{
    Dialed, MemoryNetwork, Transport, TransportError, TransportEvent, ZenohOptions, ZenohTransport, dial, probe,
    reserve,
};
use crate::worker::WorkerTypes;

/// Where nodes listen when they are not told: this machine only, any free port.
const DEFAULT_LISTEN: &str = "tcp/127.0.0.1:0";
const DEFAULT_CLUSTER: &str = "default";
/// Stands among the looked-for endpoints for what a zenoh configuration of the caller's finds.
const OWN_CONFIG: &str = "zenoh configuration";
/// How long a starter waits for those that answered its dial.
const JOIN_WAIT: Duration = Duration::from_secs(3);

/// Builds a [`Node`].
///
/// ```
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
    listen: Vec<String>,
    advertise: Vec<String>,
    join: Vec<String>,
    labels: BTreeMap<String, String>,
    hosts: bool,
    config: Option<zenoh::Config>,
    network: Option<MemoryNetwork>,
}

enum Place {
    Directory(PathBuf),
    Memory,
}

impl NodeBuilder {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            cluster: DEFAULT_CLUSTER.to_owned(),
            place: None,
            listen: Vec::new(),
            advertise: Vec::new(),
            join: Vec::new(),
            labels: BTreeMap::new(),
            hosts: true,
            config: None,
            network: None,
        }
    }

    /// The cluster's name, 1 to 255 bytes (default `"default"`). Clusters with other names never see each other.
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = name.into();
        self
    }

    /// Keeps names and states in this directory, which is created if it is not there. Each node needs its own.
    pub fn store(mut self, directory: impl Into<PathBuf>) -> Self {
        self.place = Some(Place::Directory(directory.into()));
        self
    }

    /// Keeps nothing on disk: names and states live as long as some node of the cluster does.
    pub fn in_memory(mut self) -> Self {
        self.place = Some(Place::Memory);
        self
    }

    /// Listens there, as `tcp/host:port`; may be called more than once. Without it the node listens on this machine's
    /// loopback only, on any free port, and says so in the log.
    pub fn listen(mut self, endpoint: impl Into<String>) -> Self {
        self.listen.push(endpoint.into());
        self
    }

    /// Tells the other nodes to reach this one there, as `tcp/host:port`, where that is not what it listens on: behind
    /// address translation, in a container with a published port. It must be refused when this node's process is gone,
    /// else its death is noticed only when the grace time is over. Gossip of zenoh's, which is on without
    /// [`zenoh`](Self::zenoh), tells where the node listens all the same.
    pub fn advertise<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.advertise.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// Joins the cluster through these nodes, as `tcp/host:port`. Those that are not there are tried for ever. Without
    /// any, the nodes of the cluster on this machine are found, and those remembered on disk.
    pub fn join<I>(mut self, endpoints: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.join.extend(endpoints.into_iter().map(Into::into));
        self
    }

    /// A label that distribution strategies can read, such as `("zone", "a")`.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Makes this node a client: it looks up, registers and calls, but never runs workers.
    pub fn client(mut self) -> Self {
        self.hosts = false;
        self
    }

    /// The zenoh configuration that everything else is put on top of: TLS, authentication, scouting, routers.
    pub fn zenoh(mut self, config: zenoh::Config) -> Self {
        self.config = Some(config);
        self
    }

    /// Connects through a network inside this process instead of sockets, for tests of services: `listen`, `advertise`,
    /// `join` and `zenoh` must not be used with it.
    pub fn memory_network(mut self, network: &MemoryNetwork) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Starts the node: opens its store, listens, and meets the nodes that it was told of or finds (for up to 3 s).
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing runs then. Must be called in tokio's multi-thread runtime.
    pub async fn start(self) -> crate::Result<Node> {
        Ok(self.start_node().await?)
    }

    async fn start_node(self) -> Result<Node, StartError> {
        let Some(id) = NodeId::new(&self.id) else { return Err(StartError::BadNodeId { id: self.id }) };
        if !(1..=MAX_LABEL_BYTES).contains(&self.cluster.len()) {
            return Err(StartError::BadClusterName { name: self.cluster });
        }
        let types = WorkerTypes::linked().map_err(duplicate_type)?;
        let strategies = open::settle(&types, Strategies::linked().map_err(duplicate_plugin)?)?;
        let (store, path): (Arc<dyn Store>, _) = match self.place {
            None => return Err(StartError::NoStore { node: self.id }),
            Some(Place::Memory) => (Arc::new(MemoryStore::new()), None),
            Some(Place::Directory(path)) => (Arc::new(SledStore::open(&path)?), Some(path)),
        };
        let claimed = identity::claim(&*store, path.as_ref(), &self.cluster, &id, unix_ms(), random_u64()).await?;
        let me = Peer { node: id, incarnation: claimed.incarnation };

        let (events_sender, events) = mpsc::unbounded_channel();
        let started = Instant::now();
        let network = match &self.network {
            Some(_)
                if !(self.listen.is_empty()
                    && self.advertise.is_empty()
                    && self.join.is_empty()
                    && self.config.is_none()) =>
            {
                return Err(StartError::TwoNetworks);
            }
            Some(network) => Network {
                transport: network.connect(me.clone(), events_sender),
                looked_for: Vec::new(),
                announcement: LocalAnnouncement::none(),
            },
            None => {
                let wanted =
                    Wanted { listen: self.listen, advertise: self.advertise, join: self.join, config: self.config };
                wanted.open(&self.cluster, &me, &*store, events_sender).await?
            }
        };
        let join_until_ms = mono_ms(started) + u64::try_from(JOIN_WAIT.as_millis()).unwrap_or(u64::MAX);
        let looked_for = network.looked_for.clone();
        let membership = Membership::new(me.clone(), claimed.instance, looked_for, GRACE_MS, join_until_ms);
        let shared = Arc::new(NodeShared::new(
            me.clone(),
            self.cluster,
            claimed.instance,
            self.labels,
            self.hosts,
            store,
            types,
            strategies,
            membership,
            started,
        ));
        shared.set_transport(network.transport);
        say_what_is_linked(&shared);
        tokio::spawn(network::run(shared.clone(), events));
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

/// What the caller said about the network.
struct Wanted {
    listen: Vec<String>,
    advertise: Vec<String>,
    join: Vec<String>,
    config: Option<zenoh::Config>,
}

/// An open network.
struct Network {
    transport: Arc<dyn Transport>,
    looked_for: Vec<String>,
    announcement: LocalAnnouncement,
}

impl Wanted {
    /// Listens first, then looks for the others: of two nodes that start at once one finds the other.
    async fn open(
        self,
        cluster: &str,
        me: &Peer,
        store: &dyn Store,
        events: mpsc::UnboundedSender<TransportEvent>,
    ) -> Result<Network, StartError> {
        if self.listen.is_empty() && self.config.is_none() {
            let node = &*me.node;
            tracing::info!(node, "listening on this machine only; use `.listen(..)` to be reached from others");
        }
        let listen = match (&self.config, self.listen.is_empty()) {
            (None, true) => vec![DEFAULT_LISTEN.to_owned()],
            _ => self.listen,
        };
        let former = identity::endpoints(store)?;
        // Where any port will do the former one is taken again, so that those who remember it find this node.
        let reserved = match again(&listen, &former) {
            Some(listen) => match reserve(&listen).await {
                Err(TransportError::PortInUse { .. }) => None,
                other => Some(other?),
            },
            None => None,
        };
        let reserved = match reserved {
            Some(reserved) => reserved,
            None => reserve(&listen).await?,
        };
        let dialable = reserved.dialable();
        let announcement = local::announce(cluster, me, &dialable);
        let mut looked_for: BTreeSet<String> = self.join.iter().cloned().collect();
        if self.join.is_empty() {
            looked_for.extend(local::discover(cluster, me));
        }
        looked_for.extend(identity::remembered(store)?.into_values().flatten());
        for own in dialable.iter().chain(&self.advertise) {
            looked_for.remove(own);
        }
        identity::remember_endpoints(store, &dialable).await?;
        let own_config = self.config.is_some();
        if !own_config {
            let answering = answering(&looked_for).await;
            if !answering.is_empty() {
                looked_for.extend(probe(cluster, &answering).await?);
                for own in dialable.iter().chain(&self.advertise) {
                    looked_for.remove(own);
                }
            }
        }
        let mut looked_for: Vec<String> = looked_for.into_iter().collect();
        let options = ZenohOptions {
            cluster: cluster.to_owned(),
            me: me.clone(),
            listen: reserved.endpoints().to_vec(),
            advertise: self.advertise,
            connect: looked_for.clone(),
            config: self.config,
        };
        let transport: Arc<dyn Transport> = ZenohTransport::open(options, events).await?;
        drop(reserved);
        if own_config {
            // Whom it makes zenoh find cannot be asked: they are waited for as long as a seed that does not answer.
            looked_for.push(OWN_CONFIG.to_owned());
        }
        Ok(Network { transport, looked_for, announcement })
    }
}

/// Those endpoints at which something listens.
async fn answering(endpoints: &BTreeSet<String>) -> Vec<String> {
    let dials = endpoints.iter().map(|endpoint| async move { (endpoint, dial(endpoint).await) });
    let answers = futures_util::future::join_all(dials).await;
    answers
        .into_iter()
        .filter(|(_, dialed)| *dialed == Dialed::Answered)
        .map(|(endpoint, _)| endpoint.clone())
        .collect()
}

/// The endpoints to listen on with the former ports in place of 0.
fn again(listen: &[String], former: &[String]) -> Option<Vec<String>> {
    if listen.len() != former.len() || !listen.iter().any(|endpoint| endpoint.ends_with(":0")) {
        return None;
    }
    let port = |endpoint: &str| endpoint.rsplit_once(':').map(|(_, port)| port.to_owned());
    let with_port = |(wanted, had): (&String, &String)| match wanted.strip_suffix(":0") {
        Some(address) => Some(format!("{address}:{}", port(had)?)),
        None => Some(wanted.clone()),
    };
    listen.iter().zip(former).map(with_port).collect()
}

fn say_what_is_linked(shared: &NodeShared) {
    let types: Vec<&str> = shared.types.iter().map(|worker| worker.name()).collect();
    tracing::info!(
        node = %shared.me,
        cluster = shared.cluster,
        endpoints = ?shared.endpoints(),
        worker_types = ?types,
        restart = ?shared.strategies.restart_names(),
        distribution = ?shared.strategies.distribution_names(),
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
