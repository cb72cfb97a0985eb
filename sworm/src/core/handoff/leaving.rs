//! A node leaves in good order: it gives all its workers away, and parks those that nobody takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Leaving;
use crate::core::Effect;
use crate::core::cell::{NameState, Release};
use crate::core::events::Gone;
use crate::core::host::LocalPhase;
use crate::core::ids::{Birth, Peer};
use crate::core::message::{Message, Phase};
use crate::core::state::Core;
use crate::core::view::Member;
use crate::strategy::Exit;

/// How long a node that leaves waits for those who are about to join, and for news of one that may be.
const JOIN_WAIT_MS: u64 = 5_000;
const NEWS_WAIT_MS: u64 = 1_000;
/// How long a node that leaves late waits for others to take what it has parked, as long as they do not.
const TAKEN_WAIT_MS: u64 = 3_000;
/// How many workers are handed over at a time.
const MAX_MOVES: usize = 1_024;
/// When to ask the arbiter again.
const ASK_AGAIN_MS: u64 = 500;

impl Core {
    pub(in crate::core) fn on_leave(&mut self, until_ms: u64) {
        if self.leaving.is_none() {
            let since_ms = self.now.mono_ms;
            let patience_ms = until_ms.saturating_sub(since_ms);
            self.leaving = Some(Leaving {
                since_ms,
                until_ms,
                patience_ms,
                parked: (0, 0),
                unsaved: 0,
                asked: BTreeMap::new(),
                done: false,
            });
            self.phase = Phase::Leaving;
            self.introduced = true;
            self.beat_soon();
        }
    }

    pub(in crate::core) fn tick_leave(&mut self) {
        let now = self.now.mono_ms;
        let Some(leaving) = &self.leaving else { return };
        if leaving.done {
            return;
        }
        let alone = self.view.up().next().is_none() && !self.somebody_joins();
        let late = now >= leaving.until_ms;
        let mut in_flight = self.on_their_way();
        let names: Vec<Arc<str>> = self.local.keys().cloned().collect();
        for name in names {
            let Some(local) = self.local.get(&name) else { continue };
            let (birth, since) = (local.birth, local.since);
            let attached = self.directory.mine(&name).is_some_and(|cell| cell.attached);
            match &local.phase {
                _ if attached => {
                    self.local.remove(&name);
                    self.ends.gone(&name, [birth], &Gone::NodeGone);
                    self.directory.ban_stopped(&name, [birth]);
                }
                LocalPhase::Waiting { .. } | LocalPhase::Restoring => {
                    self.local.remove(&name);
                    self.restoring.remove(&name);
                    self.awaited.remove(&name);
                    self.restate(&name, |cell| cell.state = NameState::Parked);
                }
                LocalPhase::Running if late => self.park(&name, Exit::Shutdown),
                LocalPhase::Running if alone => {
                    let again_ms = self.leaving.as_ref().and_then(|leaving| leaving.asked.get(&name));
                    if again_ms.is_none_or(|again_ms| now >= *again_ms) {
                        self.park(&name, Exit::Shutdown);
                    }
                }
                // Its task ends before anybody else may start it.
                LocalPhase::Starting | LocalPhase::Settling if late => self.park(&name, Exit::Shutdown),
                LocalPhase::Parking => {}
                LocalPhase::Running if in_flight < MAX_MOVES => {
                    in_flight += 1;
                    self.ask_where_to_leave(&name, birth);
                }
                // It is its receiver's; its end has a time of its own.
                LocalPhase::Moving(moving) if moving.is_accepted() => {}
                LocalPhase::Moving(_) if late => {
                    self.out.push(Effect::Resume { name: name.clone(), since });
                    self.park(&name, Exit::Shutdown);
                }
                // One that is being stopped has a time of its own for that; before it has ended, nobody else may start it.
                _ => {}
            }
        }
        self.finish_leaving(alone, late);
    }

    fn ask_where_to_leave(&mut self, name: &Arc<str>, birth: Birth) {
        let now = self.now.mono_ms;
        let Some(leaving) = &mut self.leaving else { return };
        let due = leaving.asked.entry(name.clone()).or_insert(now);
        if *due > now {
            return;
        }
        *due = now + ASK_AGAIN_MS;
        self.ask_where_to(name, birth, None);
    }

    fn finish_leaving(&mut self, alone: bool, late: bool) {
        let released = self.directory.my_names().any(|(name, cell)| match &cell.state {
            // One without a state to go along may never start: it is its receiver's when that says so.
            NameState::Released(release) if release.snapshot.is_none() => !self.is_taken(name, release),
            state => state.is_released(),
        });
        // What was promised to this node and is not here yet must be started or let go first.
        let promised = !late && !self.offers.is_empty();
        if !self.local.is_empty() || promised || (released && !alone && !late) {
            return;
        }
        if !alone && !late && self.is_counted_on() {
            return; // its copies are being made up for elsewhere
        }
        if !alone && !late && !self.is_heard_out() {
            return; // what it said last would go with it
        }
        let parked = self.directory.my_names().filter(|(_, cell)| cell.state == NameState::Parked).count();
        if let Some(leaving) = &mut self.leaving {
            let now = self.now.mono_ms;
            if leaving.parked.0 != parked {
                leaving.parked = (parked, now);
            }
            if late && !alone && parked > 0 && now < leaving.parked.1 + TAKEN_WAIT_MS {
                return; // they may be taken over from where they are
            }
            leaving.done = true;
        }
        let max = self.own_max();
        self.once_durable(Effect::Broadcast(Box::new(Message::Goodbye { max })));
        let (parked, unsaved) =
            (u64::try_from(parked).unwrap_or(u64::MAX), self.leaving.as_ref().map_or(0, |l| l.unsaved));
        self.once_durable(Effect::Left { parked, unsaved, late: late && !alone });
    }

    /// Whether the receiver of a released name says that it is its own.
    fn is_taken(&self, name: &Arc<str>, release: &Release) -> bool {
        let mut cells = self.directory.cells(name);
        cells.any(|(host, cell)| *host == release.to && cell.state.is_claim() && cell.epoch >= release.epoch)
    }

    /// A worker ends without its state: whoever waits for the leave is told.
    pub(in crate::core) fn leaves_unsaved(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.unsaved += 1;
        }
    }

    /// A worker has gone: as long as others follow it, leaving may take its time.
    pub(in crate::core) fn leaving_goes_on(&mut self) {
        let now = self.now.mono_ms;
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| now < leaving.until_ms) {
            leaving.until_ms = now.saturating_add(leaving.patience_ms);
        }
    }

    /// Whether somebody is about to join, who may take over what this node has; that is waited for, for a while.
    fn somebody_joins(&self) -> bool {
        let waited_ms = self.leaving.as_ref().map_or(0, |leaving| self.now.mono_ms - leaving.since_ms);
        let joins = |member: &Member| match member.phase() {
            Some(phase) => phase == Phase::Joining && waited_ms < JOIN_WAIT_MS,
            None => !member.not_open && waited_ms < NEWS_WAIT_MS,
        };
        self.members.values().any(|member| member.present && joins(member))
    }

    /// Whether somebody who stays holds all that this node has said.
    fn is_heard_out(&self) -> bool {
        let max = self.own_max();
        let holds = |peer: &Peer| self.members.get(&peer.node).is_some_and(|member| member.holds_of_mine >= max);
        self.view.up().any(holds)
    }

    /// Stops a worker with its state saved, since nobody takes it over.
    pub(in crate::core) fn park(&mut self, name: &Arc<str>, why: Exit) {
        if let Some(local) = self.local.get_mut(name) {
            local.phase = LocalPhase::Parking;
            self.out.push(Effect::Pause { name: name.clone(), since: local.since, why });
        }
    }

    /// Stops a worker in the middle of a move that did not come about, with the state that it was paused with, or is about
    /// to be.
    pub(in crate::core) fn park_in_mid_move(&mut self, name: &Arc<str>) {
        let me = self.config.me.node.clone();
        let Some(local) = self.local.get_mut(name) else { return };
        let since = local.since;
        if let LocalPhase::Moving(moving) = &local.phase
            && moving.paused
        {
            let saved = moving.snapshot.is_some();
            self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::MajorityLost });
            if saved {
                self.restate(name, |cell| cell.holders = BTreeSet::from([me]).into());
            }
        }
        if let Some(local) = self.local.get_mut(name) {
            local.kept = matches!(&local.phase, LocalPhase::Moving(moving) if moving.paused);
            local.phase = LocalPhase::Parking;
        }
    }
}
