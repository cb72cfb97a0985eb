//! Opens redb's file, and stands between redb's faults and the rest: its panics, and what its errors mean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadOnlyTable, ReadableDatabase, StorageBackend, TableDefinition};
use sworm::store::StoreError;

use crate::directory::{Directory, refused};

const CACHE_BYTES: usize = 64 << 20;
/// How many times what is stored the file may take before it is made small again, unless it is small anyhow.
const MULTIPLE: u64 = 3;
const SMALL: u64 = 2 << 20;

/// The one table: keys with the byte of their space before them.
pub(crate) const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("sworm");
/// The table at one moment.
pub(crate) type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// What went wrong within redb.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file is not as it was written.
    Damage(String),
    /// Somebody else has the file open.
    Locked(String),
    /// It was closed.
    Closed,
    /// The system refused something.
    System(ErrorKind, String),
}

impl Fault {
    pub(crate) fn text(&self) -> &str {
        match self {
            Fault::Damage(why) | Fault::Locked(why) | Fault::System(_, why) => why,
            Fault::Closed => "it is closed",
        }
    }

    fn open_error(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Fault::Damage(why) => StoreError::Damaged { path, why },
            Fault::Locked(_) => StoreError::Locked { path },
            Fault::System(kind, why) => refused(&path, io::Error::new(kind, why)),
            Fault::Closed => StoreError::Closed,
        }
    }
}

/// Redb, ready for use.
pub(crate) struct Opened {
    pub(crate) db: Database,
    /// Where the damaged file is in whose place it began with an empty one.
    pub(crate) aside: Option<PathBuf>,
}

/// Opens the file, and makes it first if need be. If it is damaged, sets it aside, says where it is, and starts with an
/// empty one.
pub(crate) fn open<B: StorageBackend>(
    directory: &Directory,
    backend: &impl Fn(File) -> Result<B, DatabaseError>,
) -> Result<Opened, StoreError> {
    let path = directory.path();
    match open_file(directory, backend) {
        Ok(db) => {
            let made_small = made_small(directory, db).or_else(|fault| {
                // It was whole, and is: it may go on as large as it is.
                let why = fault.open_error(path);
                tracing::warn!(%why, "the store's file could not be made smaller");
                open_file(directory, backend).map_err(|fault| fault.open_error(path))
            });
            Ok(Opened { db: made_small?, aside: None })
        }
        Err(Fault::Damage(why)) => {
            let stays = |e| StoreError::Damaged { path: path.to_owned(), why: format!("{why}; {e}") };
            let aside = directory.set_aside().map_err(stays)?;
            tracing::error!(aside = %aside.display(), why, "the store is damaged; it was set aside, an empty one begins");
            let db = open_file(directory, backend).map_err(|fault| fault.open_error(path))?;
            Ok(Opened { db, aside: Some(aside) })
        }
        Err(fault) => Err(fault.open_error(path)),
    }
}

fn open_file<B: StorageBackend>(
    directory: &Directory,
    backend: &impl Fn(File) -> Result<B, DatabaseError>,
) -> Result<Database, Fault> {
    guarded(|| {
        if !directory.file().try_exists()? {
            make(directory)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(directory.file())?;
        if file.metadata()?.len() == 0 {
            // Redb would take it for a new one.
            return Err(Fault::Damage("the file is empty".into()));
        }
        // Reads everything: later there is no way back.
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let db = builder.create_with_backend(backend(file)?)?;
        table(&db)?;
        Ok(db)
    })
}

/// Makes the file smaller where most of it is free: later others would wait for that.
fn made_small(directory: &Directory, mut db: Database) -> Result<Database, Fault> {
    guarded(move || {
        if directory.file().metadata()?.len() > SMALL.max(stored(&db)?.saturating_mul(MULTIPLE)) {
            db.compact()?;
        }
        Ok(db)
    })
}

/// How many bytes the keys and values have.
fn stored(db: &Database) -> Result<u64, Fault> {
    let transaction = db.begin_write()?;
    let stored = transaction.stats()?.stored_bytes();
    transaction.abort()?;
    Ok(stored)
}

/// Makes a file with an empty table. It gets its name when it is on the disk, so that half of one is never taken for a
/// damaged one.
fn make(directory: &Directory) -> Result<(), Fault> {
    if directory.new_file().try_exists()? {
        fs::remove_file(directory.new_file())?;
    }
    let db = Database::create(directory.new_file())?;
    let transaction = db.begin_write()?;
    transaction.open_table(TABLE)?;
    transaction.commit()?;
    db.close()?;
    Ok(directory.new_is_ready()?)
}

/// What is committed now.
pub(crate) fn table(db: &Database) -> Result<Table, redb::Error> {
    Ok(db.begin_read()?.open_table(TABLE)?)
}

/// Runs something of redb's. It may panic on a damaged file, so a panic is taken for damage.
pub(crate) fn guarded<T>(run: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(Fault::Damage(format!("panic: {text}")))
    })
}

impl<E: Into<redb::Error>> From<E> for Fault {
    fn from(error: E) -> Self {
        use redb::Error::*;
        let error = error.into();
        let text = error.to_string();
        match error {
            // A file that ends too early, or one that was never redb's.
            Io(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => Fault::Damage(text),
            Io(e) => Fault::System(e.kind(), e.to_string()),
            DatabaseAlreadyOpen | LockProtocolMismatch => Fault::Locked(text),
            DatabaseClosed => Fault::Closed,
            Corrupted(_)
            | RepairAborted
            | TableDoesNotExist(_)
            | TableTypeMismatch { .. }
            | TableIsMultimap(_)
            | TypeDefinitionChanged { .. } => Fault::Damage(text),
            _ => Fault::System(ErrorKind::Other, text),
        }
    }
}
