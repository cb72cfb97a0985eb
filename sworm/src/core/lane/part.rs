//! Parts of a delta that is too large for one message or one frame of a log: how it is cut, and how it is put together.
//!
//! A copy must never pass for one at a number that it was not at: only all parts together are joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::weight::{name_weight, weight};
use super::{Change, Delta, Lane};
use crate::core::cell::{Key, NameCell, Value};
use crate::core::fault::{Fault, planted};
use crate::core::ids::LaneId;

/// The changes of a lane after `after` up to `upto`, one part of a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The lane.
    pub lane: LaneId,
    /// The `max` that the whole transfer builds on.
    pub from: u64,
    /// Up to where the sender has dropped tombstones: what builds on less replaces everything.
    pub gc: u64,
    /// Where the part before it ended.
    pub after: u64,
    /// Where it ends.
    pub upto: u64,
    /// Each cell with its sequence number, in that order.
    pub cells: Vec<Change>,
    /// The lane's fingerprint, when it ends at the sender's `max`.
    pub end: Option<u64>,
}

impl Part {
    /// Whether it is the first one.
    pub fn begins(&self) -> bool {
        self.after == self.from
    }

    /// Whether the transfer replaces everything.
    pub fn is_full(&self) -> bool {
        self.from < self.gc
    }

    /// The delta that it is, if it is all of it.
    pub fn alone(self) -> Result<Delta, Self> {
        let full = self.is_full();
        match self.end {
            Some(fingerprint) if self.begins() => {
                let Self { lane, from, upto: to, cells, .. } = self;
                Ok(Delta { lane, from, to, full, fingerprint, cells })
            }
            _ => Err(self),
        }
    }
}

/// The parts of a transfer so far.
#[derive(Debug)]
pub struct Stage {
    lane: LaneId,
    from: u64,
    gc: u64,
    upto: u64,
    /// The newest version of each cell.
    cells: BTreeMap<Key, (u64, Option<Value>)>,
}

impl Stage {
    /// One that this part begins.
    pub fn of(first: &Part) -> Self {
        Self { lane: first.lane.clone(), from: first.from, gc: first.gc, upto: first.from, cells: BTreeMap::new() }
    }

    /// The number up to which it has everything.
    pub fn upto(&self) -> u64 {
        self.upto
    }

    /// Up to where its sender has dropped tombstones.
    pub fn gc(&self) -> u64 {
        self.gc
    }

    /// The `max` that it builds on.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// How many cells it holds.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Whether this is the part that it lacks.
    pub fn continues(&self, part: &Part) -> bool {
        (&part.lane, part.from, part.gc, part.after) == (&self.lane, self.from, self.gc, self.upto)
            && part.upto > part.after
    }

    /// Takes the part that it lacks, and gives everything when that was the last one.
    pub fn take(&mut self, part: Part) -> Option<Delta> {
        let full = part.is_full();
        self.upto = part.upto;
        for (seq, key, value) in part.cells {
            if full && value.is_none() {
                self.cells.remove(&key); // it replaces everything: what is not in it is not there
            } else {
                self.cells.insert(key, (seq, value));
            }
        }
        let fingerprint = part.end?;
        let cells = std::mem::take(&mut self.cells).into_iter();
        let mut cells: Vec<Change> = cells.map(|(key, (seq, value))| (seq, key, value)).collect();
        cells.sort_by_key(|(seq, _, _)| *seq);
        Some(Delta { lane: part.lane, from: self.from, to: self.upto, full, fingerprint, cells })
    }
}

impl Delta {
    /// The same in parts that weigh no more than a limit, unless a single cell does.
    pub fn into_parts(self, limit: usize) -> impl Iterator<Item = Part> {
        let Self { lane, from, to, full, fingerprint, cells } = self;
        let gc = if full { to } else { 0 };
        let mut cells = cells.into_iter().peekable();
        let mut after = Some(from);
        std::iter::from_fn(move || {
            let begin = after?;
            let (mut chosen, mut total) = (Vec::new(), 0);
            while let Some((_, key, value)) = cells.peek() {
                total += weight(key, value.as_ref());
                if total > limit && !chosen.is_empty() {
                    break;
                }
                chosen.extend(cells.next());
            }
            after = cells.peek().and(chosen.last()).map(|(seq, _, _)| *seq);
            let end = after.is_none().then_some(fingerprint);
            let upto = after.unwrap_or(to);
            Some(Part { lane: lane.clone(), from, gc, after: begin, upto, cells: chosen, end })
        })
    }
}

impl Lane {
    /// The first part of what a copy at `peer_max` lacks.
    pub fn first_part(&self, lane: &LaneId, peer_max: u64, limit: usize) -> Part {
        let from = if peer_max < self.gc { 0 } else { peer_max };
        self.part(lane, from, from, limit)
    }

    /// The part after `after` of a transfer that began when `gc` was what it was then; the first part of another one when
    /// that has changed, since whoever has the former parts cannot know any more which cells are gone.
    pub fn next_part(&self, lane: &LaneId, (from, gc): (u64, u64), after: u64, limit: usize) -> Part {
        if gc == self.gc { self.part(lane, from, after, limit) } else { self.first_part(lane, from, limit) }
    }

    fn part(&self, lane: &LaneId, from: u64, after: u64, limit: usize) -> Part {
        let mut chosen = Chosen { limit, total: 0, below: u64::MAX, cells: BTreeMap::new() };
        // Of what replaces everything the first part need not say what is gone.
        let needless = from < self.gc && (after == from || planted(Fault::NoTombstones));
        if after >= self.recent_after {
            for (seq, key) in self.recent.range(after + 1..) {
                chosen.offer(*seq, self.found(key), needless);
            }
        } else {
            for (name, cell) in self.names.iter().filter(|(_, cell)| cell.seq > after) {
                chosen.offer(cell.seq, Found::Name(name, cell.value.as_ref()), needless);
            }
            for (key, cell) in self.facts.iter().filter(|(_, cell)| cell.seq > after) {
                chosen.offer(cell.seq, Found::Fact(key, cell.value.as_ref()), needless);
            }
        }
        let whole = chosen.below == u64::MAX;
        let upto = if whole { self.max } else { chosen.cells.keys().next_back().copied().unwrap_or(after) };
        Part {
            lane: lane.clone(),
            from,
            gc: self.gc,
            after,
            upto,
            cells: chosen.cells.into_iter().map(|(seq, (_, found))| found.change(seq)).collect(),
            end: whole.then_some(self.fingerprint),
        }
    }

    fn found<'a>(&'a self, key: &'a Key) -> Found<'a> {
        match key {
            Key::Name(name) => Found::Name(name, self.name(name).map(|(_, cell)| cell)),
            _ => Found::Fact(key, self.fact(key)),
        }
    }
}

/// A cell in its lane.
enum Found<'a> {
    Name(&'a Arc<str>, Option<&'a Arc<NameCell>>),
    Fact(&'a Key, Option<&'a Value>),
}

impl Found<'_> {
    fn is_tombstone(&self) -> bool {
        matches!(self, Self::Name(_, None) | Self::Fact(_, None))
    }

    fn weight(&self) -> usize {
        match self {
            Self::Name(name, cell) => name_weight(name.len(), cell.map(|cell| &**cell)),
            Self::Fact(key, value) => weight(key, *value),
        }
    }

    fn change(self, seq: u64) -> Change {
        match self {
            Self::Name(name, cell) => (seq, Key::Name(name.clone()), cell.cloned().map(Value::Name)),
            Self::Fact(key, value) => (seq, key.clone(), value.cloned()),
        }
    }
}

/// The first of the cells that were offered, as many as the limit lets in: however many there are, no more are held.
struct Chosen<'a> {
    limit: usize,
    total: usize,
    /// Those from here on are for later parts.
    below: u64,
    cells: BTreeMap<u64, (usize, Found<'a>)>,
}

impl<'a> Chosen<'a> {
    fn offer(&mut self, seq: u64, found: Found<'a>, no_tombstones: bool) {
        if seq >= self.below || (no_tombstones && found.is_tombstone()) {
            return;
        }
        let weight = found.weight();
        self.total += weight;
        self.cells.insert(seq, (weight, found));
        while self.total > self.limit
            && self.cells.len() > 1
            && let Some((seq, (weight, _))) = self.cells.pop_last()
        {
            self.total -= weight;
            self.below = seq;
        }
    }
}

#[cfg(test)]
mod tests;
