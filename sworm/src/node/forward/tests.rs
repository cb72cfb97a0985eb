use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use serde::{Deserialize, Serialize};

use super::*;
use crate::core::ids::Peer;
use crate::transport::MemoryNetwork;
use crate::{Handler, Node, Ref, RegistrationState, Sworm};

#[derive(crate::Worker, Serialize, Deserialize)]
#[worker(name = "forward.list", crate = crate, handles(Put, All))]
struct List(Vec<u64>);

#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate)]
struct Put(u64);

#[derive(crate::Message, Serialize, Deserialize)]
#[message(reply = Vec<u64>, crate = crate)]
struct All;

impl Handler<Put> for List {
    async fn handle(&mut self, Put(n): Put, _: &mut crate::Context<Self>) {
        self.0.push(n);
    }
}

impl Handler<All> for List {
    async fn handle(&mut self, _: All, _: &mut crate::Context<Self>) -> Vec<u64> {
        self.0.clone()
    }
}

static CLUSTERS: AtomicU64 = AtomicU64::new(0);
const LONG: Duration = Duration::from_secs(60);
/// The epoch of a stay that was long before any that is drawn now.
const BEFORE: Epoch = Epoch { major: 1, minor: 0 };
const AFTER_IT: Epoch = Epoch { major: 2, minor: 0 };

/// Three nodes, and a worker on the first.
struct Nodes {
    network: MemoryNetwork,
    nodes: [Node; 3],
    on: [Sworm; 3],
    list: Ref<List>,
}

impl Nodes {
    async fn start() -> Self {
        let network = MemoryNetwork::new();
        let cluster = format!("forward-{}", CLUSTERS.fetch_add(1, SeqCst));
        let start = async |id: &str| {
            let build = Node::builder(id).cluster(&cluster).in_memory().memory_network(&network);
            let node = build.start().await.expect("starts");
            (node.sworm("s").await.expect("it opens"), node)
        };
        let ((on_a, a), (on_b, b), (on_c, c)) = (start("a").await, start("b").await, start("c").await);
        let running = |on: &Sworm| on.whereis("list").is_some_and(|found| found.state == RegistrationState::Running);
        let list = on_a.register("list", List(Vec::new())).on(a.id()).await.expect("free");
        while !running(&on_b) || on_c.nodes().len() < 3 || on_a.nodes().len() < 3 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Self { network, nodes: [a, b, c], on: [on_a, on_b, on_c], list }
    }

    fn peer(&self, at: usize) -> Peer {
        self.nodes[at].shared().me.clone()
    }

    /// A message of the second node.
    fn message<M: crate::Message>(&self, message: &M, stay: Epoch, call: Option<u64>) -> Call {
        Call {
            sworm: self.on[0].shared.hash,
            from: self.peer(1),
            number: call.unwrap_or_default(),
            name: "list".into(),
            message: M::ID.into(),
            cast: call.is_none(),
            hops: 0,
            stay,
            limit_ms: None,
            alone: false,
            payload: M::CODEC.encode(message).expect("encodes").into(),
        }
    }

    async fn end(self) {
        for node in self.nodes {
            node.close().await.expect("it closes");
        }
    }
}

fn before() -> Addressee {
    Addressee { name: "list".into(), since: BEFORE }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_late_for_an_earlier_stay_waits_for_what_was_passed_on_before_it_and_holds_up_nothing_else() {
    let nodes = Nodes::start().await;
    let shared = &nodes.on[0].shared;
    // Something was passed on to the third node, and is on its way there.
    shared.rooms.passes_to(&before(), Stay { host: nodes.peer(2), since: AFTER_IT });
    nodes.network.hold("a", "c");
    shared.deliver(nodes.message(&Put(1), BEFORE, None));
    shared.deliver(nodes.message(&Put(2), nodes.list.pid().epoch, None));
    assert_eq!(nodes.list.call(All).timeout(LONG).await, Ok(vec![2]), "it is for the stay of now");
    nodes.network.release("a", "c");
    let both = async {
        while nodes.list.call(All).timeout(LONG).await != Ok(vec![2, 1]) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(LONG, both).await.expect("it goes on when that has arrived");
    let here = Stay { host: nodes.peer(0), since: nodes.list.pid().epoch };
    assert_eq!(shared.rooms.passed_to(&before()), Some(here), "what comes next goes behind it");
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_whether_all_has_arrived_is_answered_when_what_was_passed_on_has() {
    let nodes = Nodes::start().await;
    let shared = &nodes.on[0].shared;
    shared.rooms.passes_to(&before(), Stay { host: nodes.peer(2), since: AFTER_IT });
    nodes.network.hold("a", "c");
    let (name, at) = ("list".into(), Stay { host: nodes.peer(0), since: BEFORE });
    let asking = nodes.on[1].shared.clone();
    let mut asked = Box::pin(asking.flush(&name, &at));
    assert!(timeout(Duration::ZERO, &mut asked).await.is_err(), "it is sent");
    // What is asked after it by the same node is answered after it where neither waits.
    let there: Ref<List> = nodes.on[1].whereis_name("list").expect("it runs");
    there.call(All).timeout(LONG).await.expect("it is answered");
    assert!(timeout(Duration::ZERO, &mut asked).await.is_err(), "something is on its way");
    nodes.network.release("a", "c");
    timeout(LONG, asked).await.expect("it is answered then");
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_call_was_told_that_a_stay_is_over_so_are_those_that_come_after_it() {
    let nodes = Nodes::start().await;
    let (to, shared, asking) = (nodes.peer(0), &nodes.on[0].shared, nodes.nodes[1].shared());
    let call = async || {
        let mut waiting = asking.calls.wait(&to, None);
        shared.deliver(nodes.message(&All, BEFORE, Some(waiting.number)));
        timeout(LONG, &mut waiting.reply).await.expect("it is answered").expect("the node runs")
    };
    assert!(matches!(call().await, Replied::Done(_)), "none was refused");
    shared.rooms.refuses(&before());
    assert!(matches!(call().await, Replied::NotHere));
    nodes.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_later_stay_than_is_known_waits_for_the_news_and_one_for_an_earlier_goes_on() {
    let nodes = Nodes::start().await;
    let (shared, now) = (&nodes.on[1].shared, nodes.list.pid().epoch);
    // The second node has heard that the worker is on the first.
    let later = Epoch { major: now.major + 1, minor: 0 };
    shared.deliver(nodes.message(&Put(1), later, None));
    assert!(shared.rooms.is_waited_for(&"list".into(), later), "somebody knows more");
    shared.deliver(nodes.message(&Put(2), BEFORE, None));
    assert!(!shared.rooms.is_waited_for(&"list".into(), BEFORE));
    assert_eq!(shared.rooms.passed_to(&before()), Some(Stay { host: nodes.peer(0), since: now }));
    let both = async {
        while nodes.list.call(All).timeout(LONG).await != Ok(vec![2, 1]) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(LONG, both).await.expect("it goes on where no news come");
    nodes.end().await;
}
