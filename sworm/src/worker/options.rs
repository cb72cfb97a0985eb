//! What a worker type says of itself in its attributes.

use std::time::Duration;

use super::saving::{Durable, Saving, Snapshots};
use crate::strategy::{Distribution, Restart, Strategy};

/// The attributes of `#[worker(..)]` as values; `None` means the sworm's setting or the default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerOptions {
    /// What happens when the worker ends (default `transient`).
    pub restart: Option<Strategy<dyn Restart>>,
    /// Where the worker runs (default `rendezvous`).
    pub distribution: Option<Strategy<dyn Distribution>>,
    /// Whether the state is saved when the worker stops or moves (default no).
    pub handoff: Option<bool>,
    /// When it is saved while the worker runs (default not at all).
    pub snapshot: Option<Snapshots>,
    /// After how many messages it is saved (default not at all).
    pub every: Option<u32>,
    /// What a checkpoint waits for (default [`Durable::Replicas`]).
    pub durable: Option<Durable>,
    /// How many peers hold a copy of each saved state (default 1; fewer where there are fewer peers
    /// that could run it: one that is being emptied takes no copies).
    pub replicas: Option<u8>,
    /// How many messages wait at most (default 1024).
    pub mailbox: Option<usize>,
    /// How long a start may take (default 10 s).
    pub start_timeout: Option<Duration>,
}

impl WorkerOptions {
    /// All left to the sworm's settings and the defaults.
    pub const fn new() -> Self {
        Self {
            restart: None,
            distribution: None,
            handoff: None,
            snapshot: None,
            every: None,
            durable: None,
            replicas: None,
            mailbox: None,
            start_timeout: None,
        }
    }

    /// Sets what happens when the worker ends.
    pub const fn restart(mut self, strategy: Strategy<dyn Restart>) -> Self {
        self.restart = Some(strategy);
        self
    }

    /// Sets where the worker runs.
    pub const fn distribution(mut self, strategy: Strategy<dyn Distribution>) -> Self {
        self.distribution = Some(strategy);
        self
    }

    /// Sets whether the state is saved when the worker stops or moves.
    pub const fn handoff(mut self, on: bool) -> Self {
        self.handoff = Some(on);
        self
    }

    /// Sets when the state is saved while the worker runs; it is then also saved when it stops or moves.
    pub const fn snapshot(mut self, when: Snapshots) -> Self {
        self.snapshot = Some(when);
        self
    }

    /// Sets after how many messages the state is saved; it is then also saved when the worker stops or moves.
    pub const fn every(mut self, messages: u32) -> Self {
        self.every = Some(messages);
        self
    }

    /// Sets what a checkpoint waits for.
    pub const fn durable(mut self, durable: Durable) -> Self {
        self.durable = Some(durable);
        self
    }

    /// Sets how many peers hold a copy of each saved state.
    pub const fn replicas(mut self, count: u8) -> Self {
        self.replicas = Some(count);
        self
    }

    /// Sets how many messages wait at most.
    pub const fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = Some(messages);
        self
    }

    /// When the state is saved while the worker runs.
    pub(crate) fn saving(&self) -> Saving {
        Saving {
            each: self.snapshot == Some(Snapshots::Each),
            period: match self.snapshot {
                Some(Snapshots::Every(period)) => Some(period),
                _ => None,
            },
            messages: self.every,
            durable: self.durable.unwrap_or_default(),
        }
    }

    /// What is said of how states are saved, if anything is.
    pub(crate) fn for_states(&self) -> Option<&'static str> {
        self.replicas.map(|_| "replicas").or(self.durable.map(|_| "durable"))
    }

    /// Sets how long a start may take.
    pub const fn start_timeout(mut self, limit: Duration) -> Self {
        self.start_timeout = Some(limit);
        self
    }
}
