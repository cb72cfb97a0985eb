//! Which names would move: for balance, each node's part of what another one may be given, and from a node that is emptied.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::PlannedMove;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{NodeId, Peer};
use crate::core::lane::Lane;
use crate::core::placement::Placing;
use crate::core::state::Core;

/// What a node may be given, in hundredths of its share.
const MOST_PERCENT: u64 = 110;

impl Core {
    /// Which names would move now if all nodes were levelled: each to where its strategy would place it, if that is emptier than where it
    /// runs, and so many that no node gets more than a tenth above its share.
    pub fn plan_rebalance(&self) -> Vec<PlannedMove> {
        let hosts: Vec<Peer> = self.hosts_up().cloned().collect();
        let moves = hosts.iter().flat_map(|host| {
            let plan = self.moves_of(host, |_| true);
            plan.into_iter().map(|(name, to)| PlannedMove { name, from: host.node.clone(), to: Ok(to.node) })
        });
        moves.collect()
    }

    /// Where the names of a node would go if it were emptied now; nothing if there is no such node.
    pub fn plan_drain(&self, node: &NodeId) -> Option<Vec<PlannedMove>> {
        let Some(host) = self.view.peer(node) else {
            let is_there = self.members.get(node).is_some_and(|member| member.present) || *node == self.config.me.node;
            return is_there.then(Vec::new);
        };
        let claims = self.directory.lane(host).into_iter().flat_map(Lane::names);
        // Strategies that look at how full nodes are see what was planned before.
        let mut planned: BTreeMap<Peer, u64> = BTreeMap::new();
        let moves = claims.filter(|(_, cell)| cell.state.is_claim()).map(|(name, cell)| {
            let placing = Placing { planned: Some(&planned), ..Placing::again(name, cell, Some(host)) };
            let to = match cell.attached {
                true => Err("it is the name of a task, which stays where it is".to_owned()),
                false => self.place(placing).map_err(|refusal| refusal.why()),
            };
            if let Ok(to) = &to {
                *planned.entry(to.clone()).or_default() += 1;
            }
            PlannedMove { name: name.clone(), from: node.clone(), to: to.map(|to| to.node) }
        });
        Some(moves.collect())
    }

    /// The moves of one host to those that may be given names.
    pub(super) fn moves_of(&self, host: &Peer, may_get: impl Fn(&Peer) -> bool) -> Vec<(Arc<str>, Peer)> {
        let others: Vec<&Peer> = self.hosts_up().filter(|peer| *peer != host && may_get(peer)).collect();
        let mut places: BTreeMap<&Peer, Place> = BTreeMap::new();
        for peer in others {
            let (room, has) = (self.part_of(host, peer), self.claims(peer));
            places.insert(peer, Place { room, has });
        }
        let (mut here, mut moves) = (self.claims(host), Vec::new());
        let Some(lane) = self.directory.lane(host) else { return moves };
        for (name, cell) in lane.names().filter(|(_, cell)| cell.state.is_claim() && !cell.attached) {
            if places.values().all(|place| place.room == 0) {
                break;
            }
            let Ok(to) = self.place(Placing::again(name, cell, None)) else { continue };
            let Some(place) = places.get_mut(&to).filter(|place| place.room > 0) else { continue };
            if here * self.weight(&to) <= place.has * self.weight(host) {
                continue; // it would only change places
            }
            place.room -= 1;
            place.has += 1;
            here -= 1;
            moves.push((name.clone(), to));
        }
        moves
    }

    /// How many names a node may be given by this host: its part of what is missing there. The parts of all hosts add up to
    /// that exactly: each goes from where the one before it ends.
    fn part_of(&self, host: &Peer, to: &Peer) -> u64 {
        let missing = self.most(to).saturating_sub(self.claims(to));
        let hosts = || self.hosts_up().filter(|peer| *peer != to);
        let of_all: u64 = hosts().map(|peer| self.claims(peer)).sum();
        let before: u64 = hosts().take_while(|peer| *peer != host).map(|peer| self.claims(peer)).sum();
        let of_all = of_all.max(1);
        if planted(Fault::RoundUpShares) {
            return (missing * self.claims(host)).div_ceil(of_all);
        }
        missing * (before + self.claims(host)) / of_all - missing * before / of_all
    }

    /// How many names a node may have before it is given no more: a tenth above its share.
    pub(super) fn most(&self, to: &Peer) -> u64 {
        let (names, weights) =
            self.hosts_up().fold((0, 0), |(n, w), peer| (n + self.claims(peer), w + self.weight(peer)));
        names * self.weight(to) * MOST_PERCENT / (weights.max(1) * 100)
    }

    /// Those that take part in it: a client has no share.
    pub(super) fn hosts_up(&self) -> impl Iterator<Item = &Peer> {
        self.view.up().filter(|peer| self.hosts(peer))
    }

    pub(super) fn claims(&self, peer: &Peer) -> u64 {
        self.directory.lane(peer).map_or(0, Lane::claims)
    }

    fn weight(&self, peer: &Peer) -> u64 {
        self.profiles.get(&peer.node).map_or(1, |profile| u64::from(profile.weight))
    }
}

/// What a node may still be given by a host, and what it has by then.
struct Place {
    room: u64,
    has: u64,
}
