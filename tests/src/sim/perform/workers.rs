//! Workers that are started, and what becomes of the states that they save.

use std::sync::Arc;

use sworm::Exit;
use sworm::core::Input;
use sworm::core::cell::{Kind, Revision, Spec};
use sworm::core::ids::Peer;
use sworm::core::snapshots::NotKept;

use crate::sim::laws::Start;
use crate::sim::node::{WORKER, Worker};
use crate::sim::world::World;

impl World {
    pub(super) fn start_worker(
        &mut self,
        at: &Peer,
        name: Arc<str>,
        since: sworm::Epoch,
        count: u64,
        checkpointed: bool,
    ) {
        let slow = if self.slow.contains(&name) { self.slow_ms } else { 0 };
        let delay = 1 + slow + self.rng.u64(0..5);
        self.nothing_starts_of_refused(at, &name);
        if self.is_broken(at, &name) {
            let result = Err(Exit::StartFailed("broken".into()));
            return self.tell(delay, at, Input::Started { name, since, result });
        }
        let node = self.nodes.get_mut(&*at.node).expect("it acts");
        let birth = node.core.birth_of(&name).expect("it starts");
        let padding = self.options.padding;
        let worker = Worker {
            starts_ms: self.now_ms + delay,
            since,
            count,
            birth,
            padding,
            revision: 0,
            checkpointed,
            ready: false,
            stops: false,
            kept: false,
            saving: None,
        };
        let former = node.workers.insert(name.clone(), worker);
        self.note(|| format!("{at} starts {name} {since} at {count}"));
        if let Some(former) = former {
            self.laws.broken(format!("{at} starts {name} {since} while {} still runs there", former.since));
        }
        self.laws.starts_in_lone_cut(at, &name, birth);
        self.may_start(at, &name, birth);
        self.parked_states_are_durable(at, &name, birth);
        self.groups_come_along(at, &name, birth, since);
        let (places, running) = (self.active_places(&name), self.nodes.values().map(|node| node.me.clone()).collect());
        let fine = self.violation().is_none();
        let start = Start { at, name: &name, birth, since, count, places: &places, running, now_ms: self.now_ms };
        self.laws.starts(&start, &self.options);
        if fine && self.violation().is_some() && self.trace.is_some() {
            let held = self.describe(&name);
            self.note(|| format!("what is held of {name}:{held}"));
        }
        self.renew(delay, at, &name, since);
        self.tell(delay, at, Input::Started { name, since, result: Ok(()) });
    }

    /// A worker that was registered with an older version than its node links says so.
    fn renew(&mut self, delay: u64, at: &Peer, name: &Arc<str>, since: sworm::Epoch) {
        let linked = self.machines[&*at.node].types.get(WORKER).copied();
        let spec = self.directory(&at.node).1.mine(name).map(|cell| cell.spec.clone());
        if let (true, Some(version), Some(spec)) = (self.renews, linked, spec)
            && spec.version < version
        {
            let kind = Arc::new(Kind { version, ..(*spec.kind).clone() });
            let spec = Arc::new(Spec { kind, value: spec.value.clone() });
            self.tell(delay, at, Input::Renewed { name: name.clone(), since, spec });
        }
    }

    pub(super) fn on_checkpointed(
        &mut self,
        at: &Peer,
        name: Arc<str>,
        since: sworm::Epoch,
        number: u64,
        result: Result<(), NotKept>,
    ) {
        let node = self.nodes.get_mut(&*at.node).expect("it acts");
        let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) else { return };
        let Some((_, count)) = worker.saving.take_if(|(saving, _)| *saving == number) else { return };
        let birth = worker.birth;
        self.note(|| format!("{at} has {name} = {count} durable: {result:?}"));
        if result == Err(NotKept::NoMajority) {
            // It goes on until it is told to pause.
            let revision = Revision { epoch: since, number };
            self.laws.parks(self.now_ms, at, &name, birth, revision);
        } else if result.is_ok() {
            let acked = self.acked(at, &name, count);
            self.laws.saved(&name, birth, acked);
        } else {
            // As in production: a worker whose checkpoint fails ends, and is started again.
            self.nodes.get_mut(&*at.node).expect("it acts").workers.remove(&name);
            let exit = Exit::Error("checkpoint".into());
            self.ends_by_itself(&name, birth, &exit);
            self.tell(0, at, Input::Exited { name, since, exit });
        }
    }
}
