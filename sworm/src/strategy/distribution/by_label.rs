use super::{Candidate, Distribution, Rendezvous, score, weighted_score};

/// Only nodes with a certain label, by rendezvous: `#[worker(distribution = Pinned::to("disk", "fast"))]`. While there is
/// none, registrations are refused and names that ran there wait.
#[derive(Clone, Copy, Debug)]
pub struct Pinned {
    label: &'static str,
    value: &'static str,
}

impl Pinned {
    /// Nodes that were built with `.label(label, value)`.
    pub const fn to(label: &'static str, value: &'static str) -> Self {
        Self { label, value }
    }
}

impl Distribution for Pinned {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        Rendezvous.choose(name, candidates)
    }

    fn excludes(&self, _: &str, candidate: &Candidate) -> Option<String> {
        let Self { label, value } = self;
        match candidate.labels.get(*label) {
            Some(has) if has == value => None,
            Some(has) => Some(format!("its label {label:?} is {has:?}, not {value:?}")),
            None => Some(format!("it has no label {label:?}")),
        }
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Rendezvous.score(name, candidate)
    }
}

/// Even over the values of a label first, then by rendezvous: `#[worker(distribution = Spread::over("zone"))]` gives each
/// zone as much as any other, whatever its number of nodes. Nodes without the label have one value together.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    label: &'static str,
}

impl Spread {
    /// The label, such as `"zone"`.
    pub const fn over(label: &'static str) -> Self {
        Self { label }
    }

    /// The score of its label's value, and below that its own.
    fn score_of(&self, name: &str, candidate: &Candidate) -> u64 {
        let value = candidate.labels.get(self.label).map_or("", String::as_str);
        let of_value = score(name, &format!("{}/{value}", self.label));
        (of_value >> 32 << 32) | (weighted_score(name, candidate) >> 32)
    }
}

impl Distribution for Spread {
    fn choose(&self, name: &str, candidates: &[Candidate]) -> usize {
        let best = candidates.iter().enumerate().max_by_key(|(_, c)| (self.score_of(name, c), &c.node));
        best.map_or(0, |(place, _)| place)
    }

    fn score(&self, name: &str, candidate: &Candidate) -> Option<u64> {
        Some(self.score_of(name, candidate))
    }
}
