//! The messages of timers, as a mailbox would hold them.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use crate::error::CallError;
use crate::node::order::Back;
use crate::worker::mailbox::LocalParcel;
use crate::worker::{Context, Handler, Request};

/// A message that comes once. Nobody waits for an answer, and it is for this worker alone: it goes nowhere else.
pub(super) struct Once<M>(pub(super) Option<M>);

/// The same, of which a copy comes each time.
pub(super) struct Again<M>(pub(super) Arc<Mutex<M>>);

impl<W, M> LocalParcel<W> for Once<M>
where
    M: Request<W>,
    W: Handler<M>,
{
    fn id(&self) -> &'static str {
        M::ID
    }

    fn handle<'a>(&'a mut self, worker: &'a mut W, ctx: &'a mut Context<W>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Some(message) = self.0.take() {
                worker.handle(message, ctx).await;
            }
        })
    }

    fn release(self: Box<Self>, _: Option<CallError>) {}

    fn give_back(self: Box<Self>, _: &dyn Fn(u64) -> Back) -> Option<(&'static str, Result<Vec<u8>, String>)> {
        None
    }
}

impl<W, M> LocalParcel<W> for Again<M>
where
    M: Request<W> + Clone,
    W: Handler<M>,
{
    fn id(&self) -> &'static str {
        M::ID
    }

    fn handle<'a>(&'a mut self, worker: &'a mut W, ctx: &'a mut Context<W>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let message = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            worker.handle(message, ctx).await;
        })
    }

    fn release(self: Box<Self>, _: Option<CallError>) {}

    fn give_back(self: Box<Self>, _: &dyn Fn(u64) -> Back) -> Option<(&'static str, Result<Vec<u8>, String>)> {
        None
    }
}
