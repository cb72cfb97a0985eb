//! Changes of a lane that are too many for one message: they come in parts, are staged, and are joined once.
//!
//! Whoever lacks them asks for one part after the other, so the sender keeps nothing in mind and never has more than one
//! part in its hands. A transfer ends at the `max` that the sender has by then.

use std::collections::btree_map::Entry;

use super::Effect;
use super::fault::{Fault, planted};
use super::ids::{LaneId, Peer};
use super::lane::{Delta, Part, Stage, fits};
use super::message::Message;
use super::state::Core;

/// What a part of a lane may weigh.
pub const PART_BYTES: usize = 256 << 10;
/// So many parts' worth of what was just stated here is told to all at once: to see that it is missing and to pull it
/// takes several times as long, and what was acknowledged must not stay unknown for that time.
const TOLD_PARTS: usize = 16;
/// When a part that did not come is asked for again.
const AGAIN_MS: u64 = 1_000;
/// So often; then the lane is pulled anew from whoever has it.
const TRIES: u32 = 5;

/// A lane that comes in parts.
pub(super) struct Transfer {
    pub(super) from: Peer,
    pub(super) stage: Stage,
    asked_ms: u64,
    tries: u32,
}

impl Core {
    /// Tells the others what was stated here; what is too large for that they see missing, and pull.
    pub(super) fn tell_all(&mut self, delta: Delta) {
        if fits(&delta.cells, self.config.part_bytes.saturating_mul(TOLD_PARTS)) {
            self.out.push(Effect::Broadcast(Box::new(Message::Delta(delta))));
        } else {
            self.beat_soon();
        }
    }

    /// Asks for the changes of lanes after these numbers, unless they are on their way.
    pub(super) fn pull(&mut self, from: &Peer, mut wanted: Vec<(LaneId, u64)>) {
        wanted.retain(|(lane, _)| !self.transfers.contains_key(lane));
        if !wanted.is_empty() {
            self.send(from, Message::Pull(wanted));
        }
    }

    pub(super) fn on_pull(&mut self, from: &Peer, wanted: &[(LaneId, u64)]) {
        for (id, after) in wanted {
            if let Some(lane) = self.directory.lane(id)
                && lane.max() > *after
            {
                let part = lane.first_part(id, *after, self.config.part_bytes);
                self.send(from, part.alone().map_or_else(Message::Part, Message::Delta));
            }
        }
    }

    pub(super) fn on_pull_part(&mut self, from: &Peer, id: LaneId, began: (u64, u64), after: u64) {
        if let Some(lane) = self.directory.lane(&id)
            && lane.max() > after
        {
            let part = lane.next_part(&id, began, after, self.config.part_bytes);
            self.send(from, Message::Part(part));
        }
    }

    pub(super) fn on_part(&mut self, from: &Peer, mut part: Part) {
        if planted(Fault::PageDelta) {
            return self.take_page(from, part);
        }
        let begins = self.begins_transfer(from, &part);
        let now = self.now.mono_ms;
        let transfer = match self.transfers.entry(part.lane.clone()) {
            Entry::Occupied(entry) => {
                let transfer = entry.into_mut();
                let sender = transfer.from == *from;
                if sender && part.begins() && part.gc > transfer.stage.gc() {
                    transfer.stage = Stage::of(&part); // tombstones went meanwhile: it starts over
                } else if !sender || !transfer.stage.continues(&part) {
                    return;
                }
                transfer
            }
            Entry::Vacant(entry) if begins => {
                entry.insert(Transfer { from: from.clone(), stage: Stage::of(&part), asked_ms: now, tries: 0 })
            }
            Entry::Vacant(_) => return,
        };
        self.directory.share(&mut part.cells);
        (transfer.asked_ms, transfer.tries) = (now, 0);
        let lane = part.lane.clone();
        match transfer.stage.take(part) {
            Some(delta) => {
                self.transfers.remove(&lane);
                self.on_delta(from, delta);
            }
            None => {
                let (to, next) = (transfer.from.clone(), transfer.next(&lane));
                self.send(&to, next);
            }
        }
    }

    /// Whether a member has stated more than is known here: what it does not say may be on its way.
    pub(super) fn is_behind(&self, peer: &Peer) -> bool {
        let known = self.directory.lane(peer).map_or(0, |lane| lane.max());
        let member = self.members.get(&peer.node).filter(|member| member.incarnation == peer.incarnation);
        member.and_then(|member| member.beat.as_ref()).is_some_and(|(beat, _)| beat.max > known)
    }

    /// Whether a part is the first one of what is lacking here.
    fn begins_transfer(&mut self, from: &Peer, part: &Part) -> bool {
        let known = self.directory.lane(&part.lane).map_or(0, |lane| lane.max());
        let news = if part.is_full() { part.gc > known } else { part.from <= known && part.upto > known };
        part.begins()
            && news
            && part.lane != self.config.me
            && !self.directory.is_dropped(&part.lane)
            && self.member(from).is_some_and(|member| member.present)
    }

    /// What must never be done: only for a planted fault.
    fn take_page(&mut self, from: &Peer, part: Part) {
        let full = part.is_full();
        let Part { lane, after, upto, cells, end, .. } = part;
        let fingerprint = end.unwrap_or_default();
        self.on_delta(from, Delta { lane, from: after, to: upto, full, fingerprint, cells });
    }

    /// Ends a transfer when all that it has so far is known.
    pub(super) fn end_needless_transfer(&mut self, lane: &LaneId) {
        let known = self.directory.lane(lane).map_or(0, |lane| lane.max());
        if self.transfers.get(lane).is_some_and(|transfer| transfer.stage.upto() <= known) {
            self.transfers.remove(lane);
        }
    }

    /// Asks again for parts that did not come, and gives up on senders that are gone.
    pub(super) fn tick_transfers(&mut self) {
        let now = self.now.mono_ms;
        let mut again = Vec::new();
        let (members, directory) = (&self.members, &self.directory);
        self.transfers.retain(|lane, transfer| {
            let from = &transfer.from;
            let there = members.get(&from.node).is_some_and(|m| m.present && m.incarnation == from.incarnation);
            if !there || directory.is_dropped(lane) {
                return false;
            }
            if now >= transfer.asked_ms + AGAIN_MS {
                transfer.asked_ms = now;
                transfer.tries += 1;
                again.push((from.clone(), transfer.next(lane)));
            }
            transfer.tries <= TRIES
        });
        for (to, message) in again {
            self.send(&to, message);
        }
    }
}

impl Transfer {
    fn next(&self, lane: &LaneId) -> Message {
        let (from, gc) = (self.stage.from(), self.stage.gc());
        Message::PullPart { lane: lane.clone(), from, gc, after: self.stage.upto() }
    }
}
