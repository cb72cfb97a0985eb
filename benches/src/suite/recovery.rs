//! The start of a node whose store holds many names, and of three after all were killed, against reading the same files.

use std::time::Instant;

use futures_util::future::try_join_all;
use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage, THREE};
use crate::protocol::Command;
use crate::raw;
use crate::report::Row;

pub(super) const NAME: &str = "recovery";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    for &count in run.of(&[100][..], &[10_000], &[100_000, 1_000_000]) {
        rows.push(recover(count).await?);
    }
    rows.push(recover_three(run.of(100, 10_000, 100_000)).await?);
    Ok(())
}

async fn recover(count: usize) -> Result<Row, BoxError> {
    let mut cluster = Cluster::new(Storage::DiskLater)?;
    cluster.add("a", false).await?;
    cluster.fill(0, count).await?;
    stop(cluster.take("a")).await?;
    let started = Instant::now();
    cluster.add("a", false).await?;
    cluster["a"].ask::<f64>(Command::Hold { count }).await?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    stop(cluster.take("a")).await?;
    let (seconds, entries) = raw::sled::scan(&cluster.store("a").join("sled"))?;
    let baseline = (format!("sled opens and scans them, {entries} entries"), seconds * 1e3);
    Ok(Row::new(NAME, count, "start of a process until all names run", (ms, "ms"), baseline))
}

/// As after the loss of power in all of a building.
async fn recover_three(count: usize) -> Result<Row, BoxError> {
    // What is registered is on the disk.
    let mut cluster = Cluster::of_three(Storage::Disk).await?;
    cluster.fill(0, count).await?;
    try_join_all(THREE.map(|id| cluster.take(id).kill())).await?;
    let started = Instant::now();
    cluster.add_together(&THREE).await?;
    cluster.all_hold(count).await?;
    let ms = started.elapsed().as_secs_f64() * 1e3;
    try_join_all(THREE.map(|id| cluster.take(id).kill())).await?;
    let (mut seconds, mut entries) = (0.0, 0);
    for id in THREE {
        let (taken, there) = raw::sled::scan(&cluster.store(id).join("sled"))?;
        (seconds, entries) = (seconds + taken, entries + there);
    }
    let baseline = (format!("sled opens and scans their three stores, {entries} entries"), seconds * 1e3);
    Ok(Row::new(NAME, count, "start of three killed nodes until all know that all names run", (ms, "ms"), baseline))
}

async fn stop(node: crate::process::Process) -> Result<(), BoxError> {
    node.ask::<()>(Command::Close).await?;
    node.end().await
}
