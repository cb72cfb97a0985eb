//! Frames on their way: over which links they go, how late they come, and what is lost or spoiled.

use bytes::Bytes;
use sworm::core::ids::Peer;
use sworm::core::membership::Route;
use sworm::core::message::Message;
use sworm::internals::{Frame, Relay};

use crate::sim::world::{Event, World};

impl World {
    pub(in crate::sim) fn count_message(&mut self, message: &Message) {
        self.messages += 1;
        if let Some(others) = &mut self.others
            && !matches!(message, Message::Beat(_) | Message::Votes(_))
        {
            others.push(format!("{message:?}"));
        }
    }

    /// All that a broadcast goes to.
    pub(super) fn reached(&self, from: &Peer) -> Vec<Peer> {
        let node = &self.nodes[&*from.node];
        let relayed = node.membership.relayed().into_iter().map(|(peer, _)| peer);
        node.links.iter().cloned().chain(relayed.filter(|peer| !node.links.contains(peer))).collect()
    }

    /// Sends a frame over the link, or over another node.
    pub(in crate::sim) fn send(&mut self, from: &Peer, to: &Peer, frame: &Frame) {
        let bytes = frame.encode().expect("frames encode");
        match self.nodes[&*from.node].membership.route(to) {
            Route::Direct | Route::None => self.carry(from, to, &bytes),
            Route::Via(relay) => {
                let frame = Frame::Relay(Relay { to: to.clone(), droppable: false, frame: bytes });
                self.carry(from, &relay, &frame.encode().expect("frames encode"));
            }
        }
    }

    /// Brings bytes over a link that is there.
    pub(super) fn carry(&mut self, from: &Peer, to: &Peer, bytes: &Bytes) {
        if !self.nodes[&*from.node].links.contains(to) {
            return;
        }
        self.fold(bytes);
        self.largest = self.largest.max(bytes.len());
        let lost = self.rng.u32(0..1_000) < self.options.lost;
        let copies = if lost { 0 } else { 1 + u32::from(self.rng.u32(0..1_000) < self.options.repeated) };
        for copy in 0..copies {
            let mut delay = 1 + self.rng.u64(0..=self.options.delay_ms);
            if copy > 0 && self.options.repeated_ms > 0 {
                delay += self.rng.u64(0..=self.options.repeated_ms);
            }
            if self.options.in_order {
                delay = self.links.queue(from, to, self.now_ms + delay) - self.now_ms;
            }
            let mut bytes = bytes.clone();
            if self.rng.u32(0..1_000) < self.options.garbage {
                bytes = self.garbled(&bytes);
            }
            self.push(delay, Event::Arrives { from: from.clone(), to: to.clone(), bytes });
        }
    }

    /// The bytes with a few of them changed, or cut off.
    pub(in crate::sim) fn garbled(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if self.rng.bool() {
            bytes.truncate(self.rng.usize(0..bytes.len()));
        } else {
            for _ in 0..self.rng.usize(1..4) {
                let at = self.rng.usize(0..bytes.len());
                bytes[at] = bytes[at].wrapping_add(self.rng.u8(1..));
            }
        }
        bytes.into()
    }
}
