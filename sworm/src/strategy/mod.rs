//! Strategies: where a worker runs and what happens when it ends.

mod distribution;
mod restart;

pub use distribution::{
    BoundedLoad, Candidate, Distribution, HashRing, LeastLoaded, LocalFirst, MAX_WEIGHT, Pinned, Random, Rendezvous,
    Spread, score, weighted_score,
};
pub(crate) use restart::MAX_RESTARTS;
pub use restart::{
    Exit, Permanent, PermanentWithin, Restart, RestartDecision, RestartHistory, Temporary, Transient, TransientWithin,
};

use crate::panics;

/// Asks a distribution strategy; a panic is an error.
pub(crate) fn choose(strategy: &dyn Distribution, name: &str, candidates: &[Candidate]) -> Result<usize, String> {
    panics::guarded(|| strategy.choose(name, candidates))
}

/// Asks a restart strategy; a panic is an error.
pub(crate) fn decide(strategy: &dyn Restart, exit: &Exit, history: &RestartHistory) -> Result<RestartDecision, String> {
    panics::guarded(|| strategy.decide(exit, history))
}

/// A strategy as an attribute or a setting names it.
pub enum Strategy<T: ?Sized + 'static> {
    /// Looked up among the linked plugins when the node starts.
    Named(&'static str),
    /// The value itself.
    Value(&'static T),
}

impl<T: ?Sized> Clone for Strategy<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Strategy<T> {}

impl<T: ?Sized> std::fmt::Debug for Strategy<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => write!(f, "{name:?}"),
            Self::Value(_) => f.write_str("<value>"),
        }
    }
}
