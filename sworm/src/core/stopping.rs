//! A worker is stopped: because its name ends, or another one has it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Effect;
use super::cell::{Key, NameCell, NameState};
use super::events::Gone;
use super::fault::{Fault, planted};
use super::host::{First, Local, LocalPhase};
use super::ids::{Birth, Epoch, Peer, Pid};
use super::message::Message;
use super::state::Core;
use crate::strategy::Exit;

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

impl Core {
    pub(super) fn on_end(&mut self, arbiter: &Peer, name: &Arc<str>, births: BTreeSet<Birth>) {
        // Another lineage than those that are to end goes on.
        if self.local.get(name).is_some_and(|local| !births.contains(&local.birth)) {
            let arbiter = Some(arbiter.clone());
            return self.after_stop(name, Stopping::Ended { arbiter, births });
        }
        let arbiter = Some(arbiter.clone());
        match self.local.get_mut(name).map(|local| &mut local.phase) {
            // It stops already; whoever has asked last is told.
            Some(LocalPhase::Stopping(Stopping::Ended { arbiter: to, births: ended })) => {
                (*to, *ended) = (arbiter, births);
            }
            _ => self.stop(name, Stopping::Ended { arbiter, births }),
        }
    }

    /// Stops a worker of this node, or does at once what follows when there is none.
    pub(super) fn stop(&mut self, name: &Arc<str>, why: Stopping) {
        self.keeping.remove(name);
        self.restoring.remove(name);
        self.awaited.remove(name);
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

    pub(super) fn after_stop(&mut self, name: &Arc<str>, why: Stopping) {
        match why {
            Stopping::Ended { arbiter, births } => {
                let mine = self.directory.mine(name).filter(|cell| births.contains(&cell.birth));
                let has_failed = |cell: &NameCell| matches!(cell.state, NameState::Failed { .. });
                // One that has failed may have been replaced; and of what another node has had only that one knows why it ends.
                if mine.is_some_and(|cell| arbiter.is_some() || !has_failed(cell)) {
                    self.ends.gone(name, births.iter().copied(), &Gone::Unregistered);
                }
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
                self.take_in(name, cell.next(epoch, assigned), granted);
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
}
