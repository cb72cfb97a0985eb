//! What becomes of a node's workers when its lease ends, and what may start elsewhere.

use std::sync::Arc;

use crate::core::Effect;
use crate::core::cell::NameState;
use crate::core::events::Gone;
use crate::core::fault::{Fault, planted};
use crate::core::host::LocalPhase;
use crate::core::ids::Peer;
use crate::core::state::Core;
use crate::strategy::Exit;

impl Core {
    /// Whether this node may take what was released to it. One that was out of sight must hear first what was decided
    /// meanwhile.
    pub(in crate::core) fn may_take_over(&self) -> bool {
        self.majority.is_none() || self.may_host() && self.settled()
    }

    /// Whether a node that is not in view may still run what its lane says.
    pub(in crate::core) fn may_still_run(&self, peer: &Peer) -> bool {
        self.majority.as_ref().is_some_and(|majority| {
            !self.is_live(peer) && !self.directory.has_ended(peer) && !majority.gone.contains(peer)
        })
    }

    /// Without a lease nothing runs here: all workers are parked with their states.
    pub(super) fn park_all(&mut self) {
        self.restoring.clear();
        self.offers.clear();
        self.keep_no_more();
        let names: Vec<Arc<str>> = self.local.keys().cloned().collect();
        for name in names {
            self.park_without_lease(&name);
        }
    }

    pub(in crate::core) fn park_without_lease(&mut self, name: &Arc<str>) {
        let attached = self.directory.mine(name).is_some_and(|cell| cell.attached);
        let Some(local) = self.local.get_mut(name) else { return };
        let (birth, since) = (local.birth, local.since);
        local.granted = None;
        local.fenced = !planted(Fault::RestartAfterLease);
        match &local.phase {
            _ if attached => {
                self.local.remove(name);
                self.ends.gone(name, [birth], &Gone::NodeGone);
                self.directory.ban_stopped(name, [birth]);
            }
            LocalPhase::Waiting { .. } | LocalPhase::Restoring => {
                self.local.remove(name);
                self.restate(name, |cell| cell.state = NameState::Parked);
            }
            LocalPhase::Running if planted(Fault::ParkWithoutState) => {
                local.phase = LocalPhase::Parking;
                self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::MajorityLost });
            }
            LocalPhase::Starting | LocalPhase::Settling if planted(Fault::ParkUnsettled) => {
                local.phase = LocalPhase::Parking;
                self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::MajorityLost });
            }
            // One that has started has a state of its own, whether that is known here yet or not.
            LocalPhase::Running | LocalPhase::Starting | LocalPhase::Settling => self.park(name, Exit::MajorityLost),
            LocalPhase::Moving(moving) if !moving.is_accepted() => self.park_in_mid_move(name),
            LocalPhase::Moving(_) | LocalPhase::Parking | LocalPhase::Stopping(_) => {}
        }
    }

    /// Whether a name may be started from what a lane says: nobody can be running it.
    pub(in crate::core) fn may_be_adopted(&self, name: &Arc<str>) -> bool {
        !self.directory.cells(name).any(|(host, cell)| {
            let given_to = match &cell.state {
                NameState::Released(release) => Some(&release.to),
                _ => None,
            };
            cell.state.is_claim() && self.may_still_run(host) || given_to.is_some_and(|to| self.may_still_run(to))
        })
    }
}
