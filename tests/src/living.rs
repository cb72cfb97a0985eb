//! Which workers exist in this process, whatever the library says of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sworm::Pid;

static ALL: Mutex<BTreeMap<Pid, usize>> = Mutex::new(BTreeMap::new());

/// Held by a worker for as long as it exists.
pub struct Living(Pid);

impl Living {
    /// From now on it exists.
    pub fn new(pid: Pid) -> Self {
        *all().entry(pid.clone()).or_default() += 1;
        Self(pid)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        let mut all = all();
        if let Some(count) = all.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.0);
            }
        }
    }
}

/// How many exist.
pub fn count() -> usize {
    all().len()
}

/// The workers of a sworm that exist; one that exists twice is there twice.
pub fn pids(sworm: &str) -> Vec<Pid> {
    let all = all();
    let of_sworm = all.iter().filter(|(pid, _)| *pid.sworm == *sworm);
    of_sworm.flat_map(|(pid, count)| std::iter::repeat_n(pid.clone(), *count)).collect()
}

fn all() -> MutexGuard<'static, BTreeMap<Pid, usize>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
