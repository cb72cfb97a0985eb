//! Desired against actual: each second some of this node's workers are looked at, and what is not as it should be is
//! repaired. A worker whose task is gone has ended, one that has lost its name gets it back, a name that is said to run
//! here and has no worker gets one, and one that is attached to a task which is gone ends. (A start that fails is tried again
//! by the [`host`](super::host).)

use std::ops::Bound;
use std::sync::Arc;

use super::cell::NameCell;
use super::events::Gone;
use super::fault::{Fault, planted};
use super::host::{Local, LocalPhase};
use super::ids::{Epoch, RequestId};
use super::state::Core;
use super::stopping::Stopping;
use super::{Effect, Notice};
use crate::strategy::Exit;

/// Which workers and names are looked at next, and when.
#[derive(Debug, Default)]
pub struct Looking {
    due_ms: u64,
    from_worker: Option<Arc<str>>,
    from_name: Option<Arc<str>>,
}

const EVERY_MS: u64 = 1_000;
/// So many at a time; of more than ten times as many a tenth, so that all are looked at within ten seconds.
const AT_A_TIME: usize = 500;
const PARTS: usize = 10;

impl Core {
    pub(super) fn tick_repair(&mut self) {
        let now = self.now.mono_ms;
        if now >= self.looking.due_ms {
            self.looking.due_ms = now + EVERY_MS;
            self.look_at_workers();
            self.look_at_names();
        }
    }

    fn look_at_workers(&mut self) {
        let from = self.looking.from_worker.take();
        let from = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(&**from));
        let mut all = self.local.from(from);
        let (mut nameless, mut workers) = (Vec::new(), Vec::new());
        for (name, local) in all.by_ref().take((self.local.len() / PARTS).max(AT_A_TIME)) {
            match self.directory.mine(name) {
                None => nameless.push(name.clone()),
                Some(_) if !has_task(&local.phase) => {}
                Some(_) => workers.push((name.clone(), local.since)),
            }
        }
        let from = all.next().map(|(name, _)| name.clone());
        drop(all);
        self.looking.from_worker = from;
        for name in nameless {
            self.give_back(&name);
        }
        if !workers.is_empty() {
            self.out.push(Effect::LookAfter(workers));
        }
    }

    /// A worker that runs, or is to, has its name; one that is on its way out gets none.
    pub(super) fn give_back(&mut self, name: &Arc<str>) {
        let Some(local) = self.local.get(name).filter(|_| !planted(Fault::NamelessUnnoticed)) else { return };
        if matches!(local.phase, LocalPhase::Moving(_) | LocalPhase::Parking | LocalPhase::Stopping(_)) {
            return;
        }
        let Some(cell) = local.stated.clone() else { return };
        if self.directory.is_banned(name, cell.birth) {
            return self.stop(name, Stopping::Ended { arbiter: None, births: [cell.birth].into() });
        }
        let epoch = self.strong_epoch(name);
        self.state(name, NameCell { epoch, ..(*cell).clone() });
        self.local_due_ms = 0; // it may be to start
        self.out.push(Effect::Tell(Notice::NameLost { pid: self.own_pid(name, cell.since) }));
    }

    fn look_at_names(&mut self) {
        let from = self.looking.from_name.take();
        let from = from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(&**from));
        let mut all = self.directory.my_names_from(from);
        let is_without = |(name, cell): &(&Arc<str>, &Arc<NameCell>)| {
            cell.state.is_claim() && !cell.attached && !self.local.contains_key(name)
        };
        let some = all.by_ref().take((self.local.len() / PARTS).max(AT_A_TIME));
        let without: Vec<_> = some.filter(is_without).map(|(name, cell)| (name.clone(), cell.clone())).collect();
        let from = all.next().map(|(name, _)| name.clone());
        drop(all);
        self.looking.from_name = from;
        if self.leaving.is_none() && !planted(Fault::WorkerlessUnnoticed) {
            without.iter().for_each(|(name, cell)| self.take_back(name, cell));
        }
    }

    /// A name that runs here as far as all know, and of whose worker nothing is known. If there is one, it is stopped; then it
    /// is started anew, from what was saved.
    fn take_back(&mut self, name: &Arc<str>, cell: &NameCell) {
        self.local.insert(name.clone(), Local::forgotten(cell));
        self.stop(name, Stopping::Superseded);
    }

    /// Forgets a worker, as a mistake would.
    #[cfg(feature = "faults")]
    pub fn forget_worker(&mut self, name: &str) {
        self.local.remove(name);
    }

    /// For which request of which node a name was attached to a task here, if it was.
    pub fn attached_for(&self, name: &Arc<str>) -> Option<&RequestId> {
        self.directory.mine(name).filter(|cell| cell.attached).map(|cell| &cell.request)
    }

    /// A worker has no task: it has ended without a word. A name that was attached to one goes with it.
    pub(super) fn on_gone(&mut self, name: &Arc<str>, since: Epoch) {
        if self.attached_for(name).is_some() {
            self.detach(name, since);
        } else if !planted(Fault::VanishedUnnoticed) {
            self.on_exited(name, since, Exit::Killed("its task was gone".into()));
        }
    }

    fn detach(&mut self, name: &Arc<str>, since: Epoch) {
        let runs = |local: &&Local| local.since == since && matches!(local.phase, LocalPhase::Running);
        let Some(birth) = self.local.get(name).filter(runs).map(|local| local.birth) else { return };
        self.local.remove(name);
        self.ends.gone(name, [birth], &Gone::Unregistered);
        self.directory.ban_stopped(name, [birth]);
    }
}

/// Whether a worker has a task that must be there. One that is being stopped is waited for anyway.
fn has_task(phase: &LocalPhase) -> bool {
    match phase {
        LocalPhase::Starting
        | LocalPhase::Settling
        | LocalPhase::Running
        | LocalPhase::Moving(_)
        | LocalPhase::Parking => true,
        LocalPhase::Restoring | LocalPhase::Waiting { .. } | LocalPhase::Stopping(_) => false,
    }
}
