//! The mutation gate: each mistake that can be planted in the library is found, by a simulated seed, by a law of
//! lanes, or by messages to workers that move.

mod copies;
mod drains;
mod groups;
mod lanes;
mod messages;
mod requests;
mod views;

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use sworm::core::fault::Fault;
use sworm_tests::sim::{Case, Plot, each, run, run_planted};

/// So many seeds at most for each fault.
const BUDGET: u64 = 3_000;
/// So many at first of each plot that is about it.
const DIRECTED: u64 = 200;
/// The same of what shows only where several rare things meet: all die right after a first checkpoint, and who holds it is not
/// back.
const DIRECTED_AT_RARE: u64 = 2_500;

/// What found a fault.
enum Found {
    Case { case: Case, violation: String },
    Law { name: &'static str, why: String },
}

/// What brings a fault to light sooner than chance does.
fn plots(fault: Fault) -> &'static [Plot] {
    match fault {
        Fault::AcceptGap | Fault::NoAntiEntropy | Fault::FoundAlone => &[Plot::EarlyAsks],
        Fault::AdoptIncomplete => &[Plot::AskedAgain],
        Fault::NoViewBarrier | Fault::EndOnSuspicion | Fault::WeakBeatsOriginal => &[Plot::LoneCut],
        Fault::LoserRunsOn | Fault::LoserUntold | Fault::RemoveAnothersCell => &[Plot::LoneCut],
        Fault::RegisterUnasked | Fault::ForgetEarly => &[Plot::BackFirst],
        Fault::NoStopWithoutMajority | Fault::TakeOverEarly | Fault::HoldersUnheard | Fault::SameViewAgain => {
            &[Plot::Minority]
        }
        Fault::ParkWithoutState | Fault::ParkUnsettled | Fault::ParkUnstored => &[Plot::Minority],
        Fault::LeaseFromReceipt | Fault::QuorumOfVisible | Fault::OneVoiceIsEnough | Fault::RestartAfterLease => {
            &[Plot::Suspended]
        }
        Fault::ClockStandsStill => &[Plot::Suspended],
        Fault::VoteWithoutStore => &[Plot::Voters],
        Fault::HeardInMemory => &[Plot::AllAnew],
        Fault::HandOnUnheard => &[Plot::DeadHeirs],
        Fault::ForgetTheAway => &[Plot::EndedAlone],
        Fault::EndedIsFree | Fault::EndedHasStopped => &[Plot::SlowEnds],
        Fault::BanOneBirth => &[Plot::TwoBirths],
        Fault::DropBans | Fault::AckBeforeDurable => &[Plot::Blackouts],
        Fault::DropEarlier => &[Plot::DiesTwice],
        Fault::DownHostClaims | Fault::HiddenIsFree | Fault::RestartBystanders => &[Plot::Failover],
        Fault::StartsInOrder => &[Plot::SlowStarts],
        Fault::TakeAnyGrant => &[Plot::QuickEnds],
        Fault::DropDiverged => &[Plot::Suspended, Plot::Minority],
        Fault::ReleasedIsOrphan | Fault::ReleaseUnheld | Fault::TombstoneFirst => &[Plot::Handovers],
        Fault::TakenBackUnseen => &[Plot::LostNews],
        Fault::SeenTimeStands => &[Plot::MovesInCut],
        Fault::ForgetRestarts | Fault::VanishedUnnoticed => &[Plot::Crashes],
        Fault::BalanceFirst | Fault::BalanceWhileStarting => &[Plot::Losses],
        Fault::RoundUpShares | Fault::BalanceAllAtOnce | Fault::FlapsUndamped | Fault::LevelAll => &[Plot::Joins],
        Fault::RestoreWithoutAsking | Fault::ReplyBeforeReplica => &[Plot::OneByOne],
        Fault::ReplyBeforeSync => &[Plot::AllAlone],
        Fault::RestoreFirstCome => &[Plot::MembersInCut],
        Fault::OlderAtOnce => &[Plot::LateHolders],
        Fault::KeepOlder => &[Plot::SecondNode],
        Fault::CountEmptyHolders => &[Plot::LostCopies],
        Fault::NoMargin => &[Plot::SlowStops],
        Fault::NamelessUnnoticed | Fault::WorkerlessUnnoticed => &[Plot::LostNames],
        Fault::OneStart => &[Plot::LaterStarts],
        Fault::OneStrategy | Fault::PlaceAnywhere => &[Plot::Mixed],
        Fault::AbandonedComesBack | Fault::EndsAlone => &[Plot::AskedAgain],
        Fault::GroupsForgotten => &[Plot::Moves, Plot::OneByOne],
        Fault::FailsAlone => &[Plot::FailedStarts],
        _ => &[],
    }
}

/// The first case that fails with the fault planted, and does not without, and how many were run.
fn by_case(fault: Fault) -> (Option<Found>, u64) {
    let (found, ran) = (Mutex::new(None), AtomicU64::new(0));
    let plots = plots(fault);
    let is_rare = matches!(fault, Fault::HeardInMemory | Fault::AbandonedComesBack | Fault::EndsAlone);
    let each_plot = if is_rare { DIRECTED_AT_RARE } else { DIRECTED };
    let directed = each_plot * plots.len() as u64;
    each(0..BUDGET, |number| {
        let case = match number.checked_sub(directed) {
            Some(seed) => Case::small(seed),
            None => Case::playing(plots[number as usize % plots.len()], number / plots.len() as u64),
        };
        ran.fetch_add(1, Relaxed);
        let Some(violation) = run_planted(case, false, fault).violation else {
            return ControlFlow::Continue(());
        };
        if run(case, false).violation.is_some() {
            return ControlFlow::Continue(());
        }
        found.lock().expect("nobody panics with it").get_or_insert(Found::Case { case, violation });
        ControlFlow::Break(())
    });
    (found.into_inner().expect("nobody panics with it"), ran.into_inner())
}

fn by_law(fault: Fault) -> Option<Found> {
    // The simulator knows no messages to workers.
    let laws = match fault {
        Fault::ForwardTwice => messages::LAWS,
        Fault::RegroupAgain => groups::LAWS,
        Fault::AgreedBefore => views::LAWS,
        Fault::AnyAttempt => requests::LAWS,
        Fault::DrainedThoughParked => drains::LAWS,
        Fault::DeleteBeforeProof
        | Fault::DropPromisedCopy
        | Fault::KeepAnothers
        | Fault::LoserIsLater
        | Fault::CountDoubtful
        | Fault::NotGivenIsGiven => copies::LAWS,
        _ => lanes::LAWS,
    };
    laws.iter().find_map(|(name, law)| {
        sworm::core::fault::plant(Some(fault));
        let broken = law().err();
        sworm::core::fault::plant(None);
        broken.map(|why| Found::Law { name, why })
    })
}

#[test]
#[cfg_attr(debug_assertions, ignore = "a debug build takes an hour: .ci/run runs it in release")]
#[expect(clippy::print_stdout, reason = "the table is worth a look when all were found, too")]
fn every_fault_that_is_planted_is_found() {
    let (mut table, mut missed) = (String::new(), Vec::new());
    for fault in Fault::ALL {
        let began = Instant::now();
        let (found, after) = match by_law(*fault) {
            Some(found) => (Some(found), 0),
            None => by_case(*fault),
        };
        let what = match &found {
            None => "NOT FOUND".to_owned(),
            Some(Found::Case { case, violation }) => format!("{:?} {}: {violation}", case.plot, case.seed),
            Some(Found::Law { name, why }) => format!("{name}: {why}"),
        };
        let what: String = what.lines().next().unwrap_or_default().chars().take(140).collect();
        let took = began.elapsed().as_secs_f32();
        writeln!(table, "{:24} {after:5} seeds {took:5.1} s  {what}", fault.name()).expect("to memory");
        if found.is_none() {
            missed.push(fault.name());
        }
    }
    println!("{table}");
    assert!(missed.is_empty(), "{missed:?} of these were not found:\n{table}");
}
