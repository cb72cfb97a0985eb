//! The node process: takes commands from its standard input, answers on its standard output, ends with its input.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::io::{BufRead, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sworm::prelude::*;
use sworm::{CallError, Explanation, Inbox, Member, Mode, Rebalance, Registration, RegistrationState};
use sworm_redb as _;
use tokio::sync::{mpsc, watch};

use self::held::Held;
use self::operating::Watched;
use crate::living;
use crate::protocol::{
    Answer, Balance, Census, Command, Digest, Failure, Found, Kind, Majority, NodeSpec, Request, Seen, Started,
    TypedCommand,
};

mod held;
mod losing;
mod moves;
mod operating;

/// What an inbox of a node process takes; it answers with the next number.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
pub struct Ping {
    n: i64,
}

/// The commands about worker types, which only the program that links them knows.
pub trait Typed: Send + Sync + 'static {
    /// Carries one out.
    fn typed(&self, sworm: Sworm, command: TypedCommand) -> impl Future<Output = Result<Value, Failure>> + Send;

    /// Why a name runs where it does, or where a worker of that kind would.
    fn explain(&self, sworm: Sworm, kind: Kind, name: String) -> impl Future<Output = Explanation> + Send;
}

/// Takes an error of the library apart.
pub fn failure<E: std::error::Error>(error: E) -> Failure {
    // Errors that hold others, such as `Start(NoStore { .. })`, count as what they hold.
    let debug = format!("{error:?}");
    let mut kind = debug.as_str();
    for outer in ["Start(", "Open(", "Call(", "Leave(", "Store(", "Transport("] {
        kind = kind.strip_prefix(outer).unwrap_or(kind);
    }
    let kind = kind.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
    Failure { kind, text: error.to_string(), pid: None, unknown: false }
}

/// The same for a call.
pub fn call_failure(error: CallError) -> Failure {
    let unknown = error.is_unknown_outcome();
    Failure { unknown, ..failure(error) }
}

/// A value as JSON.
pub fn json(value: impl Serialize) -> Result<Value, Failure> {
    Ok(serde_json::to_value(value).expect("plain data"))
}

struct Server<T> {
    typed: T,
    node: OnceLock<Node>,
    sworms: Mutex<HashMap<String, Sworm>>,
    inboxes: Mutex<HashMap<String, Attached>>,
    held: Held,
    watched: Watched,
}

struct Attached {
    detach: mpsc::Sender<()>,
    ended: watch::Receiver<bool>,
}

/// Runs until the standard input ends.
pub fn run(typed: impl Typed) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info,zenoh=error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (lines, mut received) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let request: Request = serde_json::from_str(&line).expect("a request");
            let _ = lines.send(request);
        }
        // Whoever drives this node is gone: it ends as if it had been killed.
        std::process::exit(0);
    });
    let server = Arc::new(Server {
        typed,
        node: OnceLock::new(),
        sworms: Mutex::default(),
        inboxes: Mutex::default(),
        held: Held::default(),
        watched: Watched::default(),
    });
    runtime.block_on(async move {
        while let Some(Request { id, command }) = received.recv().await {
            let server = server.clone();
            tokio::spawn(async move {
                let (command, last) = match command {
                    Command::ThenDie(command) => (*command, true),
                    command => (command, false),
                };
                let result = server.command(command).await;
                let line = serde_json::to_string(&Answer { id, result }).expect("plain data");
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{line}").and_then(|()| out.flush());
                if last {
                    std::process::abort();
                }
            });
        }
    });
}

impl<T: Typed> Server<T> {
    async fn command(&self, command: Command) -> Result<Value, Failure> {
        match command {
            Command::Start(spec) => self.start(spec).await,
            Command::Open { sworm, handoff, majority, balance, distribution } => {
                let mut spec = SwormSpec::new(&sworm);
                if let Some(on) = handoff {
                    spec = spec.handoff(on);
                }
                if let Some(Majority { expect_nodes, lease_ms }) = majority {
                    spec = spec.mode(Mode::Majority).expect_nodes(expect_nodes).lease(Duration::from_millis(lease_ms));
                }
                if let Some(balance) = balance {
                    spec = spec.rebalance(match balance {
                        Balance::On => Rebalance::On,
                        Balance::Manual => Rebalance::Manual,
                    });
                }
                if let Some(strategy) = distribution {
                    spec = operating::placed_by(spec, &strategy);
                }
                let opened = self.node()?.sworm(spec).await.map_err(failure)?;
                self.sworms.lock().unwrap_or_else(PoisonError::into_inner).insert(sworm, opened);
                json(())
            }
            Command::Moving(command) => self.moving(command).await,
            Command::Operating(command) => self.operating(command).await,
            Command::Typed { sworm, command } => self.typed.typed(self.sworm(&sworm)?, command).await,
            Command::Unregister { sworm, name } => {
                json(self.sworm(&sworm)?.unregister_name(name).await.map_err(failure)?)
            }
            Command::Find { sworm, name } => json(self.sworm(&sworm)?.whereis(name).map(found)),
            Command::Registered { sworm } => {
                json(self.sworm(&sworm)?.registered().into_iter().map(found).collect::<Vec<_>>())
            }
            Command::Holders { sworm, name } => {
                let found = self.sworm(&sworm)?.whereis(name).ok_or_else(|| missing("name"))?;
                json(found.holders)
            }
            Command::GroupMembers { sworm, group } => {
                json(self.sworm(&sworm)?.members(group).into_iter().map(found).collect::<Vec<_>>())
            }
            Command::Attach { sworm, name } => self.attach(&self.sworm(&sworm)?, name).await,
            Command::Detach { name } => {
                let attached = self.inboxes().remove(&name);
                let attached = attached.ok_or_else(|| missing("inbox"))?;
                let _ = attached.detach.send(()).await;
                json(())
            }
            Command::AwaitInboxEnd { name } => {
                let ended = self.inboxes().get(&name).map(|attached| attached.ended.clone());
                let mut ended = ended.ok_or_else(|| missing("inbox"))?;
                let _ = ended.wait_for(|ended| *ended).await;
                json(())
            }
            Command::CallInbox { sworm, name, n } => {
                let found = self.sworm(&sworm)?.whereis_name::<Inbox<Ping>>(name).ok_or_else(|| missing("name"))?;
                json(found.call(Ping { n }).await.map_err(call_failure)?)
            }
            Command::SwormNodes { sworm } => json(self.sworm(&sworm)?.nodes()),
            Command::Census { sworm } => json(census(&self.sworm(&sworm)?)),
            Command::Living { sworm } => json(living::pids(&sworm)),
            Command::Members => json(self.node()?.members().into_iter().map(seen).collect::<Vec<_>>()),
            Command::Lose { sworm, name, what } => {
                losing::lose(&self.sworm(&sworm)?, &name, what);
                json(())
            }
            Command::Leave => json(self.node()?.leave().await.map_err(failure)?),
            Command::ThenDie(_) => Err(missing("a second death")),
            Command::Stopped => json(self.node()?.stopped().await),
            Command::Close => json(self.node()?.close().await.map_err(failure)?),
        }
    }

    async fn start(&self, spec: NodeSpec) -> Result<Value, Failure> {
        let mut builder = Node::builder(spec.id).cluster(spec.cluster).join(spec.join);
        builder = match spec.store {
            Some(directory) => builder.store_plugin(spec.store_kind, directory),
            None => builder.in_memory(),
        };
        for endpoint in spec.listen {
            builder = builder.listen(endpoint);
        }
        builder = builder.advertise(spec.advertise);
        for (label, value) in spec.labels {
            builder = builder.label(label, value);
        }
        if let Some(weight) = spec.weight {
            builder = builder.weight(weight);
        }
        if let Some(config) = spec.zenoh {
            builder = builder.zenoh(zenoh::Config::from_json5(&config).expect("a configuration"));
        }
        if spec.client {
            builder = builder.client();
        }
        if let Some(limit) = spec.recover_wait_ms {
            builder = builder.recover_wait(Duration::from_millis(limit));
        }
        let node = builder.start().await.map_err(failure)?;
        let started = Started { endpoints: node.endpoints(), incarnation: node.incarnation() };
        self.node.set(node).expect("a process has one node");
        json(started)
    }

    async fn attach(&self, sworm: &Sworm, name: String) -> Result<Value, Failure> {
        let mut inbox = sworm.attach_name::<Ping>(&name).await.map_err(failure)?;
        let pid = inbox.pid().clone();
        let (detach, mut detached) = mpsc::channel(1);
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    received = inbox.recv() => match received {
                        Some((Ping { n }, to)) => to.send(n + 1),
                        None => break,
                    },
                    _ = detached.recv() => break,
                }
            }
            end.send_replace(true);
        });
        self.inboxes().insert(name, Attached { detach, ended });
        json(pid)
    }

    fn node(&self) -> Result<&Node, Failure> {
        self.node.get().ok_or_else(|| missing("node"))
    }

    fn sworm(&self, name: &str) -> Result<Sworm, Failure> {
        let sworms = self.sworms.lock().unwrap_or_else(PoisonError::into_inner);
        sworms.get(name).cloned().ok_or_else(|| missing("sworm"))
    }

    fn inboxes(&self) -> std::sync::MutexGuard<'_, HashMap<String, Attached>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command about something that this process does not have.
pub fn missing(what: impl Debug) -> Failure {
    Failure { kind: "Missing".into(), text: format!("{what:?}"), pid: None, unknown: false }
}

fn found(registration: Registration) -> Found {
    let Registration { name, pid, worker_type, state, metadata, groups, attached, .. } = registration;
    Found {
        name: name.to_string(),
        pid,
        worker_type: worker_type.to_string(),
        state: format!("{state:?}"),
        metadata,
        groups: groups.iter().map(|group| group.to_string()).collect(),
        attached,
    }
}

fn census(sworm: &Sworm) -> Census {
    let registered = sworm.registered();
    let running = || registered.iter().filter(|found| found.state == RegistrationState::Running);
    let odd = |found: &&Registration| sworm.whereis(&found.name).is_none_or(|other| other.pid != found.pid);
    Census {
        running: Digest::of(running().map(|found| &found.pid)),
        idle: registered.len() - running().count(),
        odd: registered.iter().filter(odd).count(),
        living: Digest::of(&living::pids(sworm.name())),
    }
}

fn seen(member: Member) -> Seen {
    Seen { id: member.id.to_string(), incarnation: member.incarnation, state: format!("{:?}", member.state) }
}
