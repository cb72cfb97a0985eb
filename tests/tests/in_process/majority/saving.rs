//! A state that is being saved when the majority is lost, or is to be saved then: its worker is parked with it.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::Space;
use sworm::transport::MemoryNetwork;
use sworm::{CallError, Event, Events, Exit};
use sworm_tests::{FaultyStore, eventually};
use tokio::sync::Semaphore;

use super::{LONG, spec};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-saved", handles(Add, AddLater), snapshot = "each", lifecycle, distribution = "local-first")]
struct Saved {
    total: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "majority-saved-add")]
struct Add(u32);

/// Adds when it may.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "majority-saved-add-later")]
struct AddLater(u32);

static HELD: Semaphore = Semaphore::const_new(0);
static MAY_END: Semaphore = Semaphore::const_new(0);

/// Which workers were stopped, and why.
static STOPPED: Mutex<Vec<(Pid, Exit)>> = Mutex::new(Vec::new());

impl Lifecycle for Saved {
    async fn stopping(&mut self, ctx: &mut Context<Self>) {
        let why = ctx.exit().cloned().expect("it is told why");
        STOPPED.lock().expect("nobody panics with it").push((ctx.pid().clone(), why));
    }
}

impl Handler<Add> for Saved {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
        self.total += n;
        self.total
    }
}

impl Handler<AddLater> for Saved {
    async fn handle(&mut self, AddLater(n): AddLater, _: &mut Context<Self>) -> u32 {
        HELD.add_permits(1);
        MAY_END.acquire().await.expect("it is open").forget();
        self.total += n;
        self.total
    }
}

const PAIRS: [(&str, &str); 3] = [("a", "b"), ("a", "c"), ("b", "c")];

/// Three voters, of which c runs a worker with a total of five.
struct Cluster {
    network: MemoryNetwork,
    _nodes: Vec<Node>,
    sworms: Vec<Sworm>,
    /// That of c.
    store: Arc<FaultyStore>,
    worker: Ref<Saved>,
    pid: Pid,
    events: Vec<Events>,
}

impl Cluster {
    async fn start() -> Self {
        let network = MemoryNetwork::new();
        let (mut nodes, mut sworms, store) = (Vec::new(), Vec::new(), FaultyStore::new());
        for id in ["a", "b", "c"] {
            let builder = Node::builder(id).memory_network(&network);
            let builder = if id == "c" { builder.store_with(store.clone()) } else { builder.in_memory() };
            let node = builder.start().await.expect("it starts");
            sworms.push(node.sworm(spec(3)).await.expect("it opens"));
            nodes.push(node);
        }
        for sworm in &sworms {
            eventually("the voters", || async { sworm.voters().await.expect("it runs").map(drop) }).await;
        }
        let found = || async { sworms[2].whereis_or_register_name("alice", Saved::default).await.ok() };
        let worker = eventually("its registration", found).await;
        let pid = worker.pid();
        assert_eq!(pid.node, *nodes[2].id());
        assert_eq!(worker.call(Add(5)).timeout(LONG).await, Ok(5));
        let events = sworms.iter().map(Sworm::events).collect();
        Self { network, _nodes: nodes, sworms, store, worker, pid, events }
    }

    /// Nobody has a majority.
    fn cut(&self) {
        PAIRS.iter().for_each(|(one, other)| self.network.cut(one, other));
    }

    /// The worker is parked, and no state of it is said to be lost; it goes on with this total when there is a majority again.
    async fn parks_and_goes_on(mut self, total: u32) {
        loop {
            match self.events[2].next().await.expect("it runs") {
                Event::Parked { pid } if pid == self.pid => break,
                told @ (Event::SnapshotFailed { .. } | Event::Exited { .. }) => panic!("{told:?}"),
                _ => {}
            }
        }
        let stopped = STOPPED.lock().expect("nobody panics with it").clone();
        let whys: Vec<_> = stopped.into_iter().filter(|(pid, _)| *pid == self.pid).map(|(_, why)| why).collect();
        assert_eq!(whys, [Exit::MajorityLost]);
        self.store.hold(false);
        PAIRS.iter().for_each(|(one, other)| self.network.heal(one, other));
        let worker = &self.worker;
        let now = eventually("the next one", || async { worker.call(Add(0)).timeout(LONG).await.ok() }).await;
        assert_eq!(now, total);
        // Who is told of this has been told of all before.
        let on_c = &self.sworms[2];
        eventually("a name", || async { on_c.whereis_or_register_name("bob", Saved::default).await.ok() }).await;
        for events in &mut self.events {
            loop {
                match events.next().await.expect("it runs") {
                    Event::Registered { pid, .. } if &*pid.name == "bob" => break,
                    told @ Event::RestoredOlder { .. } => panic!("{told:?}"),
                    _ => {}
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_is_being_saved_when_the_majority_is_lost_is_parked_with_it() {
    let cluster = Cluster::start().await;
    // No disk says that it has the next one.
    cluster.store.hold(true);
    let written = cluster.store.puts(Space::Snapshots);
    let worker = cluster.worker.clone();
    let call = tokio::spawn(async move { worker.call(Add(1)).timeout(LONG).await });
    eventually("its state", || async { (cluster.store.puts(Space::Snapshots) > written).then_some(()) }).await;
    cluster.cut();
    assert_eq!(call.await.expect("it does not panic"), Err(CallError::MajorityLost));
    cluster.parks_and_goes_on(6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_state_is_to_be_saved_when_the_majority_was_lost_is_parked_with_it() {
    let mut cluster = Cluster::start().await;
    let worker = cluster.worker.clone();
    let call = tokio::spawn(async move { worker.call(AddLater(1)).timeout(LONG).await });
    HELD.acquire().await.expect("it is open").forget();
    cluster.cut();
    while cluster.events[2].next().await != Some(Event::MajorityLost) {}
    MAY_END.add_permits(1);
    assert_eq!(call.await.expect("it does not panic"), Err(CallError::MajorityLost));
    cluster.parks_and_goes_on(6).await;
}
