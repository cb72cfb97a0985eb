//! Nodes, machines, links, and the order in which everything happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;

use sworm::Drained;
use sworm::core::ids::Peer;
use sworm::core::message::{Answer, Ask};
use sworm::core::{Input, Notice};
use sworm::store::Ticket;
use xxhash_rust::xxh3::Xxh3;

use super::kinds;
use super::laws::Laws;
use super::links::Links;
use super::node::{Clock, Machine, Node};
use super::options::Options;

mod machines;
mod requests;
mod seen;
mod time;
mod workers;

pub use machines::Image;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Bytes arrive.
    Arrives { from: Peer, to: Peer, bytes: Bytes },
    /// Look whether a link came or went.
    CheckLink { a: String, b: String },
    /// A liveliness token came or went.
    Link { at: Peer, peer: Peer, up: bool },
    /// A dial has ended.
    Dialled { at: Peer, peer: Peer, refused: bool },
    /// An endpoint that was looked for answered, or did not.
    Seed { at: Peer, endpoint: String, answered: bool },
    /// A worker, or a read of the disk, tells its core something.
    Tells { at: Peer, input: Input },
    /// A sync has ended.
    Synced { at: Peer, number: u64, ticket: Ticket },
    /// Time passes.
    Wake { at: Peer },
    /// What a node has stated is published, if it was not yet.
    Publishes { at: Peer },
    /// A process goes on.
    Resumes { node: String },
    /// A process that has left ends.
    Ends { at: Peer },
    /// A process is killed.
    Dies { node: String },
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asked.
    pub on: String,
    /// For what.
    pub ask: Ask,
    /// Until when it must have ended, with some slack.
    pub(super) until_ms: u64,
    /// The answer; `Some(None)` when its time was over, or its node ended.
    pub answer: Option<Option<Answer>>,
}

/// The cluster.
pub struct World {
    pub(super) options: Options,
    pub(super) now_ms: u64,
    pub(super) rng: Rng,
    /// Draws which groups are joined and left, so that all else is drawn as without them.
    groups_rng: Rng,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) machines: BTreeMap<String, Machine>,
    pub(super) links: Links,
    events: BTreeMap<(u64, u64), Event>,
    pushed: u64,
    /// All requests so far.
    pub asked: BTreeMap<u64, Asked>,
    pub(super) laws: Laws,
    /// Messages that were sent.
    pub messages: u64,
    /// The largest frame, in bytes.
    pub largest: usize,
    /// Those that were no heartbeats, while somebody looks.
    pub(super) others: Option<Vec<String>>,
    /// Frames that were refused.
    pub refused: u64,
    /// The names whose starts are slow.
    pub slow: BTreeSet<Arc<str>>,
    /// How long a slow start takes.
    pub slow_ms: u64,
    /// Names whose workers fail to start.
    pub broken: BTreeSet<Arc<str>>,
    /// Nodes on which all workers do.
    pub broken_on: BTreeSet<String>,
    /// Whether workers' states are handed over.
    pub handoff: bool,
    /// The version of the worker type that registrations speak of.
    pub version: u32,
    /// Where a process dies.
    pub(super) trap: Option<super::trap::Trap>,
    /// Whether what was registered with an older version than its node links is replaced at its start.
    pub renews: bool,
    /// What came of emptying nodes.
    pub drained: Vec<Drained>,
    /// What was told so far, and where.
    pub told: Vec<(String, Notice)>,
    /// The counts of states that workers were given since they lacked them.
    pub given: Vec<(String, u64)>,
    /// Whether the next of them is not given, as where its task sees no majority.
    pub withholds: bool,
    digest: Xxh3,
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    /// Machines of which none runs yet.
    pub fn new(options: Options, traced: bool) -> Self {
        let mut rng = Rng::with_seed(options.seed);
        let machines = (0..options.nodes).map(|n| {
            let ahead_ms = rng.u64(0..=options.clock_apart_ms);
            let clock = Clock { ahead_ms, faster_ppm: rng.u64(0..=options.drift_ppm) };
            (node_name(n), Machine { clock, opens: true, types: kinds::types(&options), ..Machine::default() })
        });
        let machines = machines.collect();
        Self {
            now_ms: 1_000,
            rng,
            groups_rng: Rng::with_seed(options.seed ^ 0x4772_6f75_7073),
            nodes: BTreeMap::new(),
            machines,
            links: Links::default(),
            events: BTreeMap::new(),
            pushed: 0,
            asked: BTreeMap::new(),
            laws: Laws::default(),
            messages: 0,
            largest: 0,
            others: None,
            refused: 0,
            slow: BTreeSet::new(),
            slow_ms: 3_000,
            broken: BTreeSet::new(),
            broken_on: BTreeSet::new(),
            handoff: true,
            trap: None,
            version: 1,
            renews: false,
            drained: Vec::new(),
            told: Vec::new(),
            given: Vec::new(),
            withholds: false,
            digest: Xxh3::new(),
            trace: traced.then(Vec::new),
            options,
        }
    }

    /// A cluster without faults in which so many nodes run: `n1`, `n2` and so on.
    pub fn calm(nodes: usize) -> Self {
        Self::under(Options { nodes, ..Options::none() })
    }

    /// The same in mode "majority", with all of them as voters.
    pub fn voting(nodes: usize) -> Self {
        Self::under(Options { nodes, majority: true, ..Options::none() })
    }

    /// A cluster whose nodes all run and have met.
    pub fn under(options: Options) -> Self {
        let mut world = Self::new(options, false);
        for n in 0..world.options.nodes {
            world.start(&node_name(n));
        }
        world.run_until("the nodes meet", |world| world.nodes.values().all(|node| node.core.settled()));
        world
    }

    /// The time.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What was done and seen so far, in a number.
    pub fn digest(&self) -> u64 {
        self.digest.digest()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.now_ms, what()));
        }
    }

    pub(super) fn push(&mut self, delay: u64, event: Event) {
        self.pushed += 1;
        self.events.insert((self.now_ms + delay, self.pushed), event);
    }

    pub(super) fn tell(&mut self, delay: u64, at: &Peer, input: Input) {
        self.push(delay, Event::Tells { at: at.clone(), input });
    }

    /// From now on messages take so long at most.
    pub fn delay(&mut self, ms: u64) {
        self.options.delay_ms = ms;
    }

    pub(super) fn fold(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }
}

/// The name of the n-th node.
pub(super) fn node_name(n: usize) -> String {
    format!("n{}", n + 1)
}
