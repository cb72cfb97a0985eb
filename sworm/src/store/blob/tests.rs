#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;

use super::*;
use crate::store::{MAX_VALUE_BYTES, MemoryStore};

const KEY: &[u8] = b"a blob";

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 + i) as u8).collect()
}

fn put(store: &dyn Store, key: &[u8], bytes: &[u8]) -> u16 {
    let mut batch = Batch::new();
    let former = blob_chunks(store, Space::Snapshots, key).unwrap();
    let chunks = put_blob(&mut batch, Space::Snapshots, key, bytes, former).unwrap();
    store.write(batch).unwrap();
    chunks
}

fn get(store: &dyn Store, key: &[u8]) -> Option<Blob> {
    get_blob(store, Space::Snapshots, key).unwrap()
}

fn raw_keys(store: &dyn Store) -> Vec<Vec<u8>> {
    let mut keys = vec![];
    let mut each = |key: &[u8], value: &[u8]| {
        assert!(value.len() <= MAX_VALUE_BYTES);
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    };
    store.scan(Space::Snapshots, b"", &mut each).unwrap();
    keys
}

fn scanned(store: &dyn Store, prefix: &[u8]) -> Vec<(Vec<u8>, Blob)> {
    let mut found = vec![];
    let mut each = |key: &[u8], blob| {
        found.push((key.to_vec(), blob));
        ControlFlow::Continue(())
    };
    scan_blobs(store, Space::Snapshots, prefix, &mut each).unwrap();
    found
}

fn set(store: &dyn Store, key: &[u8], value: Option<Vec<u8>>) {
    let mut batch = Batch::new();
    match value {
        Some(value) => batch.put(Space::Snapshots, key, value),
        None => batch.delete(Space::Snapshots, key),
    };
    store.write(batch).unwrap();
}

#[test]
fn a_blob_of_any_length_comes_back() {
    let store = MemoryStore::new();
    for len in [0, 1, 3984, 3985, 3986, 4000, 7985, 7986, 100_000, 0] {
        let chunks = put(&store, KEY, &content(len));
        assert_eq!(get(&store, KEY), Some(Blob::Whole(content(len).into())), "{len} bytes");
        assert_eq!(raw_keys(&store).len(), usize::from(chunks), "nothing is left over at {len} bytes");
        assert_eq!(blob_chunks(&store, Space::Snapshots, KEY), Ok(chunks));
    }
}

#[test]
fn the_largest_blob_comes_back_and_a_larger_one_is_refused() {
    let store = MemoryStore::new();
    let mut bytes = content(MAX_BLOB_BYTES);
    put(&store, KEY, &bytes);
    assert!(get(&store, KEY) == Some(Blob::Whole(bytes.clone().into())));
    bytes.push(0);
    let mut batch = Batch::new();
    let refused = put_blob(&mut batch, Space::Snapshots, KEY, &bytes, 0);
    assert_eq!(refused, Err(StoreError::TooLarge { bytes: MAX_BLOB_BYTES + 1, limit: MAX_BLOB_BYTES }));
    assert!(batch.is_empty());
}

#[test]
fn a_deleted_blob_leaves_nothing() {
    let store = MemoryStore::new();
    let chunks = put(&store, KEY, &content(20_000));
    let mut batch = Batch::new();
    delete_blob(&mut batch, Space::Snapshots, KEY, chunks);
    store.write(batch).unwrap();
    assert_eq!(get(&store, KEY), None);
    assert_eq!(raw_keys(&store).len(), 0);
    assert_eq!(blob_chunks(&store, Space::Snapshots, KEY), Ok(0));
}

#[test]
fn every_missing_chunk_is_noticed() {
    let store = MemoryStore::new();
    let chunks = put(&store, KEY, &content(20_000));
    let keys = raw_keys(&store);
    for missing in &keys {
        put(&store, KEY, &content(20_000));
        set(&store, missing, None);
        if missing == &keys[0] {
            assert_eq!(get(&store, KEY), None);
        } else {
            assert_eq!(get(&store, KEY), Some(Blob::Damaged));
        }
        assert_eq!(scanned(&store, b""), [(KEY.to_vec(), Blob::Damaged)]);
        assert!(blob_chunks(&store, Space::Snapshots, KEY).unwrap() >= chunks - 1, "enough to delete it");
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let store = MemoryStore::new();
    put(&store, KEY, &content(4100));
    for key in raw_keys(&store) {
        let value = store.get(Space::Snapshots, &key).unwrap().unwrap();
        for at in 0..value.len() {
            let mut changed = value.to_vec();
            changed[at] ^= 0x40;
            set(&store, &key, Some(changed));
            assert_eq!(get(&store, KEY), Some(Blob::Damaged), "byte {at}");
        }
        set(&store, &key, Some(value.to_vec()));
    }
    assert_eq!(get(&store, KEY), Some(Blob::Whole(content(4100).into())));
}

#[test]
fn a_scan_gives_whole_blobs_in_order_and_damaged_ones_last() {
    let store = MemoryStore::new();
    for (key, len) in [("a", 10), ("b", 9000), ("c", 9000), ("d", 3), ("e", 0)] {
        put(&store, key.as_bytes(), &content(len));
    }
    set(&store, b"b\0\x01", None);
    set(&store, b"d\0\0", None);
    set(&store, b"d\0\x05", Some(vec![1]));
    let whole = |key: &str, len| (key.as_bytes().to_vec(), Blob::Whole(content(len).into()));
    let damaged = |key: &str| (key.as_bytes().to_vec(), Blob::Damaged);
    let all = [whole("a", 10), whole("c", 9000), whole("e", 0), damaged("b"), damaged("d")];
    assert_eq!(scanned(&store, b""), all);
    assert_eq!(scanned(&store, b"c"), [whole("c", 9000)]);
}

#[test]
fn a_scan_keeps_blobs_apart_whose_chunks_lie_among_each_other() {
    let store = MemoryStore::new();
    let keys: [&[u8]; 3] = [b"k", b"k\0\0zz", b"k\0\x01"];
    for key in keys {
        put(&store, key, &content(9000));
    }
    let mut found = scanned(&store, b"k");
    found.sort_by(|one, two| one.0.cmp(&two.0));
    assert_eq!(found.iter().map(|(key, _)| &key[..]).collect::<Vec<_>>(), [keys[0], keys[1], keys[2]]);
    assert!(found.iter().all(|(_, blob)| *blob == Blob::Whole(content(9000).into())));
}

#[test]
fn a_scan_ends_when_it_is_told_to() {
    let store = MemoryStore::new();
    for key in ["a", "b", "c"] {
        put(&store, key.as_bytes(), &content(5000));
    }
    set(&store, b"c\0\x01", None);
    for end in 1..4 {
        let mut seen = 0;
        let mut each = |_: &[u8], _| {
            seen += 1;
            if seen == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        scan_blobs(&store, Space::Snapshots, b"", &mut each).unwrap();
        assert_eq!(seen, end);
    }
}

#[test]
fn what_lies_behind_a_whole_blob_is_ignored() {
    let store = MemoryStore::new();
    put(&store, KEY, &content(5000));
    set(&store, &chunk_key(KEY, 7), Some(vec![1]));
    assert_eq!(scanned(&store, b""), [(KEY.to_vec(), Blob::Whole(content(5000).into()))]);
}

/// Replaced over and over while others read: a reader sees some version whole, never a mixture.
#[test]
fn a_reader_is_not_told_of_damage_while_a_blob_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = crate::store::SledStore::open(dir.path()).unwrap();
    put(&store, KEY, &vec![0; 30_000]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..200 {
                put(&store, KEY, &vec![round as u8; 9000 + 100 * round]);
            }
        });
        while !writer.is_finished() {
            let whole = get(&store, KEY).and_then(Blob::whole).unwrap();
            assert!(whole.iter().all(|byte| *byte == whole[0]));
            assert!(scanned(&store, b"").iter().all(|(_, blob)| *blob != Blob::Damaged));
        }
    });
}

proptest! {
    #[test]
    fn random_values_under_the_key_never_panic(
        values in prop::collection::vec((0u16..4, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        header in any::<bool>(),
    ) {
        let store = MemoryStore::new();
        for (index, mut value) in values {
            if header && index == 0 && !value.is_empty() {
                value[0] = MARK;
            }
            set(&store, &chunk_key(KEY, index), Some(value));
        }
        let read = get(&store, KEY);
        prop_assert!(scanned(&store, b"").len() <= 1);
        prop_assert!(read.and_then(Blob::whole).is_none_or(|bytes| bytes.len() < 40));
        blob_chunks(&store, Space::Snapshots, KEY).unwrap();
    }
}
