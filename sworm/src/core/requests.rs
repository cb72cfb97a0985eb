//! What this node asks for: each request goes to whoever decides, again and again with the same id, until it is
//! answered or its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Effect;
use super::cell::NameState;
use super::directory::Standing;
use super::events::Gone;
use super::fault::{Fault, planted};
use super::ids::{Birth, Peer, Request, RequestId};
use super::message::{Answer, Ask, Done, Message, Refusal};
use super::state::Core;

/// A request without an answer.
#[derive(Clone, Debug)]
pub struct Pending {
    pub(super) ask: Ask,
    until_ms: u64,
    /// To whom it was sent last, and when it is sent again.
    sent: Option<(Peer, u64)>,
    /// How often it was sent: what is refused may be an attempt before the last one, which may be carried out.
    attempt: u32,
    /// How long an answer may take before it is sent again.
    again_ms: u64,
    /// Whether that one has said that it did nothing when it was sent last.
    refused: bool,
    /// Whether an attempt before that one was never answered: it may have been carried out.
    unanswered: bool,
    /// Those who were asked and have not said that they did nothing, each with the last attempt.
    open: BTreeMap<Peer, u32>,
    /// The births of the name when it was asked for.
    births: BTreeSet<Birth>,
}

impl Pending {
    /// Whether everybody who was asked has said that they did nothing.
    fn is_undone(&self) -> bool {
        !self.unanswered && (self.sent.is_none() || self.refused)
    }
}

/// How long an answer may take before the request is sent again.
const AGAIN_MS: u64 = 1_000;
/// How soon a move is asked for again: it is done when the new host says so.
const MOVE_AGAIN_MS: u64 = 100;
/// How long an answer may take at most before the request is sent again, where answers take long.
const SLOWEST_MS: u64 = 8_000;
/// How soon a request is sent again after `Again`.
const SOON_MS: u64 = 40;

impl Core {
    pub(super) fn on_ask(&mut self, number: u64, ask: Ask, until_ms: u64) {
        if let Some(refusal) = self.without_majority() {
            return self.out.push(Effect::Answer { number, answer: Err(refusal) });
        }
        let births = self.directory.births(ask.name());
        let again_ms = if matches!(ask, Ask::Move { .. }) { MOVE_AGAIN_MS } else { AGAIN_MS };
        let (refused, unanswered, open) = (false, false, BTreeMap::new());
        let pending = Pending { ask, until_ms, sent: None, attempt: 0, again_ms, refused, unanswered, open, births };
        self.pending.insert(number, pending);
        self.send_request(number);
    }

    pub(super) fn on_answer(&mut self, from: &Peer, number: u64, attempt: u32, answer: Answer) {
        // Where nothing can be decided it is not soon that something can.
        let soon_ms = if self.has_quorum_in_view() { SOON_MS } else { AGAIN_MS };
        let Some(pending) = self.pending.get_mut(&number) else { return };
        if let (Err(refusal), Some((to, again))) = (&answer, &mut pending.sent) {
            if pending.open.get(from).is_some_and(|last| *last <= attempt) {
                pending.open.remove(from);
            }
            // Who was asked since, or again, may do what was refused before: what counts is what is said to the last attempt.
            let is_last = attempt == pending.attempt || to == from && planted(Fault::AnyAttempt);
            if !is_last {
                // Where answers take longer than that it is asked less often, or none would be to the last one.
                if to == from {
                    pending.again_ms = (pending.again_ms * 2).min(SLOWEST_MS);
                    *again = (*again).max(self.now.mono_ms + pending.again_ms);
                }
                return;
            }
            // Somebody else may have done it, and not be heard: nobody can say that nothing was changed.
            let registers = matches!(pending.ask, Ask::Register(_) | Ask::Restart { .. });
            let may_be_done = match refusal {
                Refusal::NoCandidate { .. } | Refusal::UnknownStrategy { .. } | Refusal::StartFailed { .. } => {
                    registers && !pending.open.is_empty()
                }
                _ => false,
            };
            if may_be_done && !planted(Fault::AnyAttempt) {
                *again = self.now.mono_ms + AGAIN_MS;
                return;
            }
            if *refusal == Refusal::Again {
                pending.refused = true;
                *again = self.now.mono_ms + soon_ms;
                return;
            }
        }
        let Some(pending) = self.pending.remove(&number) else { return };
        let answer = match (&pending.ask, answer) {
            // It is gone because an arbiter of a former view ended it for this request, and could not say so any more.
            (Ask::Unregister { name, .. }, Err(Refusal::NotRegistered))
                if pending.unanswered && self.have_ended(name, &pending.births) =>
            {
                Ok(Done::Unregistered { name: name.clone(), births: pending.births })
            }
            (_, answer) => answer,
        };
        if let Ok(Done::Unregistered { name, births }) = &answer {
            self.ends.gone(name, births.iter().copied(), &Gone::Unregistered);
        }
        if let Ok(done) = &answer {
            self.is_told(done);
        }
        // Whoever reads this finds what it says.
        self.answers.push(Effect::Answer { number, answer });
    }

    pub(super) fn tick_requests(&mut self) {
        let now = self.now.mono_ms;
        let expired: Vec<(u64, Pending)> = self.pending.extract_if(.., |_, p| p.until_ms <= now).collect();
        for (number, pending) in expired {
            let in_vain = pending.is_undone() && !self.has_quorum_in_view();
            let refusal = if in_vain { self.in_vain() } else { None };
            self.out.push(match refusal {
                Some(refusal) => Effect::Answer { number, answer: Err(refusal) },
                None => Effect::Expired { number },
            });
        }
        let due: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| p.sent.as_ref().is_none_or(|(_, again)| *again <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.send_request(number);
        }
    }

    /// A new view may have new arbiters.
    pub(super) fn resend_requests(&mut self) {
        let moved: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, p)| p.sent.as_ref().map(|(to, _)| to) != self.decider(&p.ask).as_ref())
            .map(|(number, _)| *number)
            .collect();
        for number in moved {
            self.send_request(number);
        }
    }

    fn send_request(&mut self, number: u64) {
        let Some(pending) = self.pending.get(&number) else { return };
        let (ask, to) = (pending.ask.clone(), self.decider(&pending.ask));
        let Some(to) = to else { return };
        let mut attempt = 0;
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.unanswered |= pending.sent.is_some() && !pending.refused;
            // A move that is asked for all the time is one attempt.
            let reminds = matches!(ask, Ask::Move { .. })
                && !pending.refused
                && pending.sent.as_ref().is_some_and(|(before, _)| *before == to);
            pending.attempt += u32::from(!reminds);
            pending.refused = false;
            pending.sent = Some((to.clone(), self.now.mono_ms + pending.again_ms));
            attempt = pending.attempt;
            pending.open.insert(to.clone(), attempt);
        }
        let request = Request { id: RequestId { from: self.config.me.clone(), number }, attempt };
        self.send(&to, Message::Ask { request, ask });
    }

    /// Whether these births of a name are gone, as far as is known here.
    fn have_ended(&self, name: &Arc<str>, births: &BTreeSet<Birth>) -> bool {
        let standing = self.directory.births(name);
        births.iter().all(|birth| !standing.contains(birth) || self.directory.is_banned(name, *birth))
    }

    /// Who decides about a request: the arbiter of the name, or for groups its host.
    fn decider(&self, ask: &Ask) -> Option<Peer> {
        let name: &Arc<str> = ask.name();
        match ask {
            Ask::Register(r) if planted(Fault::PlaceByValue) => {
                self.view.arbiter(&format!("{name}{:?}", r.spec.value)).cloned()
            }
            Ask::Register(_) | Ask::Unregister { .. } | Ask::Restart { .. } => self.view.arbiter(name).cloned(),
            Ask::Voter { .. } => self.leader().cloned(),
            Ask::Join { .. } | Ask::Leave { .. } | Ask::Move { .. } if self.told_host(name).is_some() => {
                self.told_host(name).cloned()
            }
            Ask::Join { .. } | Ask::Leave { .. } | Ask::Move { .. } => match self.standing(name) {
                Standing::Claimed { host, .. } => Some(host),
                // Nobody runs it, and by itself nobody will.
                Standing::Source { cell, .. } if matches!(cell.state, NameState::Failed { .. }) => {
                    Some(self.config.me.clone())
                }
                Standing::Source { .. } => None,
                Standing::Free => Some(self.config.me.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
