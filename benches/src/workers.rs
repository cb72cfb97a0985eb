//! The workers and messages of all benches.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;

/// A worker that keeps some bytes.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bench-keeper", handles(Echo, Keep, Kept), handoff)]
pub(crate) struct Keeper {
    pub(crate) state: Bytes,
}

/// Comes back as it is.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = Bytes)]
pub(crate) struct Echo(pub(crate) Bytes);

/// Is the state from now on.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = ())]
pub(crate) struct Keep(pub(crate) Bytes);

/// Asks for the state.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = Bytes)]
pub(crate) struct Kept;

impl Handler<Echo> for Keeper {
    async fn handle(&mut self, Echo(bytes): Echo, _: &mut Context<Self>) -> Bytes {
        bytes
    }
}

impl Handler<Keep> for Keeper {
    async fn handle(&mut self, Keep(state): Keep, _: &mut Context<Self>) {
        self.state = state;
    }
}

impl Handler<Kept> for Keeper {
    async fn handle(&mut self, Kept: Kept, _: &mut Context<Self>) -> Bytes {
        self.state.clone()
    }
}

/// A worker whose every change is on the disk, here and on another node, before it is answered.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bench-saver", handles(Add), snapshot = "each")]
pub(crate) struct Saver {
    total: u64,
}

/// Changes the state of a [`Saver`].
#[derive(Message, Serialize, Deserialize)]
#[message(reply = u64)]
pub(crate) struct Add(pub(crate) u64);

impl Handler<Add> for Saver {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
        self.total += n;
        self.total
    }
}
