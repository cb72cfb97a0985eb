//! A process dies right before or right after each step of a move: the node that gives, the one that takes, or both.
//!
//! All 96 points are played, in several clusters at a time; `SWORM_POINTS=few` plays one of each step, which it says, and
//! `SWORM_POINT_ROUNDS=3` plays each three times. The state is small in some clusters, and in chunks in the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::{Failure, Kind, Say};
use sworm_tests::{Cluster, Process, Step, eventually, program};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Adding, check};

const IDS: [&str; 3] = ["a", "b", "c"];
/// Whose state is small, and whose is in chunks.
const SMALL: &str = "worker";
const LARGE: &str = "large-worker";
/// In so many clusters each test plays at a time.
const CLUSTERS: usize = 3;
/// How often it is tried to move a state of which the receiver lacks something, or that the source is to erase.
const TRIES: usize = 20;
/// How long the source may take to erase what it had.
const ERASED: Duration = Duration::from_secs(3);
/// How long a step may take to come.
const STEP: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug)]
enum Dies {
    Source,
    Target,
    Both,
}

/// What is played.
#[derive(Clone, Copy, Debug)]
struct Point {
    step: Step,
    before: bool,
    dies: Dies,
}

/// All points of these steps, or as many as there are steps: each time others.
fn points(steps: &[Step]) -> Vec<Point> {
    let all = |step: Step| {
        let each = |dies| [true, false].map(|before| Point { step, before, dies });
        [Dies::Source, Dies::Target, Dies::Both].into_iter().flat_map(each).collect::<Vec<_>>()
    };
    if std::env::var("SWORM_POINTS").is_ok_and(|points| points == "few") {
        return steps.iter().map(|step| all(*step)[fastrand::usize(..6)]).collect();
    }
    steps.iter().copied().flat_map(all).collect()
}

/// A move that is held up.
struct HeldUp {
    source: String,
    target: String,
    other: Arc<Process>,
    acting: Arc<Process>,
    /// Unless it is over.
    moving: Option<JoinHandle<Result<Pid, Failure>>>,
}

/// Moves the worker until it is held up at this step, and adds one before each move.
#[expect(clippy::print_stdout, reason = "a test that fails says where it was")]
async fn held_up(cluster: &Cluster, name: &str, step: Step, before: bool, total: &mut i64) -> HeldUp {
    for _ in 0..TRIES {
        let source = cluster["a"].find(name).await.expect("it is there").pid.node.to_string();
        let mut others: Vec<&str> = IDS.into_iter().filter(|id| *id != source).collect();
        fastrand::shuffle(&mut others);
        *total += 1;
        assert_eq!(cluster[others[1]].call(Kind::Held, name, Say::AddDurable(1)).await, Ok(*total));
        if Step::OF_CHUNKS.contains(&step) {
            // Who has a copy lacks nothing.
            let holders = async || Some(cluster[others[1]].holders(name).await).filter(|all| all.len() == 2);
            let holders = eventually("a copy", holders).await;
            others.sort_by_key(|id| holders.iter().any(|holder| holder == id));
        }
        let (target, other) = (others[0].to_owned(), cluster[others[1]].clone());
        let acting = cluster[if step.is_the_targets() { &*target } else { &*source }].clone();
        acting.hold(name, step, before).await;
        let mut moving = tokio::spawn({
            let (other, moved, target) = (other.clone(), name.to_owned(), target.clone());
            async move { other.move_name(&moved, &target).await }
        });
        tokio::select! {
            biased;
            held = timeout(STEP, acting.held()) => {
                held.expect("the step never came").expect("it lives");
                return HeldUp { source, target, other, acting, moving: Some(moving) };
            }
            moved = &mut moving => match moved.expect("it does not panic") {
                // The others were not ready for it yet.
                Err(failure) => println!("{name}: not moved: {failure:?}"),
                // It was sent a copy meanwhile; or it is moved, and may be about to erase the state.
                Ok(_) if step.is_rare() => {}
                // That comes after it is said to be moved.
                Ok(_) => {
                    let held = timeout(STEP, acting.held()).await;
                    held.expect("the step never came").expect("it lives");
                    return HeldUp { source, target, other, acting, moving: None };
                }
            },
        }
        if step == Step::Erase && timeout(ERASED, acting.held()).await.is_ok_and(|held| held.is_ok()) {
            return HeldUp { source, target, other, acting, moving: None };
        }
        acting.let_go().await;
        cluster.all_run(1).await;
    }
    panic!("{step:?} came in none of {TRIES} moves");
}

/// Moves the worker, which has this total, and plays a point in the midst; the total after that.
async fn play(cluster: &mut Cluster, name: &str, Point { step, before, dies }: Point, mut total: i64) -> i64 {
    let HeldUp { source, target, other, acting, moving } = held_up(cluster, name, step, before, &mut total).await;
    let adding = Adding::start(std::slice::from_ref(&other), &[(Kind::Held, name.to_owned())], Say::AddDurable(1));
    let mut dead = match dies {
        Dies::Source => vec![&*source],
        Dies::Target => vec![&*target],
        Dies::Both => vec![&*source, &*target],
    };
    cluster.kill_these(&dead).await;
    if !dead.contains(&acting.id()) {
        acting.let_go().await;
    }
    fastrand::shuffle(&mut dead);
    for id in dead {
        cluster.add(id).await;
    }
    cluster.all_see_all().await;
    cluster.all_run(1).await;
    // Whether it was moved after all or not, it is over.
    if let Some(moving) = moving {
        let _ = moving.await.expect("it does not panic");
    }
    let added = adding.stop().await;
    let now = other.total(Kind::Held, name).await.expect("it runs");
    check(name, total, now, &added);
    for node in cluster.nodes() {
        assert_eq!(node.total(Kind::Held, name).await, Ok(now), "what was done was lost, from {}", node.id());
    }
    assert_eq!(cluster.overlaps(), "", "a name ran twice");
    now
}

/// Plays points one after the other.
#[expect(clippy::print_stdout, reason = "a test that fails says where it was")]
async fn play_each(name: &str, points: &[Point]) {
    let mut cluster = Cluster::start(program!(), &IDS).await;
    cluster["a"].register(Kind::Held, name, 0).await.expect("free");
    let mut total = 0;
    for point in points {
        println!("{name}: {point:?} of {total}");
        let began = Instant::now();
        total = play(&mut cluster, name, *point, total).await;
        println!("{name}: {point:?} is over after {:?}", began.elapsed());
    }
}

/// Plays the points of these steps, in several clusters: most of the time they wait.
async fn play_all(names: &[&str], steps: &[Step]) {
    let rounds = std::env::var("SWORM_POINT_ROUNDS").map_or(1, |rounds| rounds.parse().expect("a number"));
    let mut points: Vec<Point> = (0..rounds).flat_map(|_| points(steps)).collect();
    fastrand::shuffle(&mut points);
    let each = points.len().div_ceil(CLUSTERS);
    join_all(points.chunks(each).zip(names.iter().cycle()).map(|(points, name)| play_each(name, points))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_before_the_state_is_offered_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[SMALL, LARGE], &[Step::Leaving, Step::Pause, Step::Save, Step::Offer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_the_name_is_released_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[SMALL, LARGE], &[Step::Store, Step::Answer, Step::Stop, Step::Release]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_the_target_starts_it_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[SMALL, LARGE], &[Step::Take, Step::Start, Step::Run, Step::Forget]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_a_state_becomes_that_of_the_target_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[SMALL, LARGE], &Step::OF_STATES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_dies_while_a_state_travels_in_chunks_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[LARGE], &Step::OF_CHUNKS).await;
}
