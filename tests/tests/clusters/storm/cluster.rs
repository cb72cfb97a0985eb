//! The cluster that a storm comes over, and which names it must have.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use sworm::Pid;
use sworm_tests::protocol::Kind;
use sworm_tests::relay::Network;
use sworm_tests::{Cluster, program};

use super::check::{self, Settled};
use super::script::{Id, NODES, Step};

/// Names that are registered by one command: a command has a minute.
const AT_A_TIME: usize = 250;

pub(crate) struct Storm {
    cluster: Cluster,
    network: Network,
    frozen: BTreeSet<Id>,
    fresh: usize,
    /// Registered for sure.
    must: BTreeSet<String>,
    /// Registering or unregistering them failed: they may be there.
    may: BTreeSet<String>,
}

impl Storm {
    /// Five nodes with so many names.
    pub(crate) async fn start(names: usize) -> Self {
        let cluster = Cluster::new(program!()).as_strangers();
        let network = Network::new(cluster.host(), &NODES).await;
        let (frozen, must, may) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut storm = Self { cluster, network, frozen, fresh: 0, must, may };
        storm.launch_missing().await;
        check::members(&storm.cluster, &NODES).await;
        let share = names.div_ceil(NODES.len());
        let fresh: Vec<_> = NODES.map(|id| (storm.cluster[id].clone(), storm.fresh_names(share))).into();
        let registered = fresh.iter().map(|(node, names)| async move {
            for names in names.chunks(AT_A_TIME) {
                let failed = node.register_all(Kind::Held, names.to_vec()).await;
                assert_eq!(failed, Ok(Vec::new()), "nothing is broken yet");
            }
        });
        join_all(registered).await;
        storm.must = fresh.into_iter().flat_map(|(_, names)| names).collect();
        storm
    }

    fn fresh_names(&mut self, count: usize) -> Vec<String> {
        self.fresh += count;
        (self.fresh - count..self.fresh).map(|n| format!("name-{n}")).collect()
    }

    async fn launch(&mut self, ids: &[Id]) {
        let mut specs = Vec::new();
        for id in ids {
            specs.push(self.network.connect(self.cluster.spec(id)).await);
        }
        self.cluster.launch_all(&specs).await;
    }

    async fn launch_missing(&mut self) {
        let live = |id: &Id| self.cluster.nodes().any(|node| node.id() == *id);
        let missing: Vec<Id> = NODES.into_iter().filter(|id| !live(id)).collect();
        self.launch(&missing).await;
    }

    #[expect(clippy::print_stdout, reason = "what did not work in a fault belongs to the story")]
    pub(crate) async fn perform(&mut self, step: &Step) {
        match step {
            Step::Kill(id) => {
                self.cluster.kill(id).await;
                self.network.gone(id).await;
            }
            Step::Leave(id) => {
                if let Err(failure) = self.cluster.try_leave(id).await {
                    println!("{id} could not leave in good order: {failure}");
                }
                self.network.gone(id).await;
            }
            Step::Start(id) => self.launch(&[id]).await,
            Step::Freeze(id) => {
                self.frozen.insert(id);
                self.cluster[id].freeze();
            }
            Step::Resume(id) => {
                self.frozen.remove(id);
                self.cluster[id].resume();
            }
            Step::Cut { from, to, way } => self.network.set(from, to, *way),
            Step::Split { side, way } => {
                for one in side {
                    for other in NODES.iter().filter(|id| !side.contains(id)) {
                        self.network.set(one, other, *way);
                        self.network.set(other, one, *way);
                    }
                }
            }
            Step::Heal => self.network.heal(),
            Step::Register { through, count } => self.register(through, *count).await,
            Step::Unregister { through, count } => self.unregister(through, *count).await,
            Step::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        }
    }

    async fn register(&mut self, through: Id, count: usize) {
        let names = self.fresh_names(count);
        let failed = self.cluster[through].register_all(Kind::Held, names.clone()).await.expect("it lives");
        let failed: BTreeSet<String> = failed.into_iter().map(|(name, _)| name).collect();
        for name in names {
            if failed.contains(&name) {
                self.may.insert(name)
            } else {
                self.must.insert(name)
            };
        }
    }

    #[expect(clippy::print_stdout, reason = "what did not work in a fault belongs to the story")]
    async fn unregister(&mut self, through: Id, count: usize) {
        let names: Vec<String> = self.must.iter().rev().take(count).cloned().collect();
        let node = self.cluster[through].clone();
        let results = join_all(names.iter().map(|name| node.unregister(name))).await;
        for (name, result) in names.into_iter().zip(results) {
            self.must.remove(&name);
            if let Err(failure) = result {
                println!("{name} was not unregistered through {through}: {failure}");
                self.may.insert(name);
            }
        }
    }

    /// Ends all faults: links are whole, and every node runs.
    pub(crate) async fn calm_down(&mut self) {
        self.network.heal();
        for id in std::mem::take(&mut self.frozen) {
            self.cluster[id].resume();
        }
        self.launch_missing().await;
    }

    /// Waits until it is quiet, and checks that all is well.
    pub(crate) async fn settle(&mut self) -> Settled {
        let settled = check::settle(&self.cluster, &NODES, &self.must, &self.may).await;
        self.must = self.hosts().await.into_keys().collect();
        self.may.clear();
        settled
    }

    /// The worker of each name.
    pub(crate) async fn hosts(&self) -> BTreeMap<String, Pid> {
        check::registered(&self.cluster["a"]).await
    }

    /// Workers that found their lock taken when they started.
    pub(crate) fn overlaps(&self) -> String {
        self.cluster.overlaps()
    }
}
