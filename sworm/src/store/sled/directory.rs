//! Holds the directory of a store: its lock, its layout, and what happens to files that are damaged.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::store::StoreError;

/// How long sled's background threads may take to let go of its file after it was closed.
const RELEASE_WAIT: Duration = Duration::from_secs(10);

/// An open directory, which nobody else has open.
///
/// ```text
/// <path>/lock              held while the store is open; the file stays
/// <path>/sled/             sled's files: the trees of the items and, once there was much to clean, of the cleaner's page
/// <path>/suspect           a batch may be in them in part: the next open sets them aside
/// <path>/synced            how many syncs there were: tells when sled has lost some
/// <path>/damaged-<time>/   what was set aside, never looked at again
/// ```
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates what is missing and takes the lock.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let missing: Vec<_> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        if let Some(file) = path.ancestors().find(|p| p.exists()).filter(|p| !p.is_dir()) {
            return Err(StoreError::NotADirectory { path: file.to_owned() });
        }
        let refused = |e| refused(path, e);
        fs::create_dir_all(path).map_err(|e| not_made(path, e))?;
        // sled keeps its path for later, so it must not depend on the current directory.
        let own = fs::canonicalize(path).map_err(refused)?;
        let lock =
            OpenOptions::new().create(true).write(true).truncate(false).open(own.join("lock")).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(refused(e)),
        }
        let directory = Self { path: own, lock };
        fs::create_dir_all(directory.sled()).map_err(refused)?;
        missing.iter().filter_map(|made| made.parent()).for_each(sync_path);
        sync_path(&directory.path);
        Ok(directory)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled's files are.
    pub(super) fn sled(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// The file that sled locks, and that a sync must cover.
    pub(super) fn db(&self) -> PathBuf {
        self.sled().join("db")
    }

    /// The file that counts the syncs.
    pub(super) fn synced(&self) -> PathBuf {
        self.path.join("synced")
    }

    /// Makes sled's files fit to be opened after whatever ended their last use.
    pub(super) fn prepare(&self) -> io::Result<()> {
        // sled takes a snapshot that it was killed while writing for the newest one, and then reports corruption; the
        // one before it is still there.
        for entry in fs::read_dir(self.sled())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "generating") {
                fs::remove_file(path)?;
            }
        }
        // sled may sync a snapshot of what it finds in the file. After a kill without a sync that is only in the memory
        // of the system, and a power failure would leave a snapshot of what is not there.
        match File::open(self.db()) {
            Ok(db) => db.sync_all(),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Makes durable what sled writes once and never syncs: its settings, and the names of its files.
    pub(super) fn sync_names(&self) {
        sync_path(&self.sled().join("conf"));
        sync_path(&self.sled());
    }

    /// Moves sled's files out of the way and returns where they are.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let aside = (now..).map(|ms| self.path.join(format!("damaged-{ms}"))).find(|path| !path.exists());
        let aside = aside.expect("some time has no directory yet");
        fs::rename(self.sled(), &aside)?;
        fs::create_dir(self.sled())?;
        self.clear_suspicion();
        sync_path(&self.path);
        Ok(aside)
    }

    /// Leaves word for the next open that a batch may be on the disk in part.
    pub(super) fn suspect(&self, why: &str) {
        if let Err(error) = fs::write(self.suspicion_path(), format!("{why}\n")) {
            tracing::warn!(path = %self.path.display(), %error, "cannot note that the store is damaged");
        }
    }

    /// Whether word was left.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspicion_path().exists()
    }

    /// The files were set aside.
    pub(super) fn clear_suspicion(&self) {
        let _ = fs::remove_file(self.suspicion_path());
    }

    /// Waits until sled, whose threads outlive its handles for a moment, has let go of its file.
    pub(super) fn wait_for_sled(&self) -> Result<(), StoreError> {
        let start = Instant::now();
        while let Ok(db) = OpenOptions::new().write(true).open(self.db()) {
            match db.try_lock() {
                Err(TryLockError::WouldBlock) if start.elapsed() < RELEASE_WAIT => {}
                Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: self.path.clone() }),
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Gives the lock back.
    pub(super) fn release(&self) {
        // Not left to the drop: a program that is being started at this moment may hold a copy of the file for a while.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "cannot unlock the store");
        }
    }

    fn suspicion_path(&self) -> PathBuf {
        self.path.join("suspect")
    }
}

/// A directory that is not there cannot be made, whatever the system calls that: its words alone would not tell.
fn not_made(path: &Path, error: io::Error) -> StoreError {
    let why = format!("it cannot be created: {error}");
    match refused(path, error) {
        StoreError::Io(_) => StoreError::NotWritable { path: path.to_owned(), why },
        other => other,
    }
}

/// Says what an error of the system means for the one who wants to open the store.
pub(super) fn refused(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::NotADirectory { path },
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::StorageFull
        | ErrorKind::QuotaExceeded => StoreError::NotWritable { path, why: error.to_string() },
        _ => StoreError::Io(format!("{}: {error}", path.display())),
    }
}

/// Syncs a file, or the names in a directory. Not every system can do the latter; then there is nothing better to do.
fn sync_path(path: &Path) {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if let Err(error) = File::open(path).and_then(|file| file.sync_all()) {
        tracing::debug!(path = %path.display(), %error, "cannot sync");
    }
}
