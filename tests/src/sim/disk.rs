//! A disk in memory with a durable part and a tail that is not synced yet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sworm::core::cell::Revision;
use sworm::core::chunks::SetId;
use sworm::core::ids::Birth;
use sworm::internals;
use sworm::store::{Batch, Op, Space, Store, StoreError, Ticket};

use super::node::SWORM;

/// A prefix, the set, the chunk and the piece.
const CHUNK_KEY_BYTES: usize = 8 + 16 + 4 + 2;

type Values = BTreeMap<(Space, Bytes), Bytes>;

/// A disk. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    durable: Values,
    /// What a reader sees: the durable part and the tail.
    seen: Values,
    tail: Vec<(Ticket, Vec<Op>)>,
    written: Ticket,
    fails: bool,
    /// Whether it is as it was before something that was synced.
    rolled_back: bool,
}

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to this write is on the disk from now on.
    pub(super) fn make_durable(&self, upto: Ticket) {
        let state = &mut *self.state();
        let covered = state.tail.iter().take_while(|(ticket, _)| *ticket <= upto).count();
        for (_, ops) in state.tail.drain(..covered) {
            apply(&mut state.durable, ops);
        }
    }

    /// What would be left of it if the machine stopped now.
    pub(super) fn durable_part(&self) -> Self {
        let durable = self.state().durable.clone();
        Self(Arc::new(Mutex::new(State { seen: durable.clone(), durable, ..State::default() })))
    }

    /// It is as it was at some time, and knows that it is not as it was last.
    pub(super) fn rolled_back(&self) -> Self {
        let before = self.durable_part();
        before.state().rolled_back = true;
        before
    }

    /// How many writes a crash may lose.
    pub(super) fn unsynced(&self) -> usize {
        self.state().tail.len()
    }

    /// The machine stops: of the tail only so many writes reach the disk.
    pub(super) fn crash(&self, kept: usize) {
        let state = &mut *self.state();
        for (_, ops) in state.tail.drain(..).take(kept) {
            apply(&mut state.durable, ops);
        }
        state.seen = state.durable.clone();
        (state.fails, state.rolled_back) = (false, false);
    }

    /// From now on nothing can be written, until the next crash.
    pub(super) fn fail(&self) {
        self.state().fails = true;
    }

    /// There is room again.
    pub(super) fn mend(&self) {
        self.state().fails = false;
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state().fails
    }
}

/// The states of workers that a disk holds: of which name and lineage, and which.
pub(super) fn states(disk: &Disk) -> BTreeSet<(Arc<str>, Birth, Revision)> {
    let (_, found) = internals::Disk::open(Arc::new(disk.clone()), SWORM, 0).expect("a simulated disk can be read");
    let kept = found.snapshots.into_iter().map(|(name, stored)| (name, stored.birth, stored.revision));
    let aside = found.aside.into_iter().map(|(name, stored)| (name, stored.birth, stored.revision));
    kept.chain(aside).collect()
}

/// How many chunks of states a disk holds of which no manifest tells. By their keys: those of chunks are longer.
pub(super) fn left_over(disk: &Disk) -> usize {
    let (_, found) = internals::Disk::open(Arc::new(disk.clone()), SWORM, 0).expect("a simulated disk can be read");
    let kept = found.snapshots.into_iter().chain(found.aside);
    let sets: BTreeSet<SetId> =
        kept.filter_map(|(name, stored)| stored.manifest.map(|manifest| manifest.set(&name))).collect();
    let chunks = disk.state();
    let keys = chunks.seen.keys().filter(|(space, key)| *space == Space::Snapshots && key.len() == CHUNK_KEY_BYTES);
    keys.filter(|(_, key)| {
        let number = |from: usize| u64::from_be_bytes(key[from..from + 8].try_into().expect("eight bytes"));
        !sets.contains(&SetId(number(8), number(16)))
    })
    .count()
}

fn apply(values: &mut Values, ops: Vec<Op>) {
    for Op { space, key, value } in ops {
        match value {
            Some(value) => values.insert((space, key), value),
            None => values.remove(&(space, key)),
        };
    }
}

impl Store for Disk {
    fn has_lost_writes(&self) -> bool {
        self.state().rolled_back
    }

    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        batch.check()?;
        let state = &mut *self.state();
        if state.fails {
            return Err(StoreError::Failed("the simulated disk is full".into()));
        }
        state.written.0 += 1;
        apply(&mut state.seen, batch.ops().to_vec());
        state.tail.push((state.written, batch.ops().to_vec()));
        Ok(state.written)
    }

    /// Only what is done before a node runs uses this; after that the simulation decides when a sync ends.
    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        self.make_durable(upto);
        Box::pin(std::future::ready(Ok(())))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().seen.get(&(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let from = (space, Bytes::copy_from_slice(prefix));
        let found: Vec<(Bytes, Bytes)> = self
            .state()
            .seen
            .range(from..)
            .take_while(|((s, key), _)| *s == space && key.starts_with(prefix))
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in found {
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }
}
