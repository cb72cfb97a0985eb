//! A store for sworm in one file, by way of [redb](https://docs.rs/redb): a B-tree that is copied on write.
//!
//! A program links it with `use sworm_redb as _;`, and its nodes open it by name:
//!
//! ```
//! use sworm::prelude::*;
//! use sworm_redb as _;
//!
//! let node = Node::builder("a").store_plugin("redb", "data/a");
//! ```
//!
//! # What is guaranteed
//!
//! - What a sync has returned for is on the disk and survives the process and a power failure, as far as the disk keeps
//!   what it has synced. Batches that are on the disk are there whole and in order: what is read after a crash is what
//!   was there after some batch, at or behind the last sync.
//! - One thread commits. Everything written until it begins goes into one transaction, so many syncs share one flush.
//!   Reads find what waits for it in memory, and never wait for the disk's writes.
//! - What nobody syncs is committed all the same: a second after it was written, or when 4 MiB have come together.
//! - A write or commit that fails is never acknowledged, and the store does nothing afterwards
//!   ([`StoreError::Failed`]) until it is opened again.
//!
//! # Limits
//!
//! - Writes wait while more than 16 MiB (with 64 bytes for each step) wait for the disk.
//! - Each open reads the whole file and compares the checksum of each page.
//! - Free space in the file is used again, and given back to the system where it is at the file's end. While it is open the file
//!   may come to take six times the bytes of the keys and values, however often these are written again (four times is what it
//!   mostly is): redb doubles it when it is full, and copies pages before it lets go of the old ones. An open that finds more than
//!   three times as much, and more than 2 MiB, packs it, which leaves two to three times as much (values of some ten bytes take
//!   more), and takes as long as to write all of it again.
//!
//! # Errors
//!
//! [`StoreError::Locked`] while another store, of whichever kind that comes with sworm, has the directory open ·
//! [`StoreError::NotADirectory`] and [`StoreError::NotWritable`] for a path that does not do · [`StoreError::Io`] for
//! what else the system refuses, and for a file of another version of redb, which is left as it is ·
//! [`StoreError::Damaged`] for a page that cannot be read back while the store is open. A file that is found damaged by
//! an open is moved to `damaged-<unix time in ms>.redb`, which is logged as an error, and an empty store begins; see
//! [`RedbStore::was_set_aside`]. Nothing that was set aside is ever deleted.
//!
//! # Compared with the default, sled
//!
//! - One file, in a format that redb calls stable, instead of a log with snapshots.
//! - A commit writes each page on the way to what has changed, of 4 KiB or more, where sled appends what has changed: more
//!   bytes are written for a small batch, and none later in the background.
//! - Damage is found by checksums of pages and costs the whole file; sled may save a part of its log. An older copy of
//!   the file that somebody has put in its place is not noticed by the store (sled's keeps a count of syncs for that);
//!   the node notices that its last start is missing, and says so.
//! - A disk that hangs is not noticed: syncs, [`close`](Store::close) and the drop wait as long as it does. sled's store
//!   fails after a minute.
//! - A directory stays with its kind of store, and nothing is carried over: a node refuses one with another kind. (A store that is
//!   opened without a node finds nothing there, and begins empty.)

mod directory;
mod file;
mod shared;
mod writer;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};
use sworm::store::{Batch, Space, Store, StoreError, StoreFactory, Ticket};

use crate::directory::Directory;
use crate::file::{Fault, Opened, guarded};
use crate::shared::{Found, Shared};
use crate::writer::Writer;

/// Opens [`RedbStore`]s.
struct Redb;

impl StoreFactory for Redb {
    fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(RedbStore::open(directory)?))
    }
}

sworm::plugin!(dyn StoreFactory, "redb", Redb);

/// A store in the file `sworm.redb` of a directory.
///
/// The directory is locked as long as the store is open. To drop the store syncs what was written and gives the lock
/// back before it returns; [`close`](Store::close) does the same without blocking the thread.
///
/// ```
/// use sworm::store::{Batch, Space, Store};
/// use sworm_redb::RedbStore;
///
/// # fn main() -> Result<(), sworm::store::StoreError> {
/// # let dir = std::env::temp_dir().join(format!("sworm-redb-{}", std::process::id()));
/// let store = RedbStore::open(&dir)?;
/// let mut batch = Batch::new();
/// batch.put(Space::Meta, "incarnation", "7");
/// store.write(batch)?;
/// drop(store); // syncs
///
/// let store = RedbStore::open(&dir)?;
/// assert_eq!(store.get(Space::Meta, b"incarnation")?.as_deref(), Some(&b"7"[..]));
/// # drop(store);
/// # let _ = std::fs::remove_dir_all(&dir);
/// # Ok(())
/// # }
/// ```
pub struct RedbStore {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    aside: Option<PathBuf>,
    writer: Option<JoinHandle<()>>,
}

impl RedbStore {
    /// Opens the store in this directory, which is created if it is not there.
    pub fn open(path: impl AsRef<Path>) -> Result<RedbStore, StoreError> {
        Self::open_with(path.as_ref(), FileBackend::new)
    }

    /// Where the damaged file is that was found by this open, if it was. Then this store began empty.
    pub fn was_set_aside(&self) -> Option<PathBuf> {
        self.aside.clone()
    }

    /// `backend` is what redb reads and writes: tests let it fail.
    fn open_with<B: StorageBackend>(
        path: &Path,
        backend: impl Fn(File) -> Result<B, DatabaseError>,
    ) -> Result<Self, StoreError> {
        let directory = Arc::new(Directory::open(path)?);
        let Opened { db, aside } = file::open(&directory, &backend)?;
        let db = Arc::new(db);
        let shared = Arc::new(Shared::new(db.clone()));
        let writer = Writer { shared: shared.clone(), directory: directory.clone() };
        let thread = Builder::new().name("sworm-redb".into()).spawn(move || writer.run(db));
        let thread = thread.map_err(|error| directory::refused(path, error))?;
        Ok(Self { shared, directory, aside, writer: Some(thread) })
    }

    /// What a fault means for the one who reads.
    fn unreadable(&self, fault: Fault) -> StoreError {
        match fault {
            Fault::Damage(why) => {
                tracing::error!(path = %self.directory.path().display(), why, "the store is damaged");
                StoreError::Damaged { path: self.directory.path().to_owned(), why }
            }
            Fault::Closed => StoreError::Closed,
            other => StoreError::Io(other.text().to_owned()),
        }
    }
}

impl Store for RedbStore {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        batch.check()?;
        self.shared.write(&batch)
    }

    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.sync(upto))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let key = space.key(key);
        let read = |db: &_| guarded(|| Ok(file::table(db)?));
        match self.shared.find(&key, read)? {
            Found::Queued(value) => Ok(value),
            Found::OnDisk(table) => table
                .and_then(|table| {
                    guarded(|| Ok(table.get(key.as_slice())?.map(|value| Bytes::copy_from_slice(value.value()))))
                })
                .map_err(|fault| self.unreadable(fault)),
        }
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let prefix = space.key(prefix);
        let (queued, items) = self.shared.view(&prefix, |db| {
            let table = guarded(|| Ok(file::table(db)?))?;
            guarded(|| Ok(table.range::<&[u8]>(prefix.as_slice()..)?))
        })?;
        let mut items = items.map_err(|fault| self.unreadable(fault))?;
        // Only redb's part is guarded: a panic of `each` is the caller's.
        let mut next = || {
            let item = guarded(|| Ok(items.next().transpose()?)).map_err(|fault| self.unreadable(fault))?;
            Ok(item.filter(|(key, _)| key.value().starts_with(&prefix)))
        };
        let mut on_disk = next()?;
        for (key, value) in queued {
            while let Some((stored, value)) = on_disk.take_if(|(stored, _)| stored.value() < key.as_slice()) {
                if each(&stored.value()[1..], value.value()).is_break() {
                    return Ok(());
                }
                on_disk = next()?;
            }
            if on_disk.take_if(|(stored, _)| stored.value() == key).is_some() {
                on_disk = next()?;
            }
            if value.is_some_and(|value| each(&key[1..], &value).is_break()) {
                return Ok(());
            }
        }
        while let Some((stored, value)) = on_disk {
            if each(&stored.value()[1..], value.value()).is_break() {
                return Ok(());
            }
            on_disk = next()?;
        }
        Ok(())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.close())
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        drop(self.shared.close());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(path = %self.directory.path().display(), "the store's thread panicked");
        }
    }
}

impl std::fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
