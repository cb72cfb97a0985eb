//! Workers that count, with one attribute different in each.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoxError, Older, Pinned, Transient, Upgrade};
use sworm_tests::GATE;
use sworm_tests::living::Living;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Add(pub(crate) i64);

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct AddDurable(pub(crate) i64);

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Get;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = String)]
pub(crate) struct Where;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Crash;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Fail;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Stop;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Sleep(pub(crate) u64);

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Block;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub(crate) struct Wait;

/// Writes the handlers of a worker with a `total` and a `failing`.
macro_rules! handlers {
    ($($worker:ident)*) => {$(
        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> i64 {
                self.total += n;
                self.total
            }
        }

        impl Handler<AddDurable> for $worker {
            async fn handle(&mut self, AddDurable(n): AddDurable, ctx: &mut Context<Self>) -> i64 {
                self.total += n;
                ctx.checkpoint().await.expect("the type has handoff");
                self.total
            }
        }

        impl Handler<Get> for $worker {
            async fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
                self.total
            }
        }

        impl Handler<Where> for $worker {
            async fn handle(&mut self, _: Where, ctx: &mut Context<Self>) -> String {
                ctx.node().to_string()
            }
        }

        impl Handler<Crash> for $worker {
            async fn handle(&mut self, _: Crash, _: &mut Context<Self>) -> i64 {
                panic!("told to crash")
            }
        }

        impl Handler<Fail> for $worker {
            async fn handle(&mut self, _: Fail, _: &mut Context<Self>) -> i64 {
                self.failing = true;
                self.total
            }
        }

        impl Handler<Stop> for $worker {
            async fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) -> i64 {
                ctx.stop();
                self.total
            }
        }

        impl Handler<Sleep> for $worker {
            async fn handle(&mut self, Sleep(ms): Sleep, _: &mut Context<Self>) -> i64 {
                // So long it is told to be busy.
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                self.total
            }
        }

        impl Handler<Block> for $worker {
            async fn handle(&mut self, _: Block, _: &mut Context<Self>) -> i64 {
                loop {
                    std::thread::park();
                }
            }
        }

        impl Handler<Wait> for $worker {
            async fn handle(&mut self, _: Wait, _: &mut Context<Self>) -> i64 {
                $crate::workers::at_the_gate(self.total).await.expect("there is a directory");
                self.total
            }
        }
    )*};
}
pub(crate) use handlers;

/// A state has about 200 bytes, most of them this.
const LOAD_BYTES: usize = 180;

macro_rules! counters {
    ($($worker:ident, $name:literal, ($($option:tt)*), $started:ident;)*) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(name = $name, lifecycle, handles(Add, AddDurable, Get, Where, Crash, Fail, Stop, Sleep, Block, Wait), $($option)*)]
        pub(crate) struct $worker {
            total: i64,
            load: String,
            #[serde(skip)]
            failing: bool,
            #[serde(skip)]
            living: Option<Living>,
        }

        impl $worker {
            pub(crate) fn new(total: i64) -> Self {
                Self { total, load: String::new(), failing: false, living: None }
            }
        }

        impl Lifecycle for $worker {
            async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
                // After a move that did not come about it goes on, and exists already.
                self.living.get_or_insert_with(|| Living::new(ctx.pid().clone()));
                // Nobody else has the same: neither damage nor another worker's state would go unnoticed.
                let load: String = ctx.name().chars().chain(['/']).cycle().take(LOAD_BYTES).collect();
                if !self.load.is_empty() && self.load != load {
                    return Err(format!("its state was {:?}", self.load).into());
                }
                self.load = load;
                $started(self.total).await
            }

            async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
                run(self.failing).await
            }
        }

        handlers!($worker);
    )*};
}

counters! {
    Counter, "counter", (handoff), at_once;
    Temporary, "temporary", (handoff, restart = "temporary"), at_once;
    Permanent, "permanent", (handoff, restart = "permanent"), at_once;
    NoHandoff, "no-handoff", (handoff = false), at_once;
    Broken, "broken", (handoff), broken;
    Slow, "slow", (handoff, start_timeout = "2s"), slowly;
    Gated, "gated", (handoff, start_timeout = "10m"), at_the_gate;
    Moody, "moody", (handoff), if_the_gate_is_open;
    Newer, "newer", (handoff, version = 2), at_once;
    Twice, "twice", (handoff, restart = Transient::with_intensity(2, LONG)), at_once;
    Fast, "fast", (handoff, distribution = Pinned::to("disk", "fast")), at_once;
    Each, "each", (snapshot = "each"), at_once;
    EachLocal, "each-local", (snapshot = "each", durable = "local"), at_once;
    Local, "local", (handoff, durable = "local"), at_once;
    Paced, "paced", (snapshot = "5s"), at_once;
    EveryFive, "every-five", (every = 5), at_once;
    TwoReplicas, "two-replicas", (handoff, replicas = 2), at_once;
}

/// What it had before has not changed.
impl Upgrade for Newer {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        Ok(older.read()?)
    }
}

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

async fn at_once(_: i64) -> Result<(), BoxError> {
    Ok(())
}

async fn broken(_: i64) -> Result<(), BoxError> {
    Err("broken on purpose".into())
}

async fn slowly(ms: i64) -> Result<(), BoxError> {
    // So long it is told to take.
    tokio::time::sleep(Duration::from_millis(u64::try_from(ms)?)).await;
    Ok(())
}

async fn if_the_gate_is_open(_: i64) -> Result<(), BoxError> {
    if gate()?.exists() { Ok(()) } else { Err("the gate is closed".into()) }
}

pub(crate) async fn at_the_gate(_: i64) -> Result<(), BoxError> {
    let gate = gate()?;
    while !gate.exists() {
        // The test makes a file in another process: nothing tells when.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn gate() -> Result<PathBuf, BoxError> {
    Ok(PathBuf::from(std::env::var("SWORM_TESTS_LOCKS")?).join(GATE))
}

pub(crate) async fn run(failing: bool) -> Result<(), BoxError> {
    if failing { Err("told to fail".into()) } else { pending().await }
}
