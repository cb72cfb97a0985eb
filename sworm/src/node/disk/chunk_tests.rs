//! Large states: all of their chunks are there, or the state is not; and no chunk is there for nothing.

use std::io::Read;
use std::ops::ControlFlow;

use super::chunks::Chunks;
use super::tests::{Complaints, lane_id};
use super::*;
use crate::core::cell::Revision;
use crate::core::chunks::{CHUNK_BYTES, Manifest, Shipment};
use crate::core::ids::{Birth, Epoch};
use crate::core::message::Snapshot;
use crate::core::snapshots::Purpose;
use crate::store::MemoryStore;

const SWORM: &str = "s";
const CHUNK: usize = 9_000;

fn name() -> Arc<str> {
    "name".into()
}

fn snapshot(number: u64, bytes: usize) -> Snapshot {
    let state: Vec<u8> = (0..bytes).map(|n| (n as u64 * 31 + number * 7 + n as u64 / 251) as u8).collect();
    let revision = Revision { epoch: Epoch { major: 3, minor: 0 }, number };
    let checksum = xxh3_64(&state);
    Snapshot { birth: Birth(1, 2), revision, checkpoint: true, version: 1, checksum, state: state.into() }
}

fn store_chunks(disk: &mut Disk, snapshot: &Snapshot) -> Arc<Manifest> {
    let manifest = Arc::new(Manifest::of(snapshot, CHUNK));
    for index in 0..manifest.chunks() {
        disk.store_chunk(&name(), &manifest, index, &snapshot.state[manifest.range(index)]).expect("small");
    }
    manifest
}

fn keep(disk: &mut Disk, snapshot: &Snapshot) -> Arc<Manifest> {
    let manifest = store_chunks(disk, snapshot);
    disk.keep(&name(), Shipment::Chunked(manifest.clone())).expect("small");
    disk.write().expect("written");
    manifest
}

fn load(store: &dyn Store) -> Option<Snapshot> {
    let purpose = Purpose::Start { name: name(), since: Epoch::default() };
    all_of(store, Disk::load(store, SWORM, &purpose).expect("readable"))
}

fn all_of(store: &dyn Store, loaded: Option<Shipment>) -> Option<Snapshot> {
    match loaded? {
        Shipment::Whole(snapshot) => Some(snapshot),
        Shipment::Chunked(manifest) => Disk::load_whole(store, SWORM, &name(), &manifest).expect("readable"),
    }
}

/// All keys of states with their values.
fn values(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut values = Vec::new();
    store
        .scan(Space::Snapshots, b"", &mut |key, value| {
            values.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })
        .expect("open");
    values
}

#[test]
fn a_large_state_comes_back_whole_and_chunk_by_chunk() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let state = snapshot(1, 40_000);
    let manifest = keep(&mut disk, &state);
    for (disk, _) in
        [Ok((disk, Recovered::default())), Disk::open(store.clone(), SWORM, 0)].map(|opened| opened.expect("ok"))
    {
        assert!(disk.is_in_chunks(&name()));
        assert_eq!(load(&*store), Some(state.clone()));
        for index in 0..manifest.chunks() {
            let chunk = Disk::load_chunk(&*store, SWORM, &name(), &manifest, index).expect("readable");
            assert_eq!(chunk, Some(state.state.slice(manifest.range(index))));
        }
    }
}

#[test]
fn a_state_without_its_manifest_is_not_there_and_its_chunks_go_with_the_next_start() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    keep(&mut disk, &snapshot(1, 20_000));
    let before = values(&*store);
    store_chunks(&mut disk, &snapshot(2, 30_000));
    disk.write().expect("written");
    assert!(values(&*store).len() > before.len());
    let (mut disk, recovered) = Disk::open(store.clone(), SWORM, 0).expect("intact");
    assert_eq!(recovered.snapshots[&name()].revision.number, 1);
    disk.write().expect("written");
    assert_eq!(values(&*store), before);
}

#[test]
fn whatever_is_damaged_of_a_large_state_it_is_left_to_the_peers_and_stored_anew() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let state = snapshot(1, 20_000);
    keep(&mut disk, &state);
    let written = values(&*store);
    for (key, value) in &written {
        let flipped = [value.split_last().expect("none is empty").1, &[!value[value.len() - 1]]].concat();
        for damage in [None, Some(flipped), Some(value[1..].to_vec()), Some([value, &b"x"[..]].concat())] {
            let damaged = Arc::new(MemoryStore::new());
            let mut batch = Batch::new();
            for (other, value) in &written {
                match (other == key, &damage) {
                    (true, None) => {}
                    (true, Some(damage)) => drop(batch.put(Space::Snapshots, other, damage.clone())),
                    (false, _) => drop(batch.put(Space::Snapshots, other, value.clone())),
                }
            }
            damaged.write(batch).expect("small");
            let (opened, complaints) = Complaints::of(|| Disk::open(damaged.clone(), SWORM, 0));
            let (mut disk, recovered) = opened.expect("it opens");
            assert_eq!(recovered.snapshots.len(), 0, "{key:?}");
            assert!(complaints > 0 || damage.is_none(), "{key:?}");
            keep(&mut disk, &state);
            assert_eq!((load(&*damaged), values(&*damaged).len()), (Some(state.clone()), written.len()));
        }
    }
}

#[test]
fn of_a_state_that_lacks_a_chunk_nothing_is_left() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    keep(&mut disk, &snapshot(1, 20_000));
    let manifest = super::states::snapshot_key(disk.prefix, &name());
    let chunk = values(&*store).into_iter().map(|(key, _)| key).find(|key| *key != manifest).expect("it has chunks");
    let mut batch = Batch::new();
    batch.delete(Space::Snapshots, &chunk);
    store.write(batch).expect("small");
    let (opened, complaints) = Complaints::of(|| Disk::open(store.clone(), SWORM, 0));
    let (mut disk, recovered) = opened.expect("it opens");
    assert_eq!((recovered.snapshots.len(), complaints), (0, 1));
    disk.write().expect("written");
    assert_eq!(values(&*store), []);
}

#[test]
fn chunks_stay_as_long_as_one_manifest_tells_of_them() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let old = snapshot(1, 20_000);
    let manifest = keep(&mut disk, &old);
    disk.set_aside(&name(), old.birth, old.revision).expect("it is there");
    // The same bytes at another place in the history, and then others.
    let revision = Revision { number: 9, ..old.revision };
    disk.keep(&name(), Shipment::Chunked(manifest.clone()).at(revision)).expect("small");
    disk.drop_chunks(&name(), &manifest);
    disk.write().expect("written");
    assert_eq!(load(&*store), Some(Snapshot { revision, ..old.clone() }));
    let new = snapshot(2, 30_000);
    keep(&mut disk, &new);
    let aside = Purpose::Offer { name: name(), birth: old.birth, revision: old.revision, to: lane_id("a") };
    let loaded = Disk::load(&*store, SWORM, &aside).expect("readable");
    assert_eq!((all_of(&*store, loaded), load(&*store)), (Some(old.clone()), Some(new)));
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("intact");
    disk.delete_aside(&name(), old.birth, old.revision);
    disk.delete_snapshot(&name());
    disk.write().expect("written");
    assert_eq!(values(&*store), []);
}

#[test]
fn a_large_state_that_was_stored_in_one_piece_is_cut_when_it_is_found() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let state = snapshot(1, 2 * CHUNK_BYTES + 1);
    disk.keep(&name(), Shipment::Whole(state.clone())).expect("large, and allowed");
    disk.set_aside(&name(), state.birth, state.revision).expect("it is there");
    disk.write().expect("written");
    let (mut disk, recovered) = Disk::open(store.clone(), SWORM, 0).expect("intact");
    let manifest = Some(Arc::new(Manifest::of(&state, CHUNK_BYTES)));
    assert_eq!((&recovered.snapshots[&name()].manifest, &recovered.aside[0].1.manifest), (&manifest, &manifest));
    disk.write().expect("written");
    assert_eq!(load(&*store), Some(state));
    assert!(Disk::open(store, SWORM, 0).expect("intact").0.is_in_chunks(&name()));
}

#[test]
fn a_large_state_is_read_bit_by_bit_up_to_a_chunk_that_is_damaged() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    let state = snapshot(1, 2 * CHUNK + 77);
    let manifest = keep(&mut disk, &state);
    let reader = || ChunkReader::new(store.clone(), SWORM.into(), &name(), manifest.clone(), Arc::default());
    let mut read = Vec::new();
    assert_eq!(reader().read_to_end(&mut read).expect("all is there"), state.state.len());
    assert_eq!(read, state.state);
    disk.store_chunk(&name(), &manifest, 1, b"something else").expect("small");
    disk.write().expect("written");
    read.clear();
    let error = reader().read_to_end(&mut read).expect_err("the second one is damaged");
    assert_eq!((error.kind(), &read[..]), (std::io::ErrorKind::InvalidData, &state.state[..CHUNK]));
    assert_eq!(load(&*store), None, "it is not started from");
}

#[test]
fn chunks_of_two_sworms_do_not_meet() {
    let store = Arc::new(MemoryStore::new());
    let (mut disk, _) = Disk::open(store.clone(), SWORM, 0).expect("empty");
    keep(&mut disk, &snapshot(1, 20_000));
    let mut batch = Batch::new();
    Chunks::new("other").intact(&*store, &mut batch, &HashMap::new()).expect("readable");
    assert!(batch.is_empty());
}
