//! Messages of several nodes to workers that move all the while, each of them accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{CallError, MoveError};
use sworm_tests::eventually;

/// Keeps a book of what came.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "traffic-book", handles(Entry, Audit), handoff)]
pub(crate) struct Book(BTreeMap<u32, Page>);

/// What came of one sender.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Page {
    /// One above the greatest number.
    next: u64,
    /// Those below it that did not come.
    missing: BTreeSet<u64>,
    late: BTreeSet<u64>,
    twice: BTreeSet<u64>,
}

impl Page {
    fn has(&self, number: u64) -> bool {
        number < self.next && !self.missing.contains(&number)
    }
}

/// An entry: the sender, and its number there.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "traffic-entry", reply = u64)]
struct Entry(u32, u64);

#[derive(Message, Serialize, Deserialize)]
#[message(id = "traffic-audit", reply = Book)]
struct Audit;

impl Handler<Entry> for Book {
    async fn handle(&mut self, Entry(sender, number): Entry, _: &mut Context<Self>) -> u64 {
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

impl Handler<Audit> for Book {
    async fn handle(&mut self, _: Audit, _: &mut Context<Self>) -> Self {
        Self(self.0.clone())
    }
}

/// How much there is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// How many messages at least.
    pub(crate) messages: usize,
    /// How many moves at least: messages are sent until then.
    pub(crate) moves: usize,
    /// To how many workers.
    pub(crate) workers: usize,
    /// How many send on each node, each to all workers.
    pub(crate) senders: usize,
    /// How many messages of one sender to one worker go out without a wait for the one before.
    pub(crate) together: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Messages that were sent.
    pub(crate) sent: usize,
    /// Calls that were replied to.
    pub(crate) replies: usize,
    /// Casts that were sent.
    pub(crate) casts: usize,
    /// Casts that were not handled.
    pub(crate) lost: usize,
    /// Errors, by their text without numbers.
    pub(crate) errors: BTreeMap<String, usize>,
    /// Names that were moved.
    pub(crate) moves: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, replies, casts, lost, errors, moves } = self;
        write!(f, "{sent} sent, {replies} replies, {casts} casts ({lost} lost), {moves} moves, errors {errors:?}")
    }
}

/// What became of a sender's messages to one worker.
#[derive(Default)]
struct Sent {
    next: u64,
    replied: Vec<u64>,
    casts: Vec<u64>,
    unknown: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

/// What is left to do.
struct Todo {
    messages: AtomicUsize,
    moves: AtomicUsize,
}

impl Todo {
    /// Takes one from what is left, unless nothing is.
    fn take(of: &AtomicUsize) -> bool {
        of.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    /// Whether one more message is to be sent.
    fn goes_on(&self) -> bool {
        Self::take(&self.messages) || self.moves.load(SeqCst) > 0
    }

    fn is_done(&self) -> bool {
        self.messages.load(SeqCst) == 0 && self.moves.load(SeqCst) == 0
    }
}

type Key = (usize, u32);

/// Lets all nodes send while names move, then reads the books: an error says what does not add up.
pub(crate) async fn run(nodes: &[(Node, Sworm)], load: Load) -> Result<Report, String> {
    let names: Arc<Vec<String>> = Arc::new((0..load.workers).map(|n| format!("book-{n}")).collect());
    for (n, name) in names.iter().enumerate() {
        let (node, sworm) = &nodes[n % nodes.len()];
        sworm.register(name, Book::default()).on(node.id()).await.map_err(|error| error.to_string())?;
    }
    for (_, sworm) in nodes {
        eventually("all books", || async { (sworm.registered().len() >= load.workers).then_some(()) }).await;
    }
    let todo = Arc::new(Todo { messages: AtomicUsize::new(load.messages), moves: AtomicUsize::new(load.moves) });
    let done = Arc::new(AtomicBool::new(false));
    let senders = (0..).zip(nodes.iter().flat_map(|(_, sworm)| std::iter::repeat_n(sworm, load.senders)));
    let sending: Vec<_> = senders
        .map(|(sender, sworm)| tokio::spawn(send(sworm.clone(), names.clone(), sender, todo.clone(), load.together)))
        .collect();
    let moving: Vec<_> = (0..nodes.len())
        .map(|at| {
            tokio::spawn(shift(nodes[at].1.clone(), names.clone(), nodes_of(nodes), at, todo.clone(), done.clone()))
        })
        .collect();
    let mut all: BTreeMap<Key, Sent> = BTreeMap::new();
    let mut report = Report::default();
    for sent in join_all(sending).await {
        let (sent, errors) = sent.map_err(|error| error.to_string())?;
        all.extend(sent);
        for (error, count) in errors {
            *report.errors.entry(error).or_default() += count;
        }
    }
    done.store(true, SeqCst);
    for moved in join_all(moving).await {
        report.moves += moved.map_err(|error| error.to_string())?;
    }
    for sent in all.values() {
        report.replies += sent.replied.len();
        report.casts += sent.casts.len();
        report.sent += sent.replied.len() + sent.casts.len() + sent.unknown.len() + sent.refused.len();
    }
    let numbers: u64 = all.values().map(|sent| sent.next).sum();
    if report.sent as u64 != numbers {
        return Err(format!("{numbers} were sent, and not all came to something: {report}"));
    }
    for (n, name) in names.iter().enumerate() {
        let mut books = Vec::new();
        for (_, sworm) in nodes {
            books.push(audit(sworm, name).await?);
        }
        for ((_, sender), sent) in all.iter().filter(|((at, _), _)| *at == n) {
            // Asked for from the sender's node, behind all that it sent.
            let book = &books[*sender as usize / load.senders];
            let page = book.0.get(sender).cloned().unwrap_or_default();
            check(&page, sent).map_err(|why| format!("{name} and sender {sender}: {why}; {report}"))?;
            report.lost += sent.casts.iter().filter(|number| !page.has(**number)).count();
        }
    }
    Ok(report)
}

fn nodes_of(nodes: &[(Node, Sworm)]) -> Vec<NodeId> {
    nodes.iter().map(|(node, _)| node.id().clone()).collect()
}

fn check(page: &Page, sent: &Sent) -> Result<(), String> {
    if let Some(number) = page.twice.first() {
        return Err(format!("{number} was handled twice ({} of them)", page.twice.len()));
    }
    // What timed out may come whenever it likes.
    if let Some(number) = page.late.difference(&sent.unknown).next() {
        return Err(format!("{number} was handled after a later one ({} of them)", page.late.len()));
    }
    if let Some(number) = sent.replied.iter().find(|number| !page.has(**number)) {
        return Err(format!("{number} was replied to, and its effect is gone"));
    }
    match sent.refused.iter().find(|number| page.has(**number)) {
        Some(number) => Err(format!("{number} was handled, and the error said that it was not")),
        None => Ok(()),
    }
}

/// A worker that moves may take a moment.
async fn audit(sworm: &Sworm, name: &str) -> Result<Book, String> {
    let book: Ref<Book> = sworm.whereis_name(name).ok_or_else(|| format!("{name} is gone"))?;
    book.call(Audit).timeout(std::time::Duration::from_secs(30)).await.map_err(|error| format!("{name}: {error}"))
}

/// One sender: calls and casts by turns, to one worker after the other.
async fn send(
    sworm: Sworm,
    names: Arc<Vec<String>>,
    sender: u32,
    todo: Arc<Todo>,
    together: usize,
) -> (BTreeMap<Key, Sent>, BTreeMap<String, usize>) {
    let mut rng = fastrand::Rng::with_seed(sender.into());
    let books: Vec<Ref<Book>> = names.iter().filter_map(|name| sworm.whereis_name(name)).collect();
    let (mut all, mut errors) = (BTreeMap::<Key, Sent>::new(), BTreeMap::new());
    loop {
        let at = rng.usize(..books.len());
        let sent = all.entry((at, sender)).or_default();
        let mut calls = Vec::new();
        for _ in 0..rng.usize(1..=together) {
            if !todo.goes_on() {
                break;
            }
            let number = sent.next;
            sent.next += 1;
            if rng.bool() {
                // Its own task's: sent when it is first looked at, which is when they are joined.
                let call = books[at].call(Entry(sender, number)).into_future();
                calls.push(async move { (number, call.await) });
            } else {
                settle(sent, &mut errors, join_all(calls.drain(..)).await);
                match books[at].cast(Entry(sender, number)).await {
                    Ok(()) => sent.casts.push(number),
                    Err(error) => fail(sent, &mut errors, number, &error),
                }
            }
        }
        settle(sent, &mut errors, join_all(calls).await);
        if todo.is_done() {
            return (all, errors);
        }
    }
}

fn settle(sent: &mut Sent, errors: &mut BTreeMap<String, usize>, results: Vec<(u64, Result<u64, CallError>)>) {
    for (number, result) in results {
        match result {
            Ok(_) => sent.replied.push(number),
            Err(error) => fail(sent, errors, number, &error),
        }
    }
}

fn fail(sent: &mut Sent, errors: &mut BTreeMap<String, usize>, number: u64, error: &CallError) {
    let text = error.to_string().replace(|c: char| c.is_ascii_digit(), "");
    *errors.entry(text).or_default() += 1;
    if error.is_unknown_outcome() {
        sent.unknown.insert(number);
    } else {
        sent.refused.insert(number);
    }
}

/// Moves one name after the other until it is told to stop; gives how many moved.
async fn shift(
    sworm: Sworm,
    names: Arc<Vec<String>>,
    nodes: Vec<NodeId>,
    seed: usize,
    todo: Arc<Todo>,
    done: Arc<AtomicBool>,
) -> usize {
    let mut rng = fastrand::Rng::with_seed(seed as u64);
    let mut moves = 0;
    while !done.load(SeqCst) {
        let (name, to) = (&names[rng.usize(..names.len())], &nodes[rng.usize(..nodes.len())]);
        let from = sworm.whereis(name).map(|registration| registration.pid.node);
        match sworm.move_name(name, to).await {
            Ok(pid) if from.as_ref() != Some(&pid.node) => {
                moves += 1;
                Todo::take(&todo.moves);
            }
            Ok(_) => {}
            Err(MoveError::NotRegistered { .. }) => break,
            Err(error) => tracing::debug!(%error, name, "it did not move"),
        }
    }
    moves
}
