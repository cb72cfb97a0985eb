//! The arbiter: one queue per name decides who gets it, where it goes, and when it ends.

mod ending;

use std::collections::VecDeque;
use std::sync::Arc;

use super::cell::{NameCell, NameState};
use super::directory::Standing;
use super::events::Gone;
use super::fault::{Fault, planted};
use super::host::joins;
use super::ids::{Birth, Epoch, NodeId, Peer, Request};
use super::message::{Ask, Done, Grant, GrantOutcome, Message, Refusal, Registering};
use super::state::Core;
use ending::Ending;

mod jobs;

/// What the arbiter of a name has to do, in order.
#[derive(Debug, Default)]
pub struct Queue {
    jobs: VecDeque<Job>,
    active: Option<Active>,
}

#[derive(Clone, Debug)]
enum Job {
    Register { request: Request, registering: Box<Registering> },
    Unregister { request: Request, birth: Option<Birth> },
    Restart { request: Request },
}

/// What was decided and is not yet seen in the directory.
#[derive(Debug)]
enum Active {
    /// `confirmed` once the host said that it is durable; then the next job waits until the directory shows it.
    Granted {
        to: Peer,
        grant: Box<Grant>,
        confirmed: bool,
        until_ms: u64,
        again_ms: u64,
    },
    Ending(Box<Ending>),
    /// The host refused; it may not have come to this view yet.
    Refused {
        until_ms: u64,
    },
}

/// How long it is known that the first start of a registration has failed.
const FAILED_MS: u64 = 30_000;
/// How long a host may take to answer before the decision is made anew from what the directory says.
const HOST_WAIT_MS: u64 = 15_000;
/// How long an answer of a host may take before it is told again.
const TELL_AGAIN_MS: u64 = 1_000;
/// How soon a refused grant is decided anew.
const REFUSED_WAIT_MS: u64 = 50;
/// At most this many requests wait per name; more are told to ask again.
const MAX_JOBS: usize = 4_096;

impl Queue {
    /// Whether something that was decided is not seen in the directory yet.
    pub(super) fn is_busy(&self) -> bool {
        self.active.is_some()
    }
}

impl Core {
    pub(super) fn is_arbiter(&self, name: &str) -> bool {
        self.view.arbiter(name) == Some(&self.config.me)
    }

    pub(super) fn on_asked(&mut self, request: Request, ask: Ask) {
        let name = ask.name().clone();
        let job = match ask {
            Ask::Register(registering) => Job::Register { request, registering },
            Ask::Unregister { birth, .. } => Job::Unregister { request, birth },
            Ask::Restart { .. } => Job::Restart { request },
            Ask::Join { group, .. } => return self.regroup(&request, &name, |groups| joins(groups, group)),
            Ask::Leave { group, .. } => return self.regroup(&request, &name, |groups| Ok(groups.remove(&group))),
            Ask::Move { to, .. } => return self.on_ask_move(&request, &name, &to),
            Ask::Voter { add, .. } => {
                let Some(node) = NodeId::new(&*name) else { return };
                return self.on_ask_voter(&request, &node, add);
            }
        };
        // Who is not in view may know of names that this node has not heard of.
        let stranger = !self.is_live(&job.request().id.from);
        // Without a majority nothing is kept for later: by then, whoever asks may have been told that nothing was changed.
        let may_decide = self.has_quorum_in_view() && (self.is_arbiter(&name) || planted(Fault::PlaceByValue));
        if stranger || !may_decide {
            return self.answer_to(job.request(), Err(Refusal::Again));
        }
        let queue = self.queues.entry(name.clone()).or_default();
        if let Some(same) = queue.jobs.iter_mut().find(|other| other.request().id == job.request().id) {
            *same = job; // whoever asks waits for the answer to this attempt
            return;
        }
        if queue.jobs.len() >= MAX_JOBS {
            return self.answer_to(job.request(), Err(Refusal::Again));
        }
        queue.jobs.push_back(job);
        self.recheck(&name);
    }

    pub(super) fn answer_to(&mut self, request: &Request, answer: super::message::Answer) {
        self.send(&request.id.from, request.answer(answer));
    }

    /// Does what can be done for a name now.
    pub(super) fn run_queue(&mut self, name: &Arc<str>) {
        if !self.settled() || self.lacks {
            return;
        }
        let Some(mut queue) = self.queues.remove(name) else { return };
        if let Some(active) = queue.active.take() {
            queue.active = match active {
                Active::Ending(ending) => self.still_ending(name, *ending, &mut queue.jobs),
                active => self.still_active(name, active),
            };
        }
        if self.never_starts(name, &queue) {
            queue.active = None;
        }
        while queue.active.is_none() {
            let Some(job) = queue.jobs.front().cloned() else { break };
            match self.run_job(name, &job) {
                Step::Done => drop(queue.jobs.pop_front()),
                // What waits for a worker that may never start must not keep the name from being ended.
                Step::Wait => {
                    let Some(place) = queue.jobs.iter().position(Job::ends_it) else { break };
                    for job in queue.jobs.drain(..place) {
                        self.answer_to(job.request(), Err(Refusal::Again));
                    }
                }
                Step::Active(active) => {
                    queue.active = Some(active);
                    if job.ends_it() {
                        queue.jobs.pop_front();
                    }
                }
            }
        }
        if !queue.jobs.is_empty() || queue.active.is_some() {
            self.queues.insert(name.clone(), queue);
        } else {
            self.ban_abandoned(name);
        }
    }

    /// Whether a name is to end, or is asked for by somebody else, whose worker, which ran before, has not started where it was
    /// granted to.
    fn never_starts(&self, name: &Arc<str>, queue: &Queue) -> bool {
        let asked = |cell: &NameCell| queue.jobs.iter().any(|job| job.ends_it() || job.asks_anew(cell));
        matches!(&queue.active, Some(Active::Granted { grant, .. }) if grant.adoption && asked(&grant.cell))
            && matches!(self.standing(name), Standing::Claimed { cell, .. } if cell.state == NameState::Starting)
    }

    /// Whether the directory does not show yet what was decided.
    fn still_active(&self, name: &Arc<str>, active: Active) -> Option<Active> {
        let now = self.now.mono_ms;
        match &active {
            Active::Refused { until_ms } => (now < *until_ms).then_some(active),
            Active::Granted { to, grant, confirmed, until_ms, .. } => {
                let epoch = &grant.cell.epoch;
                let shown = *confirmed
                    && self
                        .directory
                        .cells(name)
                        .any(|(host, cell)| host == to && cell.epoch >= *epoch && cell.state != NameState::Starting);
                (!shown && now < *until_ms && self.is_live(to)).then_some(active)
            }
            Active::Ending(_) => Some(active),
        }
    }

    /// Gives a name that has nobody to a node, before anything that waits for it.
    pub(super) fn grant_adoption(&mut self, name: &Arc<str>, to: Peer, cell: NameCell) {
        let active = self.grant(name, to, cell, true);
        self.queues.entry(name.clone()).or_default().active = Some(active);
    }

    fn grant(&mut self, name: &Arc<str>, to: Peer, cell: NameCell, adoption: bool) -> Active {
        let grant = Box::new(Grant { name: name.clone(), view: self.view_now(), cell, adoption });
        self.send(&to, Message::Grant(grant.clone()));
        let now = self.now.mono_ms;
        Active::Granted { to, grant, confirmed: false, until_ms: now + HOST_WAIT_MS, again_ms: now + TELL_AGAIN_MS }
    }

    pub(super) fn strong_epoch(&mut self, name: &Arc<str>) -> Epoch {
        let seen = self.directory.highest_epoch(name).major;
        Epoch { major: self.hybrid().max(seen + 1), minor: 0 }
    }

    pub(super) fn on_granted(&mut self, from: &Peer, name: &Arc<str>, epoch: Epoch, outcome: GrantOutcome) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let confirmed = match &mut queue.active {
            Some(Active::Granted { to, grant, confirmed, .. }) if to == from && grant.cell.epoch == epoch => confirmed,
            _ => return,
        };
        match outcome {
            // The requester is answered now; the next in the queue waits until the directory shows it.
            GrantOutcome::Running { cell, said } => {
                *confirmed = true;
                let position = queue.jobs.iter().position(|job| job.request().id == cell.request);
                if let Some(job) = position.and_then(|place| queue.jobs.remove(place)) {
                    let done = Done::Registered { name: name.clone(), host: from.clone(), cell, said };
                    self.answer_to(job.request(), Ok(done));
                }
            }
            GrantOutcome::Failed { reason, timed_out } => {
                let Some(Active::Granted { to, grant, .. }) = queue.active.take() else { return };
                let NameCell { birth, request, .. } = grant.cell;
                self.ends.gone(name, [birth], &Gone::StartFailed { reason: reason.as_str().into() });
                let asked = queue.jobs.iter().position(|job| job.request().id == request);
                if let Some(job) = asked.and_then(|place| queue.jobs.remove(place)) {
                    let refusal = Refusal::StartFailed { reason, timed_out };
                    let active = self.first_start_failed(name, job.request(), (to, birth), refusal);
                    self.queues.entry(name.clone()).or_default().active = active;
                }
            }
            GrantOutcome::Refused => {
                queue.active = Some(Active::Refused { until_ms: self.now.mono_ms + REFUSED_WAIT_MS });
            }
        }
        self.recheck(name);
    }

    /// Takes over the bans of incarnations that have ended, as long as there is something to ban: of a name that this node decides
    /// about.
    pub(super) fn review_bans(&mut self, name: &Arc<str>) {
        let births = self.directory.orphaned_bans(name);
        if !births.is_empty() {
            self.directory.ban(name, births);
        }
    }

    pub(super) fn tick_arbiter(&mut self) {
        let now = self.now.mono_ms;
        self.failed_starts.retain(|_, (_, until_ms)| now < *until_ms);
        let due: Vec<Arc<str>> =
            self.adopt_retry_ms.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.recheck(&name);
        }
        let late: Vec<Arc<str>> = self
            .queues
            .iter()
            .filter(|(_, queue)| match &queue.active {
                Some(Active::Granted { until_ms, .. } | Active::Refused { until_ms }) => *until_ms <= now,
                Some(Active::Ending(ending)) => ending.is_due(now),
                None => true,
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in late {
            self.recheck(&name);
        }
        self.tell_again();
    }

    /// Tells hosts again what they have not answered.
    fn tell_again(&mut self) {
        let now = self.now.mono_ms;
        let mut messages = Vec::new();
        for queue in self.queues.values_mut() {
            if let Some(Active::Granted { to, grant, confirmed: false, again_ms, .. }) = &mut queue.active
                && *again_ms <= now
            {
                *again_ms = now + TELL_AGAIN_MS;
                messages.push((to.clone(), Message::Grant(grant.clone())));
            }
        }
        for (to, message) in messages {
            self.send(&to, message);
        }
    }

    /// Another view: what is not this node's to decide any more goes back to who asked; the rest is decided anew.
    pub(super) fn view_changed(&mut self) {
        let mut kept = std::mem::take(&mut self.queues);
        kept.retain(|name, queue| {
            let mine = self.is_arbiter(name) && self.has_quorum_in_view();
            let active = queue.active.take();
            // What is refused stays so. Who is to end a name may have another worker of it to end now.
            if mine && matches!(&active, Some(Active::Ending(ending)) if ending.is_refusal()) {
                queue.active = active;
                return true;
            }
            let granted = active.and_then(Active::open_registration);
            if !mine {
                for job in queue.jobs.drain(..) {
                    // What was granted to somebody who has not answered may be carried out: nobody may say that it was not.
                    let request = job.request().clone();
                    if granted.as_ref().is_none_or(|(_, cell)| cell.request != request.id) {
                        self.answer_to(&request, Err(Refusal::Again));
                    }
                }
            } else if let Some((to, cell)) = granted {
                self.abandoned.entry(name.clone()).or_default().insert((to, cell.birth));
            }
            mine
        });
        self.queues = kept;
        let queues = &self.queues;
        self.abandoned.retain(|name, _| queues.contains_key(name));
        self.resend_requests();
    }
}

impl Active {
    /// To whom a name was granted that was not there before, if that node has not answered yet.
    fn open_registration(self) -> Option<(Peer, NameCell)> {
        match self {
            Self::Granted { to, grant, confirmed: false, .. } if !grant.adoption => Some((to, grant.cell)),
            _ => None,
        }
    }
}

enum Step {
    Done,
    Wait,
    Active(Active),
}

impl Job {
    /// Whether it ends the name.
    fn ends_it(&self) -> bool {
        matches!(self, Self::Unregister { .. })
    }

    /// Whether it asks for a name that another request has registered.
    fn asks_anew(&self, cell: &NameCell) -> bool {
        matches!(self, Self::Register { request, .. } if request.id != cell.request)
    }

    fn request(&self) -> &Request {
        match self {
            Self::Register { request, .. } | Self::Unregister { request, .. } | Self::Restart { request } => request,
        }
    }
}

/// Tells births of one millisecond apart that two arbiters gave.
fn node_tag(node: &NodeId) -> u32 {
    let hash = xxhash_rust::xxh3::xxh3_64(node.as_bytes());
    u32::try_from(hash >> 32).expect("32 bits are left")
}
