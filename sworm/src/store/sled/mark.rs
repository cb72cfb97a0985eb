//! Counts the syncs, in sled's tree and in a file beside it, so that the loss of synced writes is noticed: to sled the lost
//! end of its file looks like a write that was never finished.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use ::sled::Tree;
use xxhash_rust::xxh3::xxh3_64;

use super::directory::Directory;
use super::engine::{Fault, guarded};

/// No space's byte.
const KEY: &[u8] = b"\0mark";

/// The number of the last sync.
pub(super) struct Mark {
    file: File,
    number: u64,
    /// Whether the tree is behind the file.
    lost: bool,
}

impl Mark {
    /// Compares the tree with the file, which is created if it is not there.
    pub(super) fn open(directory: &Directory, tree: &Tree) -> io::Result<Self> {
        let in_tree = guarded(|| tree.get(KEY)).ok().flatten();
        let in_tree = in_tree.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))).unwrap_or(0);
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(directory.synced())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let in_file = decode(&bytes);
        if in_file.is_none() && !bytes.is_empty() {
            tracing::error!(path = %directory.synced().display(), "the count of syncs is damaged; it begins anew");
        }
        let in_file = in_file.unwrap_or(0);
        Ok(Self { file, number: in_tree.max(in_file), lost: in_tree < in_file })
    }

    /// Whether the tree has lost what was synced.
    pub(super) fn lost(&self) -> bool {
        self.lost
    }

    /// Counts one more in the tree; the sync that follows makes it durable.
    pub(super) fn begin(&mut self, tree: &Tree) -> Result<(), Fault> {
        self.number += 1;
        guarded(|| tree.insert(KEY, &self.number.to_be_bytes())).map(drop)
    }

    /// Notes that the sync has succeeded. The file need not be synced: when it is older than it could be, it claims less.
    pub(super) fn done(&mut self) {
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&encode(self.number)));
        if let Err(error) = written {
            tracing::warn!(%error, "the count of syncs cannot be written; a loss of what was synced may go unnoticed");
        }
    }
}

fn encode(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    let (value, checksum) = bytes.split_at_mut(8);
    value.copy_from_slice(&number.to_be_bytes());
    checksum.copy_from_slice(&xxh3_64(&number.to_be_bytes()).to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_be_bytes(*bytes.first_chunk()?);
    (bytes == encode(number)).then_some(number)
}
