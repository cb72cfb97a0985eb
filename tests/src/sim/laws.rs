//! What must be true: at every step, and when all faults are over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sworm::Exit;
use sworm::core::cell::{NameCell, NameState, Revision};
use sworm::core::directory::Standing;
use sworm::core::ids::{Birth, Epoch, Incarnation, Peer, Pid};
use sworm::core::message::{Answer, Ask, Done, Refusal};

use super::node::Node;
use super::options::Options;
use super::world::{Saved, World};

/// What was seen so far, and the first thing that must not have happened.
#[derive(Default)]
pub(super) struct Laws {
    pub(super) violation: Option<String>,
    incarnations: BTreeMap<String, Incarnation>,
    /// The epochs at which each name was started, in order.
    starts: BTreeMap<Arc<str>, Vec<(Epoch, Peer)>>,
    /// The newest count of each lineage whose checkpoint was acknowledged.
    saved: BTreeMap<(Arc<str>, Birth), u64>,
    /// The newest count that was answered without a checkpoint.
    counted: BTreeMap<(String, Birth), u64>,
    /// Lineages whose end was acknowledged.
    ended: BTreeMap<Arc<str>, BTreeSet<Birth>>,
    /// Lineages whose registration was answered with `Ok`.
    registered: BTreeMap<Arc<str>, BTreeSet<Birth>>,
    /// Lineages whose workers ended in a way after which they are not to be started again.
    pub(super) over: BTreeSet<(Arc<str>, Birth)>,
    restored_older: BTreeSet<Arc<str>>,
    /// Names of which a newer state than that of their worker has turned up.
    diverged: BTreeSet<Arc<str>>,
    /// The content of each lane at each of its numbers that anybody had.
    contents: BTreeMap<(Peer, u64), u64>,
    /// Lineages of which two that died at once have a newer state than a worker was started from, which was not told then.
    taken_along: BTreeSet<(Arc<str>, Birth)>,
    /// Requests of which it was said that nothing has come of them.
    refused: BTreeSet<u64>,
    /// When processes died.
    pub(super) deaths: Vec<u64>,
    /// The workers that lost a conflict, and whether they were told.
    losers: BTreeMap<(Peer, Arc<str>, Epoch), bool>,
    /// The states with which workers were parked, since their node had no majority, with the nodes that hold them, and since
    /// when.
    parked: BTreeMap<Kept, (String, u64)>,
    /// Those that a later worker was started from, or given.
    gone_on_from: BTreeSet<Kept>,
    /// When each name has moved for balance.
    pub(super) balanced: BTreeMap<Arc<str>, Vec<u64>>,
    /// The lineages that ran when the only missing link was cut, while it is.
    pub(super) lone_cut: Option<BTreeSet<(Arc<str>, Birth)>>,
}

/// A saved state: its name, its lineage and its place in that.
type Kept = (Arc<str>, Birth, Revision);

/// Processes that die within this time die at once: lost copies are not made up for yet.
const AT_ONCE_MS: u64 = 5_000;

/// Whether a state is there, or what the same worker had when it was saved again: that has it as well.
fn is_in(states: &BTreeSet<Kept>, kept: &Kept) -> bool {
    let (name, birth, revision) = kept;
    let last = (name.clone(), *birth, Revision { number: u64::MAX, ..*revision });
    states.range(kept..=&last).next().is_some()
}

impl Laws {
    pub(super) fn broken(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn started(&mut self, me: &Peer) {
        let before = self.incarnations.insert(me.node.to_string(), me.incarnation);
        if before.is_some_and(|before| before >= me.incarnation) {
            self.broken(format!("{me} does not rise above incarnation {before:?}"));
        }
    }

    /// What a lane holds is a function of its number, wherever the copy came from.
    pub(super) fn holds(&mut self, at: &Peer, lane: &Peer, max: u64, fingerprint: u64) {
        let known = *self.contents.entry((lane.clone(), max)).or_insert(fingerprint);
        if known != fingerprint {
            self.broken(format!("{at} holds {lane} at {max} otherwise than it was held before"));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "called once")]
    pub(super) fn starts(
        &mut self,
        at: &Peer,
        name: &Arc<str>,
        birth: Birth,
        since: Epoch,
        count: u64,
        places: &[String],
        now_ms: u64,
        options: &Options,
    ) {
        let starts = self.starts.entry(name.clone()).or_default();
        let last = starts.last().map(|(epoch, _)| *epoch);
        let before = starts.iter().filter(|(_, peer)| peer == at).map(|(epoch, _)| *epoch).max();
        starts.push((since, at.clone()));
        if before.is_some_and(|before| before >= since) {
            self.broken(format!("{name} starts at {since} on {at}, which had it at {before:?}"));
        }
        if options.may_part() && !options.majority {
            return;
        }
        if places.len() > 1 {
            self.broken(format!("{name} runs on {places:?} at once"));
        }
        // An assignment of which only those knew who are gone cannot be outdone.
        if last.is_some_and(|last| last >= since) && !options.may_lose() {
            self.broken(format!("{name} starts at {since} after {last:?}"));
        }
        if self.ended.get(name).is_some_and(|ended| ended.contains(&birth)) && !options.may_lose() {
            self.broken(format!("{name} of {birth:?} starts after its end was acknowledged"));
        }
        let known = self.saved.get(&(name.clone(), birth)).copied().unwrap_or(0);
        // One replica survives the loss of one node at a time. What two took along is waited for, and if it does not come in
        // time, that is told. Only if nobody else had heard yet who has it, it is told when it is back.
        let lost = self.deaths.iter().filter(|at| **at + AT_ONCE_MS >= now_ms).count();
        let excused = self.is_told_of(name) || options.lost_disks;
        if count < known && lost >= 2 && excused {
            self.saved.insert((name.clone(), birth), count);
        } else if count < known && lost >= 2 {
            self.taken_along.insert((name.clone(), birth));
        } else if count < known && !excused && !self.taken_along.contains(&(name.clone(), birth)) {
            self.broken(format!("{name} starts from {count} on {at}, and {known} was acknowledged"));
        }
        let known = self.counted.get(&(name.to_string(), birth)).copied().unwrap_or(0);
        if count < known && !options.may_lose() && !options.crashes && !options.may_part() {
            self.broken(format!("{name} starts from {count} on {at}, and {known} was counted without any crash"));
        }
    }

    /// One link is missing and another node has one to both: that disturbs nobody.
    pub(super) fn takes_for_gone(&mut self, at: &Peer, peer: &Peer) {
        if self.lone_cut.is_some() {
            self.broken(format!("{at} takes {peer} for gone, and another node is linked to both"));
        }
    }

    pub(super) fn starts_in_lone_cut(&mut self, at: &Peer, name: &Arc<str>, birth: Birth) {
        if self.lone_cut.as_ref().is_some_and(|ran| ran.contains(&(name.clone(), birth))) {
            self.broken(format!("{name} is started again on {at}, though only one link is missing"));
        }
    }

    pub(super) fn saved(&mut self, saved: &Saved) {
        let known = self.saved.entry((saved.name.clone(), saved.birth)).or_default();
        *known = saved.count.max(*known);
        let _ = saved.since;
    }

    /// The newest count of a lineage that was acknowledged.
    pub(super) fn acknowledged(&self, name: &str, birth: Birth) -> u64 {
        self.saved.get(&(name.into(), birth)).copied().unwrap_or(0)
    }

    pub(super) fn counted(&mut self, name: &str, birth: Birth, count: u64) {
        let known = self.counted.entry((name.to_owned(), birth)).or_default();
        *known = count.max(*known);
    }

    /// A worker is parked with this state, since its node has no majority.
    pub(super) fn parks(&mut self, now_ms: u64, at: &Peer, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.parked.insert((name.clone(), birth, revision), (at.node.to_string(), now_ms));
    }

    /// A worker is started from a state, or has been given it.
    pub(super) fn goes_on_from(&mut self, name: &Arc<str>, birth: Birth, revision: Revision) {
        self.gone_on_from.insert((name.clone(), birth, revision));
    }

    /// Of what was parked on a node only this is there when its process has ended: the rest had not reached its disk.
    pub(super) fn only_keeps(&mut self, node: &str, kept: &BTreeSet<Kept>) {
        self.parked.retain(|parked, (on, _)| on != node || kept.contains(parked));
    }

    /// A state with which a worker was parked, and that no later worker of its lineage has seen.
    fn unseen(&self, runs: impl Fn(&str, Birth) -> bool) -> Option<String> {
        let unseen = |kept: &&Kept| !is_in(&self.gone_on_from, kept) && runs(&kept.0, kept.1);
        let (name, _, revision) = self.parked.keys().find(unseen)?;
        Some(format!("{name} was parked with {revision:?}, and no later worker of it was given that"))
    }

    /// Whether it was told of a name that an older state is used, be it when the newer one turned up.
    pub(super) fn is_told_of(&self, name: &str) -> bool {
        self.restored_older.contains(name) || self.diverged.contains(name)
    }

    /// Whether those who died at once have a newer state of a lineage, of which nobody else knows before they are back.
    pub(super) fn is_taken_along(&self, name: &str, birth: Birth) -> bool {
        self.taken_along.contains(&(name.into(), birth))
    }

    pub(super) fn diverged(&mut self, name: &Arc<str>) {
        self.diverged.insert(name.clone());
    }

    pub(super) fn restored_older(&mut self, name: &Arc<str>) {
        self.restored_older.insert(name.clone());
    }

    pub(super) fn lost(&mut self, at: &Peer, name: &Arc<str>, since: Epoch) {
        if self.losers.insert((at.clone(), name.clone(), since), false).is_some() {
            self.broken(format!("{name} {since} on {at} loses twice"));
        }
    }

    pub(super) fn told(&mut self, at: &Peer, name: &Arc<str>, since: Epoch, winner: &Pid) {
        if winner.node == at.node || winner.name != *name {
            self.broken(format!("{name} {since} on {at} has lost against {winner}"));
        }
        match self.losers.insert((at.clone(), name.clone(), since), true) {
            Some(true) => self.broken(format!("{name} {since} on {at} is told twice that it has lost")),
            Some(false) => {}
            None => self.broken(format!("{name} {since} on {at} is told that it has lost, and it runs nowhere")),
        }
    }

    /// Whether any worker has lost a conflict so far.
    pub(super) fn somebody_lost(&self) -> bool {
        !self.losers.is_empty()
    }

    /// A worker that lost a conflict and does not know.
    fn untold(&self) -> Option<String> {
        let ((at, name, since), _) = self.losers.iter().find(|(_, told)| !**told)?;
        Some(format!("{name} {since} on {at} has lost a conflict and was not told"))
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Answer) {
        match answer {
            Ok(Done::Registered { name, cell, .. }) => {
                self.registered.entry(name.clone()).or_default().insert(cell.birth);
            }
            Ok(Done::Unregistered { name, births }) => self.ended.entry(name.clone()).or_default().extend(births),
            // One that was carried out beyond a cut may have lost, and a start that failed was a start.
            Ok(_) | Err(Refusal::AlreadyRegistered { .. } | Refusal::StartFailed { .. }) => {}
            Err(_) => drop(self.refused.insert(number)),
        }
    }
}

impl World {
    /// The first law that was broken.
    pub fn violation(&self) -> Option<&str> {
        self.laws.violation.as_deref()
    }

    /// Whether all directories are equal, every worker runs where they say, and nothing else runs.
    pub fn is_at_rest(&self) -> bool {
        self.unrest().is_none()
    }

    /// Why the cluster is not at rest.
    pub(super) fn unrest(&self) -> Option<String> {
        let waits = |asked: &super::world::Asked| {
            asked.answer.is_none() && asked.until_ms >= self.now_ms && self.nodes.contains_key(&asked.on)
        };
        if let Some((number, _)) = self.asked.iter().find(|(_, asked)| waits(asked)) {
            return Some(format!("request {number} has no answer"));
        }
        let mut hashes = BTreeMap::new();
        for (id, node) in &self.nodes {
            if !node.core.settled() {
                return Some(format!(
                    "{id} is not settled: {}",
                    node.core.describe_members() + &format!("{:?} {:?}", node.membership.known(), node.links)
                ));
            }
            hashes.entry(node.core.directory().hash()).or_insert_with(Vec::new).push(id);
            if node.core.has_to_offer() {
                return Some(format!("{id} holds a state that a worker lacks"));
            }
            for (name, worker) in &node.workers {
                match node.core.standing(name) {
                    Standing::Claimed { host, cell } if host == node.me && cell.since == worker.since => {}
                    standing => return Some(format!("{id} runs {name} {}, and {standing:?}", worker.since)),
                }
            }
            for (name, entry) in &node.index {
                if entry.running && self.places(name).is_empty() {
                    let why = self.describe(name);
                    return Some(format!("{id} says that {name} runs on {}, and it does not{why}", entry.host));
                }
                let failed = matches!(entry.cell.state, sworm::core::cell::NameState::Failed { .. });
                if !entry.running && !failed && !self.broken.contains(name) {
                    return Some(format!("{name} does not run: {:?}{}", entry.cell.state, self.describe(name)));
                }
            }
        }
        (hashes.len() > 1).then(|| format!("directories differ: {hashes:?}"))
    }

    /// Whether a node has copies to make up for, now or when somebody counts again who was slow.
    pub(super) fn makes_up_for_copies(&self) -> bool {
        self.nodes.values().any(|node| node.core.makes_up_for_copies())
    }

    /// What must hold when all faults are over and the cluster is at rest.
    pub(super) fn check_end(&mut self) {
        let found = self
            .overdue()
            .or_else(|| self.laws.untold())
            .or_else(|| {
                self.laws.unseen(|name, birth| self.places(name).iter().any(|(_, worker)| worker.birth == birth))
            })
            .or_else(|| self.names_are_wrong())
            .or_else(|| self.lanes_are_wrong());
        if let Some(what) = found {
            self.laws.broken(what);
        }
    }

    /// A request whose time is over and that has not ended.
    pub(super) fn overdue(&self) -> Option<String> {
        let late = |asked: &super::world::Asked| {
            asked.answer.is_none()
                && asked.until_ms < self.now_ms
                && self.nodes.get(&asked.on).is_some_and(|node| node.paused_until.is_none())
        };
        let found = self.asked.iter().find(|(_, asked)| late(asked) && !self.options.may_part());
        found.map(|(number, asked)| format!("request {number} has not ended in time: {asked:?}"))
    }

    fn names_are_wrong(&self) -> Option<String> {
        let names: BTreeSet<Arc<str>> = self.asked.values().map(|asked| asked.ask.name().clone()).collect();
        names
            .iter()
            .find_map(|name| self.name_is_wrong(name).map(|what| format!("{name} {what}{}", self.describe(name))))
    }

    fn name_is_wrong(&self, name: &Arc<str>) -> Option<String> {
        let places = self.places(name);
        if places.len() > 1 {
            return Some(format!("runs on {} nodes", places.len()));
        }
        let mut all_known = true;
        let mut never_ended = true;
        for asked in self.asked.values().filter(|asked| asked.ask.name() == name) {
            all_known &= matches!(asked.answer, Some(Some(_)));
            never_ended &= !matches!(asked.ask, Ask::Unregister { .. });
            if let Some(Some(Err(Refusal::Again))) = asked.answer {
                return Some("was answered with what is no answer".into());
            }
        }
        let registered = self.laws.registered.get(name).cloned().unwrap_or_default();
        let ended = self.laws.ended.get(name).cloned().unwrap_or_default();
        let failed = self.nodes.values().any(|node| {
            let failed =
                |cell: &sworm::core::cell::NameCell| matches!(cell.state, sworm::core::cell::NameState::Failed { .. });
            node.index.get(name).is_some_and(|entry| failed(&entry.cell))
        });
        if let Some((_, worker)) = places.first()
            && ended.contains(&worker.birth)
        {
            return Some(format!("runs, and the end of {:?} was acknowledged", worker.birth));
        }
        let over = registered.iter().any(|birth| self.laws.over.contains(&(name.clone(), *birth)));
        if never_ended && !registered.is_empty() && places.is_empty() && !failed && !over {
            return Some("was registered, never ended, and does not run".into());
        }
        if registered.is_empty() && all_known && !places.is_empty() {
            return Some("was never registered and runs".into());
        }
        // Somebody who gave up after a failure may have been replaced; so may one of whom only those knew who are gone.
        let known = self.laws.deaths.is_sorted_by(|a, b| a + AT_ONCE_MS < *b);
        if never_ended && registered.len() > 1 && known && !self.options.may_part() && !self.options.crashes {
            return Some(format!("was registered {} times and never ended", registered.len()));
        }
        if let Some((_, worker)) = places.first() {
            let saved = self.laws.saved.get(&(name.clone(), worker.birth)).copied().unwrap_or(0);
            let at_once = !self.laws.deaths.is_sorted_by(|a, b| a + AT_ONCE_MS < *b);
            let lost = at_once && self.options.lost_disks;
            let excused = self.options.may_part() || self.laws.is_told_of(name) || lost;
            if worker.count < saved && !excused {
                return Some(format!("is at {}, and {saved} was acknowledged", worker.count));
            }
        }
        let lookups: BTreeSet<Option<(String, bool)>> = self
            .nodes
            .values()
            .map(|node| node.index.get(name).map(|entry| (entry.host.to_string(), entry.running)))
            .collect();
        (lookups.len() > 1).then(|| format!("is looked up differently: {lookups:?}"))
    }

    /// Equal lanes hold equal cells, and what has ended is forgotten.
    fn lanes_are_wrong(&self) -> Option<String> {
        let mut seen = BTreeMap::new();
        for (id, node) in &self.nodes {
            for (lane, content) in node.core.directory().lanes() {
                let cells = (content.names().collect::<Vec<_>>(), content.facts().collect::<Vec<_>>());
                let key = (lane.clone(), content.max());
                let (first, known) = seen.entry(key).or_insert_with(|| (id, cells.clone()));
                if *known != cells {
                    return Some(format!("{first} and {id} hold {lane} at {} differently", content.max()));
                }
                let forgotten = self.nodes.values().any(|node| node.me == *lane);
                if !forgotten && self.nodes.len() == self.machines.len() {
                    let names: Vec<_> = content.names().map(|(name, _)| name.clone()).collect();
                    let why: String = names.iter().map(|name| format!("\n{name}:{}", self.describe(name))).collect();
                    return Some(format!("{id} still holds {lane}, which has ended, with {names:?}{why}"));
                }
            }
        }
        None
    }

    /// Of a request nothing comes after it was refused, and nothing has come before.
    pub(super) fn nothing_came_of_refused(&mut self, at: &Peer, name: &Arc<str>) {
        let Some(node) = self.nodes.get(&*at.node).filter(|node| node.workers.contains_key(name)) else { return };
        let request = node.core.directory().mine(name).map(|cell| cell.request.number);
        if let Some(number) = request.filter(|number| self.laws.refused.contains(number)) {
            self.laws.broken(format!("{name} runs on {at} for request {number}, which was refused"));
        }
    }

    /// What was parked is on the disk before the other side starts the name: from there it can be offered. One that stood still
    /// meanwhile has not had the time.
    pub(super) fn parked_states_are_durable(&mut self, at: &Peer, name: &Arc<str>, birth: Birth) {
        let lost = self.laws.parked.iter().find(|(kept, (on, since_ms))| {
            let is_it = kept.0 == *name && kept.1 == birth && **on != *at.node;
            let had_time = |node: &Node| node.paused_until.is_none() && node.resumed_ms <= *since_ms;
            is_it
                && !is_in(&self.laws.gone_on_from, kept)
                && self.nodes.get(on).is_some_and(had_time)
                && !self.machines[on].disk.has_failed()
                && !is_in(&super::disk::states(&self.machines[on].disk.durable_part()), kept)
        });
        if let Some(((_, _, revision), (on, _))) = lost {
            let what =
                format!("{name} starts on {at}, and {revision:?}, with which it was parked, is not durable on {on}");
            self.laws.broken(what);
        }
    }

    /// What runs is never stopped for want of a majority before its state was taken.
    pub(super) fn stops_for(&mut self, at: &Peer, name: &Arc<str>, since: Epoch, why: &Exit) {
        let node = &self.nodes[&*at.node];
        let worker = node.workers.get(name).filter(|worker| worker.since == since && !worker.kept);
        let cell = node.core.directory().lane(at).and_then(|lane| lane.name(name)).map(|(_, cell)| cell);
        let runs = |cell: &Arc<NameCell>| matches!(cell.state, NameState::Running | NameState::Leaving { .. });
        let has_state = cell.is_some_and(|cell| cell.since == since && cell.spec.kind.handoff);
        let loses = worker.is_some_and(|worker| worker.ready || cell.is_some_and(runs));
        if *why == Exit::MajorityLost && has_state && loses {
            self.laws.broken(format!(
                "{name} {since} on {at} is stopped for want of a majority, and its state is not taken"
            ));
        }
    }

    /// What each node holds of a name.
    pub fn describe(&self, name: &str) -> String {
        let name: Arc<str> = name.into();
        let mut text = String::new();
        for (id, node) in &self.nodes {
            let core = &node.core;
            text += &format!("\n{id} ({:?}, settled {}):", core.phase(), core.settled());
            for (lane, cell) in core.directory().cells(&name) {
                let (ended, banned) = (core.directory().has_ended(lane), core.directory().is_banned(&name, cell.birth));
                text += &format!(
                    "\n  {lane} ended {ended} banned {banned}: {:?} {:?} {} {:?} {:?}",
                    cell.birth, cell.state, cell.epoch, cell.holders, cell.past
                );
            }
            text += &format!("\n  {}", core.describe(&name));
        }
        text
    }
}
