//! Plots: what seldom comes about by chance is brought about on purpose, each time a little differently.

use super::options::Options;
use super::run::Shape;
use super::world::World;

mod common;
mod crashes;
mod cuts;
mod deaths;
mod handoff;
mod majority;
mod moves;
mod names;
mod repairs;

/// Of so many seeds, these draw the strategies of each name.
const OF: u64 = 7;
const DRAWN: [u64; 2] = [0, 5];

/// What happens in the phase with faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Anything.
    Random,
    /// Nodes are asked as soon as they start, also those that nobody knows yet.
    EarlyAsks,
    /// Nodes die right after they were asked, and the others are asked the same.
    AskedAgain,
    /// One node dies; its names start elsewhere, and nothing else is disturbed.
    Failover,
    /// One node is cut off for a while; what runs on the others is not disturbed.
    LoneCut,
    /// A name is registered on both sides of a cut, and ended before both have met.
    TwoBirths,
    /// Everything is killed as soon as something was acknowledged.
    Blackouts,
    /// The only node is killed as soon as a state was acknowledged.
    AllAlone,
    /// Names are ended whose hosts are down.
    EndsOfTheDown,
    /// Names are registered and ended in quick succession.
    QuickEnds,
    /// A second node joins while states are saved; then the first dies.
    SecondNode,
    /// Nodes leave and come back while names count without saving.
    Handovers,
    /// Nodes die one at a time, in time for the copies that were lost to be made up for.
    OneByOne,
    /// Some names take long to start, the others do not.
    SlowStarts,
    /// A node leaves, and one that has taken its names over dies before all have heard of that.
    DeadHeirs,
    /// A node that was down for long comes back first, and is asked for what the others had.
    BackFirst,
    /// A node dies before the others have heard all that it said, comes back, and dies again.
    Unheard,
    /// Names are ended whose workers stop slowly, and are asked for again while nodes come and go.
    SlowEnds,
    /// A cut has healed, and while those who lost stop slowly the nodes of those who won are started anew.
    SlowLosers,
    /// One is left, of which one incarnation after the other dies, before another comes back.
    DiesTwice,
    /// A node leaves while news of it is lost, and all its names are asked for.
    LostNews,
    /// All leave but one, which ends what is left, and comes back after the others.
    EndedAlone,
    /// Names are moved by hand, and nodes are emptied and take part again, while others die.
    Moves,
    /// In mode "majority": names are asked for, for a while or in vain, before the last of the voters is there.
    Founding,
    /// In mode "majority": a node is cut off for a while, in one direction or both, and others may die.
    Minority,
    /// In mode "majority": nodes join and leave while one of them is cut off.
    MembersInCut,
    /// In mode "majority": nodes are stopped, and go on long after their leases have ended.
    Suspended,
    /// In mode "majority": a node loses its store while others are cut off.
    LostStores,
    /// In mode "majority": a voter is taken away that is cut off, another one loses its store, and those two meet.
    Voters,
    /// In mode "majority": all die, and come back one after the other.
    AllAnew,
    /// A name moves, and its source, its target or both die right before or after one step of that.
    HandoffKills,
    /// A node joins, perhaps after some tries, and gets its share.
    Joins,
    /// In mode "majority": names move and nodes are emptied while one is cut off or stands still.
    MovesInCut,
    /// Two of three nodes die at once and another one joins: what is lost comes before any balance.
    Losses,
    /// Workers crash or are gone without a word, and move in between.
    Crashes,
    /// Two of three nodes die at once, and the one that is back first has lost its disk.
    LostCopies,
    /// Anything, with workers of several types, which have other restart and distribution strategies.
    Mixed,
    /// Workers lose their names, and names their workers, and get them back.
    LostNames,
    /// What ran on a node that is gone cannot be started for a while.
    LaterStarts,
    /// In mode "majority": a node whose clock is slow is cut off, and its workers take all the time to stop that they have.
    SlowStops,
    /// Nodes that hold states take nothing in and answer late, and those die on which the workers ran.
    LateHolders,
    /// What is asked for cannot be started, and all lose their power when that has been said; by then it could be.
    FailedStarts,
}

impl Plot {
    /// All but what is random.
    pub const ALL: [Self; 41] = [
        Self::EarlyAsks,
        Self::AskedAgain,
        Self::Failover,
        Self::LoneCut,
        Self::TwoBirths,
        Self::Blackouts,
        Self::AllAlone,
        Self::EndsOfTheDown,
        Self::QuickEnds,
        Self::SecondNode,
        Self::Handovers,
        Self::OneByOne,
        Self::SlowStarts,
        Self::DeadHeirs,
        Self::BackFirst,
        Self::Unheard,
        Self::SlowEnds,
        Self::SlowLosers,
        Self::DiesTwice,
        Self::LostNews,
        Self::EndedAlone,
        Self::Moves,
        Self::HandoffKills,
        Self::Joins,
        Self::Founding,
        Self::Minority,
        Self::MembersInCut,
        Self::Suspended,
        Self::LostStores,
        Self::Voters,
        Self::AllAnew,
        Self::MovesInCut,
        Self::Losses,
        Self::Crashes,
        Self::LostCopies,
        Self::Mixed,
        Self::LostNames,
        Self::LaterStarts,
        Self::SlowStops,
        Self::LateHolders,
        Self::FailedStarts,
    ];

    /// How many turns there are, one after the other. The last two of all plots share one with [`Self::LostCopies`] and
    /// [`Self::LaterStarts`].
    const TURNS: u64 = Self::ALL.len() as u64 - 2;

    /// Of one plot the seeds are so far apart.
    pub(super) const APART: u64 = 2 * Self::TURNS;

    /// The plot of a seed: every other small one has one.
    pub(super) fn of(seed: u64, Shape { nodes, names }: Shape) -> Self {
        if seed.is_multiple_of(2) || nodes < 3 || names > 100 {
            return Self::Random;
        }
        let (round, turn) = (seed / Self::APART, seed / 2 % Self::TURNS);
        match Self::ALL[usize::try_from(turn).expect("small")] {
            Self::LostCopies if round % 2 == 1 => Self::LateHolders,
            Self::LaterStarts if round % 2 == 1 => Self::FailedStarts,
            plot => plot,
        }
    }

    /// Whether strategies may be others than the usual ones in it.
    fn draws(self) -> bool {
        matches!(
            self,
            Self::Moves | Self::Losses | Self::Minority | Self::MembersInCut | Self::Suspended | Self::MovesInCut
        )
    }

    /// Whether workers may join and leave groups in it: what counts or moves, and is started elsewhere or again. Not where a step
    /// of a move is waited for that comes only when nobody has anything new to say of the name.
    pub(super) fn has_groups(self) -> bool {
        !matches!(
            self,
            Self::EarlyAsks
                | Self::AskedAgain
                | Self::LoneCut
                | Self::TwoBirths
                | Self::EndsOfTheDown
                | Self::QuickEnds
                | Self::SlowStarts
                | Self::SlowEnds
                | Self::SlowLosers
                | Self::EndedAlone
                | Self::Founding
                | Self::LostStores
                | Self::Voters
                | Self::LostNames
                | Self::LaterStarts
                | Self::SlowStops
                | Self::LateHolders
                | Self::FailedStarts
                | Self::HandoffKills
        )
    }

    /// The faults that it is about, and none of the others; links and disks stay as bad as the seed says, if it allows.
    pub(super) fn adjust(self, seeded: Options) -> Options {
        let (lost, delay_ms) = (seeded.lost, seeded.delay_ms);
        let mut o = Options {
            lost,
            delay_ms,
            seed: seeded.seed,
            plot: self,
            nodes: seeded.nodes,
            names: seeded.names,
            repeated: seeded.repeated,
            in_order: seeded.in_order,
            clock_apart_ms: seeded.clock_apart_ms,
            drift_ppm: seeded.drift_ppm,
            garbage: seeded.garbage,
            sync_ms: seeded.sync_ms,
            part_bytes: seeded.part_bytes,
            chunk_bytes: seeded.chunk_bytes,
            padding: seeded.padding,
            spoiled: seeded.spoiled,
            replicas: seeded.replicas,
            ..Options::none()
        };
        if self.draws() && DRAWN.contains(&(seeded.seed % OF)) {
            (o.drawn, o.crashes) = (true, true);
        }
        match self {
            Self::Random => return seeded,
            Self::Mixed => return Options { mixed: true, crashes: true, ..seeded },
            Self::EarlyAsks => {}
            Self::Failover | Self::EndsOfTheDown | Self::OneByOne | Self::BackFirst => o.kills = true,
            Self::AskedAgain => {
                (o.kills, o.in_order, o.lost, o.delay_ms) = (true, false, lost.max(100), delay_ms.max(60))
            }
            Self::Blackouts | Self::FailedStarts => (o.kills, o.sync_ms) = (true, 1_000),
            Self::AllAlone => (o.kills, o.sync_ms) = (true, 300),
            Self::DeadHeirs => {
                (o.kills, o.leaves, o.lost, o.garbage) = (true, true, 80, 0);
                o.delay_ms = delay_ms.max(60);
            }
            Self::Unheard => (o.kills, o.lost, o.sync_ms) = (true, 300, 2),
            Self::DiesTwice => (o.kills, o.leaves, o.lost, o.garbage) = (true, true, 0, 0),
            Self::LostNews => (o.leaves, o.lost, o.garbage, o.delay_ms) = (true, 250, 0, delay_ms.min(60)),
            Self::EndedAlone => (o.kills, o.leaves) = (true, true),
            // What is lost is asked for, or said, again; too much of it, and time is over first.
            Self::Moves => (o.kills, o.lost) = (seeded.kills, lost.min(20)),
            // Each fourth seed with workers whose newest states are waited for.
            Self::HandoffKills => {
                (o.kills, o.lost, o.patient) = (true, lost.min(20), o.seed.is_multiple_of(4));
                if handoff::is_of_chunks(o.seed) {
                    (o.padding, o.chunk_bytes, o.replicas) = (200, 16, 1);
                } else if handoff::is_erased(o.seed) {
                    o.replicas = 1;
                }
            }
            // In every other one it comes and goes, and there are more names than may go at a time.
            Self::Joins => {
                (o.kills, o.balances, o.lost, o.garbage) = (true, true, 0, 0);
                o.names = if o.seed.is_multiple_of(2) { o.names.max(60) } else { o.names };
            }
            Self::Minority => {
                (o.majority, o.cuts, o.one_way_cuts, o.kills) = (true, true, true, seeded.kills);
                o.stop_ms = if seeded.leaves { 2_500 } else { o.stop_ms };
            }
            Self::MembersInCut => {
                (o.majority, o.cuts, o.one_way_cuts, o.leaves, o.kills) = (true, true, true, true, seeded.kills);
            }
            Self::Founding => o.majority = true,
            Self::Suspended => (o.majority, o.pauses, o.one_way_cuts) = (true, true, true),
            Self::LostStores => {
                (o.majority, o.cuts, o.one_way_cuts, o.kills, o.lost_disks) = (true, true, true, true, true)
            }
            Self::Voters => {
                (o.majority, o.cuts, o.one_way_cuts, o.kills, o.lost_disks) = (true, true, true, true, true)
            }
            Self::AllAnew => (o.majority, o.kills, o.blackouts) = (true, true, true),
            Self::MovesInCut => {
                (o.majority, o.cuts, o.one_way_cuts, o.pauses, o.kills) = (true, true, true, true, seeded.kills);
                o.stop_ms = if seeded.leaves { 2_500 } else { o.stop_ms };
            }
            Self::Losses => (o.kills, o.balances, o.lost, o.garbage) = (true, true, 0, 0),
            // The times of restarts are those of clocks.
            Self::Crashes => {
                (o.crashes, o.vanishing, o.clock_apart_ms, o.drift_ppm) = (true, true, 0, 0);
                (o.lost, o.garbage, o.delay_ms, o.sync_ms) = (0, 0, 10, 20);
            }
            // What both have is lost unless it is waited for the other one.
            Self::LostCopies => {
                (o.kills, o.patient, o.aside, o.lost, o.garbage) = (true, seeded.kills, false, 0, 0);
                o.replicas = seeded.replicas.max(1);
            }
            Self::LostNames => {}
            Self::LateHolders => {
                (o.kills, o.lost, o.garbage, o.delay_ms) = (true, 0, 0, delay_ms.max(300));
                o.replicas = seeded.replicas.max(1);
            }
            Self::LaterStarts => (o.kills, o.leaves, o.lost, o.garbage) = (true, true, 0, 0),
            // A process whose workers did not stop in time is aborted.
            Self::SlowStops => {
                (o.majority, o.kills, o.cuts, o.one_way_cuts) = (true, true, true, true);
                (o.stop_ms, o.drift_ppm, o.delay_ms) = (4_000, 10_000, delay_ms.min(10));
            }
            Self::SlowEnds => (o.kills, o.stop_ms) = (true, 3_000),
            Self::SlowLosers => (o.kills, o.cuts, o.stop_ms) = (true, true, 4_000),
            // A copy that is lost on its way is made up for when the view changes.
            Self::SecondNode => (o.kills, o.lost, o.garbage) = (true, 0, 0),
            Self::LoneCut => o.cuts = true,
            Self::TwoBirths => (o.cuts, o.kills) = (true, true),
            Self::QuickEnds => (o.repeated, o.repeated_ms, o.in_order) = (300, 2_000, false),
            // Whoever loses the last words of one that leaves does not know of its states.
            Self::Handovers => (o.leaves, o.lost, o.garbage) = (true, 0, 0),
            Self::SlowStarts => {
                (o.slow_starts, o.lost, o.garbage, o.delay_ms) = (true, 0, 0, delay_ms.min(60));
            }
        }
        o
    }

    pub(super) fn play(self, world: &mut World) {
        match self {
            Self::Random | Self::Mixed => unreachable!("the script plays it"),
            Self::EarlyAsks => world.early_asks(),
            Self::AskedAgain => world.asked_again(),
            Self::Failover => world.failover(),
            Self::LoneCut => world.lone_cut(),
            Self::TwoBirths => world.two_births(),
            Self::Blackouts => world.blackouts(),
            Self::AllAlone => world.all_alone(),
            Self::EndsOfTheDown => world.ends_of_the_down(),
            Self::QuickEnds => world.quick_ends(),
            Self::SecondNode => world.second_node(),
            Self::Handovers => world.handovers(),
            Self::OneByOne => world.one_by_one(),
            Self::SlowStarts => world.slow_ones(),
            Self::DeadHeirs => world.dead_heirs(),
            Self::BackFirst => world.back_first(),
            Self::Unheard => world.unheard(),
            Self::SlowEnds => world.slow_ends(),
            Self::SlowLosers => world.slow_losers(),
            Self::DiesTwice => world.dies_twice(),
            Self::LostNews => world.lost_news(),
            Self::EndedAlone => world.ended_alone(),
            Self::Moves => world.moves(),
            Self::HandoffKills => world.handoff_kills(),
            Self::Joins => world.joins(),
            Self::Founding => world.founding(),
            Self::Minority => world.minority(),
            Self::MembersInCut => world.members_in_a_cut(),
            Self::Suspended => world.suspended(),
            Self::LostStores => world.lost_stores(),
            Self::Voters => world.voters(),
            Self::AllAnew => world.all_anew(),
            Self::MovesInCut => world.moves_in_a_cut(),
            Self::Losses => world.losses(),
            Self::Crashes => world.crashes(),
            Self::LostCopies => world.lost_copies(),
            Self::LostNames => {
                world.lost_names();
                world.lost_workers();
            }
            Self::LaterStarts => world.later_starts(),
            Self::SlowStops => world.slow_stops(),
            Self::LateHolders => world.late_holders(),
            Self::FailedStarts => world.failed_starts(),
        }
    }
}
