//! What a node has not heard of yet, and calls as futures of their own.

use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

use super::{node, opened, opened_on, running};

/// Counts, and calls others.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "fresh.counter", handles(Count, Counted, CallIt))]
struct Counter(u32);

#[derive(Message, Serialize, Deserialize, Clone)]
#[message(id = "fresh.count", reply = u32)]
struct Count;

impl Handler<Count> for Counter {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.0 += 1;
        self.0
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "fresh.counted", reply = u32)]
struct Counted;

impl Handler<Counted> for Counter {
    async fn handle(&mut self, _: Counted, _: &mut Context<Self>) -> u32 {
        self.0
    }
}

/// Calls that one; what came of it.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "fresh.call_it", reply = Result<u32, CallError>)]
struct CallIt(Ref<Counter>);

impl Handler<CallIt> for Counter {
    async fn handle(&mut self, CallIt(it): CallIt, _: &mut Context<Self>) -> Result<u32, CallError> {
        it.call(Count).timeout(Duration::from_secs(60)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_good_on_a_node_that_has_not_heard_of_its_name_yet() {
    let network = MemoryNetwork::new();
    let [(_a, on_a), (b, on_b), (c, on_c)] = &opened_on(&network, "s").await;
    let caller = on_a.register("caller", Counter::default()).on(c.id()).await.expect("free");
    running(on_c, "caller").await;
    // What b states reaches c neither from b nor through a.
    network.hold("b", "c");
    network.hold("a", "c");
    // One that c has not to decide about.
    let mut names = (0..).map(|n| format!("fresh-{n}"));
    let name = loop {
        let name = names.next().expect("there are many");
        if on_a.explain(&name).await.decided_by.is_some_and(|by| by != *c.id()) {
            break name;
        }
    };
    let fresh = on_a.register(&name, Counter::default()).on(b.id()).await.expect("free");
    running(on_b, &name).await;
    assert!(on_c.whereis(&name).is_none());
    let called = tokio::spawn(caller.call(CallIt(fresh)).timeout(Duration::from_secs(60)));
    // The call itself, not what is stated.
    while network.held("a", "c").is_empty() {
        tokio::task::yield_now().await;
    }
    let counted = || async {
        network.let_through("a", "c");
        let found = on_b.whereis_name::<Counter>(&name).expect("it runs here");
        (found.call(Counted).await == Ok(1)).then_some(())
    };
    let come = eventually("the call", counted);
    tokio::pin!(come);
    let mut called = called;
    tokio::select! {
        () = &mut come => {}
        told = &mut called => panic!("nothing was let through from b: {told:?}"),
    }
    network.release("b", "c");
    network.release("a", "c");
    assert_eq!(called.await.expect("it does not panic"), Ok(Ok(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_to_a_name_that_is_gone_says_so_on_a_node_that_never_heard_of_it() {
    let [(_a, on_a), (b, on_b), (c, on_c)] = opened("s").await;
    let caller = on_a.register("caller", Counter::default()).on(c.id()).await.expect("free");
    let gone = on_a.register("gone", Counter::default()).on(b.id()).await.expect("free");
    on_a.unregister_name("gone").await.expect("it runs");
    for sworm in [&on_a, &on_b, &on_c] {
        super::gone(sworm, "gone").await;
    }
    let called = caller.call(CallIt(gone)).timeout(Duration::from_secs(60)).await;
    assert_eq!(called, Ok(Err(CallError::NotRegistered { name: "gone".into() })));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_take_nothing_more_hold_up_no_members_on_other_nodes() {
    let network = MemoryNetwork::new();
    let all: [_; 3] = opened_on(&network, "s").await;
    let on_a = &all[0].1;
    for (node, _) in &all {
        let counter = on_a.register(node.id(), Counter::default()).on(node.id()).await.expect("free");
        eventually("the group", || async { on_a.join("all", &counter).await.ok() }).await;
    }
    eventually("all members", || async { (on_a.members("all").len() == 3).then_some(()) }).await;
    network.fill_link("a", "b", true);
    let called = on_a.multi_call("all", Count).timeout(Duration::from_secs(60)).await;
    let results: Vec<_> = called.into_iter().map(|(_, result)| result).collect();
    assert_eq!(results, [Ok(1), Err(CallError::Overloaded), Ok(1)]);
    assert_eq!(on_a.publish("all", Count).await, Ok(2));
    network.fill_link("a", "b", false);
    let counts = || async {
        let counts = on_a.multi_call("all", Counted).timeout(Duration::from_secs(60)).await;
        let counts: Vec<_> = counts.into_iter().map(|(_, count)| count.expect("it runs")).collect();
        (counts == [2, 0, 2]).then_some(())
    };
    eventually("what was published", counts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_registrations_are_futures() {
    let [(_a, sworm)] = opened("s").await;
    let names = ["x", "y", "z"];
    let registered = join_all(names.map(|name| sworm.register(name, Counter::default()))).await;
    let [x, y, z] = &registered.into_iter().map(|counter| counter.expect("free")).collect::<Vec<_>>()[..] else {
        unreachable!("there are three")
    };
    let mut totals: Vec<_> =
        join_all((0..10).map(|_| x.call(Count))).await.into_iter().map(|total| total.expect("it runs")).collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=10).collect::<Vec<_>>());
    assert_eq!(tokio::spawn(y.call(Count)).await.expect("it does not panic"), Ok(1));
    eventually("the group", || async { sworm.join("all", z).await.ok() }).await;
    let called = tokio::spawn(sworm.multi_call("all", Count)).await.expect("it does not panic");
    assert!(matches!(&called[..], [(member, Ok(1))] if *member.name == *"z"), "{called:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "options are set before it is awaited")]
async fn an_option_that_comes_too_late_is_not_ignored() {
    let [(_a, sworm)] = opened("s").await;
    let mut registering = sworm.register("x", Counter::default());
    let _ = futures_util::poll!(&mut registering);
    drop(registering.timeout(Duration::from_secs(1)));
}

#[derive(sworm::Sworm)]
#[sworm(
    name = "carts",
    restart = "temporary",
    handoff,
    distribution = "rendezvous",
    mode = "majority",
    sync_interval = "100ms"
)]
struct Carts;

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_that_is_open_is_found_by_its_name_however_it_was_opened() {
    let node = node(&MemoryNetwork::new(), "a").await;
    let refused = node.sworm(Carts).await.expect_err("nobody says how many vote");
    assert!(matches!(&refused, OpenError::BadSetting { what, .. } if what.contains("expect_nodes")), "{refused}");
    let carts = node.sworm(SwormSpec::from(Carts).expect_nodes(1)).await.expect("it opens");
    for again in
        [node.sworm("carts").await, node.sworm("carts".to_owned()).await, node.sworm(&"carts".to_owned()).await]
    {
        assert_eq!(again.expect("it is open").name(), carts.name());
    }
    let other = node.sworm(SwormSpec::new("carts")).await.expect_err("those are other settings");
    assert!(matches!(other, OpenError::Disagreed { .. }), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_an_inbox_that_is_dropped_was_not_handled() {
    let [(_a, sworm)] = opened("s").await;
    let inbox = sworm.attach_name::<Count>("task").await.expect("free");
    let task = sworm.whereis_name::<Inbox<Count>>("task").expect("it is there");
    let mut call = task.call(Count).timeout(Duration::from_secs(60));
    assert!(futures_util::poll!(&mut call).is_pending(), "it waits to be taken");
    drop(inbox);
    assert_eq!(call.await, Err(CallError::NotRegistered { name: "task".into() }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_of_another_sworm_is_no_member() {
    let [(a, one)] = opened("one").await;
    let other = a.sworm("other").await.expect("it opens");
    let here = one.register_name("x", Counter::default()).await.expect("free");
    let there = other.register_name("x", Counter::default()).await.expect("free");
    let refused = one.join("all", &there).await.expect_err("its name is another one's here");
    assert_eq!(refused, GroupError::NotRegistered { name: "x".into() });
    one.join("all", &here).await.expect("it runs");
    one.leave("all", &there).await.expect_err("its name is another one's here");
    assert_eq!(one.members("all").len(), 1);
}
