//! What must be true: at every step, and when all faults are over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sworm::Exit;
use sworm::core::cell::{NameCell, NameState, Revision};
use sworm::core::ids::{Birth, Epoch, Incarnation, Peer, Pid};
use sworm::core::message::{Answer, Done, Refusal};

use super::node::Worker;
use super::options::Options;
use super::world::World;

mod end;
mod groups;
mod older;
mod parked;
mod states;

use groups::Groups;
use older::Searches;
pub(super) use states::{Acked, Start};
use states::{Parted, States};

/// What was seen so far, and the first thing that must not have happened.
#[derive(Default)]
pub(super) struct Laws {
    pub(super) violation: Option<String>,
    incarnations: BTreeMap<String, Incarnation>,
    /// The epochs at which each name was started, in order.
    starts: BTreeMap<Arc<str>, Vec<(Epoch, Peer)>>,
    /// What was acknowledged of the states of each lineage.
    states: States,
    /// The same where a name may have run twice.
    parted: Parted,
    /// What was asked for and acknowledged of groups.
    pub(super) groups: Groups,
    /// The states that are being looked for.
    searches: Searches,
    /// The newest count that was answered without a checkpoint.
    counted: BTreeMap<(String, Birth), u64>,
    /// Lineages whose end was acknowledged.
    ended: BTreeMap<Arc<str>, BTreeSet<Birth>>,
    /// Lineages whose registration was answered with `Ok`.
    registered: BTreeMap<Arc<str>, BTreeSet<Birth>>,
    /// The starts of which it was said that they may be from an older state.
    older: BTreeSet<(Arc<str>, Birth, Epoch)>,
    /// Where those are stated, as they were acknowledged: the host, and the number in its lane.
    stated: BTreeMap<(Arc<str>, Birth), (Peer, u64)>,
    /// Those of which only the host knew when it died: until it is back the name is free to all others.
    unheard: BTreeSet<(Arc<str>, Birth)>,
    /// Lineages whose workers ended in a way after which they are not to be started again.
    pub(super) over: BTreeSet<(Arc<str>, Birth)>,
    /// The content of each lane at each of its numbers that anybody had.
    contents: BTreeMap<(Peer, u64), u64>,
    /// Requests of which it was said that nothing has come of them.
    refused: BTreeSet<u64>,
    /// Those whose first start has failed.
    failed: BTreeSet<u64>,
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
/// A worker that takes no longer than this to stop is waited for.
const WAITED_FOR_MS: u64 = 10_000;

impl Laws {
    pub(super) fn saved(&mut self, name: &Arc<str>, birth: Birth, acked: Acked) {
        self.parted.saved(name, birth, acked.count);
        self.states.saved(name, birth, acked);
    }

    pub(super) fn restored_older(&mut self, name: &Arc<str>, birth: Birth, since: Epoch) {
        self.parted.told(name, birth);
        self.states.restored_older(name, birth, since);
        self.older.insert((name.clone(), birth, since));
    }

    pub(super) fn diverged(&mut self, name: &Arc<str>, birth: Birth) {
        self.parted.told(name, birth);
        self.states.diverged(name, birth);
    }

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

    pub(super) fn starts(&mut self, start: &Start<'_>, options: &Options) {
        let Start { at, name, birth, since, count, places, .. } = *start;
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
        let lost = self.deaths.iter().filter(|at| **at + AT_ONCE_MS >= start.now_ms).count();
        if let Some(what) = self.states.starts(start, lost, options.lost_disks) {
            self.broken(what);
        }
        let known = self.counted.get(&(name.to_string(), birth)).copied().unwrap_or(0);
        // A node that cannot give its workers away in its time leaves with their states; if it does not come back, that is said.
        let is_said = self.older.contains(&(name.clone(), birth, since));
        if is_said {
            self.counted.insert((name.to_string(), birth), count);
        }
        if count < known && !is_said && !options.may_lose() && !options.crashes && !options.may_part() {
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

    pub(super) fn counted(&mut self, name: &str, birth: Birth, count: u64) {
        let known = self.counted.entry((name.to_owned(), birth)).or_default();
        *known = count.max(*known);
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
        self.parted.lost(name);
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

    /// A process has ended; others hold so much of its lane.
    pub(super) fn ends(&mut self, me: &Peer, held: u64) {
        let own = self.stated.iter().filter(|(_, (host, said))| host == me && *said > held);
        self.unheard.extend(own.map(|(registered, _)| registered.clone()));
    }

    pub(super) fn answered(&mut self, number: u64, answer: &Answer) {
        match answer {
            Ok(Done::Registered { name, host, cell, said }) => {
                self.stated.insert((name.clone(), cell.birth), (host.clone(), *said));
                self.registered.entry(name.clone()).or_default().insert(cell.birth);
            }
            Ok(Done::Unregistered { name, births }) => self.ended.entry(name.clone()).or_default().extend(births),
            // One that was carried out beyond a cut may have lost.
            Ok(_) | Err(Refusal::AlreadyRegistered { .. }) => {}
            Err(Refusal::StartFailed { .. }) => drop(self.failed.insert(number)),
            Err(_) => drop(self.refused.insert(number)),
        }
    }
}

impl World {
    /// The first law that was broken.
    pub fn violation(&self) -> Option<&str> {
        self.laws.violation.as_deref()
    }

    /// Whether a node has copies to make up for, now or when somebody counts again who was slow.
    pub(super) fn makes_up_for_copies(&self) -> bool {
        self.nodes.values().any(|node| node.core.makes_up_for_copies())
    }

    /// Whoever is told that a name has ended is told so when its worker has stopped, unless that takes longer than is waited for, or
    /// its node may be out of view.
    pub(super) fn nothing_runs_of_ended(&mut self, answer: &Answer) {
        let Ok(Done::Unregistered { name, births }) = answer else { return };
        if self.options.may_part() || self.options.stop_ms > WAITED_FOR_MS {
            return;
        }
        let runs = |(_, worker): &(&str, &Worker)| births.contains(&worker.birth);
        if let Some((at, _)) = self.places(name).into_iter().find(runs) {
            let what = format!("{name} is said to have ended, and has not stopped on {at}{}", self.describe(name));
            self.laws.broken(what);
        }
    }

    /// Of a request nothing comes after it was refused, and nothing has come before. (A start that fails is no more than tried.)
    pub(super) fn nothing_came_of_refused(&mut self, at: &Peer, name: &Arc<str>) {
        if self.nodes.get(&*at.node).is_some_and(|node| node.workers.contains_key(name)) {
            self.nothing_starts_of_refused(at, name);
        }
    }

    /// After a request was refused, be it since its first start has failed, nothing of it is so much as started. (Whoever is beyond
    /// a cut may have heard of that start, and not of how it ended.)
    pub(super) fn nothing_starts_of_refused(&mut self, at: &Peer, name: &Arc<str>) {
        let mine = self.nodes.get(&*at.node).and_then(|node| node.core.directory().mine(name));
        let request = mine.map(|cell| cell.request.number);
        let may_not_know = self.options.may_part() && !self.options.majority;
        let is_refused =
            |number: &u64| self.laws.refused.contains(number) || self.laws.failed.contains(number) && !may_not_know;
        if let Some(number) = request.filter(is_refused) {
            self.laws.broken(format!("{name} runs on {at} for request {number}, which was refused"));
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
