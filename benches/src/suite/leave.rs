//! An orderly leave: a node hands its workers over, with their states.

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::names::{STATE_BYTES, state};
use crate::protocol::Command;
use crate::raw;
use crate::report::Row;

pub(super) const NAME: &str = "leave";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    for &count in run.of(&[100][..], &[1_000, 3_000], &[1_000, 10_000]) {
        rows.extend(leave(count).await?);
    }
    Ok(())
}

async fn leave(count: usize) -> Result<[Row; 2], BoxError> {
    let mut cluster = Cluster::of_three(Storage::Memory).await?;
    cluster.fill(0, count).await?;
    cluster["a"].ask::<()>(Command::States { count, check: false }).await?;
    let moved: usize = cluster["a"].ask(Command::Mark { count, on: "c".into() }).await?;

    let other = cluster.process("echo")?;
    let address: String = other.ask(Command::EchoTcp).await?;
    let copied = raw::tcp::copy(&address, (0..moved).map(state)).await?;

    let leaving = cluster.take("c");
    let seconds: f64 = leaving.ask(Command::Leave).await?;
    leaving.end().await?;
    // Also where the others have not heard of its end yet.
    cluster.all_hold(count).await?;
    cluster["a"].ask::<()>(Command::States { count, check: true }).await?;

    let baseline = format!("{moved} states of {STATE_BYTES} B over TCP, one by one");
    let each = 1e6 / moved as f64;
    Ok([
        Row::new(NAME, count, "leave, states checked", (seconds * 1e3, "ms"), (baseline.as_str(), copied * 1e3)),
        Row::new(NAME, count, "leave, per worker", (seconds * each, "us"), (baseline.as_str(), copied * each)),
    ])
}
