//! A deterministic simulation of whole clusters: real cores, real membership, the real codec of the wire and of the
//! disk, on virtual time, over links and disks that fail as a seed says.
//!
//! A [`Case`] expands into [`Options`]; [`run`] lets a random script, or a [plot](Plot), play under them in a phase
//! with faults, heals everything, and checks the [laws] at every step and at the end. The same seed gives the same
//! trace, byte for byte.

mod balance;
mod disk;
mod follower;
mod kinds;
pub mod laws;
mod links;
mod node;
mod options;
mod perform;
mod plots;
mod regressions;
mod run;
mod script;
mod states;
mod trap;
mod world;

pub use options::Options;
pub use plots::Plot;
pub use regressions::REGRESSIONS;
pub use run::{Case, Outcome, Shape, each, run, run_planted};
pub use world::{Image, World};
