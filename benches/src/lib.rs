//! The benches of Sworm: `cargo bench -p sworm-benches`. Each measures against a baseline in the same run.

mod cluster;
mod load;
mod names;
mod node;
mod process;
mod protocol;
mod raw;
mod relay;
mod report;
mod suite;
mod usage;
mod workers;

pub use self::load::{Load, load};
pub use self::node::serve;
pub use self::process::SERVE;
pub use self::report::{Row, table, write};
pub use self::suite::{Run, Size, known, run};
