//! Restoring: from which saved state a worker starts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cell::{Kind, NameState, Revision};
use super::chunks::Shipment;
use super::fault::{Fault, planted};
use super::fetch::Why;
use super::host::{Local, LocalPhase};
use super::ids::{Birth, Epoch, NodeId, Peer};
use super::message::Message;
use super::rare::Rare;
use super::snapshots::{Purpose, Stored};
use super::state::Core;
use super::{Effect, Notice};

/// A worker whose best state is being looked for.
#[derive(Debug)]
pub struct Restoring {
    birth: Birth,
    answered: BTreeSet<Peer>,
    /// Those of them who have a state of the lineage. Who lost its disk has none, whatever it had said before.
    held_by: BTreeSet<NodeId>,
    /// The best so far, and who has it.
    best: Option<(Peer, Shipment)>,
    /// Until when those are waited for that are not known to hold a copy, and until when those that are.
    until_ms: u64,
    holders_until_ms: u64,
    /// When it is told that those are waited for.
    tell_ms: u64,
    again_ms: u64,
}

/// How long those are waited for who hold a state, unless something else is said.
pub const STATE_WAIT_MS: u64 = 10_000;
/// Why a state is older than that of the last worker of its name.
pub(super) const ENDED_UNSAVED: &str = "its last worker has ended, and its state could not be saved";
const LOST_HERE: &str =
    "its node's store has lost what was written last, or cannot read it, and nobody else is known to have it";
/// How soon a member is asked again for its best snapshot.
const BEST_AGAIN_MS: u64 = 500;
/// How long a member may take to tell its best snapshot.
const BEST_WAIT_MS: u64 = 3_000;

impl Core {
    /// How long the holders of a state are waited for.
    pub(super) fn state_wait_ms(&self, kind: &Kind) -> u64 {
        self.config.state_wait_ms.unwrap_or(if kind.patient { u64::MAX } else { STATE_WAIT_MS })
    }

    /// Nobody has a state of a lineage: whatever turns up later is news to its worker.
    fn start_from_nothing(&mut self, name: &Arc<str>) {
        self.restate(name, |cell| cell.past = Rare::default());
        self.start(name, None);
    }

    /// Asks all members for the best state of a lineage that is to start here.
    pub(super) fn restore(&mut self, name: &Arc<str>) {
        let Some(local) = self.local.get_mut(name) else { return };
        local.phase = LocalPhase::Restoring;
        let (birth, since) = (local.birth, local.since);
        // What came with a release is the newest there is: nobody need be asked.
        let released = self.directory.cells(name).find_map(|(_, cell)| match &cell.state {
            NameState::Released(release) if release.to == self.config.me && release.epoch == since => release.snapshot,
            _ => None,
        });
        if released.is_some() && self.stored.get(name).map(|stored| stored.revision) == released {
            self.out.push(Effect::LoadSnapshot { purpose: Purpose::Start { name: name.clone(), since } });
            return;
        }
        let beyond = self.best_stored(name, birth);
        let present = self.present();
        for to in &present {
            self.send(to, Message::Best { name: name.clone(), birth, beyond });
        }
        let now = self.now.mono_ms;
        // Those who are away have been waited for since they went: the arbiter has done so, too.
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let here = present.iter().any(|peer| holders.contains(&peer.node));
        let since_ms = self.settled_since_ms.filter(|_| !here).unwrap_or(now);
        let wait_ms = self.directory.mine(name).map_or(0, |cell| self.state_wait_ms(&cell.spec));
        let restoring = Restoring {
            birth,
            answered: BTreeSet::new(),
            held_by: BTreeSet::new(),
            best: None,
            until_ms: now + BEST_WAIT_MS,
            holders_until_ms: since_ms.saturating_add(wait_ms),
            tell_ms: since_ms + STATE_WAIT_MS,
            again_ms: now + BEST_AGAIN_MS,
        };
        self.restoring.insert(name.clone(), restoring);
        self.restored_if_all_answered(name);
    }

    /// The others that are there, also those that are about to join: the newest copy may be theirs.
    fn present(&self) -> BTreeSet<Peer> {
        let asked = !planted(Fault::RestoreWithoutAsking);
        let present = self.members.iter().filter(|(_, member)| asked && member.present && !member.not_open);
        present.map(|(node, member)| Peer { node: node.clone(), incarnation: member.incarnation }).collect()
    }

    /// Asks those again for their best snapshot that have not answered.
    fn ask_for_best_again(&mut self) {
        let now = self.now.mono_ms;
        let (mut messages, present) = (Vec::new(), self.present());
        for (name, restoring) in self.restoring.iter_mut().filter(|(_, restoring)| restoring.again_ms <= now) {
            restoring.again_ms = now + BEST_AGAIN_MS;
            let birth = restoring.birth;
            let outdone = |revision: &Revision| self.directory.mine(name).is_some_and(|cell| cell.outdoes(*revision));
            let stored = self.stored.get(name).filter(|stored| stored.birth == birth).map(|stored| stored.revision);
            let best = restoring.best.as_ref().map(|(_, best)| best.revision());
            let beyond = best.filter(|best| !outdone(best)).max(stored.filter(|stored| !outdone(stored)));
            let best = |to: &Peer| (to.clone(), Message::Best { name: name.clone(), birth, beyond });
            messages.extend(present.difference(&restoring.answered).map(best));
        }
        for (to, message) in messages {
            self.send(&to, message);
        }
    }

    pub(super) fn on_best(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, beyond: Option<Revision>) {
        let stored = self.stored.get(name).filter(|stored| stored.birth == birth);
        let snapshot = match stored.filter(|stored| Some(stored.revision) > beyond) {
            Some(Stored { manifest: Some(manifest), .. }) => Some(Shipment::Chunked(manifest.clone())),
            Some(_) => {
                let purpose = Purpose::Answer { name: name.clone(), birth, to: from.clone() };
                return self.out.push(Effect::LoadSnapshot { purpose });
            }
            None => None,
        };
        let held = self.held_of(name, birth);
        self.send(from, Message::BestIs { name: name.clone(), birth, snapshot, held });
    }

    pub(super) fn on_best_is(
        &mut self,
        from: &Peer,
        name: &Arc<str>,
        birth: Birth,
        snapshot: Option<Shipment>,
        held: Option<Revision>,
    ) {
        let cell = self.directory.mine(name).cloned();
        let outdone = |revision: Revision| cell.as_ref().is_some_and(|cell| cell.outdoes(revision));
        let Some(restoring) = self.restoring.get_mut(name).filter(|r| r.birth == birth) else { return };
        restoring.answered.insert(from.clone());
        if held.is_some_and(|held| !outdone(held)) || planted(Fault::CountEmptyHolders) {
            restoring.held_by.insert(from.node.clone());
        }
        if let Some(snapshot) = snapshot.filter(|s| s.is_sound() && s.birth() == birth)
            && restoring.best.as_ref().is_none_or(|(_, best)| {
                let (best, found) = (best.revision(), snapshot.revision());
                (!outdone(best), best) < (!outdone(found), found) && !planted(Fault::RestoreFirstCome)
            })
        {
            restoring.best = Some((from.clone(), snapshot));
        }
        self.restored_if_all_answered(name);
    }

    fn restored_if_all_answered(&mut self, name: &Arc<str>) {
        let now = self.now.mono_ms;
        let present = self.present();
        let Some(restoring) = self.restoring.get(name) else { return };
        let mine = &self.config.me.node;
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let all_answered = present.is_subset(&restoring.answered);
        let stored = self.best_stored(name, restoring.birth).is_some();
        let held_here = stored && self.held_of(name, restoring.birth).is_some();
        // Each holder alone is enough, and nobody else is; nor is one that has nothing any more, or may have lost something.
        let one_holds = holders.is_empty() && (held_here == stored || !restoring.held_by.is_empty())
            || holders.contains(mine) && (held_here || planted(Fault::CountEmptyHolders))
            || !restoring.held_by.is_disjoint(&holders)
            || planted(Fault::RestoreWithoutAsking);
        // Where nobody else is known to have it, nobody is waited for without end.
        let others_hold = holders.iter().any(|holder| holder != mine);
        let holders_until_ms =
            if others_hold { restoring.holders_until_ms } else { restoring.holders_until_ms.min(restoring.tell_ms) };
        let at_once = planted(Fault::OlderAtOnce);
        let (late, too_late) = (now >= restoring.until_ms || at_once, now >= holders_until_ms || at_once);
        if !((all_answered || late) && (one_holds || too_late)) {
            if !one_holds && now >= restoring.tell_ms && self.awaited.insert(name.clone()) {
                let holders = (*holders).clone();
                if let Some(pid) = self.local.get(name).map(|local| self.own_pid(name, local.since)) {
                    self.out.push(Effect::Tell(Notice::StateAwaited { pid, holders }));
                }
            }
            return;
        }
        self.awaited.remove(name);
        let unsaved = self.directory.mine(name).is_some_and(|cell| cell.unsaved);
        let Some(Restoring { birth, best, .. }) = self.restoring.remove(name) else { return };
        let Some(since) = self.local.get(name).map(|local| local.since) else { return };
        let older = if !one_holds && others_hold {
            let holders: Vec<&str> = holders.iter().map(|node| &**node).collect();
            Some(format!("its newest state is on {}, and nobody who has it is there", holders.join(", ")))
        } else if !one_holds {
            Some(LOST_HERE.to_owned())
        } else {
            unsaved.then(|| ENDED_UNSAVED.to_owned())
        };
        if let Some(reason) = older {
            self.tell_older(name, since, reason);
        }
        let stored = self.stored.get(name).filter(|stored| stored.birth == birth).map(|stored| stored.revision);
        let cell = self.directory.mine(name);
        let rank = |revision: Revision| (!cell.is_some_and(|cell| cell.outdoes(revision)), revision);
        // What is here may have come meanwhile.
        let best = best.filter(|(_, best)| stored.is_none_or(|stored| rank(best.revision()) > rank(stored)));
        match (best, stored) {
            (Some((from, best)), _) => match self.lacks_chunks(name, &best) {
                Some(manifest) => self.fetch(&from, name, manifest, Why::Start { since }),
                None => self.start_from(name, since, best),
            },
            (None, Some(_)) => {
                self.out.push(Effect::LoadSnapshot { purpose: Purpose::Start { name: name.clone(), since } });
            }
            (None, None) => self.start_from_nothing(name),
        }
    }

    /// What is kept here of a lineage that is to start here, unless it is of a worker that has lost a conflict.
    fn best_stored(&self, name: &Arc<str>, birth: Birth) -> Option<Revision> {
        let stored = self.stored.get(name).filter(|stored| stored.birth == birth).map(|stored| stored.revision);
        stored.filter(|stored| !self.directory.mine(name).is_some_and(|cell| cell.outdoes(*stored)))
    }

    /// What is kept here of a lineage, unless its store may have lost what came after that.
    pub(super) fn held_of(&self, name: &Arc<str>, birth: Birth) -> Option<Revision> {
        let stored = self.stored.get(name).filter(|stored| stored.birth == birth);
        stored.filter(|stored| !stored.doubtful || planted(Fault::CountDoubtful)).map(|stored| stored.revision)
    }

    /// Tells that a worker may be started from a state that is older than its last.
    pub(super) fn tell_older(&mut self, name: &Arc<str>, since: Epoch, reason: impl Into<Arc<str>>) {
        let (pid, reason) = (self.own_pid(name, since), reason.into());
        self.out.push(Effect::Tell(Notice::RestoredOlder { pid, reason }));
    }

    /// Whether the state is being looked for from which that worker is to start.
    pub(super) fn is_restoring(&self, name: &Arc<str>, since: Epoch) -> bool {
        let restoring = |local: &Local| local.since == since && matches!(local.phase, LocalPhase::Restoring);
        self.local.get(name).is_some_and(restoring)
    }

    /// Starts a worker from a state that another node had; its chunks, if it has any, are here.
    pub(super) fn start_from(&mut self, name: &Arc<str>, since: Epoch, best: Shipment) {
        let birth = best.birth();
        if !self.is_restoring(name, since) || self.birth_of(name) != Some(birth) {
            return;
        }
        let past = self.directory.mine(name).map(|cell| cell.past.started_from(best.revision()));
        self.set_aside_what_lacks(name, birth, since, &past.unwrap_or_default());
        self.store(name, best.clone());
        match best {
            Shipment::Whole(_) => self.start(name, Some(best)),
            Shipment::Chunked(_) => {
                self.out.push(Effect::LoadSnapshot { purpose: Purpose::Start { name: name.clone(), since } });
            }
        }
    }

    /// Starts a worker from the state that is kept here.
    pub(super) fn start_from_loaded(&mut self, name: &Arc<str>, since: Epoch, snapshot: Option<Shipment>) {
        if !self.is_restoring(name, since) {
            return;
        }
        let birth = self.birth_of(name);
        match snapshot.filter(|snapshot| Some(snapshot.birth()) == birth) {
            // It was there and cannot be read any more: another copy may be as good.
            None if self.lose_stored(name) => self.restore(name),
            None => self.start_from_nothing(name),
            state => self.start(name, state),
        }
    }

    /// The best state did not come: there may be others.
    pub(super) fn restore_again(&mut self, name: &Arc<str>, since: Epoch) {
        if self.is_restoring(name, since) {
            self.restore(name);
        }
    }

    pub(super) fn tick_restoring(&mut self) {
        let local = &self.local;
        let waits = |name: &Arc<str>| local.get(name).is_some_and(|l| matches!(l.phase, LocalPhase::Restoring));
        self.restoring.retain(|name, _| waits(name));
        self.ask_for_best_again();
        let waiting: Vec<Arc<str>> = self.restoring.keys().cloned().collect();
        for name in waiting {
            self.restored_if_all_answered(&name);
        }
    }
}
