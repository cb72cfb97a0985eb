//! How a sworm is opened.

use std::time::Duration;

use crate::core::balance::Rebalance;
use crate::core::majority::Rules;
use crate::error::OpenError;
use crate::node::open::{DEFAULT_DISTRIBUTION, DEFAULT_RESTART};
use crate::strategy::{Distribution, Restart, Strategy};

/// A sworm's name and settings. All nodes must open it alike; `#[derive(Sworm)]` makes one of a unit struct.
///
/// ```
/// use std::time::Duration;
/// use sworm::prelude::*;
///
/// #[derive(Sworm)]
/// #[sworm(name = "carts", restart = "temporary", handoff, ack = "memory", sync_interval = "100ms")]
/// struct Carts;
///
/// let derived: SwormSpec = Carts.into();
/// let by_hand = SwormSpec::new("carts")
///     .restart("temporary")
///     .handoff(true)
///     .ack(sworm::Ack::Memory)
///     .sync_interval(Duration::from_millis(100));
/// assert_eq!(format!("{derived:?}"), format!("{by_hand:?}"));
/// ```
#[derive(Clone, Debug)]
pub struct SwormSpec {
    pub(crate) name: String,
    pub(crate) restart: Option<Strategy<dyn Restart>>,
    pub(crate) distribution: Option<Strategy<dyn Distribution>>,
    pub(crate) handoff: Option<bool>,
    pub(crate) ack: Ack,
    pub(crate) rebalance: Rebalance,
    pub(crate) sync_interval: Duration,
    pub(crate) mode: Mode,
    pub(crate) expect_nodes: Option<usize>,
    pub(crate) lease: Option<Duration>,
    pub(crate) state_wait: Option<Duration>,
    /// Whether nothing but its name is said: if it is open it is that one, however it was opened.
    pub(crate) by_name: bool,
}

/// What happens when the network is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each side goes on with all names; when the cut heals one worker per name stays.
    #[default]
    Available,
    /// Only a side with a majority of the voters goes on, so that no name ever runs twice. The voters are the first
    /// [`expect_nodes`](SwormSpec::expect_nodes) nodes that see each other, clients left out; with an even number of them, half is enough on the
    /// side of the first in order of ids. A node that is cut off, or whose lease ends for another reason, parks its workers with
    /// their states, refuses requests with `NoMajority`, and takes part again when it is back. What a node runs starts elsewhere
    /// when a majority has not heard of it for twice its lease and 3 s more: 9.5 s, unless [`SwormSpec::lease`] says otherwise.
    ///
    /// Before the voters have found each other a request waits for that as long as it may, and is refused with `NoMajority` then;
    /// after it, at once. A node that hears of a majority again starts what it had parked when all members are heard of, which
    /// takes a moment; where one of them is silent too, when the majority has waited as long for that one.
    ///
    /// It rests on clocks that run apart by less than a twentieth, and on each node id being started once. A process that is
    /// suspended in mid-handler (a stopped virtual machine) finishes that step when it goes on: only the reply is held back.
    Majority,
}

/// When a registration is acknowledged. Everything else (checkpoints, moves, ends of names, groups) waits for the disk in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When it is on the disk of the worker's node: an acknowledged name survives a crash of all nodes. The others have it on
    /// theirs about a second later; if all crash before that it is back when that node is.
    #[default]
    Durable,
    /// When the worker runs, some milliseconds sooner. A name that was acknowledged less than a moment before its node
    /// crashed may be gone, as if it had never been registered, if no other node had heard of it by then. What was heard
    /// of it is as good as with [`Durable`](Self::Durable), and the end of a name is never undone.
    Memory,
}

const DEFAULT_LEASE: Duration = Duration::from_secs(3);
const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const VOTERS: std::ops::RangeInclusive<usize> = 1..=99;
/// How long workers may take to stop when the lease has ended.
const STOP_MS: u64 = 3_000;

const MAX_STATE_WAIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The shortest and the longest `sync_interval`.
const SYNC_INTERVAL: std::ops::RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(2);

impl SwormSpec {
    /// A sworm of that name (1 to 255 bytes) with the default settings.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            restart: None,
            distribution: None,
            handoff: None,
            ack: Ack::Durable,
            rebalance: Rebalance::Off,
            sync_interval: Duration::from_millis(200),
            mode: Mode::Available,
            expect_nodes: None,
            lease: None,
            state_wait: None,
            by_name: false,
        }
    }

    /// The restart strategy of workers whose type names none (default `"transient"`).
    ///
    /// Nodes need not have the same, so that it can be changed on one after another: a worker is restarted as the node says
    /// that it runs on. Both nodes log once that they differ.
    pub fn restart(mut self, name: &'static str) -> Self {
        self.restart = Some(Strategy::Named(name));
        self
    }

    /// The same, by value.
    pub fn restart_value(mut self, strategy: &'static dyn Restart) -> Self {
        self.restart = Some(Strategy::Value(strategy));
        self
    }

    /// The distribution strategy of workers whose type names none (default `"rendezvous"`).
    ///
    /// Nodes need not have the same, so that it can be changed on one after another: a name keeps the one of the node on which
    /// its registration was asked for, wherever it goes ([`Explanation::strategy`](crate::Explanation::strategy)). Both nodes
    /// log once that they differ.
    pub fn distribution(mut self, name: &'static str) -> Self {
        self.distribution = Some(Strategy::Named(name));
        self
    }

    /// The same, by value. What it is called is the same on all nodes that give one by value: each decides by its own, so give
    /// the same on all.
    pub fn distribution_value(mut self, strategy: &'static dyn Distribution) -> Self {
        self.distribution = Some(Strategy::Value(strategy));
        self
    }

    /// Whether workers whose type does not say so save their state when they stop or move (default no).
    pub fn handoff(mut self, on: bool) -> Self {
        self.handoff = Some(on);
        self
    }

    /// When a registration is acknowledged (default [`Ack::Durable`]).
    pub fn ack(mut self, ack: Ack) -> Self {
        self.ack = ack;
        self
    }

    /// Whether names move for balance when nodes have joined (default [`Rebalance::Off`]).
    pub fn rebalance(mut self, rebalance: Rebalance) -> Self {
        self.rebalance = rebalance;
        self
    }

    /// The time between two heartbeats, and so between two looks whether a message was lost: 20 ms to 2 s (default
    /// 200 ms). Changes are sent at once, whatever it is.
    pub fn sync_interval(mut self, interval: Duration) -> Self {
        self.sync_interval = interval;
        self
    }

    /// What happens when the network is cut (default [`Mode::Available`]). [`Mode::Majority`] needs
    /// [`expect_nodes`](Self::expect_nodes).
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// How many nodes found the majority (1 to 99): they are its voters from then on, also when they are out of sight. Until as
    /// many have seen each other, nothing is registered. Clients do not count. [`Sworm::add_voter`](crate::Sworm::add_voter) and
    /// [`remove_voter`](crate::Sworm::remove_voter) change them later.
    pub fn expect_nodes(mut self, voters: usize) -> Self {
        self.expect_nodes = Some(voters);
        self
    }

    /// In mode "majority" only: for how long a node goes on after the last heartbeat that a majority has echoed (default 3 s; 1 s to
    /// 60 s, and at least five times the `sync_interval`). Shorter means sooner failover, and less patience with a slow network.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// How long a name whose node is gone waits for those who hold its newest state, when none of them is there, before it
    /// starts from an older one, or from its registered value ([`Event::RestoredOlder`](crate::Event::RestoredOlder)); up to 10
    /// years. Default: 10 s, and for worker types with `snapshot = "each"` until one of them is back
    /// ([`Event::StateAwaited`](crate::Event::StateAwaited)).
    pub fn state_wait(mut self, limit: Duration) -> Self {
        self.state_wait = Some(limit);
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let bad = |what: String| Err(OpenError::BadSetting { sworm: self.name.clone(), what });
        if !SYNC_INTERVAL.contains(&self.sync_interval) {
            return bad(format!("sync_interval is {:?}; it must be 20 ms to 2 s", self.sync_interval));
        }
        if let Some(wait) = self.state_wait.filter(|wait| *wait > MAX_STATE_WAIT) {
            return bad(format!("state_wait is {wait:?}; it must be at most 10 years"));
        }
        match (self.mode, self.expect_nodes) {
            (Mode::Majority, None) => bad("mode \"majority\" needs expect_nodes: how many nodes are to vote".into()),
            (Mode::Majority, Some(voters)) if !VOTERS.contains(&voters) => {
                bad(format!("expect_nodes is {voters}; it must be 1 to 99"))
            }
            (Mode::Available, Some(_)) => bad("expect_nodes is for mode \"majority\" only".into()),
            (Mode::Available, None) if self.lease.is_some() => bad("lease is for mode \"majority\" only".into()),
            (Mode::Majority, Some(_))
                if !LEASE.contains(&self.lease_time()) || self.lease_time() < self.sync_interval * 5 =>
            {
                let (lease, interval) = (self.lease_time(), self.sync_interval);
                bad(format!(
                    "lease is {lease:?}; it must be 1 s to 60 s, and five times the sync_interval of {interval:?}"
                ))
            }
            _ => Ok(()),
        }
    }

    fn lease_time(&self) -> Duration {
        self.lease.unwrap_or(DEFAULT_LEASE)
    }

    /// How majorities are counted, if they are.
    pub(crate) fn rules(&self) -> Option<Rules> {
        let expect = self.expect_nodes.filter(|_| self.mode == Mode::Majority)?;
        let lease_ms = u64::try_from(self.lease_time().as_millis()).unwrap_or(u64::MAX);
        Some(Rules { expect, lease_ms, stop_ms: STOP_MS })
    }

    /// All settings as text, to tell whether a sworm is opened a second time in the same way. Of strategies that are given
    /// by value only that is known.
    pub(crate) fn settings(&self) -> String {
        let (agreed, strategies, interval) = (self.agreed(), self.strategies(), self.sync_interval);
        format!("{agreed}, {strategies}, sync_interval = {interval:?}")
    }

    /// The strategies of workers whose type names none, as text. Of those that are given by value only that is known.
    fn strategies(&self) -> String {
        let restart = self.restart.unwrap_or(Strategy::Named(DEFAULT_RESTART));
        let distribution = self.distribution.unwrap_or(Strategy::Named(DEFAULT_DISTRIBUTION));
        format!("restart = {restart:?}, distribution = {distribution:?}")
    }

    /// The same, if they are not the usual ones.
    pub(crate) fn unusual(&self) -> Option<String> {
        Some(self.strategies()).filter(|strategies| *strategies != Self::new("").strategies())
    }

    /// The settings that all nodes must share, as text.
    pub(crate) fn agreed(&self) -> String {
        let handoff = if self.handoff == Some(true) { "on" } else { "off" };
        let ack = match self.ack {
            Ack::Durable => "durable",
            Ack::Memory => "memory",
        };
        let rebalance = match self.rebalance {
            Rebalance::Off => "off",
            Rebalance::On => "on",
            Rebalance::Manual => "manual",
        };
        let mode = match (self.mode, self.expect_nodes) {
            (Mode::Majority, Some(voters)) => {
                format!("majority, expect_nodes = {voters}, lease = {:?}", self.lease_time())
            }
            _ => "available".to_owned(),
        };
        let state_wait = self.state_wait.map_or(String::new(), |wait| format!(", state_wait = {wait:?}"));
        format!("mode = {mode}, handoff = {handoff}, ack = {ack}, rebalance = {rebalance}{state_wait}")
    }
}

impl From<&str> for SwormSpec {
    fn from(name: &str) -> Self {
        Self { by_name: true, ..Self::new(name) }
    }
}

impl From<String> for SwormSpec {
    fn from(name: String) -> Self {
        name.as_str().into()
    }
}

impl From<&String> for SwormSpec {
    fn from(name: &String) -> Self {
        name.as_str().into()
    }
}
