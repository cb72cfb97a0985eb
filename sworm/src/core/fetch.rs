//! Large states on their way: whoever needs one asks for its chunks, a few at a time, and each is written as it comes.
//!
//! The receiver asks, so that nothing but what it has asked for comes, and a chunk that was lost, came late, twice or
//! damaged is asked for again; the sender keeps nothing in mind and reads each chunk from its disk. What depends on the
//! state is done when all chunks are there, and is acknowledged when they and the manifest, which is written after them,
//! are durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::Effect;
use super::chunks::{Manifest, SetId, Shipment};
use super::fault::{Fault, planted};
use super::ids::{Epoch, Peer};
use super::message::Message;
use super::past::Past;
use super::snapshots::Purpose;
use super::state::Core;

/// A large state that is being fetched.
#[derive(Debug)]
pub struct Fetch {
    from: Peer,
    manifest: Arc<Manifest>,
    set: SetId,
    why: Why,
    /// The first chunk that was not asked for.
    next: u32,
    /// Those that were, and have not come, and when.
    asked: BTreeMap<u32, u64>,
    /// When the sender was told something last, and how often in vain.
    told_ms: u64,
    tries: u32,
    /// When something came last.
    came_ms: u64,
}

/// For what a state is fetched.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// To keep a copy of it, for a worker with that behind it.
    Keep { past: Past },
    /// To take the worker over in that epoch.
    Offer { epoch: Epoch },
    /// To start a worker here.
    Start { since: Epoch },
    /// To give it to the worker here, which lacks it.
    Merge,
}

/// So many chunks of one state are asked for at a time, and so many of all states.
const WINDOW: usize = 4;
const AT_A_TIME: usize = 16;
/// When what did not come is asked for again, if nothing else comes either; then twice as long, and so on: a link that is slow
/// must not be given more of the same to carry. And when the sender is told that there is no room for another one.
const AGAIN_MS: u64 = 1_000;
/// So often in a row without anything coming, which is half a minute; then it is given up.
const TRIES: u32 = 5;

impl Core {
    /// The manifest of a state whose bytes are not here yet.
    pub(super) fn lacks_chunks(&self, name: &Arc<str>, shipment: &Shipment) -> Option<Arc<Manifest>> {
        shipment.manifest().filter(|manifest| !self.holds_chunks(name, manifest)).cloned()
    }

    /// Whether a state that is kept of a name, or that was set aside, has the same bytes.
    pub(super) fn holds_chunks(&self, name: &Arc<str>, manifest: &Manifest) -> bool {
        let kept = self.stored.get(name).and_then(|stored| stored.manifest.as_ref());
        let mut held = kept.into_iter().chain(self.diverged.manifests(name));
        held.any(|held| held.set(name) == manifest.set(name))
    }

    /// Begins to fetch a state, or goes on with other intentions.
    pub(super) fn fetch(&mut self, from: &Peer, name: &Arc<str>, manifest: Arc<Manifest>, why: Why) {
        let (from, set, told_ms) = (from.clone(), manifest.set(name), self.now.mono_ms);
        match self.fetches.get_mut(name) {
            Some(fetch) if fetch.comes_before(&manifest, &why) => return,
            Some(fetch) if fetch.set == set => {
                if fetch.from != from {
                    // What the other one was asked for will not come, or not count.
                    fetch.asked.values_mut().for_each(|asked_ms| *asked_ms = 0);
                }
                (fetch.from, fetch.manifest, fetch.why, fetch.tries) = (from, manifest, why, 0);
            }
            _ => {
                self.end_fetch(name);
                let (next, asked, tries, came_ms) = (0, BTreeMap::new(), 0, told_ms);
                let fetch = Fetch { from, manifest, set, why, next, asked, told_ms, tries, came_ms };
                self.fetches.insert(name.clone(), fetch);
            }
        }
        self.ask_for_chunks();
    }

    /// Asks for as many chunks as there is room for.
    fn ask_for_chunks(&mut self) {
        let now = self.now.mono_ms;
        let under_way: usize = self.fetches.values().map(|fetch| fetch.asked.len()).sum();
        let mut room = AT_A_TIME.saturating_sub(under_way);
        let mut messages = Vec::new();
        for (name, fetch) in &mut self.fetches {
            while room > 0 && fetch.asked.len() < WINDOW && fetch.next < fetch.manifest.chunks() {
                room -= 1;
                fetch.asked.insert(fetch.next, now);
                fetch.told_ms = now;
                messages.push((fetch.from.clone(), fetch.pull(name, Some(fetch.next))));
                fetch.next += 1;
            }
        }
        for (to, message) in messages {
            self.send(&to, message);
        }
    }

    /// Somebody fetches a state that is kept here. That it does is a reason to wait for it.
    pub(super) fn on_pull_chunk(&mut self, from: &Peer, name: &Arc<str>, set: SetId, index: Option<u32>) {
        let kept = self.stored.get(name).and_then(|stored| stored.manifest.as_ref());
        let aside = self.diverged.manifests(name);
        let Some(manifest) = kept.into_iter().chain(aside).find(|manifest| manifest.set(name) == set).cloned() else {
            return self.send(from, Message::NoChunk { name: name.clone(), set });
        };
        self.move_goes_on(name, from);
        self.keeping_goes_on(name, from, manifest.revision);
        if let Some(index) = index.filter(|index| *index < manifest.chunks()) {
            self.out.push(Effect::SendChunk { to: from.clone(), name: name.clone(), manifest, index });
        }
    }

    /// A chunk that was to be sent cannot be read.
    pub(super) fn on_lost_chunk(&mut self, to: &Peer, name: &Arc<str>, set: SetId) {
        let kept = self.stored.get(name).and_then(|stored| stored.manifest.as_ref());
        if kept.is_some_and(|manifest| manifest.set(name) == set) {
            self.lose_stored(name); // what is saved next takes its place
        }
        self.forget_lost_aside(name, set);
        self.send(to, Message::NoChunk { name: name.clone(), set });
    }

    pub(super) fn on_chunk(&mut self, from: &Peer, name: &Arc<str>, set: SetId, index: u32, bytes: Bytes) {
        let Some(fetch) = self.fetches.get_mut(name).filter(|fetch| fetch.set == set && fetch.from == *from) else {
            return;
        };
        let Some(asked_ms) = fetch.asked.get_mut(&index) else { return };
        if !fetch.manifest.fits(index, &bytes) && !planted(Fault::ChunkWithoutChecksum) {
            *asked_ms = 0; // with the next tick
            return;
        }
        fetch.asked.remove(&index);
        (fetch.tries, fetch.came_ms) = (0, self.now.mono_ms);
        let manifest = fetch.manifest.clone();
        let whole = fetch.asked.is_empty() && fetch.next == manifest.chunks();
        self.out.push(Effect::StoreChunk { name: name.clone(), manifest, index, bytes });
        if whole && let Some(fetch) = self.fetches.remove(name) {
            self.fetched(name, fetch);
        }
        self.ask_for_chunks();
    }

    /// All chunks of a state are here. What does not keep it does not need them.
    fn fetched(&mut self, name: &Arc<str>, fetch: Fetch) {
        let Fetch { from, manifest, why, .. } = fetch;
        let shipment = Shipment::Chunked(manifest.clone());
        match why {
            Why::Keep { past } => self.keep_copy(&from, name, shipment, &past),
            Why::Offer { epoch } => self.take_offer(&from, name, epoch, shipment),
            Why::Start { since } => self.start_from(name, since, shipment),
            Why::Merge => {
                let purpose = Purpose::Merge { name: name.clone(), manifest, from };
                return self.out.push(Effect::LoadSnapshot { purpose });
            }
        }
        self.drop_chunks(name, manifest);
    }

    pub(super) fn on_no_chunk(&mut self, from: &Peer, name: &Arc<str>, set: SetId) {
        if self.fetches.get(name).is_some_and(|fetch| fetch.set == set && fetch.from == *from) {
            self.give_up_fetch(name);
        }
    }

    /// A state does not come: whoever waits for it does without it, or looks elsewhere.
    fn give_up_fetch(&mut self, name: &Arc<str>) {
        let Some(Fetch { from, manifest, why, .. }) = self.end_fetch(name) else { return };
        match why {
            Why::Keep { .. } | Why::Merge => {}
            Why::Offer { epoch } => self.refuse_offer(&from, name, manifest.birth, epoch),
            Why::Start { since } => self.restore_again(name, since),
        }
        self.ask_for_chunks();
    }

    /// Whether chunks of that set are being fetched.
    pub(super) fn is_fetching(&self, name: &Arc<str>, set: SetId) -> bool {
        self.fetches.get(name).is_some_and(|fetch| fetch.set == set)
    }

    fn end_fetch(&mut self, name: &Arc<str>) -> Option<Fetch> {
        let fetch = self.fetches.remove(name)?;
        self.drop_chunks(name, fetch.manifest.clone());
        Some(fetch)
    }

    /// Whether anybody still waits for a state.
    fn is_wanted(&self, name: &Arc<str>, fetch: &Fetch) -> bool {
        let Fetch { manifest, why, .. } = fetch;
        match why {
            Why::Keep { .. } | Why::Offer { .. } => !self.directory.is_banned(name, manifest.birth),
            Why::Start { since } => self.is_restoring(name, *since),
            Why::Merge => self.directory.mine(name).is_some_and(|cell| cell.lacks(manifest.revision)),
        }
    }

    /// Asks again for what did not come, and gives up on senders that are gone.
    pub(super) fn tick_fetches(&mut self) {
        let now = self.now.mono_ms;
        let needless = self.fetches.iter().filter(|(name, fetch)| !self.is_wanted(name, fetch));
        for name in needless.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.end_fetch(&name);
        }
        let (mut messages, mut vain) = (Vec::new(), Vec::new());
        for (name, fetch) in &mut self.fetches {
            let from = &fetch.from;
            let member = self.members.get(&from.node);
            if !member.is_some_and(|member| member.present && member.incarnation == from.incarnation) {
                vain.push(name.clone());
                continue;
            }
            let patience_ms = AGAIN_MS << fetch.tries;
            let is_late = |at: u64| at == 0 || now >= at.max(fetch.came_ms) + patience_ms;
            let late: Vec<(u32, u64)> =
                fetch.asked.iter().filter(|(_, at)| is_late(**at)).map(|(n, at)| (*n, *at)).collect();
            if late.iter().any(|(_, at)| *at > 0) {
                fetch.tries += 1;
            }
            for (index, _) in &late {
                fetch.asked.insert(*index, now);
                messages.push((from.clone(), fetch.pull(name, Some(*index))));
            }
            if fetch.asked.is_empty() && now >= fetch.told_ms + AGAIN_MS {
                messages.push((from.clone(), fetch.pull(name, None)));
                fetch.told_ms = now;
            }
            if fetch.tries > TRIES {
                vain.push(name.clone());
            }
        }
        for (to, message) in messages {
            self.send(&to, message);
        }
        for name in vain {
            self.give_up_fetch(&name);
        }
        self.ask_for_chunks();
    }
}

impl Fetch {
    /// Whether another state of the same name, or another wish for this one, has to wait: a copy that comes late is worth
    /// less than what is to be started from, and of what a worker lacks one after the other comes.
    fn comes_before(&self, manifest: &Manifest, why: &Why) -> bool {
        let revisions = (self.manifest.birth == manifest.birth).then_some((self.manifest.revision, manifest.revision));
        match (why, &self.why) {
            (Why::Keep { .. }, Why::Start { .. }) => true,
            (Why::Keep { .. }, Why::Keep { .. }) => revisions.is_some_and(|(this, other)| this > other),
            (Why::Keep { .. }, _) => revisions.is_some_and(|(this, other)| this >= other),
            (Why::Merge, _) => *self.manifest != *manifest,
            (Why::Offer { .. } | Why::Start { .. }, _) => false,
        }
    }

    fn pull(&self, name: &Arc<str>, index: Option<u32>) -> Message {
        Message::PullChunk { name: name.clone(), set: self.set, index }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cell::Revision;
    use crate::core::ids::{Birth, Incarnation, NodeId};

    fn manifest(number: u64) -> Arc<Manifest> {
        let revision = Revision { epoch: Epoch { major: 1, minor: 0 }, number };
        let (length, chunk, sums) = (1, 1, [number].into());
        Arc::new(Manifest {
            birth: Birth(1, 2),
            revision,
            checkpoint: true,
            version: 1,
            checksum: 7,
            length,
            chunk,
            sums,
        })
    }

    fn fetch(number: u64, why: Why) -> Fetch {
        let (manifest, asked) = (manifest(number), BTreeMap::new());
        let from = Peer { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) };
        Fetch { from, set: manifest.set("x"), manifest, why, next: 0, asked, told_ms: 0, tries: 0, came_ms: 0 }
    }

    #[test]
    fn a_copy_that_comes_late_ends_nothing_that_is_waited_for() {
        let keep = || Why::Keep { past: Past::default() };
        let (offer, start) = (Why::Offer { epoch: Epoch::default() }, Why::Start { since: Epoch::default() });
        let waits = |fetched: Fetch, number| fetched.comes_before(&manifest(number), &keep());
        assert_eq!([1, 2, 3].map(|number| waits(fetch(2, offer.clone()), number)), [true, true, false]);
        assert_eq!([1, 2, 3].map(|number| waits(fetch(2, start.clone()), number)), [true, true, true]);
        assert_eq!([1, 2, 3].map(|number| waits(fetch(2, keep()), number)), [true, false, false]);
    }

    #[test]
    fn states_that_a_worker_lacks_come_one_after_the_other_and_a_start_waits_for_none() {
        let merging = fetch(2, Why::Merge);
        assert_eq!([1, 2, 3].map(|number| merging.comes_before(&manifest(number), &Why::Merge)), [true, false, true]);
        assert!(!merging.comes_before(&manifest(1), &Why::Start { since: Epoch::default() }));
    }
}
