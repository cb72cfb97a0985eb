//! The same entries in sled, without Sworm.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use ::sled::{Config, Db};
use sworm::BoxError;

use crate::names::name;

/// As much as Sworm gives it.
const CACHE_BYTES: u64 = 64 << 20;

fn open(directory: &Path) -> Result<Db, BoxError> {
    Ok(Config::default().path(directory).cache_capacity(CACHE_BYTES).open()?)
}

/// Opens it and reads everything. Answers the seconds that it took, and how many entries there were.
pub(crate) fn scan(directory: &Path) -> Result<(f64, usize), BoxError> {
    let started = Instant::now();
    let db = open(directory)?;
    let (mut entries, mut bytes) = (0, 0);
    for tree in db.tree_names() {
        for entry in db.open_tree(tree)?.iter() {
            let (key, value) = entry?;
            entries += 1;
            bytes += key.len() + value.len();
        }
    }
    std::hint::black_box(bytes);
    Ok((started.elapsed().as_secs_f64(), entries))
}

/// Inserts entries for that long, of which so many share a sync. Answers how many there were each second.
///
/// sled's flush writes, and leaves it to the system when that comes to the disk: its file is synced after it.
pub(crate) fn insert(directory: &Path, together: usize, value_bytes: usize, time: Duration) -> Result<f64, BoxError> {
    let db = open(directory)?;
    let file = File::open(directory.join("db"))?;
    let value = vec![7; value_bytes];
    let (started, mut done) = (Instant::now(), 0);
    while started.elapsed() < time {
        for _ in 0..together {
            db.insert(name(done), value.as_slice())?;
            done += 1;
        }
        db.flush()?;
        file.sync_data()?;
    }
    Ok(done as f64 / started.elapsed().as_secs_f64())
}
