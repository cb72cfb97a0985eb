//! Holds values that are larger than a store's values, cut into chunks.
//!
//! Chunk `i` of a blob stands under its key ‖ `be16(i)`. The first begins with a header: a mark, the number of chunks,
//! the length and a checksum of the whole. So a reader knows from the first chunk what it must find, and a chunk that
//! is lost, cut, swapped or left over from another version is noticed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::{Batch, Space, Store, StoreError};

/// The longest blob, in bytes.
pub const MAX_BLOB_BYTES: usize = 64 << 20;

/// With the key they stay well below a page of the disk, and below the limit of a value.
const CHUNK_BYTES: usize = 4000;
/// Tells a header from a value that somebody put under the key by mistake.
const MARK: u8 = 0xb1;
/// The mark, `be16` chunks, `be32` length, `be64` checksum.
const HEADER_BYTES: usize = 15;
/// The index behind the key.
const INDEX_BYTES: usize = 2;

/// What is found under the key of a blob.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blob {
    /// All of it, as it was put.
    Whole(Bytes),
    /// Something of it is lost or changed. Nothing of it can be used; take it from the peers.
    Damaged,
}

impl Blob {
    /// How many chunks it has, unless it is damaged.
    pub fn chunks(&self) -> Option<u16> {
        match self {
            Blob::Whole(bytes) => Some(chunks_of(bytes.len())),
            Blob::Damaged => None,
        }
    }

    /// The content, unless it is damaged.
    pub fn whole(self) -> Option<Bytes> {
        match self {
            Blob::Whole(bytes) => Some(bytes),
            Blob::Damaged => None,
        }
    }
}

/// Adds the puts of a blob to a batch, and returns the number of its chunks.
///
/// `former` is the number of chunks that the blob under this key has so far, as an earlier call or [`blob_chunks`] said
/// (0: there is none): what the new one does not cover is deleted. On an error the batch is as it was.
pub fn put_blob(batch: &mut Batch, space: Space, key: &[u8], bytes: &[u8], former: u16) -> Result<u16, StoreError> {
    if bytes.len() > MAX_BLOB_BYTES {
        return Err(StoreError::TooLarge { bytes: bytes.len(), limit: MAX_BLOB_BYTES });
    }
    let (head, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - HEADER_BYTES));
    let chunks = chunks_of(bytes.len());
    let length = u32::try_from(bytes.len()).expect("the longest blob has 64 MiB");

    let mut first = Vec::with_capacity(HEADER_BYTES + head.len());
    first.push(MARK);
    first.extend_from_slice(&chunks.to_be_bytes());
    first.extend_from_slice(&length.to_be_bytes());
    first.extend_from_slice(&xxh3_64(bytes).to_be_bytes());
    first.extend_from_slice(head);
    batch.put(space, chunk_key(key, 0), first);
    for (index, chunk) in (1..).zip(rest.chunks(CHUNK_BYTES)) {
        batch.put(space, chunk_key(key, index), Bytes::copy_from_slice(chunk));
    }
    for index in chunks..former {
        batch.delete(space, chunk_key(key, index));
    }
    Ok(chunks)
}

/// How many chunks a blob of that many bytes has.
pub fn chunks_of(bytes: usize) -> u16 {
    let rest = bytes.saturating_sub(CHUNK_BYTES - HEADER_BYTES);
    u16::try_from(1 + rest.div_ceil(CHUNK_BYTES)).expect("the longest blob has 16,778 chunks")
}

/// Adds the deletes of a blob to a batch. `chunks` is its number of chunks.
pub fn delete_blob(batch: &mut Batch, space: Space, key: &[u8], chunks: u16) {
    for index in 0..chunks {
        batch.delete(space, chunk_key(key, index));
    }
}

/// How many chunks stand under this key: as many as its header says, or, where that is lost, up to the last one found.
/// 0: there is no blob.
pub fn blob_chunks(store: &dyn Store, space: Space, key: &[u8]) -> Result<u16, StoreError> {
    if let Some(started) = store.get(space, &chunk_key(key, 0))?.and_then(|first| Assembly::start(&first)) {
        return Ok(started.chunks);
    }
    let mut chunks = 0;
    store.scan(space, key, &mut |found, _| {
        if let Some((_, index)) = split(found).filter(|(of, _)| *of == key) {
            chunks = index.saturating_add(1);
        }
        ControlFlow::Continue(())
    })?;
    Ok(chunks)
}

/// Reads a blob. `None`: there is none.
pub fn get_blob(store: &dyn Store, space: Space, key: &[u8]) -> Result<Option<Blob>, StoreError> {
    let mut first = get_chunk(store, space, key, 0)?;
    loop {
        let Some(head) = first else { return Ok(None) };
        let blob = read_rest(store, space, key, &head)?;
        if matches!(blob, Blob::Whole(_)) {
            return Ok(Some(blob));
        }
        // Another batch may have replaced it between two chunks; then its header is another one too.
        first = get_chunk(store, space, key, 0)?;
        if first.as_ref() == Some(&head) {
            tracing::warn!(?space, key = %key.escape_ascii(), "a blob is damaged");
            return Ok(Some(Blob::Damaged));
        }
    }
}

/// Visits the blobs whose keys start with `prefix`, in the order of their keys, until `each` breaks; the damaged ones
/// come last. Everything under the prefix must be blobs. `each` may use the store.
pub fn scan_blobs(
    store: &dyn Store,
    space: Space,
    prefix: &[u8],
    each: &mut dyn FnMut(&[u8], Blob) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    let mut open: Option<(Vec<u8>, Assembly)> = None;
    let mut unclear = BTreeSet::new();
    let mut last = Vec::new();
    let mut end = ControlFlow::Continue(());
    store.scan(space, prefix, &mut |found, value| {
        let Some((key, index)) = split(found) else { return ControlFlow::Continue(()) };
        if let Some((former, _)) = open.take_if(|(former, _)| index == 0 || former != key) {
            unclear.insert(former);
        }
        let grown = match open.take() {
            Some((_, assembly)) => assembly.push(index, value),
            None if index == 0 => Assembly::start(value),
            None => None,
        };
        match grown {
            Some(assembly) if !assembly.is_full() => open = Some((key.to_vec(), assembly)),
            Some(assembly) => match assembly.finish() {
                Blob::Damaged => drop(unclear.insert(key.to_vec())),
                whole => {
                    end = each(key, whole);
                    last = key.to_vec();
                }
            },
            // What stands behind a whole blob is left over from a longer one.
            None if index > 0 && last == key => {}
            None => drop(unclear.insert(key.to_vec())),
        }
        end
    })?;
    unclear.extend(open.map(|(key, _)| key));
    // Not in one piece within the scan: damaged, written meanwhile, or with another blob's keys in between.
    for key in unclear {
        if end.is_break() {
            break;
        }
        match get_blob(store, space, &key)? {
            Some(blob) => end = each(&key, blob),
            None if blob_chunks(store, space, &key)? > 0 => end = each(&key, Blob::Damaged),
            None => {}
        }
    }
    Ok(())
}

/// A blob that is put together from its chunks, in order.
#[derive(Debug)]
pub(super) struct Assembly {
    chunks: u16,
    length: usize,
    checksum: u64,
    next: u16,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Begins with the first chunk; `None` when it has no header that makes sense.
    pub(super) fn start(first: &[u8]) -> Option<Self> {
        let (header, head) = first.split_first_chunk::<HEADER_BYTES>()?;
        let [mark, c0, c1, l0, l1, l2, l3, checksum @ ..] = *header;
        let chunks = u16::from_be_bytes([c0, c1]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        // The number of chunks bounds what is allocated by what was really found, later on.
        let fits = length <= MAX_BLOB_BYTES
            && head.len() == length.min(CHUNK_BYTES - HEADER_BYTES)
            && usize::from(chunks) == 1 + (length - head.len()).div_ceil(CHUNK_BYTES);
        let checksum = u64::from_be_bytes(checksum);
        (mark == MARK && fits).then(|| Self { chunks, length, checksum, next: 1, bytes: head.to_vec() })
    }

    /// Adds the next chunk; `None` when it is not the next one.
    pub(super) fn push(mut self, index: u16, chunk: &[u8]) -> Option<Self> {
        let expected = (self.length - self.bytes.len()).min(CHUNK_BYTES);
        if index != self.next || chunk.len() != expected || self.is_full() {
            return None;
        }
        self.next += 1;
        self.bytes.extend_from_slice(chunk);
        Some(self)
    }

    /// Whether all chunks are there.
    pub(super) fn is_full(&self) -> bool {
        self.next == self.chunks
    }

    /// How many chunks there are in all.
    pub(super) fn chunks(&self) -> u16 {
        self.chunks
    }

    /// Compares what was put together with its header.
    pub(super) fn finish(self) -> Blob {
        let whole = self.is_full() && self.bytes.len() == self.length && xxh3_64(&self.bytes) == self.checksum;
        if whole { Blob::Whole(self.bytes.into()) } else { Blob::Damaged }
    }
}

/// The key of a chunk.
pub(super) fn chunk_key(key: &[u8], index: u16) -> Vec<u8> {
    [key, &index.to_be_bytes()].concat()
}

/// The blob and the index that a chunk's key stands for.
pub(super) fn split(chunk_key: &[u8]) -> Option<(&[u8], u16)> {
    let (key, index) = chunk_key.split_last_chunk::<INDEX_BYTES>()?;
    Some((key, u16::from_be_bytes(*index)))
}

fn read_rest(store: &dyn Store, space: Space, key: &[u8], first: &[u8]) -> Result<Blob, StoreError> {
    let Some(mut assembly) = Assembly::start(first) else { return Ok(Blob::Damaged) };
    while !assembly.is_full() {
        let index = assembly.next;
        match get_chunk(store, space, key, index)?.and_then(|chunk| assembly.push(index, &chunk)) {
            Some(grown) => assembly = grown,
            None => return Ok(Blob::Damaged),
        }
    }
    Ok(assembly.finish())
}

/// A chunk that the store itself finds damaged is as good as one with other bytes in it: the blob is damaged.
fn get_chunk(store: &dyn Store, space: Space, key: &[u8], index: u16) -> Result<Option<Bytes>, StoreError> {
    match store.get(space, &chunk_key(key, index)) {
        Err(StoreError::Damaged { .. }) => Ok(Some(Bytes::new())),
        answer => answer,
    }
}

#[cfg(test)]
mod tests;
