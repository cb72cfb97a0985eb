//! Plots: what seldom comes about by chance is brought about on purpose, each time a little differently.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::ids::Epoch;

use super::node::{LEAVING, Node};
use super::options::Options;
use super::script::name;
use super::world::{World, node_name};

/// What happens in the phase with faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Anything.
    Random,
    /// Nodes are asked as soon as they start, also those that nobody knows yet.
    EarlyAsks,
    /// Nodes die right after they were asked, and the others are asked the same.
    AskedAgain,
    /// One node dies; its names start elsewhere, and nothing else is disturbed.
    Failover,
    /// One node is cut off for a while; what runs on the others is not disturbed.
    LoneCut,
    /// A name is registered on both sides of a cut, and ended before both have met.
    TwoBirths,
    /// Everything is killed as soon as something was acknowledged.
    Blackouts,
    /// Names are ended whose hosts are down.
    EndsOfTheDown,
    /// Names are registered and ended in quick succession.
    QuickEnds,
    /// A second node joins while states are saved; then the first dies.
    SecondNode,
    /// Nodes leave and come back while names count without saving.
    Handovers,
    /// Nodes die one at a time, in time for the copies that were lost to be made up for.
    OneByOne,
    /// Some names take long to start, the others do not.
    SlowStarts,
    /// A node that was down for long comes back first, and is asked for what the others had.
    BackFirst,
    /// A node dies before the others have heard all that it said, comes back, and dies again.
    Unheard,
}

impl Plot {
    const ALL: [Self; 14] = [
        Self::EarlyAsks,
        Self::AskedAgain,
        Self::Failover,
        Self::LoneCut,
        Self::TwoBirths,
        Self::Blackouts,
        Self::EndsOfTheDown,
        Self::QuickEnds,
        Self::SecondNode,
        Self::Handovers,
        Self::OneByOne,
        Self::SlowStarts,
        Self::BackFirst,
        Self::Unheard,
    ];

    /// The plot of a seed: every other small one has one.
    pub(super) fn of(seed: u64, nodes: usize, names: u64) -> Self {
        if seed.is_multiple_of(2) || nodes < 3 || names > 100 {
            return Self::Random;
        }
        let all = Self::ALL.len() as u64;
        Self::ALL[usize::try_from(seed / 2 % all).expect("small")]
    }

    /// The faults that it is about, and none of the others; links and disks stay as bad as the seed says, if it allows.
    pub(super) fn adjust(self, seeded: Options) -> Options {
        let (lost, delay_ms) = (seeded.lost, seeded.delay_ms);
        let mut o = Options {
            lost,
            delay_ms,
            seed: seeded.seed,
            plot: self,
            nodes: seeded.nodes,
            names: seeded.names,
            repeated: seeded.repeated,
            in_order: seeded.in_order,
            clock_apart_ms: seeded.clock_apart_ms,
            drift_ppm: seeded.drift_ppm,
            garbage: seeded.garbage,
            sync_ms: seeded.sync_ms,
            part_bytes: seeded.part_bytes,
            ..Options::none()
        };
        match self {
            Self::Random => return seeded,
            Self::EarlyAsks => {}
            Self::Failover | Self::EndsOfTheDown | Self::OneByOne | Self::BackFirst => o.kills = true,
            Self::AskedAgain => (o.kills, o.in_order, o.lost, o.delay_ms) = (true, false, lost.max(100), delay_ms.max(60)),
            Self::Blackouts => (o.kills, o.sync_ms) = (true, 1_000),
            Self::Unheard => (o.kills, o.lost, o.sync_ms) = (true, 300, 2),
            // A copy that is lost on its way is made up for when the view changes.
            Self::SecondNode => (o.kills, o.lost, o.garbage) = (true, 0, 0),
            Self::LoneCut => o.cuts = true,
            Self::TwoBirths => (o.cuts, o.kills) = (true, true),
            Self::QuickEnds => (o.repeated, o.repeated_ms, o.in_order) = (300, 2_000, false),
            // Whoever loses the last words of one that leaves does not know of its states.
            Self::Handovers => (o.leaves, o.lost, o.garbage) = (true, 0, 0),
            Self::SlowStarts => {
                (o.slow_starts, o.lost, o.garbage, o.delay_ms) = (true, 0, 0, delay_ms.min(60));
            }
        }
        o
    }

    pub(super) fn play(self, world: &mut World) {
        match self {
            Self::Random => unreachable!("the script plays it"),
            Self::EarlyAsks => world.early_asks(),
            Self::AskedAgain => world.asked_again(),
            Self::Failover => world.failover(),
            Self::LoneCut => world.lone_cut(),
            Self::TwoBirths => world.two_births(),
            Self::Blackouts => world.blackouts(),
            Self::EndsOfTheDown => world.ends_of_the_down(),
            Self::QuickEnds => world.quick_ends(),
            Self::SecondNode => world.second_node(),
            Self::Handovers => world.handovers(),
            Self::OneByOne => world.one_by_one(),
            Self::SlowStarts => world.slow_ones(),
            Self::BackFirst => world.back_first(),
            Self::Unheard => world.unheard(),
        }
    }
}

/// Where each name runs, and since when.
type Places = BTreeMap<Arc<str>, (String, Epoch)>;

impl World {
    fn early_asks(&mut self) {
        let mut order: Vec<usize> = (0..self.options.nodes).collect();
        self.rng.shuffle(&mut order);
        let late = order.pop().expect("three or more");
        for n in order {
            self.start(&node_name(n));
            self.pause(0..300);
            self.register_all_on(&node_name(n));
        }
        self.pause(0..8_000);
        self.start(&node_name(late));
        for _ in 0..4 {
            self.pause(0..400);
            self.register_all_on(&node_name(late));
        }
        self.rests_within(30_000);
    }

    fn asked_again(&mut self) {
        self.boot();
        for _ in 0..3 {
            self.register_all();
            self.pause(0..400);
            let victim = self.any_node();
            self.kill(&victim);
            for _ in 0..3 {
                self.register_all();
                self.pause(0..300);
            }
            self.start(&victim);
            self.pause(0..3_000);
            let ended = self.any_name();
            let on = self.any_node();
            self.unregister(&on, &ended);
        }
    }

    fn failover(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.run(3_000);
        let before = self.all_places();
        let victim = self.any_node();
        self.kill(&victim);
        self.rests_within(20_000);
        self.undisturbed(&before, &victim);
    }

    fn lone_cut(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.run(3_000);
        let before = self.all_places();
        let lone = self.any_node();
        for other in self.alive().iter().filter(|other| **other != lone) {
            self.cut(&lone, other);
        }
        self.pause(0..20_000);
        self.heal();
        self.run(4_000);
        self.rests_within(30_000);
        self.undisturbed(&before, &lone);
    }

    fn two_births(&mut self) {
        self.boot();
        let (one, other) = (self.any_node(), self.any_node());
        if one == other {
            return;
        }
        for apart in self.alive().iter().filter(|apart| **apart != one) {
            self.cut(&one, apart);
        }
        self.pause(0..9_000);
        for n in 0..self.options.names {
            let crowd = [self.register(&one, &name(n), 0), self.register(&other, &name(n), 1)];
            self.run_while(25_000, |world| crowd.iter().any(|asked| world.asked[asked].answer.is_none()));
        }
        // The others of the larger side know what this one had; it comes back when the names have ended.
        if self.nodes.contains_key(&other) {
            self.kill(&other);
        }
        self.heal();
        self.pause(0..6_000);
        for n in 0..self.options.names {
            let on = self.any_node();
            self.unregister(&on, &name(n));
        }
        self.answered_within(25_000);
        self.start(&other);
        self.pause(0..5_000);
    }

    fn blackouts(&mut self) {
        self.boot();
        for _ in 0..4 {
            for n in 0..self.options.names {
                let on = self.any_node();
                match self.rng.u32(0..6) {
                    0..=2 => drop(self.register(&on, &name(n), 0)),
                    3 => drop(self.unregister(&on, &name(n))),
                    _ => drop(self.count(&name(n), true)),
                }
            }
            // Sometimes one comes back just before, and what it had is being adopted.
            if self.rng.bool() {
                let victim = self.any_node();
                self.kill(&victim);
                self.pause(0..9_000);
                self.start(&victim);
                self.pause(0..3_000);
            } else {
                let enough = self.rng.usize(0..self.options.nodes * 4);
                let waiting = |world: &World| world.asked.values().filter(|asked| asked.answer.is_none()).count();
                let before = waiting(self);
                self.run_while(3_000, |world| waiting(world) + enough > before);
            }
            for node in self.alive() {
                self.kill(&node);
            }
            self.start_all_shuffled(3_000);
            self.rests_within(60_000);
        }
    }

    fn ends_of_the_down(&mut self) {
        self.boot();
        for _ in 0..2 {
            self.register_all();
            self.rests_within(30_000);
            let first = self.any_node();
            self.kill(&first);
            self.pause(0..3_000);
            for n in 0..self.options.names {
                if self.rng.bool() {
                    let on = self.any_node();
                    self.unregister(&on, &name(n));
                }
            }
            self.answered_within(25_000);
            self.pause(0..2_000);
            let second = self.any_node();
            self.kill(&second);
            self.pause(0..2_000);
            self.start_all_shuffled(2_000);
            self.rests_within(60_000);
        }
    }

    fn quick_ends(&mut self) {
        self.boot();
        for _ in 0..20 {
            let (name, on, other) = (self.any_name(), self.any_node(), self.any_node());
            self.register(&on, &name, 0);
            self.answered_within(25_000);
            self.unregister(&other, &name);
            if self.rng.bool() {
                self.register_everywhere(&name);
            }
            self.answered_within(25_000);
            self.pause(0..200);
        }
    }

    fn second_node(&mut self) {
        let (first, second) = (node_name(0), node_name(1));
        self.start(&first);
        self.run(4_000);
        self.register_all();
        self.answered_within(25_000);
        self.start(&second);
        for _ in 0..30 {
            self.pause(0..100);
            self.count_all(true);
        }
        self.run(8_000);
        self.kill(&first);
        self.rests_within(30_000);
        self.nothing_lost();
    }

    fn handovers(&mut self) {
        self.handoff = self.rng.bool();
        self.boot();
        self.register_all();
        for _ in 0..6 {
            for _ in 0..5 {
                if self.handoff {
                    self.count_all(false);
                }
                self.pause(0..300);
            }
            self.rests_within(30_000);
            // Somebody stays: else who comes first does without those who have the newest states.
            let leaves = |node: &Node| node.core.phase() == LEAVING;
            if self.nodes.len() > 1 && !self.nodes.values().any(leaves) {
                let leaver = self.any_node();
                self.begin_leave(&leaver);
                self.pause(0..2_000);
            }
            self.start_one();
        }
    }

    fn one_by_one(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        for _ in 0..4 {
            for _ in 0..3 {
                self.count_all(true);
                self.pause(0..200);
            }
            let victim = self.any_node();
            self.kill(&victim);
            self.pause(0..4_000);
            self.start(&victim);
            self.run(9_000);
            self.rests_within(30_000);
        }
        self.nothing_lost();
    }

    fn slow_ones(&mut self) {
        self.boot();
        let names: Vec<String> = (0..self.options.names).map(name).collect();
        let (slow, quick): (Vec<String>, Vec<String>) = names.into_iter().partition(|name| self.slow.contains(&**name));
        for name in &slow {
            let on = self.any_node();
            self.register(&on, name, 0);
        }
        self.pause(0..500);
        let on = self.any_node();
        let asked: Vec<u64> = quick.iter().map(|name| self.register(&on, name, 0)).collect();
        if !self.run_while(1_500, |world| asked.iter().any(|asked| world.asked[asked].answer.is_none())) {
            self.laws.broken("a name waits for others that start slowly".into());
        }
    }
}

impl World {
    fn back_first(&mut self) {
        self.boot();
        self.register_all();
        self.answered_within(25_000);
        let first = self.any_node();
        self.kill(&first);
        self.pause(6_000..9_000);
        for n in 0..self.options.names {
            let on = self.any_node();
            self.unregister(&on, &name(n));
        }
        self.answered_within(25_000);
        self.register_all();
        self.answered_within(25_000);
        for node in self.alive() {
            self.kill(&node);
            self.run(6_000);
        }
        self.start(&first);
        for _ in 0..3 {
            self.register_all_on(&first);
            self.pause(0..500);
        }
        self.start_all_shuffled(1_000);
        self.rests_within(60_000);
    }

    fn unheard(&mut self) {
        self.boot();
        for _ in 0..3 {
            let victim = self.any_node();
            self.register_all_on(&victim);
            let before = self.asked.values().filter(|asked| asked.answer.is_some()).count();
            self.run_while(3_000, |world| world.asked.values().filter(|a| a.answer.is_some()).count() < before + 2);
            self.kill(&victim);
            self.pause(0..3_000);
            self.start(&victim);
            self.pause(0..700);
            self.kill(&victim);
            self.pause(0..9_000);
            self.start(&victim);
            self.rests_within(60_000);
        }
    }
}

/// What the plots have in common.
impl World {
    fn pause(&mut self, ms: std::ops::Range<u64>) {
        let ms = self.rng.u64(ms);
        self.run(ms);
    }

    fn any_node(&mut self) -> String {
        let alive = self.alive();
        alive[self.rng.usize(0..alive.len())].clone()
    }

    fn any_name(&mut self) -> String {
        name(self.rng.u64(0..self.options.names))
    }

    /// Asks for all names, each on some node.
    fn register_all(&mut self) {
        for n in 0..self.options.names {
            let (on, from) = (self.any_node(), self.rng.u64(0..3));
            self.register(&on, &name(n), from);
        }
    }

    fn register_all_on(&mut self, on: &str) {
        for n in 0..self.options.names {
            let from = self.rng.u64(0..3);
            self.register(on, &name(n), from);
        }
    }

    fn register_everywhere(&mut self, name: &str) {
        for on in self.alive() {
            let from = self.rng.u64(0..3);
            self.register(&on, name, from);
        }
    }

    fn count_all(&mut self, save: bool) {
        for n in 0..self.options.names {
            self.count(&name(n), save);
        }
    }

    fn start_all_shuffled(&mut self, pause_ms: u64) {
        while self.nodes.len() < self.machines.len() {
            self.start_one();
            self.pause(0..pause_ms);
        }
    }

    fn answered_within(&mut self, ms: u64) {
        self.run_while(ms, |world| world.asked.values().any(|asked| asked.answer.is_none()));
    }

    /// The cluster comes to rest in that time.
    fn rests_within(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.violation().is_none() && self.unrest().is_some() {
            if self.now_ms >= until {
                let why = self.unrest().unwrap_or_default();
                return self.laws.broken(format!("{ms} ms were not enough: {why}"));
            }
            self.run(100);
        }
    }

    fn all_places(&self) -> Places {
        let running = self.nodes.iter().flat_map(|(node, state)| state.workers.iter().map(move |w| (node, w)));
        running.map(|(node, (name, worker))| (name.clone(), (node.clone(), worker.since))).collect()
    }

    /// What did not run on that node runs where it ran, and has never stopped.
    fn undisturbed(&mut self, before: &Places, but: &str) {
        let now = self.all_places();
        let moved = before.iter().find(|(name, place)| place.0 != but && now.get(*name) != Some(*place));
        if let Some((name, (node, since))) = moved {
            let what = format!("{name} ran on {node} since {since} and was disturbed: {:?}", now.get(name));
            self.laws.broken(what);
        }
    }

    /// What was acknowledged is there, though nodes died: one at a time.
    fn nothing_lost(&mut self) {
        for n in 0..self.options.names {
            let name = name(n);
            let running = self.places(&name).first().map(|(_, worker)| (worker.birth, worker.count));
            if let Some((birth, count)) = running
                && count < self.laws.acknowledged(&name, birth)
            {
                return self.laws.broken(format!("{name} has {count}, and more was acknowledged while a copy was there"));
            }
        }
    }
}
