//! Around a missing link: what the other members say of a node to which the link is lost, or never was, and who of them
//! passes on what is sent to it. Where no link is missing nobody is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Known, MemberState, Membership, Want};
use crate::core::fault::{Fault, planted};
use crate::core::ids::{NodeId, Peer};
use crate::strategy::score;

/// How often the members are asked about a suspect. First after as long: one whose process is gone is down by then.
const ASK_MS: u64 = 250;
/// How long an answer counts.
const HEARD_MS: u64 = 2_000;
/// How long the link to a node of which another one told may take to come up.
const LINK_MS: u64 = 2_000;
/// How many members are asked at a time, beside those that are relayed by.
const ASKED: usize = 4;

/// The way to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Over the link to it.
    Direct,
    /// Over that member, which is linked to both.
    Via(Peer),
    /// The link to it is lost, and nobody says that it has one.
    None,
}

/// What others say of a node to which the link is missing.
#[derive(Clone, Debug)]
pub(super) struct Hearsay {
    /// Who is linked to it, and until when that counts.
    heard: BTreeMap<Peer, u64>,
    /// When the others are asked again, and how long after the last time that is.
    ask_ms: u64,
    pause_ms: u64,
}

/// Who is asked next.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    last: Option<NodeId>,
}

impl Hearsay {
    /// Nothing yet.
    pub(super) fn since(now_ms: u64) -> Self {
        Self { heard: BTreeMap::new(), ask_ms: now_ms + ASK_MS, pause_ms: ASK_MS }
    }
}

impl Rotation {
    /// The next few of these, which are sorted.
    fn next(&mut self, all: &[Peer]) -> Vec<Peer> {
        let after = all.partition_point(|peer| self.last.as_ref().is_some_and(|last| peer.node <= *last));
        let next: Vec<Peer> = all[after..].iter().chain(&all[..after]).take(ASKED).cloned().collect();
        self.last = next.last().map(|peer| peer.node.clone());
        next
    }
}

impl Known {
    /// Whether it may be there though the link to it is missing.
    fn may_be_heard(&self) -> bool {
        !self.linked && !self.gone
    }

    /// Without a link it has introduced itself, for the first time.
    pub(super) fn introduced(&mut self, now_ms: u64, want: &mut Vec<Want>) {
        if self.may_be_heard() && self.state != MemberState::Leaving {
            self.state = MemberState::Joining;
            self.since_ms = now_ms;
            if !self.said.heard.is_empty() {
                self.is_heard(now_ms, want);
            }
        }
    }

    /// A member is linked to it.
    fn is_heard(&mut self, now_ms: u64, want: &mut Vec<Want>) {
        if let (MemberState::Joining | MemberState::Down, Some(hello)) = (self.state, self.hello.clone()) {
            self.state = MemberState::Suspect;
            self.since_ms = now_ms;
            self.said.ask_ms = now_ms + ASK_MS;
            want.push(Want::Present { hello });
        }
    }

    /// Whether it was told of, and neither has a link to it come up in all that time nor does anybody hear it.
    pub(super) fn was_never_there(&self, now_ms: u64, grace_ms: u64) -> bool {
        let waits = self.state == MemberState::Joining && !self.linked;
        waits && self.said.heard.is_empty() && now_ms >= self.since_ms + grace_ms
    }
}

impl Membership {
    /// The way to a node.
    pub fn route(&self, to: &Peer) -> Route {
        match self.known.get(&to.node).filter(|known| known.incarnation == to.incarnation) {
            Some(known) if known.may_be_heard() => {
                self.relay(&to.node, known).map_or(Route::None, |relay| Route::Via(relay.clone()))
            }
            _ => Route::Direct,
        }
    }

    /// All that can be reached over another node only, each with that node.
    pub fn relayed(&self) -> Vec<(Peer, Peer)> {
        let missing = self.known.iter().filter(|(_, known)| !known.said.heard.is_empty());
        missing
            .filter_map(|(node, known)| {
                let peer = Peer { node: node.clone(), incarnation: known.incarnation };
                match self.route(&peer) {
                    Route::Via(relay) => Some((peer, relay)),
                    Route::Direct | Route::None => None,
                }
            })
            .collect()
    }

    /// Whether what is sent to that very incarnation is passed on by this node: only over a link of its own.
    pub fn passes_on(&self, to: &Peer) -> bool {
        self.is_linked(to) && !planted(Fault::NoRelay)
    }

    /// Another node asks whether this one is linked to these.
    pub fn asked_about(&self, from: Peer, about: Vec<Peer>, want: &mut Vec<Want>) {
        let linked = about.into_iter().map(|peer| {
            let linked = self.is_linked(&peer);
            (peer, linked)
        });
        want.push(Want::Tell { to: from, linked: linked.collect() });
    }

    /// A member says to whom it is linked and to whom it is not.
    pub fn told(&mut self, now_ms: u64, from: &Peer, linked: Vec<(Peer, bool)>, want: &mut Vec<Want>) {
        if !self.is_asked(from) {
            return;
        }
        for (about, linked) in linked {
            let known = self.known.get_mut(&about.node).filter(|known| known.incarnation == about.incarnation);
            let Some(known) = known.filter(|known| known.may_be_heard()) else { continue };
            if !linked {
                known.said.heard.remove(from);
                continue;
            }
            known.said.heard.insert(from.clone(), now_ms + HEARD_MS);
            if known.hello.is_none() {
                want.push(Want::Greet { to: about, answer: true });
            }
            known.is_heard(now_ms, want);
        }
    }

    /// The members that others are told of.
    pub fn linked_to(&self) -> Vec<Peer> {
        self.peers().filter(|peer| self.is_asked(peer)).collect()
    }

    /// A member is linked to these. If they are not met in a while it is asked about them.
    pub(super) fn tells_of(&mut self, now_ms: u64, from: &Peer, others: Vec<Peer>) {
        if !self.is_asked(from) || planted(Fault::TellOfNobody) {
            return;
        }
        for peer in others {
            if peer.node != self.me.node {
                let known = self.known.entry(peer.node).or_insert_with(|| Known::new(peer.incarnation, now_ms));
                if known.state == MemberState::Joining && !known.linked && known.hello.is_none() {
                    known.said.ask_ms = now_ms + LINK_MS;
                }
            }
        }
    }

    fn peers(&self) -> impl Iterator<Item = Peer> {
        self.known.iter().map(|(node, known)| Peer { node: node.clone(), incarnation: known.incarnation })
    }

    /// One more member is there, that may know more of those to whom the link is missing.
    pub(super) fn ask_anew(&mut self, now_ms: u64) {
        for known in self.known.values_mut().filter(|known| known.state == MemberState::Down) {
            (known.said.ask_ms, known.said.pause_ms) = (now_ms + ASK_MS, ASK_MS);
        }
    }

    /// What was said too long ago does not count any more.
    pub(super) fn forget_hearsay(&mut self, now_ms: u64) {
        for known in self.known.values_mut() {
            known.said.heard.retain(|_, until_ms| now_ms < *until_ms);
        }
    }

    /// Asks about those to whom the link is missing; about one that is down less and less often.
    pub(super) fn ask(&mut self, now_ms: u64, want: &mut Vec<Want>) {
        let due = |known: &Known| known.may_be_heard() && known.said.ask_ms <= now_ms;
        let mut about = Vec::new();
        for (node, known) in self.known.iter_mut().filter(|(_, known)| due(known)) {
            about.push(Peer { node: node.clone(), incarnation: known.incarnation });
            let said = &mut known.said;
            said.pause_ms = if known.state == MemberState::Down { said.pause_ms.saturating_mul(2) } else { ASK_MS };
            said.ask_ms = now_ms.saturating_add(said.pause_ms);
        }
        if about.is_empty() {
            return;
        }
        let relays = self.relayed().into_iter().filter(|(peer, _)| about.contains(peer)).map(|(_, relay)| relay);
        let mut asked: BTreeSet<Peer> = relays.collect();
        let all = self.linked_to();
        asked.extend(self.asking.next(&all));
        want.extend(asked.into_iter().map(|to| Want::AskAbout { to, about: about.clone() }));
    }

    /// The one of those linked to it that is used: the same for as long as the same ones are.
    fn relay<'a>(&self, node: &NodeId, known: &'a Known) -> Option<&'a Peer> {
        let there = known.said.heard.keys().filter(|relay| self.is_asked(relay));
        there.max_by_key(|relay| (score(node, &relay.node), *relay))
    }

    /// Whether it is a member with a link.
    fn is_asked(&self, peer: &Peer) -> bool {
        self.is_linked(peer) && self.known[&peer.node].state == MemberState::Up
    }

    fn is_linked(&self, peer: &Peer) -> bool {
        let known = self.known.get(&peer.node).filter(|known| known.incarnation == peer.incarnation);
        known.is_some_and(|known| known.linked && known.hello.is_some())
    }
}
