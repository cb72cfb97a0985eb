//! What is too large for one frame, and for one batch, is there as a whole or not at all.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::tests::{Complaints, lane_id};
use super::*;
use crate::core::cell::{Key, Value};
use crate::store::MemoryStore;

/// Remembers all batches.
#[derive(Default)]
struct Recorder {
    store: MemoryStore,
    batches: Mutex<Vec<Batch>>,
}

impl Store for Recorder {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).push(batch.clone());
        self.store.write(batch)
    }
    fn sync(&self, upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.sync(upto)
    }
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(space, key)
    }
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.store.scan(space, prefix, each)
    }
}

fn fact(n: usize, bytes: usize) -> (Key, Value) {
    let text = format!("{n}-{}", "x".repeat(bytes));
    (Key::WorkerType(text.into()), Value::WorkerType(1))
}

#[test]
fn a_crash_between_two_batches_leaves_what_there_was_or_all_that_was_added() {
    let store = Arc::new(Recorder::default());
    let (mut disk, _) = Disk::open(store.clone(), "s", 0).expect("empty");
    let (id, mut lane) = (lane_id("a"), Lane::default());
    let mut history = vec![lane.clone()];
    // A small delta; one that is appended in several batches; one that has all of it written anew.
    for round in [0..1, 1..60, 60..61] {
        let before = lane.max();
        for n in round {
            let (key, value) = fact(n, if n == 0 { 10 } else { 400_000 });
            lane.put(key, value);
        }
        let whole = lane.clone();
        disk.persist(&lane.delta(&id, before), || Some(whole.delta(&id, 0))).expect("of any size");
        disk.write().expect("written");
        history.push(lane.clone());
    }
    let batches = store.batches.lock().expect("nobody panics").clone();
    assert!(batches.iter().all(|batch| batch.bytes() < BATCH_BYTES + (2 << 20)), "bounded");
    let mut seen = Vec::new();
    for written in 0..=batches.len() {
        let store = Arc::new(MemoryStore::new());
        for batch in &batches[..written] {
            store.write(batch.clone()).expect("small");
        }
        let (opened, complaints) = Complaints::of(|| Disk::open(store.clone(), "s", 0));
        let (mut disk, mut recovered) = opened.expect("it opens");
        let known = recovered.lanes.remove(&id).unwrap_or_default();
        assert_eq!(complaints, 0, "a crash is no damage");
        seen.push(history.iter().position(|lane| *lane == known).expect("as it was at one time"));
        // What comes from the peers makes it whole again.
        let (key, value) = fact(61, 10);
        let mut later = lane.clone();
        later.put(key, value);
        disk.persist(&later.delta(&id, known.max()), || Some(later.delta(&id, 0))).expect("of any size");
        disk.write().expect("written");
        let (_, recovered) = Disk::open(store, "s", 0).expect("it opens");
        assert_eq!(recovered.lanes[&id], later);
    }
    assert!(seen.is_sorted() && seen.ends_with(&[3]), "{seen:?}");
    assert!((1..3).all(|state| seen.iter().filter(|seen| **seen == state).count() > 1), "torn in the middle: {seen:?}");
}
