//! Messages go to nodes: however many workers there are, no key expression is one's own. Somebody who hears all looks on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use zenoh::Session;
use zenoh::query::{ConsolidationMode, QueryTarget};

use super::*;
use crate::{GroupError, Handler, Node};

#[derive(crate::Worker, Serialize, Deserialize)]
#[worker(name = "way.keyless", crate = crate, handles(Say))]
struct Keyless;

#[derive(crate::Message, Serialize, Deserialize)]
#[message(reply = u64, crate = crate)]
struct Say(u64);

impl Handler<Say> for Keyless {
    async fn handle(&mut self, Say(n): Say, _: &mut crate::Context<Self>) -> u64 {
        n
    }
}

const LONG: Duration = Duration::from_secs(60);
const MANY: u64 = 500;

/// What goes over the links of a cluster, as far as it has a key expression.
struct OnLooker {
    session: Session,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    keys: Mutex<BTreeSet<String>>,
    count: AtomicU64,
}

impl Seen {
    fn keys(&self) -> BTreeSet<String> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl OnLooker {
    async fn of(nodes: [&Node; 2]) -> Self {
        let mut config = zenoh::Config::default();
        let endpoints = nodes.map(|node| format!("\"{}\"", node.endpoints()[0])).join(",");
        for (key, value) in [
            ("mode", "\"peer\"".to_owned()),
            ("scouting/multicast/enabled", "false".into()),
            ("listen/endpoints", "[]".into()),
            ("connect/endpoints", format!("[{endpoints}]")),
        ] {
            config.insert_json5(key, &value).expect("valid");
        }
        let (session, seen) = (zenoh::open(config).await.expect("it opens"), Arc::new(Seen::default()));
        let sees = seen.clone();
        let subscriber = session.declare_subscriber("**").callback(move |sample| {
            sees.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(sample.key_expr().to_string());
            sees.count.fetch_add(1, Relaxed);
        });
        subscriber.background().await.expect("it subscribes");
        Self { session, seen }
    }

    /// The keys of what was put and of the signs of life, and how many queryables there are.
    async fn keys(&self) -> (BTreeSet<String>, BTreeSet<String>, usize) {
        let (mut signs, mut answers) = (BTreeSet::new(), 0);
        let asked = self.session.liveliness().get("**").timeout(LONG).await.expect("it asks");
        while let Ok(reply) = asked.recv_async().await {
            signs.extend(reply.result().map(|sample| sample.key_expr().to_string()));
        }
        let asking = self.session.get("**").consolidation(ConsolidationMode::None).target(QueryTarget::All);
        let asked = asking.timeout(LONG).await.expect("it asks");
        while let Ok(reply) = asked.recv_async().await {
            answers += usize::from(reply.result().is_ok());
        }
        (self.seen.keys(), signs, answers)
    }
}

fn sent(nodes: [&Node; 2]) -> u64 {
    let packets = |node: &Node| node.shared().transport().and_then(|transport| transport.packets_sent());
    nodes.map(|node| packets(node).expect("it counts them")).into_iter().sum()
}

/// Workers with these numbers on b are called, cast to and members of a group that is called, all by a.
async fn messages_to(numbers: std::ops::Range<u64>, on_a: &Sworm, b: &Node) {
    let each = numbers.map(|n| async move {
        let worker = on_a.register(format!("x-{n}"), Keyless).on(b.id()).timeout(LONG).await.expect("free");
        worker.cast(Say(n)).await.expect("it is on its way");
        assert_eq!(worker.call(Say(n)).timeout(LONG).await, Ok(n));
        while let Err(error) = on_a.join("all", &worker).await {
            // It may not be known here yet.
            assert!(matches!(error, GroupError::Timeout { .. } | GroupError::NotRegistered { .. }), "{error}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    join_all(each).await;
    let all = on_a.multi_call("all", Say(0)).timeout(LONG).await;
    assert!(!all.is_empty() && all.iter().all(|(_, reply)| *reply == Ok(0)), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_to_one_worker_and_to_500_have_the_same_key_expressions() {
    let cluster = format!("keys-{}", std::process::id());
    let build = |id: &str| Node::builder(id).cluster(&cluster).listen("tcp/127.0.0.1:0").in_memory();
    let a = build("a").start().await.expect("it starts");
    let b = build("b").join(a.endpoints()).start().await.expect("it starts");
    let (on_a, on_b) = (a.sworm("s").await.expect("it opens"), b.sworm("s").await.expect("it opens"));
    let until = Instant::now() + LONG;
    while on_a.nodes().len() < 2 || on_b.nodes().len() < 2 {
        assert!(Instant::now() < until, "they see each other");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let onlooker = OnLooker::of([&a, &b]).await;
    let expect = |count: u64| {
        let (seen, nodes) = (onlooker.seen.clone(), [&a, &b]);
        async move {
            let until = Instant::now() + LONG;
            // Heartbeats go on all the time; some of them may be dropped on the way to who only looks on.
            while seen.keys().len() < 2 || seen.count.load(Relaxed) < count {
                assert!(Instant::now() < until, "{:?} of {} packets", seen.keys(), sent(nodes));
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    };
    messages_to(0..1, &on_a, &b).await;
    expect(2).await;
    let until = Instant::now() + LONG;
    let few = loop {
        let few = onlooker.keys().await;
        if (few.0.len(), few.1.len(), few.2) == (2, 2, 2) {
            break few;
        }
        assert!(Instant::now() < until, "there is more than one of each node: {few:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    let (seen, before) = (onlooker.seen.count.load(Relaxed), sent([&a, &b]));
    messages_to(1..MANY, &on_a, &b).await;
    expect(seen + (sent([&a, &b]) - before) / 2).await;
    let until = Instant::now() + LONG;
    loop {
        let many = onlooker.keys().await;
        // A key that was seen stays seen; signs and answers may be missing where the machine is busy.
        assert_eq!(many.0, few.0);
        if many == few {
            break;
        }
        assert!(Instant::now() < until, "{many:?} and not {few:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    for node in [a, b] {
        node.close().await.expect("it closes");
    }
}
