//! What names cost when nothing happens: memory, processor, bytes on the links.

use std::time::Duration;

use sworm::BoxError;
use tokio::time::sleep;

use super::Run;
use crate::cluster::{Cluster, Storage, THREE};
use crate::process::Process;
use crate::protocol::{Command, Filled, Kind};
use crate::relay::Network;
use crate::report::Row;

pub(super) const NAME: &str = "idle";

/// The nodes that run workers; the third one only knows of them.
const RUNNING: [&str; 2] = ["a", "b"];

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    let time = Duration::from_millis(run.of(200, 5_000, 20_000));
    // What just happened has been done with after this.
    let calm = Duration::from_millis(run.of(200, 3_000, 3_000));
    let mut cluster = Cluster::new(Storage::Memory)?.behind(Network::new(&THREE).await?);
    let raw = bare(&cluster, calm, time).await?;
    let plain = cluster.process("map")?;
    for id in THREE {
        cluster.add(id, !RUNNING.contains(&id)).await?;
    }
    cluster.see_each_other().await?;
    let (mut there, mut empty) = (0, Memory::default());
    for &count in run.of(&[0, 100][..], &[0, 10_000], &[0, 10_000, 100_000]) {
        let command = Command::Fill { kind: Kind::Keeper, first: there, end: count, callers: 64, on: None };
        cluster["a"].ask::<Filled>(command).await?;
        cluster.all_hold(count).await?;
        there = count;
        sleep(calm).await;
        let rest = rest(cluster.nodes().collect(), cluster.network(), time).await?;
        let (cpu, bytes) = ((rest.cpu * 1e2, "%"), (rest.bytes, "B/s"));
        rows.push(Row::new(NAME, count, "CPU of a node", cpu, ("a zenoh session at rest", raw.cpu * 1e2)));
        rows.push(Row::new(NAME, count, "bytes on a link", bytes, ("zenoh sessions at rest", raw.bytes)));
        let memory = Memory::of(&cluster)?;
        if count == 0 {
            empty = memory;
            continue;
        }
        let map = plain.resident_bytes()?;
        plain.ask::<()>(Command::Map { count }).await?;
        let map = ("HashMap<String, u64>", (plain.resident_bytes()? - map) / count as f64);
        let each = |now: f64, before: f64| ((now - before) / count as f64, "B");
        rows.push(Row::new(NAME, count, "memory per name that runs elsewhere", each(memory.far, empty.far), map));
        rows.push(Row::new(NAME, count, "memory per name, half of them run here", each(memory.near, empty.near), map));
    }
    Ok(())
}

/// What nodes have in use.
#[derive(Default)]
struct Memory {
    /// Those that run workers, on average.
    near: f64,
    /// The one that does not.
    far: f64,
}

impl Memory {
    fn of(cluster: &Cluster) -> Result<Self, BoxError> {
        let near: Result<f64, BoxError> = RUNNING.iter().map(|id| cluster[id].resident_bytes()).sum();
        Ok(Self { near: near? / RUNNING.len() as f64, far: cluster["c"].resident_bytes()? })
    }
}

/// What is used each second where nothing happens.
struct Rest {
    /// Seconds of the processor, by a process.
    cpu: f64,
    /// On a link, in both directions together.
    bytes: f64,
}

async fn rest(processes: Vec<&Process>, network: &Network, time: Duration) -> Result<Rest, BoxError> {
    let cpu = || processes.iter().map(|process| process.cpu_seconds()).sum::<Result<f64, BoxError>>();
    let (cpu_before, bytes_before) = (cpu()?, network.bytes());
    sleep(time).await;
    let (cpu, bytes) = (cpu()? - cpu_before, (network.bytes() - bytes_before) as f64);
    let seconds = time.as_secs_f64();
    Ok(Rest { cpu: cpu / seconds / processes.len() as f64, bytes: bytes / seconds / network.links() as f64 })
}

/// The same of as many sessions of zenoh's.
async fn bare(cluster: &Cluster, calm: Duration, time: Duration) -> Result<Rest, BoxError> {
    let mut network = Network::new(&THREE).await?;
    let mut processes = Vec::new();
    for id in THREE {
        let process = cluster.process(&format!("bare-{id}"))?;
        process.ask::<()>(Command::EchoZenoh { config: network.config(id)? }).await?;
        processes.push(process);
    }
    sleep(calm).await;
    let rest = rest(processes.iter().collect(), &network, time).await?;
    network.close().await;
    Ok(rest)
}
