//! Balance: when nodes have joined, names move to where they would be placed now, a few at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::cell::NameState;
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::ids::{NodeId, Peer};
use super::lane::Lane;
use super::message::{Message, Phase};
use super::placement::Placing;
use super::state::Core;
use calm::{CALM_MS, Comings};

mod calm;

/// Whether names move for balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rebalance {
    /// Never: a name stays where it runs until its node leaves, dies, or is emptied.
    #[default]
    Off,
    /// By itself: when the members have been the same for 5 s, none of them leaves or is emptied, and nothing is to be
    /// recovered. A node moves 8 workers at a time. A node that comes again within 10 min must have been there for 10 s before
    /// names move to it, and then for twice as long each time, but for 5 min at most: one that comes and goes causes no storm.
    ///
    /// No node is given more than what makes it 1.1 times its fair share (by weights). With rendezvous and ring only the node
    /// that joined is given names, from an even start; with the other strategies, and where names were moved by hand, some move
    /// between the old nodes as well.
    On,
    /// When [`Sworm::rebalance`](crate::Sworm::rebalance) is called.
    Manual,
}

/// A move that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedMove {
    /// The name.
    pub name: Arc<str>,
    /// Where it runs.
    pub from: NodeId,
    /// Where it is to run, or why there is no such node.
    pub to: Result<NodeId, String>,
}

/// What is left to be moved.
#[derive(Debug, Default)]
pub struct Balancing {
    /// When a plan is to be made, if one is.
    due_ms: Option<u64>,
    /// Whether one was carried out since the members are the same.
    again: bool,
    plan: VecDeque<(Arc<str>, NodeId)>,
    comings: Comings,
}

/// When it is looked again whether what must go first is over.
const LATER_MS: u64 = 1_000;
/// How many workers of a node move for balance at a time.
const AT_A_TIME: usize = 8;
/// How many moves are told in one message.
const MOVES_IN_A_MESSAGE: usize = 500;
/// What a node may be given, in hundredths of its share.
const MOST_PERCENT: u64 = 110;

impl Core {
    /// Other members than before: what was planned for those is off.
    pub(super) fn balance_anew(&mut self) {
        let (due, now) = (self.config.rebalance == Rebalance::On, self.now.mono_ms);
        let mut comings = std::mem::take(&mut self.balancing.comings);
        comings.note(now, self.view.members.keys());
        self.balancing = Balancing { due_ms: due.then_some(now + CALM_MS), comings, ..Balancing::default() };
        self.drop_wishes_for_balance();
    }

    /// Tells each host which of its names are to move.
    pub(super) fn tell_hosts_to_rebalance(&mut self, plan: Vec<PlannedMove>) {
        let mut moves: BTreeMap<NodeId, Vec<(Arc<str>, NodeId)>> = BTreeMap::new();
        for planned in plan {
            if let Ok(to) = planned.to {
                moves.entry(planned.from).or_default().push((planned.name, to));
            }
        }
        for (host, moves) in moves {
            let Some(host) = self.view.peer(&host).cloned() else { continue };
            for part in moves.chunks(MOVES_IN_A_MESSAGE) {
                self.send(&host, Message::Rebalance(part.to_vec()));
            }
        }
    }

    /// These names of this node are to move.
    pub(super) fn on_rebalance(&mut self, moves: Vec<(Arc<str>, NodeId)>) {
        if self.config.rebalance != Rebalance::Off {
            self.balancing.plan.extend(moves);
        }
    }

    pub(super) fn tick_balance(&mut self) {
        let now = self.now.mono_ms;
        if self.balancing.due_ms.is_none_or(|due| now < due) && self.balancing.plan.is_empty() {
            return;
        }
        if self.phase != Phase::Up || !self.settled() || self.must_wait() {
            if self.balancing.due_ms.is_some() {
                self.balancing.due_ms = Some(now + LATER_MS);
            }
            return;
        }
        if self.balancing.plan.is_empty() && self.balancing.due_ms.take_if(|due| *due <= now).is_some() {
            if self.balancing.again && self.somebody_moves() {
                self.balancing.due_ms = Some(now + LATER_MS);
                return;
            }
            let moves = self.moves_of(&self.config.me.clone()).into_iter().map(|(name, to)| (name, to.node));
            let calm_ms = |node: &NodeId| self.balancing.comings.calm_ms(node);
            let plan: VecDeque<_> = moves.filter(|(_, to)| calm_ms(to) <= now).collect();
            // Those that come and go have their turn later.
            let later_ms = self.view.up().map(|peer| calm_ms(&peer.node)).filter(|calm_ms| *calm_ms > now).min();
            // What has moved by then may make room for more.
            self.balancing.due_ms = if plan.is_empty() { later_ms } else { Some(now + CALM_MS) };
            self.balancing.again = self.balancing.due_ms.is_some();
            self.balancing.plan = plan;
        }
        let at_a_time = if planted(Fault::BalanceAllAtOnce) { usize::MAX } else { AT_A_TIME };
        let mut room = at_a_time.saturating_sub(self.wishes_for_balance().count());
        if room == 0 || self.balancing.plan.is_empty() {
            return;
        }
        // Names may have come to a node since the plan was made.
        let mut places = self.places_left();
        while room > 0
            && let Some((name, to)) = self.balancing.plan.pop_front()
        {
            let Some(left) = places.get_mut(&to).filter(|left| **left > 0) else { continue };
            *left -= 1;
            room -= 1;
            self.wish_for_balance(&name, to);
        }
    }

    /// Whether workers are on their way. The first plans of all hosts come from one state and add up; a later one would take
    /// for room what is about to be given.
    fn somebody_moves(&self) -> bool {
        let lanes = self.view.members.keys().filter_map(|peer| self.directory.lane(peer));
        let mut names = lanes.flat_map(Lane::names);
        names.any(|(_, cell)| matches!(cell.state, NameState::Leaving { .. } | NameState::Released(_)))
    }

    /// How many names each node may still be given, as far as is known by now: what this node gives it counts already.
    fn places_left(&self) -> BTreeMap<NodeId, u64> {
        // What its receiver says to be its own by now is counted there.
        let is_there = |name: &Arc<str>, to: &Peer| {
            let cell = self.directory.lane(to).and_then(|lane| lane.name(name));
            cell.is_some_and(|(_, cell)| cell.state.is_claim())
        };
        let released = self.directory.my_names().filter_map(|(name, cell)| match &cell.state {
            NameState::Released(release) if !is_there(name, &release.to) => Some(&release.to.node),
            _ => None,
        });
        let mut coming: BTreeMap<&NodeId, u64> = BTreeMap::new();
        for to in released.chain(self.wishes_for_balance()) {
            *coming.entry(to).or_default() += 1;
        }
        let left = |to: &Peer| match planted(Fault::RoundUpShares) {
            true => u64::MAX,
            false => {
                let has = self.claims(to) + coming.get(&to.node).copied().unwrap_or(0);
                self.most(to).saturating_sub(has)
            }
        };
        self.hosts_up().map(|to| (to.node.clone(), left(to))).collect()
    }

    /// Recovery goes before balance, and so does a node that leaves or is being emptied. A name is not waited for that is not to
    /// be started, or that no node can run: that may be so for ever.
    fn must_wait(&self) -> bool {
        if planted(Fault::BalanceFirst) {
            return false;
        }
        let leaving = self.view.members.values().any(|phase| *phase != Phase::Up);
        let of_the_gone = self.directory.lanes().filter(|(id, _)| !self.is_live(id) && !self.directory.is_dropped(id));
        let mut names = of_the_gone.flat_map(|(_, lane)| lane.names());
        let is_to_start = |name: &Arc<str>| match self.standing(name) {
            Standing::Source { cell, .. } if matches!(cell.state, NameState::Failed { .. }) => false,
            Standing::Source { cell, .. } => self.place_adopted(name, &cell).is_ok(),
            Standing::Claimed { .. } | Standing::Free => false,
        };
        leaving || names.any(|(name, _)| is_to_start(name))
    }

    /// Which names would move for balance now: each to where its strategy would place it, if that is emptier than where it
    /// runs, and so many that no node gets more than a tenth above its share.
    pub fn plan_rebalance(&self) -> Vec<PlannedMove> {
        let hosts: Vec<Peer> = self.hosts_up().cloned().collect();
        let moves = hosts.iter().flat_map(|host| {
            let plan = self.moves_of(host);
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

    /// The moves of one host.
    fn moves_of(&self, host: &Peer) -> Vec<(Arc<str>, Peer)> {
        let others: Vec<&Peer> = self.hosts_up().filter(|peer| *peer != host).collect();
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
    fn most(&self, to: &Peer) -> u64 {
        let (names, weights) =
            self.hosts_up().fold((0, 0), |(n, w), peer| (n + self.claims(peer), w + self.weight(peer)));
        names * self.weight(to) * MOST_PERCENT / (weights.max(1) * 100)
    }

    /// Those that take part in it: a client has no share.
    fn hosts_up(&self) -> impl Iterator<Item = &Peer> {
        self.view.up().filter(|peer| self.hosts(peer))
    }

    fn claims(&self, peer: &Peer) -> u64 {
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

#[cfg(test)]
mod tests;
