//! The chunks of large states. They stand apart from the snapshots: a snapshot's blob is then its manifest, which is
//! written after them, and several manifests may tell of the same chunks.
//!
//! Piece `p` of chunk `c` of a set stands under prefix ‖ set ‖ `be32(c)` ‖ `be16(p)`.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::core::chunks::{Manifest, SetId};
use crate::core::message::Snapshot;
use crate::store::{Batch, Space, Store, StoreError};

/// With its key it stays below the limit of a value, and well below a page of the disk.
const PIECE_BYTES: usize = 4000;
const SET_BYTES: usize = 16;

/// Which sets there are.
pub(super) struct Chunks {
    prefix: [u8; 8],
    held: HashMap<SetId, Held>,
}

/// A set that manifests tell of.
struct Held {
    manifest: Arc<Manifest>,
    manifests: u32,
}

impl Chunks {
    pub(super) fn new(sworm: &str) -> Self {
        Self { prefix: prefix(sworm), held: HashMap::new() }
    }

    /// Adds a chunk to a batch. Its bytes are copied: the rest of the state need not stay in memory with them.
    pub(super) fn put(&self, batch: &mut Batch, set: SetId, index: u32, bytes: &[u8]) {
        for (piece, bytes) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
            batch.put(Space::Snapshots, piece_key(self.prefix, set, index, piece), Bytes::copy_from_slice(bytes));
        }
    }

    /// From now on one manifest more tells of a set.
    pub(super) fn hold(&mut self, set: SetId, manifest: &Arc<Manifest>) {
        let held = self.held.entry(set).or_insert_with(|| Held { manifest: manifest.clone(), manifests: 0 });
        held.manifests += 1;
    }

    /// From now on one manifest less does. The last one takes the set along.
    pub(super) fn release(&mut self, batch: &mut Batch, set: SetId) {
        let Some(held) = self.held.get_mut(&set) else { return };
        held.manifests -= 1;
        if held.manifests == 0
            && let Some(held) = self.held.remove(&set)
        {
            self.delete(batch, set, &held.manifest);
        }
    }

    /// Deletes what there is of a set, unless a manifest tells of it.
    pub(super) fn drop_unheld(&self, batch: &mut Batch, set: SetId, manifest: &Manifest) {
        if !self.held.contains_key(&set) {
            self.delete(batch, set, manifest);
        }
    }

    fn delete(&self, batch: &mut Batch, set: SetId, manifest: &Manifest) {
        for index in 0..manifest.chunks() {
            for piece in 0..manifest.range(index).len().div_ceil(PIECE_BYTES) {
                let piece = u16::try_from(piece).expect("a sound manifest's chunks have fewer pieces");
                batch.delete(Space::Snapshots, piece_key(self.prefix, set, index, piece));
            }
        }
    }

    /// Of these sets, those whose chunks are all there as they were written. What else there is under the prefix was left
    /// over, by a transfer or a write that was broken off: it is deleted.
    pub(super) fn intact(
        &self,
        store: &dyn Store,
        batch: &mut Batch,
        manifests: &HashMap<SetId, Arc<Manifest>>,
    ) -> Result<BTreeSet<SetId>, StoreError> {
        let mut found = Found { manifests, intact: HashMap::new(), open: None };
        let mut left_over: Vec<Vec<u8>> = Vec::new();
        store.scan(Space::Snapshots, &self.prefix, &mut |key, value| {
            let place = place(key);
            if let Some((set, index)) = place {
                found.piece(set, index, value);
            }
            if place.is_none_or(|(set, _)| !manifests.contains_key(&set)) {
                left_over.push(key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        let intact = found.finish();
        for key in left_over {
            batch.delete(Space::Snapshots, key);
        }
        for (set, manifest) in manifests.iter().filter(|(set, _)| !intact.contains(set)) {
            self.delete(batch, *set, manifest);
        }
        Ok(intact)
    }
}

/// What a scan of all pieces has found.
struct Found<'a> {
    manifests: &'a HashMap<SetId, Arc<Manifest>>,
    /// How many chunks of a set are as they were written.
    intact: HashMap<SetId, u32>,
    open: Option<(SetId, u32, Vec<u8>)>,
}

impl Found<'_> {
    fn piece(&mut self, set: SetId, index: u32, bytes: &[u8]) {
        if self.open.as_ref().is_none_or(|(open, at, _)| (*open, *at) != (set, index)) {
            self.close();
            self.open = Some((set, index, Vec::new()));
        }
        if let Some((_, _, chunk)) = self.open.as_mut().filter(|_| self.manifests.contains_key(&set)) {
            chunk.extend_from_slice(bytes);
        }
    }

    fn close(&mut self) {
        let Some((set, index, chunk)) = self.open.take() else { return };
        if self.manifests.get(&set).is_some_and(|manifest| manifest.fits(index, &chunk)) {
            *self.intact.entry(set).or_default() += 1;
        }
    }

    fn finish(mut self) -> BTreeSet<SetId> {
        self.close();
        let whole = |(set, chunks): &(&SetId, &u32)| self.manifests[*set].chunks() == **chunks;
        self.intact.iter().filter(whole).map(|(set, _)| *set).collect()
    }
}

/// Reads a chunk, as it was written or not at all. Blocks on the disk.
pub(super) fn read(
    store: &dyn Store,
    sworm: &str,
    set: SetId,
    manifest: &Manifest,
    index: u32,
) -> Result<Option<Bytes>, StoreError> {
    let mut chunk = Vec::with_capacity(manifest.range(index).len());
    collect(store, sworm, set, index, &mut chunk)?;
    Ok(manifest.fits(index, &chunk).then(|| chunk.into()))
}

/// Reads all chunks of a state, as they were written or not at all. Blocks on the disk.
pub(super) fn read_all(
    store: &dyn Store,
    sworm: &str,
    name: &str,
    manifest: &Manifest,
) -> Result<Option<Snapshot>, StoreError> {
    let set = manifest.set(name);
    let mut state = Vec::with_capacity(manifest.length as usize);
    for index in 0..manifest.chunks() {
        let from = state.len();
        collect(store, sworm, set, index, &mut state)?;
        if !manifest.fits(index, &state[from..]) {
            return Ok(None);
        }
    }
    Ok((xxh3_64(&state) == manifest.checksum).then(|| manifest.whole(state.into())))
}

/// Whether all chunks of a state can be read as they were written. Blocks on the disk, and reads one after the other.
pub(super) fn are_intact(store: &dyn Store, sworm: &str, name: &str, manifest: &Manifest) -> Result<bool, StoreError> {
    let (set, mut all) = (manifest.set(name), Xxh3::new());
    for index in 0..manifest.chunks() {
        match read(store, sworm, set, manifest, index)? {
            Some(chunk) => all.update(&chunk),
            None => return Ok(false),
        }
    }
    Ok(all.digest() == manifest.checksum)
}

/// A piece that the store itself finds damaged is as good as one that is not there.
fn collect(store: &dyn Store, sworm: &str, set: SetId, index: u32, into: &mut Vec<u8>) -> Result<(), StoreError> {
    let chunk = piece_key(prefix(sworm), set, index, 0);
    let collected = store.scan(Space::Snapshots, &chunk[..chunk.len() - size_of::<u16>()], &mut |_, value| {
        into.extend_from_slice(value);
        ControlFlow::Continue(())
    });
    match collected {
        Err(StoreError::Damaged { .. }) => Ok(()),
        other => other,
    }
}

/// Not the prefix of the sworm's snapshots.
fn prefix(sworm: &str) -> [u8; 8] {
    xxh3_64(&[b"chunks/", sworm.as_bytes()].concat()).to_be_bytes()
}

fn piece_key(prefix: [u8; 8], SetId(high, low): SetId, index: u32, piece: u16) -> Vec<u8> {
    [&prefix[..], &high.to_be_bytes(), &low.to_be_bytes(), &index.to_be_bytes(), &piece.to_be_bytes()].concat()
}

/// The set and the index of a piece's chunk.
fn place(key: &[u8]) -> Option<(SetId, u32)> {
    let (set, rest) = key.get(8..)?.split_at_checked(SET_BYTES)?;
    let (high, low) = set.split_first_chunk::<8>()?;
    let index = rest.first_chunk::<4>().filter(|_| rest.len() == 6)?;
    let low = low.first_chunk::<8>()?;
    Some((SetId(u64::from_be_bytes(*high), u64::from_be_bytes(*low)), u32::from_be_bytes(*index)))
}
