//! Holds the directory of a store: its lock, its layout, and what happens to a file that is damaged.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sworm::store::StoreError;

/// An open directory, which nobody else has open.
///
/// ```text
/// <path>/lock                   held while the store is open; the file stays
/// <path>/sworm.redb             redb's file
/// <path>/sworm.redb.new         one that is being made
/// <path>/damaged-<time>.redb    what was set aside, never looked at again
/// ```
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
}

impl Directory {
    /// Creates what is missing and takes the lock, which is the one that sled's store takes as well.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let missing: Vec<_> = path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        if let Some(file) = path.ancestors().find(|p| p.exists()).filter(|p| !p.is_dir()) {
            return Err(StoreError::NotADirectory { path: file.to_owned() });
        }
        let refused = |e| refused(path, e);
        fs::create_dir_all(path).map_err(|e| not_made(path, e))?;
        // What is set aside later must not depend on the current directory.
        let own = fs::canonicalize(path).map_err(refused)?;
        let lock =
            OpenOptions::new().create(true).write(true).truncate(false).open(own.join("lock")).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(e)) => return Err(refused(e)),
        }
        missing.iter().filter_map(|made| made.parent()).for_each(sync_names);
        Ok(Self { path: own, lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Redb's file.
    pub(crate) fn file(&self) -> PathBuf {
        self.path.join("sworm.redb")
    }

    /// Where the file is made.
    pub(crate) fn new_file(&self) -> PathBuf {
        self.path.join("sworm.redb.new")
    }

    /// Puts the file that was made in its place.
    pub(crate) fn new_is_ready(&self) -> io::Result<()> {
        fs::rename(self.new_file(), self.file())?;
        sync_names(&self.path);
        Ok(())
    }

    /// Moves the file out of the way and returns where it is.
    pub(crate) fn set_aside(&self) -> io::Result<PathBuf> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let aside = (now..).map(|ms| self.path.join(format!("damaged-{ms}.redb"))).find(|path| !path.exists());
        let aside = aside.expect("some time has no file yet");
        fs::rename(self.file(), &aside)?;
        sync_names(&self.path);
        Ok(aside)
    }

    /// Gives the lock back.
    pub(crate) fn release(&self) {
        // Not left to the file's drop: a program that is being started at this moment may hold a copy of it for a while.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(path = %self.path.display(), %error, "cannot unlock the store");
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.release();
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
pub(crate) fn refused(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => StoreError::NotADirectory { path },
        ErrorKind::PermissionDenied
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::StorageFull
        | ErrorKind::FileTooLarge
        | ErrorKind::QuotaExceeded => StoreError::NotWritable { path, why: error.to_string() },
        _ => StoreError::Io(format!("{}: {error}", path.display())),
    }
}

/// Syncs the names in a directory. Not every system can do that; then there is nothing better to do.
fn sync_names(path: &Path) {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    if let Err(error) = File::open(path).and_then(|file| file.sync_all()) {
        tracing::debug!(path = %path.display(), %error, "cannot sync");
    }
}
