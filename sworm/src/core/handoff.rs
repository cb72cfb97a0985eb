//! Handing workers over: the acknowledged protocol of a move, and a node's leaving in good order.
//!
//! The source pauses the worker, makes its state durable, offers it, and gives the name away only when the receiver has
//! said that the state is durable there. The release is a cell in the source's lane; messages are only hints.
//!
//! A worker without a task, whose start is to be tried again or whose state is looked for, is released at once
//! ([`moves`](super::moves)): its receiver looks for the state.
//!
//! A receiver that does not take a worker says so before the release, with its answer to the offer: a node that leaves refuses
//! each. Then, or when no answer comes in time, the worker goes on at its source, which has given nothing away. Who has accepted
//! may start the worker from the release on without asking anybody, and is waited for: it does not leave before it has started it,
//! or has seen that it need not. No statement of the receiver's is needed to give a released name to somebody else: the arbiter
//! does so when the receiver is gone; in mode "available" also when it is there, knows of the release, and has not started the
//! worker for a while. That is in an epoch above the release's, and who sees it does not start the worker any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Effect;
use super::cell::{Key, NameCell, NameState, Release, Revision};
use super::chunks::Shipment;
use super::directory::Standing;
use super::events::Gone;
use super::fault::{Fault, planted};
use super::fetch::Why;
use super::host::{First, LocalPhase};
use super::ids::{Birth, Epoch, Peer};
use super::message::{Message, Phase, Refusal};
use super::snapshots::{NotKept, Stored};
use super::state::Core;
use super::view::Member;
use crate::strategy::Exit;

/// A worker on its way to another node.
#[derive(Debug)]
pub struct Moving {
    to: Peer,
    epoch: Epoch,
    /// Until when the receiver may accept; after that the worker goes on here.
    until_ms: u64,
    /// Until when at last, if it is seen to get on.
    at_last_ms: u64,
    snapshot: Option<Revision>,
    /// The state as it was offered, until it was accepted, and when it is offered again: the offer or its answer may be lost.
    offered: Option<Shipment>,
    again_ms: u64,
    pause_ms: u64,
    /// Whether it has paused, and its state is saved.
    paused: bool,
    accepted: bool,
}

impl Moving {
    /// Until when the receiver may accept, if it has not, or when it is offered again before.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let again_ms = if self.paused { self.again_ms } else { u64::MAX };
        (!self.accepted).then_some(self.until_ms.min(again_ms))
    }

    /// Who is to take it.
    pub(super) fn to(&self) -> &Peer {
        &self.to
    }

    /// Whether the receiver has said that it takes it: then the worker is only to be stopped.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted
    }
}

/// An offer that this node accepted.
#[derive(Debug)]
pub struct Accepted {
    from: Peer,
    epoch: Epoch,
}

impl Accepted {
    /// Who has offered it.
    pub(super) fn from(&self) -> &Peer {
        &self.from
    }
}

/// This node leaves.
#[derive(Debug)]
pub struct Leaving {
    since_ms: u64,
    /// When it gives up, unless something goes before that: then it has as long again.
    until_ms: u64,
    patience_ms: u64,
    /// How many parked workers others could still take, and since when it is so many.
    parked: (usize, u64),
    /// How many workers ended without their states, which could not be saved.
    unsaved: u64,
    /// The names that were asked about, and when they are asked about again.
    asked: BTreeMap<Arc<str>, u64>,
    done: bool,
}

/// How long one handover may take before the worker goes on where it is.
const MOVE_WAIT_MS: u64 = 10_000;
/// When an offer is repeated at first; then after twice as long, and so on, so that a slow link has not more to carry.
const OFFER_AGAIN_MS: u64 = 1_000;
/// How long it may take in all when the receiver fetches a large state.
const MOVE_LIMIT_MS: u64 = 60_000;
/// How long a node that leaves waits for those who are about to join, and for news of one that may be.
const JOIN_WAIT_MS: u64 = 5_000;
const NEWS_WAIT_MS: u64 = 1_000;
/// How long a node that leaves late waits for others to take what it has parked, as long as they do not.
const TAKEN_WAIT_MS: u64 = 3_000;
/// How many workers are handed over at a time.
const MAX_MOVES: usize = 1_024;
/// When to ask the arbiter again.
const ASK_AGAIN_MS: u64 = 500;
/// When a worker whose state could not be saved is asked for it again.
const UNSAVED_AGAIN_MS: u64 = 5_000;

impl Core {
    pub(super) fn on_leave(&mut self, until_ms: u64) {
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

    pub(super) fn tick_leave(&mut self) {
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
                LocalPhase::Settling if late => self.park(&name, Exit::Shutdown),
                LocalPhase::Parking => {}
                LocalPhase::Running if in_flight < MAX_MOVES => {
                    in_flight += 1;
                    self.ask_where_to_leave(&name, birth);
                }
                LocalPhase::Moving(_) if late => {
                    self.out.push(Effect::Resume { name: name.clone(), since });
                    self.park(&name, Exit::Shutdown);
                }
                _ if late => {
                    self.out.push(Effect::Stop { name: name.clone(), since, why: Exit::Shutdown });
                    self.local.remove(&name);
                    self.keeping.remove(&name);
                    self.restate(&name, |cell| cell.state = NameState::Parked);
                }
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
    pub(super) fn leaves_unsaved(&mut self) {
        if let Some(leaving) = &mut self.leaving {
            leaving.unsaved += 1;
        }
    }

    /// A worker has gone: as long as others follow it, leaving may take its time.
    pub(super) fn leaving_goes_on(&mut self) {
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
    pub(super) fn park(&mut self, name: &Arc<str>, why: Exit) {
        if let Some(local) = self.local.get_mut(name) {
            local.phase = LocalPhase::Parking;
            self.out.push(Effect::Pause { name: name.clone(), since: local.since, why });
        }
    }

    /// Stops a worker in the middle of a move that did not come about, with the state that it was paused with, or is about
    /// to be.
    pub(super) fn park_in_mid_move(&mut self, name: &Arc<str>) {
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

    pub(super) fn on_move_to(&mut self, name: &Arc<str>, birth: Birth, to: Result<(Peer, Epoch), String>) {
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

    pub(super) fn on_paused(&mut self, name: &Arc<str>, since: Epoch, state: Result<Option<Shipment>, String>) {
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

    pub(super) fn on_offer(
        &mut self,
        from: &Peer,
        name: &Arc<str>,
        birth: Birth,
        epoch: Epoch,
        snapshot: Option<Shipment>,
    ) {
        let fits = |snapshot: &Shipment| snapshot.is_sound() && snapshot.birth() == birth;
        // It must not take the place of what was saved since.
        let late = snapshot.as_ref().is_some_and(|snapshot| self.is_late(from, name, snapshot));
        if late || !self.is_able_to_take(name, birth) || !snapshot.as_ref().is_none_or(fits) {
            return self.refuse_offer(from, name, birth, epoch);
        }
        match snapshot.as_ref().and_then(|snapshot| self.lacks_chunks(name, snapshot)) {
            Some(manifest) => self.fetch(from, name, manifest, Why::Offer { epoch }),
            None => self.accept_offer(from, name, birth, epoch, snapshot),
        }
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

    /// Whether an offer of a worker was accepted here: what is stored of it then is what it brings along.
    pub fn has_accepted(&self, name: &Arc<str>) -> bool {
        self.offers.contains_key(name)
    }

    fn is_able_to_take(&self, name: &Arc<str>, birth: Birth) -> bool {
        self.phase == Phase::Up && !self.local.contains_key(name) && !self.directory.is_banned(name, birth)
    }

    /// Takes an offer whose state has come in chunks, if that still goes: its source may have gone on meanwhile, and saved
    /// something newer here.
    pub(super) fn take_offer(&mut self, from: &Peer, name: &Arc<str>, epoch: Epoch, snapshot: Shipment) {
        let birth = snapshot.birth();
        let is_told = self.is_leaving_to_me(from, name);
        if !is_told && self.is_behind(from) && self.is_able_to_take(name, birth) {
            return; // the source may have said so, and offers it again
        }
        let stands = is_told && !self.is_late(from, name, &snapshot);
        if stands && self.is_able_to_take(name, birth) {
            self.accept_offer(from, name, birth, epoch, Some(snapshot));
        } else {
            self.refuse_offer(from, name, birth, epoch);
        }
    }

    /// Whether an offer is none any more: its source has gone on since, and something newer was saved here.
    fn is_late(&self, from: &Peer, name: &Arc<str>, offered: &Shipment) -> bool {
        let (birth, revision) = (offered.birth(), offered.revision());
        let newer = |stored: &&Stored| stored.birth == birth && stored.revision > revision;
        // What another worker had saved, which this one lacks, may look newer than all that it will ever save.
        let same = |stored: &Stored| stored.revision.epoch == revision.epoch;
        self.stored.get(name).filter(newer).is_some_and(|stored| same(stored) || !self.is_leaving_to_me(from, name))
    }

    fn is_leaving_to_me(&self, from: &Peer, name: &Arc<str>) -> bool {
        let me = &self.config.me;
        let mut cells = self.directory.cells(name);
        cells.any(|(host, cell)| host == from && matches!(&cell.state, NameState::Leaving { to } if **to == *me))
    }

    fn accept_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch, snapshot: Option<Shipment>) {
        self.offers.insert(name.clone(), Accepted { from: from.clone(), epoch });
        self.local_due_ms = 0;
        if let Some(snapshot) = snapshot {
            let theirs = self.directory.cells(name).find(|(host, _)| *host == from).map(|(_, cell)| cell.clone());
            if let Some(cell) = theirs {
                self.set_aside_what_lacks(name, birth, cell.since, &cell.past);
            }
            self.store(name, snapshot);
        }
        self.answer_offer(from, name, birth, epoch, true);
    }

    pub(super) fn refuse_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch) {
        self.answer_offer(from, name, birth, epoch, false);
    }

    fn answer_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch, accepted: bool) {
        let answer = Message::OfferAnswer { name: name.clone(), birth, epoch, accepted };
        self.once_durable(Effect::Send { to: from.clone(), message: Box::new(answer) });
    }

    /// The receiver of a move fetches the state: it is waited for as long as it gets on.
    pub(super) fn move_goes_on(&mut self, name: &Arc<str>, to: &Peer) {
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
    pub(super) fn pause_goes_on(&mut self, name: &Arc<str>, since: Epoch) {
        let now = self.now.mono_ms;
        if let Some(local) = self.local.get_mut(name).filter(|local| local.since == since)
            && let LocalPhase::Moving(moving) = &mut local.phase
            && !moving.paused
        {
            moving.until_ms = moving.until_ms.max(now + MOVE_WAIT_MS).min(moving.at_last_ms);
        }
    }

    pub(super) fn on_offer_answer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch, accepted: bool) {
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
    pub(super) fn on_handed_over(&mut self, name: &Arc<str>) {
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

    pub(super) fn tick_moves(&mut self) {
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

    /// Takes a name that was released to this node.
    pub(super) fn review_release(&mut self, name: &Arc<str>, standing: &Standing) {
        let me = &self.config.me;
        let mut released: Option<(Epoch, Arc<NameCell>)> = None;
        let mut highest = Epoch::default();
        for (_, cell) in self.directory.cells(name) {
            match &cell.state {
                NameState::Released(release) if release.to == *me => {
                    // It may have been here before, and what was said then is still there.
                    if released.as_ref().is_none_or(|(epoch, _)| release.epoch > *epoch) {
                        released = Some((release.epoch, cell.clone()));
                    }
                    highest = highest.max(cell.epoch);
                }
                NameState::Leaving { to } if **to == *me => return,
                _ => highest = highest.max(cell.epoch),
            }
        }
        let Some((epoch, cell)) = released else {
            if self.offers.get(name).is_some_and(|offer| {
                matches!(standing, Standing::Free) || standing.cell().is_some_and(|(_, cell)| cell.epoch >= offer.epoch)
            }) {
                self.offers.remove(name);
            }
            return;
        };
        self.offers.remove(name);
        let taken = matches!(standing, Standing::Claimed { .. }) || !self.may_take_over();
        if taken || highest >= epoch || self.local.contains_key(name) || self.directory.is_banned(name, cell.birth) {
            return;
        }
        let assigned = self.hybrid();
        // There is no grant to answer, but a lineage whose failed starts are tried again.
        let lineage = Some((self.config.me.clone(), First::Lineage));
        let cell = NameCell { epoch, since: epoch, assigned, state: NameState::Starting, ..(*cell).clone() };
        self.take_in(name, cell, lineage);
    }
}
