//! Nodes, machines, links, and the order in which everything happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use sworm::{Drained, NodeId};

use sworm::core::cell::{Kind, Spec};
use sworm::core::directory::Directory;
use sworm::core::ids::Peer;
use sworm::core::message::{Answer, Ask, Registering};
use sworm::core::snapshots::Wait;
use sworm::core::{Input, Notice};
use sworm::store::Ticket;
use xxhash_rust::xxh3::Xxh3;

use super::disk::Disk;
use super::kinds;
use super::laws::Laws;
use super::links::Links;
use super::node::{Clock, Machine, Node, Worker};
use super::options::Options;

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
    /// The names whose starts take three seconds.
    pub slow: BTreeSet<Arc<str>>,
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
            broken: BTreeSet::new(),
            broken_on: BTreeSet::new(),
            handoff: true,
            trap: None,
            version: 1,
            renews: false,
            drained: Vec::new(),
            told: Vec::new(),
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

    /// The names of the nodes that run.
    pub fn alive(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// The nodes that run and are not stopped.
    pub(super) fn awake(&self) -> Vec<String> {
        self.nodes.iter().filter(|(_, node)| node.paused_until.is_none()).map(|(name, _)| name.clone()).collect()
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

    /// Starts a process that links no worker type.
    pub fn start_client(&mut self, name: &str) {
        self.start_linking(name, &[]);
    }

    /// Starts a process that links these worker types, in these versions.
    pub fn start_linking(&mut self, name: &str, types: &[(&str, u32)]) {
        let types = types.iter().map(|(name, version)| ((*name).into(), *version)).collect();
        let machine = Machine { opens: true, types, ..Machine::default() };
        self.machines.insert(name.to_owned(), machine);
        self.start(name);
    }

    /// Starts a process that does not open the sworm.
    pub fn start_closed(&mut self, name: &str) {
        self.machines.insert(name.to_owned(), Machine::default());
        self.start(name);
    }

    /// Starts a process on a machine.
    pub fn start(&mut self, name: &str) {
        let others: Vec<String> = self.machines.keys().filter(|other| *other != name).cloned().collect();
        let chance = self.rng.u64(..);
        let machine = self.machines.entry(name.to_owned()).or_insert_with(|| Machine {
            opens: true,
            types: kinds::types(&self.options),
            ..Machine::default()
        });
        let node = Node::start(name, machine, others.clone(), &self.options, self.now_ms, chance);
        let me = node.me.clone();
        self.note(|| format!("start {me}"));
        self.laws.started(&me);
        self.nodes.insert(name.to_owned(), node);
        for other in others {
            let found = self.dial(name, &other);
            let delay = found.map_or(2_000, |_| 1 + self.rng.u64(0..20));
            let endpoint = super::node::endpoint(&other);
            self.push(delay, Event::Seed { at: me.clone(), endpoint, answered: found == Some(true) });
        }
        self.link_all(name);
        self.push(0, Event::Wake { at: me });
    }

    /// `SIGKILL`, or the loss of power: the workers are gone, of the disk what was synced stays.
    pub fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).expect("it runs");
        self.note(|| format!("kill {}", node.me));
        self.laws.deaths.push(self.now_ms);
        self.end(node);
    }

    pub(super) fn end(&mut self, node: Node) {
        let disk = self.machines[&*node.me.node].disk.clone();
        let kept = self.rng.usize(0..=disk.unsynced());
        disk.crash(kept);
        self.laws.only_keeps(&node.me.node, &super::disk::states(&disk));
        let copies = self.nodes.values().filter_map(|other| other.core.directory().lane(&node.me));
        self.laws.ends(&node.me, copies.map(|copy| copy.max()).max().unwrap_or(0));
        for asked in self.asked.values_mut().filter(|asked| asked.on == *node.me.node && asked.answer.is_none()) {
            asked.answer = Some(None);
        }
        self.unlink_all(&node.me);
    }

    /// `SIGSTOP`, for so long.
    pub(super) fn freeze(&mut self, name: &str, for_ms: u64) {
        self.note(|| format!("pause {name} for {for_ms} ms"));
        let until = self.now_ms + for_ms;
        let node = self.nodes.get_mut(name).expect("it runs");
        if node.paused_until.is_none() {
            node.paused_ms = self.now_ms;
        }
        node.paused_until = Some(until);
        self.push(for_ms, Event::Resumes { node: name.to_owned() });
        if for_ms >= super::links::LEASE_MS {
            let others = self.alive();
            for other in others.iter().filter(|other| *other != name) {
                self.check_link(name, other, super::links::LEASE_MS);
            }
        }
    }

    /// A node begins to leave in good order; its process ends when it has.
    pub fn begin_leave(&mut self, name: &str) {
        self.note(|| format!("{name} leaves"));
        let node = &self.nodes[name];
        let until_ms = node.now(self.now_ms, 0).mono_ms + 20_000;
        let me = node.me.clone();
        self.tell(0, &me, Input::Leave { until_ms });
    }

    /// Leaves in good order and is gone.
    pub fn leave(&mut self, name: &str) {
        self.begin_leave(name);
        self.run_until("it has left", |world| !world.nodes.contains_key(name));
    }

    /// Asks a node to start a worker that counts from a number.
    pub fn register(&mut self, on: &str, name: &str, from: u64) -> u64 {
        self.register_at(on, name, from, None)
    }

    /// Asks a node to start a worker that counts from a number, perhaps on a certain node.
    pub fn register_at(&mut self, on: &str, name: &str, from: u64, at: Option<&str>) -> u64 {
        let (worker_type, distribution) = kinds::of(name, &self.options);
        let spec = Spec {
            kind: Arc::new(Kind {
                worker_type: worker_type.into(),
                version: self.version,
                distribution: distribution.into(),
                handoff: self.handoff,
                replicas: self.options.replicas,
                patient: self.options.patient,
            }),
            value: from.to_be_bytes().into(),
        };
        let registering = Registering {
            name: name.into(),
            spec: Arc::new(spec),
            on: at.map(|at| NodeId::new(at).expect("valid")),
            metadata: BTreeMap::new(),
            attached: false,
            replaces_failed: true,
        };
        self.ask(on, Ask::Register(Box::new(registering)))
    }

    /// Asks a node to end a name.
    pub fn unregister(&mut self, on: &str, name: &str) -> u64 {
        self.ask(on, Ask::Unregister { name: name.into(), birth: None })
    }

    /// Asks a node for something; the number is that of the request.
    pub fn ask(&mut self, on: &str, ask: Ask) -> u64 {
        const WITHIN_MS: u64 = 20_000;
        let number = self.asked.len() as u64 + 1;
        self.note(|| {
            let what = match &ask {
                Ask::Register(registering) => format!("to register from {:?}", registering.spec.value.last()),
                Ask::Unregister { .. } => "to unregister".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{on} asks {number}: {what} {}", ask.name())
        });
        let node = &self.nodes[on];
        let until_ms = node.now(self.now_ms, 0).mono_ms + WITHIN_MS;
        let me = node.me.clone();
        self.tell(0, &me, Input::Ask { number, ask: ask.clone(), until_ms });
        let until_ms = self.now_ms + WITHIN_MS + 1_000;
        self.asked.insert(number, Asked { on: on.to_owned(), ask, until_ms, answer: None });
        number
    }

    /// How many chunks a node's disk has that belong to no state.
    pub fn left_over(&self, on: &str) -> usize {
        super::disk::left_over(&self.machines[on].disk)
    }

    /// Waits for the answer to a request; its time must not be over before.
    pub fn answer(&mut self, number: u64) -> Answer {
        self.run_until("an answer", |world| world.asked[&number].answer.is_some());
        self.asked[&number].answer.clone().flatten().expect("answered in time")
    }

    /// A worker takes a message that counts it up; with `save` the reply waits until that is durable. `None` when
    /// nobody takes messages under that name.
    pub fn count(&mut self, name: &str, save: bool) -> Option<u64> {
        let now_ms = self.now_ms;
        let node = self.nodes.values_mut().find(|node| {
            node.paused_until.is_none()
                && node.may_go_on(now_ms)
                && node.workers.get(name).is_some_and(|w| w.ready && w.saving.is_none())
        })?;
        let worker = node.workers.get_mut(name).expect("found");
        worker.count += 1;
        let (me, since, count) = (node.me.clone(), worker.since, worker.count);
        if save {
            worker.checkpointed = true;
            let snapshot = worker.snapshot();
            let wait = match &self.options {
                options if options.aside && self.rng.u32(0..3) == 0 => Wait::Nothing,
                options if options.local => Wait::Disk,
                _ => Wait::Replicas,
            };
            // What only one disk has is lost while its node stays away: others start the worker meanwhile when that is dead, or
            // in mode "majority" when it is cut off.
            let stays = !self.options.may_lose() && !self.options.may_part();
            if wait == Wait::Replicas || wait == Wait::Disk && stays {
                worker.saving = Some((snapshot.revision.number, count));
            }
            let snapshot = self.ship(0, &me, &name.into(), snapshot);
            self.tell(0, &me, Input::Checkpoint { name: name.into(), since, snapshot, wait });
        } else {
            self.laws.counted(name, worker.birth, count);
        }
        let _ = now_ms;
        Some(count)
    }

    /// Whether any worker waits for its state to be durable.
    pub fn is_saving(&self) -> bool {
        self.nodes.values().any(|node| node.workers.values().any(Worker::is_saving))
    }

    /// A worker panics.
    pub fn crash(&mut self, name: &str) {
        self.exit(name, sworm::Exit::Panic("boom".into()));
    }

    /// A worker ends because it wants to.
    pub(super) fn stop(&mut self, name: &str) {
        self.exit(name, sworm::Exit::Normal);
    }

    fn exit(&mut self, name: &str, exit: sworm::Exit) {
        let Some(node) = self.nodes.values_mut().find(|node| node.workers.get(name).is_some_and(|w| w.ready)) else {
            return;
        };
        let worker = node.workers.remove(name).expect("found");
        let me = node.me.clone();
        self.note(|| format!("{me} {name} {exit}"));
        self.ends_by_itself(name, worker.birth, &exit);
        self.tell(0, &me, Input::Exited { name: name.into(), since: worker.since, exit });
    }

    /// A worker, be it about to move, does not give its state, and is given up.
    pub fn give_up(&mut self, name: &str) {
        let Some(node) = self.nodes.values_mut().find(|node| node.workers.contains_key(name)) else { return };
        let worker = node.workers.remove(name).expect("found");
        let me = node.me.clone();
        self.note(|| format!("{me} {name} is given up"));
        self.ends_by_itself(name, worker.birth, &sworm::Exit::Error(String::new()));
        self.tell(0, &me, Input::GivenUp { name: name.into(), since: worker.since, why: "it hung".into() });
    }

    /// A worker's task is gone, and nobody is told.
    pub fn vanish(&mut self, name: &str) {
        self.vanish_if(name, |worker| worker.ready);
    }

    /// The same of a worker that was told to pause or to stop.
    pub fn vanish_at_its_end(&mut self, name: &str) {
        self.vanish_if(name, |worker| !worker.ready);
    }

    fn vanish_if(&mut self, name: &str, is_it: impl Fn(&Worker) -> bool) {
        let Some(node) = self.nodes.values_mut().find(|node| node.workers.get(name).is_some_and(&is_it)) else {
            return;
        };
        let worker = node.workers.remove(name).expect("found");
        let me = node.me.clone();
        self.note(|| format!("{me} {name} vanishes"));
        self.ends_by_itself(name, worker.birth, &sworm::Exit::Killed(String::new()));
    }

    /// Where a name runs.
    pub fn places(&self, name: &str) -> Vec<(&str, &Worker)> {
        let found = self.nodes.iter().filter_map(|(node, state)| Some((node.as_str(), state.workers.get(name)?)));
        found.collect()
    }

    /// Who holds the newest state of a name, as its host says.
    pub(super) fn holders(&self, host: &str, name: &str) -> Vec<String> {
        let mine = self.nodes.get(host).and_then(|node| node.core.directory().mine(&name.into()).cloned());
        mine.map_or_else(Vec::new, |cell| cell.holders.iter().map(ToString::to_string).collect())
    }

    /// Where a name really runs: one that goes on after it was stopped may take some time to see that its lease has ended,
    /// and to end, whether there is a majority again by then or not.
    pub(super) fn active_places(&self, name: &str) -> Vec<String> {
        let active = |node: &Node| {
            let woke = self.now_ms <= node.resumed_ms + super::node::STOP_MS + 200;
            let ends = !node.may_go_on(self.now_ms) || node.workers.get(name).is_some_and(|worker| worker.stops);
            !self.options.majority || node.paused_until.is_none() && !(woke && ends)
        };
        let places = self.nodes.iter().filter(|(_, node)| node.workers.contains_key(name) && active(node));
        places.map(|(node, _)| node.clone()).collect()
    }

    /// Where a name runs, which must be one place.
    pub fn worker(&self, name: &str) -> Option<(String, Worker)> {
        let places = self.places(name);
        assert!(places.len() <= 1, "{name} runs {} times", places.len());
        places.first().map(|(node, worker)| ((*node).to_owned(), (*worker).clone()))
    }

    /// What each node's look-up says of a name: where it is, and whether it runs.
    pub fn lookups(&self, name: &str) -> Vec<Option<(Peer, bool)>> {
        let entry = |node: &Node| node.index.get(name).map(|entry| (entry.host.clone(), entry.running));
        self.nodes.values().map(entry).collect()
    }

    /// Whether ticks pass over the workers of every node.
    pub fn ticks_are_idle(&self) -> bool {
        self.nodes.values().all(|node| node.core.workers_are_idle())
    }

    /// A node, and all that it holds.
    pub fn directory(&mut self, on: &str) -> (Peer, &mut Directory) {
        let node = self.nodes.get_mut(on).expect("it runs");
        (node.me.clone(), node.core.directory_mut())
    }

    /// How many names a node knows.
    pub fn names_at(&self, on: &str) -> usize {
        let names = self.nodes[on].core.directory().lanes().flat_map(|(_, lane)| lane.names());
        names.map(|(name, _)| name).collect::<BTreeSet<_>>().len()
    }

    /// From whom a node gets a lane in parts, and how many cells of it it has so far.
    pub fn staged(&self, on: &str) -> Option<(String, usize)> {
        self.nodes[on].core.staged().map(|(from, cells)| (from.node.to_string(), cells))
    }

    /// A machine that is down is lost, with its disk.
    pub fn lose(&mut self, name: &str) {
        assert!(!self.nodes.contains_key(name), "{name} runs");
        self.machines.remove(name);
    }

    /// A machine that is down gets a new, empty disk.
    pub fn lose_disk(&mut self, name: &str) {
        self.note(|| format!("the disk of {name} is lost"));
        self.machines.get_mut(name).expect("it is there").disk = Disk::default();
        self.laws.only_keeps(name, &BTreeSet::new());
    }

    /// From now on each sync of a machine's disk takes so long; with `None` it is as fast as the others.
    pub fn slow_disk(&mut self, name: &str, sync_ms: Option<u64>) {
        self.machines.get_mut(name).expect("it is there").sync_ms = sync_ms;
    }

    /// What a machine's disk has of a name's state cannot be read any more.
    pub fn spoil(&mut self, on: &str, name: &str) {
        self.machines.get_mut(on).expect("it is there").unreadable.insert(name.into());
    }

    /// From now on messages take so long at most.
    pub fn delay(&mut self, ms: u64) {
        self.options.delay_ms = ms;
    }

    /// Whether a worker fails to start there.
    pub(super) fn is_broken(&self, at: &Peer, name: &str) -> bool {
        self.broken.contains(name) || self.broken_on.contains(&*at.node)
    }

    /// How many workers a node runs.
    pub fn workers(&self, on: &str) -> usize {
        self.nodes[on].workers.len()
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.step(until) {}
        self.now_ms = until;
    }

    /// Lets time pass until something is so; more than two minutes are a failure.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let took = self.run_while(120_000, |world| !done(world));
        assert!(took, "two minutes passed without: {what}");
    }

    /// Lets time pass while something is so, at most so long. Returns whether it ended.
    pub(super) fn run_while(&mut self, ms: u64, mut so: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now_ms + ms;
        while so(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, until: u64) -> bool {
        let Some(((at, seq), _)) = self.events.first_key_value() else { return false };
        let (at, seq) = (*at, *seq);
        if at > until {
            return false;
        }
        self.now_ms = self.now_ms.max(at);
        let event = self.events.remove(&(at, seq)).expect("the first");
        if let Some(held) = self.held_until(&event) {
            // Its process is stopped: it comes when it goes on, in order.
            self.pushed += 1;
            self.events.insert((held.max(self.now_ms), self.pushed), event);
            return true;
        }
        self.digest.update(&at.to_be_bytes());
        self.happens(event);
        true
    }

    fn held_until(&self, event: &Event) -> Option<u64> {
        let at = match event {
            Event::Arrives { to: at, .. }
            | Event::Link { at, .. }
            | Event::Dialled { at, .. }
            | Event::Seed { at, .. }
            | Event::Tells { at, .. }
            | Event::Synced { at, .. }
            | Event::Wake { at }
            | Event::Publishes { at }
            | Event::Ends { at } => at,
            Event::CheckLink { .. } | Event::Resumes { .. } | Event::Dies { .. } => return None,
        };
        self.nodes.get(&*at.node).filter(|node| node.me == *at)?.paused_until
    }

    pub(super) fn fold(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }
}

/// The name of the n-th node.
pub(super) fn node_name(n: usize) -> String {
    format!("n{}", n + 1)
}
