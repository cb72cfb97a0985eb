//! What a node holds in memory for names that run elsewhere, and for workers of its own.
//!
//! Alone in its process: the allocator counts every byte of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use sworm::__private::{decode, encode};
use sworm::Index;
use sworm::core::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use sworm::core::ids::{Birth, Epoch, Incarnation, NodeId, Peer, RequestId};
use sworm::core::lane::Lane;
use sworm::core::message::{Beat, Message, Phase};
use sworm::core::rare::Rare;
use sworm::core::{Config, Core, Effect, Input, Now, Recovered};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Names, each of 16 bytes.
const NAMES: u64 = 100_000;
/// The most that one may take.
const LIMIT: usize = 500;

/// Workers, and the most that one may take on its node: a third of it is its task, and as much what is stated of it there.
const WORKERS: usize = 2_000;
const WORKER_LIMIT: usize = 8_000;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "memory.idle")]
struct Idle {
    number: u64,
}

fn peer(node: &str) -> Peer {
    Peer { node: NodeId::new(node).expect("valid"), incarnation: Incarnation(1) }
}

fn name(n: u64) -> Arc<str> {
    format!("aircraft-{n:07}").into()
}

/// What a node states of a name that runs there: a value of 8 bytes, handoff on, its state saved on two nodes.
fn cell(n: u64, again: bool) -> NameCell {
    let kind = Kind {
        worker_type: "counter".into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: true,
        replicas: 1,
        patient: false,
    };
    let holders = [peer("host").node, peer("here").node];
    let epoch = Epoch { major: (1_700_000_000_000 + n) << 16, minor: u32::from(again) };
    NameCell {
        birth: Birth(epoch.major, 77),
        epoch,
        since: epoch,
        assigned: epoch.major + 1,
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::new(n.to_be_bytes()) }),
        request: RequestId { from: peer("requester"), number: n },
        groups: Rare::default(),
        metadata: Rare::default(),
        attached: false,
        unsaved: false,
        past: Default::default(),
        outdone: Default::default(),
        holders: BTreeSet::from(holders).into(),
        restarts: Rare::default(),
        state: NameState::Running,
    }
}

/// The messages with which the host tells all its names, a hundred at a time; every tenth it tells again. In the order
/// of the names: then trees are as loose as they get.
fn told() -> Vec<Vec<u8>> {
    let mut lane = Lane::default();
    let mut told = Vec::new();
    let mut tell = |numbers: Vec<u64>, again: bool| {
        for numbers in numbers.chunks(100) {
            let max = lane.max();
            for n in numbers {
                lane.put(Key::Name(name(*n)), Value::Name(Arc::new(cell(*n, again))));
            }
            told.push(encode(&Message::Delta(lane.delta(&peer("host"), max))).expect("plain data"));
        }
    };
    tell((0..NAMES).collect(), false);
    tell((0..NAMES).step_by(10).collect(), true);
    told
}

/// A node beside the host, as far as it holds names: its core, and the index that look-ups read.
struct Here {
    core: Core,
    index: Index,
    now: Now,
}

impl Here {
    /// It has the host in view.
    fn new() -> Self {
        let config = Config {
            majority: None,
            sworm: "s".into(),
            me: peer("here"),
            agreed: "same".into(),
            unusual: None,
            hosts: BTreeMap::from([("counter".into(), 1)]),
            interval_ms: 200,
            grace_ms: 5_000,
            recover_wait_ms: 5_000,
            ack_in_memory: false,
            state_wait_ms: None,
            part_bytes: sworm::core::transfer::PART_BYTES,
            chunk_bytes: sworm::core::chunks::CHUNK_BYTES,
            restart: BTreeMap::new(),
            strategies: Default::default(),
            profile: Default::default(),
            rebalance: Default::default(),
        };
        let now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000, random: 7 };
        let core = Core::new(config, Recovered::default(), now);
        let mut here = Self { core, index: Index::default(), now };
        here.takes(Input::Present { peer: peer("host"), profile: Default::default() });
        let beat = Beat {
            counter: 1,
            phase: Phase::Up,
            view: 1,
            changes: 1,
            seen: 1,
            max: 0,
            durable: 0,
            heard: 0,
            holds: 1,
            time: 0,
        };
        here.takes(Input::Message { from: peer("host"), message: Box::new(Message::Beat(beat)) });
        here
    }

    fn takes(&mut self, input: Input) {
        self.core.handle(self.now, input);
        for effect in self.core.flush(self.now) {
            if let Effect::Index { name, entry } = effect {
                self.index.set(&name, entry);
            }
        }
    }

    fn hears(&mut self, bytes: &[u8]) {
        let message: Message = decode(bytes).expect("what was encoded decodes");
        self.takes(Input::Message { from: peer("host"), message: Box::new(message) });
    }
}

/// The bytes per name of a node that has heard all that.
fn held(told: &[Vec<u8>]) -> usize {
    let mut here = Here::new();
    let before = HEAP.current_usage();
    for bytes in told {
        here.hears(bytes);
    }
    let held = HEAP.current_usage() - before;
    for n in [0, 1, NAMES / 2, NAMES - 1] {
        let entry = here.index.get(&name(n)).expect("it was told");
        assert!(entry.running && entry.host == peer("host") && entry.cell.request.number == n, "{entry:?}");
    }
    held / usize::try_from(NAMES).expect("small")
}

/// The bytes per worker of a node that runs all of them, in memory and alone.
async fn run_here() -> usize {
    let node =
        Node::builder("here").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let register = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            let worker = Idle { number: number as u64 };
            sworm.register_name(format!("idle-{number:011}"), worker).await.expect("free");
        }
    };
    // What grows with the first of them does not count.
    register(0..WORKERS).await;
    let before = HEAP.current_usage();
    register(WORKERS..2 * WORKERS).await;
    let held = HEAP.current_usage() - before;
    node.close().await.expect("it closes");
    held / WORKERS
}

// One test: no other allocates beside it.
#[test]
#[expect(clippy::print_stdout, reason = "the harness shows it on demand: `--nocapture`")]
fn a_remote_name_takes_at_most_500_bytes_and_a_worker_at_most_8_kilobytes() {
    let bytes = held(&told());
    println!("{bytes} bytes per name");
    assert!(bytes <= LIMIT, "{bytes} bytes per name");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bytes = runtime.block_on(run_here());
    println!("{bytes} bytes per worker");
    assert!(bytes <= WORKER_LIMIT, "{bytes} bytes per worker");
}
