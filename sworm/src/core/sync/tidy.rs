//! What all hold alike and nobody needs any more is forgotten.

use crate::core::fault::{Fault, planted};
use crate::core::ids::{LaneId, NodeId, Peer};
use crate::core::state::Core;
use crate::core::time::COUNTER_BITS;

/// How long it is reckoned with that a node which left comes back with what its store says: a week.
const FORGET_AFTER_MS: u64 = 7 * 24 * 3_600_000;
/// How often it is looked whether there is something to tidy up, though nothing was said.
const TIDY_AGAIN_MS: u64 = 3_600_000;

impl Core {
    /// What all known members hold alike can be tidied up: lanes that say nothing any more, bans that ban nothing.
    pub(in crate::core) fn tick_members(&mut self) {
        let holds = self.directory.hash();
        if self.now.mono_ms >= self.tidy_again_ms {
            (self.tidied, self.tidy_again_ms) = (0, self.now.mono_ms + TIDY_AGAIN_MS);
            self.note_away();
        }
        if holds == self.tidied || !self.settled() {
            return;
        }
        let directory = &self.directory;
        self.members.retain(|node, member| {
            member.present || !directory.has_ended(&Peer { node: node.clone(), incarnation: member.incarnation })
        });
        let alike = self.members.values().all(|member| {
            member.present && (member.not_open || member.beat.as_ref().is_some_and(|(beat, _)| beat.holds == holds))
        });
        if !alike {
            return;
        }
        let durable = |lane: &LaneId| {
            if *lane == self.config.me {
                return self.durable_max;
            }
            let member = self.members.get(&lane.node).filter(|member| member.incarnation == lane.incarnation);
            member.and_then(|member| member.beat.as_ref()).map_or(0, |(beat, _)| beat.durable)
        };
        let own_is_durable = self.durable_max == self.directory.lane(&self.config.me).map_or(0, |lane| lane.max());
        if self.known_are_in_view() || planted(Fault::ForgetEarly) {
            // One that left said where its lane ends. Of one that died only its successor knows.
            let complete = |lane: &LaneId| {
                let successor = |peer: &Peer| peer.node == lane.node && peer.incarnation > lane.incarnation;
                self.directory.is_final(lane) || self.view.members.keys().any(successor)
            };
            let droppable = self.directory.droppable(durable, complete);
            // A ban goes only when all have dropped what it bans, and so hold the same again.
            if droppable.is_empty() || planted(Fault::ForgetEarly) {
                self.directory.forget_bans();
            }
            for lane in droppable {
                self.drop_upto(&lane);
            }
        }
        // As long as something is on its way to a disk there may be more to tidy up.
        let all_durable = own_is_durable
            && self.members.values().all(|m| m.beat.as_ref().is_none_or(|(beat, _)| beat.durable == beat.max));
        if all_durable {
            self.tidied = self.directory.hash();
        }
    }

    pub(super) fn note_away(&mut self) {
        let now = self.hybrid();
        let view = &self.view;
        self.directory.note_away(now, FORGET_AFTER_MS << COUNTER_BITS, |node| view.peer(node).is_some());
    }

    /// Whether every node that a lane speaks for is in view, or left in good order.
    fn known_are_in_view(&self) -> bool {
        self.directory
            .lanes()
            .all(|(id, _)| self.is_live(id) || self.directory.has_ended(id) && self.is_no_more(&id.node))
    }

    /// Whether a node of which an incarnation has ended is in view again, or left in good order: else it has a successor,
    /// which may hold what its former selves held. What ends with a successor is everything before that one, so the last
    /// incarnation that has ended is none that ever said something.
    fn is_no_more(&self, node: &NodeId) -> bool {
        let last = self.directory.ended().get(node).map(|last| Peer { node: node.clone(), incarnation: *last });
        let left = |last: Peer| self.directory.lane(&last).is_some() || self.directory.is_final(&last);
        *node == self.config.me.node || self.view.peer(node).is_some() || last.is_some_and(left)
    }
}
