//! Registrations, in memory and with a store, against calls and against sled.

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::load::{Load, WARM_UP};
use crate::protocol::{Command, Filled, Kind};
use crate::raw;
use crate::report::Row;

pub(super) const NAME: &str = "register";

/// About as long as the entry of a name in a store.
const ENTRY_BYTES: usize = 200;

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let all = &[1_000, 10_000, 100_000][..];
    // With 64 callers each needs a worker of its own to call.
    let sizes = [
        (Storage::Memory, 1, run.of(&[][..], &[1_000], all)),
        (Storage::Memory, 64, run.of(&[300], &[1_000, 10_000], all)),
        (Storage::Disk, 1, run.of(&[100], &[1_000], all)),
        (Storage::Disk, 64, run.of(&[], &[1_000], all)),
    ];
    for (storage, callers, counts) in sizes {
        for count in counts {
            rows.extend(register(run, storage, callers, *count).await?);
        }
    }
    Ok(())
}

async fn register(run: Run, storage: Storage, callers: usize, count: usize) -> Result<Vec<Row>, BoxError> {
    let cluster = Cluster::of_three(storage).await?;
    let cpu = cluster.cpu_seconds()?;
    // Each node sees for itself when it knows all names. It looks seldom until the last registration has returned: looking is
    // no part of what that costs. Then it looks all the time, from when it is told that.
    cluster.watch(count).await?;
    let command = Command::Fill { kind: Kind::Keeper, first: 0, end: count, callers, on: None };
    let filled: Filled = cluster["a"].ask(command).await?;
    let held = cluster.watched().await?;
    let cpu = (cluster.cpu_seconds()? - cpu) * 1e6 / count as f64;

    let called_cpu = cluster.cpu_seconds()?;
    let call = Command::Call { count, on: "b".into(), callers, time: run.time() };
    let calls: Load = cluster["a"].ask(call).await?;
    let called = calls.per_second * (WARM_UP + run.time()).as_secs_f64();
    let called_cpu = (cluster.cpu_seconds()? - called_cpu) * 1e6 / called;

    let each = (count as f64 / filled.seconds, "names/s");
    let who = if callers == 1 { String::from("1 caller") } else { format!("{callers} callers") };
    let with = format!("{who}, {}", if storage == Storage::Memory { "in memory" } else { "with a store" });
    let calls_there = format!("remote calls, {who}");
    let mut rows = vec![
        Row::new(NAME, count, format!("names per second, {with}"), each, (calls_there.as_str(), calls.per_second)),
        Row::new(
            NAME,
            count,
            format!("CPU of all nodes per name, {with}"),
            (cpu, "us"),
            (calls_there.as_str(), called_cpu),
        ),
        Row::new(
            NAME,
            count,
            format!("last return until known everywhere, {with}"),
            ((held - filled.at).max(0.0) * 1e3, "ms"),
            ("p50 of these calls", calls.p50_us / 1e3),
        ),
    ];
    if storage == Storage::Disk {
        let raw = raw::sled::insert(&cluster.store("raw"), callers, ENTRY_BYTES, run.time())?;
        let baseline = (format!("sled, a sync for each {callers}"), raw);
        rows.push(Row::new(NAME, count, format!("names per second, {with}"), each, baseline));
    }
    Ok(rows)
}
