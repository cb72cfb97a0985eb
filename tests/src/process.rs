//! A node process, and commands to it.

use std::collections::{BTreeMap, HashMap};
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use sworm::Pid;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::SWORM;
use crate::protocol::{Answer, Command, Failure, Found, Kind, Request, Say, Seen, TypedCommand};

/// No command takes longer: the longest limit in the library is that of a leave.
const LIMIT: Duration = Duration::from_secs(60);

/// A node process. Its typed methods are about the sworm [`SWORM`]. It is killed when it is dropped.
pub struct Process {
    id: String,
    log: PathBuf,
    child: Mutex<Child>,
    pid: u32,
    stdin: AsyncMutex<Option<ChildStdin>>,
    waiting: Waiting,
    next: AtomicU64,
    opened: AtomicBool,
    /// Where it listens, once it has started.
    pub(crate) endpoints: Vec<String>,
}

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

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, Failure>>>>>;

impl Process {
    pub(crate) fn spawn(program: &str, id: &str, directory: &Path, temporary: &Path) -> Self {
        let log = directory.join(format!("{id}.log"));
        let stderr = OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let mut child = tokio::process::Command::new(program)
            // Nodes of one cluster find each other on this machine through it.
            .env("TMPDIR", temporary)
            .env("SWORM_TESTS_LOCKS", directory.join("locks"))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .expect("the node program starts");
        let waiting: Waiting = Arc::default();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let answers = waiting.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Answer { id, result } = serde_json::from_str(&line).expect("an answer");
                if let Some(waiting) = lock(&answers).remove(&id) {
                    let _ = waiting.send(result);
                }
            }
            lock(&answers).clear();
        });
        Self {
            id: id.to_owned(),
            log,
            pid: child.id().expect("it was not waited for"),
            stdin: AsyncMutex::new(child.stdin.take()),
            child: Mutex::new(child),
            waiting,
            next: AtomicU64::new(0),
            opened: AtomicBool::new(false),
            endpoints: Vec::new(),
        }
    }

    /// The node's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where the node listens.
    pub fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// What the node has logged, in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("its log")
    }

    /// Sends a command and waits for what comes of it. When the process ends meanwhile that is `ProcessGone`.
    pub async fn ask(&self, command: Command) -> Result<Value, Failure> {
        let gone = || Failure { kind: "ProcessGone".into(), text: self.id.clone(), pid: None, unknown: true };
        let id = self.next.fetch_add(1, Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let what = format!("{command:?}");
        let line = format!("{}\n", serde_json::to_string(&Request { id, command }).expect("plain data"));
        if let Some(stdin) = &mut *self.stdin.lock().await {
            stdin.write_all(line.as_bytes()).await.map_err(|_| gone())?;
        }
        let answered = tokio::time::timeout(LIMIT, answer).await;
        answered.unwrap_or_else(|_| panic!("no answer of {} to {what} in {LIMIT:?}", self.id)).map_err(|_| gone())?
    }

    /// The same, with the answer's type.
    pub async fn get<T: DeserializeOwned>(&self, command: Command) -> Result<T, Failure> {
        Ok(serde_json::from_value(self.ask(command).await?).expect("the answer's type"))
    }

    async fn typed<T: DeserializeOwned>(&self, command: TypedCommand) -> Result<T, Failure> {
        self.get(Command::Typed { sworm: SWORM.into(), command }).await
    }

    /// Opens [`SWORM`].
    pub async fn open(&self) -> Result<(), Failure> {
        self.ask(Command::Open { sworm: SWORM.into(), handoff: None }).await?;
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
    /// unknown outcome; to ask again changes nothing.
    pub async fn total(&self, kind: Kind, name: &str) -> Result<i64, Failure> {
        let ask = || async {
            let total = self.call(kind, name, Say::Get).await;
            (!total.as_ref().is_err_and(|failure| failure.unknown)).then_some(total)
        };
        crate::eventually("an answer of the worker", ask).await
    }

    /// Asks a worker where it runs.
    pub async fn whereabouts(&self, kind: Kind, name: &str) -> Result<String, Failure> {
        self.ask_worker(kind, name, Say::Where, None).await
    }

    /// What another node registered is known here a moment later: only then there is a reference to call it by.
    async fn ask_worker<T: DeserializeOwned>(
        &self,
        kind: Kind,
        name: &str,
        say: Say,
        within_ms: Option<u64>,
    ) -> Result<T, Failure> {
        let ask = || async {
            let answer = self.typed(TypedCommand::Call { kind, name: name.into(), say, within_ms }).await;
            (!answer.as_ref().is_err_and(|failure: &Failure| failure.kind == "Missing")).then_some(answer)
        };
        crate::eventually("a reference to the worker", ask).await
    }

    /// Casts.
    pub async fn cast(&self, kind: Kind, name: &str, say: Say) -> Result<(), Failure> {
        self.typed(TypedCommand::Cast { kind, name: name.into(), say }).await
    }

    /// `unregister_name`.
    pub async fn unregister(&self, name: &str) -> Result<(), Failure> {
        self.get(Command::Unregister { sworm: SWORM.into(), name: name.into() }).await
    }

    /// Puts a counter into a group.
    pub async fn join(&self, group: &str, name: &str) -> Result<(), Failure> {
        self.typed(TypedCommand::Join { kind: Kind::Counter, group: group.into(), name: name.into() }).await
    }

    /// Takes a counter out of a group.
    pub async fn leave_group(&self, group: &str, name: &str) -> Result<(), Failure> {
        self.typed(TypedCommand::LeaveGroup { kind: Kind::Counter, group: group.into(), name: name.into() }).await
    }

    /// The names in a group.
    pub async fn group(&self, group: &str) -> Vec<String> {
        let command = Command::GroupMembers { sworm: SWORM.into(), group: group.into() };
        let found: Vec<Found> = self.get(command).await.expect("look-ups never fail");
        found.into_iter().map(|found| found.name).collect()
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

    /// SIGKILL; returns when the process is gone.
    pub async fn kill(&self) {
        lock(&self.child).start_kill().expect("it can be killed");
        self.gone().await;
    }

    /// Closes its standard input, upon which it ends, and waits for that.
    pub(crate) async fn end(&self) {
        drop(self.stdin.lock().await.take());
        self.gone().await;
    }

    async fn gone(&self) {
        crate::eventually("the end of the process", || async { lock(&self.child).try_wait().expect("it is ours") })
            .await;
    }

    /// SIGSTOP: the process stands still with all its links open.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = std::process::Command::new("kill").args([signal, &self.pid.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal} {}", self.pid);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
