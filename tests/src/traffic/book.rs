//! The workers: each keeps a book of what came.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{CallBuilder, CallError};

/// Keeps a book of what came.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "traffic-book", handles(Entry, Audit, Pile), handoff)]
pub struct Book(pub(super) BTreeMap<u32, Page>);

/// The same, saved before each reply: a crash of its node takes nothing away.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "traffic-safe-book", handles(Entry, Audit), snapshot = "each")]
pub struct SafeBook(Book);

/// A worker that keeps a book.
pub trait Keeper: Lifecycle + Default + Sync {
    /// Sends it an entry.
    fn enter(book: &Ref<Self>, entry: Entry) -> CallBuilder<Entry>;
    /// Sends it an entry, and wants no reply.
    fn cast(book: &Ref<Self>, entry: Entry) -> impl Future<Output = Result<(), CallError>> + Send;
    /// Asks it for its book.
    fn audit(book: &Ref<Self>) -> CallBuilder<Audit>;
}

impl<W: Lifecycle + Default + Sync> Keeper for W
where
    Entry: Request<W>,
    Audit: Request<W>,
{
    fn enter(book: &Ref<Self>, entry: Entry) -> CallBuilder<Entry> {
        book.call(entry)
    }

    async fn cast(book: &Ref<Self>, entry: Entry) -> Result<(), CallError> {
        book.cast(entry).await
    }

    fn audit(book: &Ref<Self>) -> CallBuilder<Audit> {
        book.call(Audit)
    }
}

/// What came of one sender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Page {
    /// One above the greatest number.
    pub(super) next: u64,
    /// Those below it that did not come.
    pub(super) missing: BTreeSet<u64>,
    pub(super) late: BTreeSet<u64>,
    pub(super) twice: BTreeSet<u64>,
}

impl Page {
    pub(super) fn has(&self, number: u64) -> bool {
        number < self.next && !self.missing.contains(&number)
    }
}

/// An entry: the sender, and its number there.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "traffic-entry", reply = u64)]
pub struct Entry(pub(super) u32, pub(super) u64);

/// Bytes, of which it makes nothing.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "traffic-pile")]
pub struct Pile(pub Bytes);

/// Asks for the whole book.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "traffic-audit", reply = Book)]
pub struct Audit;

impl Book {
    fn enter(&mut self, Entry(sender, number): Entry) -> u64 {
        let page = self.0.entry(sender).or_default();
        if number >= page.next {
            page.missing.extend(page.next..number);
            page.next = number + 1;
        } else if page.missing.remove(&number) {
            page.late.insert(number);
        } else {
            page.twice.insert(number);
        }
        number
    }
}

impl Handler<Entry> for Book {
    async fn handle(&mut self, entry: Entry, _: &mut Context<Self>) -> u64 {
        self.enter(entry)
    }
}

impl Handler<Pile> for Book {
    async fn handle(&mut self, _: Pile, _: &mut Context<Self>) {}
}

impl Handler<Audit> for Book {
    async fn handle(&mut self, _: Audit, _: &mut Context<Self>) -> Self {
        Self(self.0.clone())
    }
}

impl Handler<Entry> for SafeBook {
    async fn handle(&mut self, entry: Entry, _: &mut Context<Self>) -> u64 {
        self.0.enter(entry)
    }
}

impl Handler<Audit> for SafeBook {
    async fn handle(&mut self, _: Audit, _: &mut Context<Self>) -> Book {
        Book(self.0.0.clone())
    }
}
