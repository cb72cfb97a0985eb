//! What came out: asked of the workers, as tables and as a file.

use std::fs::File;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::HumanCount;
use sworm::BoxError;
use sworm::prelude::*;

use crate::cluster::Cluster;
use crate::delivery;
use crate::faults::workers_by_node;
use crate::feeder::Sent;
use crate::tally::{Tally, Totals};

/// How many aircraft are asked at a time.
const AT_A_TIME: usize = 64;
/// How many aircraft the table shows.
const BUSIEST: usize = 10;

/// Asks every worker for its totals.
pub(crate) async fn collect(sworm: &Sworm) -> Result<Tally, BoxError> {
    let tails = sworm.registered().into_iter().map(|found| found.name);
    let asked = tails.map(|tail| async move { delivery::totals(sworm, &tail).await.map(|totals| (tail, totals)) });
    stream::iter(asked).buffer_unordered(AT_A_TIME).try_collect().await
}

/// Writes the totals of every aircraft, sorted by tail number.
pub(crate) fn write(tally: &Tally, out: File) -> Result<(), BoxError> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["tailnum", "flights", "cancelled", "distance", "dep_delay"])?;
    for (tail, totals) in tally {
        let Totals { flights, cancelled, distance, dep_delay } = totals;
        writer.serialize((&**tail, flights, cancelled, distance, dep_delay))?;
    }
    Ok(writer.flush()?)
}

/// The aircraft with most flights.
pub(crate) fn busiest(tally: &Tally, sworm: &Sworm) -> Table {
    let mut aircraft: Vec<(&Arc<str>, &Totals)> = tally.iter().collect();
    aircraft.sort_by_key(|(_, totals)| std::cmp::Reverse(totals.flights));
    let mut table = table(["aircraft", "flights", "cancelled", "miles", "delay in min", "node"]);
    for (tail, totals) in aircraft.into_iter().take(BUSIEST) {
        let node = sworm.whereis(tail).map_or(String::new(), |found| found.pid.node.to_string());
        table.add_row([
            tail.to_string(),
            HumanCount(totals.flights).to_string(),
            HumanCount(totals.cancelled).to_string(),
            HumanCount(totals.distance).to_string(),
            totals.dep_delay.to_string(),
            node,
        ]);
    }
    align_right(&mut table, 1..5);
    table
}

/// How many workers each node runs, or ran when it went.
pub(crate) fn nodes(cluster: &Cluster, sworm: &Sworm) -> Table {
    let workers = workers_by_node(sworm);
    let mut table = table(["node", "workers", ""]);
    for id in cluster.running() {
        let count = workers.get(id).copied().unwrap_or(0);
        table.add_row([id.to_owned(), HumanCount(count as u64).to_string(), "runs".to_owned()]);
    }
    for gone in cluster.gone() {
        table.add_row([gone.id.clone(), HumanCount(gone.workers as u64).to_string(), gone.how.clone()]);
    }
    align_right(&mut table, 1..2);
    table
}

/// What was sent, and how fast.
pub(crate) fn totals(rows: usize, sent: &Sent) -> Table {
    let seconds = sent.took.as_secs_f64();
    let mut table = table(["rows", "sent", "without tail number", "sent again", "counted before", "seconds", "rows/s"]);
    table.add_row([
        HumanCount(rows as u64).to_string(),
        HumanCount(sent.rows).to_string(),
        HumanCount(sent.without_tail).to_string(),
        HumanCount(sent.again).to_string(),
        HumanCount(sent.counted_before).to_string(),
        format!("{seconds:.1}"),
        format!("{:.0}", sent.rows as f64 / seconds.max(f64::EPSILON)),
    ]);
    align_right(&mut table, 0..7);
    table
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(header);
    table
}

fn align_right(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
