//! What happens at an event, and what becomes of a core's effects.

use sworm::core::chunks::Shipment;
use sworm::core::ids::Peer;
use sworm::core::message::{Answer, Done, Message, Refusal};
use sworm::core::{Effect, Input, Notice};
use sworm::internals::{Disk, Frame};
use sworm::store::StoreError;
use sworm::{Exit, store::Store};

use super::node::{SWORM, decoded};
use super::world::{Event, World};

mod events;
mod wire;
mod workers;

pub(super) const SWORM_HASH: u64 = 1;

impl World {
    /// Gives an input to a node's core, and performs what it decides.
    pub(super) fn take(&mut self, at: &Peer, input: Input) {
        let (now_ms, random) = (self.now_ms, self.rng.u32(..));
        let lingers = self.options.lingers && self.rng.bool();
        let Some(node) = self.nodes.get_mut(&*at.node).filter(|node| node.me == *at && node.opens) else { return };
        let now = node.now(now_ms, random);
        let heard = match &input {
            Input::Message { message, .. } => match &**message {
                Message::Delta(delta) => Some(delta.lane.clone()),
                Message::Part(part) => Some(part.lane.clone()),
                _ => None,
            },
            _ => None,
        };
        node.core.handle(now, input);
        let (effects, waits) = if lingers { node.core.flush_some(now) } else { (node.core.flush(now), false) };
        for lane in heard.iter().chain([at]) {
            if let Some(copy) = node.core.directory().lane(lane) {
                self.laws.holds(at, lane, copy.max(), copy.fingerprint());
            }
        }
        if waits {
            let delay = self.rng.u64(0..3);
            self.push(delay, Event::Publishes { at: at.clone() });
        }
        self.carry_out(at, effects);
    }

    /// What a node has stated is published, unless that has come with something else.
    fn on_publishes(&mut self, at: &Peer) {
        let (now_ms, random) = (self.now_ms, self.rng.u32(..));
        let Some(node) = self.nodes.get_mut(&*at.node).filter(|node| node.me == *at) else { return };
        let effects = node.core.flush(node.now(now_ms, random));
        self.carry_out(at, effects);
    }

    fn carry_out(&mut self, at: &Peer, effects: Vec<Effect>) {
        let effects = self.up_to_the_trap(at, effects);
        if let Err(_full) = self.perform_all(at, effects) {
            self.fail(at);
        }
    }

    fn perform_all(&mut self, at: &Peer, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut syncs = Vec::new();
        let mut others = Vec::new();
        let node = self.nodes.get_mut(&*at.node).expect("it acts");
        let (mut loads, mut chunks, mut forgotten, mut gone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut readable = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(delta) => {
                    let core = &node.core;
                    node.lanes.persist(&delta, || core.whole_lane(&delta.lane))?;
                }
                Effect::PersistEnds { ended, dropped } => node.lanes.persist_ends(ended, dropped)?,
                Effect::ForgetLane(lane) => {
                    node.lanes.forget(&lane);
                    forgotten.push(lane);
                }
                Effect::StoreSnapshot { name, snapshot } => {
                    readable.push(name.clone());
                    node.lanes.keep(&name, snapshot)?;
                }
                Effect::StoreChunk { name, manifest, index, bytes } => {
                    node.lanes.store_chunk(&name, &manifest, index, &bytes)?;
                }
                Effect::DropChunks { name, manifest } => node.lanes.drop_chunks(&name, &manifest),
                Effect::SendChunk { to, name, manifest, index } => chunks.push((to, name, manifest, index)),
                Effect::DeleteSnapshot { name } => node.lanes.delete_snapshot(&name),
                Effect::SetAside { name, birth, revision } => node.lanes.set_aside(&name, birth, revision)?,
                Effect::DeleteAside { name, birth, revision } => node.lanes.delete_aside(&name, birth, revision),
                Effect::LoadSnapshot { purpose } => {
                    node.lanes.write()?;
                    loads.push(purpose);
                }
                Effect::Sync(number) => syncs.push(number),
                Effect::LookAfter(workers) => gone = workers,
                other => others.push(other),
            }
        }
        let ticket = node.lanes.write()?;
        let machine = self.machines.get_mut(&*at.node).expect("it runs there");
        machine.unreadable.retain(|name| !readable.contains(name));
        let sync_ms = machine.sync_ms;
        for number in syncs {
            let delay = sync_ms.unwrap_or_else(|| 1 + self.rng.u64(0..=self.options.sync_ms));
            self.push(delay, Event::Synced { at: at.clone(), number, ticket });
        }
        for lane in forgotten {
            self.note(|| format!("{at} forgets {lane}"));
        }
        for purpose in loads {
            let machine = &self.machines[&*at.node];
            let store: &dyn Store = &machine.disk;
            let snapshot = Disk::load(store, SWORM, &purpose)?.filter(|_| !machine.unreadable.contains(purpose.name()));
            let delay = 1 + self.rng.u64(0..4);
            self.tell(delay, at, Input::Loaded { purpose, snapshot });
        }
        for (to, name, manifest, index) in chunks {
            self.send_chunk(at, to, name, &manifest, index)?;
        }
        for effect in others {
            self.perform(at, effect);
        }
        gone.retain(|(name, since)| {
            let here = self.nodes.get(&*at.node).and_then(|node| node.workers.get(name));
            !self.is_broken(at, name) && here.is_none_or(|worker| worker.since != *since)
        });
        for (name, since) in gone {
            self.note(|| format!("{at} has no task for {name} {since}"));
            self.take(at, Input::Gone { name, since });
        }
        Ok(())
    }

    fn perform(&mut self, at: &Peer, effect: Effect) {
        match effect {
            Effect::Send { to, message } => {
                self.count_message(&message);
                if let Message::Best { name, birth, .. } = &*message {
                    self.looks_for(at, name, *birth);
                }
                self.send(at, &to, &Frame::Core(SWORM_HASH, at.clone(), message));
            }
            Effect::Broadcast(message) => {
                let frame = Frame::Core(SWORM_HASH, at.clone(), message.clone());
                for to in self.reached(at) {
                    self.count_message(&message);
                    self.send(at, &to, &frame);
                }
            }
            Effect::Merge { name, since, snapshot } => {
                let (delay, revision) = (1 + self.rng.u64(0..50), snapshot.revision);
                self.note(|| format!("{at} gives {name} {since} what {revision:?} had"));
                if std::mem::take(&mut self.withholds) {
                    return self.tell(delay, at, Input::NotGiven { name, since, revision });
                }
                if let Some(count) = decoded(snapshot.birth, &snapshot.state) {
                    self.given.push((name.to_string(), count));
                }
                self.tell(delay, at, Input::Merged { name, since, revision, result: Ok(()) });
            }
            Effect::Start { name, since, spec, state } => {
                self.starts_from(at, &name, since, state.as_ref().map(Shipment::revision));
                if let Some(state) = &state {
                    self.laws.goes_on_from(&name, state.birth(), state.revision());
                }
                let checkpointed = state.as_ref().is_some_and(Shipment::checkpoint);
                let count = match state {
                    None => Some(u64::from_be_bytes(spec.value[..].try_into().expect("eight bytes"))),
                    Some(state) => match self.read(at, &name, state) {
                        Some(state) => decoded(state.birth, &state.state),
                        None => {
                            let result = Err(Exit::StartFailed("its state cannot be read".into()));
                            return self.tell(1, at, Input::Started { name, since, result });
                        }
                    },
                };
                let Some(count) = count else {
                    return self.laws.broken(format!("{at} starts {name} from what nobody has saved"));
                };
                self.start_worker(at, name, since, count, checkpointed);
            }
            Effect::Pause { name, since, why } => {
                let parked = why == Exit::MajorityLost;
                self.paused_for(at, &name, &why);
                let (handoff, now_ms) = (self.handoff, self.now_ms);
                let delay = 1 + self.rng.u64(0..20);
                let node = self.nodes.get_mut(&*at.node).expect("it acts");
                if let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) {
                    worker.ready = false;
                    worker.stops = parked;
                    // It does so when it has started.
                    let delay = worker.starts_ms.saturating_sub(now_ms) + delay;
                    let state = handoff.then(|| worker.snapshot());
                    worker.kept = state.is_some();
                    if let Some(state) = state.as_ref().filter(|_| parked) {
                        self.laws.parks(now_ms, at, &name, state.birth, state.revision);
                    }
                    let state = state.map(|state| self.ship(delay, at, &name, state));
                    self.tell(delay, at, Input::Paused { name, since, state: Ok(state) });
                }
            }
            Effect::Resume { name, since } => {
                let node = self.nodes.get_mut(&*at.node).expect("it acts");
                if let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) {
                    worker.ready = true;
                    worker.stops = false;
                    worker.kept = false;
                }
            }
            Effect::Stop { name, since, why } => {
                self.stops_for(at, &name, since, &why);
                self.moved_for(&name, &why);
                // One whose start fails never runs.
                if let Exit::Conflict { winner } = why
                    && !self.is_broken(at, &name)
                {
                    self.laws.told(at, &name, since, &winner);
                }
                let delay = 1 + self.rng.u64(0..self.options.stop_ms);
                let node = self.nodes.get_mut(&*at.node).expect("it acts");
                if let Some(worker) = node.workers.get_mut(&name).filter(|worker| worker.since == since) {
                    worker.ready = false;
                    worker.stops = true;
                }
                self.note(|| format!("{at} stops {name} {since}"));
                self.tell(delay, at, Input::Stopped { name, since });
            }
            Effect::Overlay { name, entry } => {
                self.note(|| format!("{at} was told that {name} is on {}", entry.host));
                self.nodes.get_mut(&*at.node).expect("it acts").overlaid.insert(name);
            }
            Effect::Index { name, entry } => {
                self.note(|| match &entry {
                    Some(entry) => {
                        format!("{at} looks {name} up on {} {:?} {}", entry.host, entry.cell.state, entry.running)
                    }
                    None => format!("{at} looks {name} up nowhere"),
                });
                let node = self.nodes.get_mut(&*at.node).expect("it acts");
                let events = node.core.changes(&name, node.index.get(&name), entry.as_ref());
                if let Err(wrong) = node.follower.follows(&name, &events, entry.as_ref()) {
                    self.laws.broken(format!("whoever watches {at} is misled: {wrong}"));
                }
                node.overlaid.remove(&name);
                match entry {
                    Some(entry) => node.index.insert(name, entry),
                    None => node.index.remove(&name),
                };
            }
            Effect::Answer { number, answer } => {
                self.note(|| format!("{at} is answered {number}: {}", brief(&answer)));
                self.laws.answered(number, &answer);
                if let Some(wrong) = self.laws.groups.answered(number, &answer, self.now_ms) {
                    self.laws.broken(wrong);
                }
                self.nothing_runs_of_ended(&answer);
                if let Some(asked) = self.asked.get_mut(&number) {
                    asked.answer = Some(Some(answer));
                    let name = asked.ask.name().clone();
                    let nodes: Vec<Peer> = self.nodes.values().map(|node| node.me.clone()).collect();
                    nodes.iter().for_each(|node| self.nothing_came_of_refused(node, &name));
                }
                self.undo_sometimes(number);
            }
            Effect::Drained { drained, .. } => {
                self.note(|| format!("{at} is empty: {drained:?}"));
                self.drained.push(drained);
            }
            Effect::Expired { number } => {
                self.note(|| format!("{at}: {number} has expired"));
                if let Some(asked) = self.asked.get_mut(&number) {
                    asked.answer = Some(None);
                }
            }
            Effect::Checkpointed { name, since, number, result } => {
                self.on_checkpointed(at, name, since, number, result);
            }
            Effect::Lease { until_ms } => {
                self.note(|| format!("{at} may go on until {until_ms}"));
                self.nodes.get_mut(&*at.node).expect("it acts").lease_until_ms = until_ms;
            }
            Effect::Left { .. } => {
                self.nodes.get_mut(&*at.node).expect("it acts").left = true;
                for to in self.reached(at) {
                    self.send(at, &to, &Frame::Goodbye(at.clone()));
                }
                let delay = 5 + self.options.delay_ms;
                self.push(delay, Event::Ends { at: at.clone() });
            }
            Effect::Tell(notice) => {
                self.note(|| format!("{at} tells {notice:?}"));
                self.told.push((at.node.to_string(), notice.clone()));
                match notice {
                    Notice::RestoredOlder { pid, .. } => {
                        let name = &pid.name;
                        let cell = self.nodes[&*at.node].core.directory().mine(name);
                        let (birth, since) = cell.map(|cell| (cell.birth, cell.since)).expect("it is to start there");
                        self.laws.restored_older(name, birth, since);
                        self.tells_older(at, name, since);
                    }
                    Notice::StateDiverged { pid, .. } => {
                        if let Some(worker) = self.nodes[&*at.node].workers.get(&pid.name) {
                            self.laws.diverged(&pid.name, worker.birth);
                        }
                    }
                    Notice::Conflict { pid, .. } => {
                        if let Some(loser) = self.nodes[&*at.node].workers.get(&pid.name) {
                            self.laws.lost(at, &pid.name, loser.since);
                        }
                    }
                    _ => {}
                }
            }
            Effect::Disagreed { node, theirs } => {
                self.laws.broken(format!("{at}: {node} has other settings: {theirs}"))
            }
            Effect::Viewed(view) => {
                let view: Vec<String> = view.iter().map(ToString::to_string).collect();
                self.note(|| format!("{at} has in view {}", view.join(", ")));
            }
            Effect::Ready => {}
            Effect::Persist(_)
            | Effect::PersistEnds { .. }
            | Effect::ForgetLane(_)
            | Effect::Sync(_)
            | Effect::LookAfter(_)
            | Effect::StoreSnapshot { .. }
            | Effect::DeleteSnapshot { .. }
            | Effect::SetAside { .. }
            | Effect::DeleteAside { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::StoreChunk { .. }
            | Effect::DropChunks { .. }
            | Effect::SendChunk { .. } => unreachable!("performed by the caller"),
        }
    }
}

fn brief(answer: &Answer) -> String {
    match answer {
        Ok(Done::Registered { name, host, cell, .. }) => format!("{name} is registered on {host} {}", cell.since),
        Ok(Done::Unregistered { name, births }) => format!("{name} has ended {births:?}"),
        Ok(Done::Regrouped { name, .. }) => format!("{name} is regrouped"),
        Ok(Done::Moved { name, host, .. }) => format!("{name} runs on {host}"),
        Ok(Done::Voters { number, nodes }) => format!("the voters {number} are {nodes:?}"),
        Err(Refusal::AlreadyRegistered { pid, .. }) => format!("taken by {pid}"),
        Err(refusal) => format!("{refusal:?}"),
    }
}
