//! What can be wrong with opening a sworm and with registering, and what the errors say.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{GroupError, LeaveError, NodeId, OpenError, RegisterError, UnregisterError};
use sworm_tests::{eventually, fresh_cluster, fresh_host};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "cart", handles(Look))]
struct Cart {
    items: Vec<u8>,
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "room")]
struct Room;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = usize)]
struct Look;

impl Handler<Look> for Cart {
    async fn handle(&mut self, _: Look, _: &mut Context<Self>) -> usize {
        self.items.len()
    }
}

async fn alone() -> (Node, Sworm) {
    let node = Node::builder("a").cluster(fresh_cluster()).in_memory().start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

/// Two nodes in this process.
async fn pair() -> [Node; 2] {
    let (cluster, listen) = (fresh_cluster(), format!("tcp/{}:0", fresh_host()));
    let build = |id: &str| Node::builder(id).cluster(&cluster).listen(&listen).in_memory();
    let a = build("a").start().await.expect("it starts");
    let b = build("b").join(a.endpoints()).start().await.expect("it starts");
    [a, b]
}

#[track_caller]
fn says(error: &impl std::error::Error, what: &[&str]) {
    let text = error.to_string();
    assert!(what.iter().all(|what| text.contains(what)), "{text:?} does not say {what:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sworm_opened_with_other_settings_elsewhere_is_refused_with_both_values() {
    let [a, b] = pair().await;
    a.sworm(SwormSpec::new("carts").handoff(true)).await.expect("the first one decides");
    // Whoever disagrees is told, on another node and on the same one.
    for (node, other) in [(&b, "b"), (&a, "a")] {
        let error = node.sworm(SwormSpec::new("carts").handoff(false)).await.expect_err("they disagree");
        assert!(matches!(&error, OpenError::Disagreed { node, .. } if node == "a"), "on {other}: {error}");
        says(&error, &["\"carts\"", "handoff = on", "handoff = off"]);
    }
    let carts = b.sworm(SwormSpec::new("carts").handoff(true)).await.expect("now they agree");
    carts.register_name("cart", Cart::default()).await.expect("free");
    // The second opening gives the first one's sworm; what need not be agreed on may differ between nodes only.
    let again = b.sworm(SwormSpec::new("carts").handoff(true)).await.expect("open");
    assert!(again.whereis("cart").is_some());
    let other = b.sworm(SwormSpec::new("carts").handoff(true).restart("temporary")).await.expect_err("it differs");
    says(&other, &["\"carts\"", "on b", "restart = \"transient\"", "restart = \"temporary\""]);
    for node in [a, b] {
        node.close().await.expect("it closes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sworms_wrong_settings_are_refused_with_what_is_right() {
    let (node, _) = alone().await;
    for (spec, kind) in [
        (SwormSpec::new("x").restart("with-luck"), "restart"),
        (SwormSpec::new("x").distribution("with-luck"), "distribution"),
    ] {
        let error = node.sworm(spec).await.expect_err("unknown");
        assert!(matches!(error, OpenError::UnknownStrategy { .. }), "{error}");
        says(&error, &[kind, "\"with-luck\"", if kind == "restart" { "temporary" } else { "rendezvous" }]);
    }
    let long = "x".repeat(256);
    for name in ["", long.as_str()] {
        let error = node.sworm(name).await.expect_err("a bad name");
        assert!(matches!(error, OpenError::BadName { .. }), "{error}");
    }
    for ms in [19, 2_001] {
        let interval = std::time::Duration::from_millis(ms);
        let error = node.sworm(SwormSpec::new("x").sync_interval(interval)).await.expect_err("out of its limits");
        assert!(matches!(error, OpenError::BadSetting { .. }), "{error}");
        says(&error, &["sync_interval", "20 ms to 2 s"]);
    }
    // None of that has opened it.
    node.sworm(SwormSpec::new("x").handoff(true)).await.expect("it opens");
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_out_of_its_limits_is_refused_and_nothing_is_registered() {
    let (node, sworm) = alone().await;
    let of = |entries: &[(String, usize)]| {
        let with =
            |all: sworm::RegisterBuilder<Room>, (key, bytes): &(String, usize)| all.metadata(key, "v".repeat(*bytes));
        entries.iter().fold(sworm.register("x", Room), with)
    };
    let many = |count: usize| (0..count).map(|n| (format!("{n:02}"), 1)).collect::<Vec<_>>();
    for (entries, what) in [
        (vec![(String::new(), 1)], "1 to 255 bytes; one has 0"),
        (vec![("k".repeat(256), 1)], "1 to 255 bytes; one has 256"),
        (vec![("k".into(), 16 << 10)], "has 16385 bytes; at most 16384"),
        (many(65), "65 entries; at most 64"),
    ] {
        let refused = of(&entries).await.expect_err("out of its limits");
        assert!(matches!(refused, RegisterError::BadMetadata { .. }), "{refused}");
        says(&refused, &[what]);
        assert!(sworm.whereis("x").is_none());
    }
    of(&[("k".into(), (16 << 10) - 1)]).await.expect("free");
    sworm.unregister_name("x").await.expect("it is there");
    let all = of(&many(64)).await.expect("free");
    assert_eq!(sworm.whereis(all.name()).expect("it is here").metadata.len(), 64);
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_have_one_to_512_bytes_of_any_kind() {
    let (node, sworm) = alone().await;
    for name in ["", "x".repeat(513).as_str()] {
        let bytes = name.len();
        let refused = sworm.register_name(name, Room).await.expect_err("a bad name");
        assert_eq!(refused, RegisterError::BadName { bytes });
        says(&refused, &["1 to 512 bytes", &bytes.to_string()]);
        let refused = sworm.attach_name::<Look>(name).await.expect_err("a bad name");
        assert_eq!(refused, RegisterError::BadName { bytes });
        assert!(sworm.whereis(name).is_none() && sworm.whereis_name::<Room>(name).is_none());
        let refused = sworm.unregister_name(name).await.expect_err("nobody has it");
        assert!(matches!(refused, UnregisterError::NotRegistered { .. }), "{refused}");
    }
    let strange = ["x".repeat(512), "é".repeat(256), "a/b*c$d?#**".into(), "\0\n\u{1f980}".into(), " ".into()];
    for name in &strange {
        sworm.register_name(name, Room).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
    }
    let mut sorted: Vec<&str> = strange.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let registered = sworm.registered();
    assert_eq!(registered.iter().map(|found| &*found.name).collect::<Vec<_>>(), sorted);
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered_is_refused_and_changes_nothing() {
    let (node, sworm) = alone().await;
    let cart = sworm.register_name("cart", Cart { items: vec![1] }).await.expect("free");
    let taken = sworm.register_name("cart", Cart::default()).await.expect_err("taken");
    assert_eq!(taken, RegisterError::AlreadyRegistered { pid: cart.pid(), worker_type: "cart".into() });
    says(&taken, &["cart is registered already", &cart.pid().to_string()]);
    let wrong = sworm.whereis_or_register_name("cart", || Room).await.expect_err("it is no room");
    let (name, found, expected) = ("cart".into(), "cart".into(), "room".into());
    assert_eq!(wrong, RegisterError::WrongType { name, found, expected });
    assert!(sworm.whereis_name::<Room>("cart").is_none());

    let large = sworm.register_name("large", Cart { items: vec![200; 1 << 20] }).await.expect_err("over 1 MiB");
    assert!(matches!(large, RegisterError::BadValue { .. }), "{large}");
    let nobody = NodeId::new("nobody").expect("valid");
    let nowhere = sworm.register("nowhere", Room).on(&nobody).await.expect_err("no such node");
    assert!(matches!(nowhere, RegisterError::NoCandidate { .. }), "{nowhere}");
    says(&nowhere, &["\"room\"", "nobody"]);

    for group in ["", "x".repeat(256).as_str()] {
        let refused = sworm.join(group, &cart).await.expect_err("a bad group");
        assert_eq!(refused, GroupError::BadGroup { bytes: group.len() });
    }
    assert_eq!(cart.call(Look).await, Ok(1));
    assert_eq!(sworm.registered().len(), 1);
    node.close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_end_a_node_says_so_whatever_it_is_asked() {
    let (node, sworm) = alone().await;
    let cart = sworm.register_name("cart", Cart::default()).await.expect("free");
    node.leave().await.expect("it leaves");
    assert!(matches!(node.leave().await, Err(sworm::Error::Leave(LeaveError::Stopped))));
    assert!(matches!(node.sworm("s").await, Err(OpenError::Stopped)));
    assert_eq!(sworm.register_name("x", Room).await, Err(RegisterError::Stopped));
    assert_eq!(sworm.unregister_name("cart").await, Err(UnregisterError::Stopped));
    assert_eq!(sworm.join("group", &cart).await, Err(GroupError::Stopped));
    assert_eq!(cart.call(Look).await, Err(sworm::CallError::Stopped));
    assert!(node.failure().is_none());
    let down = eventually("its own end", || async { node.members().into_iter().next() }).await;
    assert_eq!(down.state, sworm::MemberState::Down);
}
