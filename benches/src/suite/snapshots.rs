//! Calls that change a state which is on two disks before they are answered, against the store by itself.

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::load::Load;
use crate::protocol::{Command, Filled, Kind};
use crate::raw;
use crate::report::Row;

pub(super) const NAME: &str = "snapshots";

/// About as long as the entry of a small state in a store.
const ENTRY_BYTES: usize = 100;

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let cluster = Cluster::of_three(Storage::Disk).await?;
    let end = 64;
    let fill = Command::Fill { kind: Kind::Saver, first: 0, end, callers: end, on: Some("b".into()) };
    cluster["a"].ask::<Filled>(fill).await?;
    cluster.all_hold(end).await?;
    for callers in [1, end] {
        let saved: Load = cluster["a"].ask(Command::Save { callers, time: run.time() }).await?;
        let raw = raw::sled::insert(&cluster.store(&format!("raw-{callers}")), callers, ENTRY_BYTES, run.time())?;
        let baseline = format!("sled, a sync for each {callers}");
        let metric = "remote calls with snapshot = \"each\"";
        rows.push(Row::new(NAME, callers, metric, (saved.per_second, "calls/s"), (baseline.as_str(), raw)));
        let p50 = (saved.p50_us, "us");
        rows.push(Row::new(NAME, callers, "p50 of these", p50, ("one sync of that", 1e6 * callers as f64 / raw)));
    }
    Ok(())
}
