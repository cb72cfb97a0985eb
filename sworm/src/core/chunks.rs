//! What a large state is when it travels or is stored: its manifest, and its bytes in chunks.
//!
//! The manifest says how long the whole is, how it is cut, and the checksum of the whole and of each chunk. So a chunk can
//! be judged alone, in whatever order they come, and the whole is there when each chunk of it is.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::cell::Revision;
use super::ids::Birth;
use super::message::Snapshot;
use crate::codec::encode;

/// How large a chunk is. A state that is not larger travels, and is stored, in one piece.
pub const CHUNK_BYTES: usize = 256_000;
/// The longest state that anybody takes in.
pub const MAX_BYTES: u32 = 64 << 20;
/// So many chunks at most: what one of them costs beside its bytes is bounded too.
const MAX_CHUNKS: usize = 64 << 10;

/// A large state without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The lineage that it belongs to.
    pub birth: Birth,
    /// Its place in the worker's history.
    pub revision: Revision,
    /// Whether the worker asked for it, so that a restart in place continues from it.
    pub checkpoint: bool,
    /// The version of the stored form.
    pub version: u32,
    /// xxh3 of the whole.
    pub checksum: u64,
    /// The length of the whole.
    pub length: u32,
    /// The length of each chunk; the last one may be shorter.
    pub chunk: u32,
    /// xxh3 of each chunk.
    pub sums: Arc<[u64]>,
}

/// Tells the bytes of one state of a name from all others. Two revisions may have the same: then their chunks are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetId(pub u64, pub u64);

/// A state as it travels and is kept: a small one whole, of a large one the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shipment {
    /// All of it.
    Whole(Snapshot),
    /// Its bytes are to be had, or are kept, in chunks.
    Chunked(Arc<Manifest>),
}

impl Manifest {
    /// Cuts a state into chunks of that many bytes.
    pub fn of(snapshot: &Snapshot, chunk: usize) -> Self {
        let Snapshot { birth, revision, checkpoint, version, checksum, ref state } = *snapshot;
        let to_u32 = |bytes: usize| u32::try_from(bytes).expect("states are much shorter than 4 GiB");
        let sums = state.chunks(chunk).map(xxh3_64).collect();
        let (length, chunk) = (to_u32(state.len()), to_u32(chunk));
        Self { birth, revision, checkpoint, version, checksum, length, chunk, sums }
    }

    /// Whether its numbers fit together and are within the limits.
    pub fn is_sound(&self) -> bool {
        let count = self.sums.len();
        (1..=CHUNK_BYTES).contains(&(self.chunk as usize))
            && (1..=MAX_BYTES).contains(&self.length)
            && count <= MAX_CHUNKS
            && self.length.div_ceil(self.chunk) as usize == count
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.sums.len()).unwrap_or(u32::MAX)
    }

    /// Where a chunk's bytes stand in the whole.
    pub fn range(&self, index: u32) -> Range<usize> {
        let (length, chunk) = (self.length as usize, self.chunk as usize);
        let from = (index as usize).saturating_mul(chunk).min(length);
        from..from.saturating_add(chunk).min(length)
    }

    /// Whether these bytes are that chunk.
    pub fn fits(&self, index: u32, bytes: &[u8]) -> bool {
        self.sums
            .get(index as usize)
            .is_some_and(|sum| bytes.len() == self.range(index).len() && xxh3_64(bytes) == *sum)
    }

    /// What its chunks are called, as the state of this name.
    pub fn set(&self, name: &str) -> SetId {
        let Self { birth, checksum, length, chunk, sums, .. } = self;
        let content = encode(&(name, birth, checksum, length, chunk, sums)).expect("plain data encodes");
        let hash = xxh3_128(&content).to_be_bytes();
        let (high, low) = hash.split_at(8);
        let number = |half: &[u8]| half.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        SetId(number(high), number(low))
    }

    /// The state, of all its bytes.
    pub fn whole(&self, state: Bytes) -> Snapshot {
        let Self { birth, revision, checkpoint, version, checksum, .. } = *self;
        Snapshot { birth, revision, checkpoint, version, checksum, state }
    }
}

impl Shipment {
    /// The lineage that it belongs to.
    pub fn birth(&self) -> Birth {
        match self {
            Self::Whole(snapshot) => snapshot.birth,
            Self::Chunked(manifest) => manifest.birth,
        }
    }

    /// Its place in the worker's history.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Whole(snapshot) => snapshot.revision,
            Self::Chunked(manifest) => manifest.revision,
        }
    }

    /// Whether the worker asked for it.
    pub fn checkpoint(&self) -> bool {
        match self {
            Self::Whole(snapshot) => snapshot.checkpoint,
            Self::Chunked(manifest) => manifest.checkpoint,
        }
    }

    /// The manifest, if its bytes are elsewhere.
    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        match self {
            Self::Whole(_) => None,
            Self::Chunked(manifest) => Some(manifest),
        }
    }

    /// Whether it is what was saved, as far as it says.
    pub fn is_sound(&self) -> bool {
        match self {
            Self::Whole(snapshot) => snapshot.is_intact(),
            Self::Chunked(manifest) => manifest.is_sound(),
        }
    }

    /// The same state at another place in the worker's history.
    pub fn at(self, revision: Revision) -> Self {
        match self {
            Self::Whole(snapshot) => Self::Whole(Snapshot { revision, ..snapshot }),
            Self::Chunked(manifest) => Self::Chunked(Arc::new(Manifest { revision, ..(*manifest).clone() })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::Epoch;

    fn snapshot(bytes: usize) -> Snapshot {
        let state: Bytes = (0..bytes).map(|n| (n * 7 % 251) as u8).collect::<Vec<u8>>().into();
        let revision = Revision { epoch: Epoch { major: 3, minor: 0 }, number: 4 };
        Snapshot { birth: Birth(1, 2), revision, checkpoint: true, version: 1, checksum: xxh3_64(&state), state }
    }

    #[test]
    fn chunks_cover_the_whole_and_each_fits_its_place_alone() {
        for bytes in [1, 9, 10, 11, 30, 31] {
            let snapshot = snapshot(bytes);
            let manifest = Manifest::of(&snapshot, 10);
            assert!(manifest.is_sound());
            let mut whole = Vec::new();
            for index in 0..manifest.chunks() {
                let chunk = &snapshot.state[manifest.range(index)];
                assert!((0..manifest.chunks() + 1).all(|other| manifest.fits(other, chunk) == (other == index)));
                whole.extend_from_slice(chunk);
            }
            assert_eq!(manifest.whole(whole.into()), snapshot);
        }
    }

    #[test]
    fn a_manifest_whose_numbers_do_not_fit_together_is_not_sound() {
        let good = Manifest::of(&snapshot(31), 10);
        let long = Manifest { length: MAX_BYTES + 1, chunk: MAX_BYTES + 1, sums: [1].into(), ..good.clone() };
        let many = Manifest { length: 1 << 20, chunk: 1, sums: vec![1; 1 << 20].into(), ..good.clone() };
        let unfit = [
            Manifest { chunk: 0, ..good.clone() },
            Manifest { length: 0, ..good.clone() },
            Manifest { length: 41, ..good.clone() },
            Manifest { sums: [].into(), ..good.clone() },
            long,
            many,
        ];
        assert!(unfit.iter().all(|manifest| !manifest.is_sound()));
    }

    #[test]
    fn chunks_are_called_after_name_lineage_and_content_alone() {
        let manifest = Manifest::of(&snapshot(31), 10);
        let revision = Revision { number: 5, ..manifest.revision };
        let later = Manifest { revision, checkpoint: false, ..manifest.clone() };
        assert_eq!(manifest.set("a"), later.set("a"));
        let birth = Manifest { birth: Birth(1, 3), ..manifest.clone() };
        let others = [manifest.set("b"), birth.set("a"), Manifest::of(&snapshot(30), 10).set("a")];
        assert!(others.iter().all(|other| *other != manifest.set("a")));
    }
}
