//! A process dies right before or right after each step of a move: the node that gives, the one that takes, or both.
//!
//! All 84 points are played, in several clusters at a time; `SWORM_POINTS=few` plays one of each step, which it says, and
//! `SWORM_POINT_ROUNDS=3` plays each three times. The state is small in some clusters, and in chunks in the others.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Step, eventually, program};
use tokio::time::timeout;

use super::{Adding, check};

const IDS: [&str; 3] = ["a", "b", "c"];
/// Whose state is small, and whose is in chunks.
const SMALL: &str = "worker";
const LARGE: &str = "large-worker";
/// In so many clusters each test plays at a time.
const CLUSTERS: usize = 3;
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

/// Moves the worker, which has this total, and plays a point in the midst; the total after that.
async fn play(cluster: &mut Cluster, name: &str, Point { step, before, dies }: Point, total: i64) -> i64 {
    let source = cluster["a"].find(name).await.expect("it is there").pid.node.to_string();
    let mut others: Vec<&str> = IDS.into_iter().filter(|id| *id != source).collect();
    fastrand::shuffle(&mut others);
    let adds = cluster[others[1]].clone();
    assert_eq!(adds.call(Kind::Held, name, Say::AddDurable(1)).await, Ok(total + 1));
    let total = total + 1;
    if Step::OF_CHUNKS.contains(&step) {
        // Who has a copy lacks nothing.
        let holders =
            eventually("a copy", || async { Some(adds.holders(name).await).filter(|all| all.len() == 2) }).await;
        others.sort_by_key(|id| holders.iter().any(|holder| holder == id));
    }
    let (target, other) = (others[0], cluster[others[1]].clone());

    let acting = cluster[if step.is_the_targets() { target } else { &*source }].clone();
    acting.hold(name, step, before).await;
    let moving = tokio::spawn({
        let (other, moved, target) = (other.clone(), name.to_owned(), target.to_owned());
        async move { other.move_name(&moved, &target).await }
    });
    timeout(STEP, acting.held()).await.expect("the step never came").expect("it lives");
    let adding = Adding::start(std::slice::from_ref(&other), &[(Kind::Held, name.to_owned())], Say::AddDurable(1));
    let mut dead = match dies {
        Dies::Source => vec![&*source],
        Dies::Target => vec![target],
        Dies::Both => vec![&*source, target],
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
    let _ = moving.await.expect("it does not panic");
    let added = adding.stop().await;
    let now = other.total(Kind::Held, name).await.expect("it runs");
    check(name, total, now, &added);
    for node in cluster.nodes() {
        assert_eq!(node.total(Kind::Held, name).await, Ok(now), "from {}", node.id());
    }
    assert_eq!(cluster.overlaps(), "");
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
async fn whoever_dies_while_a_state_travels_in_chunks_it_goes_on_once_with_all_that_was_acknowledged() {
    play_all(&[LARGE], &Step::OF_CHUNKS).await;
}
