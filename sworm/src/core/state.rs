//! The core's state, its inputs' dispatch, and what is done once after each batch of inputs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::arbiter::Queue;
use super::cell::{Key, Value};
use super::directory::{Directory, Standing};
use super::fetch::Fetch;
use super::host::Local;
use super::ids::{Birth, Epoch, LaneId, NodeId, Peer, RequestId};
use super::keeping::Keeping;
use super::lane::Delta;
use super::majority::Majority;
use super::majority::voters::Ballot;
use super::membership::Profile;
use super::message::{Message, Phase, Refusal};
use super::names::Names;
use super::requests::Pending;
use super::restoring::Restoring;
use super::snapshots::Stored;
use super::staging::Staged;
use super::time::HybridClock;
use super::transfer::Transfer;
use super::view::{Member, View};
use super::{Config, Effect, Now, Recovered};

mod turn;

/// One node's part in one sworm.
pub struct Core {
    pub(super) config: Config,
    pub(super) now: Now,
    pub(super) out: Vec<Effect>,
    pub(super) clock: HybridClock,
    pub(super) directory: Directory,
    /// The lanes that come in parts.
    pub(super) transfers: BTreeMap<LaneId, Transfer>,
    pub(super) members: BTreeMap<NodeId, Member>,
    pub(super) profiles: BTreeMap<NodeId, Profile>,
    pub(super) view: View,
    /// How often it has changed.
    pub(super) view_changes: u64,
    /// Which changes of the views of all in it this node has heard of, as heartbeats say it.
    pub(super) view_seen: u64,
    /// Who has been in view in this run.
    pub(super) took_part: BTreeSet<NodeId>,
    pub(super) phase: Phase,
    pub(super) introduced: bool,
    pub(super) opened_ms: u64,
    pub(super) settled_since_ms: Option<u64>,
    /// Whether a name may have been taken back because of something that is not held here yet.
    pub(super) lacks: bool,
    pub(super) beat_counter: u64,
    pub(super) beat_due_ms: u64,
    /// When the last tick was.
    ticked_ms: u64,
    pub(super) beaten_ms: u64,
    pub(super) tidied: u64,
    pub(super) tidy_again_ms: u64,
    pub(super) copies_checked: u64,
    /// Whose stored state is being read to be copied.
    pub(super) copying: BTreeSet<Arc<str>>,
    pub(super) ends_changed: bool,
    /// Since when something that was written need not be durable yet.
    pub(super) unsynced_ms: Option<u64>,
    /// Messages to this very node.
    pub(super) inbox: VecDeque<Message>,
    /// Effects that wait until a number is durable.
    pub(super) after: BTreeMap<u64, Vec<Effect>>,
    pub(super) waiting: Vec<Effect>,
    pub(super) sync_number: u64,
    /// How much of the own lane is on the disk, and what it will be when a number is durable.
    pub(super) durable_max: u64,
    pub(super) syncing: BTreeMap<u64, u64>,
    // requester
    pub(super) pending: BTreeMap<u64, Pending>,
    pub(super) told: Names<super::told::Told>,
    /// What was known of all lanes when it was looked whether they show that.
    pub(super) told_looked_at: u64,
    /// Answers that leave after all that look-ups are to say.
    pub(super) answers: Vec<Effect>,
    // arbiter
    pub(super) queues: BTreeMap<Arc<str>, Queue>,
    /// Registrations that were granted in former views to nodes that had not answered by then.
    pub(super) abandoned: BTreeMap<Arc<str>, BTreeSet<(Peer, Birth)>>,
    /// The registrations whose first start has failed, and until when that is known: who asks again meanwhile is told the same.
    pub(super) failed_starts: BTreeMap<RequestId, (Refusal, u64)>,
    pub(super) adopt_retry_ms: BTreeMap<Arc<str>, u64>,
    /// The names of which it was told that they have no node to run on.
    pub(super) nowhere: BTreeSet<Arc<str>>,
    /// The names of which it was told that their states are awaited.
    pub(super) awaited: BTreeSet<Arc<str>>,
    /// The releases that wait for their receivers, and since when.
    pub(super) releases_ms: BTreeMap<Arc<str>, (Epoch, u64)>,
    // host
    pub(super) local: Names<Local>,
    /// When a tick is to look at them again: until then it passes them over, however many they are.
    pub(super) local_due_ms: u64,
    /// The newest assignment of each name that was carried out here, and when: its grant may come again after its worker
    /// has ended.
    pub(super) taken_in: Names<(Epoch, u64)>,
    /// The changes of groups that were carried out here lately, for which start of the worker, and when.
    pub(super) regrouped: BTreeMap<RequestId, (Epoch, u64)>,
    pub(super) forget_taken_ms: u64,
    pub(super) looking: super::repair::Looking,
    pub(super) stored: BTreeMap<Arc<str>, Stored>,
    pub(super) keeping: BTreeMap<Arc<str>, Keeping>,
    pub(super) unheard: super::hearing::Unheard,
    pub(super) slow: super::replicas::Slow,
    pub(super) restoring: BTreeMap<Arc<str>, Restoring>,
    /// The large states that are on their way to this node.
    pub(super) fetches: BTreeMap<Arc<str>, Fetch>,
    /// Large states of workers here that are not whole yet.
    pub(super) staged: BTreeMap<Arc<str>, Staged>,
    /// The states that a name's worker may lack, and those that are being given to workers of this node.
    pub(super) diverged: super::diverged::Diverged,
    pub(super) offers: BTreeMap<Arc<str>, super::handoff::Accepted>,
    pub(super) leaving: Option<super::handoff::Leaving>,
    /// What is to go elsewhere, and whether all is.
    pub(super) wishes: BTreeMap<Arc<str>, super::moves::Wish>,
    pub(super) draining: Option<super::draining::Draining>,
    pub(super) balancing: super::balance::Balancing,
    pub(super) majority: Option<Majority>,
    /// Why names have ended.
    pub(super) ends: super::ends::Ends,
    /// Whose strategies were compared with the own ones.
    pub(super) compared: BTreeMap<NodeId, super::ids::Incarnation>,
    recheck: BTreeSet<Arc<str>>,
    /// Names of which others speak, and not all have heard that yet: only then what is said of them here goes.
    pub(super) handed_on: BTreeSet<Arc<str>>,
}

impl Core {
    /// A core of a node that starts; the store's content is what it had before.
    pub fn new(config: Config, recovered: Recovered, now: Now) -> Self {
        let ballot = remembered(&config.me.node, &recovered.lanes);
        let majority =
            config.majority.map(|rules| Majority::new(rules, ballot.clone().unwrap_or_default(), now.mono_ms));
        let mut directory = Directory::new(config.me.clone(), recovered.lanes, recovered.ended, recovered.dropped);
        directory.end(&config.me.node, super::ids::Incarnation(config.me.incarnation.0.saturating_sub(1)));
        directory.put(Key::Sworm, Value::Sworm(config.agreed.clone()));
        for (name, version) in &config.hosts {
            directory.put(Key::WorkerType(name.clone()), Value::WorkerType(*version));
        }
        super::unusual::state(&mut directory, &config.me, config.unusual.as_ref());
        if let Some(ballot) = ballot.filter(|_| majority.is_some()) {
            directory.put(Key::Voters, Value::Voters(Box::new(ballot)));
        }
        let profiles = BTreeMap::from([(config.me.node.clone(), config.profile.clone())]);
        let mut core = Self {
            config,
            now,
            out: Vec::new(),
            clock: HybridClock::default(),
            directory,
            transfers: BTreeMap::new(),
            members: BTreeMap::new(),
            profiles,
            view: View::default(),
            view_changes: 0,
            view_seen: 0,
            took_part: BTreeSet::new(),
            phase: Phase::Joining,
            introduced: false,
            opened_ms: now.mono_ms,
            settled_since_ms: None,
            lacks: false,
            // Of one incarnation only newer ones count: a sworm that is opened anew goes on above those of before.
            beat_counter: now.mono_ms,
            beat_due_ms: 0,
            ticked_ms: now.mono_ms,
            beaten_ms: 0,
            tidied: 0,
            tidy_again_ms: 0,
            copies_checked: 0,
            copying: BTreeSet::new(),
            ends_changed: true,
            unsynced_ms: None,
            inbox: VecDeque::new(),
            after: BTreeMap::new(),
            waiting: Vec::new(),
            sync_number: 0,
            durable_max: 0,
            syncing: BTreeMap::new(),
            pending: BTreeMap::new(),
            told: Names::default(),
            told_looked_at: 0,
            answers: Vec::new(),
            queues: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            failed_starts: BTreeMap::new(),
            adopt_retry_ms: BTreeMap::new(),
            nowhere: BTreeSet::new(),
            awaited: BTreeSet::new(),
            releases_ms: BTreeMap::new(),
            local: Names::default(),
            local_due_ms: 0,
            taken_in: Names::default(),
            regrouped: BTreeMap::new(),
            forget_taken_ms: 0,
            looking: super::repair::Looking::default(),
            stored: recovered.snapshots,
            keeping: BTreeMap::new(),
            unheard: super::hearing::Unheard::default(),
            slow: super::replicas::Slow::default(),
            restoring: BTreeMap::new(),
            fetches: BTreeMap::new(),
            staged: BTreeMap::new(),
            diverged: super::diverged::Diverged::recovered(recovered.aside),
            offers: BTreeMap::new(),
            leaving: None,
            wishes: BTreeMap::new(),
            draining: None,
            balancing: super::balance::Balancing::default(),
            majority,
            ends: super::ends::Ends::default(),
            compared: BTreeMap::new(),
            recheck: BTreeSet::new(),
            handed_on: BTreeSet::new(),
        };
        core.observe_directory();
        core
    }

    /// All of a lane, for a log that is written anew.
    pub fn whole_lane(&self, lane: &LaneId) -> Option<Delta> {
        self.directory.lane(lane).map(|content| content.delta(lane, 0))
    }

    /// The lineage of a worker of this node.
    pub fn birth_of(&self, name: &Arc<str>) -> Option<Birth> {
        self.local.get(name).map(|local| local.birth)
    }

    /// What it holds.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The directory, for a simulator that states what no node would.
    #[cfg(feature = "faults")]
    pub fn directory_mut(&mut self) -> &mut Directory {
        &mut self.directory
    }

    /// From whom a lane comes in parts, and how many cells of it are staged.
    pub fn staged(&self) -> Option<(&Peer, usize)> {
        self.transfers.values().next().map(|transfer| (&transfer.from, transfer.stage.cells()))
    }

    /// Whether a tick has nothing to do for any worker now.
    pub fn workers_are_idle(&self) -> bool {
        self.local_due_ms > self.now.mono_ms
    }

    /// How it takes part.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What the lanes say of a name in the present view.
    pub fn standing(&self, name: &Arc<str>) -> Standing {
        self.directory.standing(name, |peer| self.is_live(peer))
    }

    /// Whether that incarnation's statements count as claims: it is in view, or it is this node.
    pub(super) fn is_live(&self, peer: &Peer) -> bool {
        *peer == self.config.me || self.view.contains(peer)
    }

    /// Looks at a name again in the next flush.
    pub(super) fn recheck(&mut self, name: &Arc<str>) {
        self.recheck.insert(name.clone());
    }

    /// Looks at all names again in the next flush.
    pub(super) fn recheck_handed_on(&mut self) {
        self.recheck.append(&mut self.handed_on);
    }

    pub(super) fn recheck_all(&mut self) {
        self.directory.touch_all();
    }

    pub(super) fn send(&mut self, to: &Peer, message: Message) {
        if *to == self.config.me {
            self.inbox.push_back(message);
        } else {
            self.out.push(Effect::Send { to: to.clone(), message: Box::new(message) });
        }
    }

    /// Notes the times that the directory speaks of, so that new ones are later.
    fn observe_directory(&mut self) {
        let mut newest = 0;
        for (_, lane) in self.directory.lanes() {
            for (_, cell) in lane.names() {
                newest = newest.max(cell.assigned).max(cell.epoch.major).max(cell.birth.0);
            }
        }
        self.clock.observe(newest, self.now.mono_ms);
    }

    pub(super) fn hybrid(&mut self) -> u64 {
        self.clock.next(self.now.unix_ms, self.now.mono_ms)
    }
}

/// What a node knew of the voters when it stopped, if that is on its disk: what others have of it does not count.
fn remembered(me: &NodeId, lanes: &BTreeMap<LaneId, super::lane::Lane>) -> Option<Ballot> {
    let own = lanes.iter().rev().filter(|(id, _)| id.node == *me);
    let mut ballots = own.filter_map(|(_, lane)| match lane.fact(&Key::Voters)? {
        Value::Voters(ballot) => Some((**ballot).clone()),
        _ => None,
    });
    ballots.next()
}

/// The longest time between two ticks.
pub const TICK_MS: u64 = 50;

#[cfg(test)]
mod tests;
