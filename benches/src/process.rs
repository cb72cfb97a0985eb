//! A process of this program that does what it is told: a node, or one side of a baseline.

use std::process::Stdio;
use std::time::Duration;

use serde::de::DeserializeOwned;
use sworm::BoxError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Program};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::names::clock;
use crate::protocol::{Answer, Asked, Command};
use crate::usage;

/// The argument with which this program takes commands.
pub const SERVE: &str = "--serve-commands";

/// No command takes longer.
const LIMIT: Duration = Duration::from_secs(600);

/// A process that is killed when this is dropped. It is asked one thing at a time.
pub(crate) struct Process {
    pid: u32,
    child: Child,
    line: Mutex<Line>,
}

struct Line {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    next: u64,
}

impl Process {
    /// Starts this program anew as a process that takes commands. Nodes that have the same directory for temporary files
    /// find each other through it.
    pub(crate) fn spawn(temporary: &std::path::Path) -> Result<Self, BoxError> {
        std::fs::create_dir_all(temporary)?;
        let mut child = Program::new(std::env::current_exe()?)
            .arg(SERVE)
            .env("TMPDIR", temporary)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let line = Line { stdin, stdout: BufReader::new(stdout).lines(), next: 0 };
        Ok(Self { pid: child.id().expect("it was not waited for"), child, line: Mutex::new(line) })
    }

    /// Sends a command and waits for what comes of it.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, command: Command) -> Result<T, BoxError> {
        let what = format!("{command:?}");
        let mut line = self.line.lock().await;
        let asked = Asked { number: line.next, command };
        line.next += 1;
        line.stdin.write_all(format!("{}\n", serde_json::to_string(&asked)?).as_bytes()).await?;
        let answered = timeout(LIMIT, line.stdout.next_line()).await.map_err(|_| format!("no answer to {what}"))??;
        let answer: Answer = serde_json::from_str(&answered.ok_or_else(|| format!("it died of {what}"))?)?;
        if answer.number != asked.number {
            return Err(format!("an answer to something else than {what}").into());
        }
        Ok(serde_json::from_value(answer.result.map_err(|why| format!("{what}: {why}"))?)?)
    }

    /// The seconds that the processor has worked for it.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, BoxError> {
        usage::cpu_seconds(self.pid)
    }

    /// The memory that it has in use.
    pub(crate) fn resident_bytes(&self) -> Result<f64, BoxError> {
        usage::resident_bytes(self.pid)
    }

    /// SIGKILL. Answers when it was sent, on the shared clock, and the seconds until the end of its output told of it.
    pub(crate) async fn kill(mut self) -> Result<(f64, f64), BoxError> {
        let at = clock();
        self.child.start_kill()?;
        while self.line.get_mut().stdout.next_line().await?.is_some() {}
        let told = clock() - at;
        self.child.wait().await?;
        Ok((at, told))
    }

    /// Ends it by closing its input.
    pub(crate) async fn end(mut self) -> Result<(), BoxError> {
        drop(self.line.into_inner());
        self.child.wait().await?;
        Ok(())
    }
}
