//! Which peers hold copies of a state: those that would host its name next, unless they are slow; and copies that are made up
//! for.
//!
//! Those are the ones that its strategy does not leave out, by rendezvous with their weights. That is the order of the
//! default strategy and of pins. Others may choose somebody else, by how much each runs for example; then the name
//! starts on one of the holders all the same.
//!
//! A peer that was waited for in vain is passed over for a while, and the next one takes its place: a slow disk costs one save
//! some time, not each. Meanwhile a single copy for which nobody waits is sent to it now and then, if there is no other peer
//! for that; as soon as one arrives in time the peer counts as before, and gets what it lacks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Effect;
use super::chunks::Shipment;
use super::host::{Local, LocalPhase};
use super::ids::{Epoch, Peer};
use super::message::Phase;
use super::snapshots::Purpose;
use super::state::Core;

/// The peers that were waited for in vain.
#[derive(Debug, Default)]
pub struct Slow(BTreeMap<Peer, Passed>);

#[derive(Debug)]
struct Passed {
    /// Until when nobody waits for it.
    until_ms: u64,
    /// For how long that was.
    pause_ms: u64,
    /// Whether it is waited for again: it is remembered that it was not.
    over: bool,
}

impl Passed {
    fn until(now_ms: u64, pause_ms: u64) -> Self {
        Self { until_ms: now_ms + pause_ms, pause_ms, over: false }
    }
}

/// For how long a peer is passed over at first; when it is late again, twice as long, and so on.
const FIRST_PAUSE_MS: u64 = 30_000;
const LAST_PAUSE_MS: u64 = 8 * FIRST_PAUSE_MS;
/// How many lost copies are made up for at a time.
const MAX_COPYING: usize = 256;

impl Slow {
    pub(super) fn passes_over(&self, peer: &Peer) -> bool {
        self.0.get(peer).is_some_and(|passed| !passed.over)
    }
}

impl Core {
    /// The peers that a save sends copies to, and waits for.
    pub(super) fn replicas(&self, name: &Arc<str>) -> Vec<Peer> {
        self.able_to_copy(name, false)
    }

    /// The peers that may hold copies of a name's state, at most as many as its type wants: those that would host it next;
    /// where they are too few, also slow ones if that is asked for.
    fn able_to_copy(&self, name: &Arc<str>, slow_too: bool) -> Vec<Peer> {
        let Some(cell) = self.directory.mine(name) else { return Vec::new() };
        let replicas = usize::from(cell.spec.replicas);
        let able = self.view.up().filter(|peer| **peer != self.config.me && self.links(peer, &cell.spec.kind));
        let ranked = able.map(|peer| (self.slow.passes_over(peer), self.rank(name, cell, peer), peer));
        let mut peers: Vec<_> = ranked.filter(|(slow, ..)| slow_too || !slow).collect();
        peers.sort();
        peers.into_iter().take(replicas).map(|(.., peer)| peer.clone()).collect()
    }

    /// A peer was waited for in vain.
    pub(super) fn is_slow(&mut self, peer: Peer) {
        let now = self.now.mono_ms;
        match self.slow.0.get_mut(&peer) {
            Some(passed) if passed.over => *passed = Passed::until(now, (2 * passed.pause_ms).min(LAST_PAUSE_MS)),
            Some(_) => {}
            None => drop(self.slow.0.insert(peer, Passed::until(now, FIRST_PAUSE_MS))),
        }
        self.copies_checked = 0; // others may take its place
    }

    /// A peer has kept a copy in time.
    pub(super) fn is_in_time(&mut self, peer: &Peer) {
        if self.slow.0.remove(peer).is_some() {
            self.copies_checked = 0;
        }
    }

    /// Forgets slow peers that are gone, and counts on others again when their time is over.
    pub(super) fn tick_slow(&mut self) {
        let (now, view) = (self.now.mono_ms, &self.view);
        self.slow.0.retain(|peer, _| view.contains(peer));
        for passed in self.slow.0.values_mut().filter(|passed| !passed.over && now >= passed.until_ms) {
            passed.over = true;
            self.copies_checked = 0;
        }
    }

    /// Whether copies of states are still to be made up for, or are on their way here, or a peer is passed over that gets some
    /// later.
    pub fn makes_up_for_copies(&self) -> bool {
        let to_others = self.copies_checked != self.view.hash || self.slow.0.values().any(|passed| !passed.over);
        to_others || !self.fetches.is_empty()
    }

    /// Another state is to be kept of a name: if a slow peer was tried with the last one, it is tried with another name's.
    pub(super) fn begins_anew(&mut self, name: &Arc<str>) {
        let slow = |peer: &Peer| self.slow.passes_over(peer);
        if self.keeping.get(name).is_some_and(|keeping| keeping.missing().any(slow)) {
            self.copies_checked = 0;
        }
    }

    /// Whether a slow peer may be tried: one copy at a time, for which nobody waits.
    fn probes(&self) -> bool {
        let under_way = |peer: &Peer| self.slow.passes_over(peer);
        !self.slow.0.is_empty() && !self.keeping.values().any(|keeping| keeping.missing().any(under_way))
    }

    /// Sends the state of a worker here to the nodes that are to have copies of it and do not.
    pub(super) fn copy(&mut self, name: &Arc<str>, since: Epoch, snapshot: Shipment) {
        let runs = |local: &Local| local.since == since && matches!(local.phase, LocalPhase::Running);
        let stored = self.stored.get(name).map(|stored| stored.revision);
        if self.local.get(name).is_some_and(runs)
            && stored == Some(snapshot.revision())
            && !self.keeping.contains_key(name)
        {
            let replicas = self.able_to_copy(name, self.probes());
            self.keep_copies(name, since, snapshot, replicas);
        }
    }

    pub(super) fn make_up_for_lost_copies(&mut self) {
        if self.phase != Phase::Up || self.copies_checked == self.view.hash || !self.settled() {
            return;
        }
        let mut room = MAX_COPYING.saturating_sub(self.keeping.len() + self.copying.len());
        let mut probe = self.copying.is_empty() && self.probes();
        let mut all_there = true;
        let running = self.local.iter().filter(|(_, local)| matches!(local.phase, LocalPhase::Running));
        let names: Vec<(Arc<str>, Epoch)> = running.map(|(name, local)| (name.clone(), local.since)).collect();
        for (name, since) in names {
            let (Some(cell), Some(local)) = (self.directory.mine(&name), self.local.get(&name)) else { continue };
            // One that leaves is as good as gone: it waits until nobody counts on it.
            // And one that was started anew counts when it has said so again: its disk may have been lost.
            let here = self.view.up().filter(|peer| local.kept_by.contains(peer)).count();
            let nothing = cell.holders.is_empty() || !self.stored.contains_key(&name);
            if nothing || here > self.able_to_copy(&name, probe).len() {
                continue;
            }
            all_there = false;
            if room == 0 || self.keeping.contains_key(&name) || self.copying.contains(&name) {
                continue;
            }
            room -= 1;
            probe &= here <= self.replicas(&name).len();
            match self.stored.get(&name).and_then(|stored| stored.manifest.clone()) {
                Some(manifest) => self.copy(&name, since, Shipment::Chunked(manifest)),
                None => {
                    self.copying.insert(name.clone());
                    self.out.push(Effect::LoadSnapshot { purpose: Purpose::Copy { name, since } });
                }
            }
        }
        if all_there {
            self.copies_checked = self.view.hash;
        }
    }
}
