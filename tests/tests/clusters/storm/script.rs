//! What a storm does, as data, from a seed.

use std::collections::BTreeSet;

use fastrand::Rng;
use sworm_tests::relay::Way;

/// The nodes.
pub(crate) const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A node.
pub(crate) type Id = &'static str;

/// One thing that happens. Cuts last until the links are healed.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// SIGKILL.
    Kill(Id),
    /// It leaves in good order.
    Leave(Id),
    /// It starts again on its data.
    Start(Id),
    /// SIGSTOP.
    Freeze(Id),
    /// SIGCONT.
    Resume(Id),
    /// What becomes of what one says to the other.
    Cut { from: Id, to: Id, way: Way },
    /// The same for everything between these nodes and the others.
    Split { side: Vec<Id>, way: Way },
    /// All links are whole again.
    Heal,
    /// So many new names are registered through that node.
    Register { through: Id, count: usize },
    /// So many names are unregistered through that node.
    Unregister { through: Id, count: usize },
    /// Nothing happens for so many milliseconds.
    Wait(u64),
}

/// The steps of a round. In a calm one nodes only die, leave and start: the members agree all the time. A rough one begins
/// with a node that stands still or is cut off.
pub(crate) fn round(rng: &mut Rng, calm: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut down = BTreeSet::new();
    let mut frozen = BTreeSet::new();
    for number in 0..rng.usize(2..=5) {
        let able: Vec<Id> = NODES.into_iter().filter(|id| !down.contains(id) && !frozen.contains(id)).collect();
        let one = *rng.choice(&able).expect("two are always able");
        let kinds = match (calm, number) {
            (true, _) => 0..7,
            (false, 0) => 7..11,
            (false, _) => 0..13,
        };
        let (step, ms) = match rng.u8(kinds) {
            0 | 1 if able.len() > 2 => {
                down.insert(one);
                (Step::Kill(one), 2_000)
            }
            2 | 3 if able.len() > 2 => {
                down.insert(one);
                (Step::Leave(one), 1_000)
            }
            4 if !down.is_empty() => {
                let back = *rng.choice(&down).expect("it is not empty");
                down.remove(back);
                (Step::Start(back), 1_000)
            }
            5 => (Step::Register { through: one, count: rng.usize(1..=20) }, 100),
            6 => (Step::Unregister { through: one, count: rng.usize(1..=20) }, 100),
            7 if able.len() > 2 => {
                frozen.insert(one);
                (Step::Freeze(one), 10_000)
            }
            8 => {
                let others: Vec<Id> = NODES.into_iter().filter(|id| *id != one).collect();
                (Step::Cut { from: one, to: others[rng.usize(..others.len())], way: way(rng) }, 10_000)
            }
            9 | 10 => {
                let size = rng.usize(1..=2);
                (Step::Split { side: rng.choose_multiple(NODES, size), way: way(rng) }, 10_000)
            }
            11 if !frozen.is_empty() => {
                let back = *rng.choice(&frozen).expect("it is not empty");
                frozen.remove(back);
                (Step::Resume(back), 1_000)
            }
            12 => (Step::Heal, 1_000),
            _ => continue,
        };
        steps.extend([step, Step::Wait(rng.u64(ms / 10..=ms))]);
    }
    steps
}

fn way(rng: &mut Rng) -> Way {
    if rng.bool() { Way::Silent } else { Way::Closed }
}
