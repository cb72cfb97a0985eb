//! Batches of which everybody knows what is in them, for tests of what a store has kept.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

use clap::ValueEnum;
use sworm::store::{Batch, SledStore, Space, Store, StoreError};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The default.
    Sled,
    /// That of the plugin.
    #[cfg(feature = "processes")]
    Redb,
}

impl Kind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            #[cfg(feature = "processes")]
            Self::Redb => "redb",
        }
    }

    /// Opens one in a directory.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(self, directory: &Path) -> Result<Box<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sled => Box::new(SledStore::open(directory)?),
            #[cfg(feature = "processes")]
            Self::Redb => Box::new(sworm_redb::RedbStore::open(directory)?),
        })
    }
}

/// What a store holds.
pub type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// One change: a key, and its value unless it is removed.
type Change = (Vec<u8>, Option<Vec<u8>>);

/// What is in a batch.
fn changes(seed: u64, number: u64) -> Vec<Change> {
    let mut rng = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let count = rng.usize(1..12);
    let mut change = || {
        let key = format!("key-{}", rng.u32(0..400)).into_bytes();
        let value = (rng.u32(0..5) > 0).then(|| {
            let mut value = [seed.to_be_bytes(), number.to_be_bytes()].concat();
            value.resize(rng.usize(16..3_000), rng.u8(..));
            value
        });
        (key, value)
    };
    (0..count).map(|_| change()).collect()
}

/// The batch of that number.
pub fn batch(seed: u64, number: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in changes(seed, number) {
        match value {
            Some(value) => batch.put(Space::Snapshots, key, value),
            None => batch.delete(Space::Snapshots, key),
        };
    }
    batch
}

/// Does to a content what the batch of that number does to a store.
pub fn apply(content: &mut Content, seed: u64, number: u64) {
    for (key, value) in changes(seed, number) {
        match value {
            Some(value) => content.insert(key, value),
            None => content.remove(&key),
        };
    }
}

/// What a store holds now.
pub fn content_of(store: &dyn Store) -> Result<Content, StoreError> {
    let mut content = Content::new();
    store.scan(Space::Snapshots, b"", &mut |key, value| {
        content.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(content)
}
