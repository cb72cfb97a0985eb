//! References to workers, by name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Sworm;
use super::call::{self, CallBuilder};
use crate::core::ids::{Epoch, Peer, Pid};
use crate::error::CallError;
use crate::node::home::Home;
use crate::node::index::Found;
use crate::node::{scope, sworm_hash};
use crate::worker::{Request, Target};

/// A reference to the worker of type `W` under a name, wherever it runs and wherever it moves.
///
/// It can be a part of messages, replies, registered values and states: it travels as the pid of its present worker, and is
/// usable on the node that decodes it, if that has opened the reference's sworm. If it has not, that is an error of decoding
/// ([`CallError::Undecodable`], or a failed start that is tried again), and so it is where serde decodes one without a node.
pub struct Ref<W> {
    last: Last,
    target: PhantomData<fn() -> W>,
}

/// The worker that was there when the reference came about.
#[derive(Clone)]
enum Last {
    /// As a look-up has found it. It is shared with the index, and no count but its own changes when it is cloned.
    Found(Arc<Found>),
    /// As its pid told.
    Told(Arc<Told>),
}

pub(super) struct Told {
    home: Arc<Home>,
    name: Arc<str>,
    pub(super) host: Peer,
    pub(super) epoch: Epoch,
    /// Whether this node has not heard of the name yet: only a name that it has heard of can be gone.
    is_news: AtomicBool,
}

impl Told {
    pub(super) fn is_news(&self) -> bool {
        self.is_news.load(Relaxed)
    }

    /// This node has heard of the name, or its worker's has said that it is gone.
    pub(super) fn is_heard(&self) {
        self.is_news.store(false, Relaxed);
    }
}

impl Last {
    fn home(&self) -> &Arc<Home> {
        match self {
            Self::Found(found) => &found.home,
            Self::Told(told) => &told.home,
        }
    }

    fn name(&self) -> &Arc<str> {
        match self {
            Self::Found(found) => &found.name,
            Self::Told(told) => &told.name,
        }
    }

    fn pid(&self) -> Pid {
        match self {
            Self::Found(found) => found.entry.cell.pid(&found.home.name, &found.name, &found.entry.host),
            Self::Told(told) => {
                let Told { home, name, host, epoch, .. } = &**told;
                let (node, incarnation) = (host.node.clone(), host.incarnation);
                Pid { sworm: home.name.clone(), name: name.clone(), node, incarnation, epoch: *epoch }
            }
        }
    }
}

impl<W: Target> Ref<W> {
    pub(crate) fn new(sworm: &Sworm, name: Arc<str>, pid: Pid) -> Self {
        let Pid { node, incarnation, epoch, .. } = pid;
        let is_news = AtomicBool::new(sworm.shared.index.look(&name, |found| found.is_none()));
        let told = Told { home: sworm.shared.home.clone(), name, host: Peer { node, incarnation }, epoch, is_news };
        Self { last: Last::Told(Arc::new(told)), target: PhantomData }
    }

    /// A reference to what a look-up has found.
    pub(super) fn found(found: Arc<Found>) -> Self {
        Self { last: Last::Found(found), target: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.last.name()
    }

    /// The pid of the present worker as this node knows it; the last known one if the name is gone.
    pub fn pid(&self) -> Pid {
        let home = self.last.home();
        let name = self.last.name();
        match home.shared().and_then(|shared| shared.index.get(name)) {
            Some(entry) => entry.cell.pid(&home.name, name, &entry.host),
            None => self.last.pid(),
        }
    }

    /// Where the worker is said to be, if this node may not have heard of it yet.
    fn news(&self) -> Option<Arc<Told>> {
        match &self.last {
            Last::Told(told) if told.is_news() => Some(told.clone()),
            _ => None,
        }
    }

    fn sworm(&self) -> Result<Sworm, CallError> {
        self.last.home().to_call().map(Sworm::new)
    }

    /// Sends a message and waits for the reply; awaited directly, with 5 s unless `.timeout(..)` says otherwise.
    ///
    /// The message is handled at most once. While the name moves or starts the call waits within its time; once it was
    /// sent and there is no reply, the error says that the outcome is unknown
    /// ([`CallError::is_unknown_outcome`](crate::CallError::is_unknown_outcome)).
    ///
    /// What one node sends to one worker is handled in the order in which it was sent, calls and casts: in any case by whoever
    /// waits for each reply before sending more. Of what is sent without waiting, calls keep their order among themselves, casts
    /// theirs, and no call overtakes a cast; but where the worker moves or is started again before it has taken a call, casts that
    /// were sent after that may come before it. What finds the mailbox of a worker on another node full waits there, in order, as
    /// [`cast`](Self::cast) says; of what is more than is kept there a cast is lost, and a call is tried again later: anything
    /// that was sent after it may come before it.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// # #[derive(Worker, Serialize, Deserialize)]
    /// # #[worker(handles(Add))]
    /// # struct Counter { total: i64 }
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # #[message(reply = i64)]
    /// # struct Add { n: i64 }
    /// # impl Handler<Add> for Counter {
    /// #     async fn handle(&mut self, add: Add, _: &mut Context<Self>) -> i64 { self.total += add.n; self.total }
    /// # }
    /// # async fn example(counter: Ref<Counter>) -> sworm::Result<()> {
    /// use std::time::Duration;
    ///
    /// let total = counter.call(Add { n: 1 }).await?;
    /// let total = counter.call(Add { n: 1 }).timeout(Duration::from_secs(1)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn call<M: Request<W>>(&self, message: M) -> CallBuilder<M> {
        CallBuilder::new(self.sworm(), self.shared_name(), self.news(), W::type_name(), message)
    }

    /// Sends a message without waiting for it to be handled. While the name moves or starts it waits for up to 5 s; `Ok`
    /// means that it is on its way.
    ///
    /// It is handled at most once. If the worker moves, restarts or leaves before it takes the message, the message is
    /// sent on to where the worker is then, in order with the other casts of its sender, up to 16 times, each time within 30 s.
    /// For a worker on another node whose mailbox is full it waits there, for up to 30 s, with up to 10,000 messages and 32 MiB
    /// for one worker and 256 MiB for all of a sworm.
    ///
    /// It is lost, which only the log says (at level debug), when the link to the worker's node or that node fails, when
    /// more than that waits there, or it for longer, when the worker does not know the message, when the name ends or
    /// has failed, when its worker had to be aborted since it did not stop in time, or in an
    /// [`Inbox`](crate::Inbox) that nobody empties.
    ///
    /// # Errors
    ///
    /// See [`CallError`]; the message was not handled then.
    pub async fn cast<M: Request<W>>(&self, message: M) -> Result<(), CallError> {
        let sworm = self.sworm()?;
        call::cast(&sworm, self.last.name(), self.news(), &W::type_name(), message, call::CALL_LIMIT).await
    }

    /// Whether it is of that sworm.
    pub(super) fn is_of(&self, sworm: &Sworm) -> bool {
        self.last.home().hash == sworm.shared.hash
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.last.name().clone()
    }
}

impl<W> Clone for Ref<W> {
    fn clone(&self) -> Self {
        Self { last: self.last.clone(), target: PhantomData }
    }
}

impl<W> PartialEq for Ref<W> {
    fn eq(&self, other: &Self) -> bool {
        self.last.name() == other.last.name() && self.last.home().hash == other.last.home().hash
    }
}

impl<W> Eq for Ref<W> {}

impl<W> Hash for Ref<W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.last.home().hash.hash(state);
        self.last.name().hash(state);
    }
}

impl<W: Target> Serialize for Ref<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pid().serialize(serializer)
    }
}

impl<'de, W: Target> Deserialize<'de> for Ref<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pid = Pid::deserialize(deserializer)?;
        let node = scope::here().ok_or_else(|| {
            D::Error::custom("a `Ref` is decoded by a node: in a message, a reply, or what a worker starts from")
        })?;
        let shared = node.sworms().get(&sworm_hash(&pid.sworm)).cloned();
        let shared = shared.ok_or_else(|| {
            D::Error::custom(format_args!("sworm {:?} is not open on node {}", pid.sworm, node.me.node))
        })?;
        Ok(Self::new(&Sworm::new(shared), pid.name.clone(), pid))
    }
}

impl<W> fmt::Debug for Ref<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ref").field("sworm", &self.last.home().name).field("name", self.last.name()).finish()
    }
}
