//! A stream of what happens.

use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::core::events::Event;
use crate::node::watchers::CAPACITY;

/// What happens in a sworm, as this node sees it: see [`Sworm::events`](crate::Sworm::events). It is a `Stream` of
/// [`Event`]s and ends when the node stops. Dropping it is all it takes to stop watching.
pub struct Events {
    stream: BoxStream<'static, Event>,
}

impl Events {
    /// How many events are kept for a reader that is slow.
    pub const CAPACITY: usize = CAPACITY;

    pub(super) fn new(receiver: Receiver<Event>) -> Self {
        let stream = stream::unfold(receiver, |mut receiver| async {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(events)) => Some((Event::Missed { events }, receiver)),
                Err(RecvError::Closed) => None,
            }
        });
        Self { stream: stream.fuse().boxed() }
    }

    /// The next event; `None` once the node has stopped and all was told. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        self.stream.next().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Event>> {
        self.stream.poll_next_unpin(context)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
