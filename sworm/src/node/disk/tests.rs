//! Whatever is damaged in a store: opening it keeps what is intact, says what it dropped, and never claims more than was
//! written; what the peers send afterwards makes it whole again.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;
use crate::core::cell::{Key, Revision, Value};
use crate::core::chunks::{CHUNK_BYTES, Manifest, Shipment};
use crate::core::ids::{Birth, Epoch};
use crate::core::message::Snapshot;
use crate::core::snapshots::{Purpose, Stored};
use crate::store::MemoryStore;

const SWORM: &str = "s";
/// One is cut into several chunks.
const STATES: [(&str, usize); 2] = [("small", 10), ("large", 10_000)];

/// What was written, and everything that a lane has been.
struct Written {
    values: Vec<(Space, Vec<u8>, Vec<u8>)>,
    lanes: BTreeMap<LaneId, Vec<Lane>>,
    ended: BTreeMap<NodeId, Incarnation>,
}

pub(super) fn lane_id(node: &str) -> LaneId {
    LaneId { node: NodeId::new(node).expect("valid"), incarnation: Incarnation(7) }
}

fn snapshot(bytes: usize) -> Snapshot {
    let state = vec![5; bytes];
    let revision = Revision { epoch: Epoch { major: 3, minor: 0 }, number: 4 };
    Snapshot {
        birth: Birth(1, 2),
        revision,
        checkpoint: true,
        version: 1,
        checksum: xxh3_64(&state),
        state: state.into(),
    }
}

/// Reads what is kept of a name, or what was set aside.
fn load(store: &dyn Store, name: &Arc<str>, aside: Option<(Birth, Revision)>) -> Result<Option<Snapshot>, StoreError> {
    let (name, to) = (name.clone(), lane_id("a"));
    let purpose = match aside {
        Some((birth, revision)) => Purpose::Offer { name, birth, revision, to },
        None => Purpose::Start { name, since: Epoch::default() },
    };
    Ok(match Disk::load(store, SWORM, &purpose)? {
        Some(Shipment::Whole(snapshot)) => Some(snapshot),
        Some(Shipment::Chunked(manifest)) => Disk::load_whole(store, SWORM, purpose.name(), &manifest)?,
        None => None,
    })
}

fn written() -> Written {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let mut lanes: BTreeMap<LaneId, Vec<Lane>> = BTreeMap::new();
    for node in ["a", "b"] {
        let (id, mut lane) = (lane_id(node), Lane::default());
        for step in 0..6 {
            let before = lane.max();
            lane.put(Key::WorkerType(format!("type-{}", step % 4).into()), Value::WorkerType(step));
            // One frame has more than one chunk.
            lane.put(Key::Sworm, Value::Sworm("x".repeat(if step == 2 { 6_000 } else { 5 }).into()));
            lane.remove(&Key::WorkerType(format!("type-{}", step.saturating_sub(1)).into()));
            disk.persist(&lane.delta(&id, before), || None).expect("small");
            disk.write().expect("written");
            lanes.entry(id.clone()).or_default().push(lane.clone());
        }
    }
    let ended = BTreeMap::from([(lane_id("c").node, Incarnation(6))]);
    disk.persist_ends(ended.clone(), BTreeMap::new()).expect("small");
    for (name, bytes) in STATES {
        disk.keep(&name.into(), Shipment::Whole(snapshot(bytes))).expect("small");
    }
    disk.write().expect("written");
    let mut values = Vec::new();
    for space in [Space::Meta, Space::Lanes, Space::Snapshots] {
        let mut each = |key: &[u8], value: &[u8]| {
            values.push((space, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        store.scan(space, b"", &mut each).expect("open");
    }
    Written { values, lanes, ended }
}

/// All that may happen to one value: it is gone, cut, flipped, or another one.
fn damages(value: &[u8]) -> Vec<Option<Vec<u8>>> {
    let cuts = [0, 1, value.len() / 2, value.len() - 1].map(|at| Some(value[..at].to_vec()));
    let flips = (0..value.len()).step_by(1 + value.len() / 40).map(|at| {
        let mut flipped = value.to_vec();
        flipped[at] ^= 1 << (at % 8);
        Some(flipped)
    });
    let longer = Some([value, b"more"].concat());
    [None, longer].into_iter().chain(cuts).chain(flips).collect()
}

fn store_of(values: &[(Space, Vec<u8>, Vec<u8>)]) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let mut batch = Batch::new();
    for (space, key, value) in values {
        batch.put(*space, key, value.clone());
    }
    store.write(batch).expect("small");
    Arc::new(store)
}

/// Opens a damaged store and checks what it claims; then the peers send what is missing.
fn survives(written: &Written, store: Arc<MemoryStore>, what: &str) {
    let (missing, complaints) = opens(written, store, what);
    assert_eq!(complaints > 0, missing > 0, "{what}: {missing} missing, {complaints} complaints");
}

/// The same. Gives how much was missing, and how often something was said.
fn opens(written: &Written, store: Arc<MemoryStore>, what: &str) -> (usize, usize) {
    let (opened, complaints) = Complaints::of(|| Disk::open(store.clone(), SWORM, 0));
    let (mut disk, recovered) = opened.expect(what);
    let mut missing = usize::from(recovered.ended != written.ended);
    assert!(recovered.ended == written.ended || recovered.ended.is_empty(), "{what}");
    assert!(recovered.dropped.is_empty() && recovered.lanes.keys().all(|id| written.lanes.contains_key(id)), "{what}");
    for (id, history) in &written.lanes {
        let known = recovered.lanes.get(id).cloned().unwrap_or_default();
        let whole = history.last().expect("it has one");
        missing += usize::from(known != *whole);
        assert!(known == Lane::default() || history.contains(&known), "{what}: {id:?} is no prefix: {known:?}");
        let mut joined = known.clone();
        let delta = whole.delta(id, known.max());
        joined.join(delta.clone());
        if delta.to > delta.from {
            disk.persist(&delta, || Some(joined.delta(id, 0))).expect(what);
        }
    }
    for (name, bytes) in STATES {
        let name: Arc<str> = name.into();
        let Snapshot { birth, revision, checkpoint, .. } = snapshot(bytes);
        let there = recovered.snapshots.get(&name);
        missing += usize::from(there.is_none());
        let kept = Stored { birth, revision, checkpoint, doubtful: false, manifest: None };
        assert!(there.is_none_or(|stored| *stored == kept), "{what}: {there:?}");
        let loaded = load(&*store, &name, None).expect(what);
        assert_eq!(loaded, there.map(|_| snapshot(bytes)), "{what}");
        disk.keep(&name, Shipment::Whole(snapshot(bytes))).expect(what);
    }
    disk.persist_ends(written.ended.clone(), BTreeMap::new()).expect(what);
    disk.write().expect(what);
    let (again, later) = Complaints::of(|| Disk::open(store, SWORM, 0));
    let (_, recovered) = again.expect(what);
    assert_eq!((later, recovered.snapshots.len(), &recovered.ended), (0, STATES.len(), &written.ended), "{what}");
    for (id, history) in &written.lanes {
        assert_eq!(recovered.lanes.get(id), history.last(), "{what}: {id:?} is not whole again");
    }
    (missing, complaints)
}

#[test]
fn what_was_set_aside_stays_when_another_state_takes_its_place() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let (name, old) = (Arc::from("name"), snapshot(10_000));
    let Snapshot { birth, revision, .. } = old;
    let new = Snapshot { revision: Revision { number: 5, ..revision }, ..snapshot(10) };
    disk.keep(&name, Shipment::Whole(old.clone())).expect("small");
    disk.set_aside(&name, birth, revision).expect("it is there");
    disk.keep(&name, Shipment::Whole(new.clone())).expect("small");
    disk.write().expect("written");
    let load = |aside| load(&*store, &name, aside).expect("readable");
    assert_eq!((load(None), load(Some((birth, revision)))), (Some(new.clone()), Some(old)));

    let (mut disk, recovered) = Disk::open(store.clone(), SWORM, 0).expect("intact");
    assert_eq!(recovered.snapshots[&name].revision, new.revision);
    let aside = Stored { birth, revision, checkpoint: true, doubtful: false, manifest: None };
    assert_eq!(recovered.aside, [(name.clone(), aside)]);
    disk.delete_aside(&name, birth, revision);
    disk.write().expect("written");
    assert_eq!((load(None), load(Some((birth, revision)))), (Some(new), None));
    assert_eq!(Disk::open(store.clone(), SWORM, 0).expect("intact").1.aside, []);
}

#[test]
fn what_was_kept_before_a_loss_stays_doubtful_and_what_is_kept_after_it_is_not() {
    let store = Arc::new(MemoryStore::new());
    let names: [Arc<str>; 3] = ["whole", "in chunks", "later"].map(Arc::from);
    let large = snapshot(CHUNK_BYTES + 1);
    let manifest = Arc::new(Manifest::of(&large, CHUNK_BYTES));
    let doubtful = |losses: u32| {
        let (_, recovered) = Disk::open(store.clone(), SWORM, losses).expect("intact");
        let doubtful = |name| recovered.snapshots.get(name).map(|stored: &Stored| stored.doubtful);
        (names.each_ref().map(doubtful), recovered.aside.iter().map(|(_, stored)| stored.doubtful).collect::<Vec<_>>())
    };

    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    disk.keep(&names[0], Shipment::Whole(snapshot(10))).expect("small");
    for index in 0..manifest.chunks() {
        disk.store_chunk(&names[1], &manifest, index, &large.state[manifest.range(index)]).expect("small");
    }
    disk.keep(&names[1], Shipment::Chunked(manifest)).expect("small");
    disk.write().expect("written");
    assert_eq!(doubtful(0), ([Some(false), Some(false), None], vec![]));

    let (mut disk, _) = Disk::open(store.clone(), SWORM, 1).expect("intact");
    let Snapshot { birth, revision, .. } = snapshot(10);
    disk.set_aside(&names[0], birth, revision).expect("it is there");
    disk.keep(&names[2], Shipment::Whole(snapshot(10))).expect("small");
    disk.write().expect("written");
    assert_eq!(doubtful(1), ([Some(true), Some(true), Some(false)], vec![true]), "what is copied is no newer for that");
    assert_eq!(doubtful(2).0, [Some(true); 3]);
}

#[test]
fn an_intact_store_comes_back_without_a_word() {
    let written = written();
    survives(&written, store_of(&written.values), "intact");
}

#[test]
fn any_one_damaged_value_costs_what_it_held_and_no_more() {
    let written = written();
    for (place, (space, key, value)) in written.values.iter().enumerate() {
        for damaged in damages(value) {
            let mut values = written.values.clone();
            let what = format!("{space:?} {} as {:.40?}", key.escape_ascii(), damaged);
            match damaged {
                Some(damaged) => {
                    values[place].2 = damaged;
                    survives(&written, store_of(&values), &what);
                }
                // What is gone as if it had never been there is not missed.
                None => {
                    values.remove(place);
                    opens(&written, store_of(&values), &what);
                }
            }
        }
    }
}

#[test]
fn two_values_that_changed_places_are_noticed() {
    let written = written();
    for first in 0..written.values.len() {
        for second in 0..first {
            let mut values = written.values.clone();
            let taken = std::mem::take(&mut values[first].2);
            values[first].2 = std::mem::replace(&mut values[second].2, taken);
            survives(&written, store_of(&values), &format!("{first} and {second}"));
        }
    }
}

#[test]
fn a_blob_of_an_unknown_shape_costs_what_it_held_and_no_more() {
    let written = written();
    let shapes: [&[u8]; 4] = [b"", b"\xff", b"\x83\x01\x02\x03", &[0x9f; 200]];
    for (space, key, _) in &written.values {
        let key = &key[..key.len() - 2]; // without the chunk's index
        for shape in shapes {
            let store = store_of(&written.values);
            let mut batch = Batch::new();
            let former = blob_chunks(&*store, *space, key).expect("open");
            put_blob(&mut batch, *space, key, shape, former).expect("small");
            store.write(batch).expect("small");
            survives(&written, store, &format!("{space:?} {} as {shape:?}", key.escape_ascii()));
        }
    }
}

#[test]
fn a_batch_larger_than_a_store_takes_is_written_in_parts() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    for name in ["one", "two", "three"] {
        assert!(disk.batch.bytes() <= BATCH_BYTES);
        disk.keep(&name.into(), Shipment::Whole(snapshot(BATCH_BYTES / 2))).expect("large, and allowed");
    }
    assert!(disk.batch.bytes() <= BATCH_BYTES);
    let (_, recovered) = Disk::open(store, SWORM, 0).expect("it opens");
    assert_eq!(recovered.snapshots.len(), 2, "what was written so far");
}

#[test]
fn lanes_are_kept_unless_nothing_will_ever_read_them() {
    for (store, kept) in [(MemoryStore::new(), 1), (MemoryStore::volatile(), 0)] {
        let store = Arc::new(store);
        let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
        let mut lane = Lane::default();
        lane.put(Key::Sworm, Value::Sworm("same".into()));
        disk.persist(&lane.delta(&lane_id("a"), 0), || None).expect("small");
        disk.keep(&"one".into(), Shipment::Whole(snapshot(10))).expect("small");
        disk.write().expect("written");
        let (_, recovered) = Disk::open(store, SWORM, 0).expect("it opens");
        assert_eq!((recovered.lanes.len(), recovered.snapshots.len()), (kept, 1));
    }
}

/// Counts what is logged as a warning or worse.
#[derive(Default)]
pub(super) struct Complaints(AtomicUsize);

impl Complaints {
    pub(super) fn of<T>(run: impl FnOnce() -> T) -> (T, usize) {
        let complaints = Arc::new(Self::default());
        let done = tracing::subscriber::with_default(complaints.clone(), run);
        (done, complaints.0.load(Relaxed))
    }
}

impl tracing::Subscriber for Complaints {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
