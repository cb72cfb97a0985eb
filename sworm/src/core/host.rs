//! The host: starts what it is granted, answers for its workers' ends, and keeps its lane equal to what it runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Key, NameCell, NameState, Revision, Spec};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::handoff::Moving;
use super::ids::{Birth, Epoch, Peer, Pid, RequestId};
use super::message::{Done, Grant, GrantOutcome, Message, Phase, Refusal, Snapshot};
use super::rare::Rare;
use super::snapshots::Purpose;
use super::state::Core;
use super::time::to_ms;
use super::{Effect, Notice};
use crate::strategy::{Exit, RestartDecision, RestartHistory, Transient, decide};

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
    pub(super) restored: Option<Snapshot>,
    /// What was stated of it last.
    pub(super) stated: Option<Arc<NameCell>>,
    /// Those who said that its newest state is durable with them.
    pub(super) kept_by: BTreeSet<Peer>,
    /// The number in the own lane at which the list of those who hold its state lost somebody last.
    pub(super) shrunk_seq: u64,
    /// Whether the lease has ended since it started: whatever comes, it is not for this node to go on with it.
    pub(super) fenced: bool,
}

impl Local {
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

/// Why a worker is being stopped, and so what follows.
#[derive(Debug)]
pub enum Stopping {
    /// The name ends; the arbiter waits for it.
    Ended { arbiter: Option<Peer>, births: BTreeSet<Birth> },
    /// Another node's claim is better: that of this worker. One that has no task is not told.
    Yielded { to: Pid, told: bool },
    /// A later state of the same lineage has turned up: it is started again from there.
    Superseded,
}

/// How long a grant may come again after it was carried out.
const REPEATS_MS: u64 = 60_000;
/// Restarts that are remembered.
const MAX_RESTARTS: usize = 32;
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
            let outcome = GrantOutcome::Running(mine.clone());
            let first = if adoption { First::Lineage } else { First::Registration };
            return self.confirm(arbiter, first, Message::Granted { name, epoch, outcome });
        }
        if self.local.get(&name).is_some_and(|local| local.birth == cell.birth && local.since == cell.since) {
            return; // it is being started; the answer follows
        }
        let refused = view != self.view.hash
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
        let cell = NameCell { restarts, ..cell };
        let find_state = cell.spec.handoff && granted.as_ref().is_none_or(|(_, first)| *first == First::Lineage);
        let local = Local {
            birth,
            since,
            phase: LocalPhase::Starting,
            failures: 0,
            granted,
            restored: None,
            stated: None,
            kept_by: BTreeSet::new(),
            shrunk_seq: 0,
            fenced: false,
        };
        self.local.insert(name.clone(), local);
        self.state(name, NameCell { state: NameState::Starting, ..cell });
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

    pub(super) fn start(&mut self, name: &Arc<str>, state: Option<Snapshot>) {
        let Some(spec) = self.directory.mine(name).map(|cell| cell.spec.clone()) else { return };
        let busy = planted(Fault::StartsInOrder)
            && self.local.iter().any(|(other, l)| other != name && matches!(l.phase, LocalPhase::Starting));
        let Some(local) = self.local.get_mut(name) else { return };
        if busy {
            local.phase = LocalPhase::Waiting { due_ms: self.now.mono_ms };
            self.local_due_ms = 0;
            return;
        }
        local.phase = LocalPhase::Starting;
        local.restored = state.clone();
        self.out.push(Effect::Start { name: name.clone(), since: local.since, spec, state });
    }

    pub(super) fn on_started(&mut self, name: &Arc<str>, since: Epoch, result: Result<(), Exit>) {
        let Some(local) = self.local.get_mut(name).filter(|local| local.since == since) else { return };
        if !matches!(local.phase, LocalPhase::Starting) {
            return;
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
                self.directory.ban_stopped(name, [birth]);
                let outcome = GrantOutcome::Failed { reason: exit.to_string(), timed_out };
                self.send(&arbiter, Message::Granted { name: name.clone(), epoch: since, outcome });
            }
            (Err(exit), Some((_, First::Lineage))) => self.start_again(name, &exit),
            (Err(exit), None) => self.after_exit(name, exit),
        }
    }

    /// What is said of a name is said in the version of the worker that runs: nodes with an older one start it no more.
    pub(super) fn on_renewed(&mut self, name: &Arc<str>, since: Epoch, spec: Arc<Spec>) {
        if self.local.get(name).is_some_and(|local| local.since == since) {
            self.restate(name, |cell| cell.spec = spec);
        }
    }

    /// A lineage whose start failed is tried until it works, with back-off.
    fn start_again(&mut self, name: &Arc<str>, exit: &Exit) {
        let random = self.now.random;
        let Some(local) = self.local.get_mut(name) else { return };
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
        self.restate(name, |cell| cell.state = NameState::Running);
        if let Some((arbiter, first)) = granted
            && let Some(cell) = self.directory.mine(name).cloned()
        {
            let granted =
                Message::Granted { name: name.clone(), epoch: cell.epoch, outcome: GrantOutcome::Running(cell) };
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

    pub(super) fn on_exited(&mut self, name: &Arc<str>, since: Epoch, exit: Exit) {
        let Some(local) = self.local.get(name).filter(|local| local.since == since) else { return };
        match &local.phase {
            LocalPhase::Running | LocalPhase::Settling => self.after_exit(name, exit),
            LocalPhase::Starting => self.on_started(name, since, Err(exit)),
            // It ended while it was being handed over: what follows is the same as after any other end.
            LocalPhase::Moving(_) | LocalPhase::Parking => {
                self.keeping.remove(name);
                self.after_exit(name, exit);
            }
            LocalPhase::Stopping(_) => self.on_stopped(name, since),
            LocalPhase::Restoring | LocalPhase::Waiting { .. } => {}
        }
    }

    /// What happens after a worker's end is its restart strategy's business.
    fn after_exit(&mut self, name: &Arc<str>, exit: Exit) {
        self.keeping.remove(name);
        if self.local.get(name).is_some_and(|local| local.fenced) {
            return self.on_handed_over(name);
        }
        let Some(cell) = self.directory.mine(name).cloned() else {
            self.local.remove(name);
            return;
        };
        let now = to_ms(self.hybrid());
        let ago = cell.restarts.iter().map(|at| Duration::from_millis(now.saturating_sub(*at))).collect();
        let history = RestartHistory::new(ago, self.now.random);
        let strategy = self.config.restart.get(&cell.spec.worker_type).copied().unwrap_or(&Transient);
        let (decision, reason) = match decide(strategy, &exit, &history) {
            Ok(decision) => (decision, exit.to_string()),
            Err(panic) => (RestartDecision::GiveUp, format!("{exit}; its restart strategy panicked: {panic}")),
        };
        let pid = self.own_pid(name, cell.since);
        self.out.push(Effect::Tell(Notice::Exited { pid, reason: reason.clone() }));
        match decision {
            RestartDecision::Remove => {
                self.local.remove(name);
                let births = self.directory.births(name);
                self.directory.ban_stopped(name, births);
            }
            RestartDecision::Restart { after } => {
                let epoch = self.strong_epoch(name);
                let assigned = self.hybrid();
                let saved = self.stored.get(name).is_some_and(|stored| stored.revision.epoch == cell.since);
                self.restate(name, |cell| {
                    // What it does not start from again, here and now, it is not to be given later.
                    if saved {
                        cell.past.close(cell.since);
                    }
                    cell.epoch = epoch;
                    cell.since = epoch;
                    cell.assigned = assigned;
                    cell.restarts.insert(0, now);
                    cell.restarts.truncate(MAX_RESTARTS);
                    cell.state = NameState::Starting;
                });
                let due_ms = self.now.mono_ms.saturating_add(millis(after));
                self.local_due_ms = 0;
                if let Some(local) = self.local.get_mut(name) {
                    local.since = epoch;
                    local.granted = None;
                    local.phase = LocalPhase::Waiting { due_ms };
                }
            }
            RestartDecision::GiveUp => {
                self.local.remove(name);
                self.restate(name, |cell| cell.state = NameState::Failed { reason: reason.as_str().into() });
                self.out.push(Effect::Tell(Notice::GaveUp { name: name.clone(), reason }));
            }
        }
    }

    pub(super) fn tick_host(&mut self) {
        let now = self.now.mono_ms;
        if now >= self.forget_taken_ms {
            self.forget_taken_ms = now + REPEATS_MS / 4;
            self.taken_in.retain(|_, (_, at)| now < *at + REPEATS_MS);
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
            let handoff = self.directory.mine(&name).is_some_and(|cell| cell.spec.handoff);
            if handoff && stored.is_some_and(|stored| lineage || stored.checkpoint) {
                local.phase = LocalPhase::Restoring;
                let purpose = Purpose::Start { name: name.clone(), since: local.since };
                self.out.push(Effect::LoadSnapshot { purpose });
            } else {
                self.start(&name, None);
            }
        }
        self.tick_moves();
    }

    pub(super) fn on_end(&mut self, arbiter: &Peer, name: &Arc<str>, births: BTreeSet<Birth>) {
        // Another lineage than those that are to end goes on.
        if self.local.get(name).is_some_and(|local| !births.contains(&local.birth)) {
            let arbiter = Some(arbiter.clone());
            return self.after_stop(name, Stopping::Ended { arbiter, births });
        }
        let stopping = self.local.get(name).is_some_and(|local| {
            matches!(&local.phase, LocalPhase::Stopping(Stopping::Ended { arbiter: Some(to), .. }) if to == arbiter)
        });
        if !stopping {
            self.stop(name, Stopping::Ended { arbiter: Some(arbiter.clone()), births });
        }
    }

    /// Stops a worker of this node, or does at once what follows when there is none.
    pub(super) fn stop(&mut self, name: &Arc<str>, why: Stopping) {
        self.keeping.remove(name);
        self.restoring.remove(name);
        match self.local.get_mut(name) {
            Some(local) => {
                let idle = matches!(local.phase, LocalPhase::Waiting { .. } | LocalPhase::Restoring);
                let since = local.since;
                let why = match why {
                    Stopping::Yielded { to, .. } => Stopping::Yielded { to, told: !idle },
                    why => why,
                };
                let exit = match &why {
                    Stopping::Yielded { to, .. } if !planted(Fault::LoserUntold) => {
                        Exit::Conflict { winner: to.clone() }
                    }
                    Stopping::Yielded { .. } | Stopping::Superseded => Exit::Superseded,
                    Stopping::Ended { .. } => Exit::Unregistered,
                };
                local.phase = LocalPhase::Stopping(why);
                if idle {
                    self.on_stopped(name, since);
                } else {
                    self.out.push(Effect::Stop { name: name.clone(), since, why: exit });
                }
            }
            None => self.after_stop(name, why),
        }
    }

    /// What must never be done: only for a planted fault.
    pub(super) fn restart_all(&mut self) {
        let running = self.local.iter().filter(|(_, local)| matches!(local.phase, LocalPhase::Running));
        for name in running.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.stop(&name, Stopping::Superseded);
        }
    }

    pub(super) fn on_stopped(&mut self, name: &Arc<str>, since: Epoch) {
        let Some(local) = self.local.get(name).filter(|local| local.since == since) else { return };
        match local.phase {
            LocalPhase::Stopping(_) => {}
            LocalPhase::Moving(_) | LocalPhase::Parking => return self.on_handed_over(name),
            _ => return,
        }
        if let Some(Local { phase: LocalPhase::Stopping(why), .. }) = self.local.remove(name) {
            self.after_stop(name, why);
        }
    }

    fn after_stop(&mut self, name: &Arc<str>, why: Stopping) {
        match why {
            Stopping::Ended { arbiter, births } => {
                if births.iter().any(|birth| !self.directory.is_banned(name, *birth)) || arbiter.is_some() {
                    self.directory.ban_stopped(name, births.iter().copied());
                } else {
                    self.directory.remove(&Key::Name(name.clone()));
                }
                if let Some(arbiter) = arbiter {
                    let ended = Message::Ended { name: name.clone(), births };
                    self.once_durable(Effect::Send { to: arbiter, message: Box::new(ended) });
                }
            }
            Stopping::Yielded { told, .. } if self.may_let_go(name) => {
                if told {
                    self.forget_lost_state(name);
                }
                self.directory.remove(&Key::Name(name.clone()));
            }
            // Or whoever had won has ended meanwhile.
            Stopping::Yielded { .. } | Stopping::Superseded => {
                let Some(cell) = self.directory.mine(name).cloned() else { return };
                if self.majority.is_some() {
                    return self.restate(name, |cell| cell.state = NameState::Parked); // it is granted anew
                }
                let epoch = self.strong_epoch(name);
                let assigned = self.hybrid();
                let granted = Some((self.config.me.clone(), First::Lineage));
                self.take_in(name, NameCell { epoch, since: epoch, assigned, ..(*cell).clone() }, granted);
            }
        }
    }

    /// Whether a name outlasts the own statement about it, as far as it should: somebody who has not ended speaks of it.
    fn may_let_go(&self, name: &Arc<str>) -> bool {
        let taken = |(host, cell): (&Peer, &Arc<NameCell>)| {
            *host != self.config.me && !self.directory.has_ended(host) && !self.directory.is_banned(name, cell.birth)
        };
        let ends = |cell: &Arc<NameCell>| cell.attached || self.directory.is_banned(name, cell.birth);
        self.directory.mine(name).is_none_or(ends) || self.directory.cells(name).any(taken)
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
                let stopping = self.local.get(name).is_some_and(|l| matches!(l.phase, LocalPhase::Stopping(_)));
                if !stopping {
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
    /// it elsewhere, or this side is the larger one; unless a later state has turned up meanwhile: then it goes on from
    /// there. And whoever has won a conflict states itself above all that was seen.
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
        let strengthen = weak && (!unseen || self.is_majority());
        if strengthen || self.directory.highest_epoch(name) > mine.epoch {
            let epoch = self.strong_epoch(name);
            self.restate(name, |cell| cell.epoch = epoch);
        }
    }

    /// Changes the groups of a worker of this node.
    pub(super) fn regroup(
        &mut self,
        request: &RequestId,
        name: &Arc<str>,
        change: impl FnOnce(&mut BTreeSet<Arc<str>>) -> bool,
    ) {
        let Standing::Claimed { host, cell } = self.standing(name) else {
            return self.answer_to(request, Err(Refusal::NotRegistered));
        };
        if host != self.config.me {
            return self.answer_to(request, Err(Refusal::Again));
        }
        let mut groups = cell.groups.clone();
        if change(&mut groups) {
            self.restate(name, |cell| cell.groups = groups);
        }
        let cell = self.directory.mine(name).cloned().unwrap_or(cell);
        let done =
            Message::Answer { number: request.number, answer: Ok(Done::Regrouped { name: name.clone(), host, cell }) };
        self.once_durable(Effect::Send { to: request.from.clone(), message: Box::new(done) });
    }
}

/// The revision of a state that is stored again when a worker starts from it.
pub(super) fn first_revision(since: Epoch) -> Revision {
    Revision { epoch: since, number: 0 }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
