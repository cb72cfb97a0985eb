//! Which incarnations have ended, and which lanes can be given up.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Directory, names_of};
use crate::core::cell::{Key, NameCell, Value};
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Birth, Incarnation, LaneId, NodeId, Peer};
use crate::core::lane::Lane;

impl Directory {
    /// The ended incarnations: of each node, all up to this one.
    pub fn ended(&self) -> &BTreeMap<NodeId, Incarnation> {
        &self.ended
    }

    /// The dropped incarnations: of each node, all up to this one.
    pub fn dropped(&self) -> &BTreeMap<NodeId, Incarnation> {
        &self.dropped
    }

    /// Whether that incarnation is known to have ended.
    pub fn has_ended(&self, peer: &Peer) -> bool {
        self.ended.get(&peer.node).is_some_and(|upto| peer.incarnation <= *upto)
    }

    /// Whether everything about that incarnation was given up.
    pub fn is_dropped(&self, peer: &Peer) -> bool {
        self.dropped.get(&peer.node).is_some_and(|upto| peer.incarnation <= *upto)
    }

    /// Notes that a node's incarnations up to this one have ended. Returns whether that is news.
    pub fn end(&mut self, node: &NodeId, upto: Incarnation) -> bool {
        raise(&mut self.ended, node, upto)
    }

    /// Notes where the lane of one that left ends.
    pub fn finish(&mut self, lane: LaneId, max: u64) {
        if !self.is_dropped(&lane) {
            self.finals.insert(lane, max);
        }
    }

    /// Where the lanes of those who left end.
    pub fn finals(&self) -> &BTreeMap<LaneId, u64> {
        &self.finals
    }

    /// Whether the copy of a lane of one that left is all that it said.
    pub fn is_final(&self, lane: &LaneId) -> bool {
        self.finals.get(lane).is_some_and(|max| self.lanes.get(lane).map_or(0, Lane::max) >= *max)
    }

    /// Gives up a node's incarnations up to this one. Returns the lanes that went with them.
    pub fn drop_upto(&mut self, node: &NodeId, upto: Incarnation) -> Vec<LaneId> {
        if !raise(&mut self.dropped, node, upto) {
            return Vec::new();
        }
        self.finals.retain(|id, _| id.node != *node || id.incarnation > upto);
        let gone: Vec<LaneId> = self
            .lanes
            .keys()
            .filter(|id| id.node == *node && id.incarnation <= upto && **id != self.me)
            .cloned()
            .collect();
        for id in &gone {
            if let Some(lane) = self.lanes.remove(id) {
                self.touched.extend(names_of(&lane));
            }
        }
        gone
    }

    /// The lanes that can be given up: ended, and each of their names covered by a durable cell in a lane that is not, or
    /// by a durable ban. `durable` tells up to which number a lane is on its owner's disk, `complete` whether the copy of one
    /// that has ended holds the last that was said in it.
    pub fn droppable(&self, durable: impl Fn(&LaneId) -> u64, complete: impl Fn(&LaneId) -> bool) -> Vec<LaneId> {
        let lasting: Vec<(&LaneId, &Lane, u64)> = self
            .lanes
            .iter()
            .filter(|(id, _)| !self.has_ended(id) || planted(Fault::DropCoveredByEnded))
            .map(|(id, lane)| (id, lane, if self.has_ended(id) { u64::MAX } else { durable(id) }))
            .collect();
        let durable_at = |lane: &Lane, key: &Key, upto: u64| lane.seq(key).is_some_and(|seq| seq <= upto);
        let banned = |name: &Arc<str>, birth: Birth| {
            let key = Key::Ban(name.clone());
            lasting.iter().any(|(_, lane, upto)| {
                matches!(lane.fact(&key), Some(Value::Ban(births)) if births.contains(&birth))
                    && durable_at(lane, &key, *upto)
            })
        };
        let covered = |name: &Arc<str>, cell: &NameCell| {
            // A later assignment; or a living worker of another lineage, against which this one has lost.
            let later = |theirs: &NameCell| match theirs.birth == cell.birth {
                true if planted(Fault::DropCoveredByEnded) => theirs.epoch >= cell.epoch,
                true => theirs.epoch > cell.epoch,
                false => theirs.state.is_claim(),
            };
            let key = Key::Name(name.clone());
            let lasts = lasting.iter().any(|(_, lane, upto)| {
                lane.name(name).is_some_and(|(_, theirs)| later(theirs)) && durable_at(lane, &key, *upto)
            });
            cell.attached || lasts || banned(name, cell.birth)
        };
        // A ban must not go before what it bans.
        let needless = |lane: &Lane| {
            planted(Fault::DropBans)
                || lane.facts().all(|(key, value)| match (key, value) {
                    (Key::Ban(name), Value::Ban(births)) => births.iter().all(|birth| {
                        let idle =
                            !self.may_come_back(*birth) && self.cells(name).all(|(_, cell)| cell.birth != *birth);
                        banned(name, *birth) || idle
                    }),
                    _ => true,
                })
        };
        // To drop an incarnation is to drop all before it: none of them may still say something.
        let mut found: Vec<LaneId> = Vec::new();
        let mut kept: Option<&NodeId> = None;
        for (id, lane) in &self.lanes {
            if kept == Some(&id.node) && !planted(Fault::DropEarlier) {
                continue;
            }
            if self.has_ended(id)
                && complete(id)
                && lane.names().all(|(name, cell)| covered(name, cell))
                && needless(lane)
            {
                found.push(id.clone());
            } else {
                kept = Some(&id.node);
            }
        }
        found
    }
}

fn raise(map: &mut BTreeMap<NodeId, Incarnation>, node: &NodeId, upto: Incarnation) -> bool {
    match map.get_mut(node) {
        Some(known) if *known >= upto => false,
        Some(known) => {
            *known = upto;
            true
        }
        None => {
            map.insert(node.clone(), upto);
            true
        }
    }
}
