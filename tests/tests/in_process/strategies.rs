//! Which strategy decides about a worker: its type's, else the sworm's, else the default; and strategies that panic.

mod named;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{Candidate, Distribution, Exit, RegisterError, Restart, RestartDecision, RestartHistory, Transient};
use sworm_tests::eventually;

use super::{gone, opened, running};

#[derive(Message, Serialize, Deserialize)]
struct Crash;

#[derive(Message, Serialize, Deserialize)]
struct Touch;

/// Worker types that differ in their attributes.
macro_rules! workers {
    ($($worker:ident($($attribute:tt)*)),* $(,)?) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(handles(Crash, Touch), $($attribute)*)]
        struct $worker;

        impl Handler<Crash> for $worker {
            async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
                panic!("told to crash");
            }
        }

        impl Handler<Touch> for $worker {
            async fn handle(&mut self, _: Touch, _: &mut Context<Self>) {}
        }
    )*};
}

workers! {
    Plain(),
    Removed(restart = "temporary"),
    Often(restart = Transient::with_intensity(5, Duration::from_secs(600))),
    Kept(restart = GivesUp),
    Late(restart = InTheEnd),
    Undecided(restart = Panics),
    OnFirst(distribution = First),
    OnLast(distribution = "last-node"),
    BeyondLast(distribution = Beyond),
    Nowhere(distribution = Panics),
}

struct GivesUp;

impl Restart for GivesUp {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::GiveUp
    }
}

struct InTheEnd;

impl Restart for InTheEnd {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::Restart { after: Duration::MAX }
    }
}

struct First;

impl Distribution for First {
    fn choose(&self, _: &str, _: &[Candidate]) -> usize {
        0
    }
}

struct Last;

impl Distribution for Last {
    fn choose(&self, _: &str, candidates: &[Candidate]) -> usize {
        candidates.len() - 1
    }
}

sworm::plugin!(dyn Distribution, "last-node", Last);

struct Beyond;

impl Distribution for Beyond {
    fn choose(&self, _: &str, _: &[Candidate]) -> usize {
        usize::MAX
    }
}

struct Panics;

impl Distribution for Panics {
    fn choose(&self, name: &str, _: &[Candidate]) -> usize {
        panic!("no idea where {name} goes");
    }
}

impl Restart for Panics {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        panic!("no idea what now");
    }
}

/// All settings by derive.
#[derive(Sworm)]
#[sworm(name = "carts", restart = GivesUp, distribution = First, handoff, sync_interval = "50ms")]
struct Carts;

async fn crash<W: Worker + Lifecycle>(sworm: &Sworm, name: &str, worker: W)
where
    Crash: Request<W>,
{
    let worker = sworm.register_name(name, worker).await.expect("free");
    worker.call(Crash).await.expect_err("it panics");
}

/// Waits until a worker is given up, and gives the reason.
async fn given_up(sworm: &Sworm, name: &str) -> String {
    eventually("the end of its restarts", || async {
        match sworm.whereis(name)?.state {
            RegistrationState::Failed { reason } => Some(reason),
            _ => None,
        }
    })
    .await
}

/// Registers some workers of a type and gives the nodes that they are on.
async fn nodes_of<W: Worker + Lifecycle + Default>(sworm: &Sworm) -> Vec<String> {
    let mut nodes = Vec::new();
    for n in 0..16 {
        let worker = sworm.register_name(format!("{}-{n}", W::NAME), W::default()).await.expect("free");
        nodes.push(worker.pid().node.to_string());
    }
    nodes.sort();
    nodes.dedup();
    nodes
}

async fn settles_restarts(spec: impl Into<SwormSpec>, plain_is_kept: Option<bool>) {
    let [(_node, sworm)] = opened(spec).await;
    crash(&sworm, "removed", Removed).await;
    gone(&sworm, "removed").await;
    crash(&sworm, "kept", Kept).await;
    assert!(given_up(&sworm, "kept").await.contains("told to crash"));
    crash(&sworm, "plain", Plain).await;
    match plain_is_kept {
        None => gone(&sworm, "plain").await,
        Some(true) => assert!(given_up(&sworm, "plain").await.contains("told to crash")),
        Some(false) => {
            let plain = sworm.whereis_name::<Plain>("plain").expect("it restarts");
            plain.call(Touch).await.expect("it runs again");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_strategy_is_the_types_else_the_sworms_else_the_default() {
    settles_restarts("s", Some(false)).await;
    settles_restarts(SwormSpec::new("s").restart("temporary"), None).await;
    settles_restarts(SwormSpec::new("s").restart_value(&GivesUp), Some(true)).await;
    settles_restarts(Carts, Some(true)).await;
}

async fn settles_places(spec: impl Into<SwormSpec>, plain: &[&str]) {
    let [(_a, on_a), (_b, on_b)] = opened(spec).await;
    assert_eq!(nodes_of::<OnFirst>(&on_b).await, ["a"]);
    assert_eq!(nodes_of::<OnLast>(&on_a).await, ["b"]);
    assert_eq!(nodes_of::<BeyondLast>(&on_a).await, ["b"]);
    assert_eq!(nodes_of::<Plain>(&on_b).await, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_strategy_is_the_types_else_the_sworms_else_the_default() {
    settles_places("s", &["a", "b"]).await;
    settles_places(SwormSpec::new("s").distribution("last-node"), &["b"]).await;
    settles_places(SwormSpec::new("s").distribution_value(&First), &["a"]).await;
    settles_places(Carts, &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_strategy_that_panics_places_nothing_and_harms_nobody_else() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for n in 0..8 {
        let name = format!("nowhere-{n}");
        match on_a.register_name(&name, Nowhere).await {
            Err(RegisterError::NoCandidate { why }) => {
                assert!(why.contains("panicked") && why.contains(&format!("where {name} goes")), "{why}");
            }
            other => panic!("{other:?}"),
        }
        let plain = on_b.register_name(format!("plain-{n}"), Plain).await.expect("it goes on");
        plain.call(Touch).await.expect("it runs");
    }
    assert_eq!((a.failure(), b.failure()), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_strategy_that_panics_gives_up_and_harms_nobody_else() {
    let [(node, sworm)] = opened("s").await;
    let plain = sworm.register_name("plain", Plain).await.expect("free");
    crash(&sworm, "undecided", Undecided).await;
    let reason = given_up(&sworm, "undecided").await;
    assert!(reason.contains("told to crash") && reason.contains("no idea what now"), "{reason}");
    plain.call(Touch).await.expect("it runs on");
    sworm.unregister_name("undecided").await.expect("it is there");
    assert_eq!(node.failure(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_have_an_intensity_of_its_own() {
    let [(_node, sworm)] = opened("s").await;
    let often = sworm.register_name("often", Often).await.expect("free");
    for _ in 0..5 {
        often.call(Crash).await.expect_err("it panics");
    }
    often.call(Touch).await.expect("it was restarted five times");
    often.call(Crash).await.expect_err("it panics");
    given_up(&sworm, "often").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_may_be_put_off_for_ever() {
    let [(node, sworm)] = opened("s").await;
    crash(&sworm, "late", Late).await;
    eventually("the restart", || async { (sworm.whereis("late")?.state == RegistrationState::Starting).then_some(()) })
        .await;
    crash(&sworm, "plain", Plain).await;
    running(&sworm, "plain").await;
    sworm.unregister_name("late").await.expect("it is there");
    gone(&sworm, "late").await;
    assert_eq!(node.failure(), None);
}
