//! The time that a core takes when nothing happens, in one thread, without a network and a disk.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sworm::core::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use sworm::core::ids::{Birth, Epoch, Incarnation, Peer, RequestId};
use sworm::core::lane::Lane;
use sworm::core::message::{Beat, Grant, Message, Phase};
use sworm::core::rare::Rare;
use sworm::core::{Config, Core, Effect, Input, Now, Recovered};
use sworm::{BoxError, NodeId};

use super::Run;
use crate::report::Row;

pub(super) const NAME: &str = "tick";

pub(super) fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let (remote, local) = run.of((200, 60), (2_000, 600), (100_000, 30_000));
    let (without, with) = (tick(0, 0)?, tick(remote, local)?);
    let baseline = ("the same without names", without);
    rows.push(Row::new(NAME, remote + local, "core's time per tick of 50 ms", (with, "us"), baseline));
    Ok(())
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
        patient: false,
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
        unsaved: false,
        past: Default::default(),
        outdone: Default::default(),
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
            unusual: None,
            hosts: BTreeMap::from([("bench-idler".into(), 1)]),
            interval_ms: 200,
            grace_ms: 5_000,
            recover_wait_ms: 0,
            ack_in_memory: false,
            state_wait_ms: Some(0),
            part_bytes: sworm::core::transfer::PART_BYTES,
            chunk_bytes: sworm::core::chunks::CHUNK_BYTES,
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

/// The microseconds per tick of a core at rest that has so many names.
fn tick(remote: usize, local: usize) -> Result<f64, BoxError> {
    let mut pair = Pair::new();
    pair.takes(Input::Introduced);
    pair.takes(Input::Present { peer: peer("there"), profile: Default::default() });
    let first = Beat {
        counter: 0,
        phase: Phase::Up,
        view: 0,
        changes: 0,
        seen: 0,
        max: 0,
        durable: 0,
        heard: 0,
        holds: 0,
        time: 0,
    };
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
            break beat.view.wrapping_add(beat.seen);
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
    Ok(started.elapsed().as_secs_f64() * 1e6 / 200.0)
}
