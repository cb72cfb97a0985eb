//! Holds everything in a directory on the disk, by way of sled.
//!
//! One thread applies all batches, in order, and syncs once for everybody who waits at that moment. sled's own flush
//! does not survive a power failure on Linux, so each sync is that flush and a sync of sled's file. The same thread keeps
//! that file small.

mod cleaning;
mod directory;
mod engine;
mod mark;
mod shared;
mod tally;
mod writer;

use std::fs::File;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use ::sled::Tree;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use self::cleaning::Cleaning;
use self::directory::Directory;
use self::engine::{Fault, Opened, guarded};
use self::mark::Mark;
use self::shared::Shared;
use self::writer::{SyncStep, Writer};
use super::{Batch, Space, Store, StoreError, StoreFactory, Ticket};

/// How long one step of the writer, as a rule some milliseconds, may take before the store counts as failed.
const STALL: Duration = Duration::from_secs(60);

/// Opens [`SledStore`]s.
struct Sled;

impl StoreFactory for Sled {
    fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(SledStore::open(directory)?))
    }
}

crate::plugin!(dyn StoreFactory, "sled", Sled);

/// A store in a directory of its own.
///
/// The directory is locked as long as the store is open. To drop the store syncs what was written and gives the lock
/// back before it returns; [`close`](Store::close) does the same without blocking the thread.
///
/// Files that turn out to be damaged when they are opened are moved to `damaged-<unix time in ms>` within the directory,
/// which is logged as an error, and an empty store begins; see [`was_set_aside`](Self::was_set_aside). When a part of
/// sled's file is lost, it may instead recover an earlier state, or all but some items. That is logged as an error too,
/// and what there is stays of use, since the peers' newer statements and states win; see
/// [`has_lost_writes`](Store::has_lost_writes). Nothing that was set aside is ever deleted.
///
/// The files come to take at most three times the bytes of the keys and values, however often these are written again, and
/// up to 2 MiB more while there are writes or where there are less than about 2 MB. Values of some ten bytes take more: each
/// costs more than itself. Where most of what was stored has been deleted, the file may stay as it was.
///
/// Panics of sled's are caught, which takes a program that is built to unwind (`panic = "abort"` is not).
///
/// ```
/// use sworm::store::{Batch, SledStore, Space, Store};
///
/// # fn main() -> Result<(), sworm::store::StoreError> {
/// # let dir = std::env::temp_dir().join(format!("sworm-store-{}", std::process::id()));
/// let store = SledStore::open(&dir)?;
/// let mut batch = Batch::new();
/// batch.put(Space::Meta, "incarnation", "7");
/// store.write(batch)?;
/// drop(store); // syncs
///
/// let store = SledStore::open(&dir)?;
/// assert_eq!(store.get(Space::Meta, b"incarnation")?.as_deref(), Some(&b"7"[..]));
/// # drop(store);
/// # let _ = std::fs::remove_dir_all(&dir);
/// # Ok(())
/// # }
/// ```
pub struct SledStore {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    aside: Option<PathBuf>,
    lost: bool,
    writer: Option<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
    stall: Duration,
}

impl SledStore {
    /// Opens the store in this directory, which is created if it is not there.
    pub fn open(path: impl AsRef<Path>) -> Result<SledStore, StoreError> {
        Self::open_with(path.as_ref(), STALL, |db| {
            Box::new(move |tree| {
                tree.flush().map_err(|e| e.to_string())?;
                db.sync_data().map_err(|e| e.to_string())
            })
        })
    }

    /// Where the damaged files are that were found by this open, if there were any. Then this store began empty.
    pub fn was_set_aside(&self) -> Option<PathBuf> {
        self.aside.clone()
    }

    /// `to_disk` makes the sync step of sled's file: tests let it fail.
    fn open_with(path: &Path, stall: Duration, to_disk: impl FnOnce(File) -> SyncStep) -> Result<Self, StoreError> {
        let directory = Arc::new(Directory::open(path)?);
        let Opened { db, tally, aside } = engine::open(&directory)?;
        let refused = |e| directory::refused(path, e);
        let to_disk = to_disk(File::open(directory.db()).map_err(refused)?);
        let mark = Mark::open(&directory, &db).map_err(refused)?;
        let cleaning = Cleaning::open(&directory).map_err(refused)?;
        let lost = (mark.lost() || tally.was_wrong()) && aside.is_none();
        if lost {
            tracing::error!(
                path = %directory.path().display(),
                "the store has lost something that was written; what it has may be older, and the rest is left to the peers"
            );
        }
        let shared = Shared::new(db.clone());
        // From here on a drop ends what has been started.
        let mut store = Self {
            shared: shared.clone(),
            directory: directory.clone(),
            aside,
            lost,
            writer: None,
            watchdog: None,
            stall,
        };
        let writer = Writer { shared: shared.clone(), directory, to_disk, mark, tally, cleaning, unsynced_bytes: 0 };
        let thread = Builder::new().name("sworm-store".into()).spawn(move || writer.run(db));
        store.writer = Some(thread.map_err(refused)?);
        let thread = Builder::new().name("sworm-store-dog".into()).spawn(move || shared.watch(stall));
        store.watchdog = Some(thread.map_err(refused)?);
        Ok(store)
    }

    /// Says so when what was read is damaged; the next open sets the files aside.
    fn read<T>(&self, read: impl FnOnce() -> ::sled::Result<T>) -> Result<T, StoreError> {
        guarded(read).map_err(|fault| match fault {
            Fault::Damage(why) => {
                tracing::error!(path = %self.directory.path().display(), why, "the store is damaged");
                StoreError::Damaged { path: self.directory.path().to_owned(), why }
            }
            Fault::System(_, why) => StoreError::Io(why),
        })
    }
}

impl Store for SledStore {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        batch.check()?;
        self.shared.write(batch)
    }

    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.sync(upto))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let tree = self.shared.reader()?;
        let value = self.read(|| tree.get(space.key(key)))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let tree: Tree = self.shared.reader()?;
        let mut items = tree.scan_prefix(space.key(prefix));
        // Only sled's part is guarded: a panic of `each` is the caller's.
        while let Some((key, value)) = self.read(|| items.next().transpose())? {
            if each(&key[1..], &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Whether this open found less than what was synced last: the newest writes are lost, or some of the older ones.
    fn has_lost_writes(&self) -> bool {
        self.lost
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.shared.close())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        drop(self.shared.close());
        let Some(writer) = self.writer.take() else { return };
        if !self.shared.wait_for_end(self.stall) {
            tracing::error!(path = %self.directory.path().display(), "the disk does not answer; the store stays locked");
            return;
        }
        let watchdog = self.watchdog.take().inspect(|watchdog| watchdog.thread().unpark());
        for thread in [Some(writer), watchdog].into_iter().flatten() {
            if thread.join().is_err() {
                tracing::error!(path = %self.directory.path().display(), "a thread of the store panicked");
            }
        }
    }
}

impl std::fmt::Debug for SledStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledStore").field("path", &self.directory.path()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
