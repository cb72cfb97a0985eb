#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Condvar, Mutex};

use futures_util::future::{join_all, try_join_all};
use redb::BackendError;
use tempfile::TempDir;

use super::*;

/// A disk that a test can hold and let fail.
#[derive(Debug, Default)]
struct Disk {
    full: AtomicBool,
    failing: AtomicBool,
    held: Mutex<bool>,
    released: Condvar,
    begun: AtomicUsize,
    syncs: AtomicUsize,
}

impl Disk {
    fn open(self: &Arc<Self>, dir: &TempDir) -> RedbStore {
        RedbStore::open_with(dir.path(), |file| Ok(OnDisk { file: FileBackend::new(file)?, disk: self.clone() }))
            .unwrap()
    }

    /// Syncs do not come to an end until this is dropped.
    fn hold(&self) -> Held<'_> {
        *self.held.lock().unwrap() = true;
        Held(self)
    }
}

struct Held<'a>(&'a Disk);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        *self.0.held.lock().unwrap() = false;
        self.0.released.notify_all();
    }
}

#[derive(Debug)]
struct OnDisk {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl StorageBackend for OnDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.begun.fetch_add(1, SeqCst);
        let held = self.disk.held.lock().unwrap();
        drop(self.disk.released.wait_while(held, |held| *held).unwrap());
        self.disk.syncs.fetch_add(1, SeqCst);
        if self.disk.failing.load(SeqCst) { Err(io::Error::other("no disk")) } else { self.file.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.disk.full.load(SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { self.file.write(offset, data) }
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}

fn put(key: &str, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(Space::Lanes, key, value);
    batch
}

fn get(store: &RedbStore, key: &str) -> Option<Bytes> {
    store.get(Space::Lanes, key.as_bytes()).unwrap()
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn waiters_share_a_commit() {
    let (dir, disk) = (dir(), Arc::<Disk>::default());
    let store = disk.open(&dir);
    let before = disk.syncs.load(SeqCst);
    store.sync(store.write(put("a", "0")).unwrap()).await.unwrap();
    let one = disk.syncs.load(SeqCst) - before;
    let held = disk.hold();
    let first = store.sync(store.write(put("a", "1")).unwrap());
    let rest: Vec<_> = (0..100).map(|i| store.sync(store.write(put("b", vec![i])).unwrap())).collect();
    drop(held);
    first.await.unwrap();
    try_join_all(rest).await.unwrap();
    let all = disk.syncs.load(SeqCst) - before;
    assert!(all <= 3 * one, "one before, one for the first, one for all that came meanwhile, {one} syncs each: {all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_do_not_wait_for_the_disk() {
    let (dir, disk) = (dir(), Arc::<Disk>::default());
    let store = disk.open(&dir);
    let mut batch = put("a", "1");
    batch.put(Space::Lanes, "b", "1").put(Space::Lanes, "d", "1");
    store.sync(store.write(batch).unwrap()).await.unwrap();
    let begun = disk.begun.load(SeqCst);
    let held = disk.hold();
    let mut batch = put("b", "2");
    batch.put(Space::Lanes, "c", "2").delete(Space::Lanes, "d");
    let waiting = store.sync(store.write(batch).unwrap());
    sworm_tests::eventually("a commit", || async { (disk.begun.load(SeqCst) > begun).then_some(()) }).await;
    // One more behind it, which the commit does not hold.
    let mut batch = put("c", "3");
    batch.put(Space::Lanes, "e", "3").put(Space::Meta, "a", "other");
    store.write(batch).unwrap();
    let values = ["a", "b", "c", "d", "e"].map(|key| get(&store, key).map(|value| value[0]));
    assert_eq!(values, [Some(b'1'), Some(b'2'), Some(b'3'), None, Some(b'3')]);
    let mut found = Vec::new();
    let mut each = |key: &[u8], value: &[u8]| {
        found.extend([key[0], value[0]]);
        ControlFlow::Continue(())
    };
    store.scan(Space::Lanes, b"", &mut each).unwrap();
    assert_eq!(found, b"a1b2c3e3");
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_syncs_is_committed_all_the_same() {
    let (dir, disk) = (dir(), Arc::<Disk>::default());
    let store = disk.open(&dir);
    let before = disk.syncs.load(SeqCst);
    store.write(put("a", "1")).unwrap();
    sworm_tests::eventually("a commit", || async { (disk.syncs.load(SeqCst) > before).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_acknowledges_nothing_ever_after() {
    for full in [false, true] {
        let (dir, disk) = (dir(), Arc::<Disk>::default());
        let store = disk.open(&dir);
        let good = store.write(put("a", "1")).unwrap();
        store.sync(good).await.unwrap();

        let held = disk.hold();
        (if full { &disk.full } else { &disk.failing }).store(true, SeqCst);
        let bad = store.write(put("b", "2")).unwrap();
        let waiting: Vec<_> = (0..10).map(|_| store.sync(bad)).collect();
        drop(held);
        let failed = store.sync(bad).await.unwrap_err();
        let why = if full { "no storage space" } else { "no disk" };
        assert!(matches!(&failed, StoreError::Failed(text) if text.contains(why)), "{failed:?}");
        assert!(join_all(waiting).await.iter().all(|told| *told == Err(failed.clone())));
        // It does not come back, even if the disk does.
        disk.full.store(false, SeqCst);
        disk.failing.store(false, SeqCst);
        assert_eq!(store.sync(good).await, Err(failed.clone()));
        assert_eq!(store.write(put("c", "3")), Err(failed.clone()));
        assert_eq!(store.get(Space::Lanes, b"a"), Err(failed.clone()));
        assert_eq!(store.scan(Space::Lanes, b"", &mut |_, _| ControlFlow::Continue(())), Err(failed.clone()));
        assert_eq!(store.close().await, Err(failed));
        drop(store);
        let store = RedbStore::open(dir.path()).unwrap();
        assert_eq!((store.was_set_aside(), get(&store, "a").as_deref()), (None, Some(&b"1"[..])));
        assert_eq!(get(&store, "c"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_wait_when_too_much_is_queued_and_none_is_lost() {
    let (dir, disk) = (dir(), Arc::<Disk>::default());
    let store = Arc::new(disk.open(&dir));
    let held = disk.hold();
    let (began, written) = (Arc::new(AtomicUsize::new(0)), store.clone());
    let writing = tokio::task::spawn_blocking({
        let began = began.clone();
        move || {
            for round in 0..12 {
                let mut batch = Batch::new();
                for i in 0..1000 {
                    batch.put(Space::Lanes, format!("{round:02}/{i:04}"), vec![7; 4096]);
                }
                written.write(batch).unwrap();
                began.fetch_add(1, SeqCst);
            }
        }
    });
    // 48 MiB, of which a commit and the queue take some.
    sworm_tests::eventually("a full queue", || async { (began.load(SeqCst) >= 5).then_some(()) }).await;
    let waits = || async { began.load(SeqCst) < 10 };
    sworm_tests::holds_for(std::time::Duration::from_millis(200), "writes wait", waits).await;
    drop(held);
    writing.await.unwrap();
    store.close().await.unwrap();
    let (store, mut found) = (RedbStore::open(dir.path()).unwrap(), 0);
    let mut each = |_: &[u8], value: &[u8]| {
        found += usize::from(value == [7; 4096]);
        ControlFlow::Continue(())
    };
    store.scan(Space::Lanes, b"", &mut each).unwrap();
    assert_eq!(found, 12_000);
}

#[test]
fn what_the_system_refuses_is_not_writable() {
    use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    for kind in [PermissionDenied, ReadOnlyFilesystem, StorageFull, QuotaExceeded, FileTooLarge] {
        let error = directory::refused(Path::new("/data"), kind.into());
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_not_writable_whatever_the_system_calls_that() {
    let dir = tempfile::tempdir().unwrap();
    let too_long = dir.path().join("x".repeat(300));
    let nowhere = cfg!(target_os = "linux").then(|| PathBuf::from("/proc/sworm-tests"));
    for path in [Some(too_long), nowhere].into_iter().flatten() {
        let Err(error) = RedbStore::open(&path) else { panic!("{} was made", path.display()) };
        assert!(matches!(error, StoreError::NotWritable { .. }), "{error:?}");
        let begin = format!("{} cannot be written to: it cannot be created: ", path.display());
        assert!(error.to_string().starts_with(&begin), "{error}");
    }
}
