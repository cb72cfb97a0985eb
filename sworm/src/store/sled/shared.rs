//! Holds the queue of batches and what is known about their fate: what callers, the writer and the watchdog share.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::sled::{Db, Tree};
use tokio::sync::watch;

use crate::store::{Batch, StoreError, Ticket};

/// How many bytes may wait for the writer before writes wait.
const QUEUE_BYTES: usize = 16 << 20;
/// How many batches may wait for the writer before writes wait.
const QUEUE_BATCHES: usize = 4096;

pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something for the writer to do.
    work: Condvar,
    /// The writer has done something, or will do nothing more.
    progress: Condvar,
    /// What those who wait for a sync or the end are told.
    synced: watch::Sender<Synced>,
}

#[derive(Clone, Debug, Default)]
struct Synced {
    upto: Ticket,
    failed: Option<StoreError>,
    released: bool,
}

#[derive(Default)]
pub(super) struct State {
    queue: VecDeque<(Ticket, Batch)>,
    queued_bytes: usize,
    issued: Ticket,
    /// All batches up to this one are in the tree.
    pub(super) applied: Ticket,
    /// All batches up to this one are on the disk.
    synced: Ticket,
    /// The highest ticket that somebody wants on the disk.
    wanted: Ticket,
    pub(super) closing: bool,
    pub(super) failed: Option<StoreError>,
    /// For reads; `None` once it is closed.
    pub(super) db: Option<Db>,
    /// When the writer began what it is doing.
    busy_since: Option<Instant>,
    released: bool,
}

impl Shared {
    pub(super) fn new(db: Db) -> Arc<Self> {
        let state = Mutex::new(State { db: Some(db), ..State::default() });
        let synced = watch::channel(Synced::default()).0;
        Arc::new(Self { state, work: Condvar::new(), progress: Condvar::new(), synced })
    }

    /// Queues a batch; waits while too much is queued.
    pub(super) fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        let mut state = self.lock();
        state.check()?;
        while state.queue.len() >= QUEUE_BATCHES || state.queued_bytes >= QUEUE_BYTES {
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.check()?;
        }
        state.issued.0 += 1;
        let ticket = state.issued;
        state.queued_bytes += batch.bytes();
        state.queue.push_back((ticket, batch));
        self.work.notify_one();
        Ok(ticket)
    }

    /// The tree, once everything written so far is applied.
    pub(super) fn reader(&self) -> Result<Tree, StoreError> {
        let mut state = self.lock();
        let upto = state.issued;
        loop {
            state.check()?;
            match &state.db {
                Some(db) if state.applied >= upto => return Ok(Tree::clone(db)),
                _ => state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Asks for a sync now; the future waits for it.
    pub(super) fn sync(&self, upto: Ticket) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let mut synced = self.synced.subscribe();
        let asked = {
            let mut state = self.lock();
            // A ticket of another store may be any number: everything written so far covers it.
            let upto = upto.min(state.issued);
            state.check().map(|()| {
                state.wanted = state.wanted.max(upto);
                self.work.notify_one();
                upto
            })
        };
        async move {
            let upto = asked?;
            match synced.wait_for(|now| now.upto >= upto || now.failed.is_some() || now.released).await.as_deref() {
                Ok(Synced { failed: Some(failed), .. }) => Err(failed.clone()),
                Ok(now) if now.upto >= upto => Ok(()),
                _ => Err(StoreError::Closed),
            }
        }
    }

    /// Asks for the end; the future waits for it.
    pub(super) fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let mut synced = self.synced.subscribe();
        self.lock().closing = true;
        self.work.notify_one();
        self.progress.notify_all();
        async move {
            match synced.wait_for(|now| now.released).await {
                Ok(now) => now.failed.clone().map_or(Ok(()), Err),
                Err(_) => Err(StoreError::Closed),
            }
        }
    }

    /// Waits for the end that was asked for. `false`: the writer hangs, and keeps the lock.
    pub(super) fn wait_for_end(&self, stall: Duration) -> bool {
        let mut state = self.lock();
        while !state.released {
            if state.busy_for() > stall {
                return false;
            }
            state = self.progress.wait_timeout(state, stall / 4).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Fails the store when the writer hangs, so that nobody waits for it for ever. Returns when the store is released.
    pub(super) fn watch(&self, stall: Duration) {
        let mut state = self.lock();
        while !state.released {
            if state.failed.is_none() && state.busy_for() > stall {
                self.fail(&mut state, format!("the disk did not answer within {stall:?}"));
            }
            drop(state);
            // Not on `progress`: it is not to be woken by every batch.
            std::thread::park_timeout(stall / 4);
            state = self.lock();
        }
    }

    /// What the writer is to do next, and whether it is the last. Waits until there is something, or for so long.
    pub(super) fn next(&self, patience: Option<Duration>) -> (VecDeque<(Ticket, Batch)>, bool) {
        let mut state = self.lock();
        state.busy_since = None;
        while state.queue.is_empty() && !state.closing && !state.sync_is_wanted() {
            // After a failure there is nothing to do but to wait for the end.
            let Some(patience) = patience.filter(|_| state.failed.is_none()) else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.work.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            if waited.1.timed_out() {
                break;
            }
        }
        state.busy_since = Some(Instant::now());
        state.queued_bytes = 0;
        self.progress.notify_all();
        let batches = std::mem::take(&mut state.queue);
        // After a failure nothing is applied, and nobody was told that it would be.
        (if state.failed.is_some() { VecDeque::new() } else { batches }, state.closing)
    }

    /// Begins a step of the writer by changing the state.
    pub(super) fn step<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.busy_since = Some(Instant::now());
        self.progress.notify_all();
        change(&mut state)
    }

    /// Acknowledges what is on the disk.
    pub(super) fn acknowledge(&self, state: &mut State, upto: Ticket) {
        // What hung until the store was given up is not believed.
        if state.failed.is_none() {
            state.synced = upto;
            self.synced.send_modify(|synced| synced.upto = upto);
        }
    }

    /// From here on everything fails.
    pub(super) fn fail(&self, state: &mut State, why: String) {
        tracing::error!(why, "the store failed; nothing is acknowledged any more");
        let failed = state.failed.get_or_insert(StoreError::Failed(why)).clone();
        self.synced.send_modify(|synced| synced.failed = Some(failed));
        self.progress.notify_all();
    }

    /// Tells everybody that there is nothing more to wait for.
    pub(super) fn released(&self) {
        let mut state = self.lock();
        (state.closing, state.released, state.busy_since) = (true, true, None);
        self.synced.send_modify(|synced| synced.released = true);
        self.progress.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether callers are served.
    fn check(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(failed) => Err(failed.clone()),
            None if self.closing => Err(StoreError::Closed),
            None => Ok(()),
        }
    }

    pub(super) fn sync_is_wanted(&self) -> bool {
        self.failed.is_none() && self.wanted > self.synced
    }

    fn busy_for(&self) -> Duration {
        self.busy_since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
