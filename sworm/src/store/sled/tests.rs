#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use tempfile::TempDir;

use super::*;
use crate::store::{MemoryStore, crash_store_laws, durable_store_laws, store_laws};

pub(super) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(super) fn open(dir: &TempDir) -> SledStore {
    SledStore::open(dir.path()).unwrap()
}

pub(super) fn put(key: &str, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Space::Lanes, key, value);
    batch
}

pub(super) fn get(store: &SledStore, key: &str) -> Option<Bytes> {
    store.get(Space::Lanes, key.as_bytes()).unwrap()
}

/// A sync step made by the test.
fn open_with(
    dir: &TempDir,
    stall: Duration,
    mut step: impl FnMut() -> Result<(), String> + Send + 'static,
) -> SledStore {
    SledStore::open_with(dir.path(), stall, |_| Box::new(move |_| step())).unwrap()
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
    crash_store_laws(tempfile::tempdir().unwrap().path(), &mut |life| Box::new(SledStore::open(life).unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "what was synced before a crash is there after it")]
async fn a_store_that_calls_durable_what_is_not_breaks_the_laws() {
    let place = tempfile::tempdir().unwrap();
    crash_store_laws(place.path(), &mut |_| Box::new(MemoryStore::new())).await;
}

#[test]
fn a_second_open_is_refused_until_the_first_store_is_gone() {
    let dir = dir();
    for _ in 0..20 {
        let store = open(&dir);
        store.write(put("a", "1")).unwrap();
        let refused = SledStore::open(dir.path()).err();
        assert_eq!(refused, Some(StoreError::Locked { path: dir.path().to_owned() }));
        assert_eq!(get(&store, "a").as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn a_file_in_the_way_is_not_a_directory() {
    let dir = dir();
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [file.clone(), file.join("below"), file.join("far/below")] {
        assert_eq!(SledStore::open(path).err(), Some(StoreError::NotADirectory { path: file.clone() }));
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn missing_parents_are_created() {
    let dir = dir();
    let store = SledStore::open(dir.path().join("a/b/c")).unwrap();
    assert_eq!(store.was_set_aside(), None);
    assert!(dir.path().join("a/b/c/sled/db").exists());
}

#[test]
fn what_the_system_refuses_is_not_writable() {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    for kind in [PermissionDenied, ReadOnlyFilesystem, StorageFull, QuotaExceeded] {
        let error = directory::refused(Path::new("/data"), kind.into());
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    }
    // Nobody, not even root, may make directories there.
    let path = Path::new("/sys/sworm-tests");
    match fs::create_dir(path).map_err(|error| error.kind()) {
        Err(PermissionDenied | ReadOnlyFilesystem) => {
            let refused = SledStore::open(path).err();
            assert!(matches!(refused, Some(StoreError::NotWritable { .. })), "{refused:?}");
        }
        other => {
            // Not by the macros: the harness shows what they print of failures only.
            let skipped = format!("\nSKIPPED: {path:?} does not refuse everybody: {other:?}\n");
            std::io::stderr().write_all(skipped.as_bytes()).expect("it can be said");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_share_a_sync() {
    let dir = dir();
    let (count, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let store = open_with(&dir, STALL, {
        let (count, gate) = (count.clone(), gate.clone());
        move || {
            while !gate.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let first = store.sync(store.write(put("a", "1")).unwrap());
    let rest: Vec<_> = (0..100).map(|i| store.sync(store.write(put("b", vec![i])).unwrap())).collect();
    gate.store(true, Ordering::SeqCst);
    first.await.unwrap();
    futures_util::future::try_join_all(rest).await.unwrap();
    assert!(count.load(Ordering::SeqCst) <= 2, "one for the first, one for all that came meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_acknowledges_nothing_ever_after() {
    let dir = dir();
    let mut syncs = 0;
    let store = open_with(&dir, STALL, move || {
        syncs += 1;
        if syncs == 1 { Ok(()) } else { Err("no disk".into()) }
    });
    let good = store.write(put("a", "1")).unwrap();
    store.sync(good).await.unwrap();

    let bad = store.write(put("b", "2")).unwrap();
    let failed = store.sync(bad).await.unwrap_err();
    assert!(matches!(&failed, StoreError::Failed(why) if why.contains("no disk")), "{failed:?}");
    assert_eq!(store.sync(bad).await, Err(failed.clone()));
    assert_eq!(store.sync(good).await, Err(failed.clone()));
    assert_eq!(store.write(put("c", "3")), Err(failed.clone()));
    assert_eq!(store.get(Space::Lanes, b"a"), Err(failed.clone()));
    assert_eq!(store.scan(Space::Lanes, b"", &mut |_, _| ControlFlow::Continue(())), Err(failed.clone()));
    assert_eq!(store.close().await, Err(failed));
    drop(store);
    assert_eq!(get(&open(&dir), "a").as_deref(), Some(&b"1"[..]), "it can be opened again at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_sync_fails_the_store() {
    let dir = dir();
    let store = open_with(&dir, STALL, || panic!("a bug"));
    let ticket = store.write(put("a", "1")).unwrap();
    assert!(matches!(store.sync(ticket).await, Err(StoreError::Failed(_))));
    assert!(matches!(store.write(put("a", "1")), Err(StoreError::Failed(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_fails_the_store_and_is_not_believed_later() {
    let dir = dir();
    let (release, gate) = mpsc::channel::<()>();
    let (begins, begun) = mpsc::channel();
    let store = open_with(&dir, Duration::from_secs(3), move || {
        let _ = begins.send(());
        let _ = gate.recv();
        Ok(())
    });
    let ticket = store.write(put("a", "1")).unwrap();
    let waiting = store.sync(ticket);
    // A batch behind the hanging sync: its reader must not wait for ever either.
    begun.recv().unwrap();
    store.write(put("b", "1")).unwrap();
    assert!(matches!(store.get(Space::Lanes, b"b"), Err(StoreError::Failed(_))));
    let failed = waiting.await.unwrap_err();
    drop(release);
    assert_eq!(store.sync(ticket).await, Err(failed.clone()));
    assert_eq!(store.close().await, Err(failed));
}

#[test]
fn a_drop_does_not_wait_for_ever() {
    let dir = dir();
    let (_release, gate) = mpsc::channel::<()>();
    let store = open_with(&dir, Duration::from_millis(100), move || {
        let _ = gate.recv();
        Ok(())
    });
    store.write(put("a", "1")).unwrap();
    let start = Instant::now();
    drop(store);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(SledStore::open(dir.path()), Err(StoreError::Locked { .. })), "it may still write");
}

#[test]
fn writes_wait_when_too_much_is_queued_and_none_is_lost() {
    let dir = dir();
    let store = open(&dir);
    let value = Bytes::from(vec![7; 4096]);
    for round in 0..20 {
        let mut batch = Batch::new();
        for i in 0..1000 {
            batch.put(Space::Lanes, format!("{round:02}/{i:04}"), value.clone());
        }
        store.write(batch).unwrap();
    }
    drop(store);
    let mut found = 0;
    let mut each = |_: &[u8], read: &[u8]| {
        found += usize::from(read == value);
        ControlFlow::Continue(())
    };
    open(&dir).scan(Space::Lanes, b"", &mut each).unwrap();
    assert_eq!(found, 20_000);
}

#[test]
fn a_directory_that_cannot_be_made_is_not_writable_whatever_the_system_calls_that() {
    let dir = dir();
    let too_long = dir.path().join("x".repeat(300));
    let nowhere = cfg!(target_os = "linux").then(|| PathBuf::from("/proc/sworm-tests"));
    for path in [Some(too_long), nowhere].into_iter().flatten() {
        let Err(error) = SledStore::open(&path) else { panic!("{} was made", path.display()) };
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
        let begin = format!("{} cannot be written to: it cannot be created: ", path.display());
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
}
