//! Who is there: members come, go and take part, and the view follows.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::core::Effect;
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Incarnation, Peer};
use crate::core::membership::Profile;
use crate::core::message::Phase;
use crate::core::state::Core;
use crate::core::view::{Member, View};

/// How long a node that opens a sworm waits for a member to say whether it has opened it too.
const OPEN_WAIT_MS: u64 = 3_000;

impl Core {
    pub(in crate::core) fn on_present(&mut self, peer: Peer, profile: Profile) {
        if peer.node == self.config.me.node {
            return;
        }
        self.profiles.insert(peer.node.clone(), profile);
        let member = self.members.entry(peer.node.clone()).or_insert_with(|| Member::new(peer.incarnation));
        if member.incarnation > peer.incarnation {
            return;
        }
        if member.incarnation < peer.incarnation {
            *member = Member::new(peer.incarnation);
        }
        member.present = true;
        if self.is_voted_out(&peer)
            && let Some(member) = self.member(&peer)
        {
            member.present = false;
        }
        self.admit(&peer);
        self.beat_soon();
    }

    /// The node as a whole is thought to be gone. In mode "majority" that is no evidence: the voters say who is.
    pub(in crate::core) fn on_absent(&mut self, peer: &Peer) {
        if self.majority.is_none() {
            self.is_gone(peer);
        }
    }

    fn is_gone(&mut self, peer: &Peer) {
        if let Some(member) = self.members.get_mut(&peer.node)
            && member.incarnation == peer.incarnation
        {
            let was_unheard = member.is_unheard();
            member.present = false;
            member.beat = None;
            if was_unheard {
                self.recheck_all(); // it was waited for
            }
        }
        if planted(Fault::EndOnSuspicion) && self.directory.end(&peer.node, peer.incarnation) {
            self.ends_changed = true;
            self.recheck_all();
        }
    }

    /// Whether somebody is there who has not been heard yet: of those who come, the news that others have ended arrives before
    /// what they know of their names.
    pub(in crate::core) fn somebody_is_unheard(&self) -> bool {
        self.members.values().any(Member::is_unheard)
    }

    /// A successor's presence is the proof that the incarnations before it have ended.
    fn admit(&mut self, peer: &Peer) {
        if self.directory.end(&peer.node, Incarnation(peer.incarnation.0.saturating_sub(1))) {
            self.ends_changed = true;
            self.recheck_all();
        }
    }

    pub(super) fn on_not_open(&mut self, from: &Peer) {
        // One that has taken part has opened it: what it said before comes late.
        let Some(member) =
            self.member(from).filter(|member| member.phase().is_none_or(|phase| phase == Phase::Joining))
        else {
            return;
        };
        let (is_news, was_unheard) = (!member.not_open, member.is_unheard());
        (member.not_open, member.beat) = (true, None);
        if is_news {
            // What waits for it to hear or to do something goes on without.
            let names: Vec<Arc<str>> = self.queues.keys().cloned().collect();
            names.iter().for_each(|name| self.recheck(name));
        }
        if was_unheard {
            self.recheck_all();
        }
    }

    pub(in crate::core) fn member(&mut self, peer: &Peer) -> Option<&mut Member> {
        self.members.get_mut(&peer.node).filter(|member| member.incarnation == peer.incarnation)
    }

    pub(super) fn on_goodbye(&mut self, from: &Peer, max: u64) {
        if self.directory.lane(from).map_or(0, |lane| lane.max()) < max {
            return; // its last statements are missing: its successor's admission or a pull ends it later
        }
        self.directory.finish(from.clone(), max);
        if self.directory.end(&from.node, from.incarnation) {
            self.ends_changed = true;
        }
        self.is_gone(from);
    }

    pub(in crate::core) fn drop_upto(&mut self, upto: &Peer) {
        let before = self.directory.dropped().get(&upto.node).copied();
        for lane in self.directory.drop_upto(&upto.node, upto.incarnation) {
            self.out.push(Effect::ForgetLane(lane));
        }
        self.ends_changed |= self.directory.dropped().get(&upto.node).copied() != before;
    }

    /// Whether this node may decide: every member has acknowledged this very view lately, and what it held then is held
    /// here. So has everybody who is about to join: two that join at once would each be alone in their view. Without this
    /// a mere join could give one name away twice.
    pub fn settled(&self) -> bool {
        self.agrees() && self.has_quorum_in_view()
    }

    /// Whether every member has acknowledged this very view, and knows that all others have: a view that was there before and has
    /// come back is another one, since something may have been decided in between by those who have not heard of that.
    pub(in crate::core) fn agrees(&self) -> bool {
        if planted(Fault::NoViewBarrier) {
            return self.phase != Phase::Joining;
        }
        self.phase != Phase::Joining
            && self.members.iter().filter(|(_, member)| member.present).all(|(node, member)| {
                member.beat.as_ref().is_none_or(|(beat, at)| {
                    self.has_answered(node, beat)
                        && (member.is_synced(self.view.hash) || planted(Fault::AdoptIncomplete))
                        && beat.view == self.view.hash
                        && (beat.seen == self.view_seen || planted(Fault::AgreedBefore))
                        && self.now.mono_ms < at + self.config.grace_ms
                })
            })
    }

    pub(in crate::core) fn refresh_view(&mut self) {
        if self.phase == Phase::Joining && self.may_take_part() {
            match self.disagreement() {
                Some((node, theirs)) => {
                    self.introduced = false; // it stays out
                    self.out.push(Effect::Disagreed { node, theirs });
                }
                None => {
                    self.phase = if self.draining.is_some() { Phase::Draining } else { Phase::Up };
                    self.out.push(Effect::Ready);
                }
            }
        }
        if !self.view.is_of(&self.config.me, self.phase, &self.members)
            && let view = View::of(&self.config.me, self.phase, &self.members)
            && view != self.view
        {
            if planted(Fault::RestartBystanders) && view.members.len() < self.view.members.len() {
                self.restart_all();
            }
            self.view = view;
            self.view_changes += 1;
            self.hears_of_changes();
            self.took_part.extend(self.view.members.keys().map(|peer| peer.node.clone()));
            self.out.push(Effect::Viewed(self.view.members.keys().cloned().collect()));
            self.settled_since_ms = None;
            self.tidied = 0;
            self.local_due_ms = 0; // a move may have lost its receiver
            for member in self.members.values_mut() {
                member.synced = None;
                member.asked_ms = 0;
            }
            self.note_away();
            self.view_changed();
            self.balance_anew();
            self.recheck_all();
            self.beat_soon();
        }
        if self.settled_since_ms.is_some() != self.settled() {
            self.settled_since_ms = self.settled().then_some(self.now.mono_ms);
            if self.settled_since_ms.is_some() {
                self.recheck_all();
            }
        }
    }

    /// Notes of which changes of whose views this node has heard, and says so if there are new ones.
    pub(in crate::core) fn hears_of_changes(&mut self) {
        let changes_of = |peer: &Peer| match *peer == self.config.me {
            true => self.view_changes,
            false => {
                let beat = self.members.get(&peer.node).and_then(|member| member.beat.as_ref());
                beat.map_or(0, |(beat, _)| beat.changes)
            }
        };
        let members = self.view.members.keys();
        let each = members.map(|peer| xxh3_64_with_seed(peer.node.as_bytes(), changes_of(peer)));
        let seen = each.fold(0, u64::wrapping_add);
        if std::mem::replace(&mut self.view_seen, seen) != seen {
            self.beat_soon();
        }
    }

    /// What a grant is good for: this view, as it has come about this time.
    pub(in crate::core) fn view_now(&self) -> u64 {
        match planted(Fault::AgreedBefore) {
            true => self.view.hash,
            false => self.view.hash.wrapping_add(self.view_seen),
        }
    }

    /// A node that opens a sworm is in when every present node has said whether it takes part, and all that those
    /// hold has been pulled.
    fn may_take_part(&self) -> bool {
        if planted(Fault::FoundAlone) {
            return true;
        }
        let waited = self.now.mono_ms >= self.opened_ms + OPEN_WAIT_MS;
        self.introduced
            && self.members.values().filter(|member| member.present).all(|member| match &member.beat {
                Some((beat, _)) => member.is_synced(beat.view) || member.is_synced(self.view.hash),
                None => member.not_open || waited,
            })
    }
}
