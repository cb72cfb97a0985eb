//! Who votes: a list that is founded once, kept on disk, and changed by one node at a time, each change stored by a
//! majority of the old list and of the new one before it counts (single-server changes, Ongaro 2014, section 4.1; a view
//! that all its members acknowledged stands for the first phase of Paxos).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::codec;
use crate::core::ids::NodeId;

/// A list of voters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voters {
    /// How many lists there were before, and one more.
    pub number: u64,
    /// Of several proposals of one number the one with the highest counts.
    pub ballot: u64,
    /// The voters.
    pub nodes: BTreeSet<NodeId>,
}

impl Voters {
    /// Whether these are more than half of the voters, or half of them with the tie-breaker: the first in order of ids.
    /// Any two such sets have a voter in common.
    pub fn is_quorum(&self, of: impl Fn(&NodeId) -> bool) -> bool {
        let count = self.nodes.iter().filter(|node| of(node)).count();
        count * 2 > self.nodes.len() || count * 2 == self.nodes.len() && self.nodes.first().is_some_and(&of)
    }

    /// The list with a voter more, or less.
    pub(super) fn changed(&self, node: &NodeId, add: bool, ballot: u64) -> Self {
        let mut nodes = self.nodes.clone();
        if add {
            nodes.insert(node.clone());
        } else {
            nodes.remove(node);
        }
        Self { number: self.number + 1, ballot, nodes }
    }
}

/// What a node knows of the voters. Each states it in its lane, so that it is on its disk, and known to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// The list that counts.
    pub decided: Option<Voters>,
    /// The next one, while it is not known to be stored by majorities; until then nothing counts without both.
    pub proposed: Option<Voters>,
    /// Whether the node votes: it remembers all that it has said.
    pub votes: bool,
}

impl Ballot {
    /// The number of the list that counts.
    pub fn number(&self) -> u64 {
        self.decided.as_ref().map_or(0, |voters| voters.number)
    }

    /// Stands for the lists that count: votes of those who know of others do not.
    pub fn hash(&self) -> u64 {
        // Who has decided the newest list and who has only stored it know the same.
        let newest = self.lists().last().map(|list| (list.number, &list.nodes));
        xxh3_64(&codec::encode(&newest).expect("ids encode"))
    }

    /// The lists that count: none before there was a first one.
    pub fn lists(&self) -> impl Iterator<Item = &Voters> {
        let proposed = self.proposed.as_ref().filter(|_| self.decided.is_some());
        self.decided.iter().chain(proposed)
    }

    /// Whether these voters are enough, in each list that counts.
    pub fn is_quorum(&self, of: impl Fn(&NodeId) -> bool) -> bool {
        self.decided.is_some() && self.lists().all(|list| list.is_quorum(&of))
    }

    /// Takes over what another node knows to be decided.
    pub fn learn(&mut self, other: &Self) {
        if other.number() > self.number() {
            self.decided.clone_from(&other.decided);
        }
        let number = self.number();
        self.proposed.take_if(|proposed| proposed.number <= number);
    }

    /// Stores a proposal of the node that leads.
    pub fn accept(&mut self, me: &NodeId, proposal: &Voters) {
        let higher = self.proposed.as_ref().is_none_or(|known| known.ballot < proposal.ballot);
        if proposal.number == self.number() + 1 && higher {
            // One that was no voter before has said nothing that it could have forgotten.
            let was = self.decided.as_ref().is_some_and(|list| list.nodes.contains(me));
            self.votes |= proposal.nodes.contains(me) && !was;
            self.proposed = Some(proposal.clone());
        }
    }

    /// What the node that leads proposes: what somebody has stored already, else the first list, else the change that was
    /// asked for.
    pub fn proposal<'a>(
        &self,
        others: impl Iterator<Item = &'a Self>,
        first: Option<BTreeSet<NodeId>>,
        change: Option<(&NodeId, bool)>,
        ballot: u64,
    ) -> Option<Voters> {
        let number = self.number() + 1;
        let stored = others.filter_map(|other| other.proposed.clone()).chain(self.proposed.clone());
        let newest = stored.filter(|proposed| proposed.number == number).max_by_key(|proposed| proposed.ballot);
        match (newest, &self.decided) {
            (Some(newest), _) => Some(Voters { ballot: ballot.max(newest.ballot + 1), ..newest }),
            (None, None) => first.map(|nodes| Voters { number, ballot, nodes }),
            (None, Some(decided)) => {
                let news = change.filter(|(node, add)| decided.nodes.contains(node) != *add);
                news.map(|(node, add)| decided.changed(node, add, ballot))
            }
        }
    }

    /// Decides what was proposed when enough have it on their disks: `stored` tells of each node what it has stored there.
    pub fn decide<'a>(&mut self, stored: impl Fn(&NodeId) -> Option<&'a Self>) {
        let Some(proposed) = &self.proposed else { return };
        let accepted = |node: &NodeId| stored(node).filter(|other| other.proposed.as_ref() == Some(proposed));
        let enough = match &self.decided {
            None => proposed.nodes.iter().all(|node| accepted(node).is_some()),
            Some(old) => {
                old.is_quorum(|node| accepted(node).is_some_and(|other| other.votes))
                    && proposed
                        .is_quorum(|node| accepted(node).is_some_and(|other| other.votes || !old.nodes.contains(node)))
            }
        };
        if enough {
            self.decided = self.proposed.take();
        }
    }

    /// A voter that lost its store votes again when enough of the others, or all of them, know the same list.
    pub fn admit<'a>(&mut self, me: &NodeId, there: impl Fn(&NodeId) -> Option<&'a Self>) {
        let Some(decided) = self.decided.as_ref().filter(|list| !self.votes && list.nodes.contains(me)) else { return };
        let same = |list: &Voters| list.number == decided.number && list.nodes == decided.nodes;
        let agrees = |node: &NodeId| {
            node != me && there(node).is_some_and(|other| other.votes && other.decided.as_ref().is_some_and(same))
        };
        self.votes = decided.is_quorum(agrees) || decided.nodes.iter().all(|node| node == me || agrees(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &str) -> BTreeSet<NodeId> {
        names.chars().map(|name| NodeId::new(name.to_string()).expect("valid")).collect()
    }

    fn id(name: &str) -> NodeId {
        NodeId::new(name).expect("valid")
    }

    fn list(number: u64, nodes: &str) -> Voters {
        Voters { number, ballot: number, nodes: ids(nodes) }
    }

    #[test]
    fn any_two_quorums_of_a_list_have_a_voter_in_common() {
        for nodes in ["a", "ab", "abc", "abcd", "abcde"] {
            let list = list(1, nodes);
            let subsets = || (0u32..1 << nodes.len()).map(|bits| move |n: usize| bits >> n & 1 == 1);
            let place = |node: &NodeId| nodes.find(&**node).expect("one of them");
            for one in subsets() {
                for other in subsets() {
                    let both = list.is_quorum(|node| one(place(node))) && list.is_quorum(|node| other(place(node)));
                    let common = (0..nodes.len()).any(|n| one(n) && other(n));
                    assert!(!both || common, "{nodes}");
                }
            }
        }
    }

    #[test]
    fn of_two_voters_the_first_goes_on_alone_and_the_second_does_not() {
        let list = list(1, "ab");
        assert!(list.is_quorum(|node| **node == *"a") && !list.is_quorum(|node| **node == *"b"));
    }

    #[test]
    fn nothing_counts_before_all_have_stored_the_first_list() {
        let mut a = Ballot::default();
        a.accept(&id("a"), &list(1, "abc"));
        let same = a.clone();
        assert!(a.votes && !a.is_quorum(|_| true));
        a.decide(|node| (**node != *"c").then_some(&same));
        assert_eq!(a.decided, None);
        a.decide(|_| Some(&same));
        assert!(a.is_quorum(|node| **node != *"a") && !a.is_quorum(|node| **node == *"a"));
    }

    #[test]
    fn a_change_needs_majorities_of_both_lists_and_until_then_nothing_counts_without_both() {
        let mut a = Ballot { decided: Some(list(1, "ab")), proposed: None, votes: true };
        let next = a.proposal([].into_iter(), None, Some((&id("c"), true)), 7).expect("a change");
        a.accept(&id("a"), &next);
        assert!(!a.is_quorum(|node| **node == *"a"), "the old list alone is not enough any more");
        let stored = a.clone();
        a.decide(|node| (**node == *"a").then_some(&stored));
        assert_eq!(a.number(), 1);
        a.decide(|node| (**node != *"b").then_some(&stored));
        assert_eq!(a.decided, Some(Voters { number: 2, ballot: 7, nodes: ids("abc") }));
    }

    #[test]
    fn what_has_come_about_is_not_proposed_again() {
        let a = Ballot { decided: Some(list(2, "ab")), proposed: None, votes: true };
        assert_eq!(a.proposal([].into_iter(), None, Some((&id("c"), false)), 7), None);
        assert_eq!(a.proposal([].into_iter(), None, Some((&id("a"), true)), 7), None);
    }

    #[test]
    fn who_leads_takes_up_what_somebody_has_stored() {
        let a = Ballot { decided: Some(list(1, "abc")), proposed: None, votes: true };
        let b = Ballot { proposed: Some(Voters { ballot: 9, ..list(2, "ab") }), ..a.clone() };
        let next = a.proposal([&b].into_iter(), None, Some((&id("d"), true)), 5).expect("a proposal");
        assert_eq!(next, Voters { number: 2, ballot: 10, nodes: ids("ab") });
    }

    #[test]
    fn a_voter_without_memory_votes_when_a_majority_of_the_others_knows_the_list() {
        let knows = Ballot { decided: Some(list(3, "abc")), proposed: None, votes: true };
        let mut c = Ballot::default();
        c.learn(&knows);
        c.admit(&id("c"), |node| (**node == *"a").then_some(&knows));
        assert!(!c.votes);
        c.admit(&id("c"), |_| Some(&knows));
        assert!(c.votes);
    }

    #[test]
    fn an_older_list_is_not_learnt() {
        let mut a = Ballot { decided: Some(list(3, "abc")), proposed: Some(list(4, "ab")), votes: true };
        let before = a.clone();
        a.learn(&Ballot { decided: Some(list(2, "a")), proposed: None, votes: true });
        assert_eq!(a, before);
        a.learn(&Ballot { decided: Some(list(4, "abcd")), proposed: None, votes: true });
        assert_eq!((a.number(), a.proposed), (4, None));
    }
}
