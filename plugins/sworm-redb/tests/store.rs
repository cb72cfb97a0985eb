//! The store's laws, what it refuses, and what it finds after its last life ended badly.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use sworm::store::{
    Batch, MAX_VALUE_BYTES, SledStore, Space, Store, StoreError, crash_store_laws, durable_store_laws, store_laws,
};
use sworm_redb::RedbStore;
use tempfile::TempDir;

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(dir: &TempDir) -> RedbStore {
    RedbStore::open(dir.path()).unwrap()
}

fn put(key: impl AsRef<[u8]>, value: Vec<u8>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Space::Lanes, key, value);
    batch
}

type Items = Vec<(Vec<u8>, Vec<u8>)>;

fn all(store: &RedbStore) -> Result<Items, StoreError> {
    let mut found = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(Space::Lanes, b"", &mut each).map(|()| found)
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_laws() {
    let mut dirs = vec![];
    store_laws(&mut || {
        dirs.push(dir());
        Box::new(open(&dirs[dirs.len() - 1]))
    })
    .await;
    let dir = dir();
    durable_store_laws(&mut || Box::new(open(&dir))).await;
    crash_store_laws(tempfile::tempdir().unwrap().path(), &mut |life| Box::new(RedbStore::open(life).unwrap())).await;
}

#[test]
fn a_directory_that_is_open_is_refused_until_its_store_is_gone() {
    let dir = dir();
    let locked = Some(StoreError::Locked { path: dir.path().to_owned() });
    for _ in 0..20 {
        let store = open(&dir);
        store.write(put("a", vec![1])).unwrap();
        assert_eq!(RedbStore::open(dir.path()).err(), locked);
        assert_eq!(SledStore::open(dir.path()).err(), locked, "another kind is no way around it");
        assert_eq!(all(&store), Ok(vec![(b"a".to_vec(), vec![1])]));
    }
}

#[test]
fn what_is_not_a_directory_or_cannot_be_written_to_is_refused() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("below"), file.join("far/below")] {
        assert_eq!(RedbStore::open(path).err(), Some(StoreError::NotADirectory { path: file.clone() }));
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
    // Nobody, not even root, may make directories there.
    let path = Path::new("/sys/sworm-tests");
    if let Err(PermissionDenied | ReadOnlyFilesystem) = fs::create_dir(path).map_err(|error| error.kind()) {
        let refused = RedbStore::open(path).err();
        assert!(matches!(refused, Some(StoreError::NotWritable { .. })), "{refused:?}");
    }
    drop(RedbStore::open(dir.path().join("a/b/c")).expect("missing parents are made"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_write_and_sync_at_once() {
    let dir = dir();
    let store = Arc::new(open(&dir));
    let writers = (0..16u8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..50u8 {
                let mut batch = put([writer, 0], vec![round]);
                batch.put(Space::Lanes, [writer, 1], vec![round]);
                let ticket = store.write(batch).unwrap();
                store.sync(ticket).await.unwrap();
                assert_eq!(store.get(Space::Lanes, &[writer, 1]).unwrap().as_deref(), Some(&[round][..]));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    store.close().await.unwrap();
    let expected: Vec<_> =
        (0..16).flat_map(|writer| [(vec![writer, 0], vec![49]), (vec![writer, 1], vec![49])]).collect();
    assert_eq!(all(&open(&dir)).unwrap(), expected);
}

/// The file as a crash of the machine would leave it, copied while somebody writes.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_unclean_end_all_that_was_synced_is_there_and_no_batch_in_part() {
    let dir = dir();
    let store = Arc::new(open(&dir));
    for round in 0..20u16 {
        let mut batch = Batch::new();
        for key in 0..40u8 {
            batch.put(Space::Lanes, [key], round.to_be_bytes().to_vec());
        }
        let ticket = store.write(batch).unwrap();
        store.sync(ticket).await.unwrap();
        // Not synced, and so perhaps not there.
        store.write(put("later", vec![1])).unwrap();
        let copy = self::dir();
        fs::copy(dir.path().join("sworm.redb"), copy.path().join("sworm.redb")).unwrap();
        let copied = open(&copy);
        assert_eq!(copied.was_set_aside(), None);
        let mut found = all(&copied).unwrap();
        found.retain(|(key, _)| key != b"later");
        let expected: Vec<_> = (0..40).map(|key| (vec![key], round.to_be_bytes().to_vec())).collect();
        assert_eq!(found, expected, "round {round}");
        store
            .write({
                let mut batch = Batch::new();
                batch.delete(Space::Lanes, "later");
                batch
            })
            .unwrap();
    }
}

/// A file with values that fill many pages, closed well.
fn filled() -> Vec<u8> {
    let dir = dir();
    let store = open(&dir);
    for n in 0..COUNT {
        store.write(put(n.to_be_bytes(), vec![n as u8; 3000])).unwrap();
    }
    drop(store);
    fs::read(dir.path().join("sworm.redb")).unwrap()
}

const COUNT: u16 = 300;

/// Damages the file, opens, reads and writes: what is read was written, what is missing was set aside, and the store
/// works again after at most one more open. Says whether it was set aside.
fn survives(what: &str, filled: &[u8], damage: impl FnOnce(&mut Vec<u8>)) -> bool {
    let dir = dir();
    let mut bytes = filled.to_vec();
    damage(&mut bytes);
    fs::write(dir.path().join("sworm.redb"), bytes).unwrap();
    let mut aside = false;
    for round in 0..2u8 {
        let store = open(&dir);
        aside |= store.was_set_aside().is_some();
        assert!(round == 0 || store.was_set_aside().is_none(), "{what}: the new file is damaged as well");
        let found = all(&store).unwrap();
        let old = found.iter().filter(|(key, _)| key.len() == 2);
        assert!(old.clone().all(|(key, value)| *value == [key[1]; 3000]), "{what}: what was never written is read");
        assert!(aside || old.count() == usize::from(COUNT), "{what}: values are lost without a word");
        store.write(put("new", vec![round])).unwrap();
        assert_eq!(store.get(Space::Lanes, b"new").unwrap().as_deref(), Some(&[round][..]));
    }
    let kept = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(
        kept.filter(|name| name.to_string_lossy().starts_with("damaged-")).count(),
        usize::from(aside),
        "{what}"
    );
    aside
}

#[test]
fn a_damaged_file_is_set_aside_and_an_empty_store_begins() {
    let filled = filled();
    for keep in [0, 1, 100, 4096, 100_000, 500_000] {
        assert!(survives(&format!("cut at {keep}"), &filled, |bytes| bytes.truncate(keep)));
    }
    assert!(survives("zeroes", &filled, |bytes| bytes.fill(0)));
    assert!(survives("garbage", &filled, |bytes| bytes.fill(0x5a)));
}

#[test]
fn flipped_bits_anywhere_lose_nothing_without_a_word() {
    let (filled, mut found) = (filled(), 0);
    for at in (0..320).step_by(16).chain((1..60).map(|page| page * 16_384 + 200)) {
        found += usize::from(survives(&format!("a bit at {at}"), &filled, |bytes| {
            let at = at % bytes.len();
            bytes[at] ^= 0x10;
        }));
    }
    assert!(found > 10, "only {found} of the bits counted for anything");
}

#[test]
fn a_file_that_was_not_finished_costs_nothing() {
    let dir = dir();
    fs::write(dir.path().join("sworm.redb.new"), "half").unwrap();
    let store = open(&dir);
    store.write(put("a", vec![1; MAX_VALUE_BYTES])).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!((store.was_set_aside(), all(&store).unwrap().len()), (None, 1));
}

#[test]
fn an_open_gives_back_what_is_free_wherever_it_is_in_the_file() {
    const ITEMS: u32 = 40_000;
    let dir = dir();
    let size = || fs::metadata(dir.path().join("sworm.redb")).unwrap().len();
    let store = open(&dir);
    let mut batch = Batch::new();
    for n in 0..ITEMS {
        batch.put(Space::Lanes, n.to_be_bytes(), vec![n as u8; 200]);
    }
    store.write(batch).unwrap();
    drop(store);
    let store = open(&dir);
    let mut batch = Batch::new();
    for n in (0..ITEMS).filter(|n| n % 10 > 0) {
        batch.delete(Space::Lanes, n.to_be_bytes());
    }
    store.write(batch).unwrap();
    drop(store);
    let live = u64::from(ITEMS) / 10 * (5 + 200);
    let before = size();
    assert!(before > 3 * live && before > 2 << 20, "else this tests nothing: {before} bytes of {live}");
    let store = open(&dir);
    assert!(size() <= (3 * live).max(2 << 20), "{} bytes of {live}, and {before} before", size());
    assert_eq!(store.was_set_aside(), None);
    let kept: Items =
        (0..ITEMS).filter(|n| n % 10 == 0).map(|n| (n.to_be_bytes().to_vec(), vec![n as u8; 200])).collect();
    assert_eq!(all(&store).unwrap(), kept);
}
