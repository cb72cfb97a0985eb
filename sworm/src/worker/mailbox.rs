//! Mailboxes: what waits for a worker, and how what was not handled goes back.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::heavy::{Heavy, Load};
use super::{Context, Handler, Request, Worker, entry_of};
use crate::core::ids::{Epoch, Peer};
use crate::error::CallError;
use crate::node::order::{Back, OnItsWay};
use crate::panics;

/// One message for a worker of type `W`.
pub(crate) enum Parcel<W> {
    /// Of a caller on this node: never encoded.
    Local(Box<dyn LocalParcel<W>>),
    /// Of a caller elsewhere. In a place of its own: a mailbox has room for some messages before there is any.
    Remote(Box<RemoteParcel>),
}

/// An encoded message of another node.
#[derive(Clone, Debug)]
pub(crate) struct RemoteParcel {
    /// Who sent it, and under which number; its reply goes there.
    pub(crate) from: Peer,
    pub(crate) number: u64,
    /// Whether nobody waits for a reply.
    pub(crate) cast: bool,
    /// How often it was sent on.
    pub(crate) hops: u8,
    /// The worker that it was sent to, or was in the mailbox of last: the epoch at which that started.
    pub(crate) stay: Epoch,
    /// How long it may wait on this node.
    pub(crate) limit: Duration,
    /// Whether nothing else of its sender's was on its way here.
    pub(crate) alone: bool,
    /// The message's id.
    pub(crate) message: Arc<str>,
    /// The message.
    pub(crate) payload: Bytes,
    /// The room that it takes in the mailbox that it is in, if it is large.
    pub(crate) load: Option<Load>,
}

/// A message of a caller on this node.
pub(crate) trait LocalParcel<W>: Send {
    /// The message's id.
    fn id(&self) -> &'static str;
    /// Lets the worker handle it; the reply stays in the parcel.
    fn handle<'a>(&'a mut self, worker: &'a mut W, ctx: &'a mut Context<W>) -> BoxFuture<'a, ()>
    where
        W: Worker;
    /// Sends the reply, or this error instead of it.
    fn release(self: Box<Self>, error: Option<CallError>);
    /// Gives the message back to the caller, who looks for the worker anew, and keeps its place until then. A cast, which nobody waits for, comes out
    /// encoded, with its id.
    fn give_back(self: Box<Self>, keep: &dyn Fn(u64) -> Back) -> Option<(&'static str, Result<Vec<u8>, String>)>;
}

/// What a local caller gets.
pub(crate) enum LocalAnswer<M: super::Message> {
    Reply(M::Reply),
    Failed(CallError),
    /// Not handled: here it is again, and it has its place among the others.
    Back(M),
}

/// A call of a caller on this node; without a sender it is a cast.
pub(crate) struct LocalCall<M: super::Message> {
    /// Until it is handled.
    pub(crate) message: Option<M>,
    /// From then on.
    pub(crate) reply: Option<M::Reply>,
    pub(crate) to: Option<oneshot::Sender<LocalAnswer<M>>>,
    /// Its place among the others.
    number: u64,
    /// That it is on its way, where others may wait for that: until it is answered.
    sent: Option<Box<OnItsWay>>,
}

impl<M: super::Message> LocalCall<M> {
    pub(crate) fn new(
        message: M,
        to: Option<oneshot::Sender<LocalAnswer<M>>>,
        number: u64,
        sent: Option<OnItsWay>,
    ) -> Self {
        Self { message: Some(message), reply: None, to, number, sent: sent.map(Box::new) }
    }
}

impl<W, M> LocalParcel<W> for LocalCall<M>
where
    M: Request<W>,
    W: Handler<M>,
{
    fn id(&self) -> &'static str {
        M::ID
    }

    fn handle<'a>(&'a mut self, worker: &'a mut W, ctx: &'a mut Context<W>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(message) = self.message.take() {
                self.reply = Some(worker.handle(message, ctx).await);
            }
        })
    }

    fn release(self: Box<Self>, error: Option<CallError>) {
        let answer = match (error, self.reply) {
            (Some(error), _) => LocalAnswer::Failed(error),
            (None, Some(reply)) => LocalAnswer::Reply(reply),
            (None, None) => return,
        };
        drop(self.sent);
        if let Some(to) = self.to {
            // A caller that has gone away does not want it.
            let _ = to.send(answer);
        }
    }

    fn give_back(self: Box<Self>, keep: &dyn Fn(u64) -> Back) -> Option<(&'static str, Result<Vec<u8>, String>)> {
        let message = self.message?;
        match self.to {
            Some(to) => {
                let back = keep(self.number);
                drop(self.sent);
                if to.send(LocalAnswer::Back(message)).is_err() {
                    back.goes_away();
                }
                None
            }
            None => {
                let encoded = panics::guarded(|| M::CODEC.encode(&message).map_err(|error| error.to_string()));
                Some((M::ID, encoded.flatten()))
            }
        }
    }
}

/// Why a parcel was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
    /// The worker type does not take such messages.
    Unknown,
}

/// A mailbox without its type.
pub(crate) trait AnyMailbox: Send + Sync + 'static {
    /// Whether nothing is taken any more.
    fn is_closed(&self) -> bool;
    /// Puts a message of another node into it.
    fn deliver(&self, parcel: RemoteParcel) -> Result<(), (RemoteParcel, NotTaken)>;
    /// The same, as soon as there is room; it is not taken out of `parcel` before, nor when nothing is taken any more.
    fn deliver_waiting<'a>(&'a self, parcel: &'a mut Option<RemoteParcel>) -> BoxFuture<'a, ()>;
    /// Puts a message of this node into it: a [`LocalCall`] of the message with that id. It is taken out of `call` only
    /// when there is room.
    fn deliver_local(&self, id: &str, call: &mut Option<Box<dyn Any + Send>>) -> Result<(), NotTaken>;
    /// The same, as soon as there is room. Its place is its own: those who wait do not take it from each other.
    fn deliver_later<'a>(
        &'a self,
        id: &'a str,
        call: &'a mut Option<Box<dyn Any + Send>>,
    ) -> BoxFuture<'a, Result<(), NotTaken>>;
}

/// The way into a worker's task.
pub(crate) struct Mailbox<W> {
    pub(crate) sender: mpsc::Sender<Parcel<W>>,
    pub(crate) heavy: Heavy,
}

impl<W: Worker> AnyMailbox for Mailbox<W> {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn deliver(&self, mut parcel: RemoteParcel) -> Result<(), (RemoteParcel, NotTaken)> {
        match reserve(&self.sender) {
            Ok(room) if self.heavy.takes(&mut parcel) => {
                room.send(Parcel::Remote(Box::new(parcel)));
                Ok(())
            }
            Ok(_) => Err((parcel, NotTaken::Full)),
            Err(why) => Err((parcel, why)),
        }
    }

    fn deliver_waiting<'a>(&'a self, parcel: &'a mut Option<RemoteParcel>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let Some(waiting) = parcel.as_mut() else { return };
            self.heavy.takes_later(waiting).await;
            if let Ok(room) = self.sender.reserve().await
                && let Some(parcel) = parcel.take()
            {
                room.send(Parcel::Remote(Box::new(parcel)));
            }
        })
    }

    fn deliver_local(&self, id: &str, call: &mut Option<Box<dyn Any + Send>>) -> Result<(), NotTaken> {
        let entry = entry_of::<W>(id).ok_or(NotTaken::Unknown)?;
        let room = reserve(&self.sender)?;
        let parcel = call.take().and_then(entry.wrap).ok_or(NotTaken::Unknown)?;
        room.send(Parcel::Local(parcel));
        Ok(())
    }

    fn deliver_later<'a>(
        &'a self,
        id: &'a str,
        call: &'a mut Option<Box<dyn Any + Send>>,
    ) -> BoxFuture<'a, Result<(), NotTaken>> {
        Box::pin(async move {
            let entry = entry_of::<W>(id).ok_or(NotTaken::Unknown)?;
            let room = self.sender.reserve().await.map_err(|_| NotTaken::Closed)?;
            let parcel = call.take().and_then(entry.wrap).ok_or(NotTaken::Unknown)?;
            room.send(Parcel::Local(parcel));
            Ok(())
        })
    }
}

pub(crate) fn reserve<T>(sender: &mpsc::Sender<T>) -> Result<mpsc::Permit<'_, T>, NotTaken> {
    sender.try_reserve().map_err(|error| match error {
        mpsc::error::TrySendError::Full(()) => NotTaken::Full,
        mpsc::error::TrySendError::Closed(()) => NotTaken::Closed,
    })
}
