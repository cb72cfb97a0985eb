//! A node starts: what was said is looked at, then its store and its links are opened.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Chosen, DEFAULT_SNAPSHOT_LIMIT, DEFAULT_STARTS, JOIN_WAIT, MAX_LABELS, MAX_RECOVER_WAIT, MAX_SNAPSHOT_LIMIT, Node,
    NodeBuilder, Place, STORE_AGAIN, STORE_WAIT,
};
use crate::core::ids::{MAX_LABEL_BYTES, NodeId, Peer};
use crate::core::membership::Membership;
use crate::error::StartError;
use crate::node::clock::Clock;
use crate::node::{GRACE_MS, Introduction, NodeShared, awake, identity, network, open, random_u64, unix_ms};
use crate::plugin::{Duplicate, Stores, Strategies};
use crate::store::{MemoryStore, Store, StoreError, StoreFactory};
use crate::strategy::MAX_WEIGHT;
use crate::worker::WorkerTypes;

impl NodeBuilder {
    /// What was said that is about a node that runs workers, if anything was.
    fn of_hosts(&self) -> Option<&'static str> {
        let weight = self.weight.map(|_| "weight");
        let labels = self.profile.labels.keys().next().map(|_| "label");
        weight.or(labels).or(self.starts.map(|_| "concurrent_starts")).or(self.snapshot_limit.map(|_| "snapshot_limit"))
    }

    /// The node's id, if all that was said can be.
    fn checked(&self) -> Result<NodeId, StartError> {
        let id = self.id.clone();
        let Some(id) = NodeId::new(&id) else { return Err(StartError::BadNodeId { id }) };
        if !(1..=MAX_LABEL_BYTES).contains(&self.cluster.len()) {
            return Err(StartError::BadClusterName { name: self.cluster.clone() });
        }
        if let Some(weight) = self.weight.filter(|weight| !(1..=MAX_WEIGHT).contains(weight)) {
            return Err(StartError::BadWeight { weight });
        }
        self.check_labels()?;
        let starts = self.starts.unwrap_or(DEFAULT_STARTS);
        if !(1..=Semaphore::MAX_PERMITS).contains(&starts) {
            return Err(StartError::BadConcurrentStarts { starts });
        }
        if self.recover_wait > MAX_RECOVER_WAIT {
            return Err(StartError::BadRecoverWait { wait: self.recover_wait });
        }
        let snapshot_limit = self.snapshot_limit.unwrap_or(DEFAULT_SNAPSHOT_LIMIT);
        if !(1..=MAX_SNAPSHOT_LIMIT).contains(&snapshot_limit) {
            return Err(StartError::BadSnapshotLimit { bytes: snapshot_limit });
        }
        if let Some(option) = self.of_hosts().filter(|_| !self.hosts) {
            return Err(StartError::RunsNothing { node: self.id.clone(), option });
        }
        Ok(id)
    }

    fn check_labels(&self) -> Result<(), StartError> {
        let labels = &self.profile.labels;
        if labels.len() > MAX_LABELS {
            return Err(StartError::TooManyLabels { labels: labels.len() });
        }
        let fits = |(key, value): &(&String, &String)| {
            (1..=MAX_LABEL_BYTES).contains(&key.len()) && value.len() <= MAX_LABEL_BYTES
        };
        match labels.iter().find(|label| !fits(label)) {
            Some((key, value)) => Err(StartError::BadLabel { key: key.clone(), bytes: [key.len(), value.len()] }),
            None => Ok(()),
        }
    }

    pub(super) async fn start_node(mut self) -> Result<Node, StartError> {
        let starts = self.starts.unwrap_or(DEFAULT_STARTS);
        let snapshot_limit = self.snapshot_limit.unwrap_or(DEFAULT_SNAPSHOT_LIMIT);
        self.profile.weight = self.weight.unwrap_or(self.profile.weight);
        let id = self.checked()?;
        let types = WorkerTypes::linked().map_err(duplicate_type)?;
        let strategies = open::settle(&types, Strategies::linked().map_err(duplicate_plugin)?)?;
        let stores = Stores::linked().map_err(duplicate_plugin)?;
        let Some(place) = self.place else { return Err(StartError::NoStore { node: self.id }) };
        let place = match place {
            Place::Memory => Chosen::Store(Arc::new(MemoryStore::volatile())),
            Place::Own(store) => Chosen::Store(store),
            Place::Directory { kind, path } => match stores.get(&kind) {
                Some(factory) => Chosen::Directory(factory, kind, path),
                None => return Err(StartError::UnknownStore { name: kind, known: stores.names() }),
            },
        };
        let wanted = self.network.check().await?;
        // What can be wrong with the arguments has been looked at: only now something is changed.
        let owner = identity::Owner { cluster: &self.cluster, node: &id };
        let (store, path) = match place {
            Chosen::Store(store) => (store, None),
            Chosen::Directory(factory, kind, path) => {
                identity::check(&path, owner)?;
                identity::kind::check(&path, &kind)?;
                let store = free(&path, factory).await?;
                // Whoever had it meanwhile may have begun another one.
                identity::kind::check(&path, &kind)?;
                identity::kind::note(&path, &kind)
                    .map_err(|error| StoreError::NotWritable { path: path.clone(), why: error.to_string() })?;
                (store, Some(path))
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
            claimed,
            self.profile,
            self.hosts,
            self.encode_local_calls,
            starts,
            self.recover_wait,
            snapshot_limit,
            store,
            types,
            strategies,
            membership,
            clock,
        ));
        network.transport.shortcut(network::shortcut(&shared));
        shared.set_transport(network.transport);
        say_what_is_linked(&shared, &stores);
        awake::keep(&shared);
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
