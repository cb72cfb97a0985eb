//! Why workers and names have ended, as far as this node was told: for those who watch.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::Entry;
use super::cell::NameCell;
use super::events::{Gone, Stage};
use super::ids::{Birth, Epoch};
use super::message::{Ask, Phase};
use super::state::Core;

/// Of so many names it is remembered at most.
const MAX_NOTES: usize = 4_096;

/// What was noted of the names that ended last.
#[derive(Debug, Default)]
pub struct Ends {
    notes: BTreeMap<Arc<str>, (Birth, Note)>,
    order: VecDeque<Arc<str>>,
}

#[derive(Debug)]
enum Note {
    /// The worker that started at that epoch ended by itself.
    Exit { since: Epoch, reason: Arc<str> },
    /// The lineage is gone.
    Gone(Gone),
}

impl Ends {
    fn note(&mut self, name: &Arc<str>, birth: Birth, note: Note) {
        if self.notes.insert(name.clone(), (birth, note)).is_none() {
            self.order.push_back(name.clone());
        }
        while self.order.len() > MAX_NOTES
            && let Some(oldest) = self.order.pop_front()
        {
            self.notes.remove(&oldest);
        }
    }

    /// A worker of this node has ended by itself.
    pub(super) fn exited(&mut self, name: &Arc<str>, cell: &NameCell, reason: &str) {
        self.note(name, cell.birth, Note::Exit { since: cell.since, reason: reason.into() });
    }

    /// These lineages of a name are gone.
    pub(super) fn gone(&mut self, name: &Arc<str>, births: impl IntoIterator<Item = Birth>, why: &Gone) {
        for birth in births {
            self.note(name, birth, Note::Gone(why.clone()));
        }
    }

    fn of(&self, name: &Arc<str>, birth: Birth) -> Option<&Note> {
        self.notes.get(name).filter(|(noted, _)| *noted == birth).map(|(_, note)| note)
    }
}

impl Core {
    /// How the worker of an entry has ended, if it did so by itself and here.
    pub(super) fn exit_of(&self, name: &Arc<str>, entry: &Entry) -> Option<Arc<str>> {
        match self.ends.of(name, entry.cell.birth) {
            Some(Note::Exit { since, reason }) if *since == entry.cell.since => Some(reason.clone()),
            _ => None,
        }
    }

    /// Why a lineage that look-ups showed is not there any more; `new` is what they show instead.
    pub(super) fn why_gone(&self, name: &Arc<str>, old: &Entry, new: Option<&Entry>) -> Gone {
        let birth = old.cell.birth;
        let has_failed = matches!(old.stage(), Stage::Failed(_));
        if let Some(Note::Gone(why)) = self.ends.of(name, birth) {
            return why.clone();
        }
        if let Some(reason) = self.exit_of(name, old).filter(|_| !has_failed) {
            return Gone::Exited { reason };
        }
        if old.cell.attached && self.view.members.get(&old.host) != Some(&Phase::Up) {
            return Gone::NodeGone;
        }
        let is_banned = self.directory.is_banned(name, birth);
        if new.is_some() && (has_failed || !is_banned) {
            return Gone::Replaced;
        }
        let asked = |ask: &Ask| ask.name() == name && matches!(ask, Ask::Unregister { .. });
        // Whose worker ends by itself says so alone; what others ask for is said by one node more. So is that one could not start.
        let by_another = self.directory.is_banned_by(name, birth, |lane| *lane != old.host);
        let may_be_unable = old.stage() == Stage::Starting && old.cell.restarts.is_empty();
        if self.pending.values().any(|pending| asked(&pending.ask)) || by_another && !has_failed && !may_be_unable {
            return Gone::Unregistered;
        }
        Gone::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_names_that_ended_long_ago_nothing_is_kept() {
        let mut ends = Ends::default();
        let name = |n: usize| -> Arc<str> { format!("name-{n}").into() };
        for n in 0..=MAX_NOTES {
            ends.gone(&name(n), [Birth(1, 1), Birth(2, 1)], &Gone::Unregistered);
        }
        assert!(ends.of(&name(0), Birth(2, 1)).is_none());
        assert!(ends.of(&name(1), Birth(1, 1)).is_none(), "of a name the last one that ended");
        assert!(matches!(ends.of(&name(1), Birth(2, 1)), Some(Note::Gone(Gone::Unregistered))));
        assert_eq!((ends.notes.len(), ends.order.len()), (MAX_NOTES, MAX_NOTES));
    }
}
