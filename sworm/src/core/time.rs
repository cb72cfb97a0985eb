//! Hybrid-logical time (Kulkarni et al. 2014): never behind the wall clock, never behind what was seen.

/// Bits that count events within one millisecond.
pub const COUNTER_BITS: u32 = 16;

/// A hybrid clock: 48 bits of Unix milliseconds, 16 bits of counter.
#[derive(Clone, Copy, Debug, Default)]
pub struct HybridClock(u64);

impl HybridClock {
    /// The next time, above all that was given or seen.
    pub fn next(&mut self, unix_ms: u64) -> u64 {
        self.0 = (self.0 + 1).max(unix_ms << COUNTER_BITS);
        self.0
    }

    /// Takes note of a time seen elsewhere.
    pub fn observe(&mut self, time: u64) {
        self.0 = self.0.max(time);
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
        let (a, b, c) = (clock.next(5), clock.next(5), clock.next(3));
        assert!(a < b && b < c);
        clock.observe(99 << COUNTER_BITS);
        assert_eq!(to_ms(clock.next(5)), 99);
    }
}
