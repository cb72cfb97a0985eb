//! Cases that once failed, each with what was wrong.

use super::plots::Plot;
use super::run::Case;

/// Each case with why it failed.
pub const REGRESSIONS: &[(Case, &str)] = &[
    (Case::playing(Plot::Random, 262), "an acknowledged count was forgotten by the node that a worker moved to"),
    (Case::playing(Plot::Random, 353), "a name ran on two nodes at once without a cut"),
    (Case::playing(Plot::Random, 612), "a node looked a name up as its own that it did not run"),
    (Case::playing(Plot::Random, 723), "a name ran on two nodes at once without a cut"),
    (Case::playing(Plot::Random, 759), "a look-up named a host that did not run the name"),
    (Case::playing(Plot::Random, 788), "a name started below an epoch at which it had run"),
    (Case::playing(Plot::Random, 991), "a lane that had ended was held for ever"),
    (Case::playing(Plot::Random, 1_133), "a name started below an epoch at which it had run"),
    (Case::playing(Plot::Random, 1_341), "one name was given away twice"),
    (Case::playing(Plot::Random, 1_393), "an acknowledged count was not in the state that a name started from"),
    (Case::playing(Plot::Random, 1_400), "a name started below an epoch at which it had run"),
    (Case::playing(Plot::Random, 1_446), "a lane that had ended was held for ever"),
    (Case::playing(Plot::SlowEnds, 9), "a name was given away again while its former worker still stopped"),
    (Case::playing(Plot::SlowLosers, 2), "a name was lost whose winner had ended before its loser had stopped"),
    (Case::playing(Plot::Minority, 3), "a view came back, and what was decided in between was not pulled"),
    (Case::playing(Plot::Suspended, 1), "a node that was stopped took heartbeats for young that had waited for it"),
    (
        Case::playing(Plot::Suspended, 16),
        "a worker counted as running that had been stopped in the middle of its start",
    ),
    (Case::playing(Plot::MembersInCut, 1_289), "a name was handed on, and free to those who had not heard to whom"),
    (Case::playing(Plot::Crashes, 5_517), "a name was released to a node that took an older release for this one"),
    (Case::playing(Plot::MovesInCut, 20), "a released name started on its receiver while another node had adopted it"),
    (
        Case::playing(Plot::MovesInCut, 94),
        "a state that was being parked was given up since its worker had lost a conflict",
    ),
    (
        Case::playing(Plot::MovesInCut, 26),
        "a worker that was parked outranked one that had taken over, since the clock of its node was ahead",
    ),
    (Case::playing(Plot::Joins, 71), "a node that joined was given one name too many by a later plan"),
    (Case::playing(Plot::Mixed, 413), "a registration was refused by a node that was dead, and carried out by another"),
    (
        Case::playing(Plot::HandoffKills, 4685),
        "a worker that was handed over was acknowledged before anybody else knew who holds its state",
    ),
    (
        Case::playing(Plot::AllAnew, 13_867),
        "all died when who holds a state was known to others in memory only, and an older one was taken for the newest",
    ),
    (
        Case::playing(Plot::AskedAgain, 1_017),
        "what was granted to a node that died before it answered came back in the place of what was registered since",
    ),
    (
        Case::playing(Plot::AskedAgain, 1_780),
        "what one node alone had refused came back while it was down, with the disk of another one that was just joining",
    ),
    (Case::playing(Plot::MovesInCut, 35), "a request was refused that somebody had carried out who was not heard"),
    (Case::playing(Plot::Suspended, 102), "a worker that ended when the lease did was started again on its own node"),
    (
        Case::playing(Plot::FailedStarts, 17),
        "a registration whose first start had failed ran after all had lost power, since nobody had that on its disk",
    ),
    (
        Case::playing(Plot::FailedStarts, 41),
        "a registration was refused whose second start had failed, and ran where the first had been when that node was back",
    ),
];
