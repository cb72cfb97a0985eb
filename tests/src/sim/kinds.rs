//! The worker types of clusters whose names are not all alike: how they are restarted, and where they are put.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::core::ids::{Birth, Peer};
use sworm::core::membership::Profile;
use sworm::{Exit, Permanent, Pinned, Restart, Spread, Temporary, Transient};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::node::WORKER;
use super::options::Options;
use super::plots::Plot;
use super::world::World;

const PERMANENT: &str = "permanent counter";
const TEMPORARY: &str = "temporary counter";
const TYPES: [&str; 3] = [WORKER, PERMANENT, TEMPORARY];

const USUAL: &str = "rendezvous";
/// Only nodes of one zone may run what is put there by it.
const IN_ZONE: &str = "in-simulated-zone";
const DISTRIBUTIONS: [&str; 8] =
    [USUAL, "least-loaded", "bounded", "ring", "random", "local-first", "over-simulated-zones", IN_ZONE];
/// How many of them, the first, put any name on any node.
const ANYWHERE: usize = 6;
const ZONE: &str = "simulated-zone";

sworm::plugin!(dyn Distribution, "in-simulated-zone", Pinned::to(ZONE, "a"));
sworm::plugin!(dyn Distribution, "over-simulated-zones", Spread::over(ZONE));

/// What programs link, unless they are others.
pub(super) fn types(options: &Options) -> BTreeMap<Arc<str>, u32> {
    let linked = if options.mixed || options.drawn { &TYPES[..] } else { &[WORKER] };
    linked.iter().map(|name| ((*name).into(), 1)).collect()
}

/// How workers are restarted.
pub(super) fn restart() -> BTreeMap<Arc<str>, &'static dyn Restart> {
    let strategies: [&'static dyn Restart; 3] = [&Transient, &Permanent, &Temporary];
    TYPES.into_iter().map(Into::into).zip(strategies).collect()
}

/// The worker type of a name, and the strategy that places it.
pub(super) fn of(name: &str, options: &Options) -> (&'static str, &'static str) {
    if options.plot == Plot::Joins {
        // Each strategy has seeds in which all names are placed by it.
        let all = DISTRIBUTIONS.len() as u64;
        let chance = match options.seed / 2 % (all + 1) {
            mixed if mixed == all => xxh3_64_with_seed(name.as_bytes(), options.seed),
            of_all => of_all,
        };
        return (WORKER, DISTRIBUTIONS[usize::try_from(chance % all).expect("few")]);
    }
    if !options.mixed && !options.drawn {
        return (WORKER, USUAL);
    }
    let distributions = if options.mixed { &DISTRIBUTIONS[..] } else { &DISTRIBUTIONS[..ANYWHERE] };
    let chance = xxh3_64_with_seed(name.as_bytes(), options.seed);
    let one_of = |all: &[&'static str], chance: u64| all[usize::try_from(chance % all.len() as u64).expect("few")];
    (one_of(&TYPES, chance >> 32), one_of(distributions, chance & 0xffff_ffff))
}

/// What distribution strategies know of a node.
pub(super) fn profile(node: &str, options: &Options) -> Profile {
    if !options.mixed && options.plot != Plot::Joins {
        return Profile::default();
    }
    let number: u32 = node.trim_start_matches('n').parse().unwrap_or(0);
    let zone = if number.is_multiple_of(2) { "b" } else { "a" };
    Profile { labels: BTreeMap::from([(ZONE.to_owned(), zone.to_owned())]), weight: 1 + number % 3 }
}

impl World {
    /// A worker has ended without having been told to.
    pub(super) fn ends_by_itself(&mut self, name: &str, birth: Birth, exit: &Exit) {
        let again = match of(name, &self.options).0 {
            PERMANENT => true,
            TEMPORARY => false,
            _ => !exit.is_normal(),
        };
        if !again {
            self.laws.over.insert((name.into(), birth));
        }
    }

    /// Whether a name may be started at all, and there.
    pub(super) fn may_start(&mut self, at: &Peer, name: &Arc<str>, birth: Birth) {
        let zone = self.nodes[&*at.node].profile.labels.get(ZONE).map(String::as_str);
        if of(name, &self.options).1 == IN_ZONE && zone != Some("a") {
            self.laws.broken(format!("{name} starts on {at}, where it must not"));
        }
        // Who is the only one to know of the end may die, or be cut off.
        let is_known = !self.options.may_lose() && !self.options.may_part();
        if is_known && self.laws.over.contains(&(name.clone(), birth)) {
            self.laws.broken(format!("{name} of {birth:?} is started again on {at}, and it had ended for good"));
        }
    }
}
