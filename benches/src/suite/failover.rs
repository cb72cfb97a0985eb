//! The loss of a node by `kill -9`: until every one of its names answers again, on other nodes.

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::protocol::{Command, Failover};
use crate::report::Row;

pub(super) const NAME: &str = "failover";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    for &count in run.of(&[100][..], &[1_000, 3_000], &[1_000, 10_000]) {
        rows.extend(lose(count).await?);
    }
    Ok(())
}

async fn lose(count: usize) -> Result<[Row; 3], BoxError> {
    let mut cluster = Cluster::of_three(Storage::Memory).await?;
    let registered = cluster.fill(0, count).await?;
    let lost: usize = cluster["a"].ask(Command::Mark { count, on: "c".into() }).await?;
    // As many registrations would have taken so long.
    let anew = registered * 1e3 * lost as f64 / count as f64;
    let (killed, told) = cluster.take("c").kill().await?;
    let back: Failover = cluster["a"].ask(Command::Recovered { gone: "c".into() }).await?;
    cluster.all_hold(count).await?;
    let ms = |seconds: f64| (seconds * 1e3, "ms");
    let registering = format!("registering {lost} names");
    Ok([
        Row::new(NAME, count, "kill until it is down", ms(back.down - killed), ("end of its output", told * 1e3)),
        Row::new(
            NAME,
            count,
            "down until all names answer",
            ms(back.answered - back.down),
            (registering.as_str(), anew),
        ),
        Row::new(NAME, count, "kill until all names answer", ms(back.answered - killed), (registering.as_str(), anew)),
    ])
}
