//! A sworm's part of the store: lanes as logs of deltas, snapshots as blobs, large states in chunks.

mod chunks;
mod reader;
mod record;
mod states;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use self::chunks::Chunks;
pub(crate) use self::reader::ChunkReader;
use self::record::{Record, frames, whole_deltas};
use crate::codec;
use crate::core::Recovered;
use crate::core::chunks::SetId;
use crate::core::ids::{Incarnation, LaneId, NodeId};
use crate::core::lane::{Delta, Joined, Lane};
use crate::store::{
    Batch, Blob, FrameLog, LoadedLog, Space, Store, StoreError, Ticket, blob_chunks, get_blob, put_blob,
};

/// A log is written anew when it has grown by this much, and by as much again as it had then.
const SLACK_BYTES: u64 = 256 << 10;
const LANE_ID_BYTES: usize = 16;
/// What is to be written is handed over when it has become this large: a store takes no batch of any size.
const BATCH_BYTES: usize = 8 << 20;

/// What a sworm writes.
pub struct Disk {
    store: Arc<dyn Store>,
    prefix: [u8; 8],
    /// How often the store had lost something by now.
    losses: u32,
    logs: BTreeMap<LaneId, Log>,
    /// How many chunks each blob has, so that a shorter one leaves none of a longer one behind.
    blobs: HashMap<Vec<u8>, u16>,
    /// The chunks of large states, and which of the snapshots is a manifest of which.
    chunks: Chunks,
    manifests: HashMap<Vec<u8>, SetId>,
    batch: Batch,
    last: Ticket,
}

struct Log {
    log: FrameLog,
    /// Its size when it was written anew.
    base: u64,
    /// Some of its frames cannot be used: the next change writes it anew.
    broken: bool,
}

type Ends = (BTreeMap<NodeId, Incarnation>, BTreeMap<NodeId, Incarnation>);

impl Disk {
    /// Reads what the store has of a sworm. What cannot be read is left out: peers have it. `losses` counts how often the store
    /// was found to have less than it had synced: states that were kept before the last time are doubtful.
    pub fn open(store: Arc<dyn Store>, sworm: &str, losses: u32) -> Result<(Self, Recovered), StoreError> {
        let prefix = xxh3_64(sworm.as_bytes()).to_be_bytes();
        let mut disk = Self {
            store: store.clone(),
            prefix,
            losses,
            logs: BTreeMap::new(),
            blobs: HashMap::new(),
            chunks: Chunks::new(sworm),
            manifests: HashMap::new(),
            batch: Batch::new(),
            last: Ticket(0),
        };
        let mut recovered = Recovered::default();
        for found in FrameLog::load_all(&*store, Space::Lanes, prefix, LANE_ID_BYTES)? {
            if let Some((id, lane)) = disk.recover_lane(found) {
                recovered.lanes.insert(id, lane);
            }
        }
        let key = ends_key(prefix);
        let ends = get_blob(&*store, Space::Meta, &key)?.map(decode_blob::<Ends>);
        match ends {
            Some(Some((ended, dropped))) => (recovered.ended, recovered.dropped) = (ended, dropped),
            Some(None) => tracing::error!(sworm, "which nodes have ended cannot be read; it is left to the peers"),
            None => {}
        }
        let chunks = blob_chunks(&*store, Space::Meta, &key)?;
        disk.blobs.insert(key, chunks);
        disk.recover_states(sworm, &mut recovered)?;
        Ok((disk, recovered))
    }

    /// A lane as far as its frames can be used, and its log. A log of which nothing can be used is deleted.
    fn recover_lane(&mut self, mut found: LoadedLog) -> Option<(LaneId, Lane)> {
        let records = found.frames.iter().map_while(|frame| codec::decode::<Record<'_>>(frame).ok());
        let (mut deltas, readable) = whole_deltas(records.take_while(|record| lane_key(record.lane()) == *found.id));
        let (mut lane, joined) = replay(&deltas);
        // The last delta may have been on its way to the disk when the node ended.
        let torn = joined == deltas.len() && readable == found.frames.len() && found.log.dropped() == 0;
        if joined < deltas.len() {
            // The one that does not fit may have taken the others with it.
            deltas.truncate(joined);
            (lane, _) = replay(&deltas);
        }
        let (id, used) = deltas.pop().map(|(delta, frames)| (delta.lane, frames)).unzip();
        let dropped = found.frames.len() - used.unwrap_or(0);
        if !torn && (dropped > 0 || found.log.dropped() > 0) {
            let dropped = found.log.dropped() + dropped as u64;
            tracing::error!(lane = ?id, upto = lane.max(), dropped, "a stored lane is damaged; its end is left to the peers");
        }
        let Some(id) = id else {
            found.log.remove(&mut self.batch);
            return None;
        };
        let base = found.log.bytes();
        self.logs.insert(id.clone(), Log { log: found.log, base, broken: dropped > 0 });
        Some((id, lane))
    }

    /// Keeps the changes of a lane; `whole` gives all of it when the log is to be written anew.
    pub fn persist(&mut self, delta: &Delta, whole: impl FnOnce() -> Option<Delta>) -> Result<(), StoreError> {
        if self.store.is_volatile() {
            return Ok(()); // nobody would ever read it
        }
        let Self { store, batch, last, logs, prefix, .. } = self;
        let Log { log, base, broken } = logs.entry(delta.lane.clone()).or_insert_with(|| {
            let prefix = [prefix.as_slice(), &lane_key(&delta.lane)].concat();
            Log { log: FrameLog::new(Space::Lanes, prefix), base: 0, broken: false }
        });
        let mut write = |batch: &mut Batch| {
            if batch.bytes() > BATCH_BYTES {
                *last = store.write(std::mem::take(batch))?;
            }
            Ok(())
        };
        let grown = log.bytes() > 2 * *base + SLACK_BYTES;
        let anew = if delta.full || grown || *broken { whole() } else { None };
        match anew {
            Some(whole) => {
                log.rewrite_in_batches(batch, frames(Cow::Owned(whole)), &mut write)?;
                *base = log.bytes();
                *broken = false;
            }
            None => {
                for frame in frames(Cow::Borrowed(delta)) {
                    log.append(batch, &frame)?;
                    write(batch)?;
                }
            }
        }
        write(batch)
    }

    /// Forgets a lane.
    pub fn forget(&mut self, lane: &LaneId) {
        if let Some(mut log) = self.logs.remove(lane) {
            log.log.remove(&mut self.batch);
        }
    }

    /// Keeps which incarnations have ended.
    pub fn persist_ends(
        &mut self,
        ended: BTreeMap<NodeId, Incarnation>,
        dropped: BTreeMap<NodeId, Incarnation>,
    ) -> Result<(), StoreError> {
        let key = ends_key(self.prefix);
        let bytes = codec::encode(&(ended, dropped)).expect("ids and numbers encode");
        self.put(Space::Meta, key, &bytes)
    }

    /// Hands everything since the last call to the store; the ticket covers it.
    pub fn write(&mut self) -> Result<Ticket, StoreError> {
        if !self.batch.is_empty() {
            self.last = self.store.write(std::mem::take(&mut self.batch))?;
        }
        Ok(self.last)
    }

    fn put(&mut self, space: Space, key: Vec<u8>, bytes: &[u8]) -> Result<(), StoreError> {
        let former = self.blobs.get(&key).copied().unwrap_or(0);
        let chunks = put_blob(&mut self.batch, space, &key, bytes, former)?;
        self.blobs.insert(key, chunks);
        self.write_if_large()
    }

    fn write_if_large(&mut self) -> Result<(), StoreError> {
        if self.batch.bytes() > BATCH_BYTES {
            self.write()?;
        }
        Ok(())
    }
}

/// Joins deltas in order, and says how many of them fit.
fn replay(deltas: &[(Delta, usize)]) -> (Lane, usize) {
    let mut lane = Lane::default();
    let fits = |(delta, _): &&(Delta, usize)| !matches!(lane.join(delta.clone()), Joined::Gap | Joined::Damaged(_));
    let joined = deltas.iter().take_while(fits).count();
    (lane, joined)
}

/// What a blob holds, unless it is damaged or of an unknown shape.
fn decode_blob<T: DeserializeOwned>(blob: Blob) -> Option<T> {
    codec::decode(&blob.whole()?).ok()
}

/// What stands for a lane in the keys of its log.
fn lane_key(id: &LaneId) -> [u8; LANE_ID_BYTES] {
    xxh3_128(&codec::encode(id).expect("ids encode")).to_be_bytes()
}

fn ends_key(prefix: [u8; 8]) -> Vec<u8> {
    [b"ends/".as_slice(), &prefix].concat()
}

#[cfg(test)]
mod chunk_tests;
#[cfg(test)]
mod large_tests;
#[cfg(test)]
mod tests;
