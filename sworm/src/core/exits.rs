//! A worker has ended by itself: what follows is its restart strategy's business.

use std::sync::Arc;
use std::time::Duration;

use super::cell::{NameCell, NameState};
use super::fault::{Fault, planted};
use super::host::{First, Local, LocalPhase, millis};
use super::ids::Epoch;
use super::state::Core;
use super::time::to_ms;
use super::{Effect, Notice};
use crate::strategy::{Exit, MAX_RESTARTS, RestartDecision, RestartHistory, Transient, decide};

impl Core {
    pub(super) fn on_exited(&mut self, name: &Arc<str>, since: Epoch, exit: Exit) {
        let here = |local: &&Local| local.since == since;
        if self.local.get(name).filter(here).is_some() && self.directory.mine(name).is_none() {
            self.give_back(name); // what follows upon its end is said of its name
        }
        let Some(local) = self.local.get(name).filter(here) else { return };
        match &local.phase {
            LocalPhase::Starting => self.on_started(name, since, Err(exit)),
            // Its receiver has its state, and it was told to stop: however it ended, it has.
            LocalPhase::Moving(moving) if moving.is_accepted() => self.on_stopped(name, since),
            LocalPhase::Stopping(_) => self.on_stopped(name, since),
            LocalPhase::Restoring | LocalPhase::Waiting { .. } => {}
            // It may be to go again by now.
            _ if exit.is_of_start() && !local.fenced => self.resumes_in_vain(name, &exit),
            // It ended while it was being handed over: what follows is the same as after any other end.
            LocalPhase::Moving(_) | LocalPhase::Parking | LocalPhase::Running | LocalPhase::Settling => {
                self.after_exit(name, exit);
            }
        }
    }

    /// A worker has ended without its state, which it was to give: the next one is started from an older one.
    pub(super) fn on_given_up(&mut self, name: &Arc<str>, since: Epoch, why: &Arc<str>) {
        let Some(local) = self.local.get(name).filter(|local| local.since == since) else { return };
        if !matches!(local.phase, LocalPhase::Stopping(_)) {
            self.ends_unsaved(name, since, why.clone());
        }
        self.on_exited(name, since, Exit::Error(why.to_string()));
    }

    /// A worker that was to go has stayed, and its `started` has failed then: as after a move it is started from what was saved,
    /// until it works.
    fn resumes_in_vain(&mut self, name: &Arc<str>, exit: &Exit) {
        self.keeping.remove(name);
        let (epoch, assigned) = (self.strong_epoch(name), self.hybrid());
        self.restate(name, |cell| {
            *cell = cell.next(epoch, assigned);
            cell.state = NameState::Starting;
        });
        let me = self.config.me.clone();
        if let Some(local) = self.local.get_mut(name) {
            local.since = epoch;
            local.granted = Some((me, First::Lineage));
        }
        self.start_again(name, exit);
    }

    /// States that the last state of a worker is lost with it, and tells why.
    pub(super) fn ends_unsaved(&mut self, name: &Arc<str>, since: Epoch, why: Arc<str>) {
        if self.directory.mine(name).is_some_and(|cell| !cell.unsaved) {
            self.on_unsaved(name, since, why);
            self.restate(name, |cell| cell.unsaved = true);
            self.leaves_unsaved();
        }
    }

    /// What happens after a worker's end is its restart strategy's business.
    pub(super) fn after_exit(&mut self, name: &Arc<str>, exit: Exit) {
        self.keeping.remove(name);
        if let Some(local) = self.local.get(name).filter(|local| local.fenced) {
            let since = local.since;
            // One that has not started yet, and one that ended by itself, have nothing that is not saved.
            let has_news = !local.kept && local.restored.is_none() && !exit.is_normal();
            let had_started = |cell: &Arc<NameCell>| cell.spec.handoff && cell.state != NameState::Starting;
            if has_news && self.directory.mine(name).is_some_and(had_started) {
                self.ends_unsaved(name, since, format!("it has ended before that: {exit}").into());
            }
            return self.on_handed_over(name);
        }
        let Some(cell) = self.directory.mine(name).cloned() else {
            self.local.remove(name);
            return;
        };
        let now = to_ms(self.hybrid());
        let ago = cell.restarts.iter().map(|at| Duration::from_millis(now.saturating_sub(*at))).collect();
        let history = RestartHistory::new(ago, self.random_for(name));
        let strategy = self.config.restart.get(&cell.spec.worker_type).copied();
        let strategy = strategy.filter(|_| !planted(Fault::OneStrategy)).unwrap_or(&Transient);
        let (decision, reason) = match decide(strategy, &exit, &history) {
            Ok(decision) => (decision, exit.to_string()),
            Err(panic) => (RestartDecision::GiveUp, format!("{exit}; its restart strategy panicked: {panic}")),
        };
        let pid = self.own_pid(name, cell.since);
        self.out.push(Effect::Tell(Notice::Exited { pid, reason: reason.clone() }));
        self.ends.exited(name, &cell, &reason);
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
                    *cell = cell.next(epoch, assigned);
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
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::RangeInclusive;

    use super::super::fixture::{TYPE, cluster, running};
    use super::*;

    /// So many end in one turn.
    const MANY: usize = 40;

    /// A core whose workers were all started again lately, so that the next time they wait.
    fn core_with_workers() -> (Core, Vec<Arc<str>>) {
        let mut cell = running();
        cell.restarts = vec![1_699_999_999_000].into();
        let cells: Vec<_> = (0..MANY).map(|n| (format!("name-{n}"), cell.clone())).collect();
        let mut core = cluster(&[("a", cells.clone())]);
        let names: Vec<Arc<str>> = cells.iter().map(|(name, _)| name.as_str().into()).collect();
        for name in &names {
            core.local.insert(name.clone(), Local::forgotten(&cell));
        }
        (core, names)
    }

    /// When they start again, from the present turn on.
    fn delays_ms(core: &Core, names: &[Arc<str>]) -> Vec<u64> {
        let due_ms = |name: &Arc<str>| match core.local.get(name).map(|local| &local.phase) {
            Some(LocalPhase::Waiting { due_ms }) => *due_ms - core.now.mono_ms,
            _ => panic!("{name} waits to be started again"),
        };
        names.iter().map(due_ms).collect()
    }

    /// They all lie in there, and not on each other.
    fn are_spread(delays_ms: &[u64], within_ms: RangeInclusive<u64>) {
        assert!(delays_ms.iter().all(|delay| within_ms.contains(delay)), "{delays_ms:?}");
        let most = delays_ms.iter().map(|one| delays_ms.iter().filter(|other| *other == one).count()).max();
        let different: BTreeSet<_> = delays_ms.iter().collect();
        assert!(different.len() >= 8 && most <= Some(MANY / 4), "they start together: {delays_ms:?}");
    }

    #[test]
    fn workers_that_end_together_do_not_start_again_together() {
        let (mut core, names) = core_with_workers();
        assert!(!core.config.restart.contains_key(TYPE), "the strategy is the default one");
        for name in &names {
            core.on_exited(name, running().since, Exit::Panic("they all met the same".into()));
        }
        // 50 ms less up to a quarter.
        are_spread(&delays_ms(&core, &names), 37..=50);
    }

    #[test]
    fn workers_whose_starts_fail_together_are_not_tried_again_together() {
        let (mut core, names) = core_with_workers();
        for _ in 0..3 {
            names.iter().for_each(|name| core.start_again(name, &Exit::StartTimedOut));
        }
        // The third time 400 ms, less up to a quarter.
        are_spread(&delays_ms(&core, &names), 300..=400);
    }
}
