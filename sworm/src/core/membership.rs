//! Which other nodes are there: from liveliness tokens, greetings and refused dials.
//!
//! A lost token means "I lost my link to it", no more. If dialling is refused on every endpoint, the process is gone; if
//! not, the node is suspect: for the grace time, and for as long after that as a member says that it is linked to it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::hearsay::{Hearsay, Rotation};
use super::fault::{Fault, planted};
use super::ids::{Incarnation, InstanceId, NodeId, Peer};

mod hearsay;
#[cfg(test)]
mod hearsay_tests;
#[cfg(test)]
mod tests;

pub use self::hearsay::Route;

/// The form of what nodes send each other. It changes when nodes of before could not take that, or would take it for something
/// else; nodes of two forms do not let each other in. A field that those of before do without changes nothing.
pub const FORMAT: u32 = 2;

/// What nodes tell each other when they meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Who speaks.
    pub from: Peer,
    /// Which data directory it runs on.
    pub instance: InstanceId,
    /// Where it listens.
    pub endpoints: Vec<String>,
    /// What distribution strategies may know of it.
    pub profile: Profile,
    /// Its wall clock, in Unix milliseconds.
    pub unix_ms: u64,
    /// Whether it wants the receiver's greeting.
    pub answer: bool,
    /// The members that it is linked to: the receiver may not have met them.
    #[serde(default)]
    pub others: Vec<Peer>,
    /// What its program links.
    #[serde(default)]
    pub linked: Linked,
    /// The [form](FORMAT) of what it sends.
    #[serde(default)]
    pub format: u32,
}

/// What a node's program links, by name, sorted: of each kind the first 256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Linked {
    /// The worker types.
    pub worker_types: Vec<String>,
    /// The restart strategies.
    pub restart: Vec<String>,
    /// The distribution strategies.
    pub distribution: Vec<String>,
    /// The kinds of stores.
    pub stores: Vec<String>,
}

/// How what another node's program links differs from what this one's does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// What the other one lacks, each with its kind.
    pub lacks: Vec<String>,
    /// What it has beyond.
    pub adds: Vec<String>,
    /// Whether somebody should look at it: a name whose distribution strategy is not linked where it is decided about cannot be
    /// placed.
    pub matters: bool,
}

impl Linked {
    /// How the other one differs.
    pub fn against(&self, other: &Self) -> Differs {
        let matters = self.distribution != other.distribution;
        Differs { lacks: self.beyond(other), adds: other.beyond(self), matters }
    }

    /// What this has that the other one lacks, each with its kind.
    fn beyond(&self, other: &Self) -> Vec<String> {
        let kinds = [
            ("worker type", &self.worker_types, &other.worker_types),
            ("restart strategy", &self.restart, &other.restart),
            ("distribution strategy", &self.distribution, &other.distribution),
            ("kind of store", &self.stores, &other.stores),
        ];
        let lacks = kinds.into_iter().flat_map(|(kind, mine, theirs)| {
            let missing = mine.iter().filter(|name| !theirs.contains(name));
            missing.map(move |name| format!("{kind} {name:?}"))
        });
        lacks.collect()
    }
}

/// What distribution strategies may know of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many shares of the names it takes.
    pub weight: u32,
}

impl Default for Profile {
    fn default() -> Self {
        Self { labels: BTreeMap::new(), weight: 1 }
    }
}

/// What is thought of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// Its link is there; it has not introduced itself yet.
    Joining,
    /// It is there.
    Up,
    /// There is no link to it; it may still be there, and it is reached over another member that is linked to it.
    Suspect,
    /// It leaves in good order.
    Leaving,
    /// It is gone.
    Down,
}

/// What is known of another node.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its newest incarnation.
    pub incarnation: Incarnation,
    /// What is thought of it.
    pub state: MemberState,
    /// Its greeting.
    pub hello: Option<Hello>,
    linked: bool,
    /// A newer incarnation whose token came up while this one's still lives: its successor, or another instance that
    /// took the same id. It is let in when this one's token is gone, or when it proves to run on the same directory.
    next: Option<Incarnation>,
    since_ms: u64,
    greet_ms: u64,
    /// What it sends has another form.
    is_refused: bool,
    /// When a suspect is dialled again.
    dial_ms: u64,
    /// What came of dialling it since its link was lost.
    dialled: Dialled,
    /// Until when it may refuse, since it has said that it opens its links anew.
    reopens_until_ms: u64,
    /// It was refused, or has left: whatever others say, it does not come back without a link.
    gone: bool,
    /// What others say of it while the link to it is missing.
    said: Hearsay,
}

/// What membership wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Greet that node.
    Greet { to: Peer, answer: bool },
    /// Dial a node whose link was lost.
    Dial { peer: Peer, endpoints: Vec<String> },
    /// Ask a member whether it is linked to these.
    AskAbout { to: Peer, about: Vec<Peer> },
    /// Answer such a question.
    Tell { to: Peer, linked: Vec<(Peer, bool)> },
    /// It is there.
    Present { hello: Hello },
    /// It is gone.
    Absent { peer: Peer },
    /// What it sends has another form.
    OtherFormat { peer: Peer, theirs: u32 },
    /// Its clock is too far ahead.
    ClockAhead { peer: Peer, theirs_ms: u64 },
    /// Another living instance has this node's id.
    IdTaken { other: Peer },
    /// All that were looked for have answered, or were waited for long enough.
    Introduced,
}

/// The answer of an endpoint that was dialled when the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seed {
    Dialling,
    Answered,
    Refused,
}

/// What came of dialling a node.
#[derive(Clone, Copy, Debug)]
enum Dialled {
    /// Nothing yet.
    Unanswered,
    /// Something listened. It may be a node that opens its links anew and could not say so: nothing listens meanwhile.
    Answered,
    /// It has refused since then.
    RefusedSince(u64),
}

/// All other nodes.
#[derive(Debug)]
pub struct Membership {
    me: Peer,
    instance: InstanceId,
    grace_ms: u64,
    join_until_ms: u64,
    introduced: bool,
    /// A token with this node's id that is not its own: its former self, not noticed as gone yet, or another instance.
    rival: Option<Peer>,
    seeds: BTreeMap<String, Seed>,
    known: BTreeMap<NodeId, Known>,
    asking: Rotation,
}

/// How often a node that has not answered is greeted.
const GREET_MS: u64 = 100;
/// How often a suspect is dialled: the port of a killed process may be open for a moment longer than its links.
const DIAL_MS: u64 = 250;
/// How long a node must refuse that has answered since its link was lost.
const REFUSED_MS: u64 = 1_500;
/// How long a node may refuse that has said that it opens its links anew: closing them may take ten seconds.
const REOPENS_MS: u64 = 15_000;
/// How far ahead a clock may be.
const MAX_AHEAD_MS: u64 = 60_000;

impl Membership {
    /// A node that looks for the given endpoints, for that long.
    pub fn new(me: Peer, instance: InstanceId, seeds: Vec<String>, grace_ms: u64, join_until_ms: u64) -> Self {
        let seeds = seeds.into_iter().map(|endpoint| (endpoint, Seed::Dialling)).collect();
        let (known, asking) = (BTreeMap::new(), Rotation::default());
        Self { me, instance, grace_ms, join_until_ms, introduced: false, rival: None, seeds, known, asking }
    }

    /// All other nodes that were met.
    pub fn known(&self) -> &BTreeMap<NodeId, Known> {
        &self.known
    }

    /// A link came up or was lost.
    pub fn linked(&mut self, now_ms: u64, peer: Peer, up: bool, want: &mut Vec<Want>) {
        if peer.node == self.me.node {
            // A token of this node's own past goes with its link; a living one is another instance.
            if peer.incarnation != self.me.incarnation {
                self.rival = up.then(|| peer.clone());
                if up {
                    want.push(Want::Greet { to: peer, answer: true });
                }
            }
            return;
        }
        let known = self.known.entry(peer.node.clone()).or_insert_with(|| Known::new(peer.incarnation, now_ms));
        if known.incarnation < peer.incarnation && known.linked {
            known.next = up.then_some(peer.incarnation);
            if up {
                want.push(Want::Greet { to: peer, answer: true });
            }
            return;
        }
        if known.incarnation > peer.incarnation || (!up && known.incarnation != peer.incarnation) {
            return;
        }
        if let (false, Some(next)) = (up, known.next) {
            want.push(Want::Absent { peer: peer.clone() });
            *known = Known::new(next, now_ms);
            known.linked = true;
            want.push(Want::Greet { to: Peer { node: peer.node, incarnation: next }, answer: true });
            return;
        }
        if known.incarnation < peer.incarnation {
            let old = Peer { node: peer.node.clone(), incarnation: known.incarnation };
            if known.state != MemberState::Down {
                want.push(Want::Absent { peer: old });
            }
            *known = Known::new(peer.incarnation, now_ms);
        }
        known.linked = up;
        known.said = Hearsay::since(now_ms);
        if up {
            known.since_ms = now_ms;
            known.gone = false;
            known.reopens_until_ms = 0;
            match known.hello.clone() {
                Some(hello) if known.state != MemberState::Leaving => {
                    known.state = MemberState::Up;
                    want.push(Want::Present { hello });
                    self.ask_anew(now_ms);
                }
                _ => {
                    if known.state != MemberState::Leaving {
                        known.state = MemberState::Joining;
                    }
                    want.push(Want::Greet { to: peer, answer: true });
                }
            }
            return;
        }
        match known.state {
            MemberState::Down => {}
            MemberState::Leaving => {
                known.state = MemberState::Down;
                known.gone = true;
                want.push(Want::Absent { peer });
            }
            MemberState::Joining | MemberState::Up | MemberState::Suspect => {
                known.state = MemberState::Suspect;
                known.since_ms = now_ms;
                known.dial_ms = now_ms + DIAL_MS;
                known.dialled = Dialled::Unanswered;
                let endpoints = known.hello.as_ref().map_or(Vec::new(), |hello| hello.endpoints.clone());
                want.push(Want::Dial { peer, endpoints });
            }
        }
    }

    /// A node introduced itself.
    pub fn hello(&mut self, now_ms: u64, unix_ms: u64, mut hello: Hello, want: &mut Vec<Want>) {
        let peer = hello.from.clone();
        if peer.node == self.me.node {
            if peer.incarnation != self.me.incarnation && hello.instance != self.instance {
                want.push(Want::IdTaken { other: peer });
            }
            return;
        }
        if hello.answer {
            want.push(Want::Greet { to: peer.clone(), answer: false });
        }
        if hello.format != FORMAT {
            let known = self.known.get_mut(&peer.node).filter(|known| known.incarnation == peer.incarnation);
            if known.is_none_or(|known| !std::mem::replace(&mut known.is_refused, true)) {
                want.push(Want::OtherFormat { peer, theirs: hello.format });
            }
            return;
        }
        if hello.unix_ms > unix_ms + MAX_AHEAD_MS {
            want.push(Want::ClockAhead { peer, theirs_ms: hello.unix_ms });
            return;
        }
        let known = self.known.entry(peer.node.clone()).or_insert_with(|| Known::new(peer.incarnation, now_ms));
        if known.incarnation > peer.incarnation {
            return;
        }
        if known.incarnation < peer.incarnation {
            let same_directory = known.hello.as_ref().is_some_and(|old| old.instance == hello.instance);
            if known.linked && !same_directory {
                return; // it waits until the other's token is gone, or is refused
            }
            if known.state != MemberState::Down {
                want.push(Want::Absent { peer: Peer { node: peer.node, incarnation: known.incarnation } });
            }
            let linked = known.next == Some(hello.from.incarnation);
            *known = Known::new(hello.from.incarnation, now_ms);
            known.linked = linked;
        }
        let (peer, others) = (hello.from.clone(), std::mem::take(&mut hello.others));
        let first = known.hello.replace(hello.clone()).is_none();
        if known.state == MemberState::Joining && known.linked {
            known.state = MemberState::Up;
            want.push(Want::Present { hello });
            self.ask_anew(now_ms);
        } else if first {
            known.introduced(now_ms, want);
        }
        self.tells_of(now_ms, &peer, others);
    }

    /// Whether what a node sends is not to be read: it has another form.
    pub fn refuses(&self, peer: &Peer) -> bool {
        self.known.get(&peer.node).is_some_and(|known| known.is_refused && known.incarnation == peer.incarnation)
    }

    /// A node says that it leaves.
    pub fn goodbye(&mut self, peer: &Peer) {
        if let Some(known) = self.known.get_mut(&peer.node).filter(|known| known.incarnation == peer.incarnation)
            && known.state != MemberState::Down
        {
            known.state = MemberState::Leaving;
        }
    }

    /// A node says that it opens its links anew.
    pub fn reopens(&mut self, now_ms: u64, peer: &Peer) {
        if let Some(known) = self.known.get_mut(&peer.node).filter(|known| known.incarnation == peer.incarnation) {
            known.reopens_until_ms = now_ms + REOPENS_MS;
        }
    }

    /// The endpoints of a node whose link was lost were dialled.
    pub fn dialled(&mut self, now_ms: u64, peer: &Peer, all_refused: bool, want: &mut Vec<Want>) {
        let Some(known) = self.known.get_mut(&peer.node).filter(|known| known.incarnation == peer.incarnation) else {
            return;
        };
        if known.state != MemberState::Suspect || all_refused && now_ms < known.reopens_until_ms {
            return;
        }
        known.dialled = match (all_refused, known.dialled) {
            (false, _) => Dialled::Answered,
            (true, Dialled::Answered) => Dialled::RefusedSince(now_ms),
            (true, before) => before,
        };
        let is_gone = match known.dialled {
            Dialled::Unanswered => true,
            Dialled::Answered => false,
            Dialled::RefusedSince(since_ms) => now_ms >= since_ms + REFUSED_MS,
        };
        if is_gone {
            known.state = MemberState::Down;
            known.gone = true;
            want.push(Want::Absent { peer: peer.clone() });
        }
    }

    /// An endpoint that was looked for answered, or did not.
    pub fn seed(&mut self, endpoint: &str, answered: bool) {
        if let Some(seed) = self.seeds.get_mut(endpoint) {
            *seed = if answered { Seed::Answered } else { Seed::Refused };
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64, want: &mut Vec<Want>) {
        self.forget_hearsay(now_ms);
        self.known.retain(|_, known| !known.was_never_there(now_ms, self.grace_ms));
        let heard: BTreeSet<NodeId> = self.relayed().into_iter().map(|(peer, _)| peer.node).collect();
        for (node, known) in &mut self.known {
            let heard = heard.contains(node) && !planted(Fault::DownThoughHeard);
            let peer = Peer { node: node.clone(), incarnation: known.incarnation };
            if known.linked && known.hello.is_none() && !known.is_refused && known.greet_ms <= now_ms {
                known.greet_ms = now_ms + GREET_MS;
                want.push(Want::Greet { to: peer.clone(), answer: true });
            }
            if known.state == MemberState::Suspect && !heard && now_ms >= known.since_ms + self.grace_ms {
                known.state = MemberState::Down;
                want.push(Want::Absent { peer });
            } else if known.state == MemberState::Leaving && !heard && !known.linked {
                known.state = MemberState::Down;
                known.gone = true;
                want.push(Want::Absent { peer });
            } else if known.state == MemberState::Suspect && now_ms >= known.dial_ms {
                known.dial_ms = now_ms + DIAL_MS;
                let endpoints = known.hello.as_ref().map_or(Vec::new(), |hello| hello.endpoints.clone());
                want.push(Want::Dial { peer, endpoints });
            }
        }
        self.ask(now_ms, want);
        if !self.introduced && (now_ms >= self.join_until_ms || self.all_seeds_met()) {
            self.introduced = true;
            want.push(Want::Introduced);
        }
    }

    /// Whether every endpoint that was looked for has refused, or a node behind it has introduced itself.
    fn all_seeds_met(&self) -> bool {
        if self.rival.is_some() || self.seeds.values().any(|seed| *seed == Seed::Dialling) {
            return false;
        }
        if self.known.values().any(|known| known.linked && known.hello.is_none()) {
            return false;
        }
        let met: Vec<&Hello> =
            self.known.values().filter(|known| known.linked).filter_map(|known| known.hello.as_ref()).collect();
        let answered = self.seeds.iter().filter(|(_, seed)| **seed == Seed::Answered).map(|(endpoint, _)| endpoint);
        let unmet = answered.filter(|endpoint| !met.iter().any(|hello| hello.endpoints.contains(endpoint))).count();
        // An endpoint may be known by another name than the one that was given: then as many must have been met that
        // were not looked for by any name.
        let is_seed = |endpoint: &String| self.seeds.contains_key(endpoint);
        unmet <= met.iter().filter(|hello| !hello.endpoints.iter().any(is_seed)).count()
    }
}

impl Known {
    fn new(incarnation: Incarnation, now_ms: u64) -> Self {
        Self {
            incarnation,
            state: MemberState::Joining,
            hello: None,
            linked: false,
            next: None,
            since_ms: now_ms,
            greet_ms: 0,
            is_refused: false,
            dial_ms: 0,
            dialled: Dialled::Unanswered,
            reopens_until_ms: 0,
            gone: false,
            said: Hearsay::since(now_ms),
        }
    }
}
