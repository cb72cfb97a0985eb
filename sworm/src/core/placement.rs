//! Placement: which members could run a name, which must not and why, and whom the strategy chooses.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::cell::{INBOX_PREFIX, Key, Kind, NameCell, NameState, Value};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::ids::{NodeId, Peer, Pid};
use super::lane::Lane;
use super::message::{Phase, Refusal};
use super::state::Core;
use crate::panics;
use crate::strategy::{Candidate, Distribution, choose, weighted_score};

/// A name that needs a place.
#[derive(Clone, Copy)]
pub(super) struct Placing<'a> {
    pub(super) name: &'a Arc<str>,
    pub(super) kind: &'a Kind,
    /// Where its registration was asked for.
    pub(super) asked: Option<&'a NodeId>,
    /// The only node that it may run on.
    pub(super) on: Option<&'a NodeId>,
    /// The one that it leaves.
    pub(super) but: Option<&'a Peer>,
    /// How many names each node is to be given before this one.
    pub(super) planned: Option<&'a BTreeMap<Peer, u64>>,
}

impl<'a> Placing<'a> {
    /// A name that has run before.
    pub(super) fn again(name: &'a Arc<str>, cell: &'a NameCell, but: Option<&'a Peer>) -> Self {
        Self { name, kind: &cell.spec.kind, asked: Some(&cell.request.from.node), on: None, but, planned: None }
    }
}

/// A member as a place for a name.
pub(super) struct Considered {
    pub(super) peer: Peer,
    candidate: Candidate,
    /// Why it must not run there.
    excluded: Option<String>,
}

/// Why a name runs where it does, or would: see [`Sworm::explain`](crate::Sworm::explain).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name.
    pub name: Arc<str>,
    /// The distribution strategy.
    pub strategy: Arc<str>,
    /// Which node decides about the name at present; nobody while this node is not in a cluster yet.
    pub decided_by: Option<NodeId>,
    /// Where its worker is, if it is registered.
    pub runs: Option<Pid>,
    /// Why its worker is not started again, if it has failed.
    pub failed: Option<Arc<str>>,
    /// Every node that is there, sorted by id: those that have not opened the sworm, too.
    pub candidates: Vec<ExplainedCandidate>,
    /// The node that would be chosen now, or why there is none. A name stays where it runs all the same; one that has no
    /// node now starts on one that [holds its state](ExplainedCandidate::holds_state), if any of those can run it.
    pub choice: Result<NodeId, String>,
}

/// A node as a place for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainedCandidate {
    /// What the strategy is shown of it.
    pub candidate: Candidate,
    /// What the strategy compares it by, higher is better, if it says so ([`Distribution::score`], [`Distribution::scores`]). Of
    /// those that are built in:
    ///
    /// - `rendezvous`: the hash of name and node, the highest of as many as the node has weight. The highest wins. With `Pinned`
    ///   it is the same among those that have the label.
    /// - `local-first`: the same, and the most that there is for the node on which the name was asked for.
    /// - `least-loaded`: the same, and of the two highest the one with fewer names for its weight wins.
    /// - `bounded`: the same, and the highest wins that is not full.
    /// - `Spread`: first the hash of name and label's value, then that of name and node. The highest wins.
    /// - `ring`: how near the node's next point on the ring is: `u64::MAX` less the way there from the name's point. The highest
    ///   wins.
    /// - `random`: the sum of all weights for the node with the share that the name draws, and for the others less by as many
    ///   shares as theirs are ahead. The highest wins. It says nothing of who would be next: without the first the name draws
    ///   anew. A node that must not run the name takes no part, and has no score.
    pub score: Option<u64>,
    /// Whether it holds the newest saved state of the name.
    pub holds_state: bool,
    /// Why the name must not run there.
    pub excluded: Option<String>,
}

impl Explanation {
    /// Nothing is known.
    pub(crate) fn none(name: Arc<str>, strategy: Arc<str>, why: &str) -> Self {
        Self {
            name,
            strategy,
            decided_by: None,
            runs: None,
            failed: None,
            candidates: Vec::new(),
            choice: Err(why.to_owned()),
        }
    }
}

/// One line per node, the choice last.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {:?}", &*self.name, &*self.strategy)?;
        if let Some(node) = &self.decided_by {
            write!(f, ", decided by {node}")?;
        }
        match (&self.runs, &self.failed) {
            (Some(pid), _) => writeln!(f, ", runs on {}", pid.node)?,
            (None, Some(reason)) => writeln!(f, ", has failed: {reason}")?,
            (None, None) => writeln!(f, ", does not run")?,
        }
        for ExplainedCandidate { candidate, score, holds_state, excluded } in &self.candidates {
            let Candidate { node, weight, names, .. } = candidate;
            let holds = if *holds_state { ", holds its state" } else { "" };
            write!(f, "  {node}: weight {weight}, {names} names{holds}")?;
            match (excluded, score) {
                (Some(why), _) => writeln!(f, ", not a candidate: {why}")?,
                (None, Some(score)) => writeln!(f, ", score {score}")?,
                (None, None) => writeln!(f)?,
            }
        }
        match &self.choice {
            Ok(node) => write!(f, "  choice: {node}"),
            Err(why) => write!(f, "  no choice: {why}"),
        }
    }
}

impl Core {
    /// Chooses a node for a name.
    pub(super) fn place(&self, placing: Placing<'_>) -> Result<Peer, Refusal> {
        let strategy = self.strategy(&placing.kind.distribution)?;
        self.choice(strategy, placing, &self.consider(placing, strategy))
    }

    /// Chooses a node for a name whose state is with some: one of those, if any can run it.
    pub(super) fn place_adopted(&self, name: &Arc<str>, cell: &NameCell) -> Result<Peer, Refusal> {
        let placing = Placing::again(name, cell, None);
        let strategy = self.strategy(&placing.kind.distribution)?;
        self.choice_adopted(strategy, placing, cell, &self.consider(placing, strategy))
    }

    /// Why a name runs where it does. `kind` is what it would be if it is not registered.
    pub fn explain(&self, name: &Arc<str>, kind: &Kind) -> Explanation {
        let standing = self.standing(name);
        let cell = standing.cell().map(|(_, cell)| cell.clone());
        let placing = match &cell {
            Some(cell) => Placing::again(name, cell, None),
            None => Placing { name, kind, asked: Some(&self.config.me.node), on: None, but: None, planned: None },
        };
        let (candidates, choice) = match self.strategy(&placing.kind.distribution) {
            Err(refusal) => (Vec::new(), Err(refusal)),
            Ok(strategy) => {
                let considered = self.consider(placing, strategy);
                let choice = match &standing {
                    Standing::Source { cell, .. } => match self.given_to(cell) {
                        Some(to) => Ok(to),
                        None => self.choice_adopted(strategy, placing, cell, &considered),
                    },
                    Standing::Claimed { .. } | Standing::Free => self.choice(strategy, placing, &considered),
                };
                let outside =
                    self.outside().map(|(peer, why)| self.considered(&peer, placing, |_| Some(why.to_owned())));
                let mut all: Vec<Considered> = considered.into_iter().chain(outside).collect();
                all.sort_by(|a, b| a.peer.cmp(&b.peer));
                let able = all.iter().filter(|one| one.excluded.is_none()).map(|one| one.candidate.clone());
                let able: Vec<Candidate> = able.collect();
                let mut scores = panics::guarded(|| strategy.scores(name, &able)).unwrap_or_default().into_iter();
                let explained = all.into_iter().map(|Considered { candidate, excluded, .. }| {
                    let score = match excluded {
                        None => scores.next().flatten(),
                        Some(_) => panics::guarded(|| strategy.score(name, &candidate)).ok().flatten(),
                    };
                    let holds_state = cell.as_ref().is_some_and(|cell| cell.holders.contains(&candidate.node));
                    ExplainedCandidate { candidate, score, holds_state, excluded }
                });
                (explained.collect(), choice)
            }
        };
        let runs = match &standing {
            Standing::Claimed { host, cell } => Some(cell.pid(&self.config.sworm, name, host)),
            Standing::Source { .. } | Standing::Free => None,
        };
        let failed = cell.as_ref().and_then(|cell| match &cell.state {
            NameState::Failed { reason } => Some(reason.clone()),
            _ => None,
        });
        Explanation {
            name: name.clone(),
            strategy: placing.kind.distribution.clone(),
            decided_by: self.view.arbiter(name).map(|peer| peer.node.clone()),
            runs,
            failed,
            candidates,
            choice: choice.map(|peer| peer.node).map_err(|refusal| refusal.why()),
        }
    }

    fn strategy(&self, name: &str) -> Result<&'static dyn Distribution, Refusal> {
        self.config.strategies.distribution(name).ok_or_else(|| Refusal::UnknownStrategy {
            name: name.to_owned(),
            node: self.config.me.node.clone(),
            known: self.config.strategies.distribution_names(),
        })
    }

    /// All members, sorted, each with what speaks against it.
    fn consider(&self, placing: Placing<'_>, strategy: &dyn Distribution) -> Vec<Considered> {
        let Placing { name, kind, on, but, .. } = placing;
        let members = self.view.members.iter().map(|(peer, phase)| {
            self.considered(peer, placing, |candidate| {
                if on.is_some_and(|node| peer.node != *node) {
                    Some("is not the one asked for".to_owned())
                } else if *phase == Phase::Draining {
                    Some("is being emptied".to_owned())
                } else if *phase != Phase::Up {
                    Some("is leaving".to_owned())
                } else if but == Some(peer) {
                    Some("is the one that it leaves".to_owned())
                } else {
                    self.unable(peer, kind).or_else(|| {
                        if planted(Fault::PlaceAnywhere) {
                            return None;
                        }
                        let excludes = panics::guarded(|| strategy.excludes(name, candidate));
                        excludes
                            .unwrap_or_else(|panic| Some(panicked(kind, &panic)))
                            .map(|why| format!("is left out: {why}"))
                    })
                }
            })
        });
        members.collect()
    }

    fn considered(
        &self,
        peer: &Peer,
        placing: Placing<'_>,
        excluded: impl FnOnce(&Candidate) -> Option<String>,
    ) -> Considered {
        let profile = self.profiles.get(&peer.node).cloned().unwrap_or_default();
        let planned = placing.planned.and_then(|planned| planned.get(peer)).copied().unwrap_or(0);
        let candidate = Candidate {
            labels: profile.labels,
            names: self.directory.lane(peer).map_or(0, Lane::claims) + planned,
            asked: placing.asked == Some(&peer.node),
            ..Candidate::new(peer.node.clone())
        }
        .with_weight(profile.weight);
        let excluded = excluded(&candidate);
        Considered { peer: peer.clone(), candidate, excluded }
    }

    /// The nodes that are there and not in view, each with why.
    fn outside(&self) -> impl Iterator<Item = (Peer, &'static str)> {
        let outside = self.members.iter().filter(|(_, member)| member.present).map(|(node, member)| {
            let why = match member.phase() {
                Some(Phase::Joining) => "is about to join",
                Some(_) => "is not in view yet",
                None => "has not opened the sworm",
            };
            (Peer { node: node.clone(), incarnation: member.incarnation }, why)
        });
        outside.filter(|(peer, _)| !self.view.contains(peer))
    }

    /// To whom a name without a claim was handed, if that node is there to start it.
    fn given_to(&self, cell: &NameCell) -> Option<Peer> {
        match &cell.state {
            NameState::Released(release) => Some(release.to.clone()).filter(|to| self.is_live(to)),
            _ => None,
        }
    }

    /// Why a node cannot run workers of a kind at all.
    fn unable(&self, peer: &Peer, kind: &Kind) -> Option<String> {
        if kind.worker_type.starts_with(INBOX_PREFIX) || kind.worker_type.is_empty() {
            return None;
        }
        let lane = self.directory.lane(peer);
        match lane.and_then(|lane| lane.fact(&Key::WorkerType(kind.worker_type.clone()))) {
            Some(Value::WorkerType(version)) if *version < kind.version => {
                Some(format!("links version {version} of the worker type, and the name is of version {}", kind.version))
            }
            Some(_) => None,
            None if self.hosts(peer) => Some("does not link the worker type".to_owned()),
            None => Some("is a client, or links no worker type".to_owned()),
        }
    }

    /// Whether a node can run workers of any kind: a client cannot.
    pub(super) fn hosts(&self, peer: &Peer) -> bool {
        self.directory.lane(peer).is_some_and(Lane::links_any)
    }

    /// Whether a node can run workers of a kind.
    pub(super) fn links(&self, peer: &Peer, kind: &Kind) -> bool {
        self.unable(peer, kind).is_none()
    }

    fn choice(
        &self,
        strategy: &dyn Distribution,
        placing: Placing<'_>,
        considered: &[Considered],
    ) -> Result<Peer, Refusal> {
        let Placing { name, kind, on, .. } = placing;
        let able: Vec<&Considered> = considered.iter().filter(|considered| considered.excluded.is_none()).collect();
        if able.is_empty() {
            // Who was not asked for is no news.
            let counts = |peer: &Peer| on.is_none_or(|node| peer.node == *node);
            let considered: Vec<&Considered> = considered.iter().filter(|c| counts(&c.peer)).collect();
            let told = considered.iter().filter_map(|c| Some(format!("{} {}", c.peer.node, c.excluded.as_ref()?)));
            let outside: Vec<(Peer, &str)> = self.outside().filter(|(peer, _)| counts(peer)).collect();
            let is_there = |node: &NodeId| {
                considered.iter().map(|c| &c.peer).chain(outside.iter().map(|(peer, _)| peer)).any(|p| p.node == *node)
            };
            let missing = on.filter(|node| !is_there(node)).map(|node| format!("{node} is not there"));
            let told = told.chain(outside.iter().map(|(peer, why)| format!("{} {why}", peer.node))).chain(missing);
            let told: Vec<String> = told.collect();
            let who = on.map_or_else(|| "no node can".to_owned(), |node| format!("node {node} cannot"));
            let why = format!("{who} run worker type {:?}: {}", &*kind.worker_type, told.join(", "));
            return Err(Refusal::NoCandidate { why });
        }
        let candidates: Vec<Candidate> = able.iter().map(|considered| considered.candidate.clone()).collect();
        match choose(strategy, name, &candidates) {
            Ok(place) => Ok(able[place.min(able.len() - 1)].peer.clone()),
            Err(panic) => Err(Refusal::NoCandidate { why: panicked(kind, &panic) }),
        }
    }

    /// Of those who hold the state of a name, if any of them can run it, the best by rendezvous.
    fn choice_adopted(
        &self,
        strategy: &dyn Distribution,
        placing: Placing<'_>,
        cell: &NameCell,
        considered: &[Considered],
    ) -> Result<Peer, Refusal> {
        let chosen = self.choice(strategy, placing, considered)?;
        if cell.holders.is_empty() || cell.holders.contains(&chosen.node) {
            return Ok(chosen);
        }
        let holders = considered.iter().filter(|c| c.excluded.is_none() && cell.holders.contains(&c.peer.node));
        let best = holders.max_by_key(|c| (weighted_score(placing.name, &c.candidate), &c.peer));
        Ok(best.map_or(chosen, |c| c.peer.clone()))
    }

    /// How soon a member's turn would come to host a name that runs here, the least first: those that its strategy leaves
    /// out come last.
    pub(super) fn rank(&self, name: &Arc<str>, cell: &NameCell, peer: &Peer) -> (bool, Reverse<u64>) {
        let strategy = self.config.strategies.distribution(&cell.spec.distribution);
        let excludes = |candidate: &Candidate| {
            let excludes = |strategy: &dyn Distribution| {
                panics::guarded(|| strategy.excludes(name, candidate)).unwrap_or_else(Some)
            };
            strategy.and_then(excludes)
        };
        let Considered { candidate, excluded, .. } = self.considered(peer, Placing::again(name, cell, None), excludes);
        (excluded.is_some(), Reverse(weighted_score(name, &candidate)))
    }
}

fn panicked(kind: &Kind, panic: &str) -> String {
    format!("the distribution strategy {:?} panicked: {panic}", &*kind.distribution)
}

#[cfg(test)]
mod tests;
