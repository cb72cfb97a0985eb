//! A fourth node joins and learns all names.

use std::time::Instant;

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::protocol::Command;
use crate::report::Row;

pub(super) const NAME: &str = "join";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let (mut there, mut empty) = (0, 0.0);
    let mut cluster = Cluster::of_three(Storage::Memory).await?;
    for (id, count) in ["d", "e", "f"].into_iter().zip(run.of([0, 100, 200], [0, 1_000, 10_000], [0, 10_000, 100_000]))
    {
        cluster.fill(there, count).await?;
        there = count;
        let started = Instant::now();
        cluster.add(id, false).await?;
        cluster[id].ask::<f64>(Command::Hold { count }).await?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        if count == 0 {
            empty = ms;
        } else {
            let baseline = ("the same without names", empty);
            rows.push(Row::new(NAME, count, "start of a process until it knows all", (ms, "ms"), baseline));
        }
        // The next one joins three, too.
        cluster.take(id).end().await?;
    }
    Ok(())
}
