//! Worker types as the inventory knows them, and the dispatch of encoded messages.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;

use super::mailbox::{AnyMailbox, LocalCall, LocalParcel};
use super::task::{self, Start};
use super::{Context, Handler, Request, Storable, Worker, WorkerOptions};
use crate::error::CallError;
use crate::node::scope;
use crate::plugin::{Duplicate, Place};

/// One message type that a worker type takes.
#[doc(hidden)]
pub struct HandlerEntry<W: Worker> {
    pub(crate) id: &'static str,
    pub(crate) run: RunEncoded<W>,
    /// Makes a parcel of a `LocalCall` of this message.
    pub(crate) wrap: Wrap<W>,
}

type Wrap<W> = fn(Box<dyn Any + Send>) -> Option<Box<dyn LocalParcel<W>>>;
type RunEncoded<W> = for<'a> fn(&'a mut W, &'a mut Context<W>, &'a [u8]) -> BoxFuture<'a, Result<Vec<u8>, CallError>>;

impl<W: Worker> HandlerEntry<W> {
    /// The entry for message `M`.
    pub const fn of<M>() -> Self
    where
        M: Request<W>,
        W: Handler<M>,
    {
        Self { id: M::ID, run: run_encoded::<W, M>, wrap: wrap::<W, M> }
    }

    /// The message's id.
    pub const fn id(&self) -> &'static str {
        self.id
    }
}

fn run_encoded<'a, W, M>(
    worker: &'a mut W,
    ctx: &'a mut Context<W>,
    payload: &'a [u8],
) -> BoxFuture<'a, Result<Vec<u8>, CallError>>
where
    M: Request<W>,
    W: Handler<M>,
{
    Box::pin(async move {
        let message = scope::decoded(&ctx.sworm.shared.node, || M::CODEC.decode(payload))
            .map_err(|why| CallError::Undecodable { what: M::ID.into(), why })?;
        let reply = worker.handle(message, ctx).await;
        reply.to_bytes().map_err(|e| CallError::UndecodableReply { message: M::ID.into(), why: e.to_string() })
    })
}

fn wrap<W, M>(call: Box<dyn Any + Send>) -> Option<Box<dyn LocalParcel<W>>>
where
    M: Request<W>,
    W: Handler<M>,
{
    let call: Box<LocalCall<M>> = call.downcast().ok()?;
    Some(call)
}

/// The methods of a worker type that are called as messages; written by `#[handlers]`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no methods to be called; write `#[sworm::handlers] impl {Self}`",
    label = "`methods` promises them"
)]
pub trait Methods: Worker {
    /// Their table for dispatch.
    const HANDLERS: &'static [HandlerEntry<Self>];
}

/// Whether a worker type has methods: its own constant comes before the one of [`NoMethods`] where its bound holds.
#[doc(hidden)]
pub struct MethodsOf<W>(PhantomData<W>);

impl<W: Methods> MethodsOf<W> {
    /// Their table for dispatch.
    pub const HANDLERS: &'static [HandlerEntry<W>] = W::HANDLERS;
}

/// Of a worker type without methods.
#[doc(hidden)]
pub trait NoMethods<W: Worker> {
    /// An empty table.
    const HANDLERS: &'static [HandlerEntry<W>] = &[];
}

impl<W: Worker> NoMethods<W> for MethodsOf<W> {}

/// How a worker type takes a message.
pub(crate) fn entry_of<W: Worker>(id: &str) -> Option<&'static HandlerEntry<W>> {
    W::handlers().iter().copied().flatten().find(|entry| entry.id == id)
}

/// Whether the ids in several tables differ, but for those of the first one among themselves, which [`distinct_ids`] is for; the
/// derive asserts it while compiling.
#[doc(hidden)]
pub const fn distinct_entries<W: Worker>(tables: &[&[HandlerEntry<W>]]) -> bool {
    let mut count = 0;
    let mut table = 0;
    while table < tables.len() {
        count += tables[table].len();
        table += 1;
    }
    let mut i = 0;
    while i < count {
        let mut j = if i + 1 < tables[0].len() { tables[0].len() } else { i + 1 };
        while j < count {
            if same(nth(tables, i).as_bytes(), nth(tables, j).as_bytes()) {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

/// The id at that place, all tables in a row.
const fn nth<W: Worker>(tables: &[&[HandlerEntry<W>]], mut at: usize) -> &'static str {
    let mut table = 0;
    while at >= tables[table].len() {
        at -= tables[table].len();
        table += 1;
    }
    tables[table][at].id
}

/// Whether all ids differ; the derive asserts it while compiling.
#[doc(hidden)]
pub const fn distinct_ids(ids: &[&str]) -> bool {
    let mut i = 0;
    while i < ids.len() {
        let mut j = i + 1;
        while j < ids.len() {
            if same(ids[i].as_bytes(), ids[j].as_bytes()) {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// One worker type in the inventory, written by the derive.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub struct WorkerEntry {
    pub(crate) worker: &'static dyn AnyWorkerType,
    pub(crate) at: Place,
}

impl WorkerEntry {
    /// The entry of type `W`, derived at this place.
    pub const fn of<W: super::Lifecycle>(file: &'static str, line: u32) -> Self {
        Self { worker: &TypeOf::<W>(PhantomData), at: Place { file, line } }
    }
}

inventory::collect!(WorkerEntry);

/// A worker type without its type.
pub(crate) trait AnyWorkerType: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn options(&self) -> WorkerOptions;
    /// Starts one worker in a task of its own.
    fn start(&self, start: Start) -> (Arc<dyn AnyMailbox>, AbortHandle);
}

struct TypeOf<W>(PhantomData<fn() -> W>);

impl<W: super::Lifecycle> AnyWorkerType for TypeOf<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn version(&self) -> u32 {
        W::VERSION
    }

    fn options(&self) -> WorkerOptions {
        W::options()
    }

    fn start(&self, start: Start) -> (Arc<dyn AnyMailbox>, AbortHandle) {
        task::spawn::<W>(start)
    }
}

/// The linked worker types by name.
#[derive(Clone, Default)]
pub(crate) struct WorkerTypes(BTreeMap<&'static str, WorkerEntry>);

impl WorkerTypes {
    /// Collects everything that is linked.
    pub(crate) fn linked() -> Result<Self, Duplicate> {
        let mut all = BTreeMap::new();
        for entry in inventory::iter::<WorkerEntry> {
            if let Some(first) = all.insert(entry.worker.name(), *entry) {
                return Err(Duplicate { name: entry.worker.name(), first: first.at, second: entry.at });
            }
        }
        Ok(Self(all))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static dyn AnyWorkerType> + '_ {
        self.0.values().map(|entry| entry.worker)
    }
}
