//! Plots in which something is not as it should be, and nobody is told.

use sworm::core::cell::Key;
use sworm::core::directory::Standing;

use crate::sim::script::name;
use crate::sim::world::World;

/// How long it may take until a worker has its name back.
const NOTICED_MS: u64 = 2_500;
/// How long it may take until a name has a worker again: the others are asked for its state.
const ANEW_MS: u64 = 15_000;
/// How long it may take until a start that has failed is tried again, and somewhat more.
const TRIED_AGAIN_MS: u64 = 45_000;

impl World {
    /// What a worker's node says of it is lost; it gets its name back, and runs on.
    pub(super) fn lost_names(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        for _ in 0..4 {
            let name = self.any_name();
            let Some((host, before)) = self.worker(&name) else { continue };
            self.note(|| format!("{host} forgets {name}"));
            self.directory(&host).1.remove(&Key::Name(name.as_str().into()));
            self.pause(1..200);
            let has_it = |world: &World| {
                let node = &world.nodes[&host];
                let standing = node.core.standing(&name.as_str().into());
                matches!(standing, Standing::Claimed { host, cell } if host == node.me && cell.since == before.since)
            };
            if !self.run_while(NOTICED_MS, |world| !has_it(world)) {
                return self.laws.broken(format!("{name} is not given back{}", self.describe(&name)));
            }
            self.rests_within(30_000);
            if self.violation().is_some() {
                return;
            }
            if self.worker(&name) != Some((host, before)) {
                return self.laws.broken(format!("{name} does not run on as it did{}", self.describe(&name)));
            }
        }
    }

    /// What a node knows of one of its workers is lost, and sometimes the worker, too; it is started anew, and runs once.
    pub(super) fn lost_workers(&mut self) {
        for _ in 0..4 {
            let name = self.any_name();
            let Some((host, before)) = self.worker(&name).filter(|_| self.violation().is_none()) else { continue };
            self.note(|| format!("{host} forgets the worker of {name}"));
            self.nodes.get_mut(&host).expect("it runs there").core.forget_worker(&name);
            if self.rng.bool() {
                self.vanish(&name);
            }
            let again = |world: &World| {
                world.places(&name).iter().any(|(_, worker)| worker.ready && worker.since > before.since)
            };
            if !self.run_while(ANEW_MS, |world| !again(world)) {
                return self.laws.broken(format!("{name} is not started anew{}", self.describe(&name)));
            }
            self.rests_within(30_000);
        }
    }

    /// A node is gone, and some of its names cannot be started elsewhere, or not on one of the others, until something is mended;
    /// then they are. Meanwhile they are moved, that node is emptied, and they are asked for.
    pub(super) fn later_starts(&mut self) {
        self.boot();
        self.register_all();
        self.rests_within(30_000);
        self.count_all(true);
        self.run(2_000);
        for _ in 0..2 {
            for n in 0..self.options.names {
                if self.rng.bool() {
                    self.broken.insert(name(n).into());
                }
            }
            let gone = self.any_node();
            if self.rng.bool() {
                self.kill(&gone);
            } else {
                self.begin_leave(&gone);
            }
            let in_vain = self.any_node();
            if self.rng.bool() {
                self.broken.clear();
                self.broken_on.insert(in_vain.clone());
            }
            self.pause(1_000..10_000);
            for _ in 0..4 {
                let (on, to, name) = (self.any_node(), self.any_node(), self.any_name());
                match self.rng.u32(0..4) {
                    0 if self.nodes.contains_key(&in_vain) => self.drain(&in_vain, true),
                    0 | 1 => drop(self.move_name(&on, &name, &to)),
                    2 => drop(self.register(&on, &name, 7)),
                    _ => {}
                }
                self.pause(0..2_000);
            }
            self.note(|| "all can be started again".to_owned());
            self.broken.clear();
            self.broken_on.clear();
            if self.nodes.contains_key(&in_vain) {
                self.drain(&in_vain, false);
            }
            let all_run = |world: &World| (0..world.options.names).all(|n| !world.places(&name(n)).is_empty());
            if !self.run_while(TRIED_AGAIN_MS, |world| world.violation().is_none() && !all_run(world)) {
                let late = (0..self.options.names).map(name).find(|name| self.places(name).is_empty());
                let late = late.expect("not all run");
                return self.laws.broken(format!("{late} is not tried again{}", self.describe(&late)));
            }
            self.run_while(30_000, |world| world.nodes.len() == world.machines.len());
            self.start_all_shuffled(1_000);
            self.rests_within(60_000);
        }
    }
}
