//! The random script: what users do, and what goes wrong.

use sworm::core::message::Ask;

use super::node::{Node, UP};
use super::world::{Asked, World, node_name};

/// How long the only missing link is missing: as long as it takes to be noticed, the grace time, and some seconds.
const LONE_CUT_MS: u64 = 10_000;
/// How long it may take until one that starts then is let in.
const LET_IN_MS: u64 = 20_000;
/// How long what was asked meanwhile may take.
const ANSWERED_MS: u64 = 20_000;

impl World {
    /// Starts all nodes, not quite at once.
    pub(super) fn boot(&mut self) {
        for n in 0..self.options.nodes {
            self.start(&node_name(n));
            let pause = self.rng.u64(0..200);
            self.run(pause);
        }
        for n in 0..self.options.names {
            let name: std::sync::Arc<str> = name(n).into();
            if self.options.slow_starts && self.rng.u32(0..6) == 0 {
                self.slow.insert(name);
            } else if self.options.broken_starts && self.rng.u32(0..6) == 0 {
                self.broken.insert(name);
            }
        }
        self.run(2_000);
        // A crowd of names at once, as when a service starts.
        if self.options.names > 100 {
            for n in 0..self.options.names {
                self.register_somewhere(n);
            }
            self.run(1_000);
        }
    }

    /// One step of the phase with faults.
    pub(super) fn play(&mut self) {
        if self.awake().is_empty() {
            self.start_one();
        }
        if self.options.lone_cuts && self.rng.u32(0..8) == 0 {
            self.cut_one_pair();
        }
        match self.rng.u32(0..10) {
            0..=6 => self.use_it(),
            _ => self.break_it(),
        }
        let pause = self.rng.u64(0..400);
        self.run(pause);
        if self.options.flapping && self.rng.u32(0..4) == 0 {
            self.heal();
        }
    }

    fn some_node(&mut self) -> Option<String> {
        let awake = self.awake();
        (!awake.is_empty()).then(|| awake[self.rng.usize(0..awake.len())].clone())
    }

    fn register_somewhere(&mut self, n: u64) {
        if let Some(on) = self.some_node() {
            let from = if self.rng.bool() { 0 } else { self.rng.u64(0..3) };
            self.register(&on, &name(n), from);
        }
    }

    fn use_it(&mut self) {
        let n = self.rng.u64(0..self.options.names);
        match self.rng.u32(0..10) {
            0..=3 => {
                // Sometimes everybody at once.
                let crowd = if self.rng.u32(0..4) == 0 { 4 } else { 1 };
                for _ in 0..crowd {
                    self.register_somewhere(n);
                }
            }
            4 => {
                if let Some(on) = self.some_node() {
                    if self.has_failed(&name(n)) && self.rng.bool() {
                        self.ask(&on, Ask::Restart { name: name(n).into() });
                    } else {
                        self.unregister(&on, &name(n));
                    }
                }
            }
            _ => {
                let save = self.rng.u32(0..4) > 0;
                self.count(&name(n), save);
                self.regroup_sometimes(&name(n), 3);
            }
        }
    }

    fn break_it(&mut self) {
        let Some(node) = self.some_node() else { return };
        let o = self.options.clone();
        match self.rng.u32(0..10) {
            0 if o.kills => self.kill(&node),
            1 if o.blackouts && self.rng.u32(0..3) == 0 => {
                for node in self.alive() {
                    self.kill(&node);
                }
            }
            2 if o.leaves => self.begin_leave(&node),
            3 if o.pauses => {
                let ms = self.rng.u64(100..8_000);
                self.freeze(&node, ms);
            }
            4 if o.cuts => {
                let other = node_name(self.rng.usize(0..o.nodes));
                if other != node {
                    self.cut(&node, &other);
                }
            }
            5 if o.one_way_cuts => {
                let other = node_name(self.rng.usize(0..o.nodes));
                if other != node {
                    self.cut_one_way(&node, &other);
                }
            }
            6 if o.partitions => {
                let side = self.rng.usize(1..o.nodes);
                for a in 0..side {
                    for b in side..o.nodes {
                        self.cut(&node_name(a), &node_name(b));
                    }
                }
            }
            7 if o.crashes => {
                let name = name(self.rng.u64(0..o.names));
                if o.mixed && self.rng.bool() {
                    self.stop(&name);
                } else if o.vanishing && self.rng.bool() {
                    self.vanish(&name);
                } else {
                    self.crash(&name);
                }
            }
            8 if o.failing_disks && self.rng.u32(0..3) == 0 => {
                self.note(|| format!("the disk of {node} is full"));
                self.machines[&node].disk.fail();
            }
            9 if self.rng.u32(0..3) == 0 => self.heal(),
            _ => self.start_one(),
        }
    }

    /// Cuts one link for longer than the grace time while nothing else is broken: the others are linked to both ends, so
    /// that nobody is taken for gone, no worker starts anew, and all that is asked meanwhile is answered.
    fn cut_one_pair(&mut self) {
        if !self.is_whole() {
            return;
        }
        let a = self.rng.usize(0..self.options.nodes);
        let b = (a + self.rng.usize(1..self.options.nodes)) % self.options.nodes;
        let (a, b) = (node_name(a), node_name(b));
        self.cut(&a, &b);
        if self.options.kills && self.rng.bool() {
            self.start_without_link(&b);
        }
        let first = self.asked.len() as u64 + 1;
        let workers = |node: &Node| node.workers.iter().map(|(name, w)| (name.clone(), w.birth)).collect::<Vec<_>>();
        // A worker that crashes is started again, link or not.
        let ran = self.nodes.values().filter(|_| !self.options.crashes).flat_map(workers).collect();
        self.laws.lone_cut = Some(ran);
        let until_ms = self.now_ms + LONE_CUT_MS;
        while self.now_ms < until_ms && self.violation().is_none() {
            self.use_it();
            let pause = self.rng.u64(0..600);
            self.run(pause);
        }
        let waits = |world: &World| world.asked.range(first..).any(|(_, asked)| asked.answer.is_none());
        self.run_while(ANSWERED_MS, |world| world.violation().is_none() && waits(world));
        // A name whose starts fail again and again keeps others waiting, link or not.
        let is_late = |asked: &Asked| !matches!(asked.answer, Some(Some(_))) && !self.broken.contains(asked.ask.name());
        let unanswered = self.asked.range(first..).find(|(_, asked)| is_late(asked));
        if let Some((number, asked)) = unanswered {
            let what = format!("request {number} was not answered while {a} and {b} had no link: {asked:?}");
            self.laws.broken(what);
        }
        self.heal();
        self.run_while(10_000, |world| world.violation().is_none() && !world.is_whole());
        self.laws.lone_cut = None;
    }

    /// A node starts anew while the link to another one is missing: it is let in all the same.
    fn start_without_link(&mut self, name: &str) {
        self.kill(name);
        let pause = self.rng.u64(0..8_000);
        self.run(pause);
        self.start(name);
        let settled = |world: &World| world.nodes.values().all(|n| n.core.phase() == UP && n.core.settled());
        if !self.run_while(LET_IN_MS, |world| world.violation().is_none() && !settled(world)) {
            self.laws.broken(format!("{name} was not let in while it had no link to one of the others"));
        }
    }

    /// Whether every machine runs, all are linked, and they agree about that.
    fn is_whole(&self) -> bool {
        let others = self.machines.len() - 1;
        let at_ease = |node: &Node| {
            let linked = self.nodes.values().filter(|other| node.links.contains(&other.me)).count();
            node.paused_until.is_none() && node.core.phase() == UP && node.core.settled() && linked == others
        };
        let failing = self.machines.values().any(|machine| machine.disk.has_failed());
        let all_run = self.nodes.len() == self.machines.len() && !failing;
        self.links.are_whole() && all_run && self.nodes.values().all(at_ease)
    }

    /// Starts a machine that is down, if there is one.
    pub(super) fn start_one(&mut self) {
        let down: Vec<String> = self.machines.keys().filter(|name| !self.nodes.contains_key(*name)).cloned().collect();
        if !down.is_empty() {
            let name = down[self.rng.usize(0..down.len())].clone();
            self.start(&name);
        }
    }

    /// All faults end, and every machine runs.
    pub(super) fn end_faults(&mut self) {
        self.note(|| "all faults end".to_owned());
        (self.options.lost, self.options.repeated, self.options.garbage) = (0, 0, 0);
        self.options.delay_ms = self.options.delay_ms.min(20);
        self.heal();
        self.machines.values().for_each(|machine| machine.disk.mend());
        let leaving = |world: &World| world.nodes.values().any(|n| n.core.phase() == super::node::LEAVING);
        // Whoever leaves is let go, and comes again.
        self.run_while(30_000, |world| leaving(world) || world.nodes.values().any(|node| node.paused_until.is_some()));
        while self.nodes.len() < self.machines.len() {
            self.start_one();
            let pause = self.rng.u64(0..1_000);
            self.run(pause);
        }
    }
}

/// The n-th name.
pub(super) fn name(n: u64) -> String {
    format!("name-{n}")
}
