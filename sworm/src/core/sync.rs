//! Members, heartbeats and anti-entropy: how every node comes to hold what the others hold, and knows it.

use std::sync::Arc;

use super::Effect;
use super::cell::{Key, Value};
use super::fault::{Fault, planted};
use super::ids::{NodeId, Peer};
use super::lane::{Delta, Joined};
use super::message::{Beat, Message, Versions};
use super::state::Core;

mod members;
mod tidy;

impl Core {
    pub(super) fn on_message(&mut self, from: &Peer, message: Message) {
        match message {
            Message::Beat(beat) => self.on_beat(from, beat),
            Message::NotOpen => self.on_not_open(from),
            Message::Versions(versions) => self.on_versions(from, versions),
            Message::Pull(wanted) => self.on_pull(from, &wanted),
            Message::Delta(mut delta) => {
                self.directory.share(&mut delta.cells);
                self.on_delta(from, delta);
            }
            Message::Part(part) => self.on_part(from, part),
            Message::PullPart { lane, from: base, gc, after } => self.on_pull_part(from, lane, (base, gc), after),
            Message::Ask { request, ask } => self.on_asked(request, ask),
            Message::Answer { number, attempt, answer } => self.on_answer(from, number, attempt, answer),
            Message::Grant(grant) => self.on_grant(from, *grant),
            Message::Granted { name, epoch, outcome } => self.on_granted(from, &name, epoch, outcome),
            Message::End { name, births } => self.on_end(from, &name, births),
            Message::Ended { name, births } => self.on_ended(from, &name, &births),
            Message::Move { name, birth, to } => self.on_move(from, &name, birth, to.as_ref()),
            Message::Rebalance(moves) => self.on_rebalance(moves),
            Message::MoveTo { name, birth, to } => self.on_move_to(&name, birth, to),
            Message::Offer { name, birth, epoch, snapshot } => self.on_offer(from, &name, birth, epoch, snapshot),
            Message::OfferAnswer { name, birth, epoch, accepted } => {
                self.on_offer_answer(from, &name, birth, epoch, accepted);
            }
            Message::Keep { name, snapshot, past } => self.on_keep(from, &name, snapshot, &past),
            Message::Kept { name, birth, revision } => self.on_kept(from, &name, birth, revision),
            Message::Best { name, birth, beyond } => self.on_best(from, &name, birth, beyond),
            Message::BestIs { name, birth, snapshot, held } => self.on_best_is(from, &name, birth, snapshot, held),
            Message::Diverged { name, snapshot } => self.on_diverged(from, &name, snapshot),
            Message::DivergedRefused { name, revision, since } => {
                self.on_diverged_refused(from, &name, revision, since);
            }
            Message::PullChunk { name, set, index } => self.on_pull_chunk(from, &name, set, index),
            Message::Chunk { name, set, index, bytes } => self.on_chunk(from, &name, set, index, bytes),
            Message::NoChunk { name, set } => self.on_no_chunk(from, &name, set),
            Message::Votes(votes) => self.on_votes(from, votes),
            Message::Goodbye { max } => self.on_goodbye(from, max),
        }
    }

    fn on_beat(&mut self, from: &Peer, beat: Beat) {
        let now = self.now.mono_ms;
        self.clock.observe(beat.time.min((self.now.unix_ms + 60_000) << 16), now);
        let (holds, view) = (self.directory.hash(), self.view.hash);
        let mine = self.own_max();
        let Some(member) = self.member(from) else { return };
        if member.beat.as_ref().is_some_and(|(known, _)| known.counter >= beat.counter) {
            return;
        }
        let first = member.beat.is_none();
        member.not_open = false;
        let differs = beat.holds != holds && !planted(Fault::NoAntiEntropy);
        if beat.holds == holds {
            member.holds_of_mine = mine;
        }
        if !differs && beat.view == view {
            member.synced = Some((view, beat.changes));
        }
        let unsynced = member.synced != Some((view, beat.changes));
        let ask = (differs || unsynced) && now >= member.asked_ms;
        if ask {
            member.asked_ms = now + ASK_AGAIN_MS;
        }
        let answer_view = first || beat.view != view;
        let more_is_heard = member.beat.as_ref().is_none_or(|(known, _)| known.heard != beat.heard);
        let has_changed = member.beat.as_ref().is_none_or(|(known, _)| known.changes != beat.changes);
        member.beat = Some((beat, now));
        if has_changed {
            self.hears_of_changes();
        }
        if more_is_heard {
            self.recheck_handed_on();
        }
        self.hear(from);
        if ask {
            let versions = self.versions(true);
            self.send(from, Message::Versions(versions));
        }
        if answer_view {
            self.beat_soon();
        }
    }

    /// How much this node has said.
    pub(super) fn own_max(&self) -> u64 {
        self.directory.lane(&self.config.me).map_or(0, |lane| lane.max())
    }

    pub(super) fn versions(&self, answer: bool) -> Versions {
        Versions {
            view: self.view.hash,
            changes: self.view_changes,
            lanes: self
                .directory
                .lanes()
                .filter(|(_, lane)| lane.max() > 0)
                .map(|(id, lane)| (id.clone(), lane.max(), lane.fingerprint()))
                .collect(),
            ended: self.directory.ended().clone(),
            dropped: self.directory.dropped().clone(),
            finals: self.directory.finals().iter().map(|(lane, max)| (lane.clone(), *max)).collect(),
            answer,
            durable: false,
        }
    }

    fn on_versions(&mut self, from: &Peer, versions: Versions) {
        for (node, upto) in &versions.ended {
            let own = *node == self.config.me.node && *upto >= self.config.me.incarnation;
            if !own && self.directory.end(node, *upto) {
                self.ends_changed = true;
                self.recheck_all();
            }
        }
        for (lane, max) in versions.finals {
            self.directory.finish(lane, max);
        }
        for (node, upto) in &versions.dropped {
            if *node != self.config.me.node || *upto < self.config.me.incarnation {
                self.drop_upto(&Peer { node: node.clone(), incarnation: *upto });
            }
        }
        let mut pull = Vec::new();
        let mut target = Vec::new();
        for (id, max, fingerprint) in versions.lanes {
            if id == self.config.me
                && let Some(member) = self.member(from)
            {
                member.holds_of_mine = member.holds_of_mine.max(max);
                if versions.durable && !versions.answer {
                    member.keeps_of_mine = member.keeps_of_mine.max(max);
                }
            }
            if id == self.config.me || self.directory.is_dropped(&id) {
                continue;
            }
            let (mine, matches) = self
                .directory
                .lane(&id)
                .map_or((0, true), |lane| (lane.max(), lane.max() != max || lane.fingerprint() == fingerprint));
            if max > mine {
                pull.push((id.clone(), mine));
                target.push((id, max));
            } else if !matches && id == *from {
                pull.push((id, 0));
            }
        }
        self.pull(from, pull);
        if let Some(member) = self.member(from) {
            member.target = Some(((versions.view, versions.changes), target));
        }
        self.check_target(from);
        if versions.answer {
            let answer = Message::Versions(Versions { durable: versions.durable, ..self.versions(false) });
            if versions.durable {
                // One at a time: it asks again.
                match self.member(from) {
                    Some(member) if !member.is_owed => member.is_owed = true,
                    _ => return,
                }
                self.once_durable(Effect::Send { to: from.clone(), message: Box::new(answer) });
            } else {
                self.send(from, answer);
            }
        }
    }

    /// Whether everything that a member said to hold is held by now.
    fn check_target(&mut self, from: &Peer) {
        let Some(member) = self.members.get_mut(&from.node) else { return };
        let Some((view, target)) = &mut member.target else { return };
        target.retain(|(id, max)| self.directory.lane(id).map_or(0, |lane| lane.max()) < *max);
        if target.is_empty() {
            member.synced = Some(*view);
            member.target = None;
        }
    }

    /// Takes changes of a lane in.
    pub(super) fn on_delta(&mut self, from: &Peer, delta: Delta) {
        let (lane, copy) = (delta.lane.clone(), delta.clone());
        match self.directory.join(delta) {
            Joined::Changed(_) => {
                self.out.push(Effect::Persist(copy));
                self.unsynced_ms.get_or_insert(self.now.mono_ms);
                self.end_needless_transfer(&lane);
                self.check_target(from);
            }
            Joined::Gap => {
                let mine = self.directory.lane(&lane).map_or(0, |lane| lane.max());
                self.pull(from, vec![(lane, mine)]);
            }
            Joined::Damaged(_) => {
                self.transfers.remove(&lane);
                self.pull(from, vec![(lane, 0)]);
            }
            Joined::Known => {}
        }
    }

    /// Another present node that opened the sworm with other settings, if there is one.
    fn disagreement(&self) -> Option<(NodeId, Arc<str>)> {
        self.members.iter().filter(|(_, member)| member.present && member.beat.is_some()).find_map(|(node, member)| {
            let lane = Peer { node: node.clone(), incarnation: member.incarnation };
            match self.directory.lane(&lane)?.fact(&Key::Sworm)? {
                Value::Sworm(theirs) if *theirs != self.config.agreed => Some((node.clone(), theirs.clone())),
                _ => None,
            }
        })
    }

    /// Sends the next heartbeat at once, or as soon as the last one is old enough: two nodes that do not agree yet must
    /// not answer each other without end.
    /// How much of what this node has said all others in view hold.
    pub(super) fn heard_by_all(&self) -> u64 {
        let others = self.view.members.keys().filter(|peer| **peer != self.config.me);
        let held = others.map(|peer| self.members.get(&peer.node).map_or(0, |member| member.holds_of_mine));
        held.min().unwrap_or_else(|| self.own_max())
    }

    /// Whether all in view hold what that member says of a name, as it says itself.
    pub(super) fn is_heard_by_all(&self, host: &Peer, name: &Arc<str>) -> bool {
        let heard = self.members.get(&host.node).filter(|member| member.incarnation == host.incarnation);
        let beat = heard.and_then(|member| member.beat.as_ref()).map(|(beat, _)| beat);
        let said = self.directory.lane(host).and_then(|lane| lane.seq(&Key::Name(name.clone())));
        beat.zip(said).is_some_and(|(beat, said)| beat.view == self.view.hash && beat.heard >= said)
            || planted(Fault::HandOnUnheard)
    }

    pub(super) fn beat_soon(&mut self) {
        self.beat_due_ms = self.beat_due_ms.min(self.beaten_ms + BEAT_GAP_MS);
    }

    pub(super) fn beat(&mut self) {
        self.beat_counter += 1;
        self.beaten_ms = self.now.mono_ms;
        self.beat_due_ms = self.now.mono_ms + self.config.interval_ms;
        let time = self.hybrid();
        let beat = Beat {
            counter: self.beat_counter,
            phase: self.phase,
            view: self.view.hash,
            changes: self.view_changes,
            seen: self.view_seen,
            max: self.directory.lane(&self.config.me).map_or(0, |lane| lane.max()),
            durable: self.durable_max,
            heard: self.heard_by_all(),
            holds: self.directory.hash(),
            time,
        };
        self.out.push(Effect::Broadcast(Box::new(Message::Beat(beat))));
        self.vote();
    }
}

/// How soon versions may be asked for again.
const ASK_AGAIN_MS: u64 = 100;
/// The least time between two heartbeats.
const BEAT_GAP_MS: u64 = 20;
