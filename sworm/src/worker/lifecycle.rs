//! The hooks around a worker's life, and what it leaves behind for its next one.

use std::future::{Future, pending};

use super::{Context, Worker};
use crate::core::ids::Pid;

/// The error that a worker's hooks return: any error, or a text through `.into()`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Hooks around a worker's life. Without the attribute `lifecycle` the derive writes this with its defaults.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no worker type, or its hooks are missing",
    label = "no `impl Lifecycle`",
    note = "add `#[derive(Worker)]` to it; with `lifecycle` in its `#[worker(..)]` write `impl Lifecycle for {Self}` as well"
)]
pub trait Lifecycle: Worker {
    /// Runs before the first message, at every start (first, after a crash, after a move). An error, a panic or no end in
    /// time (`start_timeout`) fails the start: a first one leaves no name, and the error reaches the caller of the
    /// registration; one after a move, or on another node, is tried again with back-off until it works or the name is
    /// unregistered; after a crash on the same node the restart strategy is asked again.
    fn started(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        async { Ok(()) }
    }

    /// Runs between messages: while some wait in the mailbox it does not get on. It is dropped at its current await when a message
    /// arrives and called anew after it, so it must be safe to cancel (keep progress in `self`); the same happens when the state is
    /// saved (`snapshot = "1s"`, or `"each"` when it has [sent something](crate::Snapshots::Each)), and at the first wait after it
    /// has asked for [`checkpoint`](Context::checkpoint) or [`stop`](Context::stop). `Ok` ends the worker normally, an error crashes
    /// it.
    fn run(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = Result<(), BoxError>> + Send {
        let _ = ctx;
        pending()
    }

    /// Runs before an orderly stop or move, before the state is saved; [`Context::exit`] says why. It has 5 seconds; a worker
    /// that has not stopped 3 s after them is aborted at its current await. In mode "majority", where that is lost
    /// ([`Exit::MajorityLost`](crate::Exit::MajorityLost)), it is 2 s for the hook and the saving of the state together.
    ///
    /// One that never awaits (it blocks its thread) cannot be ended, unless it does so while its state is saved
    /// ([`Handoff::save`]). It keeps its name until it ends by itself: to unregister
    /// it ends in [`Timeout`](crate::UnregisterError::Timeout), after which the name is not found any more, and to register
    /// the name anew waits, so that there are never two of them; the log says so at level error, again and again. Only when
    /// its node leaves (after 30 s) or stops (after 3 s) the name starts elsewhere, whether the thread still runs or not; in
    /// mode "majority" the process has ended by then, if it still does. Such a worker also takes a thread away from the runtime,
    /// and with as many of them as there are threads the node stands still: what blocks belongs into
    /// `tokio::task::spawn_blocking`.
    fn stopping(&mut self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = ctx;
        async {}
    }

    /// Runs in the loser when two workers of one name meet: a cut of the network has healed, and `other` goes on. It runs
    /// once, before [`stopping`](Self::stopping), and has 5 seconds of its own; then the worker is gone, and its state with
    /// it: nothing merges the two but what is done here. No message is handled any more, and those that wait go to the
    /// winner; so does a call through [`ctx.this()`](Context::this), and that is how to send it what it lacks. A worker
    /// that was waiting to be started again has nothing to give, and is not told.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// #[derive(Worker, Serialize, Deserialize)]
    /// #[worker(handles(Add), lifecycle)]
    /// struct Counter {
    ///     total: i64,
    ///     /// What was counted since the last word from the other side.
    ///     own: i64,
    /// }
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # struct Add(i64);
    /// # impl Handler<Add> for Counter {
    /// #     async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) { self.total += n; self.own += n; }
    /// # }
    ///
    /// impl Lifecycle for Counter {
    ///     async fn on_conflict(&mut self, _other: Pid, ctx: &mut Context<Self>) {
    ///         let _ = ctx.this().call(Add(self.own)).await;
    ///     }
    /// }
    /// ```
    fn on_conflict(&mut self, other: Pid, ctx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (other, ctx);
        async {}
    }

    /// Runs between messages, when a saved state of this name turns up that this worker lacks. It was started from an older
    /// one, since nobody was there who had that: the node that the worker ran on was cut off and parked it (mode
    /// "majority"), or died with a newer checkpoint, and is back. `other` is the worker restored from that state, to be
    /// taken apart; its own hooks do not run. What it had and did that this worker does not know is to be found out by
    /// comparing the two. Without this hook such a state is told of ([`Event::StateDiverged`](crate::Event::StateDiverged))
    /// and forgotten.
    ///
    /// The state is kept where it is until this has returned, and, if its type has `snapshot` or `every`, or it has asked for
    /// [`checkpoint`](Context::checkpoint), until what it has made of it is durable. With `handoff` alone who merges should
    /// ask, as what is only in memory is lost with the node. It has 5 seconds; if it has not returned then it is dropped at its
    /// current await, the worker goes on with what it did until there, and the state is kept as after a panic. When the worker
    /// ends or moves before, the next one is given the state again: **at least once** for
    /// each state, so what it does must not depend on being done once. A panic in it is the worker's end as in a handler, and
    /// the state is kept, but not given to this name again before it has run on another node or this one is started anew.
    ///
    /// A worker that lost a conflict ([`on_conflict`](Self::on_conflict)) gives what it has by itself: what it had saved is
    /// not given to the winner.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// # use std::collections::BTreeSet;
    /// #[derive(Worker, Serialize, Deserialize)]
    /// #[worker(handoff, lifecycle)]
    /// struct Cart {
    ///     items: BTreeSet<String>,
    /// }
    ///
    /// impl Lifecycle for Cart {
    ///     async fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) {
    ///         self.items.extend(other.items);
    ///         let _ = ctx.checkpoint().await;
    ///     }
    /// }
    /// ```
    fn on_diverged(&mut self, other: Self, ctx: &mut Context<Self>) -> impl Future<Output = ()> + Send {
        let _ = (other, ctx);
        async {}
    }
}

/// Saves a part of a worker instead of the whole: write `#[worker(handoff = S)]` and implement this for `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what of it is saved; write `impl Handoff<{S}> for {Self}`",
    label = "`handoff = {S}` promises an `impl Handoff`"
)]
pub trait Handoff<S>: Worker + SavesPart<S> {
    /// What is to survive. It should only look, and return soon.
    ///
    /// A state above 2 MB is not kept in memory: this is called again, and what it gives encoded again, for each further 2 MB
    /// of it, before the worker does anything else. It is to give the same each time, in the same order (a `HashMap` that is
    /// made anew has another one); else the state is encoded once more, and is in memory as a whole. The same is so of what
    /// `Serialize` does with a worker that is saved whole.
    ///
    /// Where it has not returned after 30 s (after 5 s in a worker that is to stop; encoding the state counts), the worker is
    /// **given up**: it does nothing more, its name starts again from the last state that is durable, or from its registered
    /// value where a crash would ([`Event::SnapshotFailed`](crate::Event::SnapshotFailed),
    /// [`Event::RestoredOlder`](crate::Event::RestoredOlder)), and what its restart strategy says is asked as after an
    /// error. The thread stays blocked until this returns; the worker is dropped then, and nothing of it is saved, sent or
    /// acknowledged. A caller who waits for the state gets [`NotDurable`](crate::CallError::NotDurable) then, if its own
    /// time is not over before. A move waits for 8 s and is given up by itself. What is in its mailbox goes back to its callers
    /// only when this returns; casts that wait there may come after later ones then.
    fn save(&self) -> S;

    /// Puts what survived into a worker made from its registered value.
    fn restore(&mut self, state: S);
}

/// States that [`Handoff<S>`] is used; written by `#[derive(Worker)]` for `handoff = S`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`impl Handoff<{S}> for {Self}` would not be used; write `handoff = {S}` in `#[worker(..)]`",
    label = "`#[worker(..)]` does not say `handoff = {S}`"
)]
pub trait SavesPart<S> {}
