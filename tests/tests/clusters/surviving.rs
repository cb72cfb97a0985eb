//! What is left of a worker's state with each setting, when it crashes, when its node is killed, and when all are: the table
//! in the library's documentation, a line each.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

/// What every worker is registered with, on node b.
const VALUE: i64 = 1_000;
const REGISTERED: RangeInclusive<i64> = VALUE..=VALUE;

/// What is done to a worker before something happens to it.
#[derive(Clone, Copy)]
enum Step {
    Say(Say),
    /// It is waited for that a saved state is on two nodes.
    IsHeld,
    /// It moves to node c and back.
    Moves,
    /// That has taken less time than passes until its state is saved by itself: else it is tried anew.
    WithinPeriod,
}
use Step::{IsHeld, Moves, WithinPeriod};

/// The period of `Kind::Paced`.
const PERIOD: Duration = Duration::from_secs(5);

/// A setting, what its worker is told, and the totals that may be left then.
struct Setting {
    name: &'static str,
    kind: Kind,
    steps: &'static [Step],
    crash: RangeInclusive<i64>,
    node: RangeInclusive<i64>,
    all: RangeInclusive<i64>,
}

const ADD: Step = Step::Say(Say::Add(10));
const SAVE: Step = Step::Say(Say::AddDurable(100));
/// Added at last.
const ONE: Step = Step::Say(Say::Add(1));
const SAVE_ONE: Step = Step::Say(Say::AddDurable(1));
const FIVE: [Step; 5] = [Step::Say(Say::Add(2)); 5];

const SETTINGS: [Setting; 10] = [
    Setting {
        name: "none",
        kind: Kind::NoHandoff,
        steps: &[ADD, ONE],
        crash: REGISTERED,
        node: REGISTERED,
        all: REGISTERED,
    },
    Setting {
        name: "handoff",
        kind: Kind::Counter,
        steps: &[ADD, ONE],
        crash: REGISTERED,
        node: REGISTERED,
        all: REGISTERED,
    },
    Setting {
        name: "handoff, moved",
        kind: Kind::Counter,
        steps: &[ADD, Moves, IsHeld, ONE],
        crash: REGISTERED,
        node: 1_010..=1_010,
        all: 1_010..=1_010,
    },
    Setting {
        name: "handoff and checkpoints",
        kind: Kind::Counter,
        steps: &[ADD, SAVE, ONE],
        crash: 1_110..=1_110,
        node: 1_110..=1_110,
        all: 1_110..=1_110,
    },
    Setting {
        name: "two replicas and checkpoints",
        kind: Kind::TwoReplicas,
        steps: &[ADD, SAVE, ONE],
        crash: 1_110..=1_110,
        node: 1_110..=1_110,
        all: 1_110..=1_110,
    },
    // What came after the saved state may be saved by then, or not.
    Setting {
        name: "snapshot = 5s",
        kind: Kind::Paced,
        steps: &[ADD, WithinPeriod, IsHeld, ONE],
        crash: 1_010..=1_011,
        node: 1_010..=1_011,
        all: 1_010..=1_011,
    },
    Setting {
        name: "every = 5",
        kind: Kind::EveryFive,
        steps: &[FIVE[0], FIVE[1], FIVE[2], FIVE[3], FIVE[4], IsHeld, ONE],
        crash: 1_010..=1_010,
        node: 1_010..=1_010,
        all: 1_010..=1_010,
    },
    Setting {
        name: "each",
        kind: Kind::Each,
        steps: &[ADD, ONE],
        crash: 1_011..=1_011,
        node: 1_011..=1_011,
        all: 1_011..=1_011,
    },
    Setting {
        name: "each, local",
        kind: Kind::EachLocal,
        steps: &[ADD, IsHeld, ONE],
        crash: 1_011..=1_011,
        node: 1_010..=1_011,
        all: 1_011..=1_011,
    },
    Setting {
        name: "checkpoints, local",
        kind: Kind::Local,
        steps: &[ADD, SAVE, IsHeld, SAVE_ONE],
        crash: 1_111..=1_111,
        node: 1_110..=1_111,
        all: 1_111..=1_111,
    },
];

impl Setting {
    /// Starts a worker and tells it what it is told. Gives its name.
    async fn prepared(&self, a: &Process) -> String {
        for again in 0..10 {
            let name = format!("{} {again}", self.name);
            if self.is_prepared(a, &name).await {
                return name;
            }
        }
        panic!("{}: it takes longer and longer", self.name);
    }

    async fn is_prepared(&self, a: &Process, name: &str) -> bool {
        let began = Instant::now();
        a.register_on(self.kind, name, VALUE, "b").await.expect("free");
        let mut total = VALUE;
        for step in self.steps {
            match step {
                Step::Say(say) => {
                    if let Say::Add(n) | Say::AddDurable(n) = say {
                        total += n;
                    }
                    assert_eq!(a.call(self.kind, name, *say).await, Ok(total), "{name}: {say:?}");
                }
                IsHeld => {
                    eventually("two holders", || async { (a.holders(name).await.len() == 2).then_some(()) }).await
                }
                Moves => {
                    for to in ["c", "b"] {
                        a.move_name(name, to).await.expect("it moves");
                    }
                }
                WithinPeriod => {
                    if began.elapsed() >= PERIOD {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// What is left of it, asked from that node.
    async fn left(&self, a: &Process, name: &str, expected: &RangeInclusive<i64>) {
        let total = a.total(self.kind, name).await.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert!(expected.contains(&total), "{name} is not exact: {total} is left, and not {expected:?}");
    }
}

async fn prepared() -> (Cluster, Vec<String>) {
    let cluster = Cluster::new(program!()).patient().started(&["a", "b", "c"]).await;
    let a = cluster["a"].clone();
    let names = join_all(SETTINGS.iter().map(|setting| setting.prepared(&a))).await;
    (cluster, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_crashes_goes_on_from_what_its_setting_has_kept() {
    let (cluster, names) = prepared().await;
    let a = &cluster["a"];
    for (setting, name) in SETTINGS.iter().zip(&names) {
        let before = a.find(name).await.expect("it runs");
        a.call(setting.kind, name, Say::Crash).await.expect_err("it crashes");
        setting.left(a, name, &setting.crash).await;
        let after = eventually("its restart", || async {
            a.find(name).await.filter(|after| after.pid.epoch > before.pid.epoch)
        });
        assert_eq!(after.await.pid.node.as_str(), "b", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_a_killed_node_go_on_from_what_their_settings_have_kept_elsewhere() {
    let (mut cluster, names) = prepared().await;
    let a = cluster["a"].clone();
    cluster.kill("b").await;
    for (setting, name) in SETTINGS.iter().zip(&names) {
        setting.left(&a, name, &setting.node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_a_killed_cluster_go_on_from_what_their_settings_have_kept() {
    let (mut cluster, names) = prepared().await;
    cluster.kill_all().await;
    cluster.add_all(&["c", "b", "a"]).await;
    for (setting, name) in SETTINGS.iter().zip(&names) {
        setting.left(&cluster["a"], name, &setting.all).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_with_two_replicas_survives_kill_9_of_two_of_its_holders_at_once() {
    let mut cluster = Cluster::start(program!(), &["a", "b", "c", "d"]).await;
    let a = cluster["a"].clone();
    let kind = Kind::TwoReplicas;
    let names: Vec<String> = (0..24).map(|n| format!("worker-{n}")).collect();
    let prepared = (1..).zip(&names).map(|(n, name)| {
        let a = &a;
        async move {
            a.register_on(kind, name, 0, if n % 2 == 0 { "b" } else { "c" }).await.expect("free");
            for round in 1..=3 {
                assert_eq!(a.call(kind, name, Say::AddDurable(n)).await, Ok(n * round));
            }
            // On top of that, in memory only.
            assert_eq!(a.call(kind, name, Say::Add(1_000)).await, Ok(n * 3 + 1_000));
            let three = || async { Some(a.holders(name).await).filter(|holders| holders.len() == 3) };
            eventually("three holders", three).await
        }
    });
    let holders = join_all(prepared).await;
    let both = |of: &&Vec<String>| ["b", "c"].iter().all(|node| of.iter().any(|holder| holder == node));
    assert!(holders.iter().filter(both).count() > 4, "of few names are both among the holders: {holders:?}");
    cluster.kill_these(&["b", "c"]).await;
    for (n, name) in (1..).zip(&names) {
        assert_eq!(a.total(kind, name).await, Ok(n * 3), "{name} is not exact: it goes on from its checkpoint");
        let found = a.find(name).await.expect("it runs");
        assert!(["a", "d"].contains(&found.pid.node.as_str()), "{name} runs on {}", found.pid);
    }
}
