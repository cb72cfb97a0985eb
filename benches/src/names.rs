//! The names of all benches, and clocks that processes share.

use rustix::time::{ClockId, clock_gettime};

/// A name of 16 bytes.
pub(crate) fn name(number: usize) -> String {
    format!("aircraft-{number:07}")
}

/// The state of a worker: bytes that tell its number.
pub(crate) fn state(number: usize) -> Vec<u8> {
    number.to_be_bytes().repeat(STATE_BYTES / size_of::<usize>())
}

/// How long the states are that travel.
pub(crate) const STATE_BYTES: usize = 256;

/// Seconds on a clock that all processes of this machine read, and that nobody sets.
pub(crate) fn clock() -> f64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
