//! What must be true of moves for balance: they wait for recovery, are few at a time, and no node causes a storm of them.

use std::sync::Arc;

use sworm::Exit;
use sworm::core::Entry;
use sworm::core::cell::NameState;
use sworm::core::ids::Peer;

use super::world::World;

/// What was to move when a process died is on its way by then.
const UNDER_WAY_MS: u64 = 3_000;
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

    /// Nothing is taken away from a node that stays while what ran on one that is gone does not run yet. One that has failed
    /// is not to run.
    fn recovery_goes_first(&mut self, at: &Peer, name: &str) {
        if self.laws.deaths.last().is_some_and(|died| self.now_ms < died + UNDER_WAY_MS) {
            return;
        }
        let node = &self.nodes[&*at.node];
        let lives = |host: &Peer| self.nodes.get(&*host.node).is_some_and(|node| node.me == *host);
        let failed = |entry: &Entry| matches!(entry.cell.state, NameState::Failed { .. });
        let lost = node.index.iter().find(|(_, entry)| !entry.running && !failed(entry) && !lives(&entry.host));
        if let Some((lost, _)) = lost {
            let what = format!("{name} moves away from {at} for balance, and {lost} is not recovered");
            self.laws.broken(what);
        }
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
