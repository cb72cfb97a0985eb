//! Holds what a node remembers: the [`Store`] contract, its batches, and the two stores that come with the library.
//!
//! A store keeps small values under keys, in three [`Space`]s. Everything larger than a value is built on top of it:
//! [`put_blob`] cuts a large value into chunks, [`FrameLog`] keeps a list that grows and is compacted.
//!
//! ```
//! use sworm::store::{Batch, MemoryStore, Space, Store};
//!
//! # async fn example() -> Result<(), sworm::store::StoreError> {
//! let store = MemoryStore::new();
//! let mut batch = Batch::new();
//! batch.put(Space::Meta, "incarnation", "7");
//! let ticket = store.write(batch)?;
//! store.sync(ticket).await?; // only from here on may anybody be told
//! assert_eq!(store.get(Space::Meta, b"incarnation")?.as_deref(), Some(&b"7"[..]));
//! # Ok(())
//! # }
//! ```

mod blob;
mod frames;
mod laws;
mod memory;
mod sled;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::blob::{Blob, MAX_BLOB_BYTES, blob_chunks, chunks_of, delete_blob, get_blob, put_blob, scan_blobs};
pub use self::frames::{FrameLog, LoadedLog};
pub use self::laws::{crash_store_laws, durable_store_laws, store_laws};
pub use self::memory::MemoryStore;
pub use self::sled::SledStore;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 1024;
/// The longest value, in bytes. Larger ones might leave the part of the disk that a sync covers; see [`put_blob`].
pub const MAX_VALUE_BYTES: usize = 4096;
/// The largest batch, in bytes of keys and values.
pub const MAX_BATCH_BYTES: usize = 256 << 20;

/// A place that keeps values under keys.
///
/// What every implementation owes is written down as tests: [`store_laws`], and [`durable_store_laws`] and
/// [`crash_store_laws`] for one that outlives its process. All calls may come from many threads at once. Apart from [`sync`](Store::sync) and
/// [`close`](Store::close) they are synchronous and may wait for earlier writes to be applied, but not for a disk.
pub trait Store: Send + Sync + 'static {
    /// Takes a batch: all of it or nothing, in the order of the calls. It may return before the batch is applied, but
    /// every [`get`](Store::get) and [`scan`](Store::scan) after it sees the batch. It may wait while too much is
    /// queued. Nothing is promised about a crash until [`sync`](Store::sync) has returned for this ticket.
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError>;

    /// Returns once everything up to this ticket is on the disk. Many waiters share one flush. The work is asked for
    /// at the call; to drop the future forgets the answer only.
    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Visits the keys that start with `prefix`, in the order of their bytes, until `each` breaks. Batches that are
    /// written during the scan may be seen, wholly, in part or not at all. `each` may use the store.
    #[expect(clippy::type_complexity, reason = "written out, it reads better than a name for it")]
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError>;

    /// Whether no node will ever open it again: what is read only at a start need not be kept then.
    fn is_volatile(&self) -> bool {
        false
    }

    /// Whether something that was synced before is not there any more. What a store of this kind has of workers' states does not
    /// count as the newest: others who have it are asked and waited for. A store that cannot tell may keep this default.
    fn has_lost_writes(&self) -> bool {
        false
    }

    /// Syncs everything and lets go of the place, so that it can be opened again. Everything after it is
    /// [`StoreError::Closed`]; to close twice is fine. To drop a store does the same, synchronously. A store that has nothing to
    /// let go of may keep this default, which does nothing: it goes on.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Opens stores of one kind, for [`NodeBuilder::store_plugin`](crate::NodeBuilder::store_plugin). A crate registers one under a name:
///
/// ```
/// use std::path::Path;
/// use std::sync::Arc;
/// use sworm::store::{SledStore, Store, StoreError, StoreFactory};
///
/// /// One that could do more than this.
/// struct Mine;
///
/// impl StoreFactory for Mine {
///     fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
///         Ok(Arc::new(SledStore::open(directory)?))
///     }
/// }
///
/// sworm::plugin!(dyn StoreFactory, "mine", Mine);
/// # fn main() {}
/// ```
pub trait StoreFactory: Send + Sync + 'static {
    /// Opens the store in this directory, which is created if it is not there. A file `identity` in it is the node's. One
    /// directory must not be open twice at a time: that is [`StoreError::Locked`].
    fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError>;
}

/// The parts of a store. Keys of two spaces never meet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Space {
    /// What the node knows about itself and its peers.
    Meta = b'm',
    /// The lanes of the directory.
    Lanes = b'l',
    /// Snapshots of workers' states.
    Snapshots = b's',
}

impl Space {
    /// The byte that stands before the keys of this space, for stores that keep all spaces in one tree.
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// A key as it stands in a tree that holds all spaces.
    pub fn key(self, key: &[u8]) -> Vec<u8> {
        let mut whole = Vec::with_capacity(1 + key.len());
        whole.push(self.byte());
        whole.extend_from_slice(key);
        whole
    }
}

/// The place of a batch in the order of all writes to one store since it was opened. It rises with every write;
/// `Ticket(0)` is before the first one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Ticket(pub u64);

/// One step of a [`Batch`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Op {
    /// The space of the key.
    pub space: Space,
    /// The key.
    pub key: Bytes,
    /// The new value; `None` deletes.
    pub value: Option<Bytes>,
}

/// Puts and deletes that happen together. For a key that occurs twice, the later one counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
    bytes: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key to a value.
    pub fn put(&mut self, space: Space, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> &mut Self {
        self.push(space, key.as_ref(), Some(value.into()))
    }

    /// Deletes a key, if it is there.
    pub fn delete(&mut self, space: Space, key: impl AsRef<[u8]>) -> &mut Self {
        self.push(space, key.as_ref(), None)
    }

    /// Puts another batch behind this one.
    pub fn append(&mut self, other: Batch) -> &mut Self {
        self.bytes += other.bytes;
        self.ops.extend(other.ops);
        self
    }

    /// The steps, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// The bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Refuses a batch that breaks a limit. Every store calls this before it touches anything.
    pub fn check(&self) -> Result<(), StoreError> {
        let within = |bytes, limit| if bytes > limit { Err(StoreError::TooLarge { bytes, limit }) } else { Ok(()) };
        within(self.bytes, MAX_BATCH_BYTES)?;
        self.ops.iter().try_for_each(|op| {
            within(op.key.len(), MAX_KEY_BYTES)?;
            within(op.value.as_ref().map_or(0, Bytes::len), MAX_VALUE_BYTES)
        })
    }

    fn push(&mut self, space: Space, key: &[u8], value: Option<Bytes>) -> &mut Self {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.ops.push(Op { space, key: Bytes::copy_from_slice(key), value });
        self
    }
}

/// Why a store could not be opened, or did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another store, in this process or another, has the directory open. Nothing was changed. Give each node its own
    /// directory, or wait until the other one has ended.
    #[error("{} is in use by another node", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The path, or a part of it, is not a directory. Nothing was changed. Choose another path.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// What is in the way.
        path: PathBuf,
    },
    /// The directory cannot be created or written to: no permission, a read-only or a full disk. Nothing that was
    /// there was changed. Repair that, or choose another path.
    #[error("{} cannot be written to: {why}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What is on the disk cannot be read back. Nothing was changed. Treat what was asked for as lost and take it from
    /// the peers. The next time the directory is opened all of it is checked and, if need be, set aside.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A key, a value, a blob or a batch is over its limit. Nothing was written. Large values go through [`put_blob`].
    #[error("{bytes} bytes, where at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The system refused something else, with its words. Nothing was changed. Try again, or open the store anew.
    #[error("the store met an error of the system: {0}")]
    Io(String),
    /// The store is closed. Nothing was changed. Open it again.
    #[error("the store is closed")]
    Closed,
    /// A write or a sync failed, this one or an earlier one. What was not synced before may or may not be on the disk;
    /// nothing is acknowledged any more, and the store does nothing else. Stop what relies on it and open it again.
    #[error("the store failed earlier and must be opened again: {0}")]
    Failed(String),
}
