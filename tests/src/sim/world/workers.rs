//! Workers that count, and those that end without having been told to.

use sworm::core::Input;
use sworm::core::snapshots::Wait;

use super::World;
use crate::sim::node::Worker;

impl World {
    /// A worker takes a message that counts it up; with `save` the reply waits until that is durable. `None` when
    /// nobody takes messages under that name.
    pub fn count(&mut self, name: &str, save: bool) -> Option<u64> {
        self.regroup_sometimes(name, 6);
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
    pub(in crate::sim) fn stop(&mut self, name: &str) {
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

    /// Its node forgets a worker, as a mistake would make it do.
    pub fn forget(&mut self, name: &str) {
        let node = self.nodes.values_mut().find(|node| node.workers.contains_key(name)).expect("it runs");
        node.core.forget_worker(name);
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
}
