//! A node process, as the process that started it sees it.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sworm::{BoxError, Incarnation};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::node::{LEAVE, Told};

/// How long a node may take to start, or to leave.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// How long a node may take to close when the run is over.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How much of a node's log an error shows.
const LOG_LINES: usize = 5;

/// What a node is started from.
#[derive(Clone)]
pub(crate) struct Launch {
    pub(crate) id: String,
    pub(crate) cluster: String,
    /// Where stores and logs are.
    pub(crate) directory: PathBuf,
    pub(crate) listen: String,
    pub(crate) join: Vec<String>,
}

/// A running node. Dropping it kills it; it also ends by itself when this process does, since its stdin ends then.
pub(crate) struct Process {
    pub(crate) id: String,
    pub(crate) endpoint: String,
    pub(crate) incarnation: Incarnation,
    child: Child,
    stdin: ChildStdin,
    told: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Process {
    /// Starts a node and waits until it can be given workers.
    pub(crate) async fn start(launch: Launch) -> Result<Self, BoxError> {
        let Launch { id, cluster, directory, listen, join } = launch;
        let log = directory.join(format!("{id}.log"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", "--id", &id, "--cluster", &cluster, "--listen", &listen]);
        command.arg("--store").arg(directory.join(&id));
        command.args(join.iter().flat_map(|endpoint| ["--join", endpoint]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(OpenOptions::new().create(true).append(true).open(&log)?);
        let mut child = command.kill_on_drop(true).spawn()?;
        let stdin = child.stdin.take().expect("it was asked for");
        let told = BufReader::new(child.stdout.take().expect("it was asked for")).lines();
        let mut process = Self { id, endpoint: String::new(), incarnation: Incarnation(0), child, stdin, told, log };
        match process.next_told().await? {
            Told::Ready { endpoints, incarnation } => {
                process.endpoint = endpoints.into_iter().next().ok_or("a node listens nowhere")?;
                process.incarnation = Incarnation(incarnation);
                Ok(process)
            }
            Told::Left => Err(process.failed("left before it was there")),
        }
    }

    /// Sends SIGKILL, without waiting for the process to end.
    pub(crate) fn kill(&mut self) -> Result<(), BoxError> {
        Ok(self.child.start_kill()?)
    }

    /// Waits until a killed process is gone.
    pub(crate) async fn gone(mut self) -> Result<(), BoxError> {
        self.child.wait().await?;
        Ok(())
    }

    /// Makes the node hand over its workers and end.
    pub(crate) async fn leave(mut self) -> Result<(), BoxError> {
        self.stdin.write_all(format!("{LEAVE}\n").as_bytes()).await?;
        match self.next_told().await? {
            Told::Left => {
                self.stop().await;
                Ok(())
            }
            Told::Ready { .. } => Err(self.failed("did not understand that it is to leave")),
        }
    }

    /// Ends the process when its work is done.
    pub(crate) async fn stop(self) {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        // If it does not end by itself it is killed when it is dropped, and its directory goes anyway.
        let _ = timeout(STOP_LIMIT, child.wait()).await;
    }

    /// An error if the process has ended although nobody asked it to.
    pub(crate) fn check(&mut self) -> Result<(), BoxError> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("ended by itself ({status})"))),
        }
    }

    async fn next_told(&mut self) -> Result<Told, BoxError> {
        match timeout(ANSWER_LIMIT, self.told.next_line()).await {
            Err(_) => Err(self.failed(&format!("gave no answer within {ANSWER_LIMIT:?}"))),
            Ok(Ok(Some(line))) => Ok(serde_json::from_str(&line)?),
            Ok(_) => Err(self.failed("ended by itself")),
        }
    }

    fn failed(&self, what: &str) -> BoxError {
        format!("node {} {what}; the end of its log:\n{}", self.id, last_lines(&self.log)).into()
    }
}

fn last_lines(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
