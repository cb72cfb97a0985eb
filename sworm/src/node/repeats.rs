//! Drops what the network brings twice: of each sender, the numbers that came last are known.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::HashMap;

use crate::core::ids::Peer;

/// So many of a sender's last numbers are known; one below them counts as a repeat, as what is so late has come before.
const WINDOW: u64 = 65_536;
/// Of so many senders; then the one that was silent for longest is forgotten.
const MAX_SENDERS: usize = 1_024;

/// The calls that came lately: at most 8 KiB for each sender.
#[derive(Default)]
pub(crate) struct Repeats(Mutex<Senders>);

#[derive(Default)]
struct Senders {
    /// Counts what came.
    count: u64,
    windows: HashMap<Peer, Window>,
}

/// The last numbers of one incarnation of a sender.
struct Window {
    /// When something came last.
    heard: u64,
    /// One above the greatest number.
    next: u64,
    /// The numbers below it that came, by their remainder.
    came: Vec<u64>,
    /// The last one that came alone.
    alone: Option<u64>,
}

impl Repeats {
    /// Whether this comes for the first time.
    pub(crate) fn is_first(&self, from: &Peer, number: u64) -> bool {
        if number == u64::MAX {
            return false; // nobody counts that far
        }
        let mut senders = self.lock();
        senders.count += 1;
        let count = senders.count;
        if !senders.windows.contains_key(from) {
            senders.make_room();
            senders.windows.insert(from.clone(), Window::default());
        }
        let window = senders.windows.get_mut(from).expect("it was put in");
        window.heard = count;
        window.take(number)
    }

    /// A call has come alone: its sender has all replies to what it has sent before.
    pub(crate) fn came_alone(&self, from: &Peer, number: u64) {
        if let Some(window) = self.lock().windows.get_mut(from) {
            window.alone = Some(number);
        }
    }

    /// Whether it is the last that has come alone; then nothing else that was put at once is on its way back.
    pub(crate) fn is_alone(&self, from: &Peer, number: u64) -> bool {
        self.lock().windows.get(from).is_some_and(|window| window.alone == Some(number))
    }

    fn lock(&self) -> MutexGuard<'_, Senders> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Senders {
    fn make_room(&mut self) {
        if self.windows.len() < MAX_SENDERS {
            return;
        }
        let silent = self.windows.iter().min_by_key(|(_, window)| window.heard).map(|(peer, _)| peer.clone());
        silent.map(|peer| self.windows.remove(&peer));
    }
}

impl Default for Window {
    fn default() -> Self {
        Self { heard: 0, next: 0, alone: None, came: vec![0; usize::try_from(WINDOW / 64).expect("small")] }
    }
}

impl Window {
    fn take(&mut self, number: u64) -> bool {
        if number >= self.next {
            if number - self.next >= WINDOW {
                self.came.fill(0);
            } else {
                for passed in self.next..number {
                    self.set(passed, false);
                }
            }
            self.next = number.saturating_add(1);
            self.set(number, true);
            return true;
        }
        self.next - number <= WINDOW && !self.set(number, true)
    }

    /// Gives what it was before.
    fn set(&mut self, number: u64, came: bool) -> bool {
        let at = number % WINDOW;
        let (word, bit) = (&mut self.came[usize::try_from(at / 64).expect("small")], 1 << (at % 64));
        let before = *word & bit != 0;
        *word = if came { *word | bit } else { *word & !bit };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Incarnation, NodeId};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn peer(incarnation: u64) -> Peer {
        Peer { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(incarnation) }
    }

    proptest! {
        #[test]
        fn what_is_in_the_window_is_first_once_and_what_is_below_it_never(
            steps in proptest::collection::vec((0..4_u64, 0..3 * WINDOW), 1..200),
        ) {
            let (repeats, mut came, mut greatest) = (Repeats::default(), BTreeSet::new(), 0);
            for (kind, far) in steps {
                let number = match kind {
                    0 => greatest + 1,
                    1 => greatest + far,
                    2 => greatest.saturating_sub(far % 8),
                    _ => greatest.saturating_sub(far),
                };
                let is_late = greatest >= WINDOW && number <= greatest - WINDOW;
                greatest = greatest.max(number);
                let first = came.insert(number) && !is_late;
                prop_assert_eq!(repeats.is_first(&peer(1), number), first, "{} with {}", number, greatest);
            }
        }
    }

    #[test]
    fn each_incarnation_counts_anew_and_the_most_silent_sender_is_forgotten() {
        let repeats = Repeats::default();
        assert!(repeats.is_first(&peer(0), 7) && !repeats.is_first(&peer(0), 7) && repeats.is_first(&peer(1), 7));
        for incarnation in 2..MAX_SENDERS as u64 {
            assert!(repeats.is_first(&peer(incarnation), 7));
            assert!(!repeats.is_first(&peer(0), 7));
        }
        assert!(repeats.is_first(&peer(1 << 40), 7), "one more than are known");
        assert_eq!(repeats.0.lock().expect("no panic").windows.len(), MAX_SENDERS);
        assert!(!repeats.is_first(&peer(0), 7) && repeats.is_first(&peer(1), 7));
    }

    #[test]
    fn a_number_that_nobody_can_have_drawn_is_refused() {
        let repeats = Repeats::default();
        assert!(!repeats.is_first(&peer(0), u64::MAX));
        assert!(repeats.is_first(&peer(0), u64::MAX - 1));
        assert!(!repeats.is_first(&peer(0), u64::MAX - 1) && !repeats.is_first(&peer(0), 0));
    }
}
