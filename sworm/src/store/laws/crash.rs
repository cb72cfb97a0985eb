//! What is owed when a process dies.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::super::{Batch, MAX_VALUE_BYTES, Space, Store};
use super::all;

/// How often the process dies.
const LIVES: u8 = 6;
/// How many batches are synced in each life.
const BATCHES: u8 = 8;

/// Runs the laws for a store whose process dies: what is in its directory when a sync has returned, while the store is open,
/// is what the next life finds. `open` opens a store in a directory, and `place` is an empty one for those of the lives.
///
/// It is what the system holds then, not what a disk does that loses power: that takes a look at the system calls.
///
/// # Panics
///
/// When a law is broken, with a message that names it.
pub async fn crash_store_laws(place: &Path, open: &mut dyn FnMut(&Path) -> Box<dyn Store>) {
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for life in 0..LIVES {
        let directory = place.join(life.to_string());
        fs::create_dir_all(&directory).expect("the place can be written to");
        let store = open(&directory);
        let found: BTreeMap<_, _> = all(&*store, Space::Snapshots, b"").into_iter().collect();
        assert!(found == expected, "what was synced before a crash is there after it, and nothing else");
        for number in 0..BATCHES {
            let mut batch = Batch::new();
            for key in 0..=number {
                let (key, value) = (vec![key], vec![life ^ number; usize::from(key) * MAX_VALUE_BYTES / 8]);
                if key[0] % 3 == life % 3 {
                    batch.delete(Space::Snapshots, &key);
                    expected.remove(&key);
                } else {
                    batch.put(Space::Snapshots, &key, value.clone());
                    expected.insert(key, value);
                }
            }
            let mut refused = Batch::new();
            refused.put(Space::Snapshots, "refused", "1").put(Space::Snapshots, "large", vec![1; MAX_VALUE_BYTES + 1]);
            assert!(store.write(refused).is_err(), "too large a value is refused");
            let ticket = store.write(batch).expect("a write works");
            store.sync(ticket).await.expect("a sync works");
        }
        copy(&directory, &place.join((life + 1).to_string())).expect("what is in the directory can be read");
        // This comes after the crash.
        let mut late = Batch::new();
        late.put(Space::Snapshots, "late", "1");
        store.write(late).expect("a write works");
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (about, to) = (entry.file_type()?, to.join(entry.file_name()));
        if about.is_dir() {
            copy(&entry.path(), &to)?;
        } else if about.is_file() {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
