//! The node's clock: it never goes back, and counts on while the machine is suspended. Linux' monotonic clock does not,
//! so there the one since boot is read; that of macOS and of Windows does.

use std::time::Duration;
#[cfg(any(test, not(target_os = "linux")))]
use std::time::Instant;

/// Milliseconds since a node's start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    #[cfg(target_os = "linux")]
    started: rustix::time::Timespec,
    #[cfg(not(target_os = "linux"))]
    started: Instant,
}

#[cfg(target_os = "linux")]
fn now() -> rustix::time::Timespec {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime)
}

#[cfg(not(target_os = "linux"))]
fn now() -> Instant {
    Instant::now()
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { started: now() }
    }

    /// What it says.
    pub(crate) fn ms(&self) -> u64 {
        #[cfg(target_os = "linux")]
        let elapsed = Duration::try_from(now() - self.started).unwrap_or_default();
        #[cfg(not(target_os = "linux"))]
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
}
