//! The hooks around a worker's life, and what it leaves behind for its next one.

use std::future::{Future, pending};

use super::{Context, Worker};

/// The error that a worker's hooks return: any error, or a text through `.into()`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Hooks around a worker's life. Without the attribute `lifecycle` the derive writes this with its defaults.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no hooks; write `impl Lifecycle for {Self}`, or leave `lifecycle` out of `#[worker(..)]`",
    label = "`lifecycle` promises an `impl Lifecycle`"
)]
pub trait Lifecycle: Worker {
    /// Runs before the first message, at every start (first, after a crash, after a move). An error fails the start:
    /// a first start then leaves no name and the error reaches the caller of the registration; a later one is tried
    /// again with back-off.
    fn started(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        async { Ok(()) }
    }

    /// Runs between messages. It is dropped at its current await when a message arrives and called anew after it, so
    /// it must be safe to cancel (keep progress in `self`); the same happens at the first wait after it has asked for
    /// [`checkpoint`](Context::checkpoint) or [`stop`](Context::stop). `Ok` ends the worker normally, an error crashes it.
    fn run(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        pending()
    }

    /// Runs before an orderly stop or move, before the state is saved. It has 5 seconds; a worker that has not stopped 3 s
    /// after them is aborted at its current await. One that never awaits (it blocks its thread) cannot be ended: after 3 s
    /// more it counts as stopped, which the log says at level error, and its name may start elsewhere while it still runs.
    fn stopping(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = ctx;
        async {}
    }
}

/// Saves a part of a worker instead of the whole: write `#[worker(handoff = S)]` and implement this for `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what of it is saved; write `impl Handoff<{S}> for {Self}`",
    label = "`handoff = {S}` promises an `impl Handoff`"
)]
pub trait Handoff<S>: Worker {
    /// What is to survive.
    fn save(&self) -> S;

    /// Puts what survived into a worker made from its registered value.
    fn restore(&mut self, state: S);
}
