//! Messages of several nodes to workers that move all the while, each of them accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::{join, join_all};
use sworm::prelude::*;
use sworm::{CallError, MoveError};

use self::book::{Book, Entry, Page};
use crate::eventually;

pub mod book;

pub use self::book::Keeper;

/// How much there is to be.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How many calls at least.
    pub calls: usize,
    /// How many moves at least: messages are sent until then.
    pub moves: usize,
    /// To how many workers.
    pub workers: usize,
    /// How many send on each node, each to all workers.
    pub senders: usize,
    /// How many messages of one sender to one worker go out without a wait for the one before.
    pub together: usize,
    /// Whether about as many casts are sent.
    pub casts: bool,
    /// Of so many calls one has hardly any time; none with 0.
    pub hurry: usize,
    /// How much time the others have.
    pub limit: Duration,
}

impl Load {
    /// With as many calls as `SWORM_MESSAGES` says, and as many moves as `SWORM_MOVES`, if they say so.
    pub fn scaled(self) -> Self {
        let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
        Self { calls: number("SWORM_MESSAGES", self.calls), moves: number("SWORM_MOVES", self.moves), ..self }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls that were made.
    pub calls: usize,
    /// Calls that were replied to. The others came to errors.
    pub replies: usize,
    /// Casts that were sent.
    pub casts: usize,
    /// Casts that were not handled.
    pub lost: usize,
    /// Errors of calls, by their text without numbers.
    pub errors: BTreeMap<String, usize>,
    /// Those of casts.
    pub cast_errors: BTreeMap<String, usize>,
    /// Names that were moved.
    pub moves: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, replies, casts, lost, errors, cast_errors, moves } = self;
        write!(f, "{calls} calls, {replies} replies, {casts} casts ({lost} lost), {moves} moves, ")?;
        write!(f, "errors {errors:?}, of casts {cast_errors:?}")
    }
}

/// What became of a sender's messages to one worker.
#[derive(Default)]
struct Sent {
    next: u64,
    calls: usize,
    replied: Vec<u64>,
    casts: Vec<u64>,
    unknown: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

/// What is left to do.
struct Todo {
    calls: AtomicUsize,
    moves: AtomicUsize,
}

impl Todo {
    /// Takes one from what is left, unless nothing is.
    fn take(of: &AtomicUsize) -> bool {
        of.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
    }

    fn is_done(&self) -> bool {
        self.calls.load(SeqCst) == 0 && self.moves.load(SeqCst) == 0
    }
}

/// A worker and a sender.
type Key = (usize, u32);

/// Less than so much time has one that is in a hurry.
const HURRY_MS: u64 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const AUDIT_LIMIT: Duration = Duration::from_secs(60);
/// How long nothing is moved after something could not be.
const AFTER_A_FAILURE: Duration = Duration::from_millis(20);

/// Lets all nodes send while names move between them, then reads the books: an error says what does not add up.
pub async fn run(nodes: &[(Node, Sworm)], load: Load) -> Result<Report, String> {
    let hosts: Vec<NodeId> = nodes.iter().map(|(node, _)| node.id().clone()).collect();
    run_with::<Book>(nodes, &hosts, load, async {}).await
}

/// The same with workers that move between these hosts; when half of the calls have been made something else happens.
pub async fn run_with<W: Keeper>(
    nodes: &[(Node, Sworm)],
    hosts: &[NodeId],
    load: Load,
    at_half: impl Future<Output = ()>,
) -> Result<Report, String> {
    let names: Arc<Vec<String>> = Arc::new((0..load.workers).map(|n| format!("book-{n}")).collect());
    for (n, name) in names.iter().enumerate() {
        let registering = nodes[n % nodes.len()].1.register(name, W::default()).on(&hosts[n % hosts.len()]);
        registering.await.map_err(|error| error.to_string())?;
    }
    for (_, sworm) in nodes {
        eventually("all books", || async { (sworm.registered().len() >= load.workers).then_some(()) }).await;
    }
    let todo = Arc::new(Todo { calls: AtomicUsize::new(load.calls), moves: AtomicUsize::new(load.moves) });
    let done = Arc::new(AtomicBool::new(false));
    let senders = (0..).zip(nodes.iter().flat_map(|(_, sworm)| std::iter::repeat_n(sworm, load.senders)));
    let sending: Vec<_> = senders
        .map(|(sender, sworm)| tokio::spawn(send::<W>(sworm.clone(), names.clone(), sender, todo.clone(), load)))
        .collect();
    let moving: Vec<_> = (0..nodes.len())
        .map(|at| {
            tokio::spawn(shift(nodes[at].1.clone(), names.clone(), hosts.to_vec(), at, todo.clone(), done.clone()))
        })
        .collect();
    let at_half = async {
        while todo.calls.load(SeqCst) > load.calls / 2 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        at_half.await;
    };
    let (sent, ()) = join(join_all(sending), at_half).await;
    let mut all: BTreeMap<Key, Sent> = BTreeMap::new();
    let mut report = Report::default();
    for sent in sent {
        let (sent, errors, cast_errors) = sent.map_err(|error| error.to_string())?;
        all.extend(sent);
        for (to, from) in [(&mut report.errors, errors), (&mut report.cast_errors, cast_errors)] {
            for (error, count) in from {
                *to.entry(error).or_default() += count;
            }
        }
    }
    done.store(true, SeqCst);
    for moved in join_all(moving).await {
        report.moves += moved.map_err(|error| error.to_string())?;
    }
    let mut settled = 0;
    for sent in all.values() {
        report.calls += sent.calls;
        report.replies += sent.replied.len();
        report.casts += sent.casts.len();
        settled += sent.replied.len() + sent.casts.len() + sent.unknown.len() + sent.refused.len();
    }
    let numbers: u64 = all.values().map(|sent| sent.next).sum();
    if settled as u64 != numbers {
        return Err(format!("{numbers} were sent, and {settled} came to a reply or an error: {report}"));
    }
    for (n, name) in names.iter().enumerate() {
        let mut books = Vec::new();
        for (_, sworm) in nodes {
            books.push(audit::<W>(sworm, name).await?);
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
async fn audit<W: Keeper>(sworm: &Sworm, name: &str) -> Result<Book, String> {
    let book: Ref<W> = sworm.whereis_name(name).ok_or_else(|| format!("{name} is gone"))?;
    W::audit(&book).timeout(AUDIT_LIMIT).await.map_err(|error| format!("{name}: {error}"))
}

/// How much later than its deadline a call may end: the machine may be busy.
const LATE: Duration = Duration::from_secs(20);

/// One sender: calls, and casts by turns with them, to one worker after the other.
async fn send<W: Keeper>(
    sworm: Sworm,
    names: Arc<Vec<String>>,
    sender: u32,
    todo: Arc<Todo>,
    load: Load,
) -> (BTreeMap<Key, Sent>, BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let mut rng = fastrand::Rng::with_seed(sender.into());
    let books: Vec<Ref<W>> = names.iter().filter_map(|name| sworm.whereis_name(name)).collect();
    let (mut all, mut errors, mut cast_errors) = (BTreeMap::<Key, Sent>::new(), BTreeMap::new(), BTreeMap::new());
    loop {
        let at = rng.usize(..books.len());
        let sent = all.entry((at, sender)).or_default();
        let mut calls = Vec::new();
        for _ in 0..rng.usize(1..=load.together) {
            if todo.is_done() {
                break;
            }
            let number = sent.next;
            sent.next += 1;
            if !load.casts || rng.bool() {
                Todo::take(&todo.calls);
                sent.calls += 1;
                let hurries = load.hurry > 0 && rng.usize(..load.hurry) == 0;
                let limit = if hurries { Duration::from_millis(rng.u64(..HURRY_MS)) } else { load.limit };
                // Its own task's: sent when it is first looked at, which is when they are joined.
                let call = W::enter(&books[at], Entry(sender, number)).timeout(limit).into_future();
                let in_time = tokio::time::timeout(limit + LATE, call);
                calls.push(async move { (number, in_time.await.expect("a call ends by its deadline")) });
            } else {
                settle(sent, &mut errors, join_all(calls.drain(..)).await);
                match W::cast(&books[at], Entry(sender, number)).await {
                    Ok(()) => sent.casts.push(number),
                    Err(error) => fail(sent, &mut cast_errors, number, &error),
                }
            }
        }
        settle(sent, &mut errors, join_all(calls).await);
        if todo.is_done() {
            return (all, errors, cast_errors);
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
            Err(error) => {
                tracing::debug!(%error, name, "it did not move");
                tokio::time::sleep(AFTER_A_FAILURE).await;
            }
        }
    }
    moves
}
