//! Sums up all items of sled's tree, in the tree itself: a page that is lost between two that are well is not missed by
//! sled.

use std::collections::BTreeMap;

use ::sled::{Db, Tree};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::engine::{Fault, guarded};
use crate::store::Batch;

/// No space's byte.
const KEY: &[u8] = b"\0tally";

/// The sum of what is in the tree, kept up by each batch.
pub(super) struct Tally {
    sum: u64,
    /// The bytes of all keys and values.
    live: u64,
    /// Whether the tree held something else than what it says it holds.
    wrong: bool,
}

impl Tally {
    /// Reads every item, which is also how damage shows: sled notices it only when it reads a page.
    pub(super) fn open(db: &Db) -> Result<Self, Fault> {
        let mut items = db.iter();
        let (mut sum, mut live) = (0, 0);
        while let Some((key, value)) = guarded(|| items.next().transpose())? {
            // The way down to an item may be damaged where the way along all of them is not.
            if guarded(|| db.get(&key))?.as_ref() != Some(&value) {
                return Err(Fault::Damage("an item is not found by its key".into()));
            }
            sum = u64::wrapping_add(sum, weight(&key, &value));
            live += bytes(&key, &value);
        }
        let said = guarded(|| db.get(KEY))?.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
        let wrong = said.unwrap_or(0) != sum;
        if wrong {
            guarded(|| db.insert(KEY, &sum.to_be_bytes()))?;
        }
        Ok(Self { sum, live, wrong })
    }

    /// Whether something was missing, or older than the rest, when the tree was opened.
    pub(super) fn was_wrong(&self) -> bool {
        self.wrong
    }

    /// The bytes of all keys and values in the tree.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    /// Applies a batch, all of it or nothing.
    pub(super) fn apply(&mut self, tree: &Tree, batch: &Batch) -> Result<(), Fault> {
        // For a key that occurs twice, the later step counts.
        let steps: BTreeMap<_, _> = batch.ops().iter().map(|op| (op.space.key(&op.key), op.value.as_deref())).collect();
        let mut all = ::sled::Batch::default();
        let (mut sum, mut live) = (self.sum, self.live);
        for (key, value) in steps {
            if let Some(old) = guarded(|| tree.get(&key))? {
                sum = sum.wrapping_sub(weight(&key, &old));
                live = live.saturating_sub(bytes(&key, &old));
            }
            match value {
                Some(value) => {
                    sum = sum.wrapping_add(weight(&key, value));
                    live += bytes(&key, value);
                    all.insert(key, value);
                }
                None => all.remove(key),
            }
        }
        all.insert(KEY, &sum.to_be_bytes());
        guarded(|| tree.apply_batch(all))?;
        (self.sum, self.live) = (sum, live);
        Ok(())
    }
}

/// What an item adds to the sum. The notes of the store's own, whose keys begin with zero, add nothing.
fn weight(key: &[u8], value: &[u8]) -> u64 {
    if key.first() == Some(&0) { 0 } else { xxh3_64_with_seed(value, xxh3_64(key)) }
}

fn bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}
