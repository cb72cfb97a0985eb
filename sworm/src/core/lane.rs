//! A lane: the facts of one node incarnation about one sworm, written by that node alone.
//!
//! The content of a lane is a function of its id and `max`, so of two copies the one with the larger `max` holds all
//! that the other does: joining them is commutative, associative and idempotent.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::cell::{Key, NameCell, Value};
use super::fault::{Fault, planted};
use super::ids::LaneId;
use super::names::Names;
use super::shared::Shared;
use crate::codec;

mod part;
mod weight;

pub use part::{Part, Stage};
pub use weight::fits;

/// One node's facts, in one copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lane {
    max: u64,
    gc: u64,
    fingerprint: u64,
    /// How many cells are no tombstones.
    live: usize,
    /// How many names the owner says to be its own.
    claims: u64,
    names: Names<Cell<Arc<NameCell>>>,
    /// All other facts. Names have a map of their own since there are so many of them.
    facts: BTreeMap<Key, Cell<Value>>,
    /// The newest changes: all after `recent_after`.
    recent: BTreeMap<u64, Key>,
    recent_after: u64,
}

/// A fact with its place in the lane; a tombstone has no value.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Cell<T> {
    /// The lane's `max` when it was written.
    seq: u64,
    /// The fact; `None` says that there is none any more.
    value: Option<T>,
    /// Its part of the fingerprint, kept since it takes long to make; 0 of a tombstone.
    hash: u64,
}

/// So many changes are found without looking at every cell: what many inputs at once lead to, and what a peer may lack.
const RECENT: usize = 4096;

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
    pub cells: Vec<Change>,
}

/// A cell with its sequence number; without a value it is a tombstone.
pub type Change = (u64, Key, Option<Value>);

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
    codec::with_encoded(&(key, seq, value), xxh3_64).expect("cells are made of plain data")
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

    /// How many names the owner says to be its own.
    pub fn claims(&self) -> u64 {
        self.claims
    }

    /// The statement about a name, with the name as it is held here.
    pub fn name(&self, name: &str) -> Option<(&Arc<str>, &Arc<NameCell>)> {
        let (name, cell) = self.names.get_key_value(name)?;
        Some((name, cell.value.as_ref()?))
    }

    /// All names with what is stated of them.
    pub fn names(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<NameCell>)> {
        self.names.iter().filter_map(|(name, cell)| Some((name, cell.value.as_ref()?)))
    }

    /// The same from there on.
    pub fn names_from(&self, from: Bound<&str>) -> impl Iterator<Item = (&Arc<str>, &Arc<NameCell>)> {
        self.names.from(from).filter_map(|(name, cell)| Some((name, cell.value.as_ref()?)))
    }

    /// The live fact under a key that is not a name.
    pub fn fact(&self, key: &Key) -> Option<&Value> {
        self.facts.get(key)?.value.as_ref()
    }

    /// Whether it may hold a ban.
    pub fn may_ban(&self) -> bool {
        // No fact that is not a name comes before them.
        matches!(self.facts.first_key_value(), Some((Key::Ban(_), _)))
    }

    /// All live facts but the names.
    pub fn facts(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.facts.iter().filter_map(|(key, cell)| Some((key, cell.value.as_ref()?)))
    }

    /// Whether its owner links any worker type.
    pub fn links_any(&self) -> bool {
        let types = self.facts.range(Key::WorkerType(Arc::default())..);
        types.take_while(|(key, _)| matches!(key, Key::WorkerType(_))).any(|(_, cell)| cell.value.is_some())
    }

    /// Whether it is that of a node that runs nothing, and has said all that it has to: there is nothing in it that somebody else
    /// could wait for.
    pub fn is_of_client(&self) -> bool {
        self.fact(&Key::Sworm).is_some() && !self.links_any() && self.names().next().is_none() && !self.may_ban()
    }

    /// The number at which the fact under a key was written, or taken back.
    pub fn seq(&self, key: &Key) -> Option<u64> {
        match key {
            Key::Name(name) => self.names.get(name).map(|cell| cell.seq),
            _ => self.facts.get(key).map(|cell| cell.seq),
        }
    }

    /// Holds once what many cells say alike.
    pub fn share(&mut self, shared: &mut Shared) {
        for cell in self.names.values_mut().filter_map(|cell| cell.value.as_mut()) {
            shared.share(Arc::make_mut(cell));
        }
    }

    /// States a fact. Only the owner does this.
    pub fn put(&mut self, key: Key, value: Value) {
        self.max += 1;
        self.set(key, self.max, Some(value));
    }

    /// Takes a fact back. Only the owner does this.
    pub fn remove(&mut self, key: &Key) {
        if self.value(key).is_some() {
            self.max += 1;
            self.set(key.clone(), self.max, None);
        }
    }

    /// The changes that a copy at `peer_max` lacks, in their order.
    pub fn delta(&self, lane: &LaneId, peer_max: u64) -> Delta {
        let full = peer_max < self.gc;
        let from = if full { 0 } else { peer_max };
        let mut cells: Vec<Change> = if from >= self.recent_after {
            self.recent.range(from + 1..).map(|(seq, key)| (*seq, key.clone(), self.value(key))).collect()
        } else {
            self.cells_after(from)
        };
        cells.retain(|(_, _, value)| !full || value.is_some());
        Delta { lane: lane.clone(), from, to: self.max, full, fingerprint: self.fingerprint, cells }
    }

    fn cells_after(&self, from: u64) -> Vec<Change> {
        let names = self.names.iter().filter(|(_, cell)| cell.seq > from);
        let names = names.map(|(name, cell)| (cell.seq, Key::Name(name.clone()), cell.value.clone().map(Value::Name)));
        let facts = self.facts.iter().filter(|(_, cell)| cell.seq > from);
        let facts = facts.map(|(key, cell)| (cell.seq, key.clone(), cell.value.clone()));
        let mut cells: Vec<_> = names.chain(facts).collect();
        cells.sort_by_key(|(seq, _, _)| *seq);
        cells
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
            changed.extend(self.keys());
            *self = Self { gc: delta.to, ..Self::default() };
        }
        for (seq, key, value) in delta.cells {
            if self.seq(&key).is_none_or(|known| known < seq) {
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
            changed.extend(self.keys());
            *self = Self::default();
            return Joined::Damaged(changed);
        }
        Joined::Changed(changed)
    }

    /// Drops tombstones when they outnumber the live cells: whoever lacks them gets the whole lane.
    pub fn collect(&mut self, spare: usize) {
        if self.names.len() + self.facts.len() - self.live > self.live + spare {
            self.gc = self.max;
            self.names.retain(|_, cell| cell.value.is_some());
            self.facts.retain(|_, cell| cell.value.is_some());
            self.recent.clear();
            self.recent_after = self.max;
        }
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        self.names.keys().cloned().map(Key::Name).chain(self.facts.keys().cloned())
    }

    fn value(&self, key: &Key) -> Option<Value> {
        match key {
            Key::Name(name) => self.name(name).map(|(_, cell)| Value::Name(cell.clone())),
            _ => self.fact(key).cloned(),
        }
    }

    fn set(&mut self, key: Key, seq: u64, value: Option<Value>) {
        // What does not fit its key is nothing.
        let value = value.filter(|value| matches!(key, Key::Name(_)) == matches!(value, Value::Name(_)));
        let hash = value.as_ref().map_or(0, |value| cell_hash(&key, seq, value));
        if let Some(value) = &value {
            self.live += 1;
            self.claims += u64::from(is_claim(value));
        }
        self.fingerprint ^= hash;
        if let Some(old) = self.replace(&key, Cell { seq, value, hash }) {
            self.recent.remove(&old.seq);
            self.fingerprint ^= old.hash;
            if let Some(old) = &old.value {
                self.live -= 1;
                self.claims -= u64::from(is_claim(old));
            }
        }
        if seq > self.recent_after {
            self.recent.insert(seq, key);
        }
        while self.recent.len() > RECENT
            && let Some((oldest, _)) = self.recent.pop_first()
        {
            self.recent_after = oldest;
        }
    }

    /// Puts a cell in its place, and gives the one that was there.
    fn replace(&mut self, key: &Key, cell: Cell<Value>) -> Option<Cell<Value>> {
        let Key::Name(name) = key else { return self.facts.insert(key.clone(), cell) };
        let Cell { seq, value, hash } = cell;
        let value = match value {
            Some(Value::Name(cell)) => Some(cell),
            _ => None,
        };
        let old = self.names.insert(name.clone(), Cell { seq, value, hash })?;
        Some(Cell { seq: old.seq, value: old.value.map(Value::Name), hash: old.hash })
    }
}

fn is_claim(value: &Value) -> bool {
    matches!(value, Value::Name(cell) if cell.state.is_claim())
}

#[cfg(test)]
mod tests;
