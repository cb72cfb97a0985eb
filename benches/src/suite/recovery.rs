//! The start of a node whose store holds many names, against reading the same files.

use std::time::Instant;

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::protocol::Command;
use crate::raw;
use crate::report::Row;

pub(super) const NAME: &str = "recovery";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    for &count in run.or(&[10_000][..], &[100_000, 1_000_000]) {
        rows.push(recover(count).await?);
    }
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

async fn stop(node: crate::process::Process) -> Result<(), BoxError> {
    node.ask::<()>(Command::Close).await?;
    node.end().await
}
