//! A sworm's part of the store: lanes as logs of deltas, snapshots as blobs.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::codec;
use crate::core::Recovered;
use crate::core::ids::{Incarnation, LaneId, NodeId};
use crate::core::lane::{Delta, Joined};
use crate::core::message::Snapshot;
use crate::core::snapshots::Stored;
use crate::store::{
    Batch, FrameLog, MAX_BLOB_BYTES, Space, Store, StoreError, Ticket, blob_chunks, chunks_of, delete_blob, get_blob,
    put_blob, scan_blobs,
};

/// A log is written anew when it has grown by this much, and by as much again as it had then.
const SLACK_BYTES: u64 = 256 << 10;
const LANE_ID_BYTES: usize = 16;

/// What a sworm writes.
pub(crate) struct Disk {
    store: Arc<dyn Store>,
    prefix: [u8; 8],
    logs: BTreeMap<LaneId, Log>,
    /// How many chunks each blob has, so that a shorter one leaves none of a longer one behind.
    chunks: HashMap<Vec<u8>, u16>,
    batch: Batch,
    last: Ticket,
}

struct Log {
    log: FrameLog,
    /// Its size when it was written anew.
    base: u64,
}

/// A snapshot as it is stored.
#[derive(Serialize, Deserialize)]
struct Kept {
    name: Arc<str>,
    snapshot: Snapshot,
}

type Ends = (BTreeMap<NodeId, Incarnation>, BTreeMap<NodeId, Incarnation>);

impl Disk {
    /// Reads what the store has of a sworm. What cannot be read is left out: peers have it.
    pub(crate) fn open(store: Arc<dyn Store>, sworm: &str) -> Result<(Self, Recovered), StoreError> {
        let prefix = xxh3_64(sworm.as_bytes()).to_be_bytes();
        let mut recovered = Recovered::default();
        let mut logs = BTreeMap::new();
        for found in FrameLog::load_all(&*store, Space::Lanes, prefix, LANE_ID_BYTES)? {
            let mut id = None;
            for frame in &found.frames {
                let Ok(delta) = codec::decode::<Delta>(frame) else { break };
                let lane = recovered.lanes.entry(delta.lane.clone()).or_default();
                id = Some(delta.lane.clone());
                if let Joined::Gap | Joined::Damaged(_) = lane.join(delta) {
                    tracing::error!(lane = ?id, "a stored lane is damaged; its end is left to the peers");
                    break;
                }
            }
            if let Some(id) = id {
                let base = found.log.bytes();
                logs.insert(id, Log { log: found.log, base });
            }
        }
        if let Some(ends) = get_blob(&*store, Space::Meta, &ends_key(prefix))?.and_then(|blob| blob.whole())
            && let Ok((ended, dropped)) = codec::decode::<Ends>(&ends)
        {
            (recovered.ended, recovered.dropped) = (ended, dropped);
        }
        let mut chunks = HashMap::new();
        let key = ends_key(prefix);
        let ends_chunks = blob_chunks(&*store, Space::Meta, &key)?;
        chunks.insert(key, ends_chunks);
        scan_blobs(&*store, Space::Snapshots, &prefix, &mut |key, blob| {
            // A damaged one has no more chunks than the largest.
            let bytes = blob.whole();
            let size = bytes.as_ref().map_or(MAX_BLOB_BYTES, |bytes| bytes.len());
            chunks.insert(key.to_vec(), chunks_of(size));
            if let Some(Ok(Kept { name, snapshot })) = bytes.map(|bytes| codec::decode::<Kept>(&bytes)) {
                let Snapshot { birth, revision, checkpoint, .. } = snapshot;
                recovered.snapshots.insert(name, Stored { birth, revision, checkpoint });
            }
            std::ops::ControlFlow::Continue(())
        })?;
        Ok((Self { store, prefix, logs, chunks, batch: Batch::new(), last: Ticket(0) }, recovered))
    }

    /// Keeps the changes of a lane; `whole` gives all of it when the log is to be written anew.
    pub(crate) fn persist(&mut self, delta: &Delta, whole: impl FnOnce() -> Option<Delta>) -> Result<(), StoreError> {
        if self.store.is_volatile() {
            return Ok(()); // nobody would ever read it
        }
        let log = self.logs.entry(delta.lane.clone()).or_insert_with(|| {
            let id = codec::encode(&delta.lane).expect("ids encode");
            let mut prefix = self.prefix.to_vec();
            prefix.extend_from_slice(&xxh3_128(&id).to_be_bytes());
            Log { log: FrameLog::new(Space::Lanes, prefix), base: 0 }
        });
        let grown = log.log.bytes() > 2 * log.base + SLACK_BYTES;
        let anew = if delta.full || grown { whole() } else { None };
        let failed = |e: codec::CodecError| StoreError::Failed(e.to_string());
        match anew {
            Some(whole) => {
                let frame = codec::encode(&whole).map_err(failed)?;
                log.log.rewrite(&mut self.batch, [frame.as_slice()])?;
                log.base = log.log.bytes();
            }
            None => log.log.append(&mut self.batch, &codec::encode(delta).map_err(failed)?)?,
        }
        Ok(())
    }

    /// Forgets a lane.
    pub(crate) fn forget(&mut self, lane: &LaneId) {
        if let Some(mut log) = self.logs.remove(lane) {
            log.log.remove(&mut self.batch);
        }
    }

    /// Keeps which incarnations have ended.
    pub(crate) fn persist_ends(
        &mut self,
        ended: BTreeMap<NodeId, Incarnation>,
        dropped: BTreeMap<NodeId, Incarnation>,
    ) -> Result<(), StoreError> {
        let key = ends_key(self.prefix);
        let bytes = codec::encode(&(ended, dropped)).expect("ids and numbers encode");
        self.put(Space::Meta, key, &bytes)
    }

    /// Keeps a snapshot in place of what there was of that name.
    pub(crate) fn store_snapshot(&mut self, name: &Arc<str>, snapshot: Snapshot) -> Result<(), StoreError> {
        let bytes = codec::encode(&Kept { name: name.clone(), snapshot }).expect("plain data encodes");
        let key = snapshot_key(self.prefix, name);
        self.put(Space::Snapshots, key, &bytes)
    }

    /// Forgets the snapshot of a name.
    pub(crate) fn delete_snapshot(&mut self, name: &Arc<str>) {
        let key = snapshot_key(self.prefix, name);
        if let Some(chunks) = self.chunks.remove(&key) {
            delete_blob(&mut self.batch, Space::Snapshots, &key, chunks);
        }
    }

    /// Reads a snapshot. Blocks on the disk.
    pub(crate) fn load_snapshot(
        store: &dyn Store,
        sworm: &str,
        name: &Arc<str>,
    ) -> Result<Option<Snapshot>, StoreError> {
        let prefix = xxh3_64(sworm.as_bytes()).to_be_bytes();
        let blob = get_blob(store, Space::Snapshots, &snapshot_key(prefix, name))?;
        let kept = blob.and_then(|blob| blob.whole()).and_then(|bytes| codec::decode::<Kept>(&bytes).ok());
        Ok(kept.filter(|kept| kept.name == *name).map(|kept| kept.snapshot))
    }

    /// Hands everything since the last call to the store; the ticket covers it.
    pub(crate) fn write(&mut self) -> Result<Ticket, StoreError> {
        if !self.batch.is_empty() {
            self.last = self.store.write(std::mem::take(&mut self.batch))?;
        }
        Ok(self.last)
    }

    fn put(&mut self, space: Space, key: Vec<u8>, bytes: &[u8]) -> Result<(), StoreError> {
        let former = self.chunks.get(&key).copied().unwrap_or(0);
        let chunks = put_blob(&mut self.batch, space, &key, bytes, former)?;
        self.chunks.insert(key, chunks);
        Ok(())
    }
}

fn ends_key(prefix: [u8; 8]) -> Vec<u8> {
    [b"ends/".as_slice(), &prefix].concat()
}

fn snapshot_key(prefix: [u8; 8], name: &str) -> Vec<u8> {
    [prefix.as_slice(), &xxh3_128(name.as_bytes()).to_be_bytes()].concat()
}
