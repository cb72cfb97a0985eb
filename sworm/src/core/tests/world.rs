//! Cores, links, stores and workers of a simulated cluster.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::core::cell::{Kind, Revision, Spec};
use crate::core::directory::{Directory, Standing};
use crate::core::ids::{Epoch, Incarnation, LaneId, NodeId, Peer};
use crate::core::lane::Lane;
use crate::core::message::{Answer, Ask, Message, Registering, Snapshot};
use crate::core::snapshots::Stored;
use crate::core::transfer::PART_BYTES;
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

/// What a node has asked its disk to keep, and what of it a crash may lose.
#[derive(Clone, Debug)]
enum DiskOp {
    Lane(crate::core::lane::Delta),
    Ends(BTreeMap<NodeId, Incarnation>, BTreeMap<NodeId, Incarnation>),
    Forget(LaneId),
    Snapshot(Arc<str>, Option<Snapshot>),
}

impl Disk {
    fn apply(&mut self, op: DiskOp) {
        match op {
            DiskOp::Lane(delta) => {
                self.lanes.entry(delta.lane.clone()).or_default().join(delta);
            }
            DiskOp::Ends(ended, dropped) => (self.ended, self.dropped) = (ended, dropped),
            DiskOp::Forget(lane) => drop(self.lanes.remove(&lane)),
            DiskOp::Snapshot(name, Some(snapshot)) => drop(self.snapshots.insert(name, snapshot)),
            DiskOp::Snapshot(name, None) => drop(self.snapshots.remove(&name)),
        }
    }
}

/// A simulated worker: a number that it counts up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) since: Epoch,
    pub(super) count: u64,
    birth: crate::core::ids::Birth,
    revision: u64,
    /// Whether it ever asked for a checkpoint, in this life or an earlier one.
    checkpointed: bool,
}

struct Node {
    core: Core,
    me: Peer,
    workers: BTreeMap<Arc<str>, Running>,
    index: BTreeMap<Arc<str>, Entry>,
    left: bool,
    /// What is not on the disk yet, and how much of it each sync covers.
    unsynced: Vec<DiskOp>,
    syncs: BTreeMap<u64, usize>,
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
    /// Chance, as a hash of the seed and a counter.
    seed: u64,
    draws: u64,
    /// Messages lost and repeated, in thousands, and the most that one is delayed.
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) delay_ms: u64,
    /// What a part of a lane may weigh, and the largest message so far.
    pub(super) part_bytes: usize,
    pub(super) largest: usize,
    /// Counts whose checkpoint was acknowledged.
    pub(super) acknowledged: BTreeMap<Arc<str>, u64>,
    counting: BTreeMap<(Arc<str>, Epoch, u64), u64>,
    /// The epochs at which each name was started, in order.
    pub(super) starts: BTreeMap<Arc<str>, Vec<Epoch>>,
    pub(super) restored_older: BTreeSet<Arc<str>>,
    pub(super) expired: BTreeSet<u64>,
    pub(super) may_expire: bool,
    pub(super) may_overlap: bool,
    pub(super) trace: Vec<String>,
}

impl World {
    pub(super) fn new(names: &[&str]) -> Self {
        Self::seeded(names, 0)
    }

    pub(super) fn seeded(names: &[&str], seed: u64) -> Self {
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
            seed,
            draws: 0,
            lost: 0,
            repeated: 0,
            delay_ms: 0,
            part_bytes: PART_BYTES,
            largest: 0,
            acknowledged: BTreeMap::new(),
            counting: BTreeMap::new(),
            starts: BTreeMap::new(),
            restored_older: BTreeSet::new(),
            expired: BTreeSet::new(),
            may_expire: false,
            may_overlap: false,
            trace: Vec::new(),
        };
        for name in names {
            world.start(name);
        }
        world.run(1_000);
        world
    }

    /// A number below `below`.
    pub(super) fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        let bytes: Vec<u8> = [self.seed.to_be_bytes(), self.draws.to_be_bytes()].concat();
        xxh3_64(&bytes) % below
    }

    pub(super) fn alive(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.now_ms, unix_ms: 1_700_000_000_000 + self.now_ms, random: 7 }
    }

    pub(super) fn start(&mut self, name: &str) {
        self.start_hosting(name, true);
    }

    pub(super) fn start_hosting(&mut self, name: &str, hosts: bool) {
        self.trace.push(format!("{} start {name}", self.now_ms));
        let part_bytes = self.part_bytes;
        let incarnation = self.incarnations.entry(name.to_owned()).or_default();
        *incarnation += 1;
        let me = Peer { node: NodeId::new(name).expect("valid"), incarnation: Incarnation(*incarnation) };
        let config = Config {
            ack_in_memory: false,
            sworm: "s".into(),
            me: me.clone(),
            agreed: "same".into(),
            hosts: if hosts { BTreeMap::from([("counter".into(), 1)]) } else { BTreeMap::new() },
            interval_ms: 200,
            grace_ms: 5_000,
            recover_wait_ms: 5_000,
            state_wait_ms: 10_000,
            part_bytes,
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
        // One whose links are cut sees nobody new either.
        self.nodes.insert(
            name.to_owned(),
            Node {
                core,
                me: me.clone(),
                workers: BTreeMap::new(),
                index: BTreeMap::new(),
                left: false,
                unsynced: Vec::new(),
                syncs: BTreeMap::new(),
            },
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
        self.trace.push(format!("{} kill {name}", self.now_ms));
        let mut node = self.nodes.remove(name).expect("it runs");
        // What was not synced is lost from some point on.
        let kept = self.draw(node.unsynced.len() as u64 + 1);
        let disk = self.disks.entry(name.to_owned()).or_default();
        node.unsynced.drain(..).take(usize::try_from(kept).expect("small")).for_each(|op| disk.apply(op));
        self.cut.retain(|(a, b)| a != name && b != name);
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

    pub(super) fn begin_leave(&mut self, name: &str) {
        self.trace.push(format!("{} {name} leaves", self.now_ms));
        let me = self.nodes[name].me.clone();
        self.push(0, Event::Wake { to: me }, Input::Leave { until_ms: self.now_ms + 10_000 });
    }

    /// The nodes that have left and are still there.
    pub(super) fn left(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.left).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn cut(&mut self, a: &str, b: &str) {
        self.trace.push(format!("{} cut {a} {b}", self.now_ms));
        self.cut.insert((a.into(), b.into()));
        self.cut.insert((b.into(), a.into()));
        let (a, b) = (self.nodes[a].me.clone(), self.nodes[b].me.clone());
        self.link(&a, &b, false);
    }

    pub(super) fn heal(&mut self) {
        for (a, b) in std::mem::take(&mut self.cut) {
            if a > b {
                continue;
            }
            let (a, b) = (self.nodes[&a].me.clone(), self.nodes[&b].me.clone());
            self.link(&a, &b, true);
        }
    }

    pub(super) fn register(&mut self, on: &str, name: &str, value: u64) -> u64 {
        let kind = Kind {
            worker_type: "counter".into(),
            version: 1,
            distribution: "rendezvous".into(),
            handoff: self.handoff,
            replicas: 1,
        };
        let spec = Spec { kind: Arc::new(kind), value: Box::new(value.to_be_bytes()) };
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
        self.trace.push(format!("{} {on} asks {}: {ask:?}", self.now_ms, self.requests));
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
        running.checkpointed = true;
        let snapshot = snapshot(running);
        let (to, count) = (node.me.clone(), running.count);
        self.counting.insert((name.into(), worker.since, snapshot.revision.number), count);
        self.push(0, Event::Wake { to }, Input::Checkpoint { name: name.into(), since: worker.since, snapshot });
        count
    }

    pub(super) fn crash(&mut self, name: &str) {
        self.trace.push(format!("{} {name} crashes", self.now_ms));
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

    /// A node, and all that it holds.
    pub(super) fn directory(&mut self, on: &str) -> (Peer, &mut Directory) {
        let node = self.nodes.get_mut(on).expect("it runs");
        (node.me.clone(), &mut node.core.directory)
    }

    /// How many names a node knows.
    pub(super) fn names_at(&self, on: &str) -> usize {
        let names = self.nodes[on].core.directory.lanes().flat_map(|(_, lane)| lane.names());
        names.map(|(name, _)| name).collect::<BTreeSet<_>>().len()
    }

    /// From whom a node gets a lane in parts, and how many cells of it it has so far.
    pub(super) fn staged(&self, on: &str) -> Option<(String, usize)> {
        let transfer = self.nodes[on].core.transfers.values().next()?;
        Some((transfer.from.node.to_string(), transfer.stage.cells()))
    }

    /// A node's disk is lost.
    pub(super) fn forget(&mut self, name: &str) {
        self.disks.remove(name);
    }

    /// What each node's look-up says of a name.
    pub(super) fn lookups(&self, name: &str) -> Vec<Option<(NodeId, bool)>> {
        self.nodes
            .values()
            .map(|node| node.index.get(name).map(|entry| (entry.host.node.clone(), entry.running)))
            .collect()
    }

    /// What each node holds of a name.
    pub(super) fn describe(&self, name: &str) -> String {
        let name: Arc<str> = name.into();
        let mut text = String::new();
        for (id, node) in &self.nodes {
            text += &format!("\n{id} ({:?}, settled {}):", node.core.phase, node.core.settled());
            for (lane, cell) in node.core.directory.cells(&name) {
                let ended = node.core.directory.has_ended(lane);
                text += &format!(
                    "\n  {lane} ended {ended}: {:?} {:?} {} {:?} {:?}",
                    cell.birth,
                    cell.state,
                    cell.epoch,
                    cell.holders,
                    node.core.directory.is_banned(&name, cell.birth)
                );
            }
            text += &format!("\n  local {:?}, stored {:?}", node.core.local.get(&name), node.core.stored.get(&name));
        }
        text
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

    /// Whether ticks pass over the workers of every node.
    pub(super) fn ticks_are_idle(&self) -> bool {
        self.nodes.values().all(|node| node.core.local_due_ms > self.now_ms)
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
        if let Input::Durable(number) = &input {
            // Syncs end in any order here, but each covers all before it.
            let Some(covered) = node.syncs.remove(number) else { return true };
            let disk = self.disks.entry(to.node.to_string()).or_default();
            node.unsynced.drain(..covered).for_each(|op| disk.apply(op));
            for later in node.syncs.values_mut() {
                *later = later.saturating_sub(covered);
            }
            node.syncs.retain(|other, _| other > number);
        }
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
            Effect::Persist(delta) => self.write(me, DiskOp::Lane(delta)),
            Effect::PersistEnds { ended, dropped } => self.write(me, DiskOp::Ends(ended, dropped)),
            Effect::ForgetLane(lane) => {
                self.trace.push(format!("{} {me} forgets lane {lane}", self.now_ms));
                self.write(me, DiskOp::Forget(lane));
            }
            Effect::StoreSnapshot { name, snapshot } => self.write(me, DiskOp::Snapshot(name, Some(snapshot))),
            Effect::DeleteSnapshot { name } => self.write(me, DiskOp::Snapshot(name, None)),
            Effect::Sync(number) => {
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                node.syncs.insert(number, node.unsynced.len());
                let delay = 1 + self.draw(self.delay_ms + 3);
                self.push(delay, wake, Input::Durable(number));
            }
            Effect::LoadSnapshot { purpose } => {
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                let written = node.unsynced.iter().rev().find_map(|op| match op {
                    DiskOp::Snapshot(name, snapshot) if name == purpose.name() => Some(snapshot.clone()),
                    _ => None,
                });
                let snapshot =
                    written.unwrap_or_else(|| self.disks[&name_of_node].snapshots.get(purpose.name()).cloned());
                self.push(1, wake, Input::Loaded { purpose, snapshot });
            }
            Effect::Start { name, since, spec, state } => {
                if self.broken.contains(&*name) {
                    let result = Err(Exit::StartFailed("broken".into()));
                    return self.push(1, wake, Input::Started { name, since, result });
                }
                let checkpointed = state.as_ref().is_some_and(|state| state.checkpoint);
                let bytes = state.as_ref().map_or(&spec.value[..], |state| &state.state[..]);
                let count = u64::from_be_bytes(bytes[..].try_into().expect("eight bytes"));
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                let birth = node.core.directory.mine(&name).expect("stated").birth;
                node.workers.insert(name.clone(), Running { since, count, birth, revision: 0, checkpointed });
                self.trace.push(format!("{} {me} starts {name} {since} at {count}", self.now_ms));
                self.starts.entry(name.clone()).or_default().push(since);
                if !self.may_overlap {
                    assert_eq!(self.places(&name), 1, "{name} runs twice");
                }
                self.push(1, wake, Input::Started { name, since, result: Ok(()) });
            }
            Effect::Pause { name, since } => {
                let handoff = self.handoff;
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                if let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) {
                    worker.revision += 1;
                    let state = Ok(handoff.then(|| snapshot(worker)));
                    self.push(1, wake, Input::Paused { name, since, state });
                }
            }
            Effect::Stop { name, since, .. } => {
                let node = self.nodes.get_mut(&name_of_node).expect("it acts");
                node.workers.remove(&name);
                self.trace.push(format!("{} {me} stops {name} {since}", self.now_ms));
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
                self.trace.push(format!("{} {me} is answered {number}: {answer:?}", self.now_ms));
                self.answers.insert(number, answer);
            }
            Effect::Left { .. } => self.nodes.get_mut(&name_of_node).expect("it acts").left = true,
            Effect::Expired { number } => {
                assert!(self.may_expire, "request {number} expired");
                self.expired.insert(number);
            }
            Effect::Checkpointed { name, since, number, result } => {
                if let (Ok(()), Some(count)) = (result, self.counting.remove(&(name.clone(), since, number))) {
                    let known = self.acknowledged.entry(name).or_default();
                    *known = count.max(*known);
                    self.trace.push(format!("{} {me} has {known} of {since} durable", self.now_ms));
                }
            }
            Effect::Tell(crate::core::Notice::RestoredOlder { name }) => drop(self.restored_older.insert(name)),
            Effect::Disagreed { node, theirs } => panic!("{node} has {theirs}"),
            Effect::Resume { .. } | Effect::Ready | Effect::Viewed(_) | Effect::Tell(_) => {}
        }
    }

    fn write(&mut self, me: &Peer, op: DiskOp) {
        self.nodes.get_mut(me.node.as_str()).expect("it acts").unsynced.push(op);
    }

    fn deliver(&mut self, from: &Peer, to: &Peer, message: &Message) {
        self.messages += 1;
        let bytes = crate::codec::encode(message).expect("messages encode");
        self.largest = self.largest.max(bytes.len());
        let copies = if self.draw(1_000) < self.lost { 0 } else { 1 + u64::from(self.draw(1_000) < self.repeated) };
        for _ in 0..copies {
            let delay = 1 + self.draw(self.delay_ms + 1);
            let event = Event::Deliver { from: from.clone(), to: to.clone(), bytes: bytes.clone() };
            self.push(delay, event, Input::Tick);
        }
    }
}

fn snapshot(worker: &Running) -> Snapshot {
    let state = Bytes::copy_from_slice(&worker.count.to_be_bytes());
    Snapshot {
        birth: worker.birth,
        revision: Revision { epoch: worker.since, number: worker.revision },
        checkpoint: worker.checkpointed,
        version: 1,
        checksum: xxh3_64(&state),
        state,
    }
}
