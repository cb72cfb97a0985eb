//! A name whose worker has failed: it is left as it is until somebody says what is to become of it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{BoxError, GroupError, MoveError, RestartError, UnregisterError};
use sworm_tests::eventually;

use super::{gone, in_its_directory, opened, running};

mod in_vain;

/// Fails where it is told to, with a count that it saves.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "brittle", handles(Count, Break), handoff)]
struct Brittle {
    count: u32,
}

/// Counts, and returns when that is durable.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "brittle-count", reply = u32)]
struct Count;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "brittle-break")]
struct Break;

impl Handler<Count> for Brittle {
    async fn handle(&mut self, _: Count, ctx: &mut Context<Self>) -> u32 {
        self.count += 1;
        ctx.checkpoint().await.expect("it saves its state");
        self.count
    }
}

impl Handler<Break> for Brittle {
    async fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        panic!("told to break");
    }
}

/// Ends its worker until it is not started again.
async fn break_for_good<W>(sworm: &Sworm, name: &str) -> String
where
    W: Lifecycle,
    Break: Request<W>,
{
    let worker = sworm.whereis_name::<W>(name).expect("it is there");
    loop {
        match worker.call(Break).await {
            Err(CallError::Failed { reason }) => return reason,
            Err(_) => {}
            Ok(()) => panic!("it broke"),
        }
    }
}

/// Whether a node knows that a name has failed.
fn has_failed(sworm: &Sworm, name: &str) -> Option<()> {
    matches!(sworm.whereis(name)?.state, RegistrationState::Failed { .. }).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_name_is_said_to_be_one_at_once_and_is_left_as_it_is() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Brittle::default()).on(a.id()).await.expect("free");
    assert_eq!(worker.call(Count).await, Ok(1));
    let why = break_for_good::<Brittle>(&on_a, "x").await;
    assert!(why.contains("told to break"), "{why}");
    for sworm in [&on_a, &on_b] {
        eventually("the news", || async { has_failed(sworm, "x") }).await;
        let (name, reason) = ("x".to_owned(), why.clone());
        let moved = sworm.move_name("x", b.id()).await;
        assert_eq!(moved, Err(MoveError::Failed { name: name.clone(), reason: reason.clone() }));
        let joined = sworm.join("group", &worker).await;
        assert_eq!(joined, Err(GroupError::Failed { name: name.clone(), reason: reason.clone() }));
        // It does not get around the limit of restarts.
        let found = sworm.whereis_or_register_name("x", Brittle::default).await;
        assert_eq!(found.err(), Some(RegisterError::Failed { name, reason: reason.clone() }));
        let found = sworm.whereis_name::<Brittle>("x").expect("it has failed, and is there");
        assert_eq!(found.call(Count).await, Err(CallError::Failed { reason }));
    }
    let explained = on_b.explain("x").await;
    assert_eq!((&explained.runs, explained.failed.as_deref()), (&None, Some(&*why)));
    assert!(explained.to_string().contains("has failed: "), "{explained}");
    // There is nothing that could move.
    assert_eq!(on_a.plan_drain(a.id()).await, Ok(Vec::new()));
    let drained = a.drain().await.expect("in time");
    assert_eq!((drained.moved, drained.stays), (0, Vec::new()));
    a.leave().await.expect("it leaves");
    let left = eventually("its new place", || async { on_b.whereis("x").filter(|x| x.pid.node == *b.id()) }).await;
    assert_eq!(left.state, RegistrationState::Failed { reason: why });
    assert_eq!(on_b.restart_name("x").await.expect("b can run it").node, *b.id());
    assert_eq!(on_b.whereis_name::<Brittle>("x").expect("it runs").call(Count).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_worker_starts_again_from_its_state_and_its_restarts_are_forgotten() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Brittle::default()).on(a.id()).metadata("kind", "test").await.expect("free");
    on_a.join("group", &worker).await.expect("it is there");
    let unknown = on_b.restart_name("y").await;
    assert_eq!(unknown, Err(RestartError::NotRegistered { name: "y".into() }));
    for (count, sworm) in [(1, &on_a), (2, &on_b)] {
        assert_eq!(worker.call(Count).await, Ok(count));
        break_for_good::<Brittle>(&on_a, "x").await;
        eventually("the news", || async { has_failed(&on_b, "x") }).await;
        let pid = sworm.restart_name("x").await.expect("it can run");
        assert_eq!(sworm.restart_name("x").await, Ok(pid.clone()), "it runs");
        let there = running(sworm, "x").await;
        assert_eq!((there.pid, &*there.metadata["kind"]), (pid, "test"));
        assert_eq!(sworm.members("group").len(), 1);
        // So often it may break again.
        for _ in 0..3 {
            worker.call(Break).await.expect_err("it breaks");
        }
    }
    assert_eq!(worker.call(Count).await, Ok(3));
    // Whoever registers it anew wants a new one.
    break_for_good::<Brittle>(&on_b, "x").await;
    let new = on_b.register_name("x", Brittle { count: 70 }).await.expect("it has failed");
    assert_eq!(new.call(Count).await, Ok(71));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_worker_of_a_node_that_is_gone_starts_elsewhere_from_its_state() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    on_a.register("x", Brittle::default()).on(a.id()).await.expect("free").call(Count).await.expect("it runs");
    break_for_good::<Brittle>(&on_a, "x").await;
    eventually("the news", || async { has_failed(&on_b, "x") }).await;
    drop((a, on_a));
    eventually("its end", || async { (on_b.nodes().len() == 1).then_some(()) }).await;
    // As long as that node may be there nobody decides for it.
    let pid = eventually("the restart", || async { on_b.restart_name("x").await.ok() }).await;
    assert_eq!(pid.node, *b.id());
    assert_eq!(on_b.whereis_name::<Brittle>("x").expect("it runs").call(Count).await, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_waits_for_whoever_holds_the_state_and_keeps_nobody_from_the_name() {
    let patient = SwormSpec::new("s").state_wait(Duration::from_secs(3_600));
    let all: [(Node, Sworm); 3] = opened(patient).await;
    let (on_a, id) = (all[0].1.clone(), all[0].0.id().clone());
    on_a.register("x", Brittle::default()).on(&id).await.expect("free").call(Count).await.expect("it runs");
    break_for_good::<Brittle>(&on_a, "x").await;
    let holders = on_a.whereis("x").expect("it stays").holders;
    let (gone, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|(node, _)| holders.contains(node.id()));
    let [(_node, sworm)] = &left[..] else { panic!("two of three have it: {holders:?}") };
    eventually("the news", || async { has_failed(sworm, "x") }).await;
    drop((on_a, gone));
    let mut events = sworm.events();
    let restart = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.restart_name("x").await }
    });
    let new = eventually("the new one", || async { sworm.register_name("x", Brittle { count: 70 }).await.ok() }).await;
    assert_eq!(new.call(Count).await, Ok(71));
    let restarted = restart.await.expect("it does not panic");
    assert!(matches!(&restarted, Ok(pid) if *pid == new.pid()), "by then it runs: {restarted:?}");
    while let Some(event) = events.next().await {
        match event {
            Event::Registered { .. } => break,
            Event::RestoredOlder { .. } => panic!("nobody has given up waiting"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_worker_that_no_node_may_run_stays_failed_and_says_why() {
    let [(node, sworm)] = opened("s").await;
    sworm.register_name("x", Brittle::default()).await.expect("free");
    break_for_good::<Brittle>(&sworm, "x").await;
    node.drain().await.expect("nothing is there to go");
    let why = match sworm.restart_name("x").await {
        Err(RestartError::NoCandidate { why }) => why,
        other => panic!("{other:?}"),
    };
    assert!(why.contains("is being emptied"), "{why}");
    node.undrain();
    eventually("the restart", || async { sworm.restart_name("x").await.ok() }).await;
    running(&sworm, "x").await;
}

/// Does not start while it is told not to.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "sleepy", handles(Break), lifecycle)]
struct Sleepy;

static ASLEEP: AtomicBool = AtomicBool::new(false);

impl Lifecycle for Sleepy {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if ASLEEP.load(SeqCst) { Err("not now".into()) } else { Ok(()) }
    }
}

impl Handler<Break> for Sleepy {
    async fn handle(&mut self, _: Break, _: &mut Context<Self>) {
        panic!("told to break");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_can_be_ended_while_others_wait_for_a_worker_that_never_starts() {
    let [(_node, sworm)] = opened("s").await;
    sworm.register_name("x", Sleepy).await.expect("free");
    break_for_good::<Sleepy>(&sworm, "x").await;
    ASLEEP.store(true, SeqCst);
    let mut events = sworm.events();
    let restart = tokio::spawn({
        let sworm = sworm.clone();
        async move { sworm.restart_name("x").await }
    });
    while !matches!(events.next().await.expect("the node runs"), Event::StartFailed { .. }) {}
    // It is taken, and that is said at once.
    match sworm.register_name("x", Sleepy).await {
        Err(RegisterError::AlreadyRegistered { pid, .. }) => assert_eq!(pid, sworm.whereis("x").expect("taken").pid),
        other => panic!("{other:?}"),
    }
    sworm.unregister_name("x").await.expect("nobody waits for it");
    gone(&sworm, "x").await;
    let restarted = restart.await.expect("it does not panic");
    assert_eq!(restarted, Err(RestartError::NotRegistered { name: "x".into() }));
    // Nor does who has given up get it later.
    let again = sworm.unregister_name("x").await;
    assert_eq!(again, Err(UnregisterError::NotRegistered { name: "x".into() }));
    ASLEEP.store(false, SeqCst);
    sworm.register_name("x", Sleepy).await.expect("free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_dropped_can_be_started_anew_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let network = MemoryNetwork::new();
    for count in 1..=5 {
        let node = in_its_directory(|| Node::builder("a").store(directory.path()).memory_network(&network)).await;
        let sworm = node.sworm("s").await.expect("it opens");
        let worker = sworm.whereis_or_register_name("x", Brittle::default).await.expect("it runs");
        assert_eq!(worker.call(Count).await, Ok(count));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_takes_the_name_of_a_failed_worker_as_a_registration_does() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let worker = on_a.register("x", Brittle::default()).on(a.id()).await.expect("free");
    on_a.join("group", &worker).await.expect("it is there");
    assert_eq!(worker.call(Count).await, Ok(1));
    break_for_good::<Brittle>(&on_a, "x").await;
    for sworm in [&on_a, &on_b] {
        eventually("the news", || async { has_failed(sworm, "x") }).await;
    }
    let mut inbox = on_b.attach_name::<Count>("x").await.expect("it has failed");
    let found = on_b.whereis_name::<Inbox<Count>>("x").expect("the task has it");
    assert!(on_b.members("group").is_empty(), "it was the worker's");
    let (answer, ()) = tokio::join!(found.call(Count), async {
        let (_, reply) = inbox.recv().await.expect("a message");
        reply.send(70);
    });
    assert_eq!(answer, Ok(70));
    // Nothing of the worker comes back.
    drop(inbox);
    gone(&on_a, "x").await;
    let new = on_a.register_name("x", Brittle::default()).await.expect("free");
    assert_eq!(new.call(Count).await, Ok(1));
}

/// Starts only if it is whole.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "china", lifecycle, methods)]
struct China {
    whole: bool,
}

impl Lifecycle for China {
    async fn started(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        if self.whole { Ok(()) } else { Err("broken".into()) }
    }
}

#[sworm::handlers]
impl China {
    async fn rings(&self) -> bool {
        self.whole
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_or_registers_a_name_whose_first_start_has_just_failed_gets_one_that_is_there() {
    let [(a, on_a), (b, _on_b)] = opened("s").await;
    // The answer may be faster than the news that the name is gone.
    for number in 0..20 {
        let name = format!("cup-{number}");
        let on = if number % 2 == 0 { a.id() } else { b.id() };
        let refused = on_a.register(&*name, China { whole: false }).on(on).await;
        assert!(matches!(refused, Err(RegisterError::StartFailed { .. })), "{:?}", refused.err());
        let china = on_a.whereis_or_register_name(&name, || China { whole: true }).await.expect("it is free");
        assert_eq!(china.rings().await, Ok(true));
    }
}
