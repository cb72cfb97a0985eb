//! Strategies by the names that they have: each is the one that it says, on a type and on a sworm.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{BoundedLoad, Candidate, Distribution, HashRing, LeastLoaded, LocalFirst, Random, Rendezvous};
use sworm_tests::eventually;

use super::Last;
use crate::{gone, opened, running};

/// Ends, as it is told.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "named.end")]
enum End {
    Stops,
    Crashes,
}

/// Worker types that differ in their attributes.
macro_rules! workers {
    ($($worker:ident($($attribute:tt)*)),* $(,)?) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(handles(End), $($attribute)*)]
        struct $worker;

        impl Handler<End> for $worker {
            async fn handle(&mut self, end: End, ctx: &mut Context<Self>) {
                match end {
                    End::Stops => ctx.stop(),
                    End::Crashes => panic!("told to crash"),
                }
            }
        }
    )*};
}

workers! {
    Unnamed(),
    ByRendezvous(distribution = "rendezvous"),
    ByLeastLoaded(distribution = "least-loaded"),
    ByBounded(distribution = "bounded"),
    ByRing(distribution = "ring"),
    ByRandom(distribution = "random"),
    ByLocalFirst(distribution = "local-first"),
    ByLastNode(distribution = "last-node"),
    IsPermanent(restart = "permanent"),
    IsTransient(restart = "transient"),
    IsTemporary(restart = "temporary"),
}

const NAMES: usize = 30;

/// Where names are put, one after the other, that are asked for on b.
async fn placed<W: Lifecycle + Default>(spec: SwormSpec) -> Vec<usize> {
    let all: [(Node, Sworm); 3] = opened(spec).await;
    let mut places = Vec::new();
    for n in 0..NAMES {
        let name = format!("name-{n}");
        let node = all[1].1.register_name(&name, W::default()).await.expect("free").pid().node.clone();
        // Whoever decides about the next one knows of it.
        for (_, sworm) in &all {
            running(sworm, &name).await;
        }
        places.push(all.iter().position(|(other, _)| *other.id() == node).expect("one of them"));
    }
    places
}

/// Where a strategy puts them.
fn chosen_by(strategy: &dyn Distribution) -> Vec<usize> {
    let mut all = ["a", "b", "c"].map(|id| Candidate::new(NodeId::new(id).expect("valid")));
    all[1].asked = true;
    let places = (0..NAMES).map(|n| {
        let place = strategy.choose(&format!("name-{n}"), &all);
        all[place].names += 1;
        place
    });
    places.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_distribution_strategy_that_is_named_is_the_one_that_places() {
    let by_name = |name: &'static str| SwormSpec::new("s").distribution(name);
    let mut seen: Vec<Vec<usize>> = Vec::new();
    macro_rules! places {
        ($($name:literal: $strategy:expr, $worker:ident;)*) => {$(
            let expected = chosen_by(&$strategy);
            assert_eq!(placed::<Unnamed>(by_name($name)).await, expected, "{} of a sworm", $name);
            assert_eq!(placed::<$worker>("s".into()).await, expected, "{} of a type", $name);
            assert!(!seen.contains(&expected), "{} does as another one", $name);
            seen.push(expected);
        )*};
    }
    places! {
        "rendezvous": Rendezvous, ByRendezvous;
        "least-loaded": LeastLoaded, ByLeastLoaded;
        "bounded": BoundedLoad::percent(125), ByBounded;
        "ring": HashRing::points(128), ByRing;
        "random": Random, ByRandom;
        "local-first": LocalFirst, ByLocalFirst;
        "last-node": Last, ByLastNode;
    }
}

/// Whether a worker is started again after it has ended so.
async fn again<W: Lifecycle + Default>(spec: SwormSpec, end: End) -> bool
where
    End: Request<W>,
{
    let [(_node, sworm)] = opened(spec).await;
    let worker = sworm.register_name("x", W::default()).await.expect("free");
    let before = worker.pid();
    let _ = worker.call(end).await;
    let next = || async {
        match sworm.whereis("x") {
            None => Some(false),
            Some(found) => (found.state == RegistrationState::Running && found.pid != before).then_some(true),
        }
    };
    let again = eventually("what follows", next).await;
    if !again {
        gone(&sworm, "x").await;
    }
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn each_restart_strategy_that_is_named_is_the_one_that_decides() {
    macro_rules! restarts {
        ($($name:literal: $worker:ident, $stopped:literal, $crashed:literal;)*) => {$(
            let spec = || SwormSpec::new("s").restart($name);
            assert_eq!(again::<Unnamed>(spec(), End::Stops).await, $stopped, "{} of a sworm", $name);
            assert_eq!(again::<Unnamed>(spec(), End::Crashes).await, $crashed, "{} of a sworm", $name);
            assert_eq!(again::<$worker>("s".into(), End::Stops).await, $stopped, "{} of a type", $name);
            assert_eq!(again::<$worker>("s".into(), End::Crashes).await, $crashed, "{} of a type", $name);
        )*};
    }
    restarts! {
        "permanent": IsPermanent, true, true;
        "transient": IsTransient, false, true;
        "temporary": IsTemporary, false, false;
    }
}
