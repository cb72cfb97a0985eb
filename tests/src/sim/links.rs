//! Links: who can reach whom, and who notices.

use std::collections::{BTreeMap, BTreeSet};

use sworm::core::ids::Peer;

use super::world::{Event, World};

/// A dead link is noticed by silence after this time (the lease of zenoh's transport).
pub(super) const LEASE_MS: u64 = 2_000;

/// Which directions between two machines carry nothing.
#[derive(Default)]
pub(super) struct Links {
    cut: BTreeSet<(String, String)>,
    /// When the last message of one to the other arrives.
    last: BTreeMap<(Peer, Peer), u64>,
}

impl Links {
    /// Whether a message gets from one machine to the other.
    pub(super) fn carries(&self, from: &str, to: &str) -> bool {
        !self.cut.contains(&(from.to_owned(), to.to_owned()))
    }

    /// When a message may arrive that must not overtake another.
    pub(super) fn queue(&mut self, from: &Peer, to: &Peer, at_ms: u64) -> u64 {
        let last = self.last.entry((from.clone(), to.clone())).or_default();
        *last = at_ms.max(*last);
        *last
    }

    /// Whether nothing is cut.
    pub(super) fn are_whole(&self) -> bool {
        self.cut.is_empty()
    }

    fn whole(&self, a: &str, b: &str) -> bool {
        self.carries(a, b) && self.carries(b, a)
    }
}

impl World {
    /// Nothing gets from one machine to the other any more. Both notice by silence.
    pub(super) fn cut_one_way(&mut self, from: &str, to: &str) {
        self.note(|| format!("cut {from} -> {to}"));
        self.links.cut.insert((from.to_owned(), to.to_owned()));
        let delay = LEASE_MS + self.rng.u64(0..200);
        self.check_link(from, to, delay);
    }

    /// Nothing gets between two machines any more.
    pub fn cut(&mut self, a: &str, b: &str) {
        self.cut_one_way(a, b);
        self.cut_one_way(b, a);
    }

    /// All cuts are mended.
    pub fn heal(&mut self) {
        let healed = std::mem::take(&mut self.links.cut);
        if !healed.is_empty() {
            self.note(|| "all links heal".to_owned());
        }
        for (a, b) in healed {
            let delay = 40 + self.rng.u64(0..1_900);
            self.check_link(&a, &b, delay);
        }
    }

    /// After that time, look whether a link came or went.
    pub(super) fn check_link(&mut self, a: &str, b: &str, delay: u64) {
        self.push(delay, Event::CheckLink { a: a.to_owned(), b: b.to_owned() });
    }

    pub(super) fn on_check_link(&mut self, a: &str, b: &str) {
        let (Some(first), Some(second)) = (self.nodes.get(a), self.nodes.get(b)) else { return };
        let frozen = first.paused_until.is_some() || second.paused_until.is_some();
        let up = self.links.whole(a, b) && !frozen;
        let (pa, pb) = (first.me.clone(), second.me.clone());
        if frozen && self.links.whole(a, b) {
            // The other side's silence is noticed by the one that runs; the frozen one sees it when it goes on.
            for (at, peer) in [(pa.clone(), pb.clone()), (pb, pa)] {
                self.push(0, Event::Link { at, peer, up: false });
            }
            return;
        }
        for (at, peer) in [(pa.clone(), pb.clone()), (pb, pa)] {
            self.push(0, Event::Link { at, peer, up });
        }
    }

    /// A process has started: links to the others come up one after the other.
    pub(super) fn link_all(&mut self, name: &str) {
        let others: Vec<String> = self.nodes.keys().filter(|other| *other != name).cloned().collect();
        for other in others {
            let delay = 1 + self.rng.u64(0..300);
            self.check_link(name, &other, delay);
        }
    }

    /// A process has ended: its sockets close, and whoever can be reached notices at once.
    pub(super) fn unlink_all(&mut self, gone: &Peer) {
        let others: Vec<Peer> = self.nodes.values().map(|node| node.me.clone()).collect();
        for at in others {
            let delay = if self.links.carries(&gone.node, &at.node) { 1 + self.rng.u64(0..3) } else { LEASE_MS };
            self.push(delay, Event::Link { at, peer: gone.clone(), up: false });
        }
    }

    /// What a dial finds: `Some(true)` when something answers, `Some(false)` when the port is closed.
    pub(super) fn dial(&self, from: &str, to: &str) -> Option<bool> {
        self.links.whole(from, to).then(|| self.nodes.contains_key(to))
    }
}
