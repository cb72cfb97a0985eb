//! What answers have said of names that this node's copy of the directory does not show yet: until it does, look-ups say what
//! the answer said, and what only a name's host can do is asked of that host. A caller reads its own writes.
//!
//! An answer may be older than what is known here: it says up to where in its host's lane it is true, and whoever holds as much
//! of that lane knows better.

use std::sync::Arc;

use super::cell::NameCell;
use super::fault::{Fault, planted};
use super::ids::{Birth, Epoch, Peer};
use super::message::Done;
use super::state::Core;
use super::{Effect, Entry};

/// Where a name is, as an answer said.
#[derive(Debug)]
pub struct Told {
    host: Peer,
    cell: Arc<NameCell>,
    /// The number in the host's lane at which that was stated.
    said: u64,
}

impl Core {
    /// An answer has come to somebody on this node.
    pub(super) fn is_told(&mut self, done: &Done) {
        if let Done::Unregistered { name, births } = done
            && self.told.get(name).is_some_and(|told| births.contains(&told.cell.birth))
        {
            self.told.remove(name);
        }
        let (Done::Registered { name, host, cell, said }
        | Done::Regrouped { name, host, cell, said }
        | Done::Moved { name, host, cell, said }) = done
        else {
            return;
        };
        let told = Told { host: host.clone(), cell: cell.clone(), said: *said };
        if planted(Fault::AnswersStay) {
            return self.overlay(name, &told);
        }
        self.recheck(name);
        if !self.is_shown(&told)
            && !self.directory.is_banned(name, cell.birth)
            && self.told.get(name).is_none_or(|before| order(before) <= order(&told))
        {
            self.overlay(name, &told);
            self.told.insert(name.clone(), told);
        }
    }

    fn overlay(&mut self, name: &Arc<str>, told: &Told) {
        let entry = Entry { host: told.host.clone(), cell: told.cell.clone(), running: true };
        self.out.push(Effect::Overlay { name: name.clone(), entry });
    }

    /// Whether that, or what came after it, is known here without the answer. Of who is gone nothing counts.
    fn is_shown(&self, told: &Told) -> bool {
        !self.is_live(&told.host) || self.directory.lane(&told.host).is_some_and(|lane| lane.max() >= told.said)
    }

    /// The host of a name as an answer said, if this node does not know better.
    pub(super) fn told_host(&self, name: &str) -> Option<&Peer> {
        self.told.get(name).map(|told| &told.host)
    }

    /// Whether an answer has said more of a name than look-ups would now: then they say what it said.
    pub(super) fn knows_better(&mut self, name: &Arc<str>, entry: Option<&Entry>) -> bool {
        let Some(told) = self.told.get(name) else { return false };
        let has_ended = self.directory.is_banned(name, told.cell.birth);
        let is_newer =
            entry.is_some_and(|entry| (entry.cell.birth, entry.cell.epoch) > (told.cell.birth, told.cell.epoch));
        let is_over = has_ended || is_newer;
        if is_over {
            self.told.remove(name);
        }
        !is_over
    }

    /// Looks at the names again of which as much is known here by now.
    pub(super) fn forget_told(&mut self) {
        if self.told.is_empty() {
            return;
        }
        let held = self.directory.lanes().fold(self.view_changes, |sum, (_, lane)| sum.wrapping_add(lane.max()));
        if std::mem::replace(&mut self.told_looked_at, held) == held {
            return;
        }
        let shown: Vec<Arc<str>> =
            self.told.iter().filter(|(_, told)| self.is_shown(told)).map(|(name, _)| name.clone()).collect();
        for name in shown {
            self.told.remove(&name);
            self.recheck(&name);
        }
    }
}

/// Of two things that answers said of a name the later one.
fn order(told: &Told) -> (Birth, Epoch, u64) {
    (told.cell.birth, told.cell.epoch, told.said)
}

#[cfg(test)]
mod tests;
