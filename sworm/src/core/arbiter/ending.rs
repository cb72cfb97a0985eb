//! Whoever is told that a name has ended, or that nothing came of a request, is told so when two nodes have that on their disks:
//! the host, or whoever decides when there is none, and one node beside it. So it stays so whichever of them comes back first.
//! That a first start has failed is said then, too.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::{Active, FAILED_MS, HOST_WAIT_MS, Job, Queue, Step, TELL_AGAIN_MS};
use crate::core::Effect;
use crate::core::events::Gone;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Birth, Peer, Request};
use crate::core::message::{Answer, Done, Message, Phase, Refusal};
use crate::core::state::Core;
use crate::core::view::Member;
use crate::strategy::score;

/// How long the second node may take; then it is enough that this one has it on its disk.
const SECOND_WAIT_MS: u64 = 5_000;

/// Births of a name that are being ended, and what is answered then.
#[derive(Debug)]
pub(super) struct Ending {
    request: Request,
    /// Nothing, where the request goes on then.
    answer: Option<Answer>,
    host: Peer,
    /// Those who have not said yet that the end is on their disk.
    missing: BTreeSet<Peer>,
    births: BTreeSet<Birth>,
    until_ms: u64,
    again_ms: u64,
}

impl Ending {
    /// Whether a request is refused with it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.answer, Some(Err(_)))
    }

    /// Whether it is to be looked at, though nothing was heard.
    pub(super) fn is_due(&self, now: u64) -> bool {
        // Sooner than it can be late.
        self.again_ms <= now
    }
}

/// Whether it is there, and hears what is said in this sworm.
fn has_opened(member: &Member) -> bool {
    member.present && !member.not_open && member.phase().is_some()
}

impl Core {
    /// Ends births of a name that runs on that host, or on none that could do it: then this node does.
    pub(super) fn end(&mut self, name: &Arc<str>, request: &Request, host: Peer, births: BTreeSet<Birth>) -> Step {
        let done = Done::Unregistered { name: name.clone(), births: births.clone() };
        self.ends.gone(name, births.iter().copied(), &Gone::Unregistered);
        Step::Active(self.end_with(name, request, Some(Ok(done)), host, births))
    }

    /// Refuses a registration whose worker could not start on that host. What was asked again while it was tried may be on its
    /// way here still: it is not to start a second one.
    pub(super) fn first_start_failed(
        &mut self,
        name: &Arc<str>,
        request: &Request,
        (host, birth): (Peer, Birth),
        refusal: Refusal,
    ) -> Option<Active> {
        self.failed_starts.insert(request.id.clone(), (refusal.clone(), self.now.mono_ms + FAILED_MS));
        if planted(Fault::FailsAlone) {
            self.answer_to(request, Err(refusal));
            return None;
        }
        Some(self.end_with(name, request, Some(Err(refusal)), host, BTreeSet::from([birth])))
    }

    /// Refuses a request. What this node alone says of the end of births, or will say, is on another disk first.
    pub(super) fn refuse(&mut self, name: &Arc<str>, request: &Request, refusal: Refusal) -> Step {
        let mut births = self.directory.own_bans(name);
        births.extend(self.abandoned(name));
        if births.is_empty() {
            self.answer_to(request, Err(refusal));
            return Step::Done;
        }
        Step::Active(self.end_with(name, request, Some(Err(refusal)), self.config.me.clone(), births))
    }

    /// Refuses to end what has ended before: when its worker has stopped, where that is known. Whoever has asked for it takes the
    /// refusal for the end that an arbiter of a former view could not tell of any more.
    pub(super) fn end_in_vain(&mut self, name: &Arc<str>, request: &Request, mut births: BTreeSet<Birth>) -> Step {
        let stopping =
            self.directory.ending(name, |peer| self.is_live(peer)).filter(|(_, birth)| births.contains(birth));
        let Some(host) = stopping.map(|(host, _)| host.clone()).filter(|_| !planted(Fault::EndedHasStopped)) else {
            return self.refuse(name, request, Refusal::NotRegistered);
        };
        births.extend(self.directory.own_bans(name));
        Step::Active(self.end_with(name, request, Some(Err(Refusal::NotRegistered)), host, births))
    }

    /// Ends what a name was granted as before, if that is to be, and goes on with the request then.
    pub(super) fn end_abandoned(&mut self, name: &Arc<str>, request: &Request) -> Option<Step> {
        let births = self.abandoned(name);
        let me = self.config.me.clone();
        (!births.is_empty()).then(|| Step::Active(self.end_with(name, request, None, me, births)))
    }

    /// What a name was granted as before, to nodes that are gone and of which nothing was heard since: if it is given away anew,
    /// or to nobody, that is not to come back with them.
    pub(super) fn abandoned(&self, name: &Arc<str>) -> BTreeSet<Birth> {
        let Some(granted) = self.abandoned.get(name).filter(|_| !planted(Fault::AbandonedComesBack)) else {
            return BTreeSet::new();
        };
        let heard = self.directory.births(name);
        let lost = granted.iter().filter(|(to, birth)| !self.is_live(to) && !heard.contains(birth));
        lost.map(|(_, birth)| *birth).collect()
    }

    fn end_with(
        &mut self,
        name: &Arc<str>,
        request: &Request,
        answer: Option<Answer>,
        host: Peer,
        births: BTreeSet<Birth>,
    ) -> Active {
        let now = self.now.mono_ms;
        let (missing, until_ms) = (self.enders(name, &host), now + HOST_WAIT_MS);
        let request = request.clone();
        let mut ending = Ending { request, answer, host, missing, births, until_ms, again_ms: now };
        self.tell_to_end(name, &mut ending);
        Active::Ending(Box::new(ending))
    }

    fn tell_to_end(&mut self, name: &Arc<str>, ending: &mut Ending) {
        ending.again_ms = self.now.mono_ms + TELL_AGAIN_MS;
        for to in &ending.missing {
            self.send(to, Message::End { name: name.clone(), births: ending.births.clone() });
        }
    }

    /// Who must have an end on disk before it is acknowledged: the host, this node, and one beside them where these are one, or
    /// where this one hosts nothing. (Nodes that start wait for no clients.)
    fn enders(&self, name: &Arc<str>, host: &Peer) -> BTreeSet<Peer> {
        let me = &self.config.me;
        let is_short = host == me || !self.hosts(me);
        let beside = if is_short { self.beside(name, host) } else { None };
        let others = [me.clone()].into_iter().chain(beside).filter(|_| !planted(Fault::EndsAlone));
        [host.clone()].into_iter().chain(others).collect()
    }

    /// A node beside this one and the host that has opened the sworm. One that hosts workers comes before clients, one that takes
    /// part before one that is about to, and whoever leaves is the last choice; a slow disk is to hold up nobody.
    fn beside(&self, name: &Arc<str>, host: &Peer) -> Option<Peer> {
        let rank = |member: &Member| match member.phase() {
            Some(Phase::Up) => 3,
            Some(Phase::Draining) => 2,
            Some(Phase::Joining) => 1,
            Some(Phase::Leaving) | None => 0,
        };
        let others = self.members.iter().filter(|(_, member)| has_opened(member));
        let others = others.map(|(node, member)| {
            let peer = Peer { node: node.clone(), incarnation: member.incarnation };
            let (rank, hosts, in_time) = (rank(member), self.hosts(&peer), !self.slow.passes_over(&peer));
            ((rank > 0, hosts, rank, in_time, score(name, node)), peer)
        });
        others.filter(|(_, peer)| peer != host).max().map(|(_, peer)| peer)
    }

    /// Whether somebody is there who could have an end on disk.
    fn may_end(&self, peer: &Peer) -> bool {
        let there = |member: &Member| member.incarnation == peer.incarnation && has_opened(member);
        *peer == self.config.me || self.members.get(&peer.node).is_some_and(there)
    }

    /// Whether an end is not where it must be yet; else it is answered.
    pub(super) fn still_ending(
        &mut self,
        name: &Arc<str>,
        mut ending: Ending,
        jobs: &mut VecDeque<Job>,
    ) -> Option<Active> {
        let now = self.now.mono_ms;
        let me = self.config.me.clone();
        let host_is_gone = !self.is_live(&ending.host);
        let is_gone = |peer: &Peer| *peer != ending.host && !self.may_end(peer);
        if host_is_gone {
            // This node does it for a host that cannot.
            let is_here = !ending.missing.contains(&me);
            ending.missing = self.enders(name, &me);
            if is_here {
                ending.missing.remove(&me);
            }
            ending.host = me;
            self.tell_to_end(name, &mut ending);
        } else if ending.missing.iter().any(is_gone) {
            // Somebody else is asked instead.
            ending.missing.retain(|peer| !is_gone(peer));
            let instead = self.enders(name, &ending.host);
            ending.missing.extend(instead.into_iter().filter(|peer| *peer != me && *peer != ending.host));
            self.tell_to_end(name, &mut ending);
        }
        let only_second = !ending.missing.contains(&ending.host);
        let late = now >= ending.until_ms - if only_second { HOST_WAIT_MS - SECOND_WAIT_MS } else { 0 };
        if late {
            self.directory.ban(name, ending.births.iter().copied());
        } else if !self.has_ended_here(name, &ending) {
            if ending.again_ms <= now {
                self.tell_to_end(name, &mut ending);
            }
            return Some(Active::Ending(Box::new(ending)));
        }
        if let Some(granted) = self.abandoned.get_mut(name) {
            granted.retain(|(_, birth)| !ending.births.contains(birth));
        }
        let answer = ending.answer?;
        // Whoever asks may wait for the answer to a later attempt.
        let asked = jobs.iter().position(|job| job.request().id == ending.request.id);
        let request = asked.and_then(|place| jobs.remove(place)).map_or(ending.request, |job| job.request().clone());
        if late {
            let message = Box::new(request.answer(answer));
            self.once_durable(Effect::Send { to: request.id.from, message });
        } else {
            self.answer_to(&request, answer);
        }
        None
    }

    /// Whether all who must have it on disk have said so, and it is known here.
    fn has_ended_here(&self, name: &Arc<str>, ending: &Ending) -> bool {
        // The ban of what nobody speaks of any more may be forgotten before it is known to be durable.
        let spoken_of = self.directory.births(name);
        let is_over = |birth: &Birth| !spoken_of.contains(birth) || self.directory.is_banned(name, *birth);
        ending.missing.is_empty() && ending.births.iter().all(is_over)
    }

    pub(in crate::core) fn on_ended(&mut self, from: &Peer, name: &Arc<str>, ended: &BTreeSet<Birth>) {
        if let Some(Queue { active: Some(Active::Ending(ending)), .. }) = self.queues.get_mut(name)
            && ending.births == *ended
        {
            ending.missing.remove(from);
        }
        self.recheck(name);
    }
}
