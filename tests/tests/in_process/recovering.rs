//! Whom a node waits for that starts where others were before.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, StartError};
use sworm_tests::eventually;

use super::{in_its_directory, running};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "tally", handles(Count), snapshot = "each")]
struct Tally {
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "tally-count", reply = u32)]
struct Count;

impl Handler<Count> for Tally {
    async fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
        self.count += 1;
        self.count
    }
}

const LONG: Duration = Duration::from_secs(3_600);

async fn started(network: &MemoryNetwork, directory: &Path, id: &str, wait: Duration) -> (Node, Sworm) {
    let build = || Node::builder(id).store(directory.join(id)).memory_network(network).recover_wait(wait);
    let node = in_its_directory(build).await;
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_waits_as_long_as_it_is_told_for_those_that_were_there_before() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let wait = Duration::from_secs(100_000);
    let never = Node::builder("a").in_memory().memory_network(&network).recover_wait(wait).start().await;
    assert!(matches!(never, Err(Error::Start(StartError::BadRecoverWait { wait: told })) if told == wait));

    let start = |id, wait| started(&network, directory.path(), id, wait);
    let (a, b) = (start("a", LONG).await, start("b", LONG).await);
    eventually("the other", || async { (a.1.nodes().len() == 2).then_some(()) }).await;
    let worker = a.1.register("x", Tally::default()).on(b.0.id()).await.expect("free");
    assert_eq!(worker.call(Count).await, Ok(1));
    drop((worker, a, b));

    let a = start("a", LONG).await;
    let soon = Duration::from_millis(300);
    let refused = a.1.register("y", Tally::default()).timeout(soon).await;
    assert_eq!(refused.err(), Some(RegisterError::Timeout { after: soon }), "b may have it");
    let found = a.1.whereis("x").expect("a knows of it");
    assert_eq!(found.state, RegistrationState::Recovering);
    let b = start("b", LONG).await;
    running(&a.1, "x").await;
    assert_eq!(a.1.whereis_name::<Tally>("x").expect("it runs").call(Count).await, Ok(2));
    drop((a, b));

    // It has a copy.
    let (_a, on_a) = start("a", Duration::ZERO).await;
    assert_eq!(on_a.whereis_name::<Tally>("x").expect("a knows of it").call(Count).await, Ok(3));
}

/// A list that is merged with what others had.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "merged-list", handles(Put), snapshot = "each", lifecycle)]
struct List {
    lines: BTreeSet<String>,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "merged-list-put", reply = BTreeSet<String>)]
struct Put(String);

impl Handler<Put> for List {
    async fn handle(&mut self, Put(line): Put, _: &mut Context<Self>) -> BTreeSet<String> {
        self.lines.insert(line);
        self.lines.clone()
    }
}

impl Lifecycle for List {
    async fn on_diverged(&mut self, other: Self, _: &mut Context<Self>) {
        self.lines.extend(other.lines);
    }
}

async fn lines(sworm: &Sworm, line: &str) -> Vec<String> {
    let list = sworm.whereis_name::<List>("list").expect("it is there");
    list.call(Put(line.into())).await.expect("it runs").into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_node_had_is_given_to_a_worker_that_the_first_one_back_has_started_without_it() {
    let (network, directory) = (MemoryNetwork::new(), tempfile::tempdir().expect("a directory"));
    let start = async |id: &str| {
        let build = || Node::builder(id).store(directory.path().join(id)).memory_network(&network);
        let node = in_its_directory(|| build().recover_wait(Duration::ZERO)).await;
        let sworm = node.sworm(SwormSpec::new("s").state_wait(Duration::ZERO)).await.expect("it opens");
        (node, sworm)
    };
    let (a, b) = (start("a").await, start("b").await);
    eventually("the other", || async { (a.1.nodes().len() == 2).then_some(()) }).await;
    a.1.register("list", List::default()).on(a.0.id()).await.expect("free");
    assert_eq!(lines(&a.1, "both").await, ["both"]);
    a.0.leave().await.expect("b takes over");
    assert_eq!(lines(&b.1, "b alone").await, ["b alone", "both"]);
    b.0.leave().await.expect("it parks");

    let a = start("a").await;
    let mut events = a.1.events();
    let of_a = lines(&a.1, "a alone").await;
    assert!(of_a.contains(&"a alone".into()) && !of_a.contains(&"b alone".into()), "{of_a:?}");
    let b = start("b").await;
    let told = async {
        loop {
            if let Event::StateDiverged { pid, node, .. } = events.next().await.expect("a runs") {
                return (pid.node, node);
            }
        }
    };
    assert_eq!(told.await, (a.0.id().clone(), b.0.id().clone()));
    eventually("both states in one", || async {
        let merged = lines(&b.1, "after").await;
        (merged == ["a alone", "after", "b alone", "both"]).then_some(())
    })
    .await;
}
