//! A store whose disk can fill up, or stand still, and whose reads can panic.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sworm::store::{Batch, MemoryStore, Space, Store, StoreError, Ticket};
use tokio::sync::watch;

/// What a full disk is called.
const WHY: &str = "no space left on device";

/// A store in memory that knows what would be on the disk: what was written before a sync that succeeded.
pub struct FaultyStore {
    /// What reads see.
    seen: MemoryStore,
    state: Mutex<State>,
    held: watch::Sender<bool>,
    panics: AtomicBool,
    /// So many more reads of single values fail.
    unread: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// What survives the node.
    disk: Arc<MemoryStore>,
    unsynced: Vec<(Ticket, Batch)>,
    /// How many batches had a value for each space.
    puts: BTreeMap<u8, usize>,
    /// How many syncs have succeeded.
    syncs: usize,
    /// How many more writes and syncs succeed.
    left: Option<u64>,
    /// How long a sync takes.
    pace: Duration,
}

impl FaultyStore {
    /// An empty one that does not fail.
    pub fn new() -> Arc<Self> {
        Self::on(Arc::default())
    }

    /// What the next life of a node finds after this one has ended, however it ended.
    pub fn next_life(&self) -> Arc<Self> {
        Self::on(self.state().disk.clone())
    }

    /// One whose disk holds that already.
    pub fn on(disk: Arc<MemoryStore>) -> Arc<Self> {
        let mut all = Batch::new();
        for space in [Space::Meta, Space::Lanes, Space::Snapshots] {
            disk.scan(space, b"", &mut |key, value| {
                all.put(space, key, value.to_vec());
                ControlFlow::Continue(())
            })
            .expect("nobody closes it");
        }
        let seen = MemoryStore::new();
        seen.write(all).expect("small");
        let state = Mutex::new(State { disk, ..State::default() });
        Arc::new(Self {
            seen,
            state,
            held: watch::Sender::new(false),
            panics: AtomicBool::new(false),
            unread: AtomicUsize::new(0),
        })
    }

    /// After that many more writes and syncs the disk is full.
    pub fn fail_after(&self, steps: u64) {
        self.state().left = Some(steps);
    }

    /// So many reads of single values fail, and those after them do not.
    pub fn fail_reads(&self, reads: usize) {
        self.unread.store(reads, SeqCst);
    }

    /// How many of those are to come.
    pub fn reads_to_fail(&self) -> usize {
        self.unread.load(SeqCst)
    }

    /// Whether the disk was found full.
    pub fn has_failed(&self) -> bool {
        self.state().left == Some(0)
    }

    /// Whether anything of that space is on the disk.
    pub fn has_any(&self, space: Space) -> bool {
        let mut any = false;
        let found = self.state().disk.scan(space, b"", &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        });
        found.is_ok() && any
    }

    /// Changes a byte in every value of that space.
    pub fn damage(&self, space: Space) {
        let mut batch = Batch::new();
        self.seen
            .scan(space, b"", &mut |key, value| {
                let mut damaged = value.to_vec();
                damaged[value.len() / 2] ^= 1;
                batch.put(space, key, damaged);
                ControlFlow::Continue(())
            })
            .and_then(|()| self.seen.write(batch))
            .expect("nobody closes it");
    }

    /// How many batches had a value for that space, in this life.
    pub fn puts(&self, space: Space) -> usize {
        self.state().puts.get(&space.byte()).copied().unwrap_or_default()
    }

    /// How many values of that space reads see.
    pub fn values(&self, space: Space) -> usize {
        let mut values = 0;
        let counted = self.seen.scan(space, b"", &mut |_, _| {
            values += 1;
            ControlFlow::Continue(())
        });
        counted.map(|()| values).expect("nobody closes it")
    }

    /// How many syncs have succeeded, in this life.
    pub fn syncs(&self) -> usize {
        self.state().syncs
    }

    /// How many batches wait for a sync.
    pub fn unsynced(&self) -> usize {
        self.state().unsynced.len()
    }

    /// From now on, or no longer, syncs do not come to an end.
    pub fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// The next read panics.
    pub fn panic_once(&self) {
        self.panics.store(true, SeqCst);
    }

    /// Whether that is still to come.
    pub fn is_to_panic(&self) -> bool {
        self.panics.load(SeqCst)
    }

    fn may_panic(&self) {
        assert!(!self.panics.swap(false, SeqCst), "the store was told to panic");
    }

    /// From now on each sync takes at least that long.
    pub fn slow_down(&self, pace: Duration) {
        self.state().pace = pace;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn step(&mut self) -> Result<(), StoreError> {
        match &mut self.left {
            None => Ok(()),
            Some(0) => Err(StoreError::Failed(WHY.into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Store for FaultyStore {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        let mut state = self.state();
        state.step()?;
        let ticket = self.seen.write(batch.clone())?;
        for space in [Space::Meta, Space::Lanes, Space::Snapshots] {
            if batch.ops().iter().any(|op| op.space == space && op.value.is_some()) {
                *state.puts.entry(space.byte()).or_default() += 1;
            }
        }
        state.unsynced.push((ticket, batch));
        Ok(ticket)
    }

    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut held = self.held.subscribe();
        Box::pin(async move {
            let pace = self.state().pace;
            // So slow is the disk.
            tokio::time::sleep(pace).await;
            let _ = held.wait_for(|held| !held).await;
            let mut state = self.state();
            state.step()?;
            state.syncs += 1;
            let State { disk, unsynced, .. } = &mut *state;
            for (_, batch) in unsynced.extract_if(.., |(ticket, _)| *ticket <= upto) {
                disk.write(batch)?;
            }
            Ok(())
        })
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<bytes::Bytes>, StoreError> {
        self.may_panic();
        let fails = self.unread.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        fails.map_or_else(|_| self.seen.get(space, key), |_| Err(StoreError::Failed("told to fail".into())))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.may_panic();
        self.seen.scan(space, prefix, each)
    }
}
