//! The benches of Sworm: `cargo bench -p sworm-benches`. Each measures against a baseline in the same run.
