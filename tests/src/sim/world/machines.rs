//! Machines and their processes: they are started, killed and stopped, they leave, and their disks are lost or slow.

use std::collections::BTreeSet;

use sworm::core::Input;

use super::{Event, World};
use crate::sim::disk::Disk;
use crate::sim::kinds;
use crate::sim::node::{Machine, Node};

/// What was on a disk at some time.
pub struct Image(Disk);

impl World {
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
            let endpoint = crate::sim::node::endpoint(&other);
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

    pub(in crate::sim) fn end(&mut self, node: Node) {
        let disk = self.machines[&*node.me.node].disk.clone();
        let kept = self.rng.usize(0..=disk.unsynced());
        disk.crash(kept);
        self.laws.only_keeps(&node.me.node, &crate::sim::disk::states(&disk));
        let copies = self.nodes.values().filter_map(|other| other.core.directory().lane(&node.me));
        self.laws.ends(&node.me, copies.map(|copy| copy.max()).max().unwrap_or(0));
        let held = |other: &Node| Some((other.me.node.clone(), other.core.directory().lane(&node.me)?.max()));
        self.laws.groups.ends(&node.me, self.nodes.values().filter_map(held));
        for asked in self.asked.values_mut().filter(|asked| asked.on == *node.me.node && asked.answer.is_none()) {
            asked.answer = Some(None);
        }
        self.unlink_all(&node.me);
    }

    /// `SIGSTOP`, for so long.
    pub(in crate::sim) fn freeze(&mut self, name: &str, for_ms: u64) {
        self.note(|| format!("pause {name} for {for_ms} ms"));
        let until = self.now_ms + for_ms;
        let node = self.nodes.get_mut(name).expect("it runs");
        if node.paused_until.is_none() {
            node.paused_ms = self.now_ms;
        }
        node.paused_until = Some(until);
        self.push(for_ms, Event::Resumes { node: name.to_owned() });
        if for_ms >= crate::sim::links::LEASE_MS {
            let others = self.alive();
            for other in others.iter().filter(|other| *other != name) {
                self.check_link(name, other, crate::sim::links::LEASE_MS);
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

    /// What is on a machine's disk by now: see [`World::roll_back`].
    pub fn image(&self, name: &str) -> Image {
        Image(self.machines[name].disk.durable_part())
    }

    /// A machine that is down has the disk that it had before, and its store knows that something is lost.
    pub fn roll_back(&mut self, name: &str, image: &Image) {
        self.note(|| format!("the disk of {name} is as it was"));
        let disk = image.0.rolled_back();
        self.laws.only_keeps(name, &crate::sim::disk::states(&disk));
        self.machines.get_mut(name).expect("it is there").disk = disk;
    }

    /// From now on each sync of a machine's disk takes so long; with `None` it is as fast as the others.
    pub fn slow_disk(&mut self, name: &str, sync_ms: Option<u64>) {
        self.machines.get_mut(name).expect("it is there").sync_ms = sync_ms;
    }

    /// What a machine's disk has of a name's state cannot be read any more.
    pub fn spoil(&mut self, on: &str, name: &str) {
        self.machines.get_mut(on).expect("it is there").unreadable.insert(name.into());
    }
}
