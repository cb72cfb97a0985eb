//! Some nodes that vote, with workers that count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sworm_tests::protocol::{Digest, Failure, Kind, Majority, Say};
use sworm_tests::relay::{Network, Way};
use sworm_tests::{Cluster, Process, Registering, eventually, eventually_within, program};

/// The lease of a sworm that does not say otherwise. On a busy machine the shortest one may end by itself.
pub(crate) const LEASE_MS: u64 = 3_000;
/// How long a node is silent before its names start elsewhere, and somewhat more.
pub(crate) const SILENCE: Duration = Duration::from_millis(11_000);
/// How many names are registered on each node.
const EACH: usize = 4;
/// How long a call may take.
const CALL_MS: Option<u64> = Some(5_000);
/// How long a registration may wait that is expected to be refused.
const REFUSAL_MS: Option<u64> = Some(1_000);
/// Silence, a name's wait for its newest state, and a slow machine.
const RUN: Duration = Duration::from_secs(90);

/// The nodes, and what was acknowledged.
pub(crate) struct Voters {
    pub(crate) cluster: Cluster,
    pub(crate) network: Network,
    ids: Vec<&'static str>,
    counted: BTreeMap<String, Counted>,
    refusals: usize,
}

/// What is known of a worker's total.
#[derive(Debug, Default)]
struct Counted {
    /// The totals that were answered.
    answered: BTreeSet<i64>,
    /// How many additions have an unknown outcome.
    unknown: i64,
}

impl Counted {
    fn may_be(&self, total: i64) -> bool {
        let least = i64::try_from(self.answered.len()).expect("few");
        let known = self.answered.last().copied().unwrap_or(0).max(least);
        (known..=least + self.unknown).contains(&total)
    }
}

impl Voters {
    /// Nodes of which none has started.
    pub(crate) async fn new(ids: &[&'static str], lease_ms: u64) -> Self {
        let majority = Majority { expect_nodes: ids.len(), lease_ms };
        let cluster = Cluster::new(program!()).as_strangers().in_majority(majority);
        let network = Network::new(cluster.host(), ids).await;
        Self { cluster, network, ids: ids.to_vec(), counted: BTreeMap::new(), refusals: 0 }
    }

    /// Nodes with some workers on each, all of which have counted.
    pub(crate) async fn founded(ids: &[&'static str], lease_ms: u64) -> Self {
        let mut voters = Self::new(ids, lease_ms).await;
        voters.start(ids).await;
        voters.cluster.all_see_all().await;
        let names: Vec<_> = ids.iter().flat_map(|id| (0..EACH).map(move |n| (format!("{id}-{n}"), *id))).collect();
        join_all(names.iter().map(|(name, on)| voters.register(name, on))).await;
        voters.counted = names.into_iter().map(|(name, _)| (name, Counted::default())).collect();
        voters.all_run(ids).await;
        for id in ids {
            let some = || async { (!voters.node(id).living().await.is_empty()).then_some(()) };
            eventually(&format!("some running on {id}"), some).await;
            voters.add(id).await;
        }
        voters
    }

    pub(crate) fn node(&self, id: &str) -> &Arc<Process> {
        &self.cluster[id]
    }

    /// Starts these nodes, again if they were there before.
    pub(crate) async fn start(&mut self, ids: &[&str]) {
        let mut specs = Vec::new();
        for id in ids {
            specs.push(self.network.connect(self.cluster.spec(id)).await);
        }
        self.cluster.launch_all(&specs).await;
    }

    /// SIGKILL to these at once.
    pub(crate) async fn kill(&mut self, ids: &[&str]) {
        self.cluster.kill_these(ids).await;
        for id in ids {
            self.network.gone(id).await;
        }
    }

    /// Cuts a node off from all others.
    pub(crate) fn cut_off(&self, lone: &str, way: Way) {
        for other in self.ids.iter().filter(|id| **id != lone) {
            self.network.set(lone, other, way);
            self.network.set(other, lone, way);
        }
    }

    /// Registers a name on a node, however often it must be tried.
    pub(crate) async fn register(&self, name: &str, on: &str) {
        let node = self.node(on);
        eventually(&format!("{name} being registered"), || async {
            match node.register_on(Kind::Held, name, 0, on).await {
                Err(failure) if failure.kind != "AlreadyRegistered" => None,
                _ => Some(()),
            }
        })
        .await;
    }

    /// Registers names through a node until one is refused for want of a majority, and gives that one.
    pub(crate) async fn refused(&mut self, through: &str) -> String {
        let node = self.cluster[through].clone();
        eventually(&format!("{through} refusing registrations"), || {
            self.refusals += 1;
            let (name, node) = (format!("refused-{}", self.refusals), &node);
            async move {
                let registering = Registering::new(Kind::Held, &name, 0);
                let registered = node.register_with(Registering { within_ms: REFUSAL_MS, ..registering }).await;
                registered.is_err_and(|failure| failure.kind == "NoMajority" && !failure.unknown).then_some(name)
            }
        })
        .await
    }

    /// Waits until nothing runs in a node's process.
    pub(crate) async fn parked(&self, id: &str) {
        let node = self.node(id);
        let what = format!("{id} running nothing");
        eventually(&what, || async { node.living().await.is_empty().then_some(()) }).await;
    }

    /// Waits until each name runs once on these nodes, and all of them say so.
    pub(crate) async fn all_run(&self, on: &[&str]) {
        eventually_within(RUN, &format!("all names running on {on:?}"), || async {
            let censuses = join_all(on.iter().map(|id| self.node(id).census())).await;
            let censuses: Vec<_> = censuses.into_iter().map(|census| census.expect("look-ups never fail")).collect();
            let living: Digest = censuses.iter().map(|census| census.living).sum();
            let known = join_all(on.iter().map(|id| self.known_to_run(id))).await;
            let agree = censuses.iter().all(|census| census.running == living && census.idle == 0 && census.odd == 0);
            (agree && known.into_iter().all(|count| count == self.counted.len())).then_some(())
        })
        .await;
    }

    /// How many of the names run, as a node sees it.
    async fn known_to_run(&self, id: &str) -> usize {
        let registered = self.node(id).registered().await;
        let known = registered.iter().filter(|found| self.counted.contains_key(&found.name));
        known.filter(|found| found.state == "Running").count()
    }

    /// Blocks every thread of a node's runtime: a worker each, and some more.
    pub(crate) async fn block_all(&self, id: &str) {
        let threads = std::thread::available_parallelism().expect("there are some").get();
        let names: Vec<String> = (0..threads + 2).map(|n| format!("blocks-{n}")).collect();
        join_all(names.iter().map(|name| self.register(name, id))).await;
        let through = self.cluster.nodes().find(|node| node.id() != id).expect("another one");
        for name in names {
            through.cast(Kind::Held, &name, Say::Block).await.expect("it is sent");
        }
    }

    /// Adds 1 to all through a node, however often it must be tried.
    pub(crate) async fn add(&mut self, through: &str) {
        let node = self.cluster[through].clone();
        let added = self.counted.iter_mut().map(|(name, counted)| {
            let node = &node;
            async move {
                let mut last = None;
                for _ in 0..100 {
                    let total = node.call_within(Kind::Held, name, Say::AddDurable(1), CALL_MS).await;
                    if counted.record(name, &total) {
                        return;
                    }
                    last = total.err();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                panic!("nothing can be added to {name} through {through}: {last:?}");
            }
        });
        join_all(added).await;
    }

    /// What comes of an addition that somebody else has asked for.
    pub(crate) fn record(&mut self, name: &str, total: &Result<i64, Failure>) {
        self.counted.get_mut(name).expect("one of them").record(name, total);
    }

    /// The names, and the newest total that was answered of each.
    pub(crate) fn totals(&self) -> Vec<(String, i64)> {
        let newest = |counted: &Counted| counted.answered.last().copied().unwrap_or(0);
        self.counted.iter().map(|(name, counted)| (name.clone(), newest(counted))).collect()
    }

    /// Waits until all run, once, and checks that no two of a name ever overlapped and that nothing acknowledged is lost.
    pub(crate) async fn all_is_well(&self, on: &[&str]) {
        self.all_run(on).await;
        for id in on {
            let totals = self.counted.iter().map(|(name, counted)| async move {
                let ask = || async { self.node(id).call_within(Kind::Held, name, Say::Get, CALL_MS).await.ok() };
                let total = eventually("a total", ask).await;
                assert!(counted.may_be(total), "{name} is not exact: {total}, asked from {id}: {counted:?}");
            });
            join_all(totals).await;
        }
        assert_eq!(self.cluster.overlaps(), "", "a name ran twice");
    }
}

impl Counted {
    /// Whether there was an answer.
    fn record(&mut self, name: &str, total: &Result<i64, Failure>) -> bool {
        match total {
            Ok(total) => {
                assert!(self.answered.insert(*total), "{name} has answered {total} twice: {self:?}");
                assert!(self.may_be(*self.answered.last().expect("one")), "{name}: {self:?}");
                true
            }
            Err(failure) => {
                self.unknown += i64::from(failure.unknown);
                false
            }
        }
    }
}
