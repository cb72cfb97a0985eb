//! Starting with a zenoh configuration of the caller's, and on a network in memory.

use serde::{Deserialize, Serialize};

use super::*;
use crate::api::{Inbox, Ref};
use crate::node::random_u64;
use crate::{Message, StartError};

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, crate = crate)]
struct Ping;

fn fresh_cluster() -> String {
    format!("builder-{:016x}", random_u64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_configuration_of_the_callers_is_found_on_this_machine_and_takes_part() {
    let cluster = fresh_cluster();
    let build = |id: &str| Node::builder(id).cluster(&cluster).in_memory();
    let a = build("a").zenoh(zenoh::Config::default()).start().await.expect("it starts");
    assert!(a.endpoints().iter().all(|endpoint| endpoint.starts_with("tcp/127.0.0.1:")), "{:?}", a.endpoints());
    assert_eq!(a.endpoints().len(), 1);
    let b = build("b").start().await.expect("it starts");
    let met = async {
        while b.members().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), met).await.expect("it finds the other one");
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    let mut inbox = on_a.attach_name::<Ping>("name").await.expect("free");
    let answering = tokio::spawn(async move {
        let (_, reply) = inbox.recv().await.expect("a call");
        reply.send(7);
        inbox
    });
    let found: Ref<Inbox<Ping>> = loop {
        match on_b.whereis_name("name") {
            Some(found) => break found,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(found.call(Ping).timeout(Duration::from_secs(40)).await, Ok(7));
    drop(answering.await.expect("it does not panic"));
    a.close().await.expect("it closes");
    b.close().await.expect("it closes");
}

#[tokio::test]
async fn clusters_on_one_memory_network_are_two() {
    let network = MemoryNetwork::new();
    let start =
        |id: &str, cluster: &str| Node::builder(id).cluster(cluster).in_memory().memory_network(&network).start();
    let a = start("a", "one").await.expect("it starts");
    let b = start("b", "one").await.expect("it starts");
    let c = start("c", "two").await.expect("it starts");
    let d = start("a", "two").await.expect("its id is free in that cluster");
    for node in [&a, &b, &c, &d] {
        node.sworm("s").await.expect("it opens");
    }
    let ids = |node: &Node| node.members().into_iter().map(|member| member.id.to_string()).collect::<Vec<_>>();
    assert_eq!((ids(&a), ids(&b)), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
    assert_eq!((ids(&c), ids(&d)), (vec!["a".into(), "c".into()], vec!["a".into(), "c".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_networks_are_refused_and_nothing_is_left_on_disk() {
    let network = MemoryNetwork::new();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("never");
    let build = || Node::builder("a").cluster(fresh_cluster()).store(&path).memory_network(&network);
    let all = [build().listen("tcp/127.0.0.1:0"), build().join(["tcp/127.0.0.1:1"]), build().zenoh(Default::default())];
    for builder in all {
        let error = builder.start_node().await.expect_err("two networks");
        assert!(matches!(error, StartError::TwoNetworks), "{error}");
    }
    assert!(!path.exists());
}
