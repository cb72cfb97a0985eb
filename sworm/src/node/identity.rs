//! Who a data directory belongs to, and what it remembers of the node itself: instance, incarnation, peers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Incarnation, InstanceId, NodeId};
use crate::error::StartError;
use crate::store::{Batch, Space, Store, StoreError, get_blob, put_blob};

/// The format of everything on disk.
const FORMAT: u32 = 1;
const IDENTITY: &[u8] = b"identity";
const PEERS: &[u8] = b"peers";
const ENDPOINTS: &[u8] = b"endpoints";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    format: u32,
    cluster: String,
    node: NodeId,
    instance: InstanceId,
    incarnation: Incarnation,
}

/// A node's identity for this run.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Which data directory it is.
    pub instance: InstanceId,
    /// Counts the starts on it.
    pub incarnation: Incarnation,
}

/// Claims the store for this node and takes the next incarnation; both are on disk when it returns.
pub async fn claim(
    store: &dyn Store,
    path: Option<&PathBuf>,
    cluster: &str,
    node: &NodeId,
    unix_ms: u64,
    random: u64,
) -> Result<Identity, StartError> {
    let path = path.cloned().unwrap_or_default();
    // The format is read on its own first: the rest may look different in another format.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let stored = match read::<Format>(store, IDENTITY)? {
        Some(Format { format }) if format > FORMAT => {
            return Err(StartError::NewerStore { path, found: format, known: FORMAT });
        }
        _ => read::<Stored>(store, IDENTITY)?,
    };
    let (instance, last) = match stored {
        Some(stored) if stored.cluster != cluster || stored.node != *node => {
            return Err(StartError::ForeignStore {
                path,
                theirs: format!("node {:?} of cluster {:?}", &*stored.node, stored.cluster),
                ours: format!("node {:?} of cluster {cluster:?}", &**node),
            });
        }
        Some(stored) => (stored.instance, stored.incarnation.0),
        None => (InstanceId(random), 0),
    };
    let reused = last > 0 && planted(Fault::ReuseIncarnation);
    let incarnation = Incarnation(if reused { last } else { unix_ms.max(last + 1) });
    let stored = Stored { format: FORMAT, cluster: cluster.to_owned(), node: node.clone(), instance, incarnation };
    write(store, IDENTITY, &stored).await?;
    Ok(Identity { instance, incarnation })
}

/// The other nodes that were met, with their endpoints.
pub(crate) fn remembered(store: &dyn Store) -> Result<BTreeMap<NodeId, Vec<String>>, StoreError> {
    Ok(read(store, PEERS)?.unwrap_or_default())
}

/// Keeps the other nodes' endpoints.
pub(crate) async fn remember(store: &dyn Store, peers: &BTreeMap<NodeId, Vec<String>>) -> Result<(), StoreError> {
    write(store, PEERS, peers).await
}

/// Where this node listened when it ran last.
pub(crate) fn endpoints(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    Ok(read(store, ENDPOINTS)?.unwrap_or_default())
}

/// Keeps where this node listens.
pub(crate) async fn remember_endpoints(store: &dyn Store, endpoints: &[String]) -> Result<(), StoreError> {
    write(store, ENDPOINTS, endpoints).await
}

/// A value that cannot be read counts as not there: it is rebuilt.
fn read<T: DeserializeOwned>(store: &dyn Store, key: &[u8]) -> Result<Option<T>, StoreError> {
    let Some(bytes) = get_blob(store, Space::Meta, key)?.and_then(|blob| blob.whole()) else { return Ok(None) };
    match codec::decode(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(error) => {
            tracing::error!(%error, key = %key.escape_ascii(), "what the store remembers cannot be read; going on without");
            Ok(None)
        }
    }
}

async fn write<T: Serialize + ?Sized>(store: &dyn Store, key: &[u8], value: &T) -> Result<(), StoreError> {
    let bytes = codec::encode(value).map_err(|e| StoreError::Failed(e.to_string()))?;
    let mut batch = Batch::new();
    let former = crate::store::blob_chunks(store, Space::Meta, key)?;
    put_blob(&mut batch, Space::Meta, key, &bytes, former)?;
    let ticket = store.write(batch)?;
    store.sync(ticket).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    async fn claim_as(store: &MemoryStore, cluster: &str, node: &str, unix_ms: u64) -> Result<Identity, StartError> {
        let node = NodeId::new(node).expect("valid");
        claim(store, None, cluster, &node, unix_ms, 42).await
    }

    #[tokio::test]
    async fn the_incarnation_rises_when_the_clock_falls_back_and_the_instance_stays() {
        let store = MemoryStore::new();
        let first = claim_as(&store, "c", "a", 1_000).await.expect("fresh");
        let second = claim_as(&store, "c", "a", 10).await.expect("its own");
        assert_eq!((first.incarnation.0, second.incarnation.0), (1_000, 1_001));
        assert_eq!(first.instance, second.instance);
    }

    #[tokio::test]
    async fn another_nodes_or_clusters_directory_is_refused() {
        let store = MemoryStore::new();
        claim_as(&store, "c", "a", 1).await.expect("fresh");
        for (cluster, node) in [("c", "b"), ("d", "a")] {
            let refused = claim_as(&store, cluster, node, 2).await.expect_err("foreign");
            assert!(matches!(refused, StartError::ForeignStore { .. }), "{refused}");
        }
        claim_as(&store, "c", "a", 3).await.expect("untouched");
    }

    #[tokio::test]
    async fn a_newer_format_is_refused() {
        let store = MemoryStore::new();
        write(&store, IDENTITY, &BTreeMap::from([("format", FORMAT + 1)])).await.expect("written");
        let refused = claim_as(&store, "c", "a", 1).await.expect_err("newer");
        assert!(matches!(refused, StartError::NewerStore { found: 2, known: 1, .. }), "{refused}");
    }
}
