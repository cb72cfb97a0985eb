//! A worker that tells, independently of the library, whether it runs twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use sworm_tests::living::{self, Living};

use crate::workers::*;

/// Holds a lock of the system, named after it, from its start until it is dropped.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(
    name = "held",
    handoff,
    lifecycle,
    handles(Add, AddDurable, Get, Where, Crash, Fail, Stop, Sleep, Block, Wait)
)]
pub(crate) struct Held {
    total: i64,
    /// Many bytes where its name says `large`.
    #[serde(with = "serde_bytes")]
    load: Vec<u8>,
    #[serde(skip)]
    failing: bool,
    #[serde(skip)]
    lock: Lock,
    #[serde(skip)]
    living: Option<Living>,
}

/// A state of so many bytes is in several chunks.
const LARGE: usize = 700_000;

/// The lock, once it is this worker's.
type Lock = Arc<Mutex<Option<File>>>;

/// Where more live than this they end at once: the pause of each would hold up the whole process.
const FEW: usize = 200;
/// How often one that found its lock taken tries again.
const AGAIN: Duration = Duration::from_millis(50);

impl Held {
    pub(crate) fn new(total: i64) -> Self {
        Self { total, load: Vec::new(), failing: false, lock: Lock::default(), living: None }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its end takes a moment, so that a successor that does not wait for it is noticed. The lock goes after this.
        if self.living.is_some() && living::count() < FEW {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Lifecycle for Held {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.living.is_some() {
            return Ok(()); // it goes on after a move that did not come about
        }
        self.living = Some(Living::new(ctx.pid().clone()));
        if ctx.name().starts_with("large") {
            self.load.resize(LARGE, 7);
        }
        let locks = PathBuf::from(std::env::var("SWORM_TESTS_LOCKS")?);
        let path = locks.join(ctx.name());
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&mut file, ctx.pid())?;
                self.lock = Arc::new(Mutex::new(Some(file)));
            }
            Err(TryLockError::WouldBlock) => {
                let before = std::fs::read_to_string(&path)?;
                let holder = before.lines().last().unwrap_or_default();
                let (running, process) = holder.split_once(" in ").unwrap_or((holder, ""));
                if !stands_still(process) {
                    let mut overlaps = OpenOptions::new().create(true).append(true).open(locks.join("overlaps"))?;
                    writeln!(overlaps, "{} starts while {running} runs", ctx.pid())?;
                }
                tokio::spawn(lock_later(file, ctx.pid().clone(), Arc::downgrade(&self.lock)));
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        run(self.failing).await
    }
}

/// Leaves in the lock's file whose it is.
fn sign(file: &mut File, pid: &Pid) -> std::io::Result<()> {
    writeln!(file, "{pid} in {}", std::process::id())
}

/// Whether a process was stopped by a signal: it keeps its locks and does nothing.
fn stands_still(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
}

/// The winner of two takes over the lock when the other one has ended, so that a third one is noticed, too.
async fn lock_later(mut file: File, pid: Pid, lock: Weak<Mutex<Option<File>>>) {
    loop {
        // Nothing tells when another process gives up a lock on a file.
        tokio::time::sleep(AGAIN).await;
        let Some(lock) = lock.upgrade() else { return };
        if file.try_lock().is_ok() {
            let _ = sign(&mut file, &pid);
            *lock.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
            return;
        }
    }
}

handlers!(Held);
