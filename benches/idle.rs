//! What names cost when nothing happens: memory, messages and time. Prints a table and writes
//! `target/sworm-bench-idle.json`.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::Table;
use futures_util::future::try_join_all;
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use sworm::core::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use sworm::core::ids::{Birth, Epoch, Incarnation, Peer, RequestId};
use sworm::core::lane::Lane;
use sworm::core::message::{Beat, Grant, Message, Phase};
use sworm::core::rare::Rare;
use sworm::core::{Config, Core, Effect, Input, Now, Recovered};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[derive(Parser)]
struct Options {
    /// A fiftieth of the names.
    #[arg(long)]
    quick: bool,
}

#[derive(Serialize)]
struct Row {
    bench: &'static str,
    size: usize,
    metric: &'static str,
    value: f64,
    unit: &'static str,
}

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bench-idler", handoff)]
struct Idler {
    value: u64,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Cargo passes `--bench`, which is no option of ours.
    let options = Options::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let part = if options.quick { 50 } else { 1 };
    let names = 100_000 / part;
    let mut rows = links(&[0, names]).await?;
    rows.push(memory(names).await?);
    for (remote, local) in [(0, 0), (names, 30_000 / part)] {
        rows.push(tick(remote, local)?);
    }
    report(&rows)
}

async fn start(id: &str, network: &MemoryNetwork) -> sworm::Result<(Node, Sworm)> {
    let node = Node::builder(id).cluster("bench-idle").in_memory().memory_network(network).start().await?;
    let sworm = node.sworm("bench").await?;
    Ok((node, sworm))
}

/// Names of 16 bytes.
async fn register(sworm: &Sworm, names: usize) -> Result<(), Failure> {
    for first in (0..names).step_by(200) {
        let some = first..names.min(first + 200);
        try_join_all(some.map(|n| sworm.register_name(format!("aircraft-{n:07}"), Idler::default()))).await?;
    }
    Ok(())
}

/// The bytes and messages per interval that one node sends to another at rest.
async fn links(sizes: &[usize]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for size in sizes {
        let network = MemoryNetwork::new();
        let ((a, sworm), (b, other)) = (start("a", &network).await?, start("b", &network).await?);
        register(&sworm, *size).await?;
        while other.registered().len() < *size {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (before, started) = (network.traffic("a", "b"), Instant::now());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let (after, intervals) = (network.traffic("a", "b"), started.elapsed().as_secs_f64() / 0.2);
        let row = |metric, value: u64, unit| Row {
            bench: "link",
            size: *size,
            metric,
            value: value as f64 / intervals,
            unit,
        };
        rows.push(row("messages per interval of 200 ms", after.messages - before.messages, ""));
        rows.push(row("bytes per interval of 200 ms", after.bytes - before.bytes, "B"));
        a.close().await?;
        b.close().await?;
    }
    Ok(rows)
}

/// All that a node without a disk takes for the names of another one, its store included.
async fn memory(names: usize) -> Result<Row, Failure> {
    let network = MemoryNetwork::new();
    let (a, sworm) = start("a", &network).await?;
    register(&sworm, names).await?;
    let before = heap_at_rest(names).await;
    let (b, other) = start("b", &network).await?;
    while other.registered().len() < names {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let value = (heap_at_rest(names).await - before) as f64 / names as f64;
    a.close().await?;
    b.close().await?;
    Ok(Row { bench: "memory", size: names, metric: "heap per remote name, store in memory", value, unit: "B" })
}

/// The heap when it does not change any more by as much as a byte per name.
async fn heap_at_rest(names: usize) -> usize {
    let mut heap = HEAP.current_usage();
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        let before = std::mem::replace(&mut heap, HEAP.current_usage());
        if heap.abs_diff(before) < names {
            return heap;
        }
    }
}

fn peer(id: &str) -> Peer {
    Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(1) }
}

fn cell(n: usize, state: NameState) -> NameCell {
    let kind = Kind {
        worker_type: "bench-idler".into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: true,
        replicas: 1,
    };
    let epoch = Epoch { major: n as u64 + 1, minor: 0 };
    NameCell {
        birth: Birth(epoch.major, 1),
        epoch,
        since: epoch,
        assigned: epoch.major,
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::new([0; 8]) }),
        request: RequestId { from: peer("there"), number: n as u64 },
        groups: Rare::default(),
        metadata: Rare::default(),
        attached: false,
        past: Default::default(),
        holders: Rare::default(),
        restarts: Rare::default(),
        state,
    }
}

/// A core that hears another one's heartbeats.
struct Pair {
    core: Core,
    now: Now,
    /// The newest heartbeat of the core.
    beat: Option<Beat>,
}

impl Pair {
    fn new() -> Self {
        let config = Config {
            majority: None,
            sworm: "bench".into(),
            me: peer("here"),
            agreed: "same".into(),
            hosts: BTreeMap::from([("bench-idler".into(), 1)]),
            interval_ms: 200,
            grace_ms: 5_000,
            recover_wait_ms: 0,
            ack_in_memory: false,
            state_wait_ms: Some(0),
            patient: Default::default(),
            part_bytes: sworm::core::transfer::PART_BYTES,
            restart: BTreeMap::new(),
            strategies: Default::default(),
            profile: Default::default(),
            rebalance: Default::default(),
        };
        let now = Now { mono_ms: 1_000, unix_ms: 1_700_000_000_000, random: 7 };
        Self { core: Core::new(config, Recovered::default(), now), now, beat: None }
    }

    /// One input with all that follows from it, with a disk that is done at once and workers that start at once.
    fn takes(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            self.core.handle(self.now, input);
            for effect in self.core.flush(self.now) {
                match effect {
                    Effect::Sync(number) => inputs.push(Input::Durable(number)),
                    Effect::Start { name, since, .. } => inputs.push(Input::Started { name, since, result: Ok(()) }),
                    Effect::Broadcast(message) => {
                        if let Message::Beat(beat) = *message {
                            self.beat = Some(beat);
                        }
                    }
                    other => drop(black_box(other)),
                }
            }
        }
    }

    fn hears(&mut self, message: Message) {
        self.takes(Input::Message { from: peer("there"), message: Box::new(message) });
    }

    /// 50 ms pass; the other one agrees with everything.
    fn tick(&mut self) {
        self.now.mono_ms += 50;
        self.now.unix_ms += 50;
        self.takes(Input::Tick);
        if let Some(beat) = self.beat.take() {
            self.hears(Message::Beat(Beat { durable: 0, max: 0, phase: Phase::Up, ..beat }));
        }
    }
}

/// The time per tick of a core at rest that has so many names.
fn tick(remote: usize, local: usize) -> Result<Row, Failure> {
    let mut pair = Pair::new();
    pair.takes(Input::Introduced);
    pair.takes(Input::Present { peer: peer("there"), profile: Default::default() });
    let first =
        Beat { counter: 0, phase: Phase::Up, view: 0, changes: 0, max: 0, durable: 0, heard: 0, holds: 0, time: 0 };
    pair.hears(Message::Beat(first));
    let mut lane = Lane::default();
    for n in 0..remote {
        let key = Key::Name(format!("aircraft-{n:07}").into());
        lane.put(key, Value::Name(Arc::new(cell(n, NameState::Running))));
    }
    pair.hears(Message::Delta(lane.delta(&peer("there"), 0)));
    for _ in 0..200 {
        pair.tick();
    }
    let view = loop {
        pair.now.mono_ms += 50;
        pair.takes(Input::Tick);
        if let Some(beat) = pair.beat.take() {
            break beat.view;
        }
    };
    for n in 0..local {
        let (name, cell) = (format!("here-{n:011}").into(), cell(n, NameState::Starting));
        pair.hears(Message::Grant(Box::new(Grant { name, view, cell, adoption: false })));
    }
    for _ in 0..200 {
        pair.tick();
    }
    let held = pair.core.whole_lane(&peer("here")).map_or(0, |lane| lane.cells.len());
    if held < local {
        return Err(format!("only {held} of {local} names run").into());
    }
    let started = Instant::now();
    for _ in 0..200 {
        pair.tick();
    }
    let value = started.elapsed().as_secs_f64() * 1e6 / 200.0;
    Ok(Row { bench: "tick", size: remote + local, metric: "core's time per tick of 50 ms", value, unit: "us" })
}

fn report(rows: &[Row]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.set_header(["bench", "names", "metric", "value"]);
    for row in rows {
        let value = format!("{:.2} {}", row.value, row.unit);
        table.add_row([row.bench.to_owned(), row.size.to_string(), row.metric.to_owned(), value]);
    }
    println!("{table}");
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    std::fs::write(format!("{target}/sworm-bench-idle.json"), serde_json::to_string_pretty(rows)?)?;
    Ok(())
}
