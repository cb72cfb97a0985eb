#![allow(clippy::unwrap_used, reason = "a test may fail")]

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::store::{MemoryStore, SledStore};

const PREFIX: &[u8] = b"lane/7/";

fn load(store: &dyn Store) -> (FrameLog, Vec<Bytes>) {
    FrameLog::load(store, Space::Lanes, PREFIX).unwrap()
}

fn change(store: &dyn Store, change: impl FnOnce(&mut Batch)) {
    let mut batch = Batch::new();
    change(&mut batch);
    store.write(batch).unwrap();
}

fn put(store: &dyn Store, key: &[u8], value: &[u8]) {
    change(store, |batch| {
        batch.put(Space::Lanes, key, value.to_vec());
    });
}

fn append(store: &dyn Store, log: &mut FrameLog, frame: &[u8]) {
    change(store, |batch| log.append(batch, frame).unwrap());
}

fn rewrite(store: &dyn Store, log: &mut FrameLog, frames: &[Bytes]) {
    change(store, |batch| log.rewrite(batch, frames.iter().map(|frame| &frame[..])).unwrap());
}

fn raw(store: &dyn Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = vec![];
    let mut each = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(Space::Lanes, b"", &mut each).unwrap();
    found
}

fn numbered(range: std::ops::Range<u8>) -> Vec<Bytes> {
    range.map(|i| Bytes::from(vec![i; usize::from(i) * 700])).collect()
}

#[test]
fn a_log_that_is_not_there_is_empty() {
    let (log, frames) = load(&MemoryStore::new());
    assert_eq!((log.frames(), log.bytes(), log.dropped(), frames.len()), (0, 0, 0, 0));
    assert_eq!(log, FrameLog::new(Space::Lanes, PREFIX));
}

#[test]
fn a_rewrite_leaves_one_generation() {
    let store = MemoryStore::new();
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    numbered(0..20).iter().for_each(|frame| append(&store, &mut log, frame));
    rewrite(&store, &mut log, &numbered(3..5));
    assert_eq!(raw(&store).len(), 2, "two short frames are two values");
    append(&store, &mut log, b"more");
    let (loaded, frames) = load(&store);
    assert_eq!(frames, [&numbered(3..5)[..], &[Bytes::from("more")]].concat());
    assert_eq!((loaded.frames(), loaded.bytes()), (3, 7 * 700 + 4));
    assert_eq!(loaded, log);
}

#[test]
fn the_last_generation_is_followed_by_the_first() {
    let store = MemoryStore::new();
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    log.generation = u32::MAX;
    append(&store, &mut log, b"old");
    let (mut log, _) = load(&store);
    rewrite(&store, &mut log, &numbered(1..3));
    assert_eq!(load(&store), (log, numbered(1..3)));
}

#[test]
fn a_removed_log_leaves_nothing_and_can_be_used_on() {
    let store = MemoryStore::new();
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    numbered(0..10).iter().for_each(|frame| append(&store, &mut log, frame));
    change(&store, |batch| log.remove(batch));
    assert_eq!(raw(&store), []);
    append(&store, &mut log, b"new");
    assert_eq!(load(&store).1, ["new"]);
}

#[test]
fn an_error_changes_nothing() {
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    let mut batch = Batch::new();
    log.append(&mut batch, b"good").unwrap();
    let before = (log.clone(), batch.clone());
    let large = vec![0; MAX_BLOB_BYTES + 1];
    assert!(log.append(&mut batch, &large).is_err());
    assert!(log.rewrite(&mut batch, [&b"x"[..], &large]).is_err());
    assert_eq!((log, batch), before);
}

#[test]
fn loading_stops_at_the_first_damaged_frame_and_what_follows_never_comes_back() {
    let store = MemoryStore::new();
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    numbered(0..10).iter().for_each(|frame| append(&store, &mut log, frame));
    let (key, mut value) = raw(&store).into_iter().find(|(key, _)| key.ends_with(&[6, 0, 0])).unwrap();
    value[100] ^= 1;
    put(&store, &key, &value);

    let (mut log, frames) = load(&store);
    assert_eq!(frames, numbered(0..6));
    assert_eq!((log.frames(), log.dropped()), (6, 4));
    append(&store, &mut log, b"after");
    let (log, frames) = load(&store);
    assert_eq!(frames, [&numbered(0..6)[..], &[Bytes::from("after")]].concat());
    assert_eq!(log.dropped(), 0);
}

#[test]
fn an_older_generation_that_was_left_over_is_ignored_and_swept() {
    let store = MemoryStore::new();
    let mut old = FrameLog::new(Space::Lanes, PREFIX);
    numbered(0..9).iter().for_each(|frame| append(&store, &mut old, frame));
    let mut new = FrameLog { generation: 1, ..FrameLog::new(Space::Lanes, PREFIX) };
    append(&store, &mut new, b"new");
    let (mut log, frames) = load(&store);
    assert_eq!((&frames[..], log.dropped()), (&[Bytes::from("new")][..], 0));
    change(&store, |batch| log.remove(batch));
    assert_eq!(raw(&store), []);
}

#[test]
fn a_rewrite_that_ends_anywhere_leaves_the_old_frames_or_the_new_ones() {
    for generation in [0, 1, u32::MAX] {
        let mut log = FrameLog { generation, ..FrameLog::new(Space::Lanes, PREFIX) };
        let mut written = vec![Batch::new()];
        numbered(0..5).iter().for_each(|frame| log.append(&mut written[0], frame).unwrap());
        let mut batch = Batch::new();
        let write = |batch: &mut Batch| {
            written.push(std::mem::take(batch));
            Ok(())
        };
        log.rewrite_in_batches(&mut batch, numbered(10..14), write).unwrap();
        written.push(batch);
        assert_eq!(written.len(), 1 + 3 + 1, "the first frame comes last");
        for crashed_after in 1..=written.len() {
            let store = MemoryStore::new();
            for batch in &written[..crashed_after] {
                store.write(batch.clone()).unwrap();
            }
            let (mut found, frames) = load(&store);
            let expected = if crashed_after < written.len() { numbered(0..5) } else { numbered(10..14) };
            assert_eq!((frames, found.dropped()), (expected.clone(), 0), "after {crashed_after} of {generation}");
            rewrite(&store, &mut found, &numbered(7..8));
            assert_eq!((load(&store).1, raw(&store).len()), (numbered(7..8), 2));
        }
    }
}

#[test]
fn all_logs_below_a_prefix_are_loaded_in_one_scan() {
    let store = MemoryStore::new();
    let mut expected = vec![];
    for id in [*b"aaaa", *b"aab\0", [0xff; 4]] {
        let mut log = FrameLog::new(Space::Lanes, [&b"sworm/"[..], &id].concat());
        numbered(0..4).iter().for_each(|frame| append(&store, &mut log, frame));
        expected.push(LoadedLog { id: Bytes::copy_from_slice(&id), log, frames: numbered(0..4) });
    }
    put(&store, b"sworm/", b"no frame");
    let mut other = FrameLog::new(Space::Lanes, "sworm/longer id");
    append(&store, &mut other, b"not asked for");
    assert_eq!(FrameLog::load_all(&store, Space::Lanes, "sworm/", 4).unwrap(), expected);
}

#[test]
fn a_log_comes_back_from_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path()).unwrap();
    let mut log = FrameLog::new(Space::Lanes, PREFIX);
    numbered(0..50).iter().for_each(|frame| append(&store, &mut log, frame));
    drop(store);
    let store = SledStore::open(dir.path()).unwrap();
    assert_eq!(load(&store), (log.clone(), numbered(0..50)));
    rewrite(&store, &mut log, &numbered(40..50));
    drop(store);
    assert_eq!(load(&SledStore::open(dir.path()).unwrap()), (log, numbered(40..50)));
}

#[derive(Clone, Debug)]
enum Step {
    Append(Bytes),
    Rewrite(Vec<Bytes>),
    Remove,
    Reload,
}

fn frame() -> impl Strategy<Value = Bytes> {
    let length = prop_oneof![0..50usize, 3970..4010usize, 7970..8010usize, 0..20_000usize];
    (length, any::<u8>()).prop_map(|(length, seed)| (0..length).map(|i| (i as u8).wrapping_mul(seed)).collect())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => frame().prop_map(Step::Append),
        1 => prop::collection::vec(frame(), 0..4).prop_map(Step::Rewrite),
        1 => Just(Step::Remove),
        3 => Just(Step::Reload),
    ]
}

/// Takes the steps on a log and on its model, which it returns.
fn run(store: &dyn Store, steps: Vec<Step>) -> Vec<Bytes> {
    let (mut log, mut model) = load(store);
    let damaged = log.dropped() > 0;
    for step in steps {
        match step {
            Step::Append(frame) => {
                append(store, &mut log, &frame);
                model.push(frame);
            }
            Step::Rewrite(frames) => {
                rewrite(store, &mut log, &frames);
                model = frames;
            }
            Step::Remove => {
                change(store, |batch| log.remove(batch));
                model.clear();
            }
            Step::Reload => {
                let (loaded, frames) = load(store);
                assert_eq!(frames, model);
                assert!(damaged || loaded.dropped() == 0);
                log = loaded;
            }
        }
        assert_eq!(log.frames(), model.len());
        assert_eq!(log.bytes(), model.iter().map(|frame| frame.len() as u64).sum::<u64>());
    }
    assert_eq!(load(store).1, model);
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_is_a_list(steps in prop::collection::vec(step(), 0..25)) {
        run(&MemoryStore::new(), steps);
    }

    #[test]
    fn a_damaged_log_is_a_shorter_list_that_can_be_used_on(
        steps in prop::collection::vec(step(), 1..15),
        hits in prop::collection::vec((any::<Index>(), any::<Option<Index>>()), 1..4),
        more in prop::collection::vec(step(), 0..10),
    ) {
        let store = MemoryStore::new();
        let model = run(&store, steps);
        for (at, byte) in hits {
            let found = raw(&store);
            if found.is_empty() {
                continue;
            }
            let (key, mut value) = at.get(&found).clone();
            if let Some(byte) = byte {
                let at = byte.index(value.len());
                value[at] ^= 0x10;
                put(&store, &key, &value);
            } else {
                change(&store, |batch| {
                    batch.delete(Space::Lanes, key);
                });
            }
        }
        let (log, frames) = load(&store);
        prop_assert!(model.starts_with(&frames));
        prop_assert!(log.dropped() <= (model.len() - frames.len()) as u64);
        run(&store, more);
    }
}
