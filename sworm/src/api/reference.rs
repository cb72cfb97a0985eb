//! References to workers, by name.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Sworm;
use super::call::{self, CallBuilder};
use crate::core::ids::Pid;
use crate::error::CallError;
use crate::worker::{Request, Target};

/// A reference to the worker of type `W` under a name, wherever it runs and wherever it moves.
pub struct Ref<W> {
    sworm: Sworm,
    name: Arc<str>,
    pid: Pid,
    target: PhantomData<fn() -> W>,
}

impl<W: Target> Ref<W> {
    pub(crate) fn new(sworm: Sworm, name: Arc<str>, pid: Pid) -> Self {
        Self { sworm, name, pid, target: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid of the present worker as this node knows it; the last known one if the name is gone.
    pub fn pid(&self) -> Pid {
        match self.sworm.shared.index.get(&self.name) {
            Some(entry) => entry.cell.pid(&self.sworm.shared.name, &self.name, &entry.host),
            None => self.pid.clone(),
        }
    }

    /// Sends a message and waits for the reply; awaited directly, with 5 s unless `.timeout(..)` says otherwise.
    ///
    /// The message is handled at most once. While the name moves or starts the call waits within its time; once it was
    /// sent and there is no reply, the error says that the outcome is unknown
    /// ([`CallError::is_unknown_outcome`](crate::CallError::is_unknown_outcome)).
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
        CallBuilder::new(self.sworm.clone(), self.name.clone(), W::type_name(), message)
    }

    /// Sends a message without waiting for it to be handled. While the name moves or starts it waits for up to 5 s; `Ok`
    /// means that it is on its way.
    ///
    /// It is handled at most once. If the worker moves, restarts or leaves before it takes the message, the message is
    /// sent on to where the worker is then, up to three times, each time within 30 s; it may then come after later ones.
    /// It is lost, which only the log says (at level debug), when the link to the worker's node or that node fails, when
    /// the mailbox of a worker on another node is full or the worker does not know the message, when the name ends or
    /// has failed, when its worker had to be aborted since it did not stop in time, or in an
    /// [`Inbox`](crate::Inbox) that nobody empties.
    ///
    /// # Errors
    ///
    /// See [`CallError`]; the message was not handled then.
    pub async fn cast<M: Request<W>>(&self, message: M) -> Result<(), CallError> {
        call::cast(&self.sworm, &self.name, &W::type_name(), message, call::CALL_LIMIT).await
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl<W> Clone for Ref<W> {
    fn clone(&self) -> Self {
        Self { sworm: self.sworm.clone(), name: self.name.clone(), pid: self.pid.clone(), target: PhantomData }
    }
}

impl<W> PartialEq for Ref<W> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.sworm.shared.hash == other.sworm.shared.hash
    }
}

impl<W> Eq for Ref<W> {}

impl<W> fmt::Debug for Ref<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ref").field("sworm", &self.sworm.shared.name).field("name", &self.name).finish()
    }
}
