//! Balance: when nodes have joined, names move to where they would be placed now, a few at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::cell::{NameCell, NameState};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::host::LocalPhase;
use super::ids::{NodeId, Peer};
use super::lane::Lane;
use super::message::{Message, Phase};
use super::state::Core;
use super::time::to_ms;
use calm::{CALM_MS, Comings};

mod calm;
mod plans;

/// Whether names move for balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rebalance {
    /// Never: a name stays where it runs until its node leaves, dies, or is emptied.
    #[default]
    Off,
    /// By itself: when the members have been the same for 5 s, none of them leaves or is emptied, and nothing is to be
    /// recovered: what ran on nodes that are gone runs on those that stay. A start that takes longer than a minute, or fails for
    /// so long, is not waited for any more; first starts, those after a move and those of workers that ended by themselves are
    /// not waited for at all. A node moves 8 workers at a time. A node that comes again within 10 min must have been there for
    /// 10 s before names move to it, and then for twice as long each time, but for 5 min at most: one that comes and goes causes
    /// no storm.
    ///
    /// Only nodes that joined since names last moved are given any, and none is given more than what makes it 1.1 times its fair
    /// share (by weights): so many names move at most, whatever the distribution strategy. Nothing moves between the nodes that
    /// were there before, however uneven they are; [`Sworm::rebalance`](crate::Sworm::rebalance) does that. A node that was
    /// restarted, cut off from the others, or emptied and is [to take part again](crate::Node::undrain), has joined anew.
    On,
    /// When [`Sworm::rebalance`](crate::Sworm::rebalance) is called: then all nodes are levelled.
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
/// For how long a start is waited for that is to recover something: one that keeps failing is not to hold up balance.
const RECOVERY_MS: u64 = 60_000;
/// How many workers of a node move for balance at a time.
const AT_A_TIME: usize = 8;
/// How many moves are told in one message.
const MOVES_IN_A_MESSAGE: usize = 500;

impl Core {
    /// Other members than before: what was planned for those is off.
    pub(super) fn balance_anew(&mut self) {
        let (due, now) = (self.config.rebalance == Rebalance::On, self.now.mono_ms);
        let mut comings = std::mem::take(&mut self.balancing.comings);
        comings.note(now, &self.config.me, self.view.up());
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
        let at_a_time = if planted(Fault::BalanceAllAtOnce) { usize::MAX } else { AT_A_TIME };
        let mut room = at_a_time.saturating_sub(self.wishes_for_balance().count());
        if room == 0 && !self.balancing.plan.is_empty() {
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
            let plan = self.moves_by_itself();
            // Those that come and go have their turn later.
            let calm_ms = self.view.up().map(|peer| self.balancing.comings.calm_ms(&peer.node));
            let later_ms = calm_ms.filter(|calm_ms| *calm_ms > now).min();
            // What has moved by then may make room for more.
            self.balancing.due_ms = if plan.is_empty() { later_ms } else { Some(now + CALM_MS) };
            if plan.is_empty() && self.balancing.comings.is_settled(&self.config.me.node) {
                self.balancing.comings.all_given(now);
            } else if plan.is_empty() {
                // It has not given anything yet.
                self.balancing.due_ms = Some(now + CALM_MS);
            }
            self.balancing.again = self.balancing.due_ms.is_some();
            self.balancing.plan = plan;
        }
        if self.balancing.plan.is_empty() {
            return;
        }
        // Names may have come to a node since the plan was made.
        let mut places = self.places_left();
        while room > 0
            && let Some((name, to)) = self.balancing.plan.pop_front()
        {
            // One that does not run yet would keep others from going; it has its turn in a later plan.
            let runs = self.local.get(&name).is_some_and(|local| matches!(local.phase, LocalPhase::Running));
            let Some(left) = places.get_mut(&to).filter(|left| runs && **left > 0) else { continue };
            *left -= 1;
            room -= 1;
            self.wish_for_balance(&name, to);
        }
    }

    /// Which names of this node move without being told to: to those that have come and stayed for long enough. One that has
    /// come itself waits at first: it would pass on what it is just being given.
    fn moves_by_itself(&self) -> VecDeque<(Arc<str>, NodeId)> {
        let (me, comings) = (&self.config.me, &self.balancing.comings);
        if planted(Fault::LevelAll) {
            return self.moves_of(me, |_| true).into_iter().map(|(name, to)| (name, to.node)).collect();
        }
        if comings.is_new(&me.node) && self.claims(me) <= self.most(me) {
            return VecDeque::new();
        }
        let may_get = |to: &Peer| comings.is_new(&to.node) && comings.calm_ms(&to.node) <= self.now.mono_ms;
        self.moves_of(me, may_get).into_iter().map(|(name, to)| (name, to.node)).collect()
    }

    /// Whether nothing of this node is to move for balance, now or later.
    pub fn is_balanced(&self) -> bool {
        let Balancing { due_ms, plan, .. } = &self.balancing;
        due_ms.is_none() && plan.is_empty() && self.wishes_for_balance().next().is_none()
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

    /// Recovery goes before balance, and so does a node that leaves or is being emptied.
    fn must_wait(&mut self) -> bool {
        let leaving = || self.view.members.values().any(|phase| *phase != Phase::Up);
        !planted(Fault::BalanceFirst) && (leaving() || self.somebody_is_to_recover() || self.somebody_recovers())
    }

    /// Whether a name is to be given to another node since its own is gone. One does not count that is not to be started, or that
    /// no node can run: that may be so for ever.
    fn somebody_is_to_recover(&self) -> bool {
        let of_the_gone = self.directory.lanes().filter(|(id, _)| !self.is_live(id) && !self.directory.is_dropped(id));
        let mut names = of_the_gone.flat_map(|(_, lane)| lane.names());
        let is_to_start = |name: &Arc<str>| match self.standing(name) {
            Standing::Source { cell, .. } if matches!(cell.state, NameState::Failed { .. }) => false,
            Standing::Source { cell, .. } => self.place_adopted(name, &cell).is_ok(),
            Standing::Claimed { .. } | Standing::Free => false,
        };
        names.any(|(name, _)| is_to_start(name))
    }

    /// Whether a name was given to a node that stays and does not run there yet, and not for long.
    fn somebody_recovers(&mut self) -> bool {
        if planted(Fault::BalanceWhileStarting) {
            return false;
        }
        let now_ms = to_ms(self.hybrid());
        let recovers = |cell: &NameCell| {
            cell.state == NameState::Starting
                && !cell.starts_first()
                && !cell.restarts_in_place()
                && now_ms < to_ms(cell.assigned) + RECOVERY_MS
        };
        let moves_to = |host: &Peer, name: &Arc<str>| {
            self.directory.cells(name).any(|(from, cell)| {
                self.is_live(from) && matches!(&cell.state, NameState::Released(release) if release.to == *host)
            })
        };
        let lanes = self.view.members.keys().filter_map(|host| Some((host, self.directory.lane(host)?)));
        let mut names = lanes.flat_map(|(host, lane)| lane.names().map(move |(name, cell)| (host, name, cell)));
        names.any(|(host, name, cell)| recovers(cell) && !moves_to(host, name))
    }
}

#[cfg(test)]
mod tests;
