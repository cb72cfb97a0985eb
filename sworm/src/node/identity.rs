//! Who a data directory belongs to, and what it remembers of the node itself: instance, incarnation, peers.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::codec;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Incarnation, InstanceId, NodeId};
use crate::error::StartError;
use crate::store::{Batch, Space, Store, StoreError, get_blob, put_blob};

mod beside;
pub(crate) mod kind;

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
    #[serde(default)]
    losses: u32,
}

/// A node's identity for this run.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Which data directory it is.
    pub instance: InstanceId,
    /// Counts the starts on it.
    pub incarnation: Incarnation,
    /// How often its store was found to have less than it had synced: what was written before the last time may be older than
    /// what it had.
    pub losses: u32,
}

/// The format on its own: the rest may look different in another format.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Whose a directory may be.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// The node.
    pub node: &'a NodeId,
}

/// Refuses a directory of another node or of a newer version, before anything in it is touched.
pub(crate) fn check(directory: &Path, owner: Owner<'_>) -> Result<(), StartError> {
    owner.own(directory, beside::read(directory, beside::OWNER).as_deref()).map(drop)
}

/// Claims the store for this node and takes the next incarnation; both are on disk when it returns.
///
/// In a directory the same stands in a file beside the store: when that is lost, or falls back to an earlier state, the
/// directory is this node's all the same, and no incarnation is used twice.
pub async fn claim(
    store: &dyn Store,
    directory: Option<&Path>,
    owner: Owner<'_>,
    unix_ms: u64,
    random: u64,
) -> Result<Identity, StartError> {
    let path = directory.unwrap_or(Path::new(""));
    let stored = owner.own(path, read_bytes(store, IDENTITY)?.as_deref())?;
    let beside = match directory {
        Some(directory) => owner.own(directory, beside::read(directory, beside::OWNER).as_deref())?,
        None => None,
    };
    let last = |stored: &Option<Stored>| stored.as_ref().map_or(0, |stored| stored.incarnation.0);
    let is_older = last(&stored) < last(&beside);
    if is_older {
        tracing::error!(
            path = %path.display(),
            "the store does not know of this node's last start: what it held is lost or older, and is left to the peers"
        );
    }
    // Written with the first thing that is written, since the store itself tells of a loss once.
    let known_losses = [&stored, &beside].into_iter().flatten().map(|stored| stored.losses).max();
    let losses = known_losses.unwrap_or(0) + u32::from(is_older || store.has_lost_writes());
    let before = last(&stored).max(last(&beside));
    let reused = before > 0 && planted(Fault::ReuseIncarnation);
    let incarnation = Incarnation(if reused { before } else { unix_ms.max(before + 1) });
    let instance = stored.or(beside).map_or(InstanceId(random), |stored| stored.instance);
    let (cluster, node) = (owner.cluster.to_owned(), owner.node.clone());
    let stored = Stored { format: FORMAT, cluster, node, instance, incarnation, losses };
    write(store, IDENTITY, &stored).await?;
    if let Some(directory) = directory {
        let bytes = codec::encode(&stored).expect("plain data encodes");
        beside::write(directory, beside::OWNER, &bytes)
            .map_err(|error| StoreError::NotWritable { path: directory.to_owned(), why: error.to_string() })?;
    }
    Ok(Identity { instance, incarnation, losses })
}

impl Owner<'_> {
    /// What was stored for this owner, unless it was for another one. What cannot be read counts as not there.
    fn own(self, path: &Path, stored: Option<&[u8]>) -> Result<Option<Stored>, StartError> {
        let Some(bytes) = stored else { return Ok(None) };
        match codec::decode::<Format>(bytes) {
            Ok(Format { format }) if format > FORMAT => {
                return Err(StartError::NewerStore { path: path.to_owned(), found: format, known: FORMAT });
            }
            _ => {}
        }
        let Some(stored) = decode::<Stored>(bytes, IDENTITY) else { return Ok(None) };
        if stored.cluster == self.cluster && stored.node == *self.node {
            return Ok(Some(stored));
        }
        Err(StartError::ForeignStore {
            path: path.to_owned(),
            theirs: format!("node {:?} of cluster {:?}", &*stored.node, stored.cluster),
            ours: format!("node {:?} of cluster {:?}", &**self.node, self.cluster),
        })
    }
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
    Ok(read_bytes(store, key)?.and_then(|bytes| decode(&bytes, key)))
}

fn read_bytes(store: &dyn Store, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
    Ok(get_blob(store, Space::Meta, key)?.and_then(|blob| blob.whole()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8], key: &[u8]) -> Option<T> {
    let decoded = codec::decode(bytes);
    decoded
        .inspect_err(|error| {
            let key = key.escape_ascii();
            tracing::error!(%error, %key, "what the store remembers cannot be read; going on without");
        })
        .ok()
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
        claim_in(store, None, cluster, node, unix_ms).await
    }

    async fn claim_in(
        store: &MemoryStore,
        directory: Option<&Path>,
        cluster: &str,
        node: &str,
        unix_ms: u64,
    ) -> Result<Identity, StartError> {
        let node = &NodeId::new(node).expect("valid");
        claim(store, directory, Owner { cluster, node }, unix_ms, unix_ms).await
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

    #[tokio::test]
    async fn an_incarnation_and_an_instance_survive_the_loss_of_the_store() {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = Some(directory.path());
        let store = MemoryStore::new();
        let first = claim_in(&store, directory, "c", "a", 1_000).await.expect("fresh");
        // The clock has fallen back, and the store is empty, or what it was before that start.
        let lost = MemoryStore::new();
        let second = claim_in(&lost, directory, "c", "a", 10).await.expect("its own");
        assert_eq!((second.incarnation.0, second.instance), (1_001, first.instance));
        let third = claim_in(&store, directory, "c", "a", 10).await.expect("its own");
        assert_eq!((third.incarnation.0, third.instance), (1_002, first.instance));
        assert_eq!(
            [first.losses, second.losses, third.losses],
            [0, 1, 2],
            "each time the store was older than the file"
        );
        let fourth = claim_in(&store, directory, "c", "a", 10).await.expect("its own");
        assert_eq!(fourth.losses, 2, "nothing was lost, and what was is not forgotten");
        let foreign = claim_in(&MemoryStore::new(), directory, "c", "b", 2_000).await.expect_err("it is a's");
        assert!(matches!(foreign, StartError::ForeignStore { .. }), "{foreign}");
    }

    #[tokio::test]
    async fn a_damaged_file_beside_the_store_costs_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = MemoryStore::new();
        let first = claim_in(&store, Some(directory.path()), "c", "a", 1_000).await.expect("fresh");
        let file = directory.path().join("identity");
        let whole = std::fs::read(&file).expect("it was written");
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for damaged in [flipped.as_slice(), &whole[..at]] {
                std::fs::write(&file, damaged).expect("written");
                let again = claim_in(&store, Some(directory.path()), "c", "a", 10).await.expect("its own");
                assert_eq!(again.instance, first.instance);
            }
        }
    }
}
