//! What a program links: kinds of stores by name, what nodes tell each other of it, and a strategy that another node lacks.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use sworm::prelude::*;
use sworm::store::{SledStore, Store, StoreError, StoreFactory};
use sworm::transport::MemoryNetwork;
use sworm::{Candidate, Distribution, Error, Event, NodeBuilder, RegisterError, StartError};
use sworm_tests::eventually;

use super::events::next;
use super::{Room, node};

/// Opens what `store` does, and counts.
struct Counted;

static OPENED: AtomicU32 = AtomicU32::new(0);

impl StoreFactory for Counted {
    fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
        OPENED.fetch_add(1, SeqCst);
        Ok(Arc::new(SledStore::open(directory)?))
    }
}

sworm::plugin!(dyn StoreFactory, "counted", Counted);

fn alone(id: &str) -> NodeBuilder {
    Node::builder(id).memory_network(&MemoryNetwork::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_plugin_keeps_what_a_node_has_and_whose_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("deep/down");
    for life in 1..=2 {
        let node = alone("a").store_plugin("counted", &path).start().await.expect("it starts");
        assert_eq!(OPENED.load(SeqCst), life);
        let sworm = node.sworm("s").await.expect("it opens");
        match life {
            1 => drop(sworm.register_name("x", Room).await.expect("free")),
            _ => drop(super::running(&sworm, "x").await),
        }
        node.leave().await.expect("it leaves");
    }
    let refused = alone("b").store_plugin("counted", &path).start().await;
    assert!(matches!(refused, Err(Error::Start(StartError::ForeignStore { .. }))), "{refused:?}");
    assert_eq!(OPENED.load(SeqCst), 2, "it was not even opened");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_kind_of_store_is_refused_with_a_list_of_the_known_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("never");
    let error = alone("a").store_plugin("with-luck", &path).start().await.expect_err("nobody links it");
    assert!(matches!(error, Error::Start(StartError::UnknownStore { .. })), "{error}");
    let text = error.to_string();
    assert!(["\"with-luck\"", "counted", "sled"].iter().all(|what| text.contains(what)), "{text}");
    assert!(!path.exists());
    // What `store` opens is one of them.
    alone("a").store_plugin("sled", &path).start().await.expect("it starts").close().await.expect("it closes");
    alone("a").store(&path).start().await.expect("it is the same").close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_tell_each_other_what_they_link() {
    let network = MemoryNetwork::new();
    let nodes = [node(&network, "a").await, node(&network, "b").await];
    for node in &nodes {
        // A link is seen before what comes over it.
        let both =
            |all: &Vec<Member>| all.len() == 2 && all.iter().all(|member| !member.linked.worker_types.is_empty());
        let members = eventually("what the other links", || async { Some(node.members()).filter(both) }).await;
        for member in members {
            let linked = &member.linked;
            for (names, own, built_in) in [
                (&linked.worker_types, "watched", "room"),
                (&linked.distribution, "last-node", "rendezvous"),
                (&linked.restart, "transient", "permanent"),
                (&linked.stores, "counted", "sled"),
            ] {
                assert!(names.is_sorted(), "{names:?}");
                assert!([own, built_in].iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
            }
            assert!(linked.distribution.iter().all(|name| !name.starts_with("value")), "{linked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_says_in_the_log_what_is_linked() {
    super::log::keep();
    alone("says what it links").in_memory().start().await.expect("it starts").close().await.expect("it closes");
    let names =
        ["worker_types=[", "\"room\"", "restart=[", "\"permanent\"", "distribution=[", "\"last-node\"", "stores=["];
    let line = [&["node started", "says what it links"], &names[..], &["\"counted\"", "\"sled\""]].concat();
    super::log::has(1, &line).await;
}

struct First;

impl Distribution for First {
    fn choose(&self, _: &str, _: &[Candidate]) -> usize {
        0
    }
}

/// As if the program of a node linked a strategy that the other's does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_that_the_deciding_node_does_not_link_is_an_error_and_never_another_one() {
    let network = MemoryNetwork::new();
    let (a, b) = (node(&network, "a").await, node(&network, "b").await);
    let on_a = a.sworm(SwormSpec::new("s").distribution_value(&First)).await.expect("it opens");
    let on_b = b.sworm("s").await.expect("they need not agree on it");
    for sworm in [&on_a, &on_b] {
        eventually("each other", || async { (sworm.nodes().len() == 2).then_some(()) }).await;
    }
    let (mut placed, mut refused) = (Vec::new(), 0);
    for n in 0..16 {
        let name = format!("room-{n}");
        let decides = on_a.explain(&name).await.decided_by.expect("somebody decides");
        match on_a.register_name(&name, Room).await {
            Ok(room) => {
                assert_eq!((decides.as_str(), room.pid().node.as_str()), ("a", "a"), "{name}");
                placed.push(name);
            }
            Err(RegisterError::UnknownStrategy { name, node, known }) => {
                assert_eq!((name.as_str(), node.as_str(), decides.as_str()), ("value of sworm:s", "b", "b"));
                assert!(known.contains(&"rendezvous".to_owned()), "{known:?}");
                refused += 1;
            }
            Err(other) => panic!("{name}: {other}"),
        }
    }
    assert!(!placed.is_empty() && refused > 0, "{placed:?} and {refused}");
    // Nor is another one used when such a name has lost its node: it waits, and it is said what for.
    eventually("its names", || async { placed.iter().all(|name| on_b.whereis(name).is_some()).then_some(()) }).await;
    let mut events = on_b.events();
    a.close().await.expect("it closes");
    for _ in &placed {
        let why = loop {
            match next(&mut events).await {
                Event::NoCandidate { reason, .. } => break reason,
                _ => continue,
            }
        };
        assert!(why.contains("node b does not link") && why.contains("value of sworm:s"), "{why}");
    }
    assert!(placed.iter().all(|name| on_b.whereis(name).is_some_and(|r| r.state == RegistrationState::Recovering)));
}
