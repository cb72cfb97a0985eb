//! Handing workers over: the acknowledged protocol of a move, and a node's leaving in good order.
//!
//! The source pauses the worker, makes its state durable, offers it, and gives the name away only when the receiver has
//! said that the state is durable there. The release is a cell in the source's lane; messages are only hints.
//!
//! A worker without a task, whose start is to be tried again or whose state is looked for, is released at once
//! ([`moves`](super::moves)): its receiver looks for the state.
//!
//! A receiver that does not take a worker says so before the release, with its answer to the offer: a node that leaves refuses
//! each. Then, or when no answer comes in time, the worker goes on at its source, which has given nothing away. Who has accepted
//! may start the worker from the release on without asking anybody, and is waited for: it does not leave before it has started it,
//! or has seen that it need not. No statement of the receiver's is needed to give a released name to somebody else: the arbiter
//! does so when the receiver is gone; in mode "available" also when it is there, knows of the release, and has not started the
//! worker for a while. That is in an epoch above the release's, and who sees it does not start the worker any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cell::Revision;
use super::chunks::Shipment;
use super::ids::{Epoch, Peer};

mod leaving;
mod receiver;
mod source;

/// A worker on its way to another node.
#[derive(Debug)]
pub struct Moving {
    to: Peer,
    epoch: Epoch,
    /// Until when the receiver may accept; after that the worker goes on here.
    until_ms: u64,
    /// Until when at last, if it is seen to get on.
    at_last_ms: u64,
    snapshot: Option<Revision>,
    /// The state as it was offered, until it was accepted, and when it is offered again: the offer or its answer may be lost.
    offered: Option<Shipment>,
    again_ms: u64,
    pause_ms: u64,
    /// Whether it has paused, and its state is saved.
    paused: bool,
    accepted: bool,
}

impl Moving {
    /// Until when the receiver may accept, if it has not, or when it is offered again before.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let again_ms = if self.paused { self.again_ms } else { u64::MAX };
        (!self.accepted).then_some(self.until_ms.min(again_ms))
    }

    /// Who is to take it.
    pub(super) fn to(&self) -> &Peer {
        &self.to
    }

    /// Whether the receiver has said that it takes it: then the worker is only to be stopped.
    pub(super) fn is_accepted(&self) -> bool {
        self.accepted
    }
}

/// An offer that this node accepted.
#[derive(Debug)]
pub struct Accepted {
    from: Peer,
    epoch: Epoch,
}

impl Accepted {
    /// Who has offered it.
    pub(super) fn from(&self) -> &Peer {
        &self.from
    }
}

/// This node leaves.
#[derive(Debug)]
pub struct Leaving {
    since_ms: u64,
    /// When it gives up, unless something goes before that: then it has as long again.
    until_ms: u64,
    patience_ms: u64,
    /// How many parked workers others could still take, and since when it is so many.
    parked: (usize, u64),
    /// How many workers ended without their states, which could not be saved.
    unsaved: u64,
    /// The names that were asked about, and when they are asked about again.
    asked: BTreeMap<Arc<str>, u64>,
    done: bool,
}
