//! Saved states: where the copies of a checkpoint go, when it counts as durable, and which one a worker starts from.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cell::{NameState, Revision};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::host::{LocalPhase, first_revision};
use super::ids::{Birth, Epoch, NodeId, Peer};
use super::message::{Message, Snapshot};
use super::past::Past;
use super::rare::Rare;
use super::state::Core;
use super::{Effect, Notice};
use crate::strategy::score;

/// What the local store has of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The lineage.
    pub birth: Birth,
    /// The place in the worker's history.
    pub revision: Revision,
    /// Whether the worker asked for it.
    pub checkpoint: bool,
}

/// For what a snapshot is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For this node's disk and for the replicas.
    Replicas,
    /// For this node's disk.
    Disk,
    /// For nothing: nobody is told when it is durable.
    Nothing,
}

/// Why a snapshot is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To start a worker here.
    Start { name: Arc<str>, since: Epoch },
    /// To answer a host that looks for the best.
    Answer { name: Arc<str>, birth: Birth, to: Peer },
    /// To copy it to another replica, since one was lost.
    Copy { name: Arc<str>, since: Epoch },
    /// To give that which was set aside to a worker that lacks it.
    Offer { name: Arc<str>, birth: Birth, revision: Revision, to: Peer },
}

impl Purpose {
    /// Whose snapshot.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Start { name, .. }
            | Self::Answer { name, .. }
            | Self::Copy { name, .. }
            | Self::Offer { name, .. } => name,
        }
    }

    /// Which one, if it is one that was set aside.
    pub fn aside(&self) -> Option<(Birth, Revision)> {
        match self {
            Self::Offer { birth, revision, .. } => Some((*birth, *revision)),
            _ => None,
        }
    }
}

/// A snapshot on its way to the disk and the replicas.
#[derive(Debug)]
pub struct Keeping {
    birth: Birth,
    since: Epoch,
    revision: Revision,
    /// The first that counts: who holds a state that nobody waited for gets those after it, too.
    first: Revision,
    /// Who has not said yet that it is durable there.
    missing: BTreeSet<Peer>,
    /// Whether somebody was not waited for.
    left_out: bool,
    holders: BTreeSet<Peer>,
    until_ms: u64,
    then: Then,
    /// Whether the worker is told when it is on this node's disk.
    early: bool,
}

impl Keeping {
    /// States for which nobody waits may come faster than they become durable: it is still the first of them that is
    /// waited for, and a copy of it is as good as one of this.
    fn follows(&mut self, before: Self, me: &Peer) {
        let Self { first, left_out, until_ms, mut holders, .. } = before;
        if self.is_awaited() {
            holders.remove(me);
        }
        self.holders = holders.intersection(&self.missing).cloned().collect();
        self.missing.retain(|peer| !self.holders.contains(peer));
        (self.first, self.left_out, self.until_ms) = (first, left_out, until_ms);
    }

    /// Whether the worker is to be told.
    fn is_awaited(&self) -> bool {
        matches!(self.then, Then::Tell | Then::RunAndTell)
    }

    /// The oldest state that counts when this peer says that it holds it.
    fn oldest(&self, peer: &Peer, me: &Peer) -> Revision {
        if self.is_awaited() && peer == me { self.revision } else { self.first }
    }
}

/// A checkpoint that fewer hold than the one before. It is acknowledged when the others know that: else a worker could be
/// started from an older one that somebody has who is not on the list any more.
#[derive(Debug)]
pub struct Unheard {
    since: Epoch,
    number: u64,
    /// How much of the own lane the others must hold.
    seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Tell the worker.
    Tell,
    /// Say that the worker runs.
    Run,
    /// Both: it has asked before it could be said that it runs.
    RunAndTell,
    /// Nothing waits for it.
    Nothing,
}

/// A worker whose best state is being looked for.
#[derive(Debug)]
pub struct Restoring {
    birth: Birth,
    answered: BTreeSet<Peer>,
    best: Option<Snapshot>,
    /// Until when those are waited for that are not known to hold a copy, and until when those that are.
    until_ms: u64,
    holders_until_ms: u64,
    again_ms: u64,
}

/// How long those are waited for who hold a state, unless something else is said.
pub const STATE_WAIT_MS: u64 = 10_000;
/// How soon a member is asked again for its best snapshot.
const BEST_AGAIN_MS: u64 = 500;
/// How long a replica may take before it is left out.
const REPLICA_WAIT_MS: u64 = 2_000;
/// How long a member may take to tell its best snapshot.
const BEST_WAIT_MS: u64 = 3_000;
/// How many lost copies are made up for at a time.
const MAX_COPYING: usize = 256;

impl Core {
    /// How long the holders of a state are waited for.
    pub(super) fn state_wait_ms(&self, worker_type: &Arc<str>) -> u64 {
        let patient = self.config.patient.contains(worker_type);
        self.config.state_wait_ms.unwrap_or(if patient { u64::MAX } else { STATE_WAIT_MS })
    }

    pub(super) fn on_checkpoint(&mut self, name: &Arc<str>, since: Epoch, snapshot: Snapshot, wait: Wait) {
        let number = snapshot.revision.number;
        // A worker that is told to pause finishes its message first, and that may ask for a checkpoint.
        let runs = self.local.get(name).is_some_and(|local| {
            local.since == since
                && match &local.phase {
                    LocalPhase::Running | LocalPhase::Parking => true,
                    LocalPhase::Moving(moving) => !moving.is_accepted(),
                    _ => false,
                }
        });
        let settles = |local: &super::host::Local| local.since == since && matches!(local.phase, LocalPhase::Settling);
        if self.local.get(name).is_some_and(settles) {
            let then = if wait == Wait::Nothing { Then::Run } else { Then::RunAndTell };
            self.keep(name, since, snapshot, then, wait);
        } else if runs {
            let then = if wait == Wait::Nothing { Then::Nothing } else { Then::Tell };
            self.keep(name, since, snapshot, then, wait);
        } else if wait != Wait::Nothing {
            let result = Err("the worker is being stopped".to_owned());
            self.out.push(Effect::Checkpointed { name: name.clone(), since, number, result });
        }
    }

    pub(super) fn on_unsaved(&mut self, name: &Arc<str>, since: Epoch, reason: Arc<str>) {
        let pid = self.own_pid(name, since);
        self.out.push(Effect::Tell(Notice::Unsaved { pid, reason }));
    }

    /// Stores a state under the epoch that was started from it.
    pub(super) fn keep_restored(&mut self, name: &Arc<str>, since: Epoch, restored: Snapshot) {
        let from = restored.revision;
        self.restate(name, |cell| cell.past = cell.past.started_from(from).into());
        let snapshot = Snapshot { revision: first_revision(since), ..restored };
        self.keep(name, since, snapshot, Then::Run, Wait::Replicas);
    }

    fn keep(&mut self, name: &Arc<str>, since: Epoch, snapshot: Snapshot, then: Then, wait: Wait) {
        let wait = if planted(Fault::ReplyBeforeReplica) { Wait::Disk } else { wait };
        let replicas = self.replicas(name);
        let past = self.directory.mine(name).map(|cell| cell.past.clone()).unwrap_or_default();
        for to in &replicas {
            self.send(to, Message::Keep { name: name.clone(), snapshot: snapshot.clone(), past: (*past).clone() });
        }
        let mut missing: BTreeSet<Peer> = replicas.into_iter().collect();
        missing.insert(self.config.me.clone());
        let mut keeping = Keeping {
            birth: snapshot.birth,
            since,
            revision: snapshot.revision,
            first: snapshot.revision,
            missing,
            left_out: false,
            holders: BTreeSet::new(),
            until_ms: self.now.mono_ms + REPLICA_WAIT_MS,
            then,
            early: wait == Wait::Disk,
        };
        if let Some(before) = self.keeping.remove(name).filter(|before| wait != Wait::Replicas && before.since == since)
        {
            keeping.follows(before, &self.config.me);
        }
        self.keeping.insert(name.clone(), keeping);
        let kept = Message::Kept { name: name.clone(), birth: snapshot.birth, revision: snapshot.revision };
        self.store(name, snapshot);
        if planted(Fault::ReplyBeforeSync) {
            return self.inbox.push_back(kept);
        }
        self.once_durable(Effect::Send { to: self.config.me.clone(), message: Box::new(kept) });
    }

    pub(super) fn store(&mut self, name: &Arc<str>, snapshot: Snapshot) {
        let Snapshot { birth, revision, checkpoint, .. } = snapshot;
        self.stored.insert(name.clone(), Stored { birth, revision, checkpoint });
        self.out.push(Effect::StoreSnapshot { name: name.clone(), snapshot });
    }

    /// The peers that hold copies of a name's state: those that would host it next.
    fn replicas(&self, name: &Arc<str>) -> Vec<Peer> {
        let Some(spec) = self.directory.mine(name).map(|cell| cell.spec.clone()) else { return Vec::new() };
        let mut peers: Vec<&Peer> =
            self.view.up().filter(|peer| **peer != self.config.me && self.links(peer, &spec.kind)).collect();
        peers.sort_by_key(|peer| (u64::MAX - score(name, &peer.node), (*peer).clone()));
        peers.into_iter().take(usize::from(spec.replicas)).cloned().collect()
    }

    pub(super) fn on_keep(&mut self, from: &Peer, name: &Arc<str>, snapshot: Snapshot, past: &Past) {
        if !snapshot.is_intact() || self.directory.is_banned(name, snapshot.birth) {
            return;
        }
        let (birth, revision) = (snapshot.birth, snapshot.revision);
        let newer = match self.stored.get(name) {
            None => true,
            Some(stored) if stored.birth == birth => revision > stored.revision || planted(Fault::KeepOlder),
            Some(stored) => {
                let current = self.standing(name).cell().map(|(_, cell)| cell.birth);
                current == Some(birth) || self.directory.is_banned(name, stored.birth) || birth > stored.birth
            }
        };
        if newer {
            self.set_aside_what_lacks(name, birth, revision.epoch, past);
            self.store(name, snapshot);
        } else if self.stored.get(name).is_some_and(|stored| stored.birth != birth) {
            return;
        }
        let kept = Message::Kept { name: name.clone(), birth, revision };
        self.once_durable(Effect::Send { to: from.clone(), message: Box::new(kept) });
    }

    pub(super) fn on_kept(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, revision: Revision) {
        let Some(keeping) = self.keeping.get_mut(name) else { return };
        let counts = keeping.oldest(from, &self.config.me)..=keeping.revision;
        if keeping.birth != birth || !counts.contains(&revision) || !keeping.missing.remove(from) {
            return;
        }
        keeping.holders.insert(from.clone());
        if keeping.missing.is_empty() {
            return self.kept_by_all(name);
        }
        if keeping.early && *from == self.config.me && keeping.then == Then::Tell {
            keeping.then = Then::Nothing;
            let (since, number) = (keeping.since, keeping.revision.number);
            self.out.push(Effect::Checkpointed { name: name.clone(), since, number, result: Ok(()) });
        }
    }

    /// Whether what this node has said up to this number is known to whoever will look for states when this node is gone:
    /// another member that is Up, if there is one; in mode "majority" enough voters.
    fn is_known(&self, seq: u64) -> bool {
        let me = &self.config.me.node;
        let holds = |node: &NodeId| {
            node == me
                || self.view.peer(node).is_some() && self.members.get(node).is_some_and(|m| m.holds_of_mine >= seq)
        };
        let others = || self.view.up().map(|peer| &peer.node).filter(|node| *node != me);
        seq == 0 || self.is_known_to_quorum(holds).unwrap_or_else(|| others().next().is_none() || others().any(holds))
    }

    /// Acknowledges checkpoints that waited until the others know that fewer have copies than before.
    fn tell_the_unheard(&mut self) {
        for (name, unheard) in std::mem::take(&mut self.unheard) {
            if self.local.get(&name).is_none_or(|local| local.since != unheard.since) {
                continue;
            }
            if self.is_known(unheard.seq) {
                let Unheard { since, number, .. } = unheard;
                self.once_durable(Effect::Checkpointed { name, since, number, result: Ok(()) });
            } else {
                self.unheard.insert(name, unheard);
            }
        }
    }

    /// No checkpoint is acknowledged any more: what is stored here is stored.
    pub(super) fn keep_no_more(&mut self) {
        for (name, Unheard { since, number, .. }) in std::mem::take(&mut self.unheard) {
            let result = Err("there is no majority any more".to_owned());
            self.out.push(Effect::Checkpointed { name, since, number, result });
        }
        for (name, keeping) in std::mem::take(&mut self.keeping) {
            let Keeping { since, revision, .. } = keeping;
            if keeping.is_awaited() {
                let result = Err("there is no majority any more".to_owned());
                self.out.push(Effect::Checkpointed { name, since, number: revision.number, result });
            }
        }
    }

    fn kept_by_all(&mut self, name: &Arc<str>) {
        let Some(keeping) = self.keeping.remove(name) else { return };
        let Keeping { since, revision, left_out, holders: kept_by, then, .. } = keeping;
        let holders: BTreeSet<NodeId> = kept_by.iter().map(|peer| peer.node.clone()).collect();
        if let Some(local) = self.local.get_mut(name) {
            local.kept_by = kept_by;
        }
        let before = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let changed = *before != holders;
        if changed {
            let shrunk = !before.is_subset(&holders) || before.is_empty() && left_out;
            self.restate(name, |cell| cell.holders = holders.into());
            let max = self.own_max();
            if let Some(local) = self.local.get_mut(name).filter(|_| shrunk) {
                local.shrunk_seq = max;
            }
        }
        if matches!(then, Then::Run | Then::RunAndTell) {
            self.run(name);
        }
        match then {
            Then::Run | Then::Nothing => {}
            Then::Tell | Then::RunAndTell => {
                let number = revision.number;
                let told = Effect::Checkpointed { name: name.clone(), since, number, result: Ok(()) };
                let seq = self.local.get(name).map_or(0, |local| local.shrunk_seq);
                if !self.is_known(seq) && !planted(Fault::ShrinkUnheard) {
                    self.unheard.insert(name.clone(), Unheard { since, number, seq });
                } else if changed {
                    self.once_durable(told);
                } else {
                    self.out.push(told);
                }
            }
        }
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
        let beyond = self.stored.get(name).filter(|stored| stored.birth == birth).map(|stored| stored.revision);
        let present = self.present();
        for to in &present {
            self.send(to, Message::Best { name: name.clone(), birth, beyond });
        }
        let now = self.now.mono_ms;
        // Those who are away have been waited for since they went: the arbiter has done so, too.
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let here = present.iter().any(|peer| holders.contains(&peer.node));
        let since_ms = self.settled_since_ms.filter(|_| !here).unwrap_or(now);
        let wait_ms = self.directory.mine(name).map_or(0, |cell| self.state_wait_ms(&cell.spec.worker_type));
        let restoring = Restoring {
            birth,
            answered: BTreeSet::new(),
            best: None,
            until_ms: now + BEST_WAIT_MS,
            holders_until_ms: since_ms.saturating_add(wait_ms),
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
            let stored = self.stored.get(name).filter(|stored| stored.birth == birth).map(|stored| stored.revision);
            let beyond = restoring.best.as_ref().map(|best| best.revision).max(stored);
            let best = |to: &Peer| (to.clone(), Message::Best { name: name.clone(), birth, beyond });
            messages.extend(present.difference(&restoring.answered).map(best));
        }
        for (to, message) in messages {
            self.send(&to, message);
        }
    }

    pub(super) fn on_best(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, beyond: Option<Revision>) {
        match self.stored.get(name) {
            Some(stored) if stored.birth == birth && Some(stored.revision) > beyond => {
                let purpose = Purpose::Answer { name: name.clone(), birth, to: from.clone() };
                self.out.push(Effect::LoadSnapshot { purpose });
            }
            _ => self.send(from, Message::BestIs { name: name.clone(), birth, snapshot: None }),
        }
    }

    pub(super) fn on_best_is(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, snapshot: Option<Snapshot>) {
        let Some(restoring) = self.restoring.get_mut(name).filter(|r| r.birth == birth) else { return };
        restoring.answered.insert(from.clone());
        if let Some(snapshot) = snapshot.filter(|s| s.is_intact() && s.birth == birth)
            && restoring
                .best
                .as_ref()
                .is_none_or(|best| best.revision < snapshot.revision && !planted(Fault::RestoreFirstCome))
        {
            restoring.best = Some(snapshot);
        }
        self.restored_if_all_answered(name);
    }

    fn restored_if_all_answered(&mut self, name: &Arc<str>) {
        let now = self.now.mono_ms;
        let present = self.present();
        let Some(restoring) = self.restoring.get(name) else { return };
        let mine = self.config.me.node.clone();
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let all_answered = present.is_subset(&restoring.answered);
        // Each holder alone is enough, and nobody else is.
        let one_holds = holders.is_empty()
            || holders.contains(&mine)
            || restoring.answered.iter().any(|peer| holders.contains(&peer.node))
            || planted(Fault::RestoreWithoutAsking);
        let (late, too_late) = (now >= restoring.until_ms, now >= restoring.holders_until_ms);
        if !((all_answered || late) && (one_holds || too_late)) {
            return;
        }
        if !one_holds {
            self.out.push(Effect::Tell(Notice::RestoredOlder { name: name.clone() }));
        }
        let Some(Restoring { birth, best, .. }) = self.restoring.remove(name) else { return };
        let Some(since) = self.local.get(name).map(|local| local.since) else { return };
        match (best, self.stored.get(name).filter(|stored| stored.birth == birth)) {
            (Some(best), _) => {
                let past = self.directory.mine(name).map(|cell| cell.past.started_from(best.revision));
                self.set_aside_what_lacks(name, birth, since, &past.unwrap_or_default());
                self.store(name, best.clone());
                self.start(name, Some(best));
            }
            (None, Some(_)) => {
                self.out.push(Effect::LoadSnapshot { purpose: Purpose::Start { name: name.clone(), since } });
            }
            (None, None) => self.start_from_nothing(name),
        }
    }

    pub(super) fn on_loaded(&mut self, purpose: Purpose, snapshot: Option<Snapshot>) {
        let snapshot = snapshot.filter(Snapshot::is_intact);
        match purpose {
            Purpose::Answer { name, birth, to } => {
                let snapshot = snapshot.filter(|snapshot| snapshot.birth == birth);
                self.send(&to, Message::BestIs { name, birth, snapshot });
            }
            Purpose::Start { name, since } => {
                let waits =
                    |local: &&super::host::Local| local.since == since && matches!(local.phase, LocalPhase::Restoring);
                let Some(local) = self.local.get(&name).filter(waits) else { return };
                let birth = local.birth;
                match snapshot.filter(|snapshot| snapshot.birth == birth) {
                    // It was there and cannot be read any more: another copy may be as good.
                    None if self.stored.remove(&name).is_some() => self.restore(&name),
                    None => self.start_from_nothing(&name),
                    state => self.start(&name, state),
                }
            }
            Purpose::Offer { name, birth, revision, to } => self.offer_diverged(name, birth, revision, &to, snapshot),
            Purpose::Copy { name, since } => {
                self.copying.remove(&name);
                let current = self
                    .local
                    .get(&name)
                    .is_some_and(|local| local.since == since && matches!(local.phase, LocalPhase::Running));
                let stored = self.stored.get(&name).map(|stored| stored.revision);
                if snapshot.is_none() {
                    self.stored.remove(&name); // it cannot be read: the next checkpoint takes its place
                }
                if let Some(snapshot) = snapshot
                    && current
                    && stored == Some(snapshot.revision)
                    && !self.keeping.contains_key(&name)
                {
                    self.keep(&name, since, snapshot, Then::Nothing, Wait::Replicas);
                }
            }
        }
    }

    /// Forgets a copy that the name's host does not count on any more.
    pub(super) fn review_snapshot(&mut self, name: &Arc<str>, standing: &Standing) {
        let Some(stored) = self.stored.get(name).copied() else { return };
        let needless = match standing {
            Standing::Claimed { host, cell } => {
                *host != self.config.me
                    && (planted(Fault::DeleteBeforeProof) || cell.state == NameState::Running)
                    && cell.birth == stored.birth
                    && (planted(Fault::DeleteBeforeProof)
                        || !cell.holders.is_empty() && !cell.holders.contains(&self.config.me.node))
                    && (!cell.lacks(stored.revision) || planted(Fault::DropDiverged))
                    && (cell.since > stored.revision.epoch
                        || planted(Fault::DropPromisedCopy) && cell.since == stored.revision.epoch)
            }
            Standing::Free | Standing::Source { .. } => false,
        };
        if needless || self.directory.is_banned(name, stored.birth) {
            self.stored.remove(name);
            self.out.push(Effect::DeleteSnapshot { name: name.clone() });
        }
    }

    /// Whether a worker elsewhere counts on this node for its state: fewer of the others have a copy than could.
    pub(super) fn is_counted_on(&self) -> bool {
        self.stored.keys().any(|name| match self.standing(name) {
            Standing::Claimed { host, cell } if host != self.config.me => {
                let able = || self.view.up().filter(|peer| self.links(peer, &cell.spec.kind));
                let copies = able().filter(|peer| cell.holders.contains(&peer.node)).count();
                cell.holders.contains(&self.config.me.node)
                    && copies < able().count().min(1 + usize::from(cell.spec.replicas))
            }
            // Whoever starts it next will ask for it.
            Standing::Source { host, cell } => {
                host != self.config.me
                    && cell.spec.handoff
                    && cell.holders.contains(&self.config.me.node)
                    && !self.view.up().any(|peer| cell.holders.contains(&peer.node))
            }
            _ => false,
        })
    }

    pub(super) fn tick_snapshots(&mut self) {
        let now = self.now.mono_ms;
        let view = &self.view;
        let mut done = Vec::new();
        for (name, keeping) in &mut self.keeping {
            let me = &self.config.me;
            let late = now >= keeping.until_ms;
            let missing = keeping.missing.len();
            keeping.missing.retain(|peer| peer == me || (view.contains(peer) && !late));
            keeping.left_out |= keeping.missing.len() < missing;
            if keeping.missing.is_empty() {
                done.push(name.clone());
            }
        }
        for name in done {
            self.kept_by_all(&name);
        }
        self.tell_the_unheard();
        self.ask_for_best_again();
        let waiting: Vec<Arc<str>> = self.restoring.keys().cloned().collect();
        for name in waiting {
            self.restored_if_all_answered(&name);
        }
        self.make_up_for_lost_copies();
    }

    fn make_up_for_lost_copies(&mut self) {
        if self.phase != super::message::Phase::Up || self.copies_checked == self.view.hash || !self.settled() {
            return;
        }
        let mut room = MAX_COPYING.saturating_sub(self.keeping.len() + self.copying.len());
        let mut all_there = true;
        let running = self.local.iter().filter(|(_, local)| matches!(local.phase, LocalPhase::Running));
        let names: Vec<(Arc<str>, Epoch)> = running.map(|(name, local)| (name.clone(), local.since)).collect();
        for (name, since) in names {
            let (Some(cell), Some(local)) = (self.directory.mine(&name), self.local.get(&name)) else { continue };
            // One that leaves is as good as gone: it waits until nobody counts on it.
            // And one that was started anew counts when it has said so again: its disk may have been lost.
            let here = self.view.up().filter(|peer| local.kept_by.contains(peer)).count();
            let nothing = cell.holders.is_empty() || !self.stored.contains_key(&name);
            if nothing || here > self.replicas(&name).len() {
                continue;
            }
            all_there = false;
            if room > 0 && !self.keeping.contains_key(&name) && self.copying.insert(name.clone()) {
                room -= 1;
                self.out.push(Effect::LoadSnapshot { purpose: Purpose::Copy { name, since } });
            }
        }
        if all_there {
            self.copies_checked = self.view.hash;
        }
    }
}
