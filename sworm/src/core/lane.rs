//! A lane: the facts of one node incarnation about one sworm, written by that node alone.
//!
//! The content of a lane is a function of its id and `max`, so of two copies the one with the larger `max` holds all
//! that the other does: joining them is commutative, associative and idempotent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::cell::{Cell, Key, Value};
use super::fault::{Fault, planted};
use super::ids::LaneId;
use crate::codec;

/// One node's facts, in one copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    max: u64,
    gc: u64,
    fingerprint: u64,
    /// How many cells are no tombstones.
    live: usize,
    cells: BTreeMap<Key, Cell>,
    by_seq: BTreeMap<u64, Key>,
}

/// The changes of a lane after `from` up to `to`: the newest version of each cell. Joined whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The lane.
    pub lane: LaneId,
    /// The `max` that it builds on.
    pub from: u64,
    /// The `max` that it leads to.
    pub to: u64,
    /// Whether it replaces everything (tombstones before it are gone).
    pub full: bool,
    /// The lane's fingerprint at `to`.
    pub fingerprint: u64,
    /// Each cell with its sequence number.
    pub cells: Vec<(u64, Key, Option<Value>)>,
}

/// What became of a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// It is in; these keys changed.
    Changed(Vec<Key>),
    /// All of it was known.
    Known,
    /// It starts after what is known: the part between must be pulled.
    Gap,
    /// The copy does not match the fingerprint afterwards: it is discarded and must be pulled whole.
    Damaged(Vec<Key>),
}

fn cell_hash(key: &Key, seq: u64, value: &Value) -> u64 {
    let bytes = codec::encode(&(key, seq, value)).expect("cells are made of plain data");
    xxh3_64(&bytes)
}

impl Lane {
    /// The number of the newest change.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// XOR of the hashes of all live cells.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// The live fact under a key.
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.cells.get(key)?.value.as_ref()
    }

    /// The number at which the fact under a key was written.
    pub fn seq(&self, key: &Key) -> Option<u64> {
        self.cells.get(key).map(|cell| cell.seq)
    }

    /// All live facts.
    pub fn live(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.cells.iter().filter_map(|(key, cell)| Some((key, cell.value.as_ref()?)))
    }

    /// States a fact. Only the owner does this.
    pub fn put(&mut self, key: Key, value: Value) {
        self.max += 1;
        self.set(key, self.max, Some(value));
    }

    /// Takes a fact back. Only the owner does this.
    pub fn remove(&mut self, key: &Key) {
        if self.get(key).is_some() {
            self.max += 1;
            self.set(key.clone(), self.max, None);
        }
    }

    /// The changes that a copy at `peer_max` lacks.
    pub fn delta(&self, lane: &LaneId, peer_max: u64) -> Delta {
        let full = peer_max < self.gc;
        let from = if full { 0 } else { peer_max };
        let cells = self.by_seq.range(from + 1..).filter_map(|(seq, key)| {
            let cell = self.cells.get(key)?;
            (!full || cell.value.is_some()).then(|| (*seq, key.clone(), cell.value.clone()))
        });
        let mut cells: Vec<_> = cells.collect();
        let mut to = self.max;
        if planted(Fault::PageDelta) && cells.len() > 3 {
            cells.truncate(3);
            to = cells[2].0;
        }
        Delta { lane: lane.clone(), from, to, full, fingerprint: self.fingerprint, cells }
    }

    /// Takes a delta in.
    pub fn join(&mut self, delta: Delta) -> Joined {
        if delta.to <= self.max {
            return Joined::Known;
        }
        if delta.from > self.max && !planted(Fault::AcceptGap) {
            return Joined::Gap;
        }
        let mut changed = Vec::with_capacity(delta.cells.len());
        if delta.full && !planted(Fault::FullLaneMerges) {
            changed.extend(self.cells.keys().cloned());
            *self = Self { gc: delta.to, ..Self::default() };
        }
        for (seq, key, value) in delta.cells {
            if self.cells.get(&key).is_none_or(|cell| cell.seq < seq) {
                self.set(key.clone(), seq, value);
                changed.push(key);
            }
        }
        self.max = delta.to;
        let matches = self.fingerprint == delta.fingerprint
            || planted(Fault::AcceptGap)
            || planted(Fault::FullLaneMerges)
            || planted(Fault::PageDelta);
        if !matches {
            changed.extend(self.cells.keys().cloned());
            *self = Self::default();
            return Joined::Damaged(changed);
        }
        Joined::Changed(changed)
    }

    /// Drops tombstones when they outnumber the live cells: whoever lacks them gets the whole lane.
    pub fn collect(&mut self, spare: usize) {
        if self.cells.len() - self.live > self.live + spare {
            self.gc = self.max;
            self.cells.retain(|_, cell| cell.value.is_some());
            let cells = &self.cells;
            self.by_seq.retain(|_, key| cells.contains_key(key));
        }
    }

    fn set(&mut self, key: Key, seq: u64, value: Option<Value>) {
        if let Some(value) = &value {
            self.fingerprint ^= cell_hash(&key, seq, value);
            self.live += 1;
        }
        if let Some(old) = self.cells.insert(key.clone(), Cell { seq, value }) {
            self.by_seq.remove(&old.seq);
            if let Some(value) = &old.value {
                self.fingerprint ^= cell_hash(&key, old.seq, value);
                self.live -= 1;
            }
        }
        self.by_seq.insert(seq, key);
    }
}

#[cfg(test)]
mod tests;
