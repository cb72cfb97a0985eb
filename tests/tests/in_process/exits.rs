//! How a worker ends, and what follows: every exit under every strategy; and that what is settled is asked of none.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, Exit, Permanent, RegisterError, Restart, RestartDecision, RestartHistory, Temporary, Transient};
use sworm_tests::eventually;

use super::{gone, moved, opened, running};

mod settled;

/// What strategies were asked, in order.
static ASKED: Mutex<Vec<Exit>> = Mutex::new(Vec::new());
/// What the hook `stopping` was told, by name.
static TOLD: Mutex<BTreeMap<String, Vec<Option<Exit>>>> = Mutex::new(BTreeMap::new());
/// To whom workers have lost their name, by the hook `on_conflict`, and their exits then.
static LOST: Mutex<BTreeMap<String, (Pid, Option<Exit>)>> = Mutex::new(BTreeMap::new());
/// How often each name was started.
static STARTS: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

fn locked<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what is asked, and answers as another one.
struct Noting(&'static dyn Restart);

impl Restart for Noting {
    fn decide(&self, exit: &Exit, history: &RestartHistory) -> RestartDecision {
        locked(&ASKED).push(exit.clone());
        self.0.decide(exit, history)
    }
}

/// What a start does, by its number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Start {
    Fine,
    /// The start of that number returns an error.
    Fails(u32),
    /// The start of that number does not return.
    Hangs(u32),
}

/// What a worker is told to do.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "exits-do")]
enum Do {
    Nothing,
    Stop,
    Fail,
    /// By the handler itself.
    FailNow,
    Panic,
}

macro_rules! workers {
    ($($worker:ident($strategy:expr)),*) => {$(
        #[derive(Worker, Serialize, Deserialize)]
        #[worker(handles(Do), lifecycle, handoff, restart = Noting(&$strategy), start_timeout = "1s")]
        struct $worker {
            start: Start,
            #[serde(skip)]
            failing: bool,
        }

        impl From<Start> for $worker {
            fn from(start: Start) -> Self {
                Self { start, failing: false }
            }
        }

        impl Lifecycle for $worker {
            async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
                assert_eq!(ctx.exit(), None);
                let now = {
                    let mut starts = locked(&STARTS);
                    let now = starts.entry(ctx.name().to_owned()).or_default();
                    *now += 1;
                    *now
                };
                match self.start {
                    Start::Fails(start) if start == now => Err("no start".into()),
                    Start::Hangs(start) if start == now => pending().await,
                    _ => Ok(()),
                }
            }

            async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
                if self.failing { Err("told to fail".into()) } else { pending().await }
            }

            async fn stopping(&mut self, ctx: &mut Context<Self>) {
                locked(&TOLD).entry(ctx.name().to_owned()).or_default().push(ctx.exit().cloned());
            }

            async fn on_conflict(&mut self, other: Pid, ctx: &mut Context<Self>) {
                locked(&LOST).insert(ctx.name().to_owned(), (other, ctx.exit().cloned()));
            }
        }

        impl Handler<Do> for $worker {
            async fn handle(&mut self, what: Do, ctx: &mut Context<Self>) {
                match what {
                    Do::Nothing => {}
                    Do::Stop => ctx.stop(),
                    Do::Fail => self.failing = true,
                    Do::FailNow => ctx.fail("told to fail"),
                    Do::Panic => panic!("told to panic"),
                }
            }
        }
    )*};
}

workers!(Always(Permanent), Mostly(Transient), Never(Temporary));

/// What somebody does to a worker.
#[derive(Clone, Copy)]
enum Act {
    Nothing,
    Say(fn() -> Do),
    Abort,
    Lose,
    Unregister,
    Move,
}

/// What there is afterwards.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    /// Another start on the same node.
    Again,
    /// No name.
    Gone,
    /// Another start on the other node.
    There,
}
use Then::{Again, Gone, There};

/// What its starts do, what is done to it, what the strategy is asked in order if it says each time that the worker starts
/// again, what `stopping` is told if it runs, and what follows with a permanent, a transient and a temporary worker.
type Row = (Start, Act, &'static [&'static str], Option<&'static str>, [Then; 3]);

const TABLE: &[Row] = &[
    (Start::Fine, Act::Say(|| Do::Stop), &["Normal"], Some("Normal"), [Again, Gone, Gone]),
    (Start::Fine, Act::Say(|| Do::Fail), &["Error"], None, [Again, Again, Gone]),
    (Start::Fine, Act::Say(|| Do::FailNow), &["Error"], None, [Again, Again, Gone]),
    (Start::Fine, Act::Say(|| Do::Panic), &["Panic"], None, [Again, Again, Gone]),
    (Start::Fine, Act::Abort, &["Killed"], None, [Again, Again, Gone]),
    (Start::Fine, Act::Lose, &["Killed"], Some("Killed"), [Again, Again, Gone]),
    (Start::Fails(2), Act::Abort, &["Killed", "StartFailed"], None, [Again, Again, Gone]),
    (Start::Hangs(2), Act::Abort, &["Killed", "StartTimedOut"], None, [Again, Again, Gone]),
    // What is settled: a first start that fails leaves no name, and one after a move is tried until it works.
    (Start::Fails(1), Act::Nothing, &[], None, [Gone, Gone, Gone]),
    (Start::Hangs(1), Act::Nothing, &[], None, [Gone, Gone, Gone]),
    (Start::Fine, Act::Unregister, &[], Some("Unregistered"), [Gone, Gone, Gone]),
    (Start::Fine, Act::Move, &[], Some("Moved"), [There, There, There]),
    (Start::Fails(2), Act::Move, &[], Some("Moved"), [There, There, There]),
    (Start::Hangs(2), Act::Move, &[], Some("Moved"), [There, There, There]),
];

fn kind(exit: &Exit) -> String {
    let text = format!("{exit:?}");
    text.split([' ', '(']).next().unwrap_or_default().to_owned()
}

async fn plays<W: Lifecycle + From<Start>>(row: &Row, then: Then, [here, there]: [&Sworm; 2], name: &str)
where
    Do: Request<W>,
{
    let (start, act, ..) = *row;
    let on = &here.nodes()[0];
    let registered = here.register(name, W::from(start)).on(on).await;
    let worker = match start {
        Start::Fails(1) => {
            let why = registered.expect_err("it fails");
            assert!(matches!(&why, RegisterError::StartFailed { reason } if reason.contains("no start")), "{why}");
            return nothing_is_left([here, there], name).await;
        }
        Start::Hangs(1) => {
            assert!(matches!(registered, Err(RegisterError::StartTimedOut)));
            return nothing_is_left([here, there], name).await;
        }
        _ => registered.expect("free"),
    };
    let first = worker.pid();
    running(there, name).await;
    match act {
        Act::Nothing => {}
        Act::Say(what) => {
            let (what, panics) = (what(), matches!(what(), Do::Panic));
            assert_eq!(worker.call(what).await.is_err(), panics, "{name}: the reply leaves first");
        }
        Act::Abort => sworm::internals::abort(here, name),
        Act::Lose => sworm::internals::lose(here, name),
        Act::Unregister => here.unregister_name(name).await.expect("it runs"),
        Act::Move => drop(moved(here, name, &here.nodes()[1]).await),
    }
    match then {
        Gone => gone(there, name).await,
        Again | There => {
            let again = || async { there.whereis(name).filter(|found| found.pid.epoch > first.epoch) };
            let pid = eventually("another start", again).await.pid;
            assert_eq!(pid.node == first.node, then == Again, "{name}: {pid}");
            let worker = there.whereis_name::<W>(name).expect("it is there");
            worker.call(Do::Nothing).timeout(Duration::from_secs(40)).await.expect("it runs");
        }
    }
}

/// Nobody knows a name any more.
async fn nothing_is_left(sworms: [&Sworm; 2], name: &str) {
    for sworm in sworms {
        gone(sworm, name).await;
    }
}

async fn follows<W: Lifecycle + From<Start>>(column: usize, sworms: [&Sworm; 2])
where
    Do: Request<W>,
{
    for (number, row) in TABLE.iter().enumerate() {
        let (_, act, asked_for, told_so, then) = row;
        let (name, then) = (format!("{}-{number}", W::NAME), then[column]);
        locked(&ASKED).clear();
        plays::<W>(row, then, sworms, &name).await;
        if let Act::Abort = act {
            // At once, not when it is looked after.
            assert_eq!(locked(&ASKED).first(), Some(&Exit::Killed("its task was aborted".into())), "{name}");
        }
        let asked: Vec<String> = locked(&ASKED).iter().map(kind).collect();
        // Who is not started again is not asked again.
        let expected = if then == Gone { &asked_for[..asked_for.len().min(1)] } else { asked_for };
        assert_eq!(asked, expected, "{name}");
        let told: Vec<Option<String>> =
            locked(&TOLD).get(&name).into_iter().flatten().map(|exit| exit.as_ref().map(kind)).collect();
        let expected: Vec<Option<String>> = told_so.iter().map(|kind| Some((*kind).to_owned())).collect();
        assert_eq!(told, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_exit_is_up_to_the_strategy_or_settled() {
    {
        let [(_a, on_a), (_b, on_b)] = opened("s").await;
        follows::<Always>(0, [&on_a, &on_b]).await;
        follows::<Mostly>(1, [&on_a, &on_b]).await;
        follows::<Never>(2, [&on_a, &on_b]).await;
    }
    settled::rows().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_node_stops_at_once_its_workers_have_not_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let start = || async {
        let node = Node::builder("a").store(directory.path()).memory_network(&MemoryNetwork::new()).start().await;
        let node = node.expect("it starts");
        let sworm = node.sworm("s").await.expect("it opens");
        (node, sworm)
    };
    let (mut node, mut sworm) = start().await;
    let names: Vec<String> = (0..64).map(|n| format!("stays-{n}")).collect();
    for name in &names {
        sworm.register_name(name, Never::from(Start::Fine)).await.expect("free");
    }
    for _ in 0..3 {
        // It has a lot to do when it stops.
        for n in 0..200 {
            let sworm = sworm.clone();
            tokio::spawn(async move { drop(sworm.register_name(format!("more-{n}"), Never::from(Start::Fine)).await) });
        }
        tokio::task::yield_now().await;
        node.close().await.expect("it closes");
        (node, sworm) = start().await;
        for name in &names {
            running(&sworm, name).await;
        }
    }
}
