//! Tasks of your own under a name.

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::register;
use super::sworm::ASK_LIMIT;
use super::{Ref, Sworm};
use crate::core::cell::INBOX_PREFIX;
use crate::core::ids::{Birth, Pid};
use crate::core::message::{Ask, Registering};
use crate::error::{CallError, RegisterError};
use crate::node::attached::Attachment;
use crate::node::scope;
use crate::node::sworm::{Slot, SwormShared};
use crate::worker::heavy::Heavy;
use crate::worker::mailbox::{AnyMailbox, LocalAnswer, LocalCall, NotTaken, RemoteParcel, reserve};
use crate::worker::task::Replies;
use crate::worker::{Message, Request, Storable, Target};

/// How many messages wait in an inbox at most.
const CAPACITY: usize = 1024;

/// The messages to a name that a task of yours has taken with [`Sworm::attach_name`]. Dropping it takes the name away.
pub struct Inbox<M: Message> {
    pid: Pid,
    birth: Birth,
    sworm: Sworm,
    receiver: mpsc::Receiver<Received<M>>,
    /// The name is taken away once this is dropped, at the latest.
    _attachment: Attachment,
}

/// How to answer a message out of an [`Inbox`]. Dropping it tells a caller that nobody answers.
pub struct ReplyTo<M: Message> {
    to: Answerer<M>,
    sworm: Arc<SwormShared>,
}

enum Answerer<M: Message> {
    Nobody,
    Local(oneshot::Sender<LocalAnswer<M>>),
    Remote(RemoteReply),
}

/// The way back to another node; says that nobody answered when it is dropped unused.
struct RemoteReply {
    parcel: RemoteParcel,
    replies: Arc<dyn Replies>,
    done: bool,
}

impl RemoteReply {
    fn answer(&mut self, result: Result<Bytes, CallError>) {
        self.done = true;
        self.replies.reply(&self.parcel, result);
    }
}

impl Drop for RemoteReply {
    fn drop(&mut self) {
        if !self.done {
            let reason = "nobody answered the message".to_owned();
            self.replies.reply(&self.parcel, Err(CallError::WorkerDied { reason }));
        }
    }
}

/// A message that waits in an inbox. One of another node is decoded by the task that takes it: the node's own tasks run no
/// code of yours.
enum Received<M: Message> {
    Local(M, ReplyTo<M>),
    Remote(RemoteReply),
}

impl<M: Message> Received<M> {
    /// It is not handed out; who has sent it is told why.
    fn refuse(self, error: CallError) {
        match self {
            Self::Local(_, back) => back.answer(Err(error)),
            Self::Remote(mut back) => back.answer(Err(error)),
        }
    }
}

impl<M: Message> Target for Inbox<M> {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(format!("{INBOX_PREFIX}{}", M::ID))
    }
}

impl<M: Message> Request<Inbox<M>> for M {}

impl<M: Message> Inbox<M> {
    /// The next message and the way to answer it; `None` once the name was unregistered or the node has stopped.
    ///
    /// In mode "majority" a node that does not hear of a majority any more hands out no message, and takes the name away:
    /// the other side may give it to somebody else. Those who have sent what waits here get
    /// [`CallError::NoMajority`]; then this is `None`, and the task attaches its name again when it can.
    pub async fn recv(&mut self) -> Option<(M, ReplyTo<M>)> {
        loop {
            let received = self.receiver.recv().await?;
            if !self.sworm.shared.may_go_on() {
                received.refuse(CallError::NoMajority);
                continue;
            }
            match received {
                Received::Local(message, back) => return Some((message, back)),
                Received::Remote(back) => {
                    if let Some(taken) = self.decoded(back) {
                        return Some(taken);
                    }
                }
            }
        }
    }

    /// What came from another node; who sent what cannot be decoded is told.
    fn decoded(&self, mut back: RemoteReply) -> Option<(M, ReplyTo<M>)> {
        let shared = &self.sworm.shared;
        match scope::decoded(&shared.node, || M::CODEC.decode(&back.parcel.payload)) {
            Ok(message) => {
                // What is kept is the way back.
                (back.parcel.payload, back.parcel.load) = (Bytes::new(), None);
                Some((message, ReplyTo { to: Answerer::Remote(back), sworm: shared.clone() }))
            }
            Err(why) => {
                back.answer(Err(CallError::Undecodable { what: M::ID.into(), why }));
                None
            }
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.pid.name
    }

    /// The pid.
    pub fn pid(&self) -> &Pid {
        &self.pid
    }

    /// A reference to it, as others find it.
    pub fn this(&self) -> Ref<Self> {
        Ref::new(&self.sworm, self.pid.name.clone(), self.pid.clone())
    }
}

impl<M: Message> ReplyTo<M> {
    /// Answers. A cast wants no answer, and a caller that has gone away gets none. In mode "majority", if the node has lost
    /// its majority since the message came, the caller gets [`CallError::MajorityLost`] instead: the other side may contradict
    /// the answer.
    pub fn send(self, reply: M::Reply) {
        let may_go_on = self.sworm.may_go_on();
        self.answer(if may_go_on { Ok(reply) } else { Err(CallError::MajorityLost) });
    }

    fn answer(self, reply: Result<M::Reply, CallError>) {
        match self.to {
            Answerer::Nobody => {}
            Answerer::Local(sender) => drop(sender.send(reply.map_or_else(LocalAnswer::Failed, LocalAnswer::Reply))),
            Answerer::Remote(mut back) => {
                let result = reply.and_then(|reply| {
                    let undecodable = |why| CallError::UndecodableReply { message: M::ID.into(), why };
                    reply.to_bytes().map(Bytes::from).map_err(|e| undecodable(e.to_string()))
                });
                back.answer(result);
            }
        }
    }
}

impl<M: Message> Drop for Inbox<M> {
    fn drop(&mut self) {
        // The answer is of no interest: where there is none in time, this node takes the name away when it looks after it.
        // The name may be somebody else's by now: only this lineage of it ends.
        let (ask, shared) =
            (Ask::Unregister { name: self.pid.name.clone(), birth: Some(self.birth) }, &self.sworm.shared);
        drop(shared.ask_anyway(shared.next_ask(), ask, ASK_LIMIT));
        // What waits here is not handed out any more.
        self.receiver.close();
        while let Ok(waiting) = self.receiver.try_recv() {
            waiting.refuse(CallError::NotRegistered { name: self.pid.name.to_string() });
        }
    }
}

impl<M: Message> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<M: Message> fmt::Debug for ReplyTo<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyTo").finish_non_exhaustive()
    }
}

/// Takes a name for a task of this node.
pub(super) async fn attach<M: Message>(sworm: &Sworm, name: Arc<str>) -> Result<Inbox<M>, RegisterError> {
    register::check_name(&name)?;
    let shared = &sworm.shared;
    let registering = Registering {
        name: name.clone(),
        spec: Arc::new(register::attached(&Inbox::<M>::type_name())),
        on: Some(shared.node.me.node.clone()),
        metadata: BTreeMap::new(),
        attached: true,
        replaces_failed: true,
    };
    // Whatever becomes of this future: a name that comes without it being there does not stay.
    let attachment = Attachment::new(shared);
    let (host, cell) = register::ask(sworm, attachment.number(), registering, ASK_LIMIT).await?;
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let (control, _) = mpsc::unbounded_channel();
    let pid = cell.pid(&shared.name, &name, &host);
    let mailbox = Arc::new(InboxMailbox { sender, heavy: Heavy::default(), sworm: shared.clone() });
    shared.attach(&pid, cell.birth, Slot { since: pid.epoch, mailbox, control, task: None });
    Ok(Inbox { pid, birth: cell.birth, sworm: sworm.clone(), receiver, _attachment: attachment })
}

struct InboxMailbox<M: Message> {
    sender: mpsc::Sender<Received<M>>,
    heavy: Heavy,
    sworm: Arc<SwormShared>,
}

impl<M: Message> InboxMailbox<M> {
    fn put(&self, room: mpsc::Permit<'_, Received<M>>, parcel: RemoteParcel) {
        if !self.sworm.may_go_on() {
            return self.sworm.reply(&parcel, Err(CallError::NoMajority));
        }
        let replies = self.sworm.clone();
        room.send(Received::Remote(RemoteReply { done: parcel.cast, parcel, replies }));
    }
}

impl<M: Message> AnyMailbox for InboxMailbox<M> {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn deliver(&self, mut parcel: RemoteParcel) -> Result<(), (RemoteParcel, NotTaken)> {
        if *parcel.message != *M::ID {
            return Err((parcel, NotTaken::Unknown));
        }
        match reserve(&self.sender) {
            Ok(room) if self.heavy.takes(&mut parcel) => {
                self.put(room, parcel);
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
                self.put(room, parcel);
            }
        })
    }

    fn deliver_local(&self, id: &str, call: &mut Option<Box<dyn Any + Send>>) -> Result<(), NotTaken> {
        if id != M::ID {
            return Err(NotTaken::Unknown);
        }
        put(reserve(&self.sender)?, call, &self.sworm)
    }

    fn deliver_later<'a>(
        &'a self,
        id: &'a str,
        call: &'a mut Option<Box<dyn Any + Send>>,
    ) -> BoxFuture<'a, Result<(), NotTaken>> {
        Box::pin(async move {
            if id != M::ID {
                return Err(NotTaken::Unknown);
            }
            put(self.sender.reserve().await.map_err(|_| NotTaken::Closed)?, call, &self.sworm)
        })
    }
}

fn put<M: Message>(
    room: mpsc::Permit<'_, Received<M>>,
    call: &mut Option<Box<dyn Any + Send>>,
    sworm: &Arc<SwormShared>,
) -> Result<(), NotTaken> {
    let taken = call.take().and_then(|call| call.downcast::<LocalCall<M>>().ok()).ok_or(NotTaken::Unknown)?;
    let LocalCall { message, to, .. } = *taken;
    let message = message.ok_or(NotTaken::Unknown)?;
    let reply = ReplyTo { to: to.map_or(Answerer::Nobody, Answerer::Local), sworm: sworm.clone() };
    if sworm.may_go_on() {
        room.send(Received::Local(message, reply));
    } else {
        reply.answer(Err(CallError::NoMajority));
    }
    Ok(())
}
