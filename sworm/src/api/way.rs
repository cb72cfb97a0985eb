//! A message's way: find the worker, get the message there once, wait for what comes back.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Sworm;
use super::reference::Told;
use crate::codec::CodecError;
use crate::core::Entry;
use crate::core::cell::NameState;
use crate::core::ids::{Epoch, Peer};
use crate::error::CallError;
use crate::node::calls::Waiting;
use crate::node::forward::SETTLE_WAIT;
use crate::node::frame::{Call, Frame, Replied};
use crate::node::order::{OnItsWay, SEES_ITS_TURN, Stay, Ticket, Turn};
use crate::node::{MAX_PAYLOAD_BYTES, NodeShared, scope};
use crate::worker::mailbox::{AnyMailbox, LocalAnswer, LocalCall, NotTaken};
use crate::worker::{Message, Storable};

/// How soon a name is looked at again whose node said that it is not there, if no change comes first.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How soon a message is sent again that a full mailbox on another node has refused; twice as long each time, up to the last.
const ROOM_AGAIN: Duration = Duration::from_millis(10);
const LONGEST_ROOM_AGAIN: Duration = Duration::from_millis(320);
/// So long before its time is over a call is refused that waits for room on another node, so that its caller hears of it.
const REFUSED_BEFORE: Duration = Duration::from_millis(50);
/// Longer than any node runs.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// A message on its way, in the form that it needs next.
pub(super) enum Letter<M> {
    Message(M),
    Encoded(Bytes),
}

impl<M: Message> Letter<M> {
    pub(super) fn encoded(self) -> Result<Bytes, CallError> {
        let payload = match self {
            Self::Encoded(payload) => return Ok(payload),
            Self::Message(message) => M::CODEC.encode(&message),
        };
        let payload = payload.map_err(|e| CallError::Undecodable { what: M::ID.into(), why: e.to_string() })?;
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(CallError::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD_BYTES });
        }
        Ok(payload.into())
    }

    fn message(self, node: &Arc<NodeShared>) -> Result<M, CallError> {
        match self {
            Self::Message(message) => Ok(message),
            Self::Encoded(payload) => {
                let message = scope::decoded(node, || M::CODEC.decode(&payload));
                message.map_err(|why| CallError::Undecodable { what: M::ID.into(), why })
            }
        }
    }
}

/// Where a worker is.
pub(super) enum Found {
    Here(Arc<dyn AnyMailbox>, Epoch),
    There(Stay),
}

enum Local<M: Message> {
    Done(Result<M::Reply, CallError>),
    Back(Letter<M>),
}

enum Put<M> {
    In,
    Failed(CallError),
    Back(Letter<M>),
}

/// One message's search for its worker, within its time, and its place among the others for that worker.
pub(super) struct Way<'a> {
    sworm: &'a Sworm,
    name: &'a Arc<str>,
    /// The worker type that is looked for; any, where that is left to the message.
    target: Option<&'a str>,
    limit: Duration,
    deadline: Instant,
    /// Whether the node had stopped before.
    came_late: bool,
    /// How long it waits for room the next time.
    room_again: Duration,
    changed: Option<oneshot::Receiver<()>>,
    ticket: Ticket<'a>,
    /// Where the worker is said to be, if this node may not have heard of it yet.
    told: Option<&'a Told>,
}

impl<'a> Way<'a> {
    pub(super) fn new(sworm: &'a Sworm, name: &'a Arc<str>, target: Option<&'a str>, limit: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond the clock's end is none.
        let deadline = now.checked_add(limit).unwrap_or(now + FOR_EVER);
        let ticket = sworm.shared.order.ticket(name);
        let came_late = sworm.shared.node.has_stopped();
        Self {
            sworm,
            name,
            target,
            limit,
            deadline,
            came_late,
            room_again: ROOM_AGAIN,
            changed: None,
            ticket,
            told: None,
        }
    }

    /// The same, for a worker that is said to be there.
    pub(super) fn told(self, told: Option<&'a Told>) -> Self {
        Self { told, ..self }
    }

    /// Brings the message there, once, and gives the reply.
    pub(super) async fn call<M: Message>(&mut self, mut letter: Letter<M>) -> Result<M::Reply, CallError> {
        loop {
            let (found, sent) = self.turn(false).await?;
            match found {
                Found::Here(mailbox, since) => {
                    self.ticket.is_sent();
                    match call_here::<M>(self, &*mailbox, since, letter, sent).await {
                        Local::Done(result) => {
                            self.is_over(&result);
                            return result;
                        }
                        Local::Back(back) => {
                            letter = back;
                            self.ticket.is_back();
                        }
                    }
                }
                Found::There(stay) => {
                    let payload = letter.encoded()?;
                    let waiting = self.sworm.shared.node.calls.wait(&stay.host, sent);
                    self.send::<M>(&stay, waiting.number, payload.clone(), Some(waiting.alone))?;
                    letter = Letter::Encoded(payload);
                    self.ticket.is_sent();
                    let replied = self.reply::<M>(&stay.host, waiting).await;
                    let is_full = match replied {
                        Some(Err(CallError::Overloaded)) => true,
                        Some(result) => {
                            self.is_over(&result);
                            return result;
                        }
                        None => false,
                    };
                    if is_full {
                        // Others may find room before it: it holds nobody up.
                        Box::pin(self.wait_for_room()).await?;
                        continue;
                    }
                    self.ticket.is_back();
                    // Where it was said to be it is not any more.
                    if let Some(told) = self.told {
                        told.is_heard();
                    }
                }
            }
            Box::pin(self.pause()).await?;
        }
    }

    /// It comes back no more if it was answered; one that was not may have come back unseen, and gives up its place.
    fn is_over<T>(&mut self, result: &Result<T, CallError>) {
        if !result.as_ref().is_err_and(CallError::is_unknown_outcome) {
            self.ticket.is_answered();
        }
    }

    /// Brings the message on its way there.
    pub(super) async fn cast<M: Message>(&mut self, mut letter: Letter<M>) -> Result<(), CallError> {
        loop {
            // It is sent before what was its turn is given back.
            let (found, _sent) = self.turn(true).await?;
            match found {
                Found::Here(mailbox, since) => match self.put::<M>(&*mailbox, since, letter, None, None).await {
                    Put::In => return Ok(()),
                    Put::Failed(error) => return Err(error),
                    Put::Back(back) => {
                        letter = back;
                        self.ticket.is_back();
                    }
                },
                Found::There(stay) => {
                    let number = self.sworm.shared.node.calls.number();
                    self.send::<M>(&stay, number, letter.encoded()?, None)?;
                    self.sworm.shared.node.calls.has_sent(&stay.host, 1);
                    return Ok(());
                }
            }
            Box::pin(self.pause()).await?;
        }
    }

    /// Finds the worker, and waits until it is this message's turn. What is returned beside it is to be kept until the
    /// message has been answered.
    async fn turn(&mut self, cast: bool) -> Result<(Found, Option<OnItsWay>), CallError> {
        let shared = &self.sworm.shared;
        loop {
            // Most messages find their worker and have their turn at once: what others need is made only for them.
            let found = match self.look() {
                Ok(Some(found)) => found,
                _ => Box::pin(self.find()).await?,
            };
            let stay = match &found {
                // What is put into a mailbox of this node is given back in order when its worker goes.
                Found::Here(..) if shared.order.is_idle(self.name) => return Ok((found, None)),
                Found::Here(_, since) => Stay { host: shared.node.me.clone(), since: *since },
                Found::There(stay) => stay.clone(),
            };
            match self.ticket.turn(&stay, cast) {
                Turn::Now(sent) => return Ok((found, Some(sent))),
                turn => Box::pin(self.wait_for(turn)).await?,
            }
        }
    }

    /// Waits until it may be this message's turn.
    async fn wait_for(&self, turn: Turn) -> Result<(), CallError> {
        let shared = &self.sworm.shared;
        match turn {
            Turn::Now(_) => {}
            Turn::Behind(turn) => {
                // Whoever lets its turn pass is not waited for.
                let until = self.deadline.min(Instant::now() + SEES_ITS_TURN);
                if timeout_at(until, turn).await.is_err() && Instant::now() >= self.deadline {
                    return Err(self.not_sent());
                }
            }
            // Whose own time is over goes away; what keeps the others waiting is for all of them.
            Turn::Unsettled(turn, since) => {
                let until = Instant::from_std(since) + SETTLE_WAIT;
                // What has come back meanwhile to one who does not look is not waited for either.
                let look_again = Instant::now() + SEES_ITS_TURN;
                if timeout_at(self.deadline.min(until).min(look_again), turn).await.is_err() {
                    let now = Instant::now();
                    if now >= self.deadline && self.deadline < until {
                        return Err(self.not_sent());
                    }
                    if now >= until {
                        shared.order.give_up(self.name);
                    }
                }
            }
            Turn::Flush(stay, since) => {
                let until = Instant::from_std(since) + SETTLE_WAIT;
                let flush = timeout_at(self.deadline.min(until), shared.flush(self.name, &stay));
                if flush.await.is_err() && self.deadline < until {
                    return Err(self.not_sent());
                }
                shared.order.flushed(self.name, &stay);
            }
        }
        Ok(())
    }

    /// Whether it is this message's turn right now, to be sent there together with others.
    pub(super) fn is_next(&mut self, stay: &Stay, cast: bool) -> Option<OnItsWay> {
        match self.ticket.turn(stay, cast) {
            Turn::Now(sent) => Some(sent),
            _ => None,
        }
    }

    /// It was sent together with others.
    pub(super) fn is_sent(&mut self) {
        self.ticket.is_sent();
    }

    /// What was sent together with others was not handled.
    pub(super) fn is_back(&mut self) {
        self.ticket.is_back();
    }

    /// Where the worker is, if it is somewhere now.
    pub(super) fn look(&self) -> Result<Option<Found>, CallError> {
        may_send(self.sworm)?;
        self.sworm.shared.index.look(self.name, |found| self.reachable(found.map(|found| &found.entry)))
    }

    /// Finds the worker; waits while it moves or starts.
    async fn find(&mut self) -> Result<Found, CallError> {
        let shared = &self.sworm.shared;
        loop {
            match self.look() {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // Unlike those that were sent, it was certainly not handled.
                Err(CallError::Stopped) if !self.came_late && shared.node.is_leaving() => {
                    return Err(CallError::Draining);
                }
                Err(error) => return Err(error),
            }
            self.ticket.waits();
            // Listen first, then look again: no change is missed.
            match self.changed.take() {
                Some(changed) => {
                    let _ = timeout_at(self.deadline.min(Instant::now() + LOOK_AGAIN * 10), changed).await;
                    if Instant::now() >= self.deadline {
                        return Err(self.not_sent());
                    }
                }
                None => self.changed = Some(shared.index.changed(self.name)),
            }
        }
    }

    fn reachable(&self, entry: Option<&Entry>) -> Result<Option<Found>, CallError> {
        let shared = &self.sworm.shared;
        let Some(entry) = entry else { return self.unheard() };
        if let Some(told) = self.told {
            told.is_heard();
        }
        if self.target.is_some_and(|target| *entry.cell.spec.worker_type != *target) {
            let found = entry.cell.spec.worker_type.to_string();
            return Err(CallError::WrongType { name: self.name.to_string(), found });
        }
        if let NameState::Failed { reason } = &entry.cell.state {
            return Err(CallError::Failed { reason: reason.to_string() });
        }
        if !entry.running {
            return Ok(None);
        }
        let since = entry.cell.since;
        if entry.host != shared.node.me || shared.node.encodes_local_calls {
            return Ok(Some(Found::There(Stay { host: entry.host.clone(), since })));
        }
        Ok(shared.mailbox(self.name).map(|mailbox| Found::Here(mailbox, since)))
    }

    /// Where the worker of a name is that this node does not know.
    fn unheard(&self) -> Result<Option<Found>, CallError> {
        let node = &self.sworm.shared.node;
        match self.told.filter(|told| told.is_news() && told.host != node.me && node.is_present(&told.host)) {
            Some(told) => Ok(Some(Found::There(Stay { host: told.host.clone(), since: told.epoch }))),
            None => Err(CallError::NotRegistered { name: self.name.to_string() }),
        }
    }

    /// Waits a moment after a message came back.
    pub(super) async fn pause(&mut self) -> Result<(), CallError> {
        let changed = self.sworm.shared.index.changed(self.name);
        let _ = timeout_at(self.deadline.min(Instant::now() + LOOK_AGAIN), changed).await;
        if Instant::now() >= self.deadline {
            return Err(self.not_sent());
        }
        Ok(())
    }

    fn not_sent(&self) -> CallError {
        if self.sworm.shared.node.is_leaving() { CallError::Draining } else { CallError::NotSent { after: self.limit } }
    }

    /// Waits a moment after a full mailbox of another node has refused a message, which was not handled then.
    pub(super) async fn wait_for_room(&mut self) -> Result<(), CallError> {
        self.ticket.is_answered();
        sleep_until(self.deadline.min(Instant::now() + self.room_again)).await;
        self.room_again = (self.room_again * 2).min(LONGEST_ROOM_AGAIN);
        // It may have waited there for all the time that it had.
        if Instant::now() + REFUSED_BEFORE >= self.deadline { Err(CallError::Overloaded) } else { Ok(()) }
    }

    /// Puts a message into a mailbox of this node; waits while it is full.
    async fn put<M: Message>(
        &self,
        mailbox: &dyn AnyMailbox,
        since: Epoch,
        letter: Letter<M>,
        reply: Option<oneshot::Sender<LocalAnswer<M>>>,
        sent: Option<OnItsWay>,
    ) -> Put<M> {
        let message = match letter.message(&self.sworm.shared.node) {
            Ok(message) => message,
            Err(error) => return Put::Failed(error),
        };
        let mut call: Option<Box<dyn Any + Send>> =
            Some(Box::new(LocalCall::new(message, reply, self.ticket.number(), sent)));
        let taken = match mailbox.deliver_local(M::ID, &mut call) {
            Err(NotTaken::Full) => {
                let later = timeout_at(self.deadline, mailbox.deliver_later(M::ID, &mut call));
                Box::pin(later).await.unwrap_or(Err(NotTaken::Full))
            }
            taken => taken,
        };
        match taken {
            Ok(()) => Put::In,
            Err(NotTaken::Unknown) => Put::Failed(CallError::NoSuchMessage { message: M::ID.to_owned() }),
            Err(NotTaken::Full) => Put::Failed(CallError::Overloaded),
            Err(NotTaken::Closed) => {
                let back = call.take().and_then(|call| call.downcast::<LocalCall<M>>().ok());
                let shared = &self.sworm.shared;
                // It has its place again before it is off its way.
                match back.and_then(|mut back| Some((back.message.take()?, back))) {
                    Some((message, back)) => {
                        let stay = Stay { host: shared.node.me.clone(), since };
                        shared.order.comes_back(self.name, &stay, self.ticket.number());
                        drop(back);
                        Put::Back(Letter::Message(message))
                    }
                    None => Put::Failed(CallError::WorkerDied { reason: "it was stopped".into() }),
                }
            }
        }
    }

    /// Waits for the reply of another node to what it was sent; `None` when the worker was not there.
    pub(super) async fn reply<M: Message>(
        &self,
        host: &Peer,
        mut waiting: Waiting<'_>,
    ) -> Option<Result<M::Reply, CallError>> {
        // This node may have stopped meanwhile; then nobody ends the wait.
        if self.sworm.shared.node.has_stopped() {
            return Some(Err(stopped(self.sworm)));
        }
        // A node that went away while this was being sent has been told of already.
        if !self.sworm.shared.node.is_present(host) {
            return Some(Err(CallError::NodeDown));
        }
        match timeout_at(self.deadline, &mut waiting.reply).await {
            Err(_) => Some(Err(CallError::Timeout { after: self.limit })),
            Ok(Err(_)) => Some(Err(stopped(self.sworm))),
            Ok(Ok(Replied::NotHere)) => None,
            Ok(Ok(Replied::Failed(error))) => Some(Err(error)),
            Ok(Ok(Replied::Done(reply))) => Some(
                scope::decoded(&self.sworm.shared.node, || M::Reply::from_bytes(&reply))
                    .map_err(|why| CallError::UndecodableReply { message: M::ID.into(), why }),
            ),
        }
    }

    /// Sends a call, which may be the only thing on its way there, or a cast.
    fn send<M: Message>(
        &self,
        to: &Stay,
        number: u64,
        payload: Bytes,
        call_alone: Option<bool>,
    ) -> Result<(), CallError> {
        let (shared, alone) = (&self.sworm.shared, call_alone == Some(true));
        // Encoding a large message takes its time.
        if Instant::now() >= self.deadline {
            return Err(self.not_sent());
        }
        let call = Call {
            sworm: shared.hash,
            from: shared.node.me.clone(),
            number,
            name: self.name.clone(),
            message: M::ID.into(),
            cast: call_alone.is_none(),
            hops: 0,
            stay: to.since,
            limit_ms: call_alone.is_some().then(|| self.wait_limit_ms()),
            alone,
            payload,
        };
        let undecodable = |e: CodecError| CallError::Undecodable { what: M::ID.into(), why: e.to_string() };
        let frame = Frame::Call(call).encode().map_err(undecodable)?;
        if alone && shared.node.send_now(&to.host, &frame) {
            return Ok(());
        }
        shared.node.send_or_refuse(&to.host, frame)
    }

    /// How long a call may wait for room where its worker is (ms): so much less than its time that the answer is back within
    /// it.
    pub(super) fn wait_limit_ms(&self) -> u32 {
        let left = self.deadline.saturating_duration_since(Instant::now());
        u32::try_from(left.saturating_sub(REFUSED_BEFORE.max(left / 8)).as_millis()).unwrap_or(u32::MAX)
    }
}

/// Whether this node sends anything.
pub(super) fn may_send(sworm: &Sworm) -> Result<(), CallError> {
    if sworm.shared.node.has_stopped() {
        return Err(stopped(sworm));
    }
    if sworm.shared.has_no_majority() || crate::worker::outbox::is_cut_off() {
        Err(CallError::NoMajority)
    } else {
        Ok(())
    }
}

fn stopped(sworm: &Sworm) -> CallError {
    sworm.shared.node.stopped_as(CallError::Stopped, |reason| CallError::NodeFailed { reason })
}

async fn call_here<M: Message>(
    way: &Way<'_>,
    mailbox: &dyn AnyMailbox,
    since: Epoch,
    letter: Letter<M>,
    sent: Option<OnItsWay>,
) -> Local<M> {
    let (sender, answer) = oneshot::channel();
    match way.put::<M>(mailbox, since, letter, Some(sender), sent).await {
        Put::In => {}
        Put::Failed(error) => return Local::Done(Err(error)),
        Put::Back(back) => return Local::Back(back),
    }
    match timeout_at(way.deadline, answer).await {
        Err(_) => Local::Done(Err(CallError::Timeout { after: way.limit })),
        Ok(Err(_)) if way.sworm.shared.node.has_stopped() => Local::Done(Err(stopped(way.sworm))),
        Ok(Err(_)) => Local::Done(Err(CallError::WorkerDied { reason: "it panicked or was stopped".into() })),
        Ok(Ok(LocalAnswer::Reply(reply))) => Local::Done(Ok(reply)),
        Ok(Ok(LocalAnswer::Failed(error))) => Local::Done(Err(error)),
        Ok(Ok(LocalAnswer::Back(message))) => Local::Back(Letter::Message(message)),
    }
}

#[cfg(all(test, feature = "zenoh"))]
mod keys_tests;
#[cfg(test)]
mod tests;
#[cfg(all(test, feature = "zenoh"))]
mod together_tests;
