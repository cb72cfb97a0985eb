//! Holds what waits for the disk and what is known about its fate: what callers and the writer share.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use redb::Database;
use sworm::store::{Batch, StoreError, Ticket};
use tokio::sync::watch;

/// How much may wait for the writer before writes wait.
const QUEUE_BYTES: usize = 16 << 20;
/// How much waits for the writer, as long as nobody waits for a sync, until it is committed.
const COMMIT_BYTES: usize = 4 << 20;
/// How long it waits.
const COMMIT_AFTER: Duration = Duration::from_secs(1);
/// What a step costs beside its key and value.
const STEP_BYTES: usize = 64;

/// The last step for each key, as it stands in the table; `None` deletes.
pub(crate) type Steps = BTreeMap<Vec<u8>, Option<Bytes>>;

pub(crate) struct Shared {
    state: Mutex<State>,
    /// There may be something for the writer to do.
    work: Condvar,
    /// There may be room for writes, or there never will be.
    room: Condvar,
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
struct State {
    /// All batches that the writer has not begun to commit. It takes them at once, so none is ever torn.
    queued: Steps,
    queued_bytes: usize,
    queued_since: Option<Instant>,
    /// What the writer commits now; older than what is queued.
    committing: Arc<Steps>,
    issued: Ticket,
    /// All batches up to this one are on the disk.
    synced: Ticket,
    /// The highest ticket that somebody wants on the disk.
    wanted: Ticket,
    closing: bool,
    failed: Option<StoreError>,
    /// For reads, which begin under the lock; `None` once it is closed.
    db: Option<Arc<Database>>,
}

/// What a read found.
pub(crate) enum Found<T> {
    /// The value waits for the disk.
    Queued(Option<Bytes>),
    /// It is on the disk, if it is anywhere.
    OnDisk(T),
}

/// What the writer is to do.
pub(crate) struct Work {
    pub(crate) steps: Arc<Steps>,
    pub(crate) upto: Ticket,
    /// There is nothing after it.
    pub(crate) last: bool,
}

impl Shared {
    pub(crate) fn new(db: Arc<Database>) -> Self {
        let state = Mutex::new(State { db: Some(db), ..State::default() });
        Self { state, work: Condvar::new(), room: Condvar::new(), synced: watch::channel(Synced::default()).0 }
    }

    /// Queues a batch; waits while too much is queued.
    pub(crate) fn write(&self, batch: &Batch) -> Result<Ticket, StoreError> {
        let mut state = self.lock();
        state.check()?;
        while state.queued_bytes >= QUEUE_BYTES {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.check()?;
        }
        state.issued.0 += 1;
        state.queued_bytes += batch.bytes() + STEP_BYTES * batch.ops().len();
        state.queued.extend(batch.ops().iter().map(|op| (op.space.key(&op.key), op.value.clone())));
        if state.queued_since.is_none() {
            // The writer sleeps until the time that this sets.
            state.queued_since = Some(Instant::now());
            self.work.notify_one();
        } else if state.queued_bytes >= COMMIT_BYTES {
            self.work.notify_one();
        }
        Ok(state.issued)
    }

    /// Looks for what waits for the disk; `on_disk` begins a read of everything else.
    pub(crate) fn find<T>(&self, key: &[u8], on_disk: impl FnOnce(&Database) -> T) -> Result<Found<T>, StoreError> {
        let state = self.lock();
        let db = state.readable()?;
        let queued = state.queued.get(key).or_else(|| state.committing.get(key));
        Ok(queued.map_or_else(|| Found::OnDisk(on_disk(db)), |value| Found::Queued(value.clone())))
    }

    /// All that waits for the disk and starts with `prefix`, and a read of everything else that `on_disk` begins.
    pub(crate) fn view<T>(
        &self,
        prefix: &[u8],
        on_disk: impl FnOnce(&Database) -> T,
    ) -> Result<(Steps, T), StoreError> {
        let state = self.lock();
        let db = state.readable()?;
        let within = |steps: &Steps| -> Steps {
            let from = steps.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
            from.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let mut steps = within(&state.committing);
        steps.extend(within(&state.queued));
        Ok((steps, on_disk(db)))
    }

    /// Asks for a sync now; the future waits for it.
    pub(crate) fn sync(&self, upto: Ticket) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
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
    pub(crate) fn close(&self) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let mut synced = self.synced.subscribe();
        self.lock().closing = true;
        self.work.notify_one();
        self.room.notify_all();
        async move {
            match synced.wait_for(|now| now.released).await {
                Ok(now) => now.failed.clone().map_or(Ok(()), Err),
                Err(_) => Err(StoreError::Closed),
            }
        }
    }

    /// What the writer is to do next. Waits until there is something.
    pub(crate) fn next(&self) -> Work {
        let mut state = self.lock();
        while let Some(wait) = state.idle_for() {
            state = self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        let steps = Arc::new(std::mem::take(&mut state.queued));
        (state.queued_bytes, state.queued_since) = (0, None);
        state.committing = steps.clone();
        self.room.notify_all();
        Work { steps, upto: state.issued, last: state.closing }
    }

    /// What the writer was given is on the disk.
    pub(crate) fn acknowledge(&self, upto: Ticket) {
        let mut state = self.lock();
        state.committing = Arc::default();
        state.synced = upto;
        self.synced.send_modify(|synced| synced.upto = upto);
    }

    /// From here on everything fails.
    pub(crate) fn fail(&self, why: &str) {
        tracing::error!(why, "the store failed; nothing is acknowledged any more");
        let mut state = self.lock();
        let failed = state.failed.get_or_insert(StoreError::Failed(why.to_owned())).clone();
        self.synced.send_modify(|synced| synced.failed = Some(failed));
        self.room.notify_all();
    }

    /// No read begins any more. Then the writer's is the only handle of the database.
    pub(crate) fn forget_db(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.db = None;
    }

    /// Tells everybody that there is nothing more to wait for.
    pub(crate) fn released(&self) {
        self.lock().closing = true;
        self.synced.send_modify(|synced| synced.released = true);
        self.room.notify_all();
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

    fn readable(&self) -> Result<&Database, StoreError> {
        self.check()?;
        self.db.as_deref().ok_or(StoreError::Closed)
    }

    /// How long the writer may wait for more; `None` if there is something to do now.
    fn idle_for(&self) -> Option<Duration> {
        let due = self.closing || self.wanted > self.synced || self.queued_bytes >= COMMIT_BYTES;
        let waited = self.queued_since.map_or(Duration::ZERO, |since| since.elapsed());
        (!due && waited < COMMIT_AFTER).then(|| COMMIT_AFTER - waited)
    }
}
