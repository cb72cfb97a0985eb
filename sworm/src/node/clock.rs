//! The node's clock: it never goes back, and counts on while the machine is suspended. What the standard library reads does not
//! on Linux, nor on Apple's systems, so there another one is read: the one since boot, and the monotonic one. That of Windows
//! does.

use std::time::Duration;
#[cfg(any(test, not(any(target_os = "linux", target_vendor = "apple"))))]
use std::time::Instant;

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
type Moment = rustix::time::Timespec;
#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
type Moment = Instant;

/// Milliseconds since a node's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Moment,
}

#[cfg(target_os = "linux")]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(target_vendor = "apple")]
const COUNTS_SLEEP: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn now() -> Moment {
    rustix::time::clock_gettime(COUNTS_SLEEP)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn now() -> Moment {
    Instant::now()
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { started: now() }
    }

    /// What it says.
    pub(crate) fn ms(&self) -> u64 {
        #[cfg(any(target_os = "linux", target_vendor = "apple"))]
        let elapsed = Duration::try_from(now() - self.started).unwrap_or_default();
        #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
        let elapsed = now() - self.started;
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long until it says that; nothing if that is past.
    pub(crate) fn until(&self, ms: u64) -> Duration {
        Duration::from_millis(ms.saturating_sub(self.ms()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_as_time_does() {
        let (clock, before) = (Clock::start(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (said, passed) = (clock.ms(), before.elapsed().as_millis());
        assert!(said >= 20 && u128::from(said) <= passed + 1, "{said} of {passed}");
        assert!(clock.until(said + 60_000) <= Duration::from_millis(60_000) && clock.until(0).is_zero());
    }
    /// Nothing suspends a machine for a test; on one that has been, no other clock says the same.
    #[cfg(target_os = "linux")]
    #[test]
    fn it_is_the_one_that_counts_while_the_machine_is_suspended() {
        assert_eq!(COUNTS_SLEEP, rustix::time::ClockId::Boottime);
        let since_boot = || rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let (before, clock, after) = (since_boot(), Clock::start(), since_boot());
        assert!((before..=after).contains(&clock.started), "{before:?}, {clock:?}, {after:?}");
    }
}
