//! Sworms that a node has not opened, and whom it has told so.

use std::collections::BTreeMap;

use super::ids::{Incarnation, NodeId, Peer};
use super::message::Phase;

/// Whom a node has told that it has not opened a sworm: those who have opened it wait for no word of it then.
#[derive(Debug, Default)]
pub struct Closed {
    told: BTreeMap<(u64, NodeId), Told>,
}

/// Who was told, and when it is to be told again.
#[derive(Debug)]
struct Told {
    incarnation: Incarnation,
    due_ms: u64,
    wait_ms: u64,
}

/// How soon somebody is told again who has not joined just now: it may have been lost, or come before this node was known there.
const AGAIN_MS: u64 = 400;
/// At most; it is twice as long each time.
const SLOWEST_MS: u64 = 60_000;

impl Closed {
    /// Whether a heartbeat of that node, in a sworm that is not open here, is to be answered. Who joins waits for that.
    pub fn answers(&mut self, now_ms: u64, sworm: u64, from: &Peer, phase: Phase) -> bool {
        let of = (sworm, from.node.clone());
        let told = self.told.get(&of).filter(|told| told.incarnation == from.incarnation);
        if phase != Phase::Joining && told.is_some_and(|told| now_ms < told.due_ms) {
            return false;
        }
        let wait_ms = told.map_or(AGAIN_MS, |told| (2 * told.wait_ms).min(SLOWEST_MS));
        self.told.insert(of, Told { incarnation: from.incarnation, due_ms: now_ms + wait_ms, wait_ms });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixture::peer;

    /// When the heartbeats of a minute are answered.
    fn answered(closed: &mut Closed, sworm: u64, from: &Peer, phase: Phase) -> Vec<u64> {
        (0..60_000).step_by(200).filter(|ms| closed.answers(*ms, sworm, from, phase)).collect()
    }

    #[test]
    fn who_takes_part_is_told_now_and_then_and_who_joins_each_time() {
        let (mut closed, a) = (Closed::default(), peer("a"));
        let now_and_then = [0, 400, 1_200, 2_800, 6_000, 12_400, 25_200, 50_800];
        assert_eq!(answered(&mut closed, 1, &a, Phase::Up), now_and_then);
        assert_eq!(answered(&mut closed, 2, &a, Phase::Up), now_and_then, "of another sworm it has heard nothing");
        assert!(!closed.answers(51_000, 1, &a, Phase::Leaving));
        let again = Peer { incarnation: Incarnation(2), ..a };
        assert!(closed.answers(51_000, 1, &again, Phase::Up), "it was started anew");
        assert_eq!(answered(&mut closed, 1, &again, Phase::Joining).len(), 300);
    }
}
