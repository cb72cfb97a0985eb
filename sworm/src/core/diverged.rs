//! Saved states that the present worker of their name lacks: it was started from an older one, since nobody was there who
//! had them. They are given to it, and kept until then.
//!
//! The rule: a worker *has* what its own epoch has saved and what its cell's [`Past`] covers, that is the snapshot that it
//! was started from with all that was behind it, and each state that it was given. Any other snapshot of an earlier epoch
//! it *lacks*. That holds over any number of moves and restarts, since the past goes from cell to cell; a comparison with
//! the last start alone would take all that is older for known.
//!
//! - Whoever holds a snapshot that the worker lacks sets a copy aside on its disk: when the worker runs and all agree on who
//!   is in, or before a newer snapshot takes its place. It does not matter who had saved it: a replica may have outlived
//!   the node that did.
//! - While the worker runs, the holder sends it to the worker's host again and again. The answer is the host's cell: when
//!   the worker has done with the state what it wants to, its past covers it, so that all who hold the same snapshot know,
//!   and so does whoever starts the worker next. Only then the copy is deleted. A worker that ends before is no answer: its
//!   successor is given the state again.
//! - A state that cannot be given (it cannot be decoded, or the hook panicked with it) is refused: the holder keeps it and
//!   does not try that worker again; nor does the host with the next one, until the name has run elsewhere.
//! - A worker that has lost a conflict was told so and could give what it had by itself: its saved states are not offered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cell::{NameCell, NameState, Revision};
use super::chunks::{Manifest, SetId, Shipment};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::fetch::Why;
use super::host::LocalPhase;
use super::ids::{Birth, Epoch, Peer};
use super::message::Message;
use super::past::Past;
use super::snapshots::{Purpose, Stored};
use super::state::Core;
use super::{Effect, Notice};

/// What this node has set aside, and what is being given to its workers.
#[derive(Debug, Default)]
pub struct Diverged {
    aside: BTreeMap<Arc<str>, BTreeMap<Revision, Aside>>,
    /// When one of them is to be offered next.
    due_ms: u64,
    given: BTreeMap<Arc<str>, BTreeMap<Revision, Given>>,
}

/// A snapshot that was set aside.
#[derive(Debug)]
struct Aside {
    birth: Birth,
    /// Of a large one.
    manifest: Option<Arc<Manifest>>,
    /// The host that it is offered to, and the epoch of its worker.
    to: Option<(Peer, Epoch)>,
    again_ms: u64,
    pause_ms: u64,
    refused: bool,
}

/// A state that a worker of this node is being given, or could not be given.
#[derive(Debug)]
struct Given {
    since: Epoch,
    /// Those who have offered it.
    from: BTreeSet<Peer>,
    refused: bool,
}

/// Back-off between two offers of a state.
const FIRST_PAUSE_MS: u64 = 1_000;
const LAST_PAUSE_MS: u64 = 15_000;
/// How many are offered in one tick.
const AT_A_TIME: usize = 64;

impl Diverged {
    /// What the disk had set aside.
    pub(super) fn recovered(aside: Vec<(Arc<str>, Stored)>) -> Self {
        let mut diverged = Self::default();
        for (name, stored) in aside {
            diverged.aside.entry(name).or_default().insert(stored.revision, Aside::new(stored));
        }
        diverged
    }

    /// The manifests of the large ones of a name.
    pub(super) fn manifests(&self, name: &Arc<str>) -> impl Iterator<Item = &Arc<Manifest>> {
        self.aside.get(name).into_iter().flat_map(|all| all.values().filter_map(|aside| aside.manifest.as_ref()))
    }

    /// Whether that one is set aside.
    pub(super) fn has(&self, name: &Arc<str>, revision: Revision) -> bool {
        self.aside.get(name).is_some_and(|all| all.contains_key(&revision))
    }
}

impl Aside {
    fn new(Stored { birth, manifest, .. }: Stored) -> Self {
        Self { birth, manifest, to: None, again_ms: 0, pause_ms: FIRST_PAUSE_MS, refused: false }
    }
}

impl Core {
    /// Sets the stored snapshot aside if a worker of that epoch, with that behind it, lacks it.
    pub(super) fn set_aside_what_lacks(&mut self, name: &Arc<str>, birth: Birth, since: Epoch, past: &Past) {
        let stored = self.stored.get(name).filter(|stored| stored.birth == birth);
        let lacking = stored.filter(|stored| {
            let is_outdone = || self.is_outdone(name, birth, stored.revision);
            (stored.revision.epoch < since || is_outdone()) && !past.covers(stored.revision)
        });
        if let Some(stored) = lacking.cloned() {
            self.set_aside(name, stored);
        }
    }

    fn set_aside(&mut self, name: &Arc<str>, stored: Stored) {
        let Stored { birth, revision, .. } = stored;
        if self.diverged.has(name, revision) || planted(Fault::DropDiverged) {
            return;
        }
        let all = self.diverged.aside.entry(name.clone()).or_default();
        all.insert(revision, Aside::new(stored));
        // What the same worker had saved before is in it.
        let before = Revision { number: 0, ..revision };
        let older: Vec<Revision> = all.range(before..revision).map(|(older, _)| *older).collect();
        self.diverged.due_ms = 0;
        self.out.push(Effect::SetAside { name: name.clone(), birth, revision });
        for revision in older {
            self.delete_aside(name, revision);
        }
    }

    fn delete_aside(&mut self, name: &Arc<str>, revision: Revision) {
        let Some(all) = self.diverged.aside.get_mut(name) else { return };
        let removed = all.remove(&revision);
        if all.is_empty() {
            self.diverged.aside.remove(name);
        }
        if let Some(Aside { birth, manifest, .. }) = removed {
            self.is_let_go(name, manifest.as_ref(), None);
            self.out.push(Effect::DeleteAside { name: name.clone(), birth, revision });
        }
    }

    /// Chunks of a state that was set aside cannot be read any more.
    pub(super) fn forget_lost_aside(&mut self, name: &Arc<str>, set: SetId) {
        let lost = |aside: &Aside| aside.manifest.as_ref().is_some_and(|manifest| manifest.set(name) == set);
        let all = self.diverged.aside.get(name).into_iter().flatten();
        let revisions: Vec<Revision> = all.filter(|(_, aside)| lost(aside)).map(|(revision, _)| *revision).collect();
        for revision in revisions {
            self.delete_aside(name, revision);
        }
    }

    /// Draws the consequences for the saved states of a name from what the directory says of it.
    pub(super) fn review_diverged(&mut self, name: &Arc<str>, standing: &Standing) {
        if self.diverged.aside.contains_key(name) {
            self.diverged.due_ms = 0;
        }
        self.forget_asides(name, |core, birth, _| core.directory.is_banned(name, birth));
        let Standing::Claimed { host, cell } = standing else { return };
        if *host != self.config.me {
            self.diverged.given.remove(name);
        }
        if cell.state != NameState::Running || !self.settled() {
            return;
        }
        self.forget_asides(name, |_, birth, revision| birth != cell.birth || cell.has(revision));
        let Some(stored) = self.stored.get(name).cloned().filter(|stored| stored.birth == cell.birth) else { return };
        if !cell.lacks(stored.revision) {
            return;
        }
        let loser = self.directory.cells(name).find(|(other, theirs)| {
            *other != host && theirs.state.is_claim() && self.is_live(other) && theirs.since == stored.revision.epoch
        });
        match loser.map(|(other, theirs)| (other, theirs.state == NameState::Running)) {
            None => self.set_aside(name, stored),
            Some((other, true)) if *other != self.config.me => self.forget_stored(name),
            // It is about to stop, or will be gone without having been told.
            Some(_) => {}
        }
    }

    fn forget_asides(&mut self, name: &Arc<str>, needless: impl Fn(&Self, Birth, Revision) -> bool) {
        let Some(all) = self.diverged.aside.get(name) else { return };
        let gone: Vec<Revision> =
            all.iter().filter(|(rev, aside)| needless(self, aside.birth, **rev)).map(|(rev, _)| *rev).collect();
        for revision in gone {
            self.delete_aside(name, revision);
        }
    }

    /// The worker of this node that had a name has lost it, and was told: what it had saved goes with it.
    pub(super) fn forget_lost_state(&mut self, name: &Arc<str>) {
        let since = self.directory.mine(name).map(|cell| cell.since);
        if self.stored.get(name).is_some_and(|stored| Some(stored.revision.epoch) == since) {
            self.forget_stored(name);
        }
    }

    pub(super) fn forget_stored(&mut self, name: &Arc<str>) {
        let stored = self.stored.remove(name);
        self.is_let_go(name, stored.and_then(|stored| stored.manifest).as_ref(), None);
        self.out.push(Effect::DeleteSnapshot { name: name.clone() });
    }

    /// Whether this node is to offer a state to a worker that runs.
    pub fn has_to_offer(&self) -> bool {
        let lacks = |name: &Arc<str>, revision: &Revision, aside: &Aside| {
            self.lacking(name, *revision, aside).is_some_and(|to| !aside.refused || aside.to.as_ref() != Some(&to))
        };
        self.diverged.aside.iter().any(|(name, all)| all.iter().any(|(revision, aside)| lacks(name, revision, aside)))
    }

    /// The host whose worker lacks a state, and the epoch of the worker.
    fn lacking(&self, name: &Arc<str>, revision: Revision, aside: &Aside) -> Option<(Peer, Epoch)> {
        match self.standing(name) {
            Standing::Claimed { host, cell }
                if cell.state == NameState::Running && cell.birth == aside.birth && cell.lacks(revision) =>
            {
                Some((host, cell.since))
            }
            _ => None,
        }
    }

    /// Offers what is due. What changes meanwhile is reviewed, and then looked at again.
    pub(super) fn tick_diverged(&mut self) {
        let now = self.now.mono_ms;
        if self.diverged.due_ms > now || self.diverged.aside.is_empty() || !self.settled() {
            return;
        }
        let mut asides = std::mem::take(&mut self.diverged.aside);
        let (mut due_ms, mut offered) = (u64::MAX, 0);
        for (name, all) in &mut asides {
            for (revision, aside) in all {
                let Some(to) = self.lacking(name, *revision, aside) else { continue };
                if aside.to.as_ref() != Some(&to) {
                    (aside.again_ms, aside.pause_ms, aside.refused) = (0, FIRST_PAUSE_MS, false);
                    aside.to = Some(to.clone());
                }
                if aside.refused {
                    continue;
                }
                if aside.again_ms <= now && offered < AT_A_TIME {
                    offered += 1;
                    aside.again_ms = now + aside.pause_ms;
                    aside.pause_ms = (aside.pause_ms * 2).min(LAST_PAUSE_MS);
                    let (birth, revision) = (aside.birth, *revision);
                    if let Some(manifest) = &aside.manifest {
                        let snapshot = Shipment::Chunked(manifest.clone());
                        self.send(&to.0, Message::Diverged { name: name.clone(), snapshot });
                    } else {
                        let purpose = Purpose::Offer { name: name.clone(), birth, revision, to: to.0 };
                        self.out.push(Effect::LoadSnapshot { purpose });
                    }
                }
                due_ms = due_ms.min(aside.again_ms);
            }
        }
        self.diverged.aside = asides;
        self.diverged.due_ms = due_ms;
    }

    /// A state that is to be offered was read.
    pub(super) fn offer_diverged(
        &mut self,
        name: Arc<str>,
        birth: Birth,
        revision: Revision,
        to: &Peer,
        snapshot: Option<Shipment>,
    ) {
        match snapshot.filter(|snapshot| (snapshot.birth(), snapshot.revision()) == (birth, revision)) {
            Some(snapshot) if self.diverged.has(&name, revision) => {
                self.send(to, Message::Diverged { name, snapshot });
            }
            Some(_) => {}
            // It cannot be read any more.
            None => self.delete_aside(&name, revision),
        }
    }

    /// Somebody holds a state that a worker of this node lacks, or did when that was sent.
    pub(super) fn on_diverged(&mut self, from: &Peer, name: &Arc<str>, snapshot: Shipment) {
        let (birth, revision) = (snapshot.birth(), snapshot.revision());
        let lacks = |cell: &NameCell| cell.birth == birth && cell.lacks(revision);
        let runs = self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Running));
        let Some(since) = self.directory.mine(name).filter(|cell| runs && lacks(cell)).map(|cell| cell.since) else {
            return;
        };
        if !snapshot.is_sound() || !self.settled() || !self.may_host() {
            return;
        }
        let given = self.diverged.given.get(name).and_then(|all| all.get(&revision));
        let settled = given.is_some_and(|given| given.refused || given.since == since);
        let snapshot = match snapshot {
            Shipment::Chunked(manifest) if !settled && *from == self.config.me => {
                let purpose = Purpose::Merge { name: name.clone(), manifest, from: from.clone() };
                return self.out.push(Effect::LoadSnapshot { purpose });
            }
            Shipment::Chunked(manifest) if !settled => return self.fetch(from, name, manifest, Why::Merge),
            Shipment::Chunked(_) => None,
            Shipment::Whole(snapshot) => Some(snapshot),
        };
        let all = self.diverged.given.entry(name.clone()).or_default();
        let known = all.contains_key(&revision);
        let given = all.entry(revision).or_insert_with(|| Given { since, from: BTreeSet::new(), refused: false });
        given.from.insert(from.clone());
        if given.refused {
            return self.send(from, Message::DivergedRefused { name: name.clone(), revision, since });
        }
        let Some(snapshot) = snapshot.filter(|_| !settled) else { return }; // it has it already, or will
        given.since = since;
        if !known {
            let (pid, node) = (self.own_pid(name, since), from.node.clone());
            self.out.push(Effect::Tell(Notice::StateDiverged { pid, epoch: revision.epoch, node }));
        }
        self.out.push(Effect::Merge { name: name.clone(), since, snapshot });
    }

    /// A worker has done with a state what it wants to, or could not be given it.
    pub(super) fn on_merged(&mut self, name: &Arc<str>, since: Epoch, revision: Revision, result: &Result<(), String>) {
        let Some(all) = self.diverged.given.get_mut(name) else { return };
        let Some(given) = all.get_mut(&revision).filter(|given| given.since == since) else { return };
        match result {
            Ok(()) => {
                all.remove(&revision);
                if self.directory.mine(name).is_some_and(|cell| cell.since == since) {
                    self.restate(name, |cell| cell.past.add(revision));
                }
            }
            Err(_) => {
                given.refused = true;
                for to in given.from.clone() {
                    self.send(&to, Message::DivergedRefused { name: name.clone(), revision, since });
                }
            }
        }
    }

    /// A worker was not given a state: the next offer of it counts.
    pub(super) fn on_not_given(&mut self, name: &Arc<str>, since: Epoch, revision: Revision) {
        let given = self.diverged.given.get_mut(name).and_then(|all| all.get_mut(&revision));
        if let Some(given) = given.filter(|given| given.since == since && !planted(Fault::NotGivenIsGiven)) {
            given.since = Epoch { major: 0, minor: 0 };
        }
    }

    pub(super) fn on_diverged_refused(&mut self, from: &Peer, name: &Arc<str>, revision: Revision, since: Epoch) {
        let aside = self.diverged.aside.get_mut(name).and_then(|all| all.get_mut(&revision));
        if let Some(aside) = aside.filter(|aside| aside.to.as_ref() == Some(&(from.clone(), since))) {
            aside.refused = true;
        }
    }
}
