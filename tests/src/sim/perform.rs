//! What happens at an event, and what becomes of a core's effects.

use std::sync::Arc;

use bytes::Bytes;
use sworm::core::cell::{Kind, Revision, Spec};
use sworm::core::chunks::Shipment;
use sworm::core::ids::Peer;
use sworm::core::membership::{Route, Want};
use sworm::core::message::{Answer, Done, Message, Refusal};
use sworm::core::snapshots::NotKept;
use sworm::core::{Effect, Input, Notice};
use sworm::internals::{Disk, Frame, Relay};
use sworm::store::{StoreError, Ticket};
use sworm::{Exit, store::Store};

use super::laws::Start;
use super::node::{SWORM, WORKER, Worker, decoded};
use super::world::{Event, World};

pub(super) const SWORM_HASH: u64 = 1;
/// How long a slow start takes.
const SLOW_MS: u64 = 3_000;

impl World {
    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::CheckLink { a, b } => self.on_check_link(&a, &b),
            Event::Resumes { node } => self.on_resumes(&node),
            Event::Ends { at } => self.on_ends(&at),
            Event::Dies { node } => {
                if self.nodes.contains_key(&node) {
                    self.kill(&node);
                }
            }
            Event::Arrives { from, to, bytes } => self.on_arrives(&from, &to, &bytes),
            Event::Link { at, peer, up } => self.on_link(&at, &peer, up),
            Event::Dialled { at, peer, refused } => {
                self.with_membership(&at, |membership, now_ms, want| membership.dialled(now_ms, &peer, refused, want));
            }
            Event::Seed { at, endpoint, answered } => {
                self.with_membership(&at, |membership, _, _| membership.seed(&endpoint, answered));
            }
            Event::Tells { at, input } => self.on_tells(&at, input),
            Event::Synced { at, number, ticket } => self.on_synced(&at, number, ticket),
            Event::Wake { at } => self.on_wake(&at),
            Event::Publishes { at } => self.on_publishes(&at),
        }
    }

    /// The process with this incarnation, if it still runs.
    fn is_running(&self, at: &Peer) -> bool {
        self.nodes.get(&*at.node).is_some_and(|node| node.me == *at)
    }

    fn on_resumes(&mut self, name: &str) {
        let Some(node) = self.nodes.get_mut(name) else { return };
        if node.paused_until.is_none_or(|until| until > self.now_ms) {
            return;
        }
        node.paused_until = None;
        node.resumed_ms = self.now_ms;
        node.stopped_for_ms += self.now_ms - node.paused_ms;
        self.note(|| format!("{name} goes on"));
        self.link_all(name);
    }

    fn on_ends(&mut self, at: &Peer) {
        if self.is_running(at) {
            let node = self.nodes.remove(&*at.node).expect("it runs");
            self.note(|| format!("{at} has ended"));
            self.machines[&*at.node].disk.make_durable(Ticket(u64::MAX));
            self.end(node);
        }
    }

    fn on_link(&mut self, at: &Peer, peer: &Peer, up: bool) {
        // A token comes up only while its process runs.
        let up = up && self.is_running(peer);
        let Some(node) = self.nodes.get_mut(&*at.node).filter(|node| node.me == *at) else { return };
        let changed = if up { node.links.insert(peer.clone()) } else { node.links.remove(peer) };
        if changed {
            self.note(|| format!("{at} {} {peer}", if up { "sees" } else { "loses" }));
            let peer = peer.clone();
            self.with_membership(at, |membership, now, want| membership.linked(now, peer, up, want));
        }
    }

    fn with_membership(
        &mut self,
        at: &Peer,
        change: impl FnOnce(&mut sworm::core::membership::Membership, u64, &mut Vec<Want>),
    ) {
        let now_ms = self.now_ms;
        let Some(node) = self.nodes.get_mut(&*at.node).filter(|node| node.me == *at) else { return };
        let mut want = Vec::new();
        let mono_ms = node.now(now_ms, 0).mono_ms;
        change(&mut node.membership, mono_ms, &mut want);
        for want in want {
            // Its disk may have failed with the one before.
            if self.is_running(at) {
                self.on_want(at, want);
            }
        }
    }

    fn on_want(&mut self, at: &Peer, want: Want) {
        match want {
            Want::Greet { to, answer } => {
                let hello = self.nodes[&*at.node].hello(self.now_ms, answer);
                self.send(at, &to, &Frame::Hello(hello));
            }
            Want::AskAbout { to, about } => self.send(at, &to, &Frame::AskAbout(at.clone(), about)),
            Want::Tell { to, linked } => self.send(at, &to, &Frame::Tell(at.clone(), linked)),
            Want::Dial { peer, .. } => {
                let found = self.dial(&at.node, &peer.node);
                let delay = found.map_or(500, |_| 1 + self.rng.u64(0..5));
                self.push(delay, Event::Dialled { at: at.clone(), peer, refused: found == Some(false) });
            }
            Want::Present { hello } => {
                self.take(at, Input::Present { peer: hello.from, profile: hello.profile });
            }
            Want::Absent { peer } => {
                self.note(|| format!("{at} takes {peer} for gone"));
                self.laws.takes_for_gone(at, &peer);
                self.take(at, Input::Absent { peer });
            }
            Want::Introduced => self.take(at, Input::Introduced),
            Want::OtherFormat { .. } | Want::ClockAhead { .. } => {}
            Want::IdTaken { other } => self.laws.broken(format!("{at} thinks that {other} took its id")),
        }
    }

    fn on_wake(&mut self, at: &Peer) {
        if !self.is_running(at) {
            return;
        }
        if self.outlives_its_lease(at) {
            return;
        }
        self.with_membership(at, |membership, now, want| membership.tick(now, want));
        self.take(at, Input::Tick);
        if let Some(node) = self.nodes.get(&*at.node).filter(|node| node.me == *at) {
            let next = node.until(self.now_ms, node.core.next_tick_ms()).clamp(5, 50);
            self.push(next, Event::Wake { at: at.clone() });
        }
    }

    /// A process whose workers did not stop in time after its lease has ended is aborted, as in production.
    fn outlives_its_lease(&mut self, at: &Peer) -> bool {
        let now_ms = self.now_ms;
        let node = self.nodes.get_mut(&*at.node).expect("it runs");
        if node.may_go_on(now_ms) || node.workers.is_empty() {
            node.lease_lost_ms = None;
            return false;
        }
        let now = node.now(now_ms, 0).mono_ms;
        if now < *node.lease_lost_ms.get_or_insert(now) + super::node::STOP_MS {
            return false;
        }
        self.note(|| format!("{at} is aborted: its workers did not stop in time"));
        self.kill(&at.node);
        true
    }

    fn on_synced(&mut self, at: &Peer, number: u64, ticket: Ticket) {
        if !self.is_running(at) {
            return;
        }
        let disk = &self.machines[&*at.node].disk;
        if disk.has_failed() {
            return self.fail(at);
        }
        disk.make_durable(ticket);
        self.take(at, Input::Durable(number));
    }

    /// A node whose disk fails stops, as in production.
    fn fail(&mut self, at: &Peer) {
        if self.is_running(at) {
            self.note(|| format!("the disk of {at} fails"));
            self.laws.deaths.push(self.now_ms);
            let node = self.nodes.remove(&*at.node).expect("it runs");
            self.end(node);
        }
    }

    /// A worker, or a read of the disk, tells its core something.
    fn on_tells(&mut self, at: &Peer, input: Input) {
        let Some(node) = self.nodes.get_mut(&*at.node).filter(|node| node.me == *at) else { return };
        match &input {
            Input::Started { name, since, result } => {
                let found = node.workers.get_mut(name).filter(|worker| worker.since == *since);
                match (result, found) {
                    (Ok(()), Some(worker)) => worker.ready = !worker.stops && !worker.kept,
                    (Ok(()), None) => return,
                    (Err(_), _) => drop(node.workers.remove(name)),
                }
            }
            Input::Paused { name, since, .. } => {
                // What it counted until now goes along.
                let Some(worker) = node.workers.get_mut(name).filter(|worker| worker.since == *since) else { return };
                worker.ready = false;
            }
            Input::Merged { name, since, revision, .. } => {
                // One that has ended meanwhile has done nothing with it.
                let Some(worker) = node.workers.get(name).filter(|worker| worker.since == *since) else { return };
                self.laws.goes_on_from(name, worker.birth, *revision);
            }
            Input::Stopped { name, since } if node.workers.get(name).is_some_and(|worker| worker.since == *since) => {
                node.workers.remove(name);
            }
            _ => {}
        }
        self.take(at, input);
    }

    fn on_arrives(&mut self, from: &Peer, to: &Peer, bytes: &Bytes) {
        if !self.is_running(to) || !self.links.carries(&from.node, &to.node) {
            return;
        }
        let Ok(frame) = Frame::decode(bytes) else {
            self.refused += 1;
            return;
        };
        match frame {
            Frame::Hello(hello) => {
                let unix_ms = self.nodes[&*to.node].now(self.now_ms, 0).unix_ms;
                self.with_membership(to, |membership, now, want| membership.hello(now, unix_ms, hello, want));
            }
            Frame::Goodbye(peer) => self.with_membership(to, |membership, _, _| membership.goodbye(&peer)),
            Frame::Core(_, from, message) => {
                if self.nodes[&*to.node].opens {
                    self.take(to, Input::Message { from, message });
                } else if let Message::Beat(beat) = &*message
                    && beat.is_answered_unopened()
                {
                    let answer = Frame::Core(SWORM_HASH, to.clone(), Box::new(Message::NotOpen));
                    self.send(to, &from, &answer);
                }
            }
            Frame::AskAbout(from, about) => {
                self.with_membership(to, |membership, _, want| membership.asked_about(from, about, want));
            }
            Frame::Tell(from, linked) => {
                self.with_membership(to, |membership, now, want| membership.told(now, &from, linked, want));
            }
            Frame::Relay(relay) => {
                if self.nodes[&*to.node].membership.passes_on(&relay.to) {
                    self.carry(to, &relay.to, &relay.frame);
                }
            }
            Frame::Call(_) | Frame::Calls(_) | Frame::Reply(..) => {}
        }
    }

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
                if let Some(asked) = self.asked.get_mut(&number) {
                    asked.answer = Some(Some(answer));
                    let name = asked.ask.name().clone();
                    let nodes: Vec<Peer> = self.nodes.values().map(|node| node.me.clone()).collect();
                    nodes.iter().for_each(|node| self.nothing_came_of_refused(node, &name));
                }
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

    fn start_worker(&mut self, at: &Peer, name: Arc<str>, since: sworm::Epoch, count: u64, checkpointed: bool) {
        let slow = if self.slow.contains(&name) { SLOW_MS } else { 0 };
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

    fn on_checkpointed(
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

    pub(super) fn count_message(&mut self, message: &Message) {
        self.messages += 1;
        if let Some(others) = &mut self.others
            && !matches!(message, Message::Beat(_) | Message::Votes(_))
        {
            others.push(format!("{message:?}"));
        }
    }

    /// All that a broadcast goes to.
    fn reached(&self, from: &Peer) -> Vec<Peer> {
        let node = &self.nodes[&*from.node];
        let relayed = node.membership.relayed().into_iter().map(|(peer, _)| peer);
        node.links.iter().cloned().chain(relayed.filter(|peer| !node.links.contains(peer))).collect()
    }

    /// Sends a frame over the link, or over another node.
    pub(super) fn send(&mut self, from: &Peer, to: &Peer, frame: &Frame) {
        let bytes = frame.encode().expect("frames encode");
        match self.nodes[&*from.node].membership.route(to) {
            Route::Direct | Route::None => self.carry(from, to, &bytes),
            Route::Via(relay) => {
                let frame = Frame::Relay(Relay { to: to.clone(), droppable: false, frame: bytes });
                self.carry(from, &relay, &frame.encode().expect("frames encode"));
            }
        }
    }

    /// Brings bytes over a link that is there.
    fn carry(&mut self, from: &Peer, to: &Peer, bytes: &Bytes) {
        if !self.nodes[&*from.node].links.contains(to) {
            return;
        }
        self.fold(bytes);
        self.largest = self.largest.max(bytes.len());
        let lost = self.rng.u32(0..1_000) < self.options.lost;
        let copies = if lost { 0 } else { 1 + u32::from(self.rng.u32(0..1_000) < self.options.repeated) };
        for copy in 0..copies {
            let mut delay = 1 + self.rng.u64(0..=self.options.delay_ms);
            if copy > 0 && self.options.repeated_ms > 0 {
                delay += self.rng.u64(0..=self.options.repeated_ms);
            }
            if self.options.in_order {
                delay = self.links.queue(from, to, self.now_ms + delay) - self.now_ms;
            }
            let mut bytes = bytes.clone();
            if self.rng.u32(0..1_000) < self.options.garbage {
                bytes = self.garbled(&bytes);
            }
            self.push(delay, Event::Arrives { from: from.clone(), to: to.clone(), bytes });
        }
    }

    /// The bytes with a few of them changed, or cut off.
    pub(super) fn garbled(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if self.rng.bool() {
            bytes.truncate(self.rng.usize(0..bytes.len()));
        } else {
            for _ in 0..self.rng.usize(1..4) {
                let at = self.rng.usize(0..bytes.len());
                bytes[at] = bytes[at].wrapping_add(self.rng.u8(1..));
            }
        }
        bytes.into()
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
