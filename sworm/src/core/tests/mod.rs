//! Several cores on a simulated network with virtual time: what one does, the others must agree with.

mod scenarios;
mod world;
