//! A node is cut off, both sides go on by themselves, and the cut heals.

use std::time::Duration;

use futures_util::future::try_join_all;
use sworm::BoxError;
use tokio::time::sleep;

use super::Run;
use crate::cluster::{Cluster, Storage, THREE};
use crate::names::clock;
use crate::protocol::{Command, Digest};
use crate::relay::Network;
use crate::report::Row;

pub(super) const NAME: &str = "split";

/// All agree within this, or the bench has failed.
const AGREED_LIMIT: Duration = Duration::from_secs(120);
/// How soon it is looked again whether all agree.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let count = run.of(100, 1_000, 10_000);
    // Long enough for both sides to take the other one for gone; in a test only for the links to be lost.
    let cut = Duration::from_secs(run.of(3, 10, 10));
    let mut cluster = Cluster::new(Storage::Memory)?.behind(Network::new(&THREE).await?);
    for id in THREE {
        cluster.add(id, false).await?;
    }
    cluster.see_each_other().await?;
    cluster.fill(0, count).await?;
    let before = digests(&cluster, count).await?;
    cluster.network().cut(Some("c"))?;
    sleep(cut).await;
    let during = digests(&cluster, count).await?;
    cluster.network().cut(None)?;
    let healed = clock();
    let ids: Vec<String> = THREE.map(String::from).into();
    let up = cluster.nodes().map(|node| node.ask::<f64>(Command::AllUp { ids: ids.clone() }));
    let linked = try_join_all(up).await?.into_iter().fold(0.0, f64::max) - healed;
    let agreed = loop {
        let now = digests(&cluster, count).await?;
        let same = now.iter().all(|digest| digest.running == count && digest.hash == now[0].hash);
        if same && now.iter().map(|digest| digest.here).sum::<usize>() == count {
            break clock() - healed;
        }
        if clock() - healed > AGREED_LIMIT.as_secs_f64() {
            return Err(format!("{AGREED_LIMIT:?} after the cut the nodes do not agree: {now:?}").into());
        }
        sleep(LOOK_AGAIN).await;
    };
    let ran = |digests: &[Digest]| digests[2].here as f64;
    rows.extend([
        Row::new(
            NAME,
            count,
            "heal until all nodes have one directory, each name once",
            (agreed * 1e3, "ms"),
            ("until all links are back", linked * 1e3),
        ),
        Row::new(
            NAME,
            count,
            "names that the node runs at the end of the cut",
            (ran(&during), "names"),
            ("before it", ran(&before)),
        ),
    ]);
    Ok(())
}

async fn digests(cluster: &Cluster, count: usize) -> Result<Vec<Digest>, BoxError> {
    try_join_all(cluster.nodes().map(|node| node.ask(Command::Digest { count }))).await
}
