//! What large states cost in memory on their way from one node to another, beside the workers themselves.
//!
//! Alone in its process: the allocator counts every byte of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use peak_alloc::PeakAlloc;
use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::{Batch, Space, Store, StoreError, Ticket};
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Keeps values in a file: they are not in memory.
struct FileStore {
    file: File,
    state: Mutex<Index>,
}

#[derive(Default)]
struct Index {
    places: BTreeMap<(Space, Vec<u8>), (u64, usize)>,
    end: u64,
    written: Ticket,
}

impl FileStore {
    fn new() -> Arc<Self> {
        Arc::new(Self { file: tempfile::tempfile().expect("a directory for it"), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, Index> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, (from, bytes): (u64, usize)) -> Vec<u8> {
        let mut value = vec![0; bytes];
        self.file.read_exact_at(&mut value, from).expect("it was written");
        value
    }
}

impl Store for FileStore {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        let index = &mut *self.state();
        for op in batch.ops() {
            let key = (op.space, op.key.to_vec());
            match &op.value {
                Some(value) => {
                    self.file.write_all_at(value, index.end).map_err(|error| StoreError::Io(error.to_string()))?;
                    index.places.insert(key, (index.end, value.len()));
                    index.end += value.len() as u64;
                }
                None => drop(index.places.remove(&key)),
            }
        }
        index.written.0 += 1;
        Ok(index.written)
    }

    fn sync(&self, _: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let place = self.state().places.get(&(space, key.to_vec())).copied();
        Ok(place.map(|place| self.read(place).into()))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let from = (space, prefix.to_vec());
        let found: Vec<_> = self
            .state()
            .places
            .range(from..)
            .take_while(|((s, key), _)| *s == space && key.starts_with(prefix))
            .map(|((_, key), place)| (key.clone(), *place))
            .collect();
        for (key, place) in found {
            if each(&key, &self.read(place)).is_break() {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "memory.large", handles(Fill), handoff)]
struct Large {
    #[serde(with = "serde_bytes")]
    load: Vec<u8>,
}

/// Makes the state that long, if it is not; gives its length.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "memory.fill", reply = usize)]
struct Fill(usize);

impl Handler<Fill> for Large {
    async fn handle(&mut self, Fill(bytes): Fill, _: &mut Context<Self>) -> usize {
        if self.load.is_empty() {
            self.load = vec![7; bytes];
        }
        self.load.len()
    }
}

async fn start(network: &MemoryNetwork, id: &str) -> (Node, Sworm) {
    let builder = Node::builder(id).memory_network(network).store_with(FileStore::new());
    let node = builder.start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    (node, sworm)
}

/// The most that was in memory, beside the states of the workers, while so many of that length left their node.
async fn beside(count: usize, bytes: usize) -> usize {
    let network = MemoryNetwork::new();
    let (a, on_a) = start(&network, "a").await;
    let (_b, on_b) = start(&network, "b").await;
    eventually("both", || async { (on_a.nodes().len() == 2).then_some(()) }).await;
    let mut workers = Vec::new();
    for n in 0..count {
        let worker = on_a.register(format!("large-{n}"), Large::default()).on(a.id()).await.expect("free");
        assert_eq!(worker.call(Fill(bytes)).await, Ok(bytes));
        workers.push(worker);
    }
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    a.leave().await.expect("it leaves");
    for n in 0..count {
        let worker = eventually("its name", || async { on_b.whereis_name::<Large>(&format!("large-{n}")) }).await;
        let length = eventually("its state", || async { worker.call(Fill(0)).await.ok() }).await;
        assert_eq!(length, bytes, "it came with its state");
    }
    HEAP.peak_usage().saturating_sub(before)
}

// One test: no other allocates beside it.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "the harness shows it on demand: `--nocapture`")]
async fn large_states_travel_with_a_few_of_their_copies_in_memory() {
    let one = beside(1, 16 * MIB - 100).await;
    println!("{} MiB beside one state of 16 MiB", one / MIB);
    let many = beside(20, 8 * MIB).await;
    println!("{} MiB beside 20 states of 8 MiB", many / MIB);
    // The encoded state once, and of its chunks those that are on their way: sixteen of 256 KiB, at the sender and at the
    // receiver. It is 25 MiB.
    assert!(one <= (16 + 12) * MIB, "{one} bytes beside one state");
    // There are four places for large states on each of the two nodes, which are not all full at once. It is about 40 MiB.
    assert!(many <= 7 * 8 * MIB, "{many} bytes beside 20 states");
}
