//! What happens when a worker ends, or cannot start.

use std::sync::Arc;

use sworm_tests::protocol::{Found, Kind, Say};
use sworm_tests::{Cluster, Process, Registering, eventually, holds_for, program};

/// How long something may take that comes.
const LONG_MS: Option<u64> = Some(50_000);

async fn pair() -> (Cluster, Arc<Process>, Arc<Process>) {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let (a, b) = (cluster["a"].clone(), cluster["b"].clone());
    (cluster, a, b)
}

/// Waits until both nodes say that of a name.
async fn both(nodes: [&Process; 2], name: &str, what: &str, is: impl Fn(Option<&Found>) -> bool) {
    for node in nodes {
        eventually(what, || async { is(node.find(name).await.as_ref()).then_some(()) }).await;
    }
}

/// On "b", with more time than it needs once the gate is open.
fn gated(name: &str) -> Registering<'_> {
    Registering { on: Some("b"), within_ms: LONG_MS, ..Registering::new(Kind::Gated, name, 7) }
}

async fn crash(node: &Process, kind: Kind, name: &str) {
    let died = node.call(kind, name, Say::Crash).await.expect_err("it panics");
    assert_eq!((died.kind.as_str(), died.unknown), ("WorkerDied", true), "{died}");
    assert!(died.text.contains("told to crash"), "{died}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transient_worker_is_restarted_after_a_panic_and_an_error_and_removed_after_a_normal_stop() {
    let (_cluster, a, b) = pair().await;
    for (name, on) in [("here", "a"), ("there", "b")] {
        let first = a.register_on(Kind::Counter, name, 5, on).await.expect("free");
        assert_eq!(a.call(Kind::Counter, name, Say::Add(1)).await, Ok(6));
        crash(&a, Kind::Counter, name).await;
        // On the same node, under the same name, from its registered value: there was no checkpoint.
        assert_eq!(a.call(Kind::Counter, name, Say::Get).await, Ok(5));
        // The reply may overtake the news of it.
        let again = || async { a.find(name).await.filter(|found| found.pid.epoch > first.epoch) };
        let second = eventually("a second start", again).await.pid;
        assert_eq!(second.node, first.node);
        // From its checkpoint once there is one; `run` ends with an error this time.
        assert_eq!(a.call(Kind::Counter, name, Say::AddDurable(2)).await, Ok(7));
        assert_eq!(a.call(Kind::Counter, name, Say::Add(100)).await, Ok(107));
        assert_eq!(a.call(Kind::Counter, name, Say::Fail).await, Ok(107));
        both([&a, &b], name, "a third start", |found| found.is_some_and(|f| f.pid.epoch > second.epoch)).await;
        assert_eq!(b.call(Kind::Counter, name, Say::Get).await, Ok(7));
        assert_eq!(b.call(Kind::Counter, name, Say::Stop).await, Ok(7));
        both([&a, &b], name, "the end of the name", |found| found.is_none()).await;
        b.register(Kind::Counter, name, 1).await.expect("free again");
        assert_eq!(a.find_or_register(Kind::Counter, name, 9).await.map(|pid| pid.name), Ok(name.into()));
        assert_eq!(b.call(Kind::Counter, name, Say::Get).await, Ok(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_worker_is_never_restarted() {
    let (_cluster, a, b) = pair().await;
    for (name, say) in [("panics", Say::Crash), ("fails", Say::Fail), ("stops", Say::Stop)] {
        a.register(Kind::Temporary, name, 0).await.expect("free");
        let _ = b.call(Kind::Temporary, name, say).await;
        both([&a, &b], name, "the end of the name", |found| found.is_none()).await;
        a.register(Kind::Temporary, name, 0).await.expect("free again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_worker_is_restarted_after_a_normal_stop_too() {
    let (_cluster, a, b) = pair().await;
    for (name, say) in [("panics", Say::Crash), ("fails", Say::Fail), ("stops", Say::Stop)] {
        let first = a.register(Kind::Permanent, name, 3).await.expect("free");
        assert_eq!(a.call(Kind::Permanent, name, Say::Add(1)).await, Ok(4));
        let _ = b.call(Kind::Permanent, name, say).await;
        both([&a, &b], name, "another start", |found| found.is_some_and(|f| f.pid.epoch > first.epoch)).await;
        assert_eq!(b.call(Kind::Permanent, name, Say::Get).await, Ok(3), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_crashes_too_often_stays_visible_as_failed_until_it_is_replaced() {
    let (mut cluster, a, b) = pair().await;
    let bystander = a.register_on(Kind::Counter, "bystander", 0, "b").await.expect("free");
    a.call(Kind::Counter, "bystander", Say::Add(7)).await.expect("it runs");
    for name in ["replaced", "ended"] {
        a.register_on(Kind::Counter, name, 0, "b").await.expect("free");
        let mut crashes = 0;
        let failed = loop {
            match a.call(Kind::Counter, name, Say::Crash).await.expect_err("it panics") {
                failure if failure.kind == "WorkerDied" => crashes += 1,
                failure => break failure,
            }
            assert!(crashes < 20, "it is restarted for ever");
        };
        assert!(crashes > 3, "three restarts within five seconds are allowed; it crashed {crashes} times");
        assert_eq!((failed.kind.as_str(), failed.unknown), ("Failed", false));
        assert!(failed.text.contains("told to crash"), "{failed}");
        let says_why = |found: Option<&Found>| {
            found.is_some_and(|found| found.state.starts_with("Failed") && found.state.contains("told to crash"))
        };
        both([&a, &b], name, "the failure being visible", says_why).await;
    }
    // On a node that comes later, too; nor does its coming start them again.
    let c = cluster.add("c").await;
    cluster.all_see_all().await;
    for name in ["replaced", "ended"] {
        let failed = |found: &Found| found.state.starts_with("Failed") && found.state.contains("told to crash");
        let found = eventually("the failure being visible", || async { c.find(name).await.filter(failed) }).await;
        assert_eq!(Some(found), a.find(name).await);
        let refused = c.call(Kind::Counter, name, Say::Get).await.expect_err("it has failed");
        assert_eq!((refused.kind.as_str(), refused.unknown), ("Failed", false), "{refused}");
    }
    a.unregister("ended").await.expect("it can be ended");
    for node in [&a, &b, &c] {
        eventually("its end", || async { node.find("ended").await.is_none().then_some(()) }).await;
    }
    a.register(Kind::Counter, "replaced", 2).await.expect("a failed one may be replaced");
    assert_eq!(b.call(Kind::Counter, "replaced", Say::Get).await, Ok(2));
    assert_eq!(b.find("bystander").await.map(|found| found.pid), Some(bystander), "a bystander was disturbed");
    assert_eq!(b.call(Kind::Counter, "bystander", Say::Get).await, Ok(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_start_tells_why_and_leaves_no_name() {
    let (_cluster, a, b) = pair().await;
    for (on, name) in [("a", "broken-here"), ("b", "broken-there")] {
        let failed = a.register_on(Kind::Broken, name, 0, on).await.expect_err("it is broken");
        assert_eq!(failed.kind, "StartFailed");
        assert!(failed.text.contains("broken on purpose"), "{failed}");
        both([&a, &b], name, "no name", |found| found.is_none()).await;
        a.register(Kind::Counter, name, 1).await.expect("the name is free");
        assert_eq!(b.call(Kind::Counter, name, Say::Get).await, Ok(1));
    }
    let late = a.register_on(Kind::Slow, "too-slow", 60_000, "b").await.expect_err("it has 2 s");
    assert_eq!(late.kind, "StartTimedOut");
    both([&a, &b], "too-slow", "no name", |found| found.is_none()).await;
    a.register(Kind::Counter, "too-slow", 1).await.expect("the name is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_runs_out_of_time_says_that_its_outcome_is_unknown() {
    let (cluster, a, b) = pair().await;
    let impatient = Registering { within_ms: Some(100), ..gated("gated") };
    let late = a.register_with(impatient).await.expect_err("the gate is closed");
    assert_eq!((late.kind.as_str(), late.unknown), ("Timeout", true));
    // In this case it comes to be; who asks again is told.
    cluster.open_gate();
    both([&a, &b], "gated", "the name", |found| found.is_some_and(|f| f.state == "Running")).await;
    assert_eq!(a.register(Kind::Gated, "gated", 0).await.expect_err("it is there").kind, "AlreadyRegistered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_delays_no_other_and_a_call_to_it_waits() {
    let (cluster, a, _b) = pair().await;
    let slow = tokio::spawn({
        let a = a.clone();
        async move { a.register_with(gated("slow")).await }
    });
    eventually("the start", || async { a.find("slow").await.filter(|found| found.state == "Starting") }).await;
    for n in 0..20 {
        a.register_on(Kind::Counter, &format!("quick-{n}"), 0, "b").await.expect("free");
    }
    assert!(!slow.is_finished(), "the gate is closed");
    let unsent = a.call_within(Kind::Gated, "slow", Say::Get, Some(1)).await.expect_err("it is not there yet");
    assert_eq!((unsent.kind.as_str(), unsent.unknown), ("NotSent", false));
    let waiting = tokio::spawn({
        let a = a.clone();
        async move { a.call_within(Kind::Gated, "slow", Say::Get, LONG_MS).await }
    });
    // There is time for it to fail: another one, asked for later, is answered.
    a.call(Kind::Counter, "quick-0", Say::Get).await.expect("it runs");
    assert!(!waiting.is_finished(), "the gate is closed");
    cluster.open_gate();
    assert_eq!(waiting.await.expect("it does not panic"), Ok(7), "a call waits for the start");
    slow.await.expect("it does not panic").expect("free");
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_stops_the_worker() {
    let (cluster, a, b) = pair().await;
    for round in 0..5 {
        let pid = a.register(Kind::Held, "held", round).await.expect("free");
        b.unregister("held").await.unwrap_or_else(|failure| panic!("{pid}: {failure}"));
        // It holds a lock of the system while it runs: a next one would notice.
        let again = b.register(Kind::Held, "held", round + 100).await.expect("free");
        assert!(again.epoch > pid.epoch);
        // The other node hears of it a moment later.
        eventually("the next one", || async { a.find("held").await.filter(|found| found.pid == again) }).await;
        assert_eq!(a.call(Kind::Held, "held", Say::Get).await, Ok(round + 100));
        a.unregister("held").await.expect("it runs");
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
    holds_for(std::time::Duration::from_millis(500), "the name is gone", || async { a.find("held").await.is_none() })
        .await;
}
