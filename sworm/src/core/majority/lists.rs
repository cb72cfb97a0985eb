//! The lists of voters at work: they are learnt, stored, proposed and decided.

use super::voters::{Ballot, Voters};
use crate::core::cell::{Key, Value};
use crate::core::ids::{NodeId, Peer, Request};
use crate::core::message::{Done, Refusal};
use crate::core::state::Core;

impl Core {
    /// The list of voters that counts.
    pub fn voters(&self) -> Option<&Voters> {
        self.majority.as_ref()?.ballot.decided.as_ref()
    }

    /// Somebody wants the list of voters changed.
    pub(in crate::core) fn on_ask_voter(&mut self, request: &Request, node: &NodeId, add: bool) {
        let settled = self.settled() && self.leads();
        let decided = |other: &NodeId| {
            let ballot = match *other == self.config.me.node {
                true => self.majority.as_ref().map(|majority| &majority.ballot),
                false => self.view.peer(other).and_then(|peer| self.stated(peer)),
            };
            ballot.map_or(0, |ballot| ballot.number())
        };
        // Else it might be known to this node alone, and those who are left when it dies would go by both lists for ever.
        let is_known = self.voters().is_some_and(|list| list.is_quorum(|other| decided(other) >= list.number));
        let against = self.speaks_against(node, add);
        let Some(majority) = &mut self.majority else {
            return self.answer_to(request, Err(Refusal::NotMajority));
        };
        let decided = majority.ballot.decided.as_ref();
        // What was proposed before may still come about.
        let undone = majority.ballot.proposed.as_ref().is_some_and(|list| list.nodes.contains(node) != add);
        if decided.is_some() && undone {
            return self.answer_to(request, Err(Refusal::Again));
        }
        if let Some(list) = decided.filter(|list| list.nodes.contains(node) == add) {
            if !is_known {
                return self.answer_to(request, Err(Refusal::Again));
            }
            let done = Done::Voters { number: list.number, nodes: list.nodes.clone() };
            majority.change = None;
            return self.answer_to(request, Ok(done));
        }
        if !add && decided.is_some_and(|list| list.nodes.len() == 1) {
            return self.answer_to(request, Err(Refusal::LastVoter));
        }
        if let Some(why) = against.filter(|_| settled) {
            return self.answer_to(request, Err(Refusal::NotThere { why }));
        }
        if settled && majority.change.is_none() {
            majority.change = Some((node.clone(), add));
        }
        self.answer_to(request, Err(Refusal::Again));
    }

    /// What speaks against a change of the voters, as far as this node sees: both lists count until it is made, and the new one is
    /// to have a majority that is there. What was proposed already is not looked at.
    fn speaks_against(&self, node: &NodeId, add: bool) -> Option<String> {
        let majority = self.majority.as_ref().filter(|majority| majority.ballot.proposed.is_none())?;
        let list = majority.ballot.decided.as_ref().filter(|list| list.nodes.contains(node) != add)?;
        let is_there =
            |node: &NodeId| self.view.staying().any(|peer| peer.node == *node && self.stated(peer).is_some());
        if add && !(is_there(node) && self.view.peer(node).is_some_and(|peer| self.hosts(peer))) {
            return Some(format!("{node} is not there, or hosts nothing"));
        }
        let next = list.changed(node, add, list.ballot);
        let there: Vec<&str> = next.nodes.iter().filter(|node| is_there(node)).map(|node| &**node).collect();
        let is_enough = next.is_quorum(is_there);
        (!is_enough)
            .then(|| format!("of its {} voters only {there:?} are there, which is no majority", next.nodes.len()))
    }

    /// Who makes proposals: the first in view.
    pub(in crate::core) fn leader(&self) -> Option<&Peer> {
        self.view.up().next()
    }

    fn leads(&self) -> bool {
        self.leader() == Some(&self.config.me)
    }

    /// What a node says of the voters.
    fn stated(&self, peer: &Peer) -> Option<&Ballot> {
        match self.directory.lane(peer)?.fact(&Key::Voters)? {
            Value::Voters(ballot) => Some(ballot),
            _ => None,
        }
    }

    /// Learns of lists, stores what is proposed, proposes, decides.
    pub(super) fn tick_ballot(&mut self) {
        let (now, me) = (self.now.mono_ms, self.config.me.clone());
        let settled = self.agrees();
        let ballot_number = self.hybrid();
        let leader = self.leader().cloned();
        let Some(majority) = &self.majority else { return };
        let mut ballot = majority.ballot.clone();
        let mut proposed_in = majority.proposed_in;
        let stated = |peer: &Peer| self.stated(peer);
        for (id, _) in self.directory.lanes().filter(|(id, _)| **id != me) {
            if let Some(other) = stated(id) {
                ballot.learn(other);
            }
        }
        let proposal = leader.as_ref().filter(|leader| **leader != me).and_then(stated);
        if let Some(proposal) = proposal.and_then(|other| other.proposed.as_ref()) {
            ballot.accept(&me.node, proposal);
        }
        if settled && leader.as_ref() == Some(&me) && proposed_in != Some(self.view.hash) {
            // A client runs nothing, and is often gone.
            let up: Vec<&NodeId> = self.view.up().filter(|peer| self.hosts(peer)).map(|peer| &peer.node).collect();
            let enough = up.len() >= majority.rules.expect;
            let first = enough.then(|| up.iter().take(majority.rules.expect).map(|node| (*node).clone()).collect());
            let change = majority.change.as_ref().map(|(node, add)| (node, *add));
            let change = change.filter(|(node, add)| self.speaks_against(node, *add).is_none());
            let others = self.view.members.keys().filter(|peer| **peer != me).filter_map(stated);
            if let Some(proposal) = ballot.proposal(others, first, change, ballot_number) {
                ballot.accept(&me.node, &proposal);
                proposed_in = Some(self.view.hash);
            }
        }
        let stored = |node: &NodeId| {
            let peer = if *node == me.node { Some(&me) } else { self.view.peer(node) }?;
            let seq = self.directory.lane(peer)?.seq(&Key::Voters)?;
            let durable = if *peer == me {
                self.durable_max
            } else {
                self.members.get(node)?.beat.as_ref().map_or(0, |(beat, _)| beat.durable)
            };
            stated(peer).filter(|_| seq <= durable)
        };
        ballot.decide(stored);
        if settled {
            ballot.admit(&me.node, stored);
        }
        let is_vain = majority.change.as_ref().is_some_and(|(node, add)| self.speaks_against(node, *add).is_some());
        let Some(majority) = &mut self.majority else { return };
        if ballot.number() != majority.ballot.number() {
            proposed_in = None;
            majority.change = None;
        } else if is_vain {
            majority.change = None; // whoever asked for it asks again
        }
        majority.proposed_in = proposed_in;
        if ballot != majority.ballot {
            if ballot.hash() != majority.ballot.hash() || ballot.number() != majority.ballot.number() {
                majority.since_ms = now;
            }
            majority.ballot = ballot.clone();
            self.directory.put(Key::Voters, Value::Voters(Box::new(ballot)));
        }
    }
}
