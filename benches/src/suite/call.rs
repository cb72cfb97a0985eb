//! Calls, to workers here and elsewhere, against the same without Sworm.

use sworm::BoxError;

use super::Run;
use crate::cluster::{Cluster, Storage};
use crate::load::Load;
use crate::process::Process;
use crate::protocol::Command;
use crate::raw;
use crate::raw::zenoh::By;
use crate::report::Row;

pub(super) const NAME: &str = "call";

pub(super) async fn run(run: Run, rows: &mut Vec<Row>) -> Result<(), BoxError> {
    // Workers to call; each caller has others.
    let names = run.of(300, 1_000, 1_000);
    // What is compared takes turns, since other programs may disturb the one or the other.
    let rounds = run.of(1, 3, 3);
    let cluster = Cluster::of_three(Storage::Memory).await?;
    cluster.fill(0, names).await?;
    let other = cluster.process("echo")?;
    let raw = Raw::connect(&other).await?;
    for callers in [1, 64] {
        let (mut sworm, mut put, mut by_task, mut query, mut tcp) = (vec![], vec![], vec![], vec![], vec![]);
        let (mut local, mut channel, mut one_channel) = (vec![], vec![], vec![]);
        for _ in 0..rounds {
            let time = run.time();
            // One other node, as the baselines have.
            let call = |on: &str| Command::Call { count: names, on: on.into(), callers, time };
            sworm.push(cluster["a"].ask(call("b")).await?);
            put.push(raw.zenoh.put(By::Zenoh, callers, time).await?);
            by_task.push(raw.zenoh.put(By::Task, callers, time).await?);
            query.push(raw.zenoh.query(callers, time).await?);
            tcp.push(raw::tcp::call(&raw.tcp, callers, time).await?);
            local.push(cluster["a"].ask(call("a")).await?);
            // As many tasks as there are workers here, about, and as few as possible.
            let channels = |tasks| Command::CallChannel { tasks, callers, time };
            channel.push(cluster["a"].ask(channels(names / 3)).await?);
            one_channel.push(cluster["a"].ask(channels(callers)).await?);
        }
        let remote = Load::median(&sworm);
        rows.extend(compare(callers, "remote", remote, "zenoh put and reply", Load::median(&put)));
        rows.extend(compare(callers, "remote", remote, "zenoh put and reply by a task", Load::median(&by_task)));
        rows.extend(compare(callers, "remote", remote, "zenoh query and reply", Load::median(&query)));
        rows.extend(compare(callers, "remote", remote, "TCP ping-pong", Load::median(&tcp)));
        let local = Load::median(&local);
        rows.extend(compare(callers, "local", local, "channel with oneshot", Load::median(&channel)));
        rows.extend(compare(
            callers,
            "local",
            local,
            "channel with oneshot, a task a caller",
            Load::median(&one_channel),
        ));
    }
    Ok(())
}

fn compare(callers: usize, what: &str, sworm: Load, baseline: &str, raw: Load) -> [Row; 3] {
    let row = |metric: String, value, unit, raw| Row::new(NAME, callers, metric, (value, unit), (baseline, raw));
    [
        row(format!("{what} call, p50"), sworm.p50_us, "us", raw.p50_us),
        row(format!("{what} call, p99"), sworm.p99_us, "us", raw.p99_us),
        row(format!("{what} calls per second"), sworm.per_second, "calls/s", raw.per_second),
    ]
}

/// The baselines; the other process is the other side of both.
struct Raw {
    zenoh: raw::zenoh::Caller,
    tcp: String,
}

impl Raw {
    async fn connect(other: &Process) -> Result<Self, BoxError> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let endpoint = format!("tcp/127.0.0.1:{port}");
        let config = raw::zenoh::settings(None, Some(&endpoint), &[]);
        other.ask::<()>(Command::EchoZenoh { config }).await?;
        Ok(Self { zenoh: raw::zenoh::Caller::connect(&endpoint).await?, tcp: other.ask(Command::EchoTcp).await? })
    }
}
