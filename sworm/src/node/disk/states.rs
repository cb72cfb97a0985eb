//! The saved states of workers: under each name a blob with the snapshot, or, of a large one, with its manifest.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{Disk, chunks, decode_blob};
use crate::codec;
use crate::core::Recovered;
use crate::core::cell::Revision;
use crate::core::chunks::{CHUNK_BYTES, Manifest, SetId, Shipment};
use crate::core::ids::Birth;
use crate::core::message::Snapshot;
use crate::core::snapshots::{Purpose, Stored};
use crate::store::{Blob, Space, Store, StoreError, blob_chunks, delete_blob, get_blob, scan_blobs};

/// Chunks are handed to the store when there are so many bytes of them: more need not be in memory.
const CHUNKS_BYTES: usize = 1 << 20;

/// A snapshot as it is stored, and of how many losses the store knew then.
#[derive(Serialize, Deserialize)]
struct KeptWhole {
    name: Arc<str>,
    snapshot: Snapshot,
    #[serde(default, skip_serializing_if = "is_zero")]
    losses: u32,
}

/// A large one, whose chunks are stored.
#[derive(Serialize, Deserialize)]
struct KeptInChunks {
    name: Arc<str>,
    manifest: Arc<Manifest>,
    #[serde(default, skip_serializing_if = "is_zero")]
    losses: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(losses: &u32) -> bool {
    *losses == 0
}

/// Either of them.
struct Kept {
    name: Arc<str>,
    shipment: Shipment,
    losses: u32,
}

/// What a blob holds, unless it is damaged or of an unknown shape.
fn decode(blob: Blob) -> Option<Kept> {
    let bytes = blob.whole()?;
    match codec::decode::<KeptWhole>(&bytes) {
        Ok(KeptWhole { name, snapshot, losses }) => Some(Kept { name, shipment: Shipment::Whole(snapshot), losses }),
        Err(_) => {
            let KeptInChunks { name, manifest, losses } = decode_blob(Blob::Whole(bytes))?;
            manifest.is_sound().then_some(Kept { name, shipment: Shipment::Chunked(manifest), losses })
        }
    }
}

fn encode(Kept { name, shipment, losses }: Kept) -> Vec<u8> {
    let encoded = match shipment {
        Shipment::Whole(snapshot) => codec::encode(&KeptWhole { name, snapshot, losses }),
        Shipment::Chunked(manifest) => codec::encode(&KeptInChunks { name, manifest, losses }),
    };
    encoded.expect("plain data encodes")
}

impl Disk {
    /// Reads which states there are. What is damaged, or lacks chunks, is left to the peers.
    pub(super) fn recover_states(&mut self, sworm: &str, recovered: &mut Recovered) -> Result<(), StoreError> {
        let (store, prefix) = (self.store.clone(), self.prefix);
        let (mut found, mut damaged, mut large) = (Vec::new(), Vec::new(), Vec::new());
        scan_blobs(&*store, Space::Snapshots, &prefix, &mut |key, blob| {
            let chunks = blob.chunks();
            match decode(blob).filter(|kept| keys(prefix, kept).iter().any(|own| own == key)) {
                Some(Kept { name, shipment, losses }) => {
                    if let Shipment::Whole(snapshot) = &shipment
                        && snapshot.state.len() > CHUNK_BYTES
                    {
                        large.push((name.clone(), key.to_vec()));
                    }
                    let doubtful = losses < self.losses;
                    found.push((key.to_vec(), name, Stored { doubtful, ..Stored::of(&shipment) }));
                }
                None => {
                    tracing::error!(sworm, key = %key.escape_ascii(), "a saved state cannot be read; it is left to the peers")
                }
            }
            match chunks {
                Some(chunks) => drop(self.blobs.insert(key.to_vec(), chunks)),
                None => damaged.push(key.to_vec()),
            }
            ControlFlow::Continue(())
        })?;
        for key in damaged {
            let chunks = blob_chunks(&*store, Space::Snapshots, &key)?;
            self.blobs.insert(key, chunks);
        }
        let in_chunks = |(_, name, stored): &(_, Arc<str>, Stored)| {
            stored.manifest.as_ref().map(|manifest| (manifest.set(name), manifest.clone()))
        };
        let manifests: HashMap<SetId, Arc<Manifest>> = found.iter().filter_map(in_chunks).collect();
        let intact = self.chunks.intact(&*store, &mut self.batch, &manifests)?;
        for (key, name, stored) in found {
            if let Some(manifest) = &stored.manifest {
                let set = manifest.set(&name);
                if !intact.contains(&set) {
                    tracing::error!(sworm, name = &*name, "a saved state lacks chunks; it is left to the peers");
                    self.delete_state(&key);
                    continue;
                }
                self.chunks.hold(set, manifest);
                self.manifests.insert(key.clone(), set);
            }
            if snapshot_key(prefix, &name) == key {
                recovered.snapshots.insert(name, stored);
            } else {
                recovered.aside.push((name, stored));
            }
        }
        for (name, key) in large {
            self.cut(&name, key, recovered)?;
        }
        Ok(())
    }

    /// Cuts a large state that was stored in one piece.
    fn cut(&mut self, name: &Arc<str>, key: Vec<u8>, recovered: &mut Recovered) -> Result<(), StoreError> {
        let Some(Kept { shipment: Shipment::Whole(snapshot), losses, .. }) = get_state(&*self.store, &key, name)?
        else {
            return Ok(());
        };
        let manifest = Arc::new(Manifest::of(&snapshot, CHUNK_BYTES));
        let set = manifest.set(name);
        for index in 0..manifest.chunks() {
            self.chunks.put(&mut self.batch, set, index, &snapshot.state[manifest.range(index)]);
        }
        let stored = Some(manifest.clone());
        let asides = recovered.aside.iter_mut().filter(|(of, _)| of == name).map(|(_, aside)| aside);
        for one in recovered.snapshots.get_mut(name).into_iter().chain(asides) {
            if one.revision == snapshot.revision {
                one.manifest = stored.clone();
            }
        }
        self.put_state(key, Kept { name: name.clone(), shipment: Shipment::Chunked(manifest), losses })
    }

    /// Keeps a state in place of what there was of that name. The chunks of a large one were kept before.
    pub fn keep(&mut self, name: &Arc<str>, shipment: Shipment) -> Result<(), StoreError> {
        let (key, losses) = (snapshot_key(self.prefix, name), self.losses);
        self.put_state(key, Kept { name: name.clone(), shipment, losses })
    }

    fn put_state(&mut self, key: Vec<u8>, kept: Kept) -> Result<(), StoreError> {
        let former = self.manifests.remove(&key);
        if let Some(manifest) = kept.shipment.manifest() {
            let set = manifest.set(&kept.name);
            self.chunks.hold(set, manifest);
            self.manifests.insert(key.clone(), set);
        }
        if let Some(former) = former {
            self.chunks.release(&mut self.batch, former);
        }
        self.put(Space::Snapshots, key, &encode(kept))
    }

    /// Keeps a chunk of a state whose manifest is to follow.
    pub fn store_chunk(
        &mut self,
        name: &Arc<str>,
        manifest: &Manifest,
        index: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.chunks.put(&mut self.batch, manifest.set(name), index, bytes);
        if self.batch.bytes() > CHUNKS_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Whether the state that is kept of a name is large.
    pub fn is_in_chunks(&self, name: &Arc<str>) -> bool {
        self.manifests.contains_key(&snapshot_key(self.prefix, name))
    }

    /// Forgets the chunks of a state, unless a manifest is kept that tells of them.
    pub fn drop_chunks(&mut self, name: &Arc<str>, manifest: &Manifest) {
        self.chunks.drop_unheld(&mut self.batch, manifest.set(name), manifest);
    }

    /// Forgets the state of a name.
    pub fn delete_snapshot(&mut self, name: &Arc<str>) {
        self.delete_state(&snapshot_key(self.prefix, name));
    }

    fn delete_state(&mut self, key: &[u8]) {
        if let Some(chunks) = self.blobs.remove(key) {
            delete_blob(&mut self.batch, Space::Snapshots, key, chunks);
        }
        if let Some(set) = self.manifests.remove(key) {
            self.chunks.release(&mut self.batch, set);
        }
    }

    /// Keeps a second copy of the state that is kept of a name. Blocks on the disk, for what is rare.
    pub fn set_aside(&mut self, name: &Arc<str>, birth: Birth, revision: Revision) -> Result<(), StoreError> {
        self.write()?;
        let kept = get_state(&*self.store, &snapshot_key(self.prefix, name), name)?;
        let is_it = |kept: &Kept| (kept.shipment.birth(), kept.shipment.revision()) == (birth, revision);
        let Some(kept) = kept.filter(is_it) else {
            tracing::error!(name = &**name, "a saved state that was to be set aside cannot be read");
            return Ok(());
        };
        self.put_state(aside_key(self.prefix, name, birth, revision), kept)
    }

    /// Forgets that copy.
    pub fn delete_aside(&mut self, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.delete_state(&aside_key(self.prefix, name, birth, revision));
    }

    /// Reads the state that is kept of a name, or one that was set aside; of a large one it looks whether all of it can be
    /// read. Of one of which only the chunks are kept it reads all. Blocks on the disk.
    pub fn load(store: &dyn Store, sworm: &str, purpose: &Purpose) -> Result<Option<Shipment>, StoreError> {
        let (prefix, name) = (prefix(sworm), purpose.name());
        let key = match purpose {
            Purpose::Merge { manifest, .. } => {
                return Ok(Self::load_whole(store, sworm, name, manifest)?.map(Shipment::Whole));
            }
            Purpose::Offer { birth, revision, .. } => aside_key(prefix, name, *birth, *revision),
            Purpose::Start { .. } | Purpose::Answer { .. } | Purpose::Copy { .. } => snapshot_key(prefix, name),
        };
        match get_state(store, &key, name)?.map(|kept| kept.shipment) {
            Some(Shipment::Chunked(manifest)) => {
                let is_intact = chunks::are_intact(store, sworm, name, &manifest)?;
                Ok(is_intact.then_some(Shipment::Chunked(manifest)))
            }
            whole => Ok(whole),
        }
    }

    /// Reads all of a large state. Blocks on the disk.
    pub fn load_whole(
        store: &dyn Store,
        sworm: &str,
        name: &str,
        manifest: &Manifest,
    ) -> Result<Option<Snapshot>, StoreError> {
        chunks::read_all(store, sworm, name, manifest)
    }

    /// Reads one chunk of a state that is kept, as it was stored or not at all. Blocks on the disk.
    pub fn load_chunk(
        store: &dyn Store,
        sworm: &str,
        name: &Arc<str>,
        manifest: &Manifest,
        index: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        chunks::read(store, sworm, manifest.set(name), manifest, index)
    }
}

/// What stands for a sworm in the keys of its states.
fn prefix(sworm: &str) -> [u8; 8] {
    xxh3_64(sworm.as_bytes()).to_be_bytes()
}

fn get_state(store: &dyn Store, key: &[u8], name: &Arc<str>) -> Result<Option<Kept>, StoreError> {
    let kept = get_blob(store, Space::Snapshots, key)?.and_then(decode);
    Ok(kept.filter(|kept| kept.name == *name))
}

/// Under which a state may stand: as the one that is kept, or as one that was set aside.
fn keys(prefix: [u8; 8], Kept { name, shipment, .. }: &Kept) -> [Vec<u8>; 2] {
    [snapshot_key(prefix, name), aside_key(prefix, name, shipment.birth(), shipment.revision())]
}

fn aside_key(prefix: [u8; 8], name: &str, birth: Birth, revision: Revision) -> Vec<u8> {
    let hash = xxh3_128(&codec::encode(&(name, birth, revision)).expect("plain data encodes"));
    [prefix.as_slice(), &hash.to_be_bytes()].concat()
}

pub(super) fn snapshot_key(prefix: [u8; 8], name: &str) -> Vec<u8> {
    [prefix.as_slice(), &xxh3_128(name.as_bytes()).to_be_bytes()].concat()
}
