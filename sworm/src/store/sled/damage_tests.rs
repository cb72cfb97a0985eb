#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::tests::{dir, get, open, put};
use super::*;

/// A directory with some values, closed; each is as long as 40 entries of a lane.
fn filled() -> TempDir {
    let dir = dir();
    let store = open(&dir);
    for i in 0..300 {
        store.write(put(&format!("{i:04}"), vec![i as u8; 3000])).unwrap();
    }
    dir
}

#[test]
fn a_snapshot_that_was_cut_short_costs_nothing() {
    let dir = filled();
    fs::write(dir.path().join("sled/snap.FFFFFFFFFFFFFFF0.generating"), b"half").unwrap();
    let store = open(&dir);
    assert_eq!(store.was_set_aside(), None);
    assert_eq!(get(&store, "0299"), Some(vec![43; 3000].into()));
}

#[test]
fn damaged_files_are_set_aside_and_kept() {
    let dir = filled();
    drop(open(&dir)); // an open writes a snapshot
    let mut files = fs::read_dir(dir.path().join("sled")).unwrap().map(|entry| entry.unwrap().path());
    fs::write(files.find(|path| path.to_string_lossy().contains("snap.")).unwrap(), [1; 100]).unwrap();

    let store = open(&dir);
    let aside = store.was_set_aside().unwrap();
    assert!(aside.join("db").exists() && aside.starts_with(dir.path().canonicalize().unwrap()));
    assert_eq!(get(&store, "0000"), None);
    store.write(put("new", "1")).unwrap();
    drop(store);
    let store = open(&dir);
    assert_eq!((store.was_set_aside(), get(&store, "new").as_deref()), (None, Some(&b"1"[..])));
}

#[test]
fn a_torn_batch_is_set_aside() {
    let dir = filled();
    open(&dir).directory.suspect("a test");
    assert!(open(&dir).was_set_aside().is_some());
    assert_eq!(open(&dir).was_set_aside(), None);
}

/// Damages sled's file as `damage` says, opens, reads and writes. The outcome may be an older state or an empty store;
/// values that are read are values that were written, what is missing was not lost without a word, and the store works
/// again after at most one more open.
fn survives(damage: impl FnOnce(&mut Vec<u8>)) {
    let dir = filled();
    let db = dir.path().join("sled/db");
    let mut bytes = fs::read(&db).unwrap();
    damage(&mut bytes);
    fs::write(&db, bytes).unwrap();
    for round in 0..3 {
        let store = open(&dir);
        // An error is a word, too: what cannot be read is set aside when it is opened again.
        let is_lost = |i| store.get(Space::Lanes, format!("{i:04}").as_bytes()) == Ok(None);
        if round == 0 && (0..300).any(is_lost) {
            assert!(store.was_set_aside().is_some() || store.has_lost_writes(), "values are lost without a word");
        }
        let mut each = |key: &[u8], value: &[u8]| {
            let number: Option<u16> = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
            assert!(number.is_none_or(|number| value == [number as u8; 3000]), "{key:?}");
            ControlFlow::Continue(())
        };
        let scanned = store.scan(Space::Lanes, b"", &mut each);
        let ticket = store.write(put("new", vec![round])).and_then(|_| store.get(Space::Lanes, b"new"));
        if round == 2 {
            assert_eq!((scanned, ticket), (Ok(()), Ok(Some(vec![round].into()))));
        }
    }
}

#[test]
fn a_truncated_file_is_survived() {
    for keep in [0, 1, 100, 4096, 300_000, 524_288, 600_000] {
        survives(|bytes| bytes.truncate(keep));
    }
}

#[test]
fn a_lost_end_is_noticed_once_and_an_intact_store_is_not_blamed() {
    let dir = filled();
    for _ in 0..3 {
        assert!(!open(&dir).has_lost_writes());
    }
    let before = fs::read(dir.path().join("sled/db")).unwrap();
    let store = open(&dir);
    store.write(put("late", "1")).unwrap();
    drop(store);
    // The directory of sled is as it was before the last write, as if that had never reached the disk.
    fs::write(dir.path().join("sled/db"), before).unwrap();
    for file in fs::read_dir(dir.path().join("sled")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.to_string_lossy().contains("snap.") {
            fs::remove_file(file).unwrap();
        }
    }
    let store = open(&dir);
    assert!(store.has_lost_writes());
    assert_eq!((get(&store, "late"), get(&store, "0299")), (None, Some(vec![43; 3000].into())));
    drop(store);
    assert!(!open(&dir).has_lost_writes(), "what is written from now on counts");
}

#[test]
fn a_damaged_count_of_syncs_costs_nothing() {
    for content in [&b""[..], b"x", &[0xff; 16], &[0; 300]] {
        let dir = filled();
        fs::write(dir.path().join("synced"), content).unwrap();
        let store = open(&dir);
        assert_eq!((store.was_set_aside(), store.has_lost_writes()), (None, false));
        assert_eq!(get(&store, "0299"), Some(vec![43; 3000].into()));
    }
}

#[test]
fn a_garbled_file_is_survived() {
    survives(|bytes| bytes.fill(0));
    survives(|bytes| bytes.fill(0xff));
    survives(|bytes| bytes[..1000].fill(7));
    survives(|bytes| (0..bytes.len()).step_by(5000).for_each(|at| bytes[at] ^= 0xff));
}

#[test]
fn items_that_sled_does_not_miss_are_missed() {
    for at in (250_000..390_000).step_by(10_000) {
        survives(|bytes| bytes[at..at + 268].fill(224));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn random_damage_is_survived(
        hits in prop::collection::vec((any::<prop::sample::Index>(), 1..3000usize, any::<u8>()), 1..5),
    ) {
        survives(|bytes| for (at, length, byte) in hits {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes[at..end].fill(byte);
        });
    }
}

#[test]
fn other_damaged_files_are_survived() {
    for file in ["conf", "db"] {
        for content in [&b""[..], b"x", &[0xff; 4096]] {
            let dir = filled();
            fs::write(dir.path().join("sled").join(file), content).unwrap();
            let store = open(&dir);
            store.write(put("new", "1")).unwrap();
            assert_eq!(get(&store, "new").as_deref(), Some(&b"1"[..]));
        }
    }
}
