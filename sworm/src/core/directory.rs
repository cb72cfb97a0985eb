//! The directory of one sworm: all lanes, which of them have ended, and what they say together of a name.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::cell::{Key, NameCell, NameState, Value};
use super::fault::{Fault, planted};
use super::ids::{Birth, Epoch, Incarnation, LaneId, NodeId, Peer};
use super::lane::{Change, Delta, Joined, Lane};
use super::shared::Shared;
use crate::codec;

mod bans;
mod ends;

/// A tombstone costs less than a whole lane for a laggard: keep this many.
const SPARE_TOMBSTONES: usize = 1024;

/// Lanes, ends, and what changed since it was last asked.
#[derive(Debug)]
pub struct Directory {
    me: LaneId,
    lanes: BTreeMap<LaneId, Lane>,
    ended: BTreeMap<NodeId, Incarnation>,
    dropped: BTreeMap<NodeId, Incarnation>,
    /// Where the lanes of those who left in good order end, as they said themselves.
    finals: BTreeMap<LaneId, u64>,
    /// Nodes that have ended and are not back, and when that was noted, in hybrid time; 0 when that is too long ago.
    away: BTreeMap<NodeId, u64>,
    touched: BTreeSet<Arc<str>>,
    published: u64,
    shared: Shared,
}

/// What the lanes say together of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has it.
    Free,
    /// This cell wins; `host` is in view.
    Claimed {
        /// Whose lane it stands in.
        host: Peer,
        /// The cell.
        cell: Arc<NameCell>,
    },
    /// No claim, but it is taken: a worker is to be started from this cell.
    Source {
        /// Whose lane it stands in.
        host: Peer,
        /// The cell.
        cell: Arc<NameCell>,
    },
}

impl Standing {
    /// The cell, whichever it is.
    pub fn cell(&self) -> Option<(&Peer, &Arc<NameCell>)> {
        match self {
            Self::Free => None,
            Self::Claimed { host, cell } | Self::Source { host, cell } => Some((host, cell)),
        }
    }
}

impl Directory {
    /// The directory of a node that starts: what its store kept, with its own new lane.
    pub fn new(
        me: LaneId,
        mut lanes: BTreeMap<LaneId, Lane>,
        ended: BTreeMap<NodeId, Incarnation>,
        dropped: BTreeMap<NodeId, Incarnation>,
    ) -> Self {
        let mut shared = Shared::default();
        lanes.values_mut().for_each(|lane| lane.share(&mut shared));
        lanes.entry(me.clone()).or_default();
        let (finals, away, touched) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut directory = Self { me, lanes, ended, dropped, finals, away, touched, published: 0, shared };
        directory.touch_all();
        directory
    }

    /// The lane of that id.
    pub fn lane(&self, id: &LaneId) -> Option<&Lane> {
        self.lanes.get(id)
    }

    /// All lanes.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneId, &Lane)> {
        self.lanes.iter()
    }

    /// Hash of all that is held: equal hashes, equal directories.
    pub fn hash(&self) -> u64 {
        let lanes: Vec<_> =
            self.lanes.iter().filter(|(_, l)| l.max() > 0).map(|(id, l)| (id, l.max(), l.fingerprint())).collect();
        let bytes = codec::encode(&(lanes, &self.ended, &self.dropped)).expect("ids and numbers encode");
        xxh3_64(&bytes)
    }

    /// States a fact in the own lane.
    pub fn put(&mut self, key: Key, value: Value) {
        self.touch(&key);
        self.own().put(key, value);
    }

    /// States a name in the own lane.
    pub fn put_name(&mut self, name: &Arc<str>, mut cell: NameCell) {
        self.shared.share(&mut cell);
        self.put(Key::Name(name.clone()), Value::Name(Arc::new(cell)));
    }

    /// Takes a fact of the own lane back. If that is a name that others speak of, what they say must be known to whoever
    /// hears of it: else the name would look free to those who hear of this first.
    pub fn remove(&mut self, key: &Key) {
        if let Key::Name(name) = key
            && self.mine(name).is_some()
            && !planted(Fault::TakenBackUnseen)
        {
            self.have_seen(name);
        }
        self.touch(key);
        self.own().remove(key);
    }

    fn have_seen(&mut self, name: &Arc<str>) {
        let others = self.cells(name).map(|(lane, _)| lane).filter(|lane| **lane != self.me && !self.has_ended(lane));
        let news: Vec<LaneId> = others.cloned().collect();
        if news.is_empty() {
            return;
        }
        let mut seen = match self.lanes.get(&self.me).and_then(|lane| lane.fact(&Key::Seen)) {
            Some(Value::Seen(seen)) => seen.clone(),
            _ => BTreeMap::new(),
        };
        seen.retain(|lane, _| !self.is_dropped(lane));
        seen.extend(news.into_iter().map(|lane| (lane.clone(), self.lanes[&lane].max())));
        self.put(Key::Seen, Value::Seen(seen));
    }

    /// Whether somebody took a name back because of something that is not held here, and that somebody who is there can
    /// still tell.
    pub fn lacks_what_was_seen(&self, live: impl Fn(&LaneId) -> bool) -> bool {
        let lacks = |(lane, max): (&LaneId, &u64), by: &LaneId| {
            *lane != self.me
                && !self.is_dropped(lane)
                && self.lanes.get(lane).map_or(0, Lane::max) < *max
                && (live(by) || live(lane))
        };
        self.lanes.iter().any(|(by, lane)| match lane.fact(&Key::Seen) {
            Some(Value::Seen(seen)) => *by != self.me && seen.iter().any(|entry| lacks(entry, by)),
            _ => false,
        })
    }

    /// What must never be done: only for a planted fault.
    pub(super) fn remove_from_others(&mut self, name: &Arc<str>) {
        let key = Key::Name(name.clone());
        self.lanes.iter_mut().filter(|(id, _)| **id != self.me).for_each(|(_, lane)| lane.remove(&key));
    }

    /// The number in a lane at which it says what it says of a name.
    pub fn said(&self, lane: &LaneId, name: &Arc<str>) -> u64 {
        self.lanes.get(lane).and_then(|lane| lane.seq(&Key::Name(name.clone()))).unwrap_or(0)
    }

    /// The own statement about a name.
    pub fn mine(&self, name: &Arc<str>) -> Option<&Arc<NameCell>> {
        self.lanes.get(&self.me)?.name(name).map(|(_, cell)| cell)
    }

    /// All names in the own lane.
    pub fn my_names(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<NameCell>)> {
        self.lanes.get(&self.me).into_iter().flat_map(Lane::names)
    }

    /// Those from there on.
    pub fn my_names_from(&self, from: Bound<&str>) -> impl Iterator<Item = (&Arc<str>, &Arc<NameCell>)> {
        self.lanes.get(&self.me).into_iter().flat_map(move |lane| lane.names_from(from))
    }

    /// A name of a lane as it is held there: so that an index beside it need not hold the text again.
    pub fn as_held(&self, lane: &LaneId, name: &Arc<str>) -> Option<&Arc<str>> {
        self.lanes.get(lane)?.name(name).map(|(name, _)| name)
    }

    /// All births of a name that any lane speaks of.
    pub fn births(&self, name: &Arc<str>) -> BTreeSet<Birth> {
        self.cells(name).map(|(_, cell)| cell.birth).collect()
    }

    /// The highest epoch of a name in any lane.
    pub fn highest_epoch(&self, name: &Arc<str>) -> Epoch {
        self.cells(name)
            .map(|(_, cell)| match &cell.state {
                NameState::Released(release) => cell.epoch.max(release.epoch),
                _ => cell.epoch,
            })
            .max()
            .unwrap_or_default()
    }

    /// What the lanes say of a name when these peers are in view.
    pub fn standing(&self, name: &Arc<str>, live: impl Fn(&Peer) -> bool) -> Standing {
        let mut claim: Option<(&Peer, &Arc<NameCell>)> = None;
        let mut source: Option<(&Peer, &Arc<NameCell>)> = None;
        for (host, cell) in self.cells(name) {
            if self.is_banned(name, cell.birth) {
                continue;
            }
            let up = live(host) || (planted(Fault::DownHostClaims) && !self.has_ended(host));
            if !up && planted(Fault::HiddenIsFree) {
                continue;
            }
            if cell.attached && !up {
                continue;
            }
            if up && cell.state.is_claim() {
                if claim.is_none_or(|best| beats((host, cell), best)) {
                    claim = Some((host, cell));
                }
            } else if source.is_none_or(|best| continues((host, cell), best)) {
                source = Some((host, cell));
            }
        }
        match (claim, source) {
            (Some((host, cell)), _) => Standing::Claimed { host: host.clone(), cell: cell.clone() },
            (None, Some((host, cell))) => Standing::Source { host: host.clone(), cell: cell.clone() },
            (None, None) => Standing::Free,
        }
    }

    /// Every statement about a name, with the lane that it stands in.
    pub fn cells(&self, name: &Arc<str>) -> impl Iterator<Item = (&LaneId, &Arc<NameCell>)> {
        self.lanes.iter().filter_map(|(id, lane)| Some((id, lane.name(name)?.1)))
    }

    /// Holds once what cells that were just decoded say alike.
    pub fn share(&mut self, cells: &mut [Change]) {
        for (_, _, value) in cells {
            if let Some(Value::Name(cell)) = value {
                self.shared.share(Arc::make_mut(cell));
            }
        }
    }

    /// Takes a delta of another node's lane in.
    pub fn join(&mut self, delta: Delta) -> Joined {
        if self.is_dropped(&delta.lane) || delta.lane == self.me {
            return Joined::Known;
        }
        let joined = self.lanes.entry(delta.lane.clone()).or_default().join(delta);
        if let Joined::Changed(keys) | Joined::Damaged(keys) = &joined {
            for key in keys {
                self.touch(key);
            }
        }
        joined
    }

    /// Whether something in the own lane was not published yet.
    pub fn is_unpublished(&self) -> bool {
        self.lanes.get(&self.me).is_some_and(|lane| lane.max() != self.published)
    }

    /// The changes of the own lane that were not published yet.
    pub fn unpublished(&mut self) -> Option<Delta> {
        self.own().collect(SPARE_TOMBSTONES);
        let lane = self.lanes.get(&self.me)?;
        if lane.max() == self.published {
            return None;
        }
        let delta = lane.delta(&self.me, self.published);
        self.published = lane.max();
        Some(delta)
    }

    /// The names that changed since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.touched)
    }

    /// Marks all names as changed, as when the view changed.
    pub fn touch_all(&mut self) {
        self.touched.extend(self.lanes.values().flat_map(names_of));
    }

    fn own(&mut self) -> &mut Lane {
        self.lanes.entry(self.me.clone()).or_default()
    }

    fn touch(&mut self, key: &Key) {
        self.touched.extend(name_of(key));
    }
}

/// The names that a lane speaks of.
fn names_of(lane: &Lane) -> impl Iterator<Item = Arc<str>> {
    lane.names().map(|(name, _)| name.clone()).chain(lane.facts().filter_map(|(key, _)| name_of(key)))
}

fn name_of(key: &Key) -> Option<Arc<str>> {
    match key {
        Key::Name(name) | Key::Ban(name) => Some(name.clone()),
        Key::Sworm | Key::WorkerType(_) | Key::Seen | Key::Voters | Key::Unusual => None,
    }
}

/// The conflict rule: earliest birth; then higher major; then minor 0 first, then higher minor; then the earlier
/// assignment, then the node's id.
fn beats(a: (&Peer, &Arc<NameCell>), b: (&Peer, &Arc<NameCell>)) -> bool {
    let rank = |(host, cell): (&Peer, &Arc<NameCell>)| {
        let minor = match cell.epoch.minor {
            minor if planted(Fault::WeakBeatsOriginal) => u32::MAX - minor,
            0 => 0,
            weak => u32::MAX - weak + 1,
        };
        (cell.birth, u64::MAX - cell.epoch.major, minor, cell.assigned, host.clone())
    };
    rank(a) < rank(b)
}

/// Which of two sources a worker is started from: the earliest lineage, then its highest epoch.
fn continues(a: (&Peer, &Arc<NameCell>), b: (&Peer, &Arc<NameCell>)) -> bool {
    let rank = |(host, cell): (&Peer, &Arc<NameCell>)| {
        (cell.birth, u64::MAX - cell.epoch.major, u32::MAX - cell.epoch.minor, host.clone())
    };
    rank(a) < rank(b)
}
