//! The end of a worker: its last hooks, and what goes back unhandled.

use std::future::Future;
use std::sync::Arc;

use tokio::time::timeout;

use super::showing::held;
use super::{End, STOPPING_LIMIT, Task, guarded};
use crate::core::ids::{Peer, Pid};
use crate::node::order::{Order, Stay};
use crate::strategy::Exit;
use crate::worker::Lifecycle;
use crate::worker::context::Place;
use crate::worker::mailbox::{Parcel, RemoteParcel};

impl<W: Lifecycle> Task<W> {
    /// Ends a worker that wants to end. What `stopping` sends leaves when the state that it shows is durable: it may be
    /// started again from that.
    pub(super) async fn finishes(&mut self, worker: &mut W) -> End {
        let outbox = self.outbox.clone();
        held(outbox.as_ref(), self.stopping(worker, Exit::Normal)).await;
        match self.settle(worker).await {
            Some(End::Stopped) => End::Stopped,
            Some(End::Exit(_)) | None => End::Exit(Exit::Normal),
        }
    }

    pub(super) async fn stopping(&mut self, worker: &mut W, why: Exit) {
        tracing::debug!(pid = %self.ctx.pid, %why, "a worker stops");
        self.ctx.place = Place::Hook;
        self.ctx.exit = Some(Box::new(why));
        self.activity.begins("`stopping`");
        limited("stopping", &self.ctx.pid.clone(), worker.stopping(&mut self.ctx)).await;
        self.activity.ends();
        self.ctx.exit = None;
        self.ctx.place = Place::Work;
    }

    /// Notes against whom it has lost, if that is why it is stopped.
    pub(super) fn loses(&mut self, why: &Exit) {
        if let Exit::Conflict { winner } = why {
            self.lost_to = Some(winner.clone());
        }
    }

    /// Tells a worker that it has lost a conflict, if it has and does not know it yet. It takes nothing any more: what
    /// waits goes to the winner.
    pub(super) async fn conflict(&mut self, worker: &mut W) {
        let Some(winner) = self.lost_to.take() else { return };
        self.give_everything_back();
        self.ctx.place = Place::Hook;
        self.ctx.exit = Some(Box::new(Exit::Conflict { winner: winner.clone() }));
        self.activity.begins("`on_conflict`");
        limited("on_conflict", &self.ctx.pid.clone(), worker.on_conflict(winner, &mut self.ctx)).await;
        self.activity.ends();
        self.ctx.exit = None;
        self.ctx.place = Place::Work;
    }

    /// What was not handled goes back to its callers, who look for the worker anew; casts are sent on.
    pub(super) fn give_everything_back(&mut self) {
        self.receiver.close();
        while let Ok(parcel) = self.receiver.try_recv() {
            self.give_back(parcel);
        }
    }

    fn order(&self) -> &Arc<Order> {
        &self.ctx.sworm.shared.order
    }

    fn me(&self) -> Peer {
        Peer { node: self.ctx.pid.node.clone(), incarnation: self.ctx.pid.incarnation }
    }

    fn stay(&self) -> Stay {
        Stay::begun(self.me(), self.ctx.pid.epoch)
    }

    pub(super) fn give_back(&self, parcel: Parcel<W>) {
        let name = &self.ctx.pid.name;
        let parcel = match parcel {
            Parcel::Remote(parcel) => parcel,
            Parcel::Local(parcel) => match parcel.give_back(&|| self.order().comes_back(name, &self.stay())) {
                None => return,
                Some((message, Ok(payload))) => {
                    self.order().passes_on(name, &self.stay());
                    self.own_cast(message, payload)
                }
                Some((message, Err(error))) => {
                    tracing::error!(pid = %self.ctx.pid, message, %error, "a cast cannot be encoded and is lost");
                    return;
                }
            },
        };
        self.tell.replies.clone().give_back(name, parcel);
    }

    /// A cast of this node, as one of another node would be.
    fn own_cast(&self, message: &'static str, payload: Vec<u8>) -> RemoteParcel {
        RemoteParcel {
            from: self.me(),
            number: 0,
            cast: true,
            hops: 0,
            seen: None,
            alone: false,
            message: message.into(),
            payload: payload.into(),
        }
    }
}

/// Runs a hook that must not hold up the end of its worker.
async fn limited(hook: &str, pid: &Pid, run: impl Future<Output = ()>) {
    match timeout(STOPPING_LIMIT, guarded(run)).await {
        Err(_) => tracing::warn!(%pid, "`{hook}` did not return in {STOPPING_LIMIT:?}; going on without it"),
        Ok(Err(panic)) => tracing::warn!(%pid, panic, "`{hook}` panicked; going on without it"),
        Ok(Ok(())) => {}
    }
}
