//! Two strategies for services that run in several zones (racks, data centres):
//!
//! - distribution `"zones"`: names are spread evenly over the zones first, then over the nodes of a zone, by rendezvous
//!   hashing at both levels, so that a small zone gets as much as a large one and a lost node moves only what it held;
//! - restart `"budget"`: a worker that does not end normally is restarted until it has used up its budget of restarts
//!   within a period, with exponential back-off in between.
//!
//! A program links them with `use sworm_zones as _;`, names them in attributes, and labels its nodes:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use sworm::prelude::*;
//! use sworm_zones as _;
//!
//! #[derive(Worker, Serialize, Deserialize)]
//! #[worker(distribution = "zones", restart = "budget")]
//! struct Room;
//!
//! let node = Node::builder("a").label("zone", "east");
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use sworm::{Candidate, Distribution, Exit, Restart, RestartDecision, RestartHistory, plugin, score, weighted_score};

/// The label that names a node's zone. Nodes without it are a zone of their own together.
pub const ZONE: &str = "zone";

/// `"zones"`: even over zones, then over the nodes of a zone by their weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Zones;

impl Distribution for Zones {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let zones: BTreeSet<&str> = candidates.iter().map(zone).collect();
        let chosen = zones.into_iter().max_by_key(|zone| score(name, &format!("zone/{zone}")));
        let within = candidates.iter().enumerate().filter(|(_, candidate)| Some(zone(candidate)) == chosen);
        within.max_by_key(|(_, candidate)| weighted_score(name, candidate)).map_or(0, |(place, _)| place)
    }

    /// Half of it says how the zone does, and the lower half how the node does in it.
    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        let of_zone = score(name, &format!("zone/{}", zone(candidate)));
        Some((of_zone >> 32 << 32) | (weighted_score(name, candidate) >> 32))
    }
}

fn zone(candidate: &Candidate) -> &str {
    candidate.labels.get(ZONE).map_or("", String::as_str)
}

/// `"budget"`: restarted after every end that is not normal, at most `restarts` times in `period`; then it stays visible
/// as failed.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// How many restarts the period may see: at most 32, since no more of a worker's restarts are remembered.
    pub restarts: usize,
    /// How long a restart counts.
    pub period: Duration,
    /// The delay before the second restart in a period; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Budget {
    /// Ten restarts in a minute, after 100 ms to 10 s.
    pub const DEFAULT: Self = Self {
        restarts: 10,
        period: Duration::from_secs(60),
        first_delay: Duration::from_millis(100),
        max_delay: Duration::from_secs(10),
    };
}

/// So many restarts of a worker are remembered.
const REMEMBERED: usize = 32;

impl Restart for Budget {
    fn decide(&self, exit: &Exit, history: &RestartHistory) -> RestartDecision {
        if exit.is_normal() {
            RestartDecision::Remove
        } else if history.within(self.period) >= self.restarts.min(REMEMBERED) {
            RestartDecision::GiveUp
        } else {
            RestartDecision::Restart { after: history.back_off(self.period, self.first_delay, self.max_delay) }
        }
    }
}

plugin!(dyn Distribution, "zones", Zones);
plugin!(dyn Restart, "budget", Budget::DEFAULT);

#[cfg(test)]
mod tests {
    use super::*;
    use sworm::NodeId;

    fn nodes(of: &[(&str, &str)]) -> Vec<Candidate> {
        of.iter()
            .map(|(node, zone)| {
                let mut candidate = Candidate::new(NodeId::new(node).expect("valid"));
                candidate.labels.insert(ZONE.to_owned(), (*zone).to_owned());
                candidate
            })
            .collect()
    }

    #[test]
    fn zones_get_equal_shares_whatever_their_size() {
        let candidates = nodes(&[("a", "east"), ("b", "east"), ("c", "east"), ("d", "west")]);
        let mut west = 0;
        for n in 0..10_000 {
            west += usize::from(Zones.choose(&format!("n{n}"), &candidates) == 3);
        }
        assert!((4_800..5_200).contains(&west), "{west}");
    }

    #[test]
    fn who_is_chosen_has_the_highest_score() {
        let candidates = nodes(&[("a", "east"), ("b", "east"), ("c", "west"), ("d", "north")]);
        for n in 0..1_000 {
            let name = format!("n{n}");
            let best = (0..4).max_by_key(|place| Zones.score(&name, &candidates[*place]));
            assert_eq!(best, Some(Zones.choose(&name, &candidates)), "{name}");
        }
    }

    #[test]
    fn a_node_of_weight_2_gets_twice_as_much_as_another_of_its_zone() {
        let mut candidates = nodes(&[("a", "east"), ("b", "east"), ("c", "west")]);
        candidates[1] = candidates[1].clone().with_weight(2);
        let mut of_b = 0;
        for n in 0..12_000 {
            of_b += usize::from(Zones.choose(&format!("n{n}"), &candidates) == 1);
        }
        assert!((3_800..4_200).contains(&of_b), "{of_b}");
    }

    #[test]
    fn a_lost_node_moves_only_what_it_held() {
        let before = nodes(&[("a", "east"), ("b", "east"), ("c", "west")]);
        let after = nodes(&[("a", "east"), ("c", "west")]);
        for n in 0..1_000 {
            let name = format!("n{n}");
            match Zones.choose(&name, &before) {
                0 => assert_eq!(Zones.choose(&name, &after), 0),
                2 => assert_eq!(Zones.choose(&name, &after), 1),
                _ => {}
            }
        }
    }

    #[test]
    fn the_budget_is_used_up_and_then_recovers() {
        let crash = Exit::Panic("boom".into());
        let recent = |count| RestartHistory::new(vec![Duration::from_secs(1); count], 0);
        assert_eq!(Budget::DEFAULT.decide(&crash, &recent(0)), RestartDecision::Restart { after: Duration::ZERO });
        assert_eq!(Budget::DEFAULT.decide(&crash, &recent(10)), RestartDecision::GiveUp);
        let larger = Budget { restarts: 50, ..Budget::DEFAULT };
        assert!(matches!(larger.decide(&crash, &recent(31)), RestartDecision::Restart { .. }));
        assert_eq!(larger.decide(&crash, &recent(32)), RestartDecision::GiveUp, "more are not remembered");
        let old = RestartHistory::new(vec![Duration::from_secs(61); 10], 0);
        assert!(matches!(Budget::DEFAULT.decide(&crash, &old), RestartDecision::Restart { .. }));
        assert_eq!(Budget::DEFAULT.decide(&Exit::Normal, &recent(0)), RestartDecision::Remove);
    }
}
