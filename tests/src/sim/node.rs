//! One simulated node: what runs in its process, and what its clocks say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use sworm::NodeId;
use sworm::Rebalance;
use sworm::core::cell::Revision;
use sworm::core::fault::{Fault, planted};
use sworm::core::ids::{Birth, Epoch, InstanceId, Peer};
use sworm::core::majority::Rules;
use sworm::core::membership::{FORMAT, Hello, Membership, Profile};
use sworm::core::message::Snapshot;
use sworm::core::{Config, Core, Entry, Now};
use sworm::internals::{self, Owner, Strategies, claim};
use xxhash_rust::xxh3::xxh3_64;

use super::disk::Disk;
use super::follower::Follower;
use super::kinds;
use super::options::Options;

/// The sworm that all nodes open.
pub(super) const SWORM: &str = "s";
/// The type of all workers.
pub(super) const WORKER: &str = "counter";
/// A node that is in.
pub(super) const UP: sworm::core::message::Phase = sworm::core::message::Phase::Up;
/// A node that leaves.
pub(super) const LEAVING: sworm::core::message::Phase = sworm::core::message::Phase::Leaving;
const CLUSTER: &str = "simulated";
const LEASE_MS: u64 = 3_000;
/// How long workers may take to stop when the lease has ended.
pub(super) const STOP_MS: u64 = 3_000;
const GRACE_MS: u64 = 5_000;
const JOIN_WAIT_MS: u64 = 3_000;
/// What the clocks say at the start of time.
const UNIX_MS: u64 = 1_700_000_000_000;

/// A simulated worker: a number that it counts up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The epoch at which it started.
    pub since: Epoch,
    /// Its state.
    pub count: u64,
    /// Its lineage.
    pub birth: Birth,
    /// How much longer its state is than its count.
    pub(super) padding: usize,
    pub(super) revision: u64,
    pub(super) checkpointed: bool,
    /// When its start is over.
    pub(super) starts_ms: u64,
    /// Whether it has started and takes messages.
    pub(super) ready: bool,
    /// Whether it was told to stop.
    pub(super) stops: bool,
    /// Whether it is paused, and its state was taken.
    pub(super) kept: bool,
    /// A checkpoint that it waits for, and the count that it makes durable.
    pub(super) saving: Option<(u64, u64)>,
}

impl Worker {
    /// Whether it has started and takes messages.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Whether it waits for a checkpoint.
    pub fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.revision += 1;
        let state = encoded(self.birth, self.count, self.padding);
        Snapshot {
            birth: self.birth,
            revision: Revision { epoch: self.since, number: self.revision },
            checkpoint: self.checkpointed,
            version: 1,
            checksum: xxh3_64(&state),
            state,
        }
    }
}

/// A worker's state: its count, and bytes that follow from it.
fn encoded(birth: Birth, count: u64, padding: usize) -> Bytes {
    let mut rng = Rng::with_seed(birth.0 ^ count);
    count.to_be_bytes().into_iter().chain(std::iter::repeat_with(|| rng.u8(..)).take(padding)).collect()
}

/// The count of a state, if all of it is as one worker saved it.
pub(super) fn decoded(birth: Birth, state: &[u8]) -> Option<u64> {
    let count = u64::from_be_bytes(*state.first_chunk()?);
    (encoded(birth, count, state.len() - size_of::<u64>()) == state).then_some(count)
}

/// How a machine's clocks differ from the true time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    pub(super) ahead_ms: u64,
    pub(super) faster_ppm: u64,
}

impl Clock {
    /// What it says of a time.
    pub(super) fn unix_ms(self, now_ms: u64) -> u64 {
        UNIX_MS + self.ahead_ms + now_ms + now_ms * self.faster_ppm / 1_000_000
    }
}

/// What outlives a process: the machine.
#[derive(Clone, Default)]
pub(super) struct Machine {
    pub(super) disk: Disk,
    pub(super) clock: Clock,
    /// Whether it takes part in the sworm.
    pub(super) opens: bool,
    /// The worker types that it links, with their versions.
    pub(super) types: BTreeMap<Arc<str>, u32>,
    /// How long each sync of its disk takes, if it is not as fast as the others.
    pub(super) sync_ms: Option<u64>,
    /// The names whose states on its disk cannot be read, until others take their place.
    pub(super) unreadable: BTreeSet<Arc<str>>,
}

/// A running process.
pub(super) struct Node {
    pub(super) me: Peer,
    pub(super) core: Core,
    pub(super) membership: Membership,
    pub(super) lanes: internals::Disk,
    pub(super) instance: InstanceId,
    /// What distribution strategies know of it.
    pub(super) profile: Profile,
    pub(super) clock: Clock,
    started_ms: u64,
    /// Whose liveliness token it sees.
    pub(super) links: BTreeSet<Peer>,
    pub(super) workers: BTreeMap<Arc<str>, Worker>,
    pub(super) index: BTreeMap<Arc<str>, Entry>,
    /// The names of which look-ups say what an answer said.
    pub(super) overlaid: BTreeSet<Arc<str>>,
    pub(super) follower: Follower,
    /// Until when the process is stopped (`SIGSTOP`).
    pub(super) paused_until: Option<u64>,
    /// When it was stopped, and when it last went on.
    pub(super) paused_ms: u64,
    pub(super) resumed_ms: u64,
    /// For how long it has been stopped: a machine that is suspended stops it as well, and the clocks of both count that.
    pub(super) stopped_for_ms: u64,
    /// Until when its workers take messages, on its own clock, and when it first saw that this was over.
    pub(super) lease_until_ms: u64,
    pub(super) lease_lost_ms: Option<u64>,
    /// It has left in good order.
    pub(super) left: bool,
    pub(super) opens: bool,
}

pub(super) fn endpoint(node: &str) -> String {
    format!("sim/{node}")
}

impl Node {
    /// A process starts on a machine, and looks for these others.
    pub(super) fn start(
        name: &str,
        machine: &Machine,
        others: Vec<String>,
        options: &Options,
        now_ms: u64,
        chance: u64,
    ) -> Self {
        let id = NodeId::new(name).expect("valid");
        let disk = machine.disk.clone();
        let store: Arc<dyn sworm::store::Store> = Arc::new(disk);
        let unix_ms = machine.clock.unix_ms(now_ms);
        let identity = claim(&*store, None, Owner { cluster: CLUSTER, node: &id }, unix_ms, chance)
            .now_or_never()
            .expect("a simulated disk does not wait")
            .expect("its own disk");
        let me = Peer { node: id, incarnation: identity.incarnation };
        let profile = kinds::profile(name, options);
        let (lanes, recovered) =
            internals::Disk::open(store, SWORM, identity.losses).expect("a simulated disk can be read");
        let config = Config {
            sworm: SWORM.into(),
            me: me.clone(),
            agreed: "same".into(),
            unusual: None,
            hosts: machine.types.clone(),
            interval_ms: 200,
            grace_ms: GRACE_MS,
            recover_wait_ms: 5_000,
            state_wait_ms: options.state_wait_ms,
            part_bytes: options.part_bytes,
            chunk_bytes: options.chunk_bytes,
            rebalance: if options.balances { Rebalance::On } else { Rebalance::Off },
            majority: options.majority.then_some(Rules { expect: options.nodes, lease_ms: LEASE_MS, stop_ms: STOP_MS }),
            ack_in_memory: false,
            restart: kinds::restart(),
            strategies: Strategies::linked().expect("no duplicates"),
            profile: profile.clone(),
        };
        let now = Now { mono_ms: 0, unix_ms, random: 0 };
        let seeds = others.iter().map(|other| endpoint(other)).collect();
        Self {
            core: Core::new(config, recovered, now),
            membership: Membership::new(me.clone(), identity.instance, seeds, GRACE_MS, JOIN_WAIT_MS),
            me,
            lanes,
            instance: identity.instance,
            profile,
            clock: machine.clock,
            started_ms: now_ms,
            links: BTreeSet::new(),
            workers: BTreeMap::new(),
            index: BTreeMap::new(),
            overlaid: BTreeSet::new(),
            follower: Follower::default(),
            paused_until: None,
            paused_ms: 0,
            resumed_ms: 0,
            stopped_for_ms: 0,
            lease_until_ms: if options.majority { 0 } else { u64::MAX },
            lease_lost_ms: None,
            left: false,
            opens: machine.opens,
        }
    }

    /// What its clocks say.
    pub(super) fn now(&self, now_ms: u64, random: u32) -> Now {
        let uncounted = if planted(Fault::ClockStandsStill) { self.stopped_for_ms } else { 0 };
        let runs = now_ms - self.started_ms - uncounted;
        let mono_ms = runs + runs * self.clock.faster_ppm / 1_000_000;
        Now { mono_ms, unix_ms: self.clock.unix_ms(now_ms), random }
    }

    /// How long from now until its clock shows that time.
    pub(super) fn until(&self, now_ms: u64, mono_ms: u64) -> u64 {
        mono_ms.saturating_sub(self.now(now_ms, 0).mono_ms)
    }

    /// Whether its workers may go on.
    pub(super) fn may_go_on(&self, now_ms: u64) -> bool {
        self.now(now_ms, 0).mono_ms < self.lease_until_ms
    }

    pub(super) fn hello(&self, now_ms: u64, answer: bool) -> Hello {
        Hello {
            from: self.me.clone(),
            instance: self.instance,
            endpoints: vec![endpoint(&self.me.node)],
            profile: self.profile.clone(),
            unix_ms: self.now(now_ms, 0).unix_ms,
            answer,
            others: self.membership.linked_to(),
            linked: Default::default(),
            format: FORMAT,
        }
    }
}
