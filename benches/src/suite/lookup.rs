//! Look-ups of names that run on other nodes, against a plain concurrent map.

use std::time::Duration;

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::protocol::{Command, LookUps};
use crate::report::Row;

pub(super) const NAME: &str = "lookup";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let mut there = 0;
    let cluster = Cluster::of_three(Storage::Memory).await?;
    for &count in run.of(&[100][..], &[1_000, 20_000], &[1_000, 100_000, 1_000_000]) {
        cluster.fill(there, count).await?;
        there = count;
        for readers in [1, 2] {
            let time = Duration::from_millis(run.of(20, 500, 2_000));
            let took: LookUps = cluster["a"].ask(Command::LookUp { count, readers, time }).await?;
            let metric = format!("time of a look-up, {readers} at a time");
            let baseline = ("papaya::HashMap::get", took.map_ns);
            rows.push(Row::new(NAME, count, metric, (took.sworm_ns, "ns"), baseline));
        }
    }
    Ok(())
}
