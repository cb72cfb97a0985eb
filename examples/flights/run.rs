//! One run: start the nodes, send the rows, ask the workers, compare.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;

use indicatif::HumanCount;
use sworm::BoxError;
use sworm::prelude::*;
use tempfile::TempDir;

use crate::aircraft::SWORM;
use crate::args::{Fault, RunArgs};
use crate::cluster::Cluster;
use crate::faults::Faults;
use crate::feeder::Feeder;
use crate::progress::Progress;
use crate::{data, report, tally};

/// How many differences are shown.
const SHOWN: usize = 10;

/// Runs everything; whether the workers' totals are those of a plain count.
pub(crate) async fn run(args: RunArgs) -> Result<bool, BoxError> {
    let rows = data::read(args.data.as_deref())?;
    let schedule = args.schedule(rows.len() as u64);
    let in_file = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    // Now rather than at the end, when a mistake would cost the whole run.
    let out = args.out.as_deref().map(|path| File::create(path).map_err(|error| in_file(path, error))).transpose()?;
    let mut directory = directory(args.dir.as_deref())?;
    directory.disable_cleanup(args.dir.is_some());
    let done = tokio::select! {
        done = feed_and_compare(&rows, schedule, &args, directory.path(), out) => done,
        _ = tokio::signal::ctrl_c() => return Err("interrupted".into()),
    };
    if !matches!(done, Ok(true)) || args.dir.is_some() {
        // What went wrong can be looked up there.
        directory.disable_cleanup(true);
        println!("the nodes' stores and logs are in {}", directory.path().display());
    }
    done
}

/// A new directory, whose random name is the cluster's name too: runs at the same time do not meet.
fn directory(inside: Option<&Path>) -> Result<TempDir, BoxError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("flights-");
    let Some(inside) = inside else { return Ok(builder.tempdir()?) };
    let made = std::fs::create_dir_all(inside).and_then(|()| builder.tempdir_in(inside));
    Ok(made.map_err(|error| format!("{}: {error}", inside.display()))?)
}

async fn feed_and_compare(
    rows: &[data::Row],
    schedule: VecDeque<(u64, Fault)>,
    args: &RunArgs,
    directory: &Path,
    out: Option<File>,
) -> Result<bool, BoxError> {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut cluster = Cluster::start(name, directory, args.nodes).await?;
    // A client looks up, registers and calls like every node, but workers never run on it.
    let node =
        Node::builder("feeder").cluster(cluster.name()).in_memory().client().join(cluster.endpoints()).start().await?;
    cluster.feeder_is_at(node.endpoints());
    let sworm = node.sworm(SWORM).await?;
    let count = HumanCount(rows.len() as u64);
    println!("{count} rows, {} nodes: {}", args.nodes, cluster.running().collect::<Vec<_>>().join(", "));

    let progress = Progress::new(rows.len() as u64);
    let mut faults = Faults::new(cluster, sworm.clone(), progress.clone());
    let feeder = Feeder::new(sworm.clone(), &mut faults, progress.clone(), args.falsify);
    let sent = feeder.feed(rows, schedule).await;
    progress.finish();
    let sent = sent?;
    let mut cluster = faults.finish().await?;

    let counted = report::collect(&sworm).await?;
    cluster.check()?;
    if let Some(out) = out {
        report::write(&counted, out)?;
    }
    println!("{}", report::busiest(&counted, &sworm));
    println!("{}", report::nodes(&cluster, &sworm));
    println!("{}", report::totals(rows.len(), &sent));
    let exact = compare(&counted, &tally::sequential(rows));
    node.close().await?;
    cluster.stop().await;
    Ok(exact)
}

fn compare(counted: &tally::Tally, expected: &tally::Tally) -> bool {
    let differences = tally::differences(counted, expected);
    if differences.is_empty() {
        println!("exact: {} aircraft equal to the sequential count", HumanCount(expected.len() as u64));
        return true;
    }
    println!("not exact: {} of {} aircraft differ", differences.len(), expected.len());
    for difference in differences.iter().take(SHOWN) {
        println!("  {difference}");
    }
    false
}
