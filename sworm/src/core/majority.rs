//! Mode "majority": one owner even when the network is cut.
//!
//! A node runs workers only while it holds a lease: until its own *send* time of the newest heartbeat that enough voters
//! have echoed, plus the lease's length (Gray and Cheriton 1989). When it ends, all workers are parked with their states.
//! A name of a node that is not heard of starts elsewhere only when enough voters each say, on their own clocks, that it was
//! silent for so long that its lease has ended and its workers have stopped.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::cell::Key;
use super::fault::{Fault, planted};
use super::ids::{LaneId, NodeId, Peer};
use super::message::{Beat, Message, Refusal};
use super::state::Core;
use super::{Effect, Notice};

mod lists;
mod parking;
pub mod voters;

use self::voters::Ballot;

/// How a sworm in majority mode is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How many voters there are at first.
    pub expect: usize,
    /// How long an echoed heartbeat lets its sender run workers.
    pub lease_ms: u64,
    /// How long workers may take to stop when the lease has ended; after that the process is aborted.
    pub stop_ms: u64,
}

impl Rules {
    /// How long a node must have been silent before its names start elsewhere: a lease, the time to stop, the age of
    /// what a voter says, and a twentieth for clocks that run apart.
    pub fn silence_ms(&self) -> u64 {
        let sum = self.lease_ms * 2 + self.stop_ms;
        sum + sum / 20
    }
}

/// What a node says after each of its heartbeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Votes {
    /// Its view, and how often that has changed.
    pub view: (u64, u64),
    /// Whether it votes.
    pub votes: bool,
    /// Stands for the lists of voters that it goes by.
    pub lists: u64,
    /// The newest heartbeat of each node that it has heard.
    pub echoes: Vec<(Peer, u64)>,
    /// Who was silent for so long that its workers have stopped.
    pub silent: BTreeSet<Peer>,
}

/// The newest that a node has said.
#[derive(Debug)]
struct Vote {
    view: (u64, u64),
    votes: bool,
    lists: u64,
    /// When the newest heartbeat of this node that it has echoed was sent: it said all this later.
    since_ms: u64,
    silent: BTreeSet<Peer>,
}

/// A node's part in majority mode.
#[derive(Debug)]
pub struct Majority {
    rules: Rules,
    ballot: Ballot,
    /// In which view this node has made its proposal.
    proposed_in: Option<u64>,
    /// A voter to be added, or taken away.
    change: Option<(NodeId, bool)>,
    /// Since when silence counts: the start, or the last change of the lists.
    since_ms: u64,
    heard_ms: BTreeMap<Peer, u64>,
    /// When the last heartbeats were sent.
    sent: VecDeque<(u64, u64)>,
    votes: BTreeMap<NodeId, Vote>,
    /// Those of whom enough voters say that they are silent.
    gone: BTreeSet<Peer>,
    lease_until_ms: u64,
    holds: bool,
}

impl Majority {
    /// What a node that starts remembers.
    pub(super) fn new(rules: Rules, ballot: Ballot, now_ms: u64) -> Self {
        Self {
            rules,
            ballot,
            proposed_in: None,
            change: None,
            since_ms: now_ms,
            heard_ms: BTreeMap::new(),
            sent: VecDeque::new(),
            votes: BTreeMap::new(),
            gone: BTreeSet::new(),
            lease_until_ms: 0,
            holds: false,
        }
    }

    fn is_quorum(&self, of: impl Fn(&NodeId) -> bool) -> bool {
        if planted(Fault::QuorumOfVisible) {
            return self.ballot.decided.is_some();
        }
        self.ballot.is_quorum(of)
    }

    fn is_silent(&self, peer: &Peer, now_ms: u64) -> bool {
        let heard = self.heard_ms.get(peer).copied().unwrap_or(0).max(self.since_ms);
        let limit = match &self.rules {
            rules if planted(Fault::TakeOverEarly) => rules.lease_ms,
            rules if planted(Fault::NoMargin) => rules.lease_ms + rules.stop_ms,
            rules => rules.silence_ms(),
        };
        now_ms >= heard + limit
    }

    /// Until when the lease goes that these votes give.
    fn lease_by(&self, me: &NodeId, votes: bool, now_ms: u64) -> u64 {
        let lists = self.ballot.hash();
        let mut since: BTreeMap<&NodeId, u64> = self
            .votes
            .iter()
            .filter(|(_, vote)| vote.votes && vote.lists == lists)
            .map(|(node, vote)| (node, vote.since_ms))
            .collect();
        if votes {
            since.insert(me, now_ms);
        }
        let mut times: Vec<u64> = since.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        let enough = |time: &u64| self.is_quorum(|node| since.get(node).is_some_and(|at| at >= time));
        times.into_iter().find(enough).map_or(0, |time| time + self.rules.lease_ms)
    }
}

impl Core {
    /// The node has looked at its clock: a lease that has ended is lost, whatever comes next.
    pub(super) fn check_lease(&mut self) {
        let now = self.now.mono_ms;
        let Some(majority) = &mut self.majority else { return };
        if majority.holds && now >= majority.lease_until_ms && !planted(Fault::NoStopWithoutMajority) {
            majority.holds = false;
            self.out.push(Effect::Lease { until_ms: 0 });
            self.out.push(Effect::Tell(Notice::MajorityLost));
            self.park_all();
        }
    }

    /// Whether this node may run workers.
    pub(super) fn may_host(&self) -> bool {
        self.majority.as_ref().is_none_or(|majority| majority.holds && self.now.mono_ms < majority.lease_until_ms)
    }

    /// Why a request is refused at once, if it is: who had a majority and has lost it knows that nobody will decide.
    pub(super) fn without_majority(&self) -> Option<Refusal> {
        let majority = self.majority.as_ref()?;
        if majority.lease_until_ms > 0 { self.in_vain() } else { None }
    }

    /// Why one was in vain that has waited, and that nobody has taken up.
    pub(super) fn in_vain(&self) -> Option<Refusal> {
        let majority = self.majority.as_ref().filter(|majority| !majority.holds)?;
        let why = match &majority.ballot.decided {
            Some(list) => format!("{} of {} voters are heard of", self.fresh_voters().len(), list.nodes.len()),
            None => {
                let expect = majority.rules.expect;
                let there = self.view.members.keys().filter(|peer| self.hosts(peer)).count();
                format!("there are no voters before {expect} nodes have seen each other; {there} are there")
            }
        };
        Some(Refusal::NoMajority { why })
    }

    /// Whether those in view include enough voters to decide.
    pub(super) fn has_quorum_in_view(&self) -> bool {
        self.majority.as_ref().is_none_or(|majority| {
            majority.is_quorum(|node| *node == self.config.me.node || self.view.peer(node).is_some())
        })
    }

    /// Whether enough voters are such; `None` where there are none.
    pub(super) fn is_known_to_quorum(&self, of: impl Fn(&NodeId) -> bool) -> Option<bool> {
        self.majority.as_ref().map(|majority| majority.is_quorum(of))
    }

    /// A heartbeat was sent; this says what was heard of the others.
    pub(super) fn vote(&mut self) {
        let (now, counter) = (self.now.mono_ms, self.beat_counter);
        let votes = self.may_vote();
        let Some(majority) = &mut self.majority else { return };
        majority.sent.push_back((counter, now));
        while majority.sent.front().is_some_and(|(_, at)| at + majority.rules.lease_ms < now) {
            majority.sent.pop_front();
        }
        let lists = majority.ballot.hash();
        let silent = if votes { self.silent() } else { BTreeSet::new() };
        let view = (self.view.hash, self.view_changes);
        let votes = Votes { view, votes, lists, echoes: self.echoes(), silent };
        self.out.push(Effect::Broadcast(Box::new(Message::Votes(votes))));
    }

    /// Whether a member's newest heartbeat is an answer to a late one of this node's. That it came lately is not enough:
    /// what comes to a process that was stopped may have been sent long ago.
    pub(super) fn has_answered(&self, node: &NodeId, beat: &Beat) -> bool {
        self.majority.as_ref().is_none_or(|majority| {
            majority.votes.get(node).is_some_and(|vote| {
                vote.view == (beat.view, beat.changes) && self.now.mono_ms < vote.since_ms + self.config.grace_ms
            })
        })
    }

    fn echoes(&self) -> Vec<(Peer, u64)> {
        let heard = |(node, member): (&NodeId, &super::view::Member)| {
            let peer = Peer { node: node.clone(), incarnation: member.incarnation };
            member.beat.as_ref().map(|(beat, _)| (peer, beat.counter))
        };
        self.members.iter().filter_map(heard).collect()
    }

    /// Who is silent, of those whose end is not known.
    fn silent(&self) -> BTreeSet<Peer> {
        let Some(majority) = &self.majority else { return BTreeSet::new() };
        let now = self.now.mono_ms;
        let silent =
            |lane: &LaneId| *lane != self.config.me && !self.directory.has_ended(lane) && majority.is_silent(lane, now);
        let met = self.members.iter().filter(|(_, member)| member.beat.is_some());
        let met = met.map(|(node, member)| Peer { node: node.clone(), incarnation: member.incarnation });
        self.directory.lanes().map(|(lane, _)| lane.clone()).chain(met).filter(silent).collect()
    }

    /// A vote counts when the voter's disk holds the list by which it votes.
    pub fn may_vote(&self) -> bool {
        let Some(majority) = &self.majority else { return false };
        let durable = || {
            let seq = self.directory.lane(&self.config.me).and_then(|lane| lane.seq(&Key::Voters));
            seq.is_some_and(|seq| seq <= self.durable_max)
        };
        let listed = majority.ballot.lists().any(|list| list.nodes.contains(&self.config.me.node));
        listed && (majority.ballot.votes || planted(Fault::VoteWithoutStore)) && durable()
    }

    pub(super) fn hear(&mut self, peer: &Peer) {
        if let Some(majority) = &mut self.majority {
            majority.heard_ms.insert(peer.clone(), self.now.mono_ms);
        }
    }

    pub(super) fn on_votes(&mut self, from: &Peer, votes: Votes) {
        let me = self.config.me.clone();
        let now = self.now.mono_ms;
        let Some(majority) = &mut self.majority else { return };
        let Some((_, counter)) = votes.echoes.iter().find(|(peer, _)| *peer == me) else { return };
        let sent = majority.sent.iter().find(|(number, _)| number == counter).map(|(_, at)| *at);
        let sent = if planted(Fault::LeaseFromReceipt) { Some(now) } else { sent };
        let Some(since_ms) = sent else { return };
        let Votes { view, votes, lists, silent, .. } = votes;
        let vote = Vote { view, votes, lists, since_ms, silent };
        if majority.votes.get(&from.node).is_none_or(|known| known.since_ms <= since_ms) {
            majority.votes.insert(from.node.clone(), vote);
        }
        self.renew_lease();
    }

    fn renew_lease(&mut self) {
        let (me, votes, now) = (self.config.me.node.clone(), self.may_vote(), self.now.mono_ms);
        let Some(majority) = &mut self.majority else { return };
        let until = majority.lease_by(&me, votes, now);
        if until <= majority.lease_until_ms.max(now) {
            return;
        }
        majority.lease_until_ms = until;
        let regained = !std::mem::replace(&mut majority.holds, true);
        self.out.push(Effect::Lease { until_ms: until });
        if regained {
            self.out.push(Effect::Tell(Notice::MajorityHeard));
            self.recheck_all();
        }
    }

    /// The voters whose votes are young enough to count, this node among them if it is one.
    fn fresh_voters(&self) -> BTreeSet<NodeId> {
        let Some(majority) = &self.majority else { return BTreeSet::new() };
        let (now, lists) = (self.now.mono_ms, majority.ballot.hash());
        let fresh = |vote: &Vote| vote.votes && vote.lists == lists && now <= vote.since_ms + majority.rules.lease_ms;
        let voters = majority.votes.iter().filter(|(_, vote)| fresh(vote)).map(|(node, _)| node.clone());
        voters.chain(self.may_vote().then(|| self.config.me.node.clone())).collect()
    }

    pub(super) fn tick_majority(&mut self) {
        if self.majority.is_none() {
            return;
        }
        self.tick_ballot();
        self.renew_lease();
        self.tick_gone();
    }

    /// Takes those out of view of whom enough voters say that they are silent, and back in who are heard of again.
    fn tick_gone(&mut self) {
        let Some(majority) = &self.majority else { return };
        let fresh = self.fresh_voters();
        if !majority.is_quorum(|node| fresh.contains(node)) {
            return;
        }
        let (mine, me) = (self.silent(), &self.config.me.node);
        let says = |node: &NodeId, peer: &Peer| {
            fresh.contains(node)
                && match majority.votes.get(node) {
                    _ if node == me => mine.contains(peer),
                    vote => vote.is_some_and(|vote| vote.silent.contains(peer)),
                }
        };
        let named: BTreeSet<&Peer> =
            majority.votes.values().filter(|vote| vote.votes).flat_map(|vote| &vote.silent).chain(&mine).collect();
        let gone = |peer: &&&Peer| {
            majority.is_quorum(|node| says(node, peer))
                || planted(Fault::OneVoiceIsEnough) && fresh.iter().any(|node| says(node, peer))
        };
        let gone: BTreeSet<Peer> = named.iter().filter(gone).map(|peer| (*peer).clone()).collect();
        if gone == majority.gone {
            return;
        }
        for (node, member) in &mut self.members {
            let peer = Peer { node: node.clone(), incarnation: member.incarnation };
            if gone.contains(&peer) {
                member.present = false;
                member.beat = None;
            } else if majority.gone.contains(&peer) {
                member.present = true;
            }
        }
        if let Some(majority) = &mut self.majority {
            majority.gone = gone;
        }
        self.recheck_all();
    }

    /// Whether somebody is in view of whom enough voters say that it is gone.
    pub(super) fn is_voted_out(&self, peer: &Peer) -> bool {
        self.majority.as_ref().is_some_and(|majority| majority.gone.contains(peer))
    }
}
