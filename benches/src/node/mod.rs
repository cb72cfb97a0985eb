//! A process that takes commands from its standard input, answers on its standard output, and ends with its input.

use std::io::{BufRead, Write};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use sworm::prelude::*;
use sworm::{Ack, BoxError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::names::Marked;
use crate::protocol::{Answer, Asked, Command, NodeSpec};
use crate::raw;

mod measure;
mod names;

/// The sworm of all benches.
const SWORM: &str = "bench";

/// What this process has.
#[derive(Default)]
struct Server {
    open: OnceLock<(Node, Sworm)>,
    marked: Mutex<Marked>,
    /// Who watches for names, and how to tell that all are registered.
    watching: tokio::sync::Mutex<Option<(std::sync::mpsc::Sender<()>, JoinHandle<f64>)>>,
    /// What stays for as long as the process lives.
    kept: Mutex<Vec<Box<dyn std::any::Any + Send>>>,
}

/// Takes commands until there are no more.
pub async fn serve() -> Result<(), BoxError> {
    let (lines, mut received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
        // Whoever drives this process is gone.
        std::process::exit(0);
    });
    let server = Server::default();
    while let Some(line) = received.recv().await {
        let Asked { number, command } = serde_json::from_str(&line)?;
        let result = server.command(command).await.map_err(|error| error.to_string());
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&Answer { number, result })?)?;
        out.flush()?;
    }
    Ok(())
}

impl Server {
    async fn command(&self, command: Command) -> Result<Value, BoxError> {
        match command {
            Command::Start(spec) => json(self.start(spec).await?),
            Command::Nodes => json(self.sworm()?.nodes()),
            Command::Watch { count } => {
                let (tell, told) = std::sync::mpsc::channel();
                let sworm = self.sworm()?.clone();
                let watching = tokio::task::spawn_blocking(move || names::watch(&sworm, count, &told));
                *self.watching.lock().await = Some((tell, watching));
                json(())
            }
            Command::Watched => {
                let (tell, watching) = self.watching.lock().await.take().ok_or("nothing is watched")?;
                drop(tell);
                json(watching.await?)
            }
            Command::Fill { kind, first, end, callers, on } => {
                json(names::fill(self.sworm()?, kind, first..end, callers, on).await?)
            }
            Command::Hold { count } => json(names::hold(self.sworm()?, count).await),
            Command::Mark { count, on } => {
                let marked = Marked::on(self.sworm()?, count, &on);
                let names = marked.names();
                *self.marked.lock().unwrap_or_else(PoisonError::into_inner) = marked;
                json(names)
            }
            Command::Recovered { gone } => {
                let marked = std::mem::take(&mut *self.marked.lock().unwrap_or_else(PoisonError::into_inner));
                json(marked.recovered(self.node()?, self.sworm()?, &gone).await?)
            }
            Command::AllUp { ids } => json(names::all_up(self.node()?, &ids).await),
            Command::Digest { count } => json(names::digest(self.node()?, self.sworm()?, count)),
            Command::States { count, check } => json(names::states(self.sworm()?, count, check).await?),
            Command::LookUp { count, readers, time } => {
                json(measure::look_up(self.node()?, self.sworm()?, count, readers, time)?)
            }
            Command::Call { count, on, callers, time } => {
                json(measure::call(self.sworm()?, count, &on, callers, time).await?)
            }
            Command::CallChannel { tasks, callers, time } => json(measure::call_channel(tasks, callers, time).await?),
            Command::Save { callers, time } => json(measure::save(self.sworm()?, callers, time).await?),
            Command::Leave => {
                let started = Instant::now();
                self.node()?.leave().await?;
                json(started.elapsed().as_secs_f64())
            }
            Command::Close => json(self.node()?.close().await?),
            Command::Map { count } => self.keep(measure::map(count)),
            Command::EchoZenoh { config } => self.keep(raw::zenoh::echo(&config).await?),
            Command::EchoTcp => {
                let (address, task) = raw::tcp::echo().await?;
                self.keep(task)?;
                json(address)
            }
        }
    }

    async fn start(&self, spec: NodeSpec) -> Result<Vec<String>, BoxError> {
        let mut builder = Node::builder(spec.id).cluster(spec.cluster).listen(spec.listen);
        builder = builder.join(spec.join).advertise(spec.advertise);
        builder = match spec.store {
            Some(directory) => builder.store(directory),
            None => builder.in_memory(),
        };
        if let Some(config) = spec.zenoh {
            builder = builder.zenoh(raw::zenoh::config(&config)?);
        }
        if spec.client {
            builder = builder.client();
        }
        let node = builder.start().await?;
        let ack = if spec.ack_in_memory { Ack::Memory } else { Ack::Durable };
        let sworm = node.sworm(SwormSpec::new(SWORM).ack(ack)).await?;
        let endpoints = node.endpoints();
        self.open.set((node, sworm)).map_err(|_| "a process has one node")?;
        Ok(endpoints)
    }

    fn node(&self) -> Result<&Node, BoxError> {
        Ok(&self.open.get().ok_or("no node was started")?.0)
    }

    fn sworm(&self) -> Result<&Sworm, BoxError> {
        Ok(&self.open.get().ok_or("no node was started")?.1)
    }

    fn keep(&self, what: impl Send + 'static) -> Result<Value, BoxError> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(what));
        json(())
    }
}

fn json(value: impl Serialize) -> Result<Value, BoxError> {
    Ok(serde_json::to_value(value)?)
}
