//! What must be true of moves for balance: they wait for recovery, are few at a time, and no node causes a storm of them.

use std::sync::Arc;

use sworm::Exit;
use sworm::core::Entry;
use sworm::core::cell::{NameCell, NameState};
use sworm::core::ids::Peer;
use sworm::core::time::to_ms;

use super::node::Node;
use super::world::World;

/// What was to move when a process died is on its way by then.
const UNDER_WAY_MS: u64 = 3_000;
/// When a start that is to recover something is not waited for any more, and somewhat less: clocks do not run alike.
const RECOVERY_MS: u64 = 58_000;
/// So many names of a host move at a time.
const AT_A_TIME: usize = 8;
const MINUTE_MS: u64 = 60_000;
/// So often does a name move within a minute, however often a node comes and goes.
const A_MINUTE: usize = 3;

impl World {
    /// A worker is paused to move.
    pub(super) fn paused_for(&mut self, at: &Peer, name: &Arc<str>, why: &Exit) {
        if self.options.balances && matches!(why, Exit::Moved { .. }) {
            self.recovery_goes_first(at, name);
            self.few_move_at_a_time(at);
        }
    }

    /// A worker is stopped since it has moved.
    pub(super) fn moved_for(&mut self, name: &Arc<str>, why: &Exit) {
        if self.options.balances && matches!(why, Exit::Moved { .. }) {
            self.moves_seldom(name);
        }
    }

    /// Nothing is taken away from a node that stays while what ran on one that is gone does not run yet, be it that it is being
    /// started. One that has failed is not to run.
    fn recovery_goes_first(&mut self, at: &Peer, name: &str) {
        if self.laws.deaths.last().is_some_and(|died| self.now_ms < died + UNDER_WAY_MS) {
            return;
        }
        let node = &self.nodes[&*at.node];
        let lives = |host: &Peer| self.nodes.get(&*host.node).is_some_and(|node| node.me == *host);
        let failed = |entry: &Entry| matches!(entry.cell.state, NameState::Failed { .. });
        let starts = |name: &Arc<str>, entry: &Entry| {
            let cell = &entry.cell;
            let is_recovered = cell.state == NameState::Starting && !cell.starts_first() && !cell.restarts_in_place();
            is_recovered && self.is_waited_for(node, cell) && !self.is_moved_to(&entry.host, name)
        };
        let lost = node
            .index
            .iter()
            .find(|(name, entry)| !entry.running && !failed(entry) && (!lives(&entry.host) || starts(name, entry)));
        if let Some((lost, _)) = lost {
            let what = format!("{name} moves away from {at} for balance, and {lost} is not recovered");
            self.laws.broken(what);
        }
    }

    /// Whether an assignment has been known for a while, and not for too long, whichever clock it was made by.
    fn is_waited_for(&self, node: &Node, cell: &NameCell) -> bool {
        let assigned_ms = to_ms(cell.assigned);
        let clocks = self.machines.values().map(|machine| machine.clock.unix_ms(self.now_ms));
        let latest_ms = clocks.max().unwrap_or_default();
        node.now(self.now_ms, 0).unix_ms >= assigned_ms + UNDER_WAY_MS && latest_ms < assigned_ms + RECOVERY_MS
    }

    /// Whether somebody has handed a name over to that host.
    fn is_moved_to(&self, host: &Peer, name: &Arc<str>) -> bool {
        let mut said = self.nodes.values().filter_map(|node| node.core.directory().mine(name));
        said.any(|cell| matches!(&cell.state, NameState::Released(release) if release.to == *host))
    }

    fn few_move_at_a_time(&mut self, at: &Peer) {
        let names = self.nodes[&*at.node].core.directory().lane(at).into_iter().flat_map(|lane| lane.names());
        let move_now = names.filter(|(_, cell)| matches!(cell.state, NameState::Leaving { .. })).count();
        if move_now > AT_A_TIME {
            self.laws.broken(format!("{move_now} names move away from {at} for balance at a time"));
        }
    }

    fn moves_seldom(&mut self, name: &Arc<str>) {
        let moves = self.laws.balanced.entry(name.clone()).or_default();
        moves.retain(|at| self.now_ms < at + MINUTE_MS);
        moves.push(self.now_ms);
        let often = moves.len();
        if often > A_MINUTE {
            self.laws.broken(format!("{name} moves for balance {often} times in a minute"));
        }
    }
}
