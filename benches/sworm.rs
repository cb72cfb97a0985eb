//! Look-ups and local calls against a plain map and a plain channel, in one process. Prints a table and writes
//! `target/sworm-bench.json`.
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use comfy_table::Table;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use tokio::sync::{mpsc, oneshot};

#[derive(Parser)]
struct Options {
    /// Only the bench of this name: lookup, call-local, register.
    bench: Option<String>,
    /// A short run.
    #[arg(long)]
    quick: bool,
}

#[derive(Serialize)]
struct Row {
    bench: &'static str,
    size: usize,
    metric: &'static str,
    value: f64,
    unit: &'static str,
    baseline: &'static str,
    baseline_value: f64,
    ratio: f64,
}

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "bench-counter", handles(Add))]
struct Counter {
    total: u64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u64)]
struct Add {
    n: u64,
}

impl Handler<Add> for Counter {
    async fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> u64 {
        self.total += add.n;
        self.total
    }
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    // Cargo passes `--bench`, which is no option of ours.
    let options = Options::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let known = ["lookup", "call-local", "register"];
    if let Some(name) = &options.bench
        && !known.contains(&name.as_str())
    {
        return Err(format!("there is no bench {name:?}; there are {}", known.join(", ")).into());
    }
    let wanted = |name: &str| options.bench.as_deref().is_none_or(|only| only == name);
    let node = Node::builder("bench").cluster("bench").in_memory().start().await?;
    let sworm = node.sworm("bench").await?;
    let mut rows = Vec::new();
    let names = if options.quick { 1_000 } else { 10_000 };
    if wanted("register") || wanted("lookup") {
        rows.push(register(&sworm, names).await?);
    }
    if wanted("lookup") {
        rows.push(lookup(&sworm, names, if options.quick { 200_000 } else { 2_000_000 }));
    }
    if wanted("call-local") {
        rows.push(call_local(&sworm, if options.quick { 20_000 } else { 200_000 }).await?);
    }
    rows.retain(|row| wanted(row.bench));
    report(&rows)?;
    node.close().await?;
    Ok(())
}

fn per_op(elapsed: Duration, ops: usize) -> f64 {
    elapsed.as_secs_f64() * 1e9 / ops as f64
}

/// One caller registers names on one node in memory; the baseline is a local call.
async fn register(sworm: &Sworm, names: usize) -> Result<Row, Failure> {
    let start = Instant::now();
    for n in 0..names {
        sworm.register_name(format!("name-{n}"), Counter::default()).await?;
    }
    let value = per_op(start.elapsed(), names);
    let counter: Ref<Counter> = sworm.whereis_name("name-0").ok_or("registered above")?;
    let start = Instant::now();
    for _ in 0..names {
        black_box(counter.call(Add { n: 1 }).await?);
    }
    let baseline_value = per_op(start.elapsed(), names);
    Ok(Row {
        bench: "register",
        size: names,
        metric: "time per name, one caller",
        value,
        unit: "ns",
        baseline: "local call",
        baseline_value,
        ratio: value / baseline_value,
    })
}

fn lookup(sworm: &Sworm, names: usize, ops: usize) -> Row {
    let keys: Vec<String> = (0..names).map(|n| format!("name-{n}")).collect();
    let start = Instant::now();
    for n in 0..ops {
        black_box(sworm.whereis_name::<Counter>(&keys[n * 7919 % names]));
    }
    let value = per_op(start.elapsed(), ops);
    let map = papaya::HashMap::new();
    for key in &keys {
        map.pin().insert(key.clone(), sworm.whereis(key));
    }
    let start = Instant::now();
    for n in 0..ops {
        black_box(map.pin().get(&keys[n * 7919 % names]));
    }
    let baseline_value = per_op(start.elapsed(), ops);
    Row {
        bench: "lookup",
        size: names,
        metric: "time per look-up",
        value,
        unit: "ns",
        baseline: "plain concurrent map",
        baseline_value,
        ratio: value / baseline_value,
    }
}

async fn call_local(sworm: &Sworm, ops: usize) -> Result<Row, Failure> {
    let counter = sworm.whereis_or_register_name("call-local", Counter::default).await?;
    let start = Instant::now();
    for _ in 0..ops {
        black_box(counter.call(Add { n: 1 }).await?);
    }
    let value = per_op(start.elapsed(), ops);
    let (sender, mut receiver) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(1024);
    tokio::spawn(async move {
        let mut total = 0;
        while let Some((n, reply)) = receiver.recv().await {
            total += n;
            let _ = reply.send(total);
        }
    });
    let start = Instant::now();
    for _ in 0..ops {
        let (reply, answer) = oneshot::channel();
        sender.send((1, reply)).await?;
        black_box(answer.await?);
    }
    let baseline_value = per_op(start.elapsed(), ops);
    Ok(Row {
        bench: "call-local",
        size: ops,
        metric: "time per call",
        value,
        unit: "ns",
        baseline: "tokio channel and oneshot",
        baseline_value,
        ratio: value / baseline_value,
    })
}

fn report(rows: &[Row]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.set_header(["bench", "size", "metric", "value", "baseline", "baseline's value", "ratio"]);
    for row in rows {
        table.add_row([
            row.bench.to_owned(),
            row.size.to_string(),
            row.metric.to_owned(),
            format!("{:.0} {}", row.value, row.unit),
            row.baseline.to_owned(),
            format!("{:.0} {}", row.baseline_value, row.unit),
            format!("{:.2}", row.ratio),
        ]);
    }
    println!("{table}");
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    std::fs::write(format!("{target}/sworm-bench.json"), serde_json::to_string_pretty(rows)?)?;
    Ok(())
}
