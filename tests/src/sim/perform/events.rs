//! What happens at an event: on links, disks and workers, and when time passes.

use bytes::Bytes;
use sworm::core::Input;
use sworm::core::ids::Peer;
use sworm::core::membership::Want;
use sworm::core::message::Message;
use sworm::internals::Frame;
use sworm::store::Ticket;

use super::SWORM_HASH;
use crate::sim::world::{Event, World};

impl World {
    pub(in crate::sim) fn happens(&mut self, event: Event) {
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
        if now < *node.lease_lost_ms.get_or_insert(now) + crate::sim::node::STOP_MS {
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
    pub(super) fn fail(&mut self, at: &Peer) {
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
}
