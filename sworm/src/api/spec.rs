//! How a sworm is opened.

use std::time::Duration;

use crate::core::balance::Rebalance;
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
}

/// When a registration is acknowledged. Everything else (checkpoints, moves, ends of names, groups) waits for the disk in
/// any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ack {
    /// When it is on the disk of the worker's node: an acknowledged name survives a crash of all nodes.
    #[default]
    Durable,
    /// When the worker runs, some milliseconds sooner. A name that was acknowledged less than a moment before its node
    /// crashed may be gone, as if it had never been registered, if no other node had heard of it by then. What was heard
    /// of it is as good as with [`Durable`](Self::Durable), and the end of a name is never undone.
    Memory,
}

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
        }
    }

    /// The restart strategy of workers whose type names none (default `"transient"`).
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
    pub fn distribution(mut self, name: &'static str) -> Self {
        self.distribution = Some(Strategy::Named(name));
        self
    }

    /// The same, by value.
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

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        if SYNC_INTERVAL.contains(&self.sync_interval) {
            return Ok(());
        }
        let what = format!("sync_interval is {:?}; it must be 20 ms to 2 s", self.sync_interval);
        Err(OpenError::BadSetting { sworm: self.name.clone(), what })
    }

    /// All settings as text, to tell whether a sworm is opened a second time in the same way. Of strategies that are given
    /// by value only that is known.
    pub(crate) fn settings(&self) -> String {
        let restart = self.restart.unwrap_or(Strategy::Named(DEFAULT_RESTART));
        let distribution = self.distribution.unwrap_or(Strategy::Named(DEFAULT_DISTRIBUTION));
        let (agreed, interval) = (self.agreed(), self.sync_interval);
        format!("{agreed}, restart = {restart:?}, distribution = {distribution:?}, sync_interval = {interval:?}")
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
        format!("mode = available, handoff = {handoff}, ack = {ack}, rebalance = {rebalance}")
    }
}

impl From<&str> for SwormSpec {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for SwormSpec {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}
