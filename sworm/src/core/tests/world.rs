//! Cores, links, stores and workers of a simulated cluster.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::core::cell::{Revision, Spec};
use crate::core::directory::Standing;
use crate::core::ids::{Epoch, Incarnation, LaneId, NodeId, Peer};
use crate::core::lane::Lane;
use crate::core::message::{Answer, Ask, Message, Registering, Snapshot};
use crate::core::snapshots::Stored;
use crate::core::{Config, Core, Effect, Entry, Input, Now, Recovered};
use crate::plugin::Strategies;
use crate::strategy::{Exit, Restart, Transient};

/// What a disk keeps.
#[derive(Clone, Default)]
struct Disk {
    lanes: BTreeMap<LaneId, Lane>,
    ended: BTreeMap<NodeId, Incarnation>,
    dropped: BTreeMap<NodeId, Incarnation>,
    snapshots: BTreeMap<Arc<str>, Snapshot>,
}

/// A simulated worker: a number that it counts up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) since: Epoch,
    pub(super) count: u64,
    birth: crate::core::ids::Birth,
    revision: u64,
}

struct Node {
    core: Core,
    me: Peer,
    workers: BTreeMap<Arc<str>, Running>,
    index: BTreeMap<Arc<str>, Entry>,
    left: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Deliver { from: Peer, to: Peer, bytes: Vec<u8> },
    Wake { to: Peer },
}

/// The cluster.
pub(super) struct World {
    pub(super) now_ms: u64,
    nodes: BTreeMap<String, Node>,
    disks: BTreeMap<String, Disk>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    inputs: BTreeMap<u64, Input>,
    seq: u64,
    cut: BTreeSet<(String, String)>,
    incarnations: BTreeMap<String, u64>,
    pub(super) answers: BTreeMap<u64, Answer>,
    requests: u64,
    /// Names whose workers fail to start.
    pub(super) broken: BTreeSet<String>,
    pub(super) handoff: bool,
    pub(super) messages: u64,
}

impl World {
    pub(super) fn new(names: &[&str]) -> Self {
        let mut world = Self {
            now_ms: 1_000,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            inputs: BTreeMap::new(),
            seq: 0,
            cut: BTreeSet::new(),
            incarnations: BTreeMap::new(),
            answers: BTreeMap::new(),
            requests: 0,
            broken: BTreeSet::new(),
            handoff: true,
            messages: 0,
        };
        for name in names {
            world.start(name);
        }
        world.run(1_000);
        world
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ms: 1_700_000_000_000 + self.now_ms, random: 7 }
    }

    pub(super) fn start(&mut self, name: &str) {
        self.start_hosting(name, true);
    }

    pub(super) fn start_hosting(&mut self, name: &str, hosts: bool) {
        let incarnation = self.incarnations.entry(name.to_owned()).or_default();
        *incarnation += 1;
        let me = Peer { node: NodeId::new(name).expect("valid"), incarnation: Incarnation(*incarnation) };
        let config = Config {
            sworm: "s".into(),
            me: me.clone(),
            agreed: "same".into(),
            hosts: if hosts { BTreeMap::from([("counter".into(), 1)]) } else { BTreeMap::new() },
            interval_ms: 200,
            grace_ms: 5_000,
            recover_wait_ms: 5_000,
            state_wait_ms: 10_000,
            restart: BTreeMap::from([("counter".into(), &Transient as &dyn Restart)]),
            strategies: Strategies::linked().expect("no duplicates"),
            labels: BTreeMap::new(),
        };
        let disk = self.disks.entry(name.to_owned()).or_default().clone();
        let snapshots = disk
            .snapshots
            .iter()
            .map(|(name, s)| (name.clone(), Stored { birth: s.birth, revision: s.revision, checkpoint: s.checkpoint }))
            .collect();
        let recovered = Recovered { lanes: disk.lanes, ended: disk.ended, dropped: disk.dropped, snapshots };
        let mut core = Core::new(config, recovered, self.now());
        core.handle(self.now(), Input::Introduced);
        let peers: Vec<Peer> = self.nodes.values().map(|node| node.me.clone()).collect();
        self.nodes.insert(
            name.to_owned(),
            Node { core, me: me.clone(), workers: BTreeMap::new(), index: BTreeMap::new(), left: false },
        );
        for other in peers {
            self.link(&me, &other, true);
        }
        self.push(0, Event::Wake { to: me }, Input::Tick);
    }

    fn link(&mut self, a: &Peer, b: &Peer, up: bool) {
        for (x, y) in [(a, b), (b, a)] {
            let peer = x.clone();
            let input = if up { Input::Present { peer, labels: BTreeMap::new() } } else { Input::Absent { peer } };
            self.push(0, Event::Wake { to: y.clone() }, input);
        }
    }

    /// SIGKILL: the workers are gone, the disk stays.
    pub(super) fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).expect("it runs");
        let others: Vec<Peer> = self.nodes.values().map(|node| node.me.clone()).collect();
        for other in others {
            self.push(2, Event::Wake { to: other }, Input::Absent { peer: node.me.clone() });
        }
    }

    /// Leaves in good order and goes.
    pub(super) fn leave(&mut self, name: &str) {
        let me = self.nodes[name].me.clone();
        self.push(0, Event::Wake { to: me }, Input::Leave { until_ms: self.now_ms + 30_000 });
        self.run_until("it has left", |world| world.nodes[name].left);
        self.run(5);
        self.kill(name);
    }

    pub(super) fn cut(&mut self, a: &str, b: &str) {
        self.cut.insert((a.into(), b.into()));
        self.cut.insert((b.into(), a.into()));
        let (a, b) = (self.nodes[a].me.clone(), self.nodes[b].me.clone());
        self.link(&a, &b, false);
    }

    pub(super) fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            let (a, b) = (self.nodes[&a].me.clone(), self.nodes[&b].me.clone());
            self.link(&a, &b, true);
        }
    }

    pub(super) fn register(&mut self, on: &str, name: &str, value: u64) -> u64 {
        let spec = Spec {
            worker_type: "counter".into(),
            version: 1,
            value: Bytes::copy_from_slice(&value.to_be_bytes()),
            distribution: "rendezvous".into(),
            handoff: self.handoff,
            replicas: 1,
        };
        let registering = Registering {
            name: name.into(),
            spec: Arc::new(spec),
            on: None,
            metadata: BTreeMap::new(),
            attached: false,
        };
        self.ask(on, Ask::Register(Box::new(registering)))
    }

    pub(super) fn ask(&mut self, on: &str, ask: Ask) -> u64 {
        self.requests += 1;
        let until_ms = self.now_ms + 20_000;
        let to = self.nodes[on].me.clone();
        self.push(0, Event::Wake { to }, Input::Ask { number: self.requests, ask, until_ms });
        self.requests
    }

    pub(super) fn answer(&mut self, number: u64) -> Answer {
        self.run_until("an answer", |world| world.answers.contains_key(&number));
        self.answers[&number].clone()
    }

    /// Counts a worker up and makes that durable.
    pub(super) fn count(&mut self, name: &str) -> u64 {
        let (host, worker) = self.worker(name).expect("it runs");
        let node = self.nodes.get_mut(&host).expect("it is there");
        let running = node.workers.get_mut(name).expect("it runs");
        running.count += 1;
        running.revision += 1;
        let snapshot = snapshot(running, true);
        let (to, count) = (node.me.clone(), running.count);
        self.push(0, Event::Wake { to }, Input::Checkpoint { name: name.into(), since: worker.since, snapshot });
        self.run(10);
        count
    }

    pub(super) fn crash(&mut self, name: &str) {
        let (host, worker) = self.worker(name).expect("it runs");
        let node = self.nodes.get_mut(&host).expect("it is there");
        node.workers.remove(name);
        let (to, exit) = (node.me.clone(), Exit::Panic("boom".into()));
        self.push(0, Event::Wake { to }, Input::Exited { name: name.into(), since: worker.since, exit });
    }

    /// Where a name runs; more than one place is a failure.
    pub(super) fn worker(&self, name: &str) -> Option<(String, Running)> {
        let found: Vec<(String, Running)> = self
            .nodes
            .iter()
            .filter_map(|(node, state)| Some((node.clone(), state.workers.get(name)?.clone())))
            .collect();
        assert!(found.len() <= 1, "{name} runs {} times: {found:?}", found.len());
        found.into_iter().next()
    }

    pub(super) fn workers(&self, on: &str) -> usize {
        self.nodes[on].workers.len()
    }

    pub(super) fn places(&self, name: &str) -> usize {
        self.nodes.values().filter(|node| node.workers.contains_key(name)).count()
    }

    /// What each node's look-up says of a name.
    pub(super) fn lookups(&self, name: &str) -> Vec<Option<(NodeId, bool)>> {
        self.nodes
            .values()
            .map(|node| node.index.get(name).map(|entry| (entry.host.node.clone(), entry.running)))
            .collect()
    }

    /// Whether all directories are equal, every name runs where they say, and nothing else runs.
    pub(super) fn is_at_rest(&self) -> bool {
        let mut hashes = BTreeSet::new();
        for node in self.nodes.values() {
            hashes.insert(node.core.directory.hash());
            for (name, worker) in &node.workers {
                match node.core.standing(name) {
                    Standing::Claimed { host, cell } if host == node.me && cell.since == worker.since => {}
                    _ => return false,
                }
            }
            if !node.core.settled() {
                return false;
            }
        }
        hashes.len() == 1
    }

    pub(super) fn run(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.step(until) {}
        self.now_ms = until;
    }

    pub(super) fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let until = self.now_ms + 60_000;
        while !done(self) {
            assert!(self.step(until), "a minute passed without {what}");
        }
    }

    fn push(&mut self, delay: u64, event: Event, input: Input) {
        self.seq += 1;
        self.queue.push(Reverse((self.now_ms + delay, self.seq)));
        self.events.insert(self.seq, event);
        self.inputs.insert(self.seq, input);
    }

    fn step(&mut self, until: u64) -> bool {
        let Some(Reverse((at, seq))) = self.queue.peek().copied() else { return false };
        if at > until {
            return false;
        }
        self.queue.pop();
        self.now_ms = self.now_ms.max(at);
        let event = self.events.remove(&seq).expect("queued");
        let input = self.inputs.remove(&seq).expect("queued");
        let (to, input) = match event {
            Event::Deliver { from, to, bytes } => {
                let message: Message = crate::codec::decode(&bytes).expect("what was encoded decodes");
                if self.cut.contains(&(from.node.to_string(), to.node.to_string())) {
                    return true;
                }
                (to, Input::Message { from, message: Box::new(message) })
            }
            Event::Wake { to } => (to, input),
        };
        let now = self.now();
        let Some(node) = self.nodes.get_mut(to.node.as_str()).filter(|node| node.me == to) else { return true };
        let tick = matches!(input, Input::Tick);
        node.core.handle(now, input);
        let effects = node.core.flush(now);
        if tick {
            self.push(20, Event::Wake { to: to.clone() }, Input::Tick);
        }
        for effect in effects {
            self.perform(&to, effect);
        }
        true
    }

    fn perform(&mut self, me: &Peer, effect: Effect) {
        let name_of_node = me.node.to_string();
        let wake = Event::Wake { to: me.clone() };
        match effect {
            Effect::Send { to, message } => self.deliver(me, &to, &message),
            Effect::Broadcast(message) => {
                let others: Vec<Peer> =
                    self.nodes.values().map(|node| node.me.clone()).filter(|peer| peer != me).collect();
                for to in others {
                    self.deliver(me, &to, &message);
                }
            }
            Effect::Persist(delta) => {
                let disk = self.disks.entry(name_of_node).or_default();
                disk.lanes.entry(delta.lane.clone()).or_default().join(delta);
            }
            Effect::PersistEnds { ended, dropped } => {
                let disk = self.disks.entry(name_of_node).or_default();
                (disk.ended, disk.dropped) = (ended, dropped);
            }
            Effect::ForgetLane(lane) => {
                self.disks.entry(name_of_node).or_default().lanes.remove(&lane);
            }
            Effect::Sync(number) => self.push(3, wake, Input::Durable(number)),
            Effect::StoreSnapshot { name, snapshot } => {
                self.disks.entry(name_of_node).or_default().snapshots.insert(name, snapshot);
            }
            Effect::DeleteSnapshot { name } => {
                self.disks.entry(name_of_node).or_default().snapshots.remove(&name);
            }
            Effect::LoadSnapshot { purpose } => {
                let snapshot = self.disks[&name_of_node].snapshots.get(purpose.name()).cloned();
                self.push(1, wake, Input::Loaded { purpose, snapshot });
            }
            Effect::Start { name, since, spec, state } => {
                if self.broken.contains(&*name) {
                    let result = Err(Exit::StartFailed("broken".into()));
                    return self.push(1, wake, Input::Started { name, since, result });
                }
                let bytes = state.as_ref().map_or(&spec.value, |state| &state.state);
                let count = u64::from_be_bytes(bytes[..].try_into().expect("eight bytes"));
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                let birth = node.core.directory.mine(&name).expect("stated").birth;
                node.workers.insert(name.clone(), Running { since, count, birth, revision: 0 });
                self.push(1, wake, Input::Started { name, since, result: Ok(()) });
            }
            Effect::Pause { name, since } => {
                let handoff = self.handoff;
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                if let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) {
                    worker.revision += 1;
                    let state = Ok(handoff.then(|| snapshot(worker, false)));
                    self.push(1, wake, Input::Paused { name, since, state });
                }
            }
            Effect::Stop { name, since, .. } => {
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                node.workers.remove(&name);
                self.push(1, wake, Input::Stopped { name, since });
            }
            Effect::Index { name, entry } => {
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                match entry {
                    Some(entry) => node.index.insert(name, entry),
                    None => node.index.remove(&name),
                };
            }
            Effect::Answer { number, answer } => {
                self.answers.insert(number, answer);
            }
            Effect::Left { .. } => self.nodes.get_mut(&name_of_node).expect("it acts").left = true,
            Effect::Expired { number } => panic!("request {number} expired"),
            Effect::Disagreed { node, theirs } => panic!("{node} has {theirs}"),
            Effect::Resume { .. }
            | Effect::Checkpointed { .. }
            | Effect::Ready
            | Effect::Viewed(_)
            | Effect::Tell(_) => {}
        }
    }

    fn deliver(&mut self, from: &Peer, to: &Peer, message: &Message) {
        self.messages += 1;
        let bytes = crate::codec::encode(message).expect("messages encode");
        let event = Event::Deliver { from: from.clone(), to: to.clone(), bytes };
        self.push(1, event, Input::Tick);
    }
}

fn snapshot(worker: &Running, checkpoint: bool) -> Snapshot {
    let state = Bytes::copy_from_slice(&worker.count.to_be_bytes());
    Snapshot {
        birth: worker.birth,
        revision: Revision { epoch: worker.since, number: worker.revision },
        checkpoint,
        version: 1,
        checksum: xxh3_64(&state),
        state,
    }
}
