//! The commands to a node, a method each; they are about the sworm [`SWORM`].

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use serde::de::DeserializeOwned;
use sworm::Pid;

use super::Process;
use crate::SWORM;
use crate::protocol::{Census, Command, Failure, Found, Kind, Loss, Say, Seen, TypedCommand};

/// A registration with its options.
#[derive(Clone, Copy)]
pub struct Registering<'a> {
    /// The worker type.
    pub kind: Kind,
    /// The name.
    pub name: &'a str,
    /// The value that it is started from.
    pub value: i64,
    /// The node that it is to run on.
    pub on: Option<&'a str>,
    /// Its time.
    pub within_ms: Option<u64>,
    /// What look-ups tell of it.
    pub metadata: &'a [(&'a str, &'a str)],
}

impl<'a> Registering<'a> {
    /// One without options.
    pub fn new(kind: Kind, name: &'a str, value: i64) -> Self {
        Self { kind, name, value, on: None, within_ms: None, metadata: &[] }
    }
}

impl Process {
    async fn typed<T: DeserializeOwned>(&self, command: TypedCommand) -> Result<T, Failure> {
        self.get(Command::Typed { sworm: SWORM.into(), command }).await
    }

    /// Opens [`SWORM`].
    pub async fn open(&self) -> Result<(), Failure> {
        let (sworm, majority, balance) = (SWORM.into(), self.majority, self.balance);
        self.ask(Command::Open { sworm, handoff: None, majority, balance, distribution: None }).await?;
        self.opened.store(true, Relaxed);
        Ok(())
    }

    /// Whether it has opened [`SWORM`].
    pub fn has_opened(&self) -> bool {
        self.opened.load(Relaxed)
    }

    /// Registers a worker.
    pub async fn register(&self, kind: Kind, name: &str, value: i64) -> Result<Pid, Failure> {
        self.register_with(Registering::new(kind, name, value)).await
    }

    /// Registers a worker on a node.
    pub async fn register_on(&self, kind: Kind, name: &str, value: i64, on: &str) -> Result<Pid, Failure> {
        self.register_with(Registering { on: Some(on), ..Registering::new(kind, name, value) }).await
    }

    /// Registers workers at once; gives the names that failed.
    pub async fn register_all(&self, kind: Kind, names: Vec<String>) -> Result<Vec<(String, Failure)>, Failure> {
        self.typed(TypedCommand::RegisterAll { kind, names }).await
    }

    /// Adds to these workers at once; gives their totals.
    pub async fn add_all(
        &self,
        kind: Kind,
        names: Vec<String>,
        n: i64,
    ) -> Result<Vec<(String, Result<i64, Failure>)>, Failure> {
        self.typed(TypedCommand::AddAll { kind, names, n }).await
    }

    /// What its directory says and what lives in its process, in short.
    pub async fn census(&self) -> Result<Census, Failure> {
        self.get(Command::Census { sworm: SWORM.into() }).await
    }

    /// The workers that exist in its process, whatever the library says.
    pub async fn living(&self) -> Vec<Pid> {
        self.get(Command::Living { sworm: SWORM.into() }).await.expect("it answers")
    }

    /// Registers with all options.
    pub async fn register_with(&self, registering: Registering<'_>) -> Result<Pid, Failure> {
        let Registering { kind, name, value, on, within_ms, metadata } = registering;
        let (name, on) = (name.into(), on.map(Into::into));
        let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        self.typed(TypedCommand::Register { kind, name, value, on, within_ms, metadata }).await
    }

    /// Registers a counter with each of these values at once.
    pub async fn race(&self, name: &str, values: Vec<i64>) -> Vec<Result<Pid, Failure>> {
        self.typed(TypedCommand::Race { name: name.into(), values }).await.expect("all have ended")
    }

    /// `whereis_or_register_name`.
    pub async fn find_or_register(&self, kind: Kind, name: &str, value: i64) -> Result<Pid, Failure> {
        self.typed(TypedCommand::FindOrRegister { kind, name: name.into(), value }).await
    }

    /// `whereis_name`.
    pub async fn find_typed(&self, kind: Kind, name: &str) -> Option<Pid> {
        self.typed(TypedCommand::FindTyped { kind, name: name.into() }).await.expect("look-ups never fail")
    }

    /// `whereis`.
    pub async fn find(&self, name: &str) -> Option<Found> {
        self.get(Command::Find { sworm: SWORM.into(), name: name.into() }).await.expect("look-ups never fail")
    }

    /// The nodes that have a name's newest state; none if the name is not known.
    pub async fn holders(&self, name: &str) -> Vec<String> {
        self.get(Command::Holders { sworm: SWORM.into(), name: name.into() }).await.unwrap_or_default()
    }

    /// `registered`.
    pub async fn registered(&self) -> Vec<Found> {
        self.get(Command::Registered { sworm: SWORM.into() }).await.expect("look-ups never fail")
    }

    /// Calls a worker that answers a number, with 20 s.
    pub async fn call(&self, kind: Kind, name: &str, say: Say) -> Result<i64, Failure> {
        self.call_within(kind, name, say, None).await
    }

    /// Calls with another limit.
    pub async fn call_within(&self, kind: Kind, name: &str, say: Say, ms: Option<u64>) -> Result<i64, Failure> {
        self.ask_worker(kind, name, say, ms).await
    }

    /// Tells the process to do something and to abort as soon as it has answered; returns when it is gone. There is less
    /// time between the answer and the end than a kill from outside could leave.
    pub async fn last<T: DeserializeOwned>(&self, command: TypedCommand) -> Result<T, Failure> {
        let command = Command::Typed { sworm: SWORM.into(), command };
        let answer = self.get(Command::ThenDie(Box::new(command))).await;
        self.gone().await;
        answer
    }

    /// A worker's total. Where the caller's node has not noticed yet that the worker's is dead, a call to it has an
    /// unknown outcome, and until the worker runs again one may not be sent in its time; to ask again changes nothing.
    pub async fn total(&self, kind: Kind, name: &str) -> Result<i64, Failure> {
        let ask = || async {
            let total = self.call(kind, name, Say::Get).await;
            (!total.as_ref().is_err_and(|failure| failure.unknown || failure.kind == "NotSent")).then_some(total)
        };
        crate::eventually("an answer of the worker", ask).await
    }

    /// Asks a worker where it runs.
    pub async fn whereabouts(&self, kind: Kind, name: &str) -> Result<String, Failure> {
        self.ask_worker(kind, name, Say::Where, None).await
    }

    async fn ask_worker<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        say: Say,
        within_ms: Option<u64>,
    ) -> Result<T, Failure> {
        self.when_known(TypedCommand::Call { kind, name: name.into(), say, within_ms }).await
    }

    /// What another node registered is known here a moment later: only then there is a reference to it.
    async fn when_known<T: DeserializeOwned>(&self, command: TypedCommand) -> Result<T, Failure> {
        let ask = || async {
            let answer = self.typed(command.clone()).await;
            (!answer.as_ref().is_err_and(|failure: &Failure| failure.kind == "Missing")).then_some(answer)
        };
        crate::eventually("a reference to the worker", ask).await
    }

    /// Casts.
    pub async fn cast(&self, kind: Kind, name: &str, say: Say) -> Result<(), Failure> {
        self.when_known(TypedCommand::Cast { kind, name: name.into(), say }).await
    }

    /// `unregister_name`.
    pub async fn unregister(&self, name: &str) -> Result<(), Failure> {
        self.get(Command::Unregister { sworm: SWORM.into(), name: name.into() }).await
    }

    /// Makes it lose something of a worker that it runs.
    pub async fn lose(&self, name: &str, what: Loss) {
        let command = Command::Lose { sworm: SWORM.into(), name: name.into(), what };
        self.ask(command).await.expect("it runs there");
    }

    /// Puts a counter into a group.
    pub async fn join(&self, group: &str, name: &str) -> Result<(), Failure> {
        self.when_known(TypedCommand::Join { kind: Kind::Counter, group: group.into(), name: name.into() }).await
    }

    /// Takes a counter out of a group.
    pub async fn leave_group(&self, group: &str, name: &str) -> Result<(), Failure> {
        self.when_known(TypedCommand::LeaveGroup { kind: Kind::Counter, group: group.into(), name: name.into() }).await
    }

    /// The names in a group.
    pub async fn group(&self, group: &str) -> Vec<String> {
        let command = Command::GroupMembers { sworm: SWORM.into(), group: group.into() };
        let found: Vec<Found> = self.get(command).await.expect("look-ups never fail");
        found.into_iter().map(|found| found.name).collect()
    }

    /// Adds to all counters in a group; their totals, by name.
    pub async fn add_to_group(&self, group: &str, n: i64) -> Vec<(String, Result<i64, Failure>)> {
        self.typed(TypedCommand::AddToGroup { group: group.into(), n }).await.expect("each for itself")
    }

    /// Publishes the same; to how many it went.
    pub async fn publish_to_group(&self, group: &str, n: i64) -> Result<usize, Failure> {
        self.typed(TypedCommand::PublishToGroup { group: group.into(), n }).await
    }

    /// `attach_name`.
    pub async fn attach(&self, name: &str) -> Result<Pid, Failure> {
        self.get(Command::Attach { sworm: SWORM.into(), name: name.into() }).await
    }

    /// Calls an attached name; it answers the next number.
    pub async fn call_inbox(&self, name: &str, n: i64) -> Result<i64, Failure> {
        self.get(Command::CallInbox { sworm: SWORM.into(), name: name.into(), n }).await
    }

    /// The members of the cluster as this node sees them: id and state.
    pub async fn members(&self) -> BTreeMap<String, String> {
        let seen: Vec<Seen> = self.get(Command::Members).await.expect("it has started");
        seen.into_iter().map(|member| (member.id, member.state)).collect()
    }

    /// The ids of the members that are up.
    pub async fn up(&self) -> Vec<String> {
        self.members().await.into_iter().filter(|(_, state)| state == "Up").map(|(id, _)| id).collect()
    }

    /// The ids of the nodes that take part in the sworm, as this node sees it.
    pub async fn sworm_nodes(&self) -> Vec<String> {
        self.get(Command::SwormNodes { sworm: SWORM.into() }).await.expect("look-ups never fail")
    }
}
