//! What a worker's state has behind it: which of its lineage's saved states it goes on from, or was given.

use serde::{Deserialize, Serialize};

use super::cell::Revision;
use super::ids::Epoch;
use super::rare::Empty;

/// Of each earlier epoch of a lineage: up to which snapshot the present worker has what that epoch's worker did. Newest
/// first, and not without end: what is older than the oldest of [`Past::MAX`] counts as known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u32, u64)>", into = "Vec<(u64, u32, u64)>")]
pub struct Past(Vec<Revision>);

impl Past {
    /// So many epochs are remembered.
    pub const MAX: usize = 8;

    /// How many epochs it tells of.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what was done up to a snapshot is behind the worker.
    pub fn covers(&self, revision: Revision) -> bool {
        match self.0.iter().find(|known| known.epoch <= revision.epoch) {
            Some(known) => known.epoch == revision.epoch && known.number >= revision.number,
            None => self.0.len() >= Self::MAX,
        }
    }

    /// From now on what was done up to that snapshot is behind the worker.
    pub fn add(&mut self, revision: Revision) {
        let place = self.0.partition_point(|known| known.epoch > revision.epoch);
        match self.0.get_mut(place).filter(|known| known.epoch == revision.epoch) {
            Some(known) => known.number = known.number.max(revision.number),
            None => self.0.insert(place, revision),
        }
        self.0.truncate(Self::MAX);
    }

    /// All that was done in an epoch and is not in the worker was given up on purpose.
    pub fn close(&mut self, epoch: Epoch) {
        self.add(Revision { epoch, number: u64::MAX });
    }

    /// What is behind a worker that starts from that snapshot, if this is what was behind the last one.
    pub fn started_from(&self, revision: Revision) -> Self {
        let earlier = self.0.iter().filter(|known| known.epoch < revision.epoch);
        std::iter::once(&revision).chain(earlier).copied().collect()
    }
}

impl FromIterator<Revision> for Past {
    fn from_iter<I: IntoIterator<Item = Revision>>(revisions: I) -> Self {
        let mut past = Self::default();
        revisions.into_iter().for_each(|revision| past.add(revision));
        past
    }
}

impl From<Vec<(u64, u32, u64)>> for Past {
    fn from(numbers: Vec<(u64, u32, u64)>) -> Self {
        let revision = |(major, minor, number)| Revision { epoch: Epoch { major, minor }, number };
        numbers.into_iter().map(revision).collect()
    }
}

impl From<Past> for Vec<(u64, u32, u64)> {
    fn from(past: Past) -> Self {
        past.0.into_iter().map(|Revision { epoch, number }| (epoch.major, epoch.minor, number)).collect()
    }
}

impl Empty for Past {
    const EMPTY: &'static Self = &Self(Vec::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(major: u64, number: u64) -> Revision {
        Revision { epoch: Epoch { major, minor: 0 }, number }
    }

    #[test]
    fn what_was_saved_after_the_snapshot_that_was_started_from_is_not_covered() {
        let past = Past::default().started_from(revision(1, 3));
        assert!(past.covers(revision(1, 3)) && past.covers(revision(1, 0)));
        assert!(!past.covers(revision(1, 4)) && !past.covers(revision(0, 1)) && !past.covers(revision(2, 0)));
    }

    #[test]
    fn a_later_start_does_not_cover_what_was_never_given() {
        let mut past = Past::default().started_from(revision(1, 3)).started_from(revision(2, 9));
        assert!(!past.covers(revision(1, 5)), "though it is older than what was started from last");
        past.add(revision(1, 5));
        assert!(past.covers(revision(1, 5)) && !past.covers(revision(1, 6)));
        assert!(past.started_from(revision(3, 0)).covers(revision(1, 5)));
    }

    #[test]
    fn who_starts_from_an_older_state_has_less_behind_it() {
        let past = Past::default().started_from(revision(1, 3)).started_from(revision(2, 9));
        let back = past.started_from(revision(2, 7));
        assert!(back.covers(revision(2, 7)) && !back.covers(revision(2, 8)) && back.covers(revision(1, 3)));
        assert!(!past.started_from(revision(1, 2)).covers(revision(2, 0)));
    }

    #[test]
    fn what_was_given_up_is_covered_however_new() {
        let mut past = Past::default();
        past.close(Epoch { major: 4, minor: 0 });
        assert!(past.covers(revision(4, 1_000)) && !past.covers(revision(5, 0)));
    }

    #[test]
    fn what_is_older_than_all_that_is_remembered_counts_as_known() {
        let past: Past = (2..10).map(|major| revision(major, 1)).collect();
        assert_eq!(past.len(), Past::MAX);
        assert!(past.covers(revision(1, 7)) && !past.covers(revision(2, 7)));
    }
}
