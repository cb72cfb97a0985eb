//! A node whose store is damaged, lost or not its own: it starts all the same and has everything again from its peers, or
//! it is refused without a change where only a person can decide.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use sworm_tests::protocol::{Kind, NodeSpec, Say};
use sworm_tests::{Cluster, eventually, program};
use xxhash_rust::xxh3::xxh3_64;

const NAMES: usize = 9;

/// Names on all nodes, and what their states should be.
struct Names {
    totals: BTreeMap<String, i64>,
}

impl Names {
    async fn register(cluster: &Cluster) -> Self {
        let a = cluster["a"].clone();
        let names = (0..NAMES).map(|n| format!("worker-{n}"));
        let totals: BTreeMap<String, i64> = names.map(|name| (name, 0)).collect();
        for (n, name) in totals.keys().enumerate() {
            a.register_on(Kind::Held, name, 0, ["a", "b", "c"][n % 3]).await.expect("free");
        }
        Self { totals }
    }

    /// New states, so that what a store had before is old.
    async fn count(&mut self, cluster: &Cluster) {
        let a = cluster["a"].clone();
        let counting = self.totals.iter_mut().map(|(name, total)| {
            let a = &a;
            async move {
                for _ in 0..3 {
                    *total += 1;
                    assert_eq!(a.call(Kind::Held, name, Say::AddDurable(1)).await, Ok(*total), "{name}");
                }
            }
        });
        join_all(counting).await;
    }

    /// Every name is on every node, with its newest state, and runs once.
    async fn are_there(&self, cluster: &Cluster, what: &str) {
        cluster.all_see_all().await;
        for node in cluster.nodes() {
            let asked = self.totals.iter().map(|(name, total)| async move {
                assert_eq!(
                    node.total(Kind::Held, name).await,
                    Ok(*total),
                    "{what}: {name} is not exact, asked from {}",
                    node.id()
                );
            });
            join_all(asked).await;
        }
        let first = cluster["a"].clone();
        for node in cluster.nodes() {
            let alike = || async { (node.registered().await == first.registered().await).then_some(()) };
            eventually("one view", alike).await;
            assert_eq!(node.registered().await.len(), NAMES, "{what}");
        }
        assert_eq!(cluster.overlaps(), "", "{what}");
    }
}

/// Kills b, does something to its directory, and starts it again. Gives what it logged since.
async fn restart(cluster: &mut Cluster, damage: impl FnOnce(&Path)) -> String {
    let before = cluster["b"].log().len();
    cluster.kill("b").await;
    damage(&cluster.store("b"));
    cluster.add("b").await;
    cluster["b"].log().split_off(before)
}

/// What a node says of a store that is not as it was.
fn says_so(log: &str) -> bool {
    let words = [
        "is damaged",
        "was set aside",
        "has lost something that was written",
        "does not know of this node's last start",
    ];
    log.lines().any(|line| line.contains("ERROR") && words.iter().any(|word| line.contains(word)))
}

/// Cuts a file; `keep` is told how much of it is not padding.
fn cut(path: &Path, keep: impl FnOnce(usize) -> usize) {
    let mut bytes = fs::read(path).expect("it is there");
    let padding = bytes.iter().rev().take_while(|byte| Some(*byte) == bytes.last()).count();
    bytes.truncate(keep(bytes.len() - padding));
    fs::write(path, bytes).expect("written");
}

/// The files of a node, but not what was set aside.
fn files(directory: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = list(directory).chain(list(&directory.join("sled"))).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_store_is_made_whole_by_the_peers() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "b", "c"]).await;
    let mut names = Names::register(&cluster).await;
    let cuts: [fn(usize) -> usize; 5] =
        [|_| 0, |_| 1000, |length| length / 3, |length| length - 4096, |length| length - 1];
    for (place, keep) in cuts.into_iter().enumerate() {
        names.count(&cluster).await;
        let log = restart(&mut cluster, |store| cut(&store.join("sled/db"), keep)).await;
        // The very last bytes may say nothing.
        assert!(place == 4 || says_so(&log), "cut {place}: {log}");
        names.are_there(&cluster, &format!("cut {place}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bits_anywhere_in_a_store_are_made_good_by_the_peers() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "b", "c"]).await;
    let mut names = Names::register(&cluster).await;
    for seed in 0..5_u64 {
        names.count(&cluster).await;
        // From one bit per file to thousands.
        let flips = 1 << (3 * seed);
        restart(&mut cluster, |store| {
            for path in files(store) {
                let mut bytes = fs::read(&path).expect("it is there");
                for flip in 0..flips {
                    let random = xxh3_64(format!("{seed} {flip} {}", path.display()).as_bytes());
                    if !bytes.is_empty() {
                        let at = usize::try_from(random >> 8).expect("64 bits") % bytes.len();
                        bytes[at] ^= 1 << (random % 8);
                    }
                }
                fs::write(&path, bytes).expect("written");
            }
        })
        .await;
        names.are_there(&cluster, &format!("{flips} flips in each file")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_garbage_or_gone_is_rebuilt_by_the_peers() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "b", "c"]).await;
    let mut names = Names::register(&cluster).await;
    names.count(&cluster).await;
    let log = restart(&mut cluster, |store| {
        files(store).iter().for_each(|path| fs::write(path, [0x5a; 70_000]).expect("written"));
    })
    .await;
    assert!(log.contains("was set aside"), "{log}");
    names.are_there(&cluster, "all files are garbage").await;

    names.count(&cluster).await;
    let log = restart(&mut cluster, |store| fs::remove_dir_all(store.join("sled")).expect("removed")).await;
    assert!(says_so(&log), "{log}");
    names.are_there(&cluster, "sled's files are gone").await;

    names.count(&cluster).await;
    restart(&mut cluster, |store| fs::remove_dir_all(store).expect("removed")).await;
    names.are_there(&cluster, "the directory is gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_death_of_all_one_damaged_store_costs_nothing() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "b", "c"]).await;
    let mut names = Names::register(&cluster).await;
    for (id, keep) in [("b", 0), ("c", 1 << 19), ("a", 40_000)] {
        names.count(&cluster).await;
        cluster.kill_all().await;
        cut(&cluster.store(id).join("sled/db"), |_| keep);
        cluster.add_all(&["a", "b", "c"]).await;
        names.are_there(&cluster, &format!("{id} has {keep} bytes left")).await;
    }
}

/// Everything in a directory.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files(directory).into_iter().map(|path| (path.clone(), fs::read(path).expect("it is there"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_node_cluster_or_version_is_refused_and_nothing_in_it_is_changed() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a", "b", "c"]).await;
    let mut names = Names::register(&cluster).await;
    names.count(&cluster).await;
    cluster.kill("b").await;
    let store = cluster.store("b");
    let of_b = cluster.spec("b");
    let identity = store.join("identity");
    let mine = fs::read(&identity).expect("it is there");
    let format_2 = b"\xa1\x66format\x02";
    let newer = [&xxh3_64(format_2).to_be_bytes()[..], format_2].concat();
    let cases = [
        ("ForeignStore", NodeSpec { id: "x".into(), ..of_b.clone() }, &mine),
        ("ForeignStore", NodeSpec { cluster: "another".into(), ..of_b.clone() }, &mine),
        ("NewerStore", of_b.clone(), &newer),
    ];
    for (kind, spec, identified) in cases {
        fs::write(&identity, identified).expect("written");
        let before = contents(&store);
        let refused = cluster.launch_only(spec).await.err().expect("it is refused");
        assert_eq!(refused.kind, kind, "{refused}");
        assert!(refused.text.contains(store.to_str().expect("text")), "{refused}");
        assert!(before == contents(&store), "{kind}: the directory was changed");
    }
    fs::write(&identity, mine).expect("written");
    cluster.add("b").await;
    names.are_there(&cluster, "as it was").await;
}
