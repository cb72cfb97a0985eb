//! Calls and casts: find the worker, get the message there once, wait for what comes back.

use std::any::Any;
use std::borrow::Cow;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Sworm;
use crate::core::Entry;
use crate::core::cell::NameState;
use crate::core::ids::Peer;
use crate::error::CallError;
use crate::node::MAX_PAYLOAD_BYTES;
use crate::node::frame::{Call, Frame, Replied};
use crate::transport::Class;
use crate::worker::mailbox::{AnyMailbox, LocalAnswer, LocalCall, NotTaken};
use crate::worker::{Message, Storable, outbox};

/// How long a call waits unless told otherwise.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How soon a name is looked at again whose node said that it is not there, if no change comes first.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A call with options; awaiting it sends the message and gives the reply.
#[must_use = "a call is sent when it is awaited"]
pub struct CallBuilder<M> {
    sworm: Sworm,
    name: Arc<str>,
    target: Cow<'static, str>,
    message: M,
    timeout: Duration,
}

impl<M> CallBuilder<M> {
    pub(super) fn new(sworm: Sworm, name: Arc<str>, target: Cow<'static, str>, message: M) -> Self {
        Self { sworm, name, target, message, timeout: CALL_LIMIT }
    }

    /// How long to wait for the reply (default 5 s).
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }
}

impl<M: Message> IntoFuture for CallBuilder<M> {
    type Output = Result<M::Reply, CallError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { sworm, name, target, message, timeout } = self;
        Box::pin(async move {
            let mut way = Way::new(&sworm, &name, &target, timeout);
            let mut letter = Letter::Message(message);
            loop {
                match way.find().await? {
                    Found::Here(mailbox) => match call_here::<M>(&way, &*mailbox, letter).await {
                        Local::Done(result) => return result,
                        Local::Back(back) => letter = back,
                    },
                    Found::There(host) => {
                        let payload = letter.encoded()?;
                        match way.call_there::<M>(&host, payload.clone()).await {
                            Some(result) => return result,
                            None => letter = Letter::Encoded(payload),
                        }
                    }
                }
                way.pause().await?;
            }
        })
    }
}

/// Sends a message that nobody answers.
pub(super) async fn cast<M: Message>(
    sworm: &Sworm,
    name: &Arc<str>,
    target: &str,
    message: M,
    limit: Duration,
) -> Result<(), CallError> {
    if let Some(outbox) = outbox::present() {
        let (sworm, name, target) = (sworm.clone(), name.clone(), target.to_owned());
        outbox.push(move || {
            Box::pin(async move {
                if let Err(error) = cast_now(&sworm, &name, &target, message, limit).await {
                    tracing::warn!(%name, message = M::ID, %error, "what a handler has cast did not arrive");
                }
            })
        });
        return Ok(());
    }
    cast_now(sworm, name, target, message, limit).await
}

async fn cast_now<M: Message>(
    sworm: &Sworm,
    name: &Arc<str>,
    target: &str,
    message: M,
    limit: Duration,
) -> Result<(), CallError> {
    let mut way = Way::new(sworm, name, target, limit);
    let mut letter = Letter::Message(message);
    loop {
        match way.find().await? {
            Found::Here(mailbox) => match way.put::<M>(&*mailbox, letter, None).await {
                Put::In => return Ok(()),
                Put::Failed(error) => return Err(error),
                Put::Back(back) => letter = back,
            },
            Found::There(host) => {
                let number = way.sworm.shared.node.calls.number();
                return way.send::<M>(&host, number, letter.encoded()?, true);
            }
        }
        way.pause().await?;
    }
}

/// A message on its way, in the form that it needs next.
enum Letter<M> {
    Message(M),
    Encoded(Bytes),
}

impl<M: Message> Letter<M> {
    fn encoded(self) -> Result<Bytes, CallError> {
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

    fn message(self) -> Result<M, CallError> {
        match self {
            Self::Message(message) => Ok(message),
            Self::Encoded(payload) => {
                M::CODEC.decode(&payload).map_err(|e| CallError::Undecodable { what: M::ID.into(), why: e.to_string() })
            }
        }
    }
}

/// Where a worker is.
enum Found {
    Here(Arc<dyn AnyMailbox>),
    There(Peer),
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

/// One message's search for its worker, within its time.
struct Way<'a> {
    sworm: &'a Sworm,
    name: &'a Arc<str>,
    target: &'a str,
    limit: Duration,
    deadline: Instant,
    changed: Option<oneshot::Receiver<()>>,
}

impl<'a> Way<'a> {
    fn new(sworm: &'a Sworm, name: &'a Arc<str>, target: &'a str, limit: Duration) -> Self {
        Self { sworm, name, target, limit, deadline: Instant::now() + limit, changed: None }
    }

    /// Finds the worker; waits while it moves or starts.
    async fn find(&mut self) -> Result<Found, CallError> {
        let shared = &self.sworm.shared;
        loop {
            if shared.node.has_stopped() {
                return Err(self.stopped());
            }
            if shared.has_no_majority() {
                return Err(CallError::NoMajority);
            }
            let entry = shared.index.get(self.name);
            if let Some(found) = self.reachable(entry.as_ref())? {
                return Ok(found);
            }
            // Listen first, then look again: no change is missed.
            match self.changed.take() {
                Some(changed) => {
                    let _ = timeout_at(self.deadline.min(Instant::now() + LOOK_AGAIN * 10), changed).await;
                    if Instant::now() >= self.deadline {
                        return Err(CallError::NotSent { after: self.limit });
                    }
                }
                None => self.changed = Some(shared.index.changed(self.name)),
            }
        }
    }

    fn reachable(&self, entry: Option<&Entry>) -> Result<Option<Found>, CallError> {
        let shared = &self.sworm.shared;
        let Some(entry) = entry else { return Err(CallError::NotRegistered { name: self.name.to_string() }) };
        if *entry.cell.spec.worker_type != *self.target {
            let found = entry.cell.spec.worker_type.to_string();
            return Err(CallError::WrongType { name: self.name.to_string(), found });
        }
        if let NameState::Failed { reason } = &entry.cell.state {
            return Err(CallError::Failed { reason: reason.to_string() });
        }
        if !entry.running {
            return Ok(None);
        }
        if entry.host != shared.node.me {
            return Ok(Some(Found::There(entry.host.clone())));
        }
        Ok(shared.mailbox(self.name).map(Found::Here))
    }

    /// Waits a moment after a message came back.
    async fn pause(&mut self) -> Result<(), CallError> {
        let changed = self.sworm.shared.index.changed(self.name);
        let _ = timeout_at(self.deadline.min(Instant::now() + LOOK_AGAIN), changed).await;
        if Instant::now() >= self.deadline {
            return Err(CallError::NotSent { after: self.limit });
        }
        Ok(())
    }

    /// Puts a message into a mailbox of this node; waits while it is full.
    async fn put<M: Message>(
        &self,
        mailbox: &dyn AnyMailbox,
        letter: Letter<M>,
        reply: Option<oneshot::Sender<LocalAnswer<M>>>,
    ) -> Put<M> {
        let message = match letter.message() {
            Ok(message) => message,
            Err(error) => return Put::Failed(error),
        };
        let mut call: Option<Box<dyn Any + Send>> = Some(Box::new(LocalCall::new(message, reply)));
        loop {
            match mailbox.deliver_local(M::ID, &mut call) {
                Ok(()) => return Put::In,
                Err(NotTaken::Unknown) => {
                    return Put::Failed(CallError::NoSuchMessage { message: M::ID.to_owned() });
                }
                Err(NotTaken::Closed) => {
                    let back = call.take().and_then(|call| call.downcast::<LocalCall<M>>().ok());
                    return match back.and_then(|back| back.message) {
                        Some(message) => Put::Back(Letter::Message(message)),
                        None => Put::Failed(CallError::WorkerDied { reason: "it was stopped".into() }),
                    };
                }
                Err(NotTaken::Full) => {
                    if timeout_at(self.deadline, mailbox.room()).await.is_err() {
                        return Put::Failed(CallError::Overloaded);
                    }
                }
            }
        }
    }

    /// Sends a message to another node and waits for the reply; `None` when the worker was not there.
    async fn call_there<M: Message>(&self, host: &Peer, payload: Bytes) -> Option<Result<M::Reply, CallError>> {
        let mut waiting = self.sworm.shared.node.calls.wait(host);
        if let Err(error) = self.send::<M>(host, waiting.number, payload, false) {
            return Some(Err(error));
        }
        // This node may have stopped meanwhile; then nobody ends the wait.
        if self.sworm.shared.node.has_stopped() {
            return Some(Err(self.stopped()));
        }
        // A node that went away while this was being sent has been told of already.
        if !self.is_present(host) {
            return Some(Err(CallError::NodeDown));
        }
        match timeout_at(self.deadline, &mut waiting.reply).await {
            Err(_) => Some(Err(CallError::Timeout { after: self.limit })),
            Ok(Err(_)) => Some(Err(self.stopped())),
            Ok(Ok(Replied::NotHere)) => None,
            Ok(Ok(Replied::Failed(error))) => Some(Err(error)),
            Ok(Ok(Replied::Done(reply))) => Some(
                M::Reply::from_bytes(&reply)
                    .map_err(|e| CallError::Undecodable { what: format!("reply to {}", M::ID), why: e.to_string() }),
            ),
        }
    }

    fn stopped(&self) -> CallError {
        self.sworm.shared.node.stopped_as(CallError::Stopped, |reason| CallError::NodeFailed { reason })
    }

    fn is_present(&self, host: &Peer) -> bool {
        use crate::core::membership::MemberState::{Down, Joining};
        let membership = self.sworm.shared.node.membership();
        membership
            .known()
            .get(&host.node)
            .is_some_and(|known| known.incarnation == host.incarnation && !matches!(known.state, Down | Joining))
    }

    fn send<M: Message>(&self, host: &Peer, number: u64, payload: Bytes, cast: bool) -> Result<(), CallError> {
        let shared = &self.sworm.shared;
        let call = Call {
            sworm: shared.hash,
            from: shared.node.me.clone(),
            number,
            name: self.name.clone(),
            message: M::ID.into(),
            cast,
            hops: 0,
            payload,
        };
        let frame = Frame::Call(call)
            .encode()
            .map_err(|e| CallError::Undecodable { what: M::ID.into(), why: e.to_string() })?;
        shared.node.send(host, Class::Important, frame);
        Ok(())
    }
}

async fn call_here<M: Message>(way: &Way<'_>, mailbox: &dyn AnyMailbox, letter: Letter<M>) -> Local<M> {
    let (sender, answer) = oneshot::channel();
    match way.put::<M>(mailbox, letter, Some(sender)).await {
        Put::In => {}
        Put::Failed(error) => return Local::Done(Err(error)),
        Put::Back(back) => return Local::Back(back),
    }
    match timeout_at(way.deadline, answer).await {
        Err(_) => Local::Done(Err(CallError::Timeout { after: way.limit })),
        Ok(Err(_)) if way.sworm.shared.node.has_stopped() => Local::Done(Err(way.stopped())),
        Ok(Err(_)) => Local::Done(Err(CallError::WorkerDied { reason: "it panicked or was stopped".into() })),
        Ok(Ok(LocalAnswer::Reply(reply))) => Local::Done(Ok(reply)),
        Ok(Ok(LocalAnswer::Failed(error))) => Local::Done(Err(error)),
        Ok(Ok(LocalAnswer::Back(message))) => Local::Back(Letter::Message(message)),
    }
}
