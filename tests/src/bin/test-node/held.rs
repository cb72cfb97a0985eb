//! A worker that tells, independently of the library, whether it runs twice.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;

use crate::workers::*;

/// Holds a lock of the system, named after it, from its start until it is dropped.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "held", handoff, lifecycle, handles(Add, AddDurable, Get, Where, Crash, Fail, Stop, Sleep))]
pub(crate) struct Held {
    total: i64,
    #[serde(skip)]
    failing: bool,
    #[serde(skip)]
    lock: Option<File>,
}

impl Held {
    pub(crate) fn new(total: i64) -> Self {
        Self { total, failing: false, lock: None }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Its end takes a moment, so that a successor that does not wait for it is noticed. The lock goes after this.
        if self.lock.is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Lifecycle for Held {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        if self.lock.is_some() {
            return Ok(()); // it goes on after a move that did not come about
        }
        let locks = PathBuf::from(std::env::var("SWORM_TESTS_LOCKS")?);
        let path = locks.join(ctx.name());
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                writeln!(file, "{}", ctx.pid())?;
                self.lock = Some(file);
            }
            Err(TryLockError::WouldBlock) => {
                let mut overlaps = OpenOptions::new().create(true).append(true).open(locks.join("overlaps"))?;
                let before = std::fs::read_to_string(&path)?;
                let running = before.lines().last().unwrap_or_default();
                writeln!(overlaps, "{} starts while {running} runs", ctx.pid())?;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(())
    }

    async fn run(&mut self, _: &mut Context<Self>) -> Result<(), BoxError> {
        run(self.failing).await
    }
}

handlers!(Held);
