//! What leaves a worker: held back until the state that it shows is durable, and not at all when the worker must not go on.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::timeout;

use crate::node::sworm::SwormShared;

tokio::task_local! {
    static OUTBOX: Arc<Outbox>;
    /// The sworm of the worker whose task this is.
    static SWORM: Arc<SwormShared>;
}

/// How many things wait at most, and with how many bytes.
const MAX_HELD: usize = 10_000;
const MAX_HELD_BYTES: usize = 32 << 20;
/// How long a reply waits for what its handler has changed of groups.
const CHANGES_WAIT: Duration = Duration::from_secs(1);

/// What waits.
#[derive(Default)]
struct Held {
    things: Vec<Thing>,
    size: Size,
    /// Of what may leave, and cannot yet.
    leaving: Size,
}

/// One thing that is to be sent.
struct Thing {
    bytes: usize,
    send: Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>,
    is_change: bool,
}

#[derive(Clone, Copy, Default)]
struct Size {
    count: usize,
    bytes: usize,
}

/// What is to be held back is too much.
#[derive(Debug)]
pub(crate) struct Full;

/// What the worker is cannot be saved, and what it would show by a call might be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLarge {
    pub(crate) bytes: usize,
    pub(crate) limit: usize,
}

/// What waits, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    held: Mutex<Held>,
    /// How many calls and requests wait for their replies.
    calls: AtomicUsize,
    /// What those are told instead of being sent, while the state before them is not durable.
    refusal: Mutex<Option<TooLarge>>,
}

/// A call or a request that waits for its reply.
pub(crate) struct Calling(Arc<Outbox>);

/// Something that may leave, and cannot yet.
struct Leaving {
    of: Arc<Outbox>,
    bytes: usize,
}

impl Outbox {
    /// Runs people's code; what it casts is held back.
    pub(super) fn hold<F: Future>(self: &Arc<Self>, code: F) -> impl Future<Output = F::Output> {
        OUTBOX.scope(self.clone(), code)
    }

    /// Holds this back, which has about so many bytes, unless that is too much with what waits already.
    pub(crate) fn push(
        &self,
        bytes: usize,
        send: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Result<(), Full> {
        self.push_thing(Thing { bytes, send: Box::new(send), is_change: false })
    }

    /// The same for a change of a group: the reply waits for it, for a moment, so that who has that sees it.
    pub(crate) fn push_change(
        &self,
        bytes: usize,
        send: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Result<(), Full> {
        self.push_thing(Thing { bytes, send: Box::new(send), is_change: true })
    }

    fn push_thing(&self, thing: Thing) -> Result<(), Full> {
        let mut held = lock(&self.held);
        let Held { size, leaving, .. } = &*held;
        let (count, bytes) = (size.count + leaving.count, size.bytes.saturating_add(leaving.bytes));
        if count >= MAX_HELD || bytes.saturating_add(thing.bytes) > MAX_HELD_BYTES && count > 0 {
            return Err(Full);
        }
        held.size.count += 1;
        held.size.bytes += thing.bytes;
        held.things.push(thing);
        Ok(())
    }

    /// Sends what waits, in order. What cannot leave at once, since its receiver moves or has no room for it, has its place
    /// among what is sent there by then, and is waited for aside: the worker, which may have to make that room itself, goes on.
    pub(super) async fn send(self: &Arc<Self>, sworm: &Arc<SwormShared>) {
        let (mut later, mut changes) = (Vec::new(), Vec::new());
        for Thing { bytes, send, is_change } in self.take() {
            let mut send = send();
            if poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).is_pending())).await {
                let leaving = self.leaves(bytes);
                let leaves = async move {
                    send.await;
                    drop(leaving);
                };
                if is_change { changes.push(leaves) } else { later.push(leaves) }
            }
        }
        if !later.is_empty() {
            tokio::spawn(of_sworm(sworm.clone(), join_all(later)));
        }
        if !changes.is_empty() {
            let mut all = Box::pin(join_all(changes));
            if timeout(CHANGES_WAIT, &mut all).await.is_err() {
                tokio::spawn(of_sworm(sworm.clone(), all));
            }
        }
    }

    /// Forgets what waits: the state that it shows is lost.
    pub(super) fn clear(&self) {
        // What people's destructors do is not done under the lock.
        drop(self.take());
    }

    fn take(&self) -> Vec<Thing> {
        let mut held = lock(&self.held);
        held.size = Size::default();
        std::mem::take(&mut held.things)
    }

    fn leaves(self: &Arc<Self>, bytes: usize) -> Leaving {
        let mut held = lock(&self.held);
        held.leaving.count += 1;
        held.leaving.bytes += bytes;
        Leaving { of: self.clone(), bytes }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.held).things.is_empty()
    }

    /// Whether a call or a request waits for its reply.
    pub(super) fn is_calling(&self) -> bool {
        self.calls.load(Relaxed) > 0
    }

    /// From now on calls and requests are refused with that, or sent.
    pub(super) fn refuse_calls(&self, refusal: Option<TooLarge>) {
        *lock(&self.refusal) = refusal;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut held = lock(&self.of.held);
        held.leaving.count -= 1;
        held.leaving.bytes -= self.bytes;
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Relaxed);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the task of a worker of that sworm.
pub(super) fn of_sworm<F: Future>(sworm: Arc<SwormShared>, task: F) -> impl Future<Output = F::Output> {
    SWORM.scope(sworm, task)
}

/// Why a worker that is cut off is refused what it asks of other sworms.
pub(crate) const CUT_OFF: &str = "the sworm of the worker that asks has lost it";

/// Whether a worker of which the present task is must not go on, since its sworm has lost the majority: then nothing leaves it,
/// whichever sworm that is for.
pub(crate) fn is_cut_off() -> bool {
    SWORM.try_with(|sworm| sworm.has_no_majority()).unwrap_or(false)
}

/// The outbox of the worker whose code runs in the present task, if what it casts is to be held back.
pub(crate) fn present() -> Option<Arc<Outbox>> {
    OUTBOX.try_with(Arc::clone).ok()
}

/// A call or a request is about to be sent from the present task; what is returned is to be kept until its reply is there. It
/// cannot be held back, since its reply is waited for: it may be sent if what the worker was before the present message is
/// durable.
pub(crate) fn calling() -> Result<Option<Calling>, TooLarge> {
    let Some(outbox) = present() else { return Ok(None) };
    if let Some(refusal) = *lock(&outbox.refusal) {
        return Err(refusal);
    }
    outbox.calls.fetch_add(1, Relaxed);
    Ok(Some(Calling(outbox)))
}
