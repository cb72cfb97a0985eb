//! Starts, pauses and stops the tasks of workers, and looks after them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::Driver;
use crate::api::Sworm;
use crate::core::cell::Spec;
use crate::core::chunks::Shipment;
use crate::core::ids::{Epoch, Pid};
use crate::core::{Input, Notice};
use crate::node::hanging::{GRACE, given_up, stopped_within};
use crate::node::sworm::{Running, Slot};
use crate::strategy::Exit;
use crate::worker::activity::Activity;
use crate::worker::pausing::Pausing;
use crate::worker::task::{Control, STOPPING_LIMIT, Start, Tell};

/// How often a worker that pauses is looked at.
const PAUSE_LOOK: Duration = Duration::from_secs(1);
/// How long a pause may take in all while a large state is being saved.
const PAUSE_LIMIT: Duration = Duration::from_secs(50);

impl Driver {
    pub(super) fn start(&self, name: Arc<str>, since: Epoch, spec: Arc<Spec>, state: Option<Shipment>) {
        let shared = &self.shared;
        let (Some(hosted), Some(birth)) = (shared.types.get(&*spec.worker_type), self.core.birth_of(&name)) else {
            let result = Err(Exit::StartFailed(format!("worker type {:?} is not linked", &*spec.worker_type)));
            return shared.input(Input::Started { name, since, result });
        };
        let pid = self.pid(name.clone(), since);
        let (control_sender, control) = mpsc::unbounded_channel();
        let activity = Arc::new(Activity::default());
        let (mailbox, handle) = hosted.worker.start(Start {
            pid,
            birth,
            spec,
            state,
            sworm: Sworm::new(shared.clone()),
            mailbox: hosted.mailbox,
            start_timeout: hosted.start_timeout,
            saving: hosted.saving,
            starts: shared.node.starts.clone(),
            places: shared.node.saved.clone(),
            control,
            activity: activity.clone(),
            tell: Tell { inputs: shared.senders.inputs.clone(), replies: shared.clone() },
        });
        let slot = Slot { since, mailbox, control: control_sender, task: Some(Running { handle, activity }) };
        shared.slots().insert(name, slot);
    }

    pub(super) fn pid(&self, name: Arc<str>, since: Epoch) -> Pid {
        let me = self.shared.node.me.clone();
        Pid { sworm: self.shared.name.clone(), name, node: me.node, incarnation: me.incarnation, epoch: since }
    }

    pub(super) fn control(&self, name: &Arc<str>, since: Epoch, control: Control) -> bool {
        let slots = self.shared.slots();
        let slot = slots.get(name).filter(|slot| slot.since == since);
        slot.is_some_and(|slot| slot.control.send(Box::new(control)).is_ok())
    }

    pub(super) fn stop(&self, name: Arc<str>, since: Epoch, why: Exit) {
        let attached = self.shared.slots().get(&name).is_some_and(|slot| slot.task.is_none());
        let hooks = if matches!(why, Exit::Conflict { .. }) { 2 } else { 1 };
        if attached || !self.control(&name, since, Control::Stop { why }) {
            self.shared.slots().remove(&name);
            return self.shared.input(Input::Stopped { name, since });
        }
        let limit = STOPPING_LIMIT * hooks + GRACE;
        tokio::spawn(stopped_within(limit, self.shared.clone(), name, since));
    }

    /// Looks whether these workers' tasks are there, and get on; and whether attached names are wanted.
    pub(super) fn look_after(&mut self, workers: &[(Arc<str>, Epoch)]) {
        let now = std::time::Instant::now();
        let (mut gone, mut stuck, mut hanging) = (Vec::new(), Vec::new(), Vec::new());
        let limit = self.shared.save_limit.get();
        // In parts: whoever calls a worker needs the slots too.
        for some in workers.chunks(256) {
            let slots = self.shared.slots();
            for (name, since) in some {
                match slots.get(name).filter(|slot| slot.since == *since).map(|slot| &slot.task) {
                    // One whose task has finished has said how, in words that are yet to be read: it may have stopped as it
                    // was told, and counts as gone only if it is known by then to have no task.
                    Some(Some(task)) if !task.handle.is_finished() => {
                        stuck.extend(task.activity.overdue(now).map(|long| (name.clone(), *since, long)));
                        let hangs = task.activity.saving_for(now).is_some_and(|taken| taken >= limit);
                        if hangs && task.activity.give_up_saving() {
                            hanging.push((name.clone(), *since));
                        }
                    }
                    Some(Some(_)) => {}
                    // It may be on its way to whoever has asked for it.
                    Some(None) | None if self.core.attached_for(name).is_some_and(|r| self.shared.is_kept(r)) => {}
                    Some(None) | None => gone.push((name.clone(), *since)),
                }
            }
        }
        for (name, since, (what, busy)) in stuck {
            self.tell(&Notice::Stuck { pid: self.pid(name, since), with: what.into(), busy });
        }
        // At once: what the core asked about is still so.
        let now = self.now();
        for (name, since) in gone {
            self.take(now, Input::Gone { name, since });
        }
        for (name, since) in hanging {
            self.take(now, given_up(name, since, limit));
        }
    }

    pub(super) fn pause(&self, name: Arc<str>, since: Epoch, why: Exit) {
        let pausing = Arc::<Pausing>::default();
        let shared = self.shared.clone();
        if !self.control(&name, since, Control::Pause { pausing: pausing.clone(), why }) {
            let state = Err("its task is gone".into());
            return shared.input(Input::Paused { name, since, state });
        }
        tokio::spawn(async move {
            let (began, mut got_on, mut steps) = (Instant::now(), Instant::now(), 0);
            while got_on.elapsed() < STOPPING_LIMIT + GRACE && began.elapsed() < PAUSE_LIMIT {
                sleep(PAUSE_LOOK).await;
                let gets_on = pausing.got_on_since(&mut steps);
                if pausing.is_answered() {
                    return;
                }
                if gets_on {
                    got_on = Instant::now();
                    shared.input(Input::PauseGoesOn { name: name.clone(), since });
                }
            }
            if pausing.answers() {
                let state = Err("it did not pause in time".into());
                shared.input(Input::Paused { name, since, state });
            }
        });
    }
}
