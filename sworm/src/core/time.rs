//! Hybrid-logical time (Kulkarni et al. 2014): never behind the wall clock, never behind what was seen.

use super::fault::{Fault, planted};

/// Bits that count events within one millisecond.
pub const COUNTER_BITS: u32 = 16;

/// A hybrid clock: 48 bits of Unix milliseconds, 16 bits of counter.
///
/// What was seen elsewhere may be ahead of this node's wall clock. Time passes there as well: what a node did as long as it had
/// a lease is behind what another one does when that lease is over, however far their wall clocks are apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock {
    last: u64,
    /// The latest time seen elsewhere, and when that was, on this node's monotonic clock.
    seen: u64,
    seen_at_ms: u64,
}

impl HybridClock {
    /// The next time, above all that was given or seen.
    pub fn next(&mut self, unix_ms: u64, mono_ms: u64) -> u64 {
        let passed = if planted(Fault::SeenTimeStands) { 0 } else { mono_ms.saturating_sub(self.seen_at_ms) };
        // A little slower than it does: else the clocks of a cluster would run away with the fastest of them.
        let there = self.seen + ((passed - passed / 8) << COUNTER_BITS);
        self.last = (self.last + 1).max(unix_ms << COUNTER_BITS).max(there);
        self.last
    }

    /// Takes note of a time seen elsewhere.
    pub fn observe(&mut self, time: u64, mono_ms: u64) {
        if time > self.last {
            (self.last, self.seen, self.seen_at_ms) = (time, time, mono_ms);
        }
    }
}

/// The milliseconds of a hybrid time.
pub fn to_ms(time: u64) -> u64 {
    time >> COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rise_when_the_wall_clock_stands_or_falls_back() {
        let mut clock = HybridClock::default();
        let (a, b, c) = (clock.next(5, 0), clock.next(5, 0), clock.next(3, 0));
        assert!(a < b && b < c);
        clock.observe(99 << COUNTER_BITS, 0);
        assert_eq!(to_ms(clock.next(5, 0)), 99);
    }

    #[test]
    fn time_passes_from_what_was_seen_elsewhere_until_the_wall_clock_is_there() {
        let mut clock = HybridClock::default();
        clock.observe(50_000 << COUNTER_BITS, 1_000);
        assert_eq!(to_ms(clock.next(10, 9_000)), 57_000);
        clock.observe(100 << COUNTER_BITS, 9_000);
        assert_eq!(to_ms(clock.next(60_000, 9_001)), 60_000);
    }
}
