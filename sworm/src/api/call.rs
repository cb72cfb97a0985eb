//! Calls and casts of one worker.

use std::borrow::Cow;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Sworm;
use super::way::{Letter, Way};
use crate::error::CallError;
use crate::worker::{Message, outbox};

/// How long a call waits unless told otherwise.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A call with options; awaiting it sends the message and gives the reply.
#[must_use = "a call is sent when it is awaited"]
pub struct CallBuilder<M> {
    /// Or what is said since it is gone with its node.
    sworm: Result<Sworm, CallError>,
    name: Arc<str>,
    target: Cow<'static, str>,
    message: M,
    timeout: Duration,
}

impl<M> CallBuilder<M> {
    pub(super) fn new(sworm: Result<Sworm, CallError>, name: Arc<str>, target: Cow<'static, str>, message: M) -> Self {
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
            let sworm = sworm?;
            let _calling = outbox::calling()?;
            Way::new(&sworm, &name, Some(&target), timeout).call(Letter::Message(message)).await
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
                    tracing::warn!(%name, message = M::ID, %error, "what a worker has cast did not arrive");
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
    Way::new(sworm, name, Some(target), limit).cast(Letter::Message(message)).await
}
