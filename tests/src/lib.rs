//! Clusters of real processes for tests.
//!
//! A node process ([`server`], `src/bin/`) is driven by JSON lines ([`protocol`]) on its standard input. [`Cluster`]
//! starts such processes in a directory of its own, kills, freezes and restarts them; [`Process`] sends them commands.
//!
//! Nothing here waits for a time in the hope that it is enough: [`eventually`] asks until something is so.

use std::hash::{BuildHasher, RandomState};

pub mod batches;
#[cfg(feature = "processes")]
mod cluster;
mod dump;
mod faulty;
pub mod living;
#[cfg(feature = "processes")]
mod process;
#[cfg(feature = "processes")]
pub mod protocol;
#[cfg(feature = "processes")]
pub mod relay;
#[cfg(feature = "processes")]
pub mod server;
pub mod sim;
mod step;
pub mod traffic;
mod wait;

#[cfg(feature = "processes")]
pub use cluster::{Cluster, GATE, SWORM, fresh_host};
pub use dump::{dump, restored};
pub use faulty::FaultyStore;
#[cfg(feature = "processes")]
pub use process::{Process, Registering};
pub use step::Step;
pub use wait::{ensure, eventually, eventually_within, holds_for, while_looking};

/// A name for a cluster of nodes in the test's own process.
pub fn fresh_cluster() -> String {
    format!("sworm-tests-{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// The path of a node program, for [`Cluster`]. Only integration tests know it, hence a macro.
#[macro_export]
macro_rules! program {
    () => {
        env!("CARGO_BIN_EXE_test-node")
    };
    (bare) => {
        env!("CARGO_BIN_EXE_test-node-bare")
    };
}
