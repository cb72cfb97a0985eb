//! The source of a move: it pauses the worker, offers its state, and gives the name away when that was accepted.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Moving;
use crate::core::Effect;
use crate::core::cell::{Key, NameState, Release};
use crate::core::chunks::Shipment;
use crate::core::fault::{Fault, planted};
use crate::core::host::LocalPhase;
use crate::core::ids::{Birth, Epoch, Peer};
use crate::core::message::{Message, Refusal};
use crate::core::snapshots::NotKept;
use crate::core::state::Core;
use crate::strategy::Exit;

/// How long one handover may take before the worker goes on where it is.
const MOVE_WAIT_MS: u64 = 10_000;
/// When an offer is repeated at first; then after twice as long, and so on, so that a slow link has not more to carry.
const OFFER_AGAIN_MS: u64 = 1_000;
/// How long it may take in all when the receiver fetches a large state.
const MOVE_LIMIT_MS: u64 = 60_000;
/// When a worker whose state could not be saved is asked for it again.
const UNSAVED_AGAIN_MS: u64 = 5_000;

impl Core {
    pub(in crate::core) fn on_move_to(&mut self, name: &Arc<str>, birth: Birth, to: Result<(Peer, Epoch), String>) {
        let now = self.now.mono_ms;
        let Some(local) = self.local.get(name).filter(|local| local.birth == birth) else { return };
        let has_no_task = self.goes_without_a_task(name);
        if !has_no_task && !matches!(local.phase, LocalPhase::Running) || !self.is_to_go(name) {
            return;
        }
        let (to, epoch) = match to {
            // It was started anew since that was decided.
            Ok((_, epoch)) if self.directory.mine(name).is_none_or(|mine| mine.epoch >= epoch) => return,
            Ok((to, epoch)) if has_no_task => return self.give_without_a_task(name, to, epoch),
            Ok(to) => to,
            Err(_) if self.leaving.is_some() => return self.park(name, Exit::Shutdown),
            Err(why) => return self.cannot_go(name, Refusal::NoCandidate { why }),
        };
        let Some(local) = self.local.get_mut(name) else { return };
        let since = local.since;
        local.phase = LocalPhase::Moving(Moving {
            to: to.clone(),
            epoch,
            until_ms: now + MOVE_WAIT_MS,
            at_last_ms: now + MOVE_LIMIT_MS,
            snapshot: None,
            offered: None,
            again_ms: 0,
            pause_ms: OFFER_AGAIN_MS,
            paused: false,
            accepted: false,
        });
        let why = Exit::Moved { to: to.node.clone() };
        self.local_due_ms = 0;
        self.restate(name, |cell| cell.state = NameState::Leaving { to: to.into() });
        self.out.push(Effect::Pause { name: name.clone(), since, why });
    }

    pub(in crate::core) fn on_paused(
        &mut self,
        name: &Arc<str>,
        since: Epoch,
        state: Result<Option<Shipment>, String>,
    ) {
        let Some(local) = self.local.get_mut(name).filter(|local| local.since == since) else {
            return self.on_unsent_state(name, since);
        };
        let birth = local.birth;
        let expected = matches!(local.phase, LocalPhase::Moving(_) | LocalPhase::Parking);
        let snapshot = match state {
            Ok(Some(state)) if expected => match self.pack(name, state) {
                Some(snapshot) => Some(snapshot),
                None => return self.on_not_paused(name, since, NotKept::NotWhole.to_string()),
            },
            Ok(_) => {
                self.on_unsent_state(name, since);
                None
            }
            Err(why) => return self.on_not_paused(name, since, why),
        };
        let revision = snapshot.as_ref().map(Shipment::revision);
        let Some(local) = self.local.get_mut(name) else { return };
        match &mut local.phase {
            LocalPhase::Moving(moving) => {
                moving.snapshot = revision;
                moving.paused = true;
                moving.offered = snapshot.clone();
                moving.again_ms = self.now.mono_ms + OFFER_AGAIN_MS;
                self.local_due_ms = 0;
                let (to, epoch) = (moving.to.clone(), moving.epoch);
                if planted(Fault::ReleaseUnheld) {
                    moving.accepted = true;
                    let why = Exit::Moved { to: to.node };
                    return self.out.push(Effect::Stop { name: name.clone(), since, why });
                }
                let offer = Message::Offer { name: name.clone(), birth, epoch, snapshot: snapshot.clone() };
                if let Some(snapshot) = snapshot {
                    self.store(name, snapshot);
                }
                self.once_durable(Effect::Send { to, message: Box::new(offer) });
            }
            LocalPhase::Parking => {
                local.kept = true;
                if let Some(snapshot) = snapshot {
                    self.keeping.remove(name); // what others were to have of it is older
                    if !planted(Fault::ParkUnstored) {
                        self.store(name, snapshot);
                    }
                    let me = self.config.me.node.clone();
                    self.restate(name, |cell| cell.holders = BTreeSet::from([me]).into());
                }
                self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::Shutdown });
            }
            _ => {}
        }
    }

    /// Nothing is given away without its state: it goes on, and is tried again while there is time.
    fn on_not_paused(&mut self, name: &Arc<str>, since: Epoch, why: String) {
        let late = self.leaving.as_ref().is_some_and(|leaving| self.now.mono_ms >= leaving.until_ms);
        let Some(local) = self.local.get(name) else { return };
        match local.phase {
            LocalPhase::Moving(_) => self.is_not_given(name, since, why),
            LocalPhase::Parking if late || local.fenced => {
                // One that has not started yet has nothing that is not saved.
                let starts = local.restored.is_some();
                if !starts && self.directory.mine(name).is_some_and(|cell| cell.spec.handoff) {
                    self.ends_unsaved(name, since, why.into());
                }
                self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::Shutdown })
            }
            LocalPhase::Parking => self.is_not_given(name, since, why),
            _ => {}
        }
    }

    /// The state of a worker that was to go cannot be saved: it goes on here, and is not asked for it again at once.
    fn is_not_given(&mut self, name: &Arc<str>, since: Epoch, why: String) {
        self.on_unsaved(name, since, why.as_str().into());
        if let Some(leaving) = &mut self.leaving {
            leaving.asked.insert(name.clone(), self.now.mono_ms + UNSAVED_AGAIN_MS);
        }
        self.cannot_go(name, Refusal::NotSaved { why: why.clone() });
        self.go_on(name, why);
    }

    /// Whether a worker here has paused to be moved: what is stored of it then is what it takes along.
    pub fn has_paused_to_move(&self, name: &Arc<str>) -> bool {
        let paused = |phase: &LocalPhase| matches!(phase, LocalPhase::Moving(moving) if moving.paused);
        self.local.get(name).is_some_and(|local| paused(&local.phase))
    }

    /// Whether a worker has started here from a state that is yet to be stored as its own.
    pub fn settles(&self, name: &Arc<str>) -> bool {
        self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Settling))
    }

    /// The receiver of a move fetches the state: it is waited for as long as it gets on.
    pub(in crate::core) fn move_goes_on(&mut self, name: &Arc<str>, to: &Peer) {
        let now = self.now.mono_ms;
        if let Some(LocalPhase::Moving(moving)) = self.local.get_mut(name).map(|local| &mut local.phase)
            && moving.to == *to
            && moving.paused
        {
            moving.until_ms = moving.until_ms.max(now + MOVE_WAIT_MS).min(moving.at_last_ms);
            moving.again_ms = moving.again_ms.max(now + moving.pause_ms);
        }
    }

    /// A worker that is to go saves a large state: it is waited for as long as it gets on.
    pub(in crate::core) fn pause_goes_on(&mut self, name: &Arc<str>, since: Epoch) {
        let now = self.now.mono_ms;
        if let Some(local) = self.local.get_mut(name).filter(|local| local.since == since)
            && let LocalPhase::Moving(moving) = &mut local.phase
            && !moving.paused
        {
            moving.until_ms = moving.until_ms.max(now + MOVE_WAIT_MS).min(moving.at_last_ms);
        }
    }

    pub(in crate::core) fn on_offer_answer(
        &mut self,
        from: &Peer,
        name: &Arc<str>,
        birth: Birth,
        epoch: Epoch,
        accepted: bool,
    ) {
        let Some(local) = self.local.get_mut(name).filter(|local| local.birth == birth) else { return };
        let since = local.since;
        let LocalPhase::Moving(moving) = &mut local.phase else { return };
        if moving.to != *from || moving.epoch != epoch || moving.accepted {
            return;
        }
        if accepted {
            moving.accepted = true;
            moving.offered = None;
            let why = Exit::Moved { to: from.node.clone() };
            self.out.push(Effect::Stop { name: name.clone(), since, why });
        } else {
            self.go_on(name, format!("{} did not take it", from.node));
        }
    }

    /// The handover did not come about: the worker goes on here.
    fn go_on(&mut self, name: &Arc<str>, why: String) {
        self.has_not_gone(name, why);
        let Some(local) = self.local.get_mut(name) else { return };
        local.phase = LocalPhase::Running;
        self.out.push(Effect::Resume { name: name.clone(), since: local.since });
        self.restate(name, |cell| cell.state = NameState::Running);
    }

    /// The task of a worker that is handed over or parked has ended: give the name away.
    pub(in crate::core) fn on_handed_over(&mut self, name: &Arc<str>) {
        let Some(local) = self.local.remove(name) else { return };
        let me = self.config.me.node.clone();
        let mut holders = None;
        let state = match local.phase {
            LocalPhase::Moving(_) if planted(Fault::TombstoneFirst) => {
                return self.directory.remove(&Key::Name(name.clone()));
            }
            LocalPhase::Moving(Moving { to, epoch, snapshot, .. }) => {
                self.has_gone(name);
                // What went along is newer than what others have of it.
                holders = snapshot.is_some().then(|| BTreeSet::from([me, to.node.clone()]));
                NameState::Released(Box::new(Release { to, epoch, snapshot }))
            }
            _ => NameState::Parked,
        };
        self.restate(name, |cell| {
            cell.state = state;
            if let Some(holders) = holders {
                cell.holders = holders.into();
            }
        });
    }

    pub(in crate::core) fn tick_moves(&mut self) {
        let now = self.now.mono_ms;
        let in_vain =
            |moving: &&Moving| !moving.accepted && (now >= moving.until_ms || !self.view.contains(&moving.to));
        let stuck = self.local.iter().filter_map(|(name, local)| match &local.phase {
            LocalPhase::Moving(moving) => {
                Some(moving).filter(in_vain).map(|moving| (name.clone(), moving.to.node.clone()))
            }
            _ => None,
        });
        for (name, to) in stuck.collect::<Vec<_>>() {
            self.go_on(&name, format!("{to} did not take it in time"));
        }
        self.offer_again();
        let gone: Vec<Arc<str>> = self
            .offers
            .iter()
            .filter(|(_, accepted)| !self.view.contains(&accepted.from))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.offers.remove(&name);
        }
    }

    /// Repeats the offers that were not answered.
    fn offer_again(&mut self) {
        let now = self.now.mono_ms;
        let mut offers = Vec::new();
        for (name, local) in self.local.iter_mut() {
            let LocalPhase::Moving(moving) = &mut local.phase else { continue };
            if moving.paused && !moving.accepted && now >= moving.again_ms {
                moving.pause_ms *= 2;
                moving.again_ms = now + moving.pause_ms;
                self.local_due_ms = 0;
                let (birth, epoch, snapshot) = (local.birth, moving.epoch, moving.offered.clone());
                offers.push((moving.to.clone(), Message::Offer { name: name.clone(), birth, epoch, snapshot }));
            }
        }
        for (to, offer) in offers {
            self.once_durable(Effect::Send { to, message: Box::new(offer) });
        }
    }
}
