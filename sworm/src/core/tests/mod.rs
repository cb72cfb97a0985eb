//! Several cores on a simulated network with virtual time: what one does, the others must agree with.

mod chaos;
mod scenarios;
mod transfers;
mod world;
