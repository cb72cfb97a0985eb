//! Saving: when a state counts as durable. Where its copies go is decided in [`replicas`](super::replicas), and whether enough
//! others know where they are in [`hearing`](super::hearing).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cell::Revision;
use super::chunks::Shipment;
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::fetch::Why;
use super::host::{Local, LocalPhase, first_revision};
use super::ids::{Birth, Epoch, NodeId, Peer};
use super::message::Message;
use super::past::Past;
use super::snapshots::{NotKept, Wait};
use super::state::Core;
use super::{Effect, Notice};

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
    /// Until when they are waited for, and until when at last if they are seen to get on.
    until_ms: u64,
    at_last_ms: u64,
    then: Then,
    /// Whether the worker is told when it is on this node's disk.
    early: bool,
    /// Whether it travels in chunks.
    large: bool,
}

impl Keeping {
    /// States for which nobody waits may come faster than they become durable: it is still the first of them that is
    /// waited for, and a copy of it is as good as one of this.
    fn follows(&mut self, before: Self, me: &Peer) {
        let Self { first, left_out, until_ms, at_last_ms, mut holders, .. } = before;
        if self.is_awaited() {
            holders.remove(me);
        }
        self.holders = holders.intersection(&self.missing).cloned().collect();
        self.missing.retain(|peer| !self.holders.contains(peer));
        (self.first, self.left_out) = (first, left_out);
        (self.until_ms, self.at_last_ms) = (until_ms, at_last_ms);
    }

    /// Whom it waits for.
    pub(super) fn missing(&self) -> impl Iterator<Item = &Peer> {
        self.missing.iter()
    }

    /// Whether those who are late are slow: a large state that a start waits for may just take longer.
    fn shows_who_is_slow(&self) -> bool {
        !self.large || matches!(self.then, Then::Tell | Then::Nothing)
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

/// How long a replica may take before it is left out.
const REPLICA_WAIT_MS: u64 = 2_000;
/// How long it may take in all when it fetches a large state.
const COPY_LIMIT_MS: u64 = 30_000;

impl Core {
    pub(super) fn on_checkpoint(&mut self, name: &Arc<str>, since: Epoch, state: Shipment, wait: Wait) {
        let number = state.revision().number;
        // A worker that is told to pause finishes its message first, and that may ask for a checkpoint.
        let is_fenced = self.local.get(name).is_some_and(|local| local.since == since && local.fenced);
        let runs = self.local.get(name).is_some_and(|local| {
            local.since == since
                && !is_fenced
                && match &local.phase {
                    LocalPhase::Running | LocalPhase::Parking => true,
                    LocalPhase::Moving(moving) => !moving.is_accepted(),
                    _ => false,
                }
        });
        let settles = |local: &Local| local.since == since && matches!(local.phase, LocalPhase::Settling);
        let then = match (self.local.get(name).is_some_and(settles), wait) {
            (true, Wait::Nothing) => Then::Run,
            (true, _) => Then::RunAndTell,
            (false, Wait::Nothing) if runs => Then::Nothing,
            (false, _) if runs => Then::Tell,
            _ => {
                self.on_unsent_state(name, since);
                let why = if is_fenced { NotKept::NoMajority } else { NotKept::Other("the worker is being stopped") };
                return self.is_not_kept(name, since, number, why);
            }
        };
        match self.pack(name, state) {
            Some(state) => self.keep(name, since, state, then, wait),
            None => self.is_not_kept(name, since, number, NotKept::NotWhole),
        }
    }

    pub(super) fn is_not_kept(&mut self, name: &Arc<str>, since: Epoch, number: u64, why: NotKept) {
        self.out.push(Effect::Checkpointed { name: name.clone(), since, number, result: Err(why) });
    }

    pub(super) fn on_unsaved(&mut self, name: &Arc<str>, since: Epoch, reason: Arc<str>) {
        let pid = self.own_pid(name, since);
        self.out.push(Effect::Tell(Notice::Unsaved { pid, reason }));
    }

    /// Stores a state under the epoch that was started from it.
    pub(super) fn keep_restored(&mut self, name: &Arc<str>, since: Epoch, restored: Shipment) {
        self.follows(name, restored.revision());
        let restored = match restored {
            Shipment::Whole(_) => self.pack(name, restored.clone()).unwrap_or(restored),
            Shipment::Chunked(_) => restored,
        };
        self.keep(name, since, restored.at(first_revision(since)), Then::Run, Wait::Replicas);
    }

    /// States from what a worker was started.
    pub(super) fn follows(&mut self, name: &Arc<str>, from: Revision) {
        self.restate(name, |cell| cell.past = cell.past.started_from(from).into());
    }

    fn keep(&mut self, name: &Arc<str>, since: Epoch, snapshot: Shipment, then: Then, wait: Wait) {
        let replicas = self.replicas(name);
        self.keep_with(name, since, snapshot, then, wait, replicas);
    }

    /// Makes a state durable here, for which nobody waits, and with these peers.
    pub(super) fn keep_copies(&mut self, name: &Arc<str>, since: Epoch, snapshot: Shipment, replicas: Vec<Peer>) {
        self.keep_with(name, since, snapshot, Then::Nothing, Wait::Replicas, replicas);
    }

    fn keep_with(
        &mut self,
        name: &Arc<str>,
        since: Epoch,
        snapshot: Shipment,
        then: Then,
        wait: Wait,
        replicas: Vec<Peer>,
    ) {
        let wait = if planted(Fault::ReplyBeforeReplica) { Wait::Disk } else { wait };
        self.begins_anew(name);
        let past = self.directory.mine(name).map(|cell| cell.past.clone()).unwrap_or_default();
        for to in &replicas {
            self.send(to, Message::Keep { name: name.clone(), snapshot: snapshot.clone(), past: (*past).clone() });
        }
        let mut missing: BTreeSet<Peer> = replicas.into_iter().collect();
        missing.insert(self.config.me.clone());
        let (birth, revision, now) = (snapshot.birth(), snapshot.revision(), self.now.mono_ms);
        let mut keeping = Keeping {
            birth,
            since,
            revision,
            first: revision,
            missing,
            left_out: false,
            holders: BTreeSet::new(),
            until_ms: now + REPLICA_WAIT_MS,
            at_last_ms: now + COPY_LIMIT_MS,
            then,
            early: wait == Wait::Disk,
            large: snapshot.manifest().is_some(),
        };
        if let Some(before) = self.keeping.remove(name).filter(|before| wait != Wait::Replicas && before.since == since)
        {
            keeping.follows(before, &self.config.me);
        }
        self.keeping.insert(name.clone(), keeping);
        let kept = Message::Kept { name: name.clone(), birth, revision };
        self.store(name, snapshot);
        if planted(Fault::ReplyBeforeSync) {
            return self.inbox.push_back(kept);
        }
        self.once_durable(Effect::Send { to: self.config.me.clone(), message: Box::new(kept) });
    }

    pub(super) fn on_keep(&mut self, from: &Peer, name: &Arc<str>, snapshot: Shipment, past: &Past) {
        // What another one saves of a worker that runs here is not kept in the place of what that has saved.
        let runs_here = matches!(self.standing(name), Standing::Claimed { host, .. } if host == self.config.me);
        if !snapshot.is_sound() || runs_here && !planted(Fault::KeepAnothers) {
            return;
        }
        match self.lacks_chunks(name, &snapshot).filter(|_| self.is_newer(name, &snapshot)) {
            Some(manifest) => {
                if planted(Fault::ManifestFirst) {
                    let kept = Message::Kept { name: name.clone(), birth: manifest.birth, revision: manifest.revision };
                    self.send(from, kept);
                }
                self.fetch(from, name, manifest, Why::Keep { past: past.clone() });
            }
            None => self.keep_copy(from, name, snapshot, past),
        }
    }

    /// Whether a state is to take the place of what is kept of its name.
    fn is_newer(&self, name: &Arc<str>, snapshot: &Shipment) -> bool {
        let (birth, revision) = (snapshot.birth(), snapshot.revision());
        match self.stored.get(name) {
            _ if self.directory.is_banned(name, birth) => false,
            None => true,
            Some(stored) if stored.birth == birth => {
                let is_later = revision > stored.revision || self.is_outdone(name, birth, stored.revision);
                is_later && !self.is_outdone(name, birth, revision) || planted(Fault::KeepOlder)
            }
            Some(stored) => {
                let current = self.standing(name).cell().map(|(_, cell)| cell.birth);
                let is_later = birth > stored.birth && (current != Some(stored.birth) || planted(Fault::KeepAnothers));
                current == Some(birth) || self.directory.is_banned(name, stored.birth) || is_later
            }
        }
    }

    /// Whether a state is of a worker that has lost a conflict against the one that the directory shows, or against one before that.
    pub(super) fn is_outdone(&self, name: &Arc<str>, birth: Birth, revision: Revision) -> bool {
        self.standing(name).cell().is_some_and(|(_, cell)| cell.birth == birth && cell.outdoes(revision))
    }

    /// Keeps a copy of a state for its host; its chunks, if it has any, are here.
    pub(super) fn keep_copy(&mut self, from: &Peer, name: &Arc<str>, snapshot: Shipment, past: &Past) {
        let (birth, revision) = (snapshot.birth(), snapshot.revision());
        if self.directory.is_banned(name, birth) {
            return;
        }
        if self.is_newer(name, &snapshot) {
            self.set_aside_what_lacks(name, birth, revision.epoch, past);
            self.store(name, snapshot);
        } else if self
            .stored
            .get(name)
            .is_some_and(|stored| stored.birth != birth || stored.revision.epoch != revision.epoch)
        {
            return; // it is none of those that are kept in its place
        } else if self.stored.get(name).is_some_and(|stored| stored.doubtful) {
            self.is_sound_again(name, snapshot);
        }
        let kept = Message::Kept { name: name.clone(), birth, revision };
        self.once_durable(Effect::Send { to: from.clone(), message: Box::new(kept) });
    }

    /// A replica fetches a large state: it is waited for as long as it gets on, unless a start waits for it.
    pub(super) fn keeping_goes_on(&mut self, name: &Arc<str>, from: &Peer, revision: Revision) {
        let now = self.now.mono_ms;
        if let Some(keeping) = self.keeping.get_mut(name)
            && keeping.revision == revision
            && keeping.missing.contains(from)
            && matches!(keeping.then, Then::Tell | Then::Nothing)
        {
            keeping.until_ms = keeping.until_ms.max(now + REPLICA_WAIT_MS).min(keeping.at_last_ms);
        }
    }

    pub(super) fn on_kept(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, revision: Revision) {
        let Some(keeping) = self.keeping.get_mut(name) else { return };
        let counts = keeping.oldest(from, &self.config.me)..=keeping.revision;
        if keeping.birth != birth || !counts.contains(&revision) || !keeping.missing.remove(from) {
            return;
        }
        keeping.holders.insert(from.clone());
        self.is_in_time(from);
        let Some(keeping) = self.keeping.get_mut(name) else { return };
        if keeping.missing.is_empty() {
            return self.kept_by_all(name);
        }
        if keeping.early && *from == self.config.me && keeping.then == Then::Tell {
            keeping.then = Then::Nothing;
            let (since, number) = (keeping.since, keeping.revision.number);
            self.out.push(Effect::Checkpointed { name: name.clone(), since, number, result: Ok(()) });
        }
    }

    /// No checkpoint is acknowledged any more: what is stored here is stored.
    pub(super) fn keep_no_more(&mut self) {
        self.hear_no_more();
        for (name, keeping) in std::mem::take(&mut self.keeping) {
            let Keeping { since, revision, .. } = keeping;
            self.is_not_kept(&name, since, revision.number, NotKept::NoMajority);
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
            let others = before.is_empty() || !before.is_subset(&holders);
            self.restate(name, |cell| cell.holders = holders.into());
            let max = self.own_max();
            if let Some(local) = self.local.get_mut(name).filter(|_| others) {
                local.holders_seq = max;
            }
        }
        // It may be parked instead.
        let settles = self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Settling));
        if settles && matches!(then, Then::Run | Then::RunAndTell) {
            self.run(name);
            if left_out && self.stored.get(name).is_some_and(|stored| stored.manifest.is_some()) {
                self.copies_checked = 0; // a large one may just take longer: it is copied while the worker runs
            }
        }
        let number = revision.number;
        let told = Effect::Checkpointed { name: name.clone(), since, number, result: Ok(()) };
        match then {
            // A copy of what waits until the others know who holds it: it goes on waiting.
            Then::Nothing if self.waits_to_be_heard(name, since, number) => {}
            // Nobody waits for it, but the next one may be saved.
            Then::Run | Then::Nothing => self.out.push(told),
            Then::Tell | Then::RunAndTell => {
                let seq = self.local.get(name).map_or(0, |local| local.holders_seq);
                if !self.are_known(name, seq) {
                    self.wait_to_be_heard(name, since, number, seq);
                } else if changed {
                    self.once_durable(told);
                } else {
                    self.out.push(told);
                }
            }
        }
    }

    /// Leaves out the replicas that are gone or do not get on.
    pub(super) fn tick_keeping(&mut self) {
        let now = self.now.mono_ms;
        let view = &self.view;
        let (mut done, mut slow) = (Vec::new(), BTreeSet::new());
        for (name, keeping) in &mut self.keeping {
            let me = &self.config.me;
            let late = now >= keeping.until_ms;
            let missing = keeping.missing.len();
            if late && keeping.shows_who_is_slow() {
                slow.extend(keeping.missing.iter().filter(|peer| *peer != me && view.contains(peer)).cloned());
            }
            keeping.missing.retain(|peer| peer == me || (view.contains(peer) && !late));
            keeping.left_out |= keeping.missing.len() < missing;
            if keeping.missing.is_empty() {
                done.push(name.clone());
            }
        }
        for name in done {
            self.kept_by_all(&name);
        }
        for peer in slow {
            self.is_slow(peer);
        }
    }
}
