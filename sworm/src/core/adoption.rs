//! Names whose host is gone, or has let go: the arbiter waits for whoever may know better, and gives them to another node.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::arbiter::Queue;
use super::cell::{NameCell, NameState};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::ids::{Epoch, NodeId, Peer};
use super::restoring::STATE_WAIT_MS;
use super::state::Core;
use super::{Effect, Notice};

/// How long the receiver of a released name may take to start it before its arbiter lets another adopt it.
const RELEASE_WAIT_MS: u64 = 5_000;
/// How soon an adoption without a candidate is tried again.
const ADOPT_AGAIN_MS: u64 = 500;

impl Core {
    /// Gives a name that this node decides about to a new host, if nobody claims it.
    pub(super) fn review_adoption(&mut self, name: &Arc<str>, standing: Standing) {
        if self.queues.get(name).is_some_and(Queue::is_busy) {
            return;
        }
        let Standing::Source { host, cell } = standing else {
            self.adopt_retry_ms.remove(name);
            self.nowhere.remove(name);
            self.releases_ms.remove(name);
            return;
        };
        let now = self.now.mono_ms;
        let settled_for = self.settled_since_ms.map_or(0, |since| now.saturating_sub(since));
        let wait = match &cell.state {
            // Nothing is to be started; somebody who is there is to say so.
            NameState::Failed { .. } if self.directory.has_ended(&host) => self.members_are_missing(),
            NameState::Failed { .. } => return,
            NameState::Released(release)
                if self.is_live(&release.to)
                    // Its receiver may start it without asking anybody: as long as it may, nobody else does where there must
                    // never be two.
                    && (self.majority.is_some()
                        || self.released_for(name, release.epoch) < RELEASE_WAIT_MS
                        || self.is_behind(&release.to))
                    && !planted(Fault::ReleasedIsOrphan) =>
            {
                true
            }
            _ => {
                !self.may_be_adopted(name)
                    || self.is_ending(name)
                    || self.members_are_missing()
                    || self.waits_for_holders(name, &host, &cell, settled_for)
            }
        };
        if wait {
            self.adopt_retry_ms.insert(name.clone(), now + ADOPT_AGAIN_MS);
            return;
        }
        if self.adopt_retry_ms.get(name).is_some_and(|at| now < *at) {
            return;
        }
        if self.lacks {
            self.adopt_retry_ms.insert(name.clone(), now);
            return;
        }
        if matches!(cell.state, NameState::Failed { .. }) {
            self.adopt_retry_ms.remove(name);
            let (epoch, assigned) = (self.strong_epoch(name), self.hybrid());
            return self.directory.put_name(name, NameCell { epoch, assigned, ..(*cell).clone() });
        }
        match self.place_adopted(name, &cell) {
            Err(refusal) => {
                self.adopt_retry_ms.insert(name.clone(), now + ADOPT_AGAIN_MS);
                if self.nowhere.insert(name.clone()) {
                    let pid = cell.pid(&self.config.sworm, name, &host);
                    self.out.push(Effect::Tell(Notice::NoCandidate { pid, why: refusal.why() }));
                }
            }
            Ok(to) => {
                self.adopt_retry_ms.remove(name);
                self.nowhere.remove(name);
                self.awaited.remove(name);
                let epoch = self.adoption_epoch(name, &host, &cell);
                let assigned = self.hybrid();
                let adopted = NameCell { state: NameState::Starting, ..cell.next(epoch, assigned) };
                self.grant_adoption(name, to, adopted);
            }
        }
    }

    /// For how long a release is known to this arbiter.
    fn released_for(&mut self, name: &Arc<str>, epoch: Epoch) -> u64 {
        let now = self.now.mono_ms;
        let known = self.releases_ms.entry(name.clone()).or_insert((epoch, now));
        if known.0 != epoch {
            *known = (epoch, now);
        }
        now - known.1
    }

    /// Strong when the former host is known to have ended or let go, or when more than half of the known members are in
    /// view; else weak, so that a lone node that was cut off does not win everything when the cut heals.
    pub(super) fn adoption_epoch(&mut self, name: &Arc<str>, host: &Peer, cell: &NameCell) -> Epoch {
        let let_go = matches!(cell.state, NameState::Parked | NameState::Failed { .. })
            || self.directory.has_ended(host)
            || self.is_live(host);
        if let_go || self.is_majority() {
            self.strong_epoch(name)
        } else {
            let highest = self.directory.highest_epoch(name);
            Epoch { major: highest.major, minor: highest.minor + 1 }
        }
    }

    /// Whether more than half of the known members are in view.
    pub(super) fn is_majority(&self) -> bool {
        if self.majority.is_some() {
            return true; // else it would not be decided here
        }
        let known: BTreeSet<&NodeId> =
            self.directory.lanes().filter(|(id, _)| !self.directory.has_ended(id)).map(|(id, _)| &id.node).collect();
        self.view.members.len() * 2 > known.len()
    }

    /// Whether this node has just started and some that it remembers are not back yet: they may know of a later
    /// assignment, or have a later state.
    pub(super) fn members_are_missing(&self) -> bool {
        self.now.mono_ms < self.opened_ms + self.config.recover_wait_ms
            && self.directory.lanes().any(|(id, lane)| {
                // One that took part in this run and is gone is not waited for; one that is there and has not joined
                // yet is.
                let is_away = self.view.peer(&id.node).is_none() && !self.took_part.contains(&id.node);
                is_away && !lane.is_of_client()
            })
    }

    /// Whether the state is known to be somewhere, but none of those who hold it are there. Whether those who are still have it
    /// is asked by the node that is to start it.
    pub(super) fn holders_are_missing(&self, cell: &NameCell) -> bool {
        cell.spec.handoff && !cell.holders.is_empty() && !cell.holders.iter().any(|node| self.view.peer(node).is_some())
    }

    /// Whether a name waits for those who hold its state. Who does that for longer than usual is told of it.
    pub(super) fn waits_for_holders(
        &mut self,
        name: &Arc<str>,
        host: &Peer,
        cell: &NameCell,
        settled_for: u64,
    ) -> bool {
        let waits = self.holders_are_missing(cell) && settled_for < self.state_wait_ms(&cell.spec);
        if waits && settled_for >= STATE_WAIT_MS && self.awaited.insert(name.clone()) {
            let holders = cell.holders.iter().cloned().collect();
            let pid = cell.pid(&self.config.sworm, name, host);
            self.out.push(Effect::Tell(Notice::StateAwaited { pid, holders }));
        }
        waits
    }
}
