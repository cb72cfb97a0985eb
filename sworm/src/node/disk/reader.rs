//! Reads a large state from the disk bit by bit, with one chunk of it in memory.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bytes::{Buf, Bytes};

use super::chunks;
use crate::core::chunks::{Manifest, SetId};
use crate::store::Store;

/// Gives the bytes of a state whose chunks are kept. Blocks on the disk.
pub(crate) struct ChunkReader {
    store: Arc<dyn Store>,
    sworm: Arc<str>,
    manifest: Arc<Manifest>,
    set: SetId,
    next: u32,
    /// Counts the chunks that were read, for whoever looks that it gets on.
    reads: Arc<AtomicU32>,
    /// What was read of the last chunk and not given yet.
    chunk: Bytes,
}

impl ChunkReader {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        sworm: Arc<str>,
        name: &str,
        manifest: Arc<Manifest>,
        reads: Arc<AtomicU32>,
    ) -> Self {
        let set = manifest.set(name);
        Self { store, sworm, manifest, set, next: 0, reads, chunk: Bytes::new() }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() && self.next < self.manifest.chunks() {
            let read = chunks::read(&*self.store, &self.sworm, self.set, &self.manifest, self.next);
            self.chunk = read.map_err(io::Error::other)?.ok_or(io::ErrorKind::InvalidData)?;
            self.next += 1;
            self.reads.fetch_add(1, Relaxed);
        }
        let bytes = self.chunk.len().min(to.len());
        self.chunk.copy_to_slice(&mut to[..bytes]);
        Ok(bytes)
    }
}
