//! What comes of a request for a name when it has its turn: it is registered, ended, or started again after a failure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{FAILED_MS, Job, Step, node_tag};
use crate::core::cell::{NameCell, NameState};
use crate::core::directory::Standing;
use crate::core::events::Gone;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Birth, Request};
use crate::core::message::{Done, Refusal, Registering};
use crate::core::placement::Placing;
use crate::core::rare::Rare;
use crate::core::state::Core;

impl Core {
    pub(super) fn run_job(&mut self, name: &Arc<str>, job: &Job) -> Step {
        match job {
            Job::Register { request, registering } => self.run_register(name, request, registering),
            Job::Unregister { request, birth } => self.run_unregister(name, request, *birth),
            Job::Restart { request } => self.run_restart(name, request),
        }
    }

    fn run_register(&mut self, name: &Arc<str>, request: &Request, registering: &Registering) -> Step {
        if let Some((refusal, until_ms)) = self.failed_starts.get_mut(&request.id) {
            *until_ms = self.now.mono_ms + FAILED_MS;
            let refusal = refusal.clone();
            return self.refuse(name, request, refusal);
        }
        let standing = self.standing(name);
        if let Some((host, cell)) = standing.cell() {
            let claimed = matches!(standing, Standing::Claimed { .. });
            match &cell.state {
                NameState::Failed { reason } if !registering.replaces_failed => {
                    self.answer_to(request, Err(Refusal::Failed { reason: reason.clone() }));
                    return Step::Done;
                }
                // It is replaced when there is a place for what is to take its.
                NameState::Failed { .. } => {}
                // That may fail, and then there is no such name; a later start is tried until it works.
                NameState::Starting if cell.starts_first() => return Step::Wait,
                NameState::Starting if cell.request == request.id => return self.later(request),
                _ if !claimed => return Step::Wait,
                // Its own registration, asked again: the host confirms it when it is durable.
                _ if cell.request == request.id => {
                    return Step::Active(self.grant(name, host.clone(), (**cell).clone(), false));
                }
                _ => {
                    let taken = Refusal::AlreadyRegistered {
                        pid: cell.pid(&self.config.sworm, name, host),
                        worker_type: cell.spec.worker_type.clone(),
                    };
                    self.answer_to(request, Err(taken));
                    return Step::Done;
                }
            }
        }
        if self.is_ending(name) {
            return Step::Wait; // its worker may not have stopped yet
        }
        if self.members_are_missing() && !planted(Fault::RegisterUnasked) {
            return Step::Wait; // they may have it
        }
        let by_value = planted(Fault::PlaceByValue).then(|| format!("{name}{:?}", registering.spec.value).into());
        let placing = Placing {
            name: by_value.as_ref().unwrap_or(name),
            kind: &registering.spec.kind,
            asked: Some(&request.id.from.node),
            on: registering.on.as_ref(),
            but: None,
            planned: None,
        };
        match self.place(placing) {
            // Whoever is told that nothing came of it is told so when that holds, whichever node dies next.
            Err(_) if self.is_ban_unheard(name) => Step::Wait,
            Err(refusal) => self.refuse(name, request, refusal),
            Ok(to) => {
                if let Some(step) = self.end_abandoned(name, request) {
                    return step;
                }
                if standing.cell().is_some() {
                    let births = self.directory.births(name);
                    self.ends.gone(name, births.iter().copied(), &Gone::Replaced);
                    self.directory.ban(name, births);
                }
                let birth = Birth(self.hybrid(), node_tag(&self.config.me.node));
                let epoch = self.strong_epoch(name);
                let cell = NameCell {
                    birth,
                    epoch,
                    since: epoch,
                    assigned: self.hybrid(),
                    spec: registering.spec.clone(),
                    request: request.id.clone(),
                    groups: Rare::default(),
                    metadata: registering.metadata.clone().into(),
                    attached: registering.attached,
                    unsaved: false,
                    past: Rare::default(),
                    outdone: Rare::default(),
                    holders: Rare::default(),
                    restarts: Rare::default(),
                    state: NameState::Starting,
                };
                Step::Active(self.grant(name, to, cell, false))
            }
        }
    }

    /// Nobody wants a name any more that was granted before.
    pub(super) fn ban_abandoned(&mut self, name: &Arc<str>) {
        let births = self.abandoned(name);
        self.abandoned.remove(name);
        if !births.is_empty() {
            self.directory.ban(name, births);
        }
    }

    /// Whether what this node says of a name's end is not known yet to all others in view.
    fn is_ban_unheard(&self, name: &Arc<str>) -> bool {
        self.directory.own_ban(name) > self.heard_by_all()
    }

    /// Whether a worker of the name that has been ended may not have stopped yet.
    pub(in crate::core) fn is_ending(&self, name: &Arc<str>) -> bool {
        self.directory.is_ending(name, |peer| self.is_live(peer)) && !planted(Fault::EndedIsFree)
    }

    /// Starts a worker that has failed where its state is, as one whose node is gone is started.
    fn run_restart(&mut self, name: &Arc<str>, request: &Request) -> Step {
        let (host, cell) = match self.standing(name) {
            Standing::Free => {
                self.answer_to(request, Err(Refusal::NotRegistered));
                return Step::Done;
            }
            Standing::Claimed { cell, .. } if cell.state == NameState::Starting => return self.later(request),
            // Its own, asked again: the host confirms it when it is durable.
            Standing::Claimed { host, cell } if cell.request == request.id => {
                return Step::Active(self.grant(name, host, (*cell).clone(), true));
            }
            Standing::Claimed { host, cell } => {
                let said = self.directory.said(&host, name);
                self.answer_to(request, Ok(Done::Registered { name: name.clone(), host, cell, said }));
                return Step::Done;
            }
            Standing::Source { host, cell } => (host, cell),
        };
        let has_failed = matches!(cell.state, NameState::Failed { .. });
        let settled_for = self.settled_since_ms.map_or(0, |since| self.now.mono_ms.saturating_sub(since));
        if !has_failed
            || !self.may_be_adopted(name)
            || self.is_ending(name)
            || self.members_are_missing()
            || self.waits_for_holders(name, &host, &cell, settled_for)
        {
            return self.later(request);
        }
        match self.place_adopted(name, &cell) {
            Err(refusal) => {
                self.answer_to(request, Err(refusal));
                Step::Done
            }
            Ok(to) => {
                let epoch = self.adoption_epoch(name, &host, &cell);
                let assigned = self.hybrid();
                let again = NameCell {
                    request: request.id.clone(),
                    restarts: Rare::default(),
                    state: NameState::Starting,
                    ..cell.next(epoch, assigned)
                };
                Step::Active(self.grant(name, to, again, true))
            }
        }
    }

    /// Nothing is kept for whoever asks for this too early: it keeps nobody else from the name.
    fn later(&mut self, request: &Request) -> Step {
        self.answer_to(request, Err(Refusal::Again));
        Step::Done
    }

    fn run_unregister(&mut self, name: &Arc<str>, request: &Request, only: Option<Birth>) -> Step {
        let mut births = only.map_or_else(|| self.directory.births(name), |birth| BTreeSet::from([birth]));
        births.extend(self.abandoned(name));
        let standing = self.standing(name);
        let another = standing.cell().is_some_and(|(_, cell)| only.is_some_and(|birth| cell.birth != birth));
        match standing {
            _ if another => {
                self.answer_to(request, Err(Refusal::NotRegistered));
                Step::Done
            }
            Standing::Free => self.end_in_vain(name, request, births),
            Standing::Claimed { host, .. } => self.end(name, request, host, births),
            Standing::Source { .. } => self.end(name, request, self.config.me.clone(), births),
        }
    }
}
