//! What a seed expands into.

use std::fmt;

use fastrand::Rng;
use sworm::core::chunks::CHUNK_BYTES;
use sworm::core::transfer::PART_BYTES;

use super::plots::Plot;
use super::run::{Case, Shape};

/// Most workers stop soon.
const STOP_MS: u64 = 20;

/// So many times as much do clocks run apart in mode "majority".
const MAJORITY_DRIFT: u64 = 5;

/// The size of a simulated cluster and the faults that happen in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The seed of everything else.
    pub seed: u64,
    /// What happens while there are faults.
    pub plot: Plot,
    /// How many nodes there are.
    pub nodes: usize,
    /// How many names are used.
    pub names: u64,
    /// How many steps the phase with faults has.
    pub steps: u32,
    /// Messages lost, of a thousand.
    pub lost: u32,
    /// Messages that come twice, of a thousand.
    pub repeated: u32,
    /// How much later those come at most.
    pub repeated_ms: u64,
    /// The longest delay of a message.
    pub delay_ms: u64,
    /// Whether messages of one node to another come in the order in which they were sent, as over TCP.
    pub in_order: bool,
    /// How far wall clocks are apart at most.
    pub clock_apart_ms: u64,
    /// How much faster or slower a node's clocks run at most, in millionths.
    pub drift_ppm: u64,
    /// Messages that are garbage, of a thousand.
    pub garbage: u32,
    /// The longest that a sync of a disk takes.
    pub sync_ms: u64,
    /// Disks fail, and their nodes stop.
    pub failing_disks: bool,
    /// Processes are killed.
    pub kills: bool,
    /// All processes are killed at once.
    pub blackouts: bool,
    /// Nodes leave in good order.
    pub leaves: bool,
    /// Processes are stopped for some seconds and go on.
    pub pauses: bool,
    /// Links between two nodes are cut.
    pub cuts: bool,
    /// Links are cut in one direction.
    pub one_way_cuts: bool,
    /// One link is cut for longer than the grace time, while nothing else is broken.
    pub lone_cuts: bool,
    /// One side of the cluster is cut off from the other.
    pub partitions: bool,
    /// Links come and go quickly.
    pub flapping: bool,
    /// Workers crash.
    pub crashes: bool,
    /// Some of those that crash are gone without a word.
    pub vanishing: bool,
    /// Some names take three seconds to start.
    pub slow_starts: bool,
    /// Some names fail to start.
    pub broken_starts: bool,
    /// Names move for balance.
    pub balances: bool,
    /// Only a side with a majority of the nodes goes on.
    pub majority: bool,
    /// Names are of several worker types, with other restart and distribution strategies, and nodes are not all alike.
    pub mixed: bool,
    /// The same of strategies that may put a name on any node, and nodes are all alike.
    pub drawn: bool,
    /// Disks are lost with all that is on them.
    pub lost_disks: bool,
    /// Checkpoints wait for the node's own disk alone.
    pub local: bool,
    /// Some states are saved while nobody waits for that.
    pub aside: bool,
    /// The holders of a state are waited for until they are back, unless something else is said.
    pub patient: bool,
    /// How many peers hold each state.
    pub replicas: u8,
    /// How long they are waited for, if that is said.
    pub state_wait_ms: Option<u64>,
    /// The longest that a worker takes to stop.
    pub stop_ms: u64,
    /// What a part of a lane may weigh: few cells, so that most of what is pulled comes in parts, or all of them.
    pub part_bytes: usize,
    /// The largest chunk of a state: with few bytes most states come in chunks.
    pub chunk_bytes: usize,
    /// How much longer than eight bytes states are.
    pub padding: usize,
    /// Chunks that are not what their sender has stored, of a thousand.
    pub spoiled: u32,
    /// Nodes wait now and then for what comes next before they publish what they have stated.
    pub lingers: bool,
    /// Workers join and leave groups.
    pub groups: bool,
}

/// One seed of so many has nodes that linger.
const LINGERS: u64 = 7;

/// Of so many seeds, these have groups: none of those that once failed when there were no groups yet.
const OF: u64 = 29;
const GROUPS: [u64; 7] = [4, 10, 14, 19, 22, 26, 28];

impl Options {
    /// The options of a case.
    pub fn of(Case { seed, shape: Shape { nodes, names }, plot }: Case) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5357_4f52_4d00_0000);
        let mut one_in = |n: u32| rng.u32(0..n) == 0;
        // Cuts and pauses make two workers of a name legitimate for a while: half of the seeds do without.
        let parted = one_in(2);
        // Drawn apart: what a seed says of all else is older.
        let mut sizes = Rng::with_seed(seed ^ 0x4368_756e_6b73);
        let padding = [0, 0, 0, 40, 200][sizes.usize(0..5)];
        let options = Self {
            seed,
            plot,
            nodes,
            names,
            steps: 60,
            failing_disks: one_in(4),
            kills: one_in(2),
            blackouts: one_in(4),
            leaves: one_in(2),
            pauses: parted && one_in(3),
            cuts: parted && one_in(2),
            one_way_cuts: parted && one_in(3),
            partitions: parted && one_in(2),
            flapping: parted && one_in(4),
            crashes: one_in(2),
            slow_starts: one_in(3),
            broken_starts: one_in(3),
            balances: false,
            mixed: false,
            drawn: false,
            lost_disks: false,
            stop_ms: STOP_MS,
            lost: [0, 0, 20, 100][rng.usize(0..4)],
            repeated: [0, 0, 20, 100][rng.usize(0..4)],
            repeated_ms: 0,
            delay_ms: [1, 10, 60, 400][rng.usize(0..4)],
            clock_apart_ms: [0, 1_000, 50_000][rng.usize(0..3)],
            drift_ppm: [0, 200, 10_000][rng.usize(0..3)],
            garbage: [0, 0, 10][rng.usize(0..3)],
            sync_ms: [2, 20, 300][rng.usize(0..3)],
            // Each message that overtakes another is made up for with all that came since: dear with many names.
            in_order: rng.u32(0..if names > 100 { 8 } else { 2 }) > 0,
            part_bytes: [600, 2_000, 20_000, PART_BYTES][rng.usize(0..4)],
            chunk_bytes: if padding == 0 { CHUNK_BYTES } else { [10, 16][sizes.usize(0..2)] },
            padding,
            spoiled: [0, 0, 50][sizes.usize(0..3)],
            // No draw: what a seed says of all else is older, and so are all cases that once failed.
            lingers: seed % LINGERS == 5,
            groups: false,
            // Whoever joins over a third node takes longer than the law allows where there is much to hear.
            lone_cuts: rng.u32(0..4) == 0 && nodes > 2 && names <= 100,
            majority: rng.u32(0..5) == 0,
            vanishing: rng.bool(),
            local: rng.u32(0..8) == 0,
            aside: rng.u32(0..4) == 0,
            patient: false,
            replicas: [1, 1, 1, 0, 2, 3][sizes.usize(0..6)],
            state_wait_ms: None,
        };
        // Who asks about a node and loses each tenth word, or its answer, may miss all that is said within the grace time.
        let lone_cuts = options.lone_cuts && options.lost < 100;
        let options = options.plot.adjust(Self { lone_cuts, ..options });
        // In mode "majority" clocks may run apart by a twentieth.
        let drift_ppm = if options.majority { options.drift_ppm * MAJORITY_DRIFT } else { options.drift_ppm };
        // No draw, as above.
        let groups = plot.has_groups() && GROUPS.contains(&(seed % OF));
        Self { drift_ppm, groups, ..options }
    }

    /// No faults at all.
    pub fn none() -> Self {
        Self {
            seed: 0,
            plot: Plot::Random,
            nodes: 0,
            names: 0,
            steps: 0,
            lost: 0,
            repeated: 0,
            repeated_ms: 0,
            delay_ms: 1,
            in_order: true,
            clock_apart_ms: 0,
            drift_ppm: 0,
            garbage: 0,
            sync_ms: 2,
            failing_disks: false,
            kills: false,
            blackouts: false,
            leaves: false,
            pauses: false,
            cuts: false,
            one_way_cuts: false,
            lone_cuts: false,
            partitions: false,
            flapping: false,
            crashes: false,
            vanishing: false,
            slow_starts: false,
            broken_starts: false,
            balances: false,
            majority: false,
            mixed: false,
            drawn: false,
            lost_disks: false,
            local: false,
            aside: false,
            patient: false,
            replicas: 1,
            lingers: false,
            groups: false,
            state_wait_ms: None,
            stop_ms: STOP_MS,
            part_bytes: PART_BYTES,
            chunk_bytes: CHUNK_BYTES,
            padding: 0,
            spoiled: 0,
        }
    }

    /// Whether nodes may be in doubt about who is there, so that a name may run twice until they meet again.
    pub fn may_part(&self) -> bool {
        self.pauses || self.cuts || self.one_way_cuts || self.partitions || self.flapping
    }

    /// Whether a process ever ends without leaving.
    pub fn may_lose(&self) -> bool {
        self.kills || self.blackouts || self.failing_disks
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
