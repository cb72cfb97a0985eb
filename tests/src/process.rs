//! A node process: its life, and the line to it.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use crate::protocol::{Answer, Balance, Command, Failure, Majority, Request};

mod commands;
mod moves;
mod operating;

pub use commands::Registering;

/// No command takes longer: the longest limit in the library is that of a leave.
const LIMIT: Duration = Duration::from_secs(60);

/// A node process. Its typed methods are about the sworm [`SWORM`](crate::SWORM). It is killed when it is dropped.
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
    /// How it opens [`SWORM`](crate::SWORM), if that is in mode "majority".
    pub(crate) majority: Option<Majority>,
    /// Whether names move for balance in [`SWORM`](crate::SWORM).
    pub(crate) balance: Option<Balance>,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, Failure>>>>>;

impl Process {
    pub(crate) fn spawn(program: &str, file_blocks: Option<u64>, id: &str, directory: &Path, temporary: &Path) -> Self {
        let log = directory.join(format!("{id}.log"));
        let stderr = OpenOptions::new().create(true).append(true).open(&log).expect("a log file");
        let mut child = limited(program, file_blocks)
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
            majority: None,
            balance: None,
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
        let (what, leaves) = (format!("{command:?}"), matches!(command, Command::Leave));
        let line = format!("{}\n", serde_json::to_string(&Request { id, command }).expect("plain data"));
        if let Some(stdin) = &mut *self.stdin.lock().await {
            stdin.write_all(line.as_bytes()).await.map_err(|_| gone())?;
        }
        // A node that leaves may have thousands of workers, on a machine that is busy.
        let limit = if leaves { 5 * LIMIT } else { LIMIT };
        let answered = tokio::time::timeout(limit, answer).await;
        answered.unwrap_or_else(|_| panic!("no answer of {} to {what} in {limit:?}", self.id)).map_err(|_| gone())?
    }

    /// The same, with the answer's type.
    pub async fn get<T: DeserializeOwned>(&self, command: Command) -> Result<T, Failure> {
        Ok(serde_json::from_value(self.ask(command).await?).expect("the answer's type"))
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

    /// Waits until the process is gone, and says how it ended.
    pub async fn gone(&self) -> ExitStatus {
        crate::eventually("the end of the process", || async { lock(&self.child).try_wait().expect("it is ours") })
            .await
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

/// A program that cannot make a file larger than that. The signal that comes with it is ignored: the write fails.
fn limited(program: &str, file_blocks: Option<u64>) -> tokio::process::Command {
    let Some(blocks) = file_blocks else { return tokio::process::Command::new(program) };
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ && ulimit -f \"$1\" && exec \"$0\"", program, &blocks.to_string()]);
    shell
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
