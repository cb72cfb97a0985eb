//! Calls and casts of one worker.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::Sworm;
use super::lazy::Lazy;
use super::reference::Told;
use super::way::{Letter, Way};
use crate::codec::Limited;
use crate::core::ids::Peer;
use crate::error::CallError;
use crate::panics;
use crate::worker::{Message, outbox};

/// How long a call waits unless told otherwise.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A call with options; awaiting it sends the message and gives the reply. It is a future: many of them can be joined or
/// spawned as they are.
#[must_use = "a call is sent when it is awaited"]
pub struct CallBuilder<M: Message>(Lazy<Options<M>, Result<M::Reply, CallError>>);

struct Options<M> {
    /// Or what is said since it is gone with its node.
    sworm: Result<Sworm, CallError>,
    name: Arc<str>,
    told: Option<Arc<Told>>,
    target: Cow<'static, str>,
    message: M,
    timeout: Duration,
}

impl<M: Message> CallBuilder<M> {
    pub(super) fn new(
        sworm: Result<Sworm, CallError>,
        name: Arc<str>,
        told: Option<Arc<Told>>,
        target: Cow<'static, str>,
        message: M,
    ) -> Self {
        Self(Lazy::new(Options { sworm, name, told, target, message, timeout: CALL_LIMIT }))
    }

    /// How long to wait for the reply (default 5 s).
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.with(|options| options.timeout = limit))
    }
}

// Nothing is pinned in it but the box.
impl<M: Message> Unpin for CallBuilder<M> {}

impl<M: Message> Future for CallBuilder<M> {
    type Output = Result<M::Reply, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, |options| {
            let Options { sworm, name, told, target, message, timeout } = options;
            Box::pin(async move {
                let sworm = sworm?;
                let _calling = outbox::calling()?;
                let mut way = Way::new(&sworm, &name, Some(&target), timeout).told(told.as_deref());
                way.call(Letter::Message(message)).await
            })
        })
    }
}

/// Sends a message that nobody answers.
pub(super) async fn cast<M: Message>(
    sworm: &Sworm,
    name: &Arc<str>,
    told: Option<Arc<Told>>,
    target: &str,
    message: M,
    limit: Duration,
) -> Result<(), CallError> {
    if let Some(outbox) = outbox::present() {
        let (sworm, name, target) = (sworm.clone(), name.clone(), target.to_owned());
        let (letter, bytes) = to_hold(&sworm, &name, message)?;
        let held = outbox.push(bytes, move || {
            Box::pin(async move {
                if let Err(error) = cast_now(&sworm, &name, told.as_deref(), &target, letter, limit).await {
                    tracing::warn!(%name, message = M::ID, %error, "what a worker has cast did not arrive");
                }
            })
        });
        return held.map_err(|_| CallError::Overloaded);
    }
    cast_now(sworm, name, told.as_deref(), target, Letter::Message(message), limit).await
}

/// A message that is to be held back, and about how many bytes it takes: encoded, unless its worker is on this node.
fn to_hold<M: Message>(sworm: &Sworm, name: &Arc<str>, message: M) -> Result<(Letter<M>, usize), CallError> {
    let shared = &sworm.shared;
    let is_here = |host: &Peer| *host == shared.node.me && !shared.node.encodes_local_calls;
    if shared.index.look(name, |found| found.is_some_and(|found| is_here(&found.entry.host))) {
        let bytes = bytes_of(&message);
        return Ok((Letter::Message(message), bytes));
    }
    let payload = Letter::Message(message).encoded()?;
    let bytes = payload.len();
    Ok((Letter::Encoded(payload), bytes))
}

/// About how much memory a message takes: as much as its encoded form, which is only counted here, if it has one.
fn bytes_of<M: Message>(message: &M) -> usize {
    let mut count = Limited::new(0);
    let encoded = panics::guarded(|| M::CODEC.encode_to(message, &mut count));
    let bytes = if matches!(encoded, Ok(Ok(()))) { count.into_bytes().err().unwrap_or(0) } else { 0 };
    bytes.max(size_of::<M>())
}

async fn cast_now<M: Message>(
    sworm: &Sworm,
    name: &Arc<str>,
    told: Option<&Told>,
    target: &str,
    letter: Letter<M>,
    limit: Duration,
) -> Result<(), CallError> {
    Way::new(sworm, name, Some(target), limit).told(told).cast(letter).await
}
