//! The host: starts what it is granted, answers for its workers' ends, and keeps its lane equal to what it runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cell::{Key, NameCell, NameState, Revision, Spec};
use super::chunks::Shipment;
use super::directory::Standing;
use super::events::Gone;
use super::fault::{Fault, planted};
use super::handoff::Moving;
use super::ids::{Birth, Epoch, MAX_GROUPS, Peer, Request};
use super::message::{Done, Grant, GrantOutcome, Message, Phase, Refusal};
use super::moves::without_host;
use super::rare::Rare;
use super::restoring::ENDED_UNSAVED;
use super::snapshots::Purpose;
use super::state::Core;
use super::stopping::Stopping;
use super::{Effect, Notice};
use crate::strategy::{Exit, RestartHistory};

/// A worker of this node, from the grant until it is gone.
#[derive(Debug)]
pub struct Local {
    pub(super) birth: Birth,
    pub(super) since: Epoch,
    pub(super) phase: LocalPhase,
    /// Starts that failed since it last ran.
    pub(super) failures: u32,
    /// Who granted it, until it runs, and whether its first start may fail for good.
    pub(super) granted: Option<(Peer, First)>,
    /// The state that it is started from, until it runs.
    pub(super) restored: Option<Shipment>,
    /// What was stated of it last.
    pub(super) stated: Option<Arc<NameCell>>,
    /// Those who said that its newest state is durable with them.
    pub(super) kept_by: BTreeSet<Peer>,
    /// The number in the own lane at which the list of those who hold its state began, or lost somebody last.
    pub(super) holders_seq: u64,
    /// Whether the state from which it would start again was here, and cannot be read any more.
    pub(super) unreadable: bool,
    /// Whether the lease has ended since it started: whatever comes, it is not for this node to go on with it.
    pub(super) fenced: bool,
    /// Whether the state with which it is parked was taken.
    pub(super) kept: bool,
}

impl Local {
    /// A worker of which nothing is known but what is said of its name.
    pub(super) fn forgotten(cell: &NameCell) -> Self {
        Self::new(cell.birth, cell.since, LocalPhase::Running, None)
    }

    fn new(birth: Birth, since: Epoch, phase: LocalPhase, granted: Option<(Peer, First)>) -> Self {
        Self {
            birth,
            since,
            phase,
            failures: 0,
            granted,
            restored: None,
            stated: None,
            kept_by: BTreeSet::new(),
            holders_seq: 0,
            unreadable: false,
            fenced: false,
            kept: false,
        }
    }

    /// When it is to be looked at, if time alone changes something.
    fn due_ms(&self) -> Option<u64> {
        match &self.phase {
            LocalPhase::Waiting { due_ms } => Some(*due_ms),
            LocalPhase::Moving(moving) => moving.due_ms(),
            _ => None,
        }
    }
}

/// Whether a failed start ends the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// A registration: it does.
    Registration,
    /// A lineage that ran before: it is tried again.
    Lineage,
}

/// What a worker of this node does.
#[derive(Debug)]
pub enum LocalPhase {
    /// Its state is looked for.
    Restoring,
    /// Its task starts.
    Starting,
    /// It started, and its state is stored under the new epoch before it is said to run.
    Settling,
    /// It runs.
    Running,
    /// It starts again at this time.
    Waiting { due_ms: u64 },
    /// It is being handed over.
    Moving(Moving),
    /// It is being stopped with its state saved.
    Parking,
    /// It is being stopped.
    Stopping(Stopping),
}

/// How long a grant, or a change of groups, may come again after it was carried out.
const REPEATS_MS: u64 = 60_000;
/// Back-off between failed starts of a lineage.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(30);

impl Core {
    pub(super) fn on_grant(&mut self, arbiter: &Peer, grant: Grant) {
        let Grant { name, view, cell, adoption } = grant;
        let epoch = cell.epoch;
        if let Some(mine) = self.directory.mine(&name)
            && mine.birth == cell.birth
            && mine.request == cell.request
            && mine.state == NameState::Running
            && mine.epoch >= epoch
        {
            let outcome =
                GrantOutcome::Running { cell: mine.clone(), said: self.directory.said(&self.config.me, &name) };
            let first = if adoption { First::Lineage } else { First::Registration };
            return self.confirm(arbiter, first, Message::Granted { name, epoch, outcome });
        }
        if self.local.get(&name).is_some_and(|local| local.birth == cell.birth && local.since == cell.since) {
            return; // it is being started; the answer follows
        }
        let refused = view != self.view_now()
            || self.phase != Phase::Up
            || !self.may_host()
            || self.local.contains_key(&name)
            || !planted(Fault::TakeAnyGrant)
                && (self.directory.highest_epoch(&name) >= epoch
                    || self.taken_in.get(&name).is_some_and(|(taken, _)| *taken >= epoch)
                    || self.directory.is_banned(&name, cell.birth));
        if refused {
            return self.send(arbiter, Message::Granted { name, epoch, outcome: GrantOutcome::Refused });
        }
        let first = if adoption { First::Lineage } else { First::Registration };
        self.take_in(&name, cell, Some((arbiter.clone(), first)));
    }

    /// States a name as starting here and begins to start it.
    pub(super) fn take_in(&mut self, name: &Arc<str>, cell: NameCell, granted: Option<(Peer, First)>) {
        let (birth, since, attached) = (cell.birth, cell.since, cell.attached);
        if !self.may_host() {
            return self.directory.put_name(name, NameCell { state: NameState::Parked, ..cell });
        }
        self.taken_in.insert(name.clone(), (cell.epoch, self.now.mono_ms));
        let restarts = if planted(Fault::ForgetRestarts) { Rare::default() } else { cell.restarts };
        let groups = if planted(Fault::GroupsForgotten) { Rare::default() } else { cell.groups };
        let cell = NameCell { restarts, groups, ..cell };
        let find_state = cell.spec.handoff && granted.as_ref().is_none_or(|(_, first)| *first == First::Lineage);
        let local = Local::new(birth, since, LocalPhase::Starting, granted);
        self.local.insert(name.clone(), local);
        let is_held = !cell.holders.is_empty();
        self.state(name, NameCell { state: NameState::Starting, ..cell });
        // Who holds its state was said by somebody else so far, whom not all may have heard.
        let max = self.own_max();
        if let Some(local) = self.local.get_mut(name).filter(|_| is_held) {
            local.holders_seq = max;
        }
        if planted(Fault::RemoveAnothersCell) {
            self.directory.remove_from_others(name);
        }
        if attached {
            self.run(name);
        } else if find_state {
            self.restore(name);
        } else {
            self.start(name, None);
        }
    }

    pub(super) fn start(&mut self, name: &Arc<str>, state: Option<Shipment>) {
        let Some(spec) = self.directory.mine(name).map(|cell| cell.spec.clone()) else { return };
        let busy = planted(Fault::StartsInOrder)
            && self.local.iter().any(|(other, l)| other != name && matches!(l.phase, LocalPhase::Starting));
        let restored = state.as_ref().map(|state| self.as_kept(name, state));
        let Some(local) = self.local.get_mut(name) else { return };
        if busy {
            local.phase = LocalPhase::Waiting { due_ms: self.now.mono_ms };
            self.local_due_ms = 0;
            return;
        }
        local.phase = LocalPhase::Starting;
        local.restored = restored;
        local.kept = false;
        self.out.push(Effect::Start { name: name.clone(), since: local.since, spec, state });
    }

    pub(super) fn on_started(&mut self, name: &Arc<str>, since: Epoch, result: Result<(), Exit>) {
        let Some(local) = self.local.get_mut(name).filter(|local| local.since == since) else { return };
        match local.phase {
            LocalPhase::Starting => {}
            LocalPhase::Parking => return self.on_started_to_park(name, result),
            _ => return,
        }
        match (result, &local.granted) {
            (Ok(()), _) => match local.restored.take() {
                Some(restored) => {
                    local.phase = LocalPhase::Settling;
                    self.keep_restored(name, since, restored);
                }
                None => self.run(name),
            },
            (Err(exit), Some((arbiter, First::Registration))) => {
                let (arbiter, birth) = (arbiter.clone(), local.birth);
                let timed_out = exit == Exit::StartTimedOut;
                self.local.remove(name);
                self.ends.gone(name, [birth], &Gone::StartFailed { reason: exit.to_string().into() });
                self.directory.ban_stopped(name, [birth]);
                let outcome = GrantOutcome::Failed { reason: exit.to_string(), timed_out };
                self.send(&arbiter, Message::Granted { name: name.clone(), epoch: since, outcome });
            }
            (Err(exit), Some((_, First::Lineage))) => self.start_again(name, &exit),
            (Err(exit), None) => self.after_exit(name, exit),
        }
    }

    /// A worker was told to pause in the middle of its start, and is parked.
    fn on_started_to_park(&mut self, name: &Arc<str>, result: Result<(), Exit>) {
        let restored = self.local.get_mut(name).and_then(|local| local.restored.take());
        match (result, restored) {
            // What it is parked with follows upon what it was started from.
            (Ok(()), Some(restored)) => self.follows(name, restored.revision()),
            (Ok(()), None) => {}
            // There is nothing to be saved, and no task.
            (Err(_), _) => self.on_handed_over(name),
        }
    }

    /// What is said of a name is said in the version of the worker that runs: nodes with an older one start it no more.
    pub(super) fn on_renewed(&mut self, name: &Arc<str>, since: Epoch, spec: Arc<Spec>) {
        if self.local.get(name).is_some_and(|local| local.since == since) {
            self.restate(name, |cell| cell.spec = spec);
        }
    }

    /// A random number of this turn: those whose ends are heard of together do not start together.
    pub(super) fn random_for(&self, name: &str) -> u32 {
        let hash = xxh3_64_with_seed(name.as_bytes(), self.now.random.into());
        u32::try_from(hash >> 32).expect("half of it")
    }

    /// A lineage whose start failed is tried until it works, with back-off.
    pub(super) fn start_again(&mut self, name: &Arc<str>, exit: &Exit) {
        let random = self.random_for(name);
        let Some(local) = self.local.get_mut(name).filter(|_| !planted(Fault::OneStart)) else { return };
        local.failures += 1;
        let tries = usize::try_from(local.failures).unwrap_or(usize::MAX).min(64);
        let again =
            RestartHistory::new(vec![Duration::ZERO; tries], random).back_off(MAX_DELAY, FIRST_DELAY, MAX_DELAY);
        local.phase = LocalPhase::Waiting { due_ms: self.now.mono_ms + millis(again) };
        self.local_due_ms = 0;
        let since = local.since;
        let (pid, reason) = (self.own_pid(name, since), exit.to_string());
        self.out.push(Effect::Tell(Notice::StartFailed { pid, reason, again }));
    }

    /// States that a worker runs, and tells the arbiter.
    pub(super) fn run(&mut self, name: &Arc<str>) {
        let Some(local) = self.local.get_mut(name) else { return };
        local.phase = LocalPhase::Running;
        local.failures = 0;
        let granted = local.granted.take();
        self.restate(name, |cell| {
            cell.state = NameState::Running;
            cell.unsaved = false;
        });
        if let Some((arbiter, first)) = granted
            && let Some(cell) = self.directory.mine(name).cloned()
        {
            let granted = Message::Granted {
                name: name.clone(),
                epoch: cell.epoch,
                outcome: GrantOutcome::Running { cell, said: self.own_max() },
            };
            self.confirm(&arbiter, first, granted);
        }
    }

    /// Tells the arbiter that a worker runs: when that is durable, unless the sworm wants registrations answered sooner.
    fn confirm(&mut self, arbiter: &Peer, first: First, granted: Message) {
        if self.config.ack_in_memory && first == First::Registration {
            self.send(arbiter, granted);
        } else {
            self.once_durable(Effect::Send { to: arbiter.clone(), message: Box::new(granted) });
        }
    }

    /// Changes the own statement about a name.
    pub(super) fn restate(&mut self, name: &Arc<str>, change: impl FnOnce(&mut NameCell)) {
        if let Some(mine) = self.directory.mine(name) {
            let mut cell = (**mine).clone();
            change(&mut cell);
            self.state(name, cell);
        }
    }

    /// States a name in the own lane.
    pub(super) fn state(&mut self, name: &Arc<str>, cell: NameCell) {
        self.directory.put_name(name, cell);
        if let Some(local) = self.local.get_mut(name) {
            local.stated = self.directory.mine(name).cloned();
        }
    }

    pub(super) fn tick_host(&mut self) {
        let now = self.now.mono_ms;
        if now >= self.forget_taken_ms {
            self.forget_taken_ms = now + REPEATS_MS / 4;
            self.taken_in.retain(|_, (_, at)| now < *at + REPEATS_MS);
            self.regrouped.retain(|_, (_, at)| now < *at + REPEATS_MS);
        }
        if now < self.local_due_ms {
            return;
        }
        // Whatever else may become due sets it to nothing.
        let dues = self.local.values().filter_map(Local::due_ms).filter(|due_ms| *due_ms > now);
        self.local_due_ms = dues.min().unwrap_or(u64::MAX);
        let due: Vec<(Arc<str>, bool)> = self
            .local
            .iter()
            .filter(|(_, local)| matches!(local.phase, LocalPhase::Waiting { due_ms } if due_ms <= now))
            .map(|(name, local)| (name.clone(), local.granted.is_some()))
            .collect();
        for (name, lineage) in due {
            if !self.may_host() {
                self.park_without_lease(&name);
                continue;
            }
            // A restart in place continues from a checkpoint; a lineage that came from elsewhere from any saved state.
            let Some(local) = self.local.get_mut(&name) else { continue };
            let stored = self.stored.get(&name).filter(|stored| stored.birth == local.birth);
            let (since, mine) = (local.since, self.directory.mine(&name));
            let handoff = mine.is_some_and(|cell| cell.spec.handoff);
            if handoff && local.unreadable {
                self.restore(&name); // somebody else may have a copy
                continue;
            }
            let goes_on = handoff && stored.is_some_and(|stored| lineage || stored.checkpoint);
            if goes_on {
                local.phase = LocalPhase::Restoring;
            }
            // Of a lineage that was told when its state was looked for.
            if !lineage && mine.is_some_and(|cell| cell.unsaved) {
                self.tell_older(&name, since, ENDED_UNSAVED);
            }
            if goes_on {
                self.out.push(Effect::LoadSnapshot { purpose: Purpose::Start { name, since } });
            } else {
                self.start(&name, None);
            }
        }
        self.tick_moves();
    }

    /// Draws the host's consequences from what the directory says of a name.
    pub(super) fn review_as_host(&mut self, name: &Arc<str>, standing: &Standing) {
        self.review_release(name, standing);
        let Some(mine) = self.directory.mine(name).cloned() else { return };
        if self.directory.is_banned(name, mine.birth) {
            let stopping = self.local.get(name).is_some_and(|l| matches!(l.phase, LocalPhase::Stopping(_)));
            if !stopping {
                self.stop(name, Stopping::Ended { arbiter: None, births: BTreeSet::from([mine.birth]) });
            }
            return;
        }
        let Standing::Claimed { host, cell } = standing else { return };
        if !self.settled() {
            return;
        }
        if *host == self.config.me {
            return self.review_epoch(name, &mine);
        }
        let runs = cell.state == NameState::Running;
        match &mine.state {
            NameState::Released(release) => {
                if runs && cell.epoch >= release.epoch {
                    self.leave_to(host, name);
                }
            }
            NameState::Parked | NameState::Failed { .. } => {
                if runs && (cell.epoch > mine.epoch || cell.birth != mine.birth) {
                    self.leave_to(host, name);
                }
            }
            NameState::Starting | NameState::Running | NameState::Leaving { .. } => {
                // One that is being parked, since there was no majority, is not told of a conflict: its state is kept and offered.
                let ends = self.local.get(name).is_some_and(|local| match local.phase {
                    LocalPhase::Stopping(_) => true,
                    LocalPhase::Parking => local.fenced,
                    _ => false,
                });
                if !ends {
                    let to = cell.pid(&self.config.sworm, name, host);
                    let pid = self.own_pid(name, mine.since);
                    self.out.push(Effect::Tell(Notice::Conflict { pid, winner: to.clone() }));
                    if planted(Fault::LoserRunsOn) {
                        return self.after_stop(name, Stopping::Yielded { to, told: false });
                    }
                    self.stop(name, Stopping::Yielded { to, told: false });
                }
            }
        }
    }

    /// Somebody else has the name now. What is said of it here goes when all have heard that: if the other one died first,
    /// the name would look free to those who have not.
    fn leave_to(&mut self, host: &Peer, name: &Arc<str>) {
        if self.is_heard_by_all(host, name) {
            self.directory.remove(&Key::Name(name.clone()));
        } else {
            self.handed_on.insert(name.clone());
        }
    }

    /// A worker of this node has the name. What was assigned weakly is stated anew as strong once nobody can be running
    /// it elsewhere, or this side is the larger one, and all who are there have been heard; unless a later state has turned
    /// up meanwhile: then it goes on from there. And whoever has won a conflict states itself above all that was seen.
    fn review_epoch(&mut self, name: &Arc<str>, mine: &Arc<NameCell>) {
        if !self.local.get(name).is_some_and(|local| matches!(local.phase, LocalPhase::Running)) {
            return;
        }
        let others: Vec<(&Peer, &Arc<NameCell>)> =
            self.directory.cells(name).filter(|(host, _)| **host != self.config.me).collect();
        let weak = mine.epoch.minor > 0;
        let later = others.iter().any(|(host, cell)| {
            cell.birth == mine.birth
                && cell.epoch.major > mine.epoch.major
                && (cell.state == NameState::Parked || !self.is_live(host))
                && !matches!(cell.state, NameState::Failed { .. })
        });
        if weak && later {
            return self.stop(name, Stopping::Superseded);
        }
        let unseen = others.iter().any(|(host, _)| !self.is_live(host) && !self.directory.has_ended(host));
        let strengthen = weak && (!unseen || self.is_majority()) && !self.somebody_is_unheard();
        if strengthen || self.directory.highest_epoch(name) > mine.epoch {
            let epoch = self.strong_epoch(name);
            self.restate(name, |cell| cell.epoch = epoch);
            // Who was to hold its state may have run it meanwhile, and hold that.
            let me = self.config.me.clone();
            if let Some(local) = self.local.get_mut(name) {
                local.kept_by.retain(|peer| *peer == me);
                self.copies_checked = 0;
            }
        }
    }

    /// Changes the groups of a worker of this node.
    pub(super) fn regroup(
        &mut self,
        request: &Request,
        name: &Arc<str>,
        change: impl FnOnce(&mut BTreeSet<Arc<str>>) -> Result<bool, Refusal>,
    ) {
        let (host, cell) = match self.standing(name) {
            Standing::Claimed { host, cell } => (host, cell),
            Standing::Source { cell, .. } => return self.answer_to(request, Err(without_host(&cell))),
            Standing::Free => return self.answer_to(request, Err(Refusal::NotRegistered)),
        };
        if host != self.config.me {
            return self.answer_to(request, Err(Refusal::Again));
        }
        // One that comes again is answered only: what it did may have been undone since.
        let is_repeat = self.regrouped.get(&request.id).is_some_and(|(since, _)| *since == cell.since);
        if !is_repeat || planted(Fault::RegroupAgain) {
            let mut groups = cell.groups.clone();
            match change(&mut groups) {
                Ok(true) => self.restate(name, |cell| cell.groups = groups),
                Ok(false) => {}
                Err(refusal) => return self.answer_to(request, Err(refusal)),
            }
        }
        self.regrouped.insert(request.id.clone(), (cell.since, self.now.mono_ms));
        let cell = self.directory.mine(name).cloned().unwrap_or(cell);
        let said = self.directory.said(&host, name);
        let done = request.answer(Ok(Done::Regrouped { name: name.clone(), host, cell, said }));
        self.once_durable(Effect::Send { to: request.id.from.clone(), message: Box::new(done) });
    }
}

/// Puts a group beside those that a name is in; says whether it was not among them.
pub(super) fn joins(groups: &mut BTreeSet<Arc<str>>, group: Arc<str>) -> Result<bool, Refusal> {
    if groups.len() >= MAX_GROUPS && !groups.contains(&group) {
        return Err(Refusal::TooManyGroups { limit: MAX_GROUPS });
    }
    Ok(groups.insert(group))
}

/// The revision of a state that is stored again when a worker starts from it.
pub(super) fn first_revision(since: Epoch) -> Revision {
    Revision { epoch: since, number: 0 }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
