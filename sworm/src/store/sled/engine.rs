//! Opens sled, and stands between its faults and the rest: its panics, and what its errors mean.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use ::sled::Db;

use super::directory::{Directory, refused};
use super::tally::Tally;
use crate::store::StoreError;

const CACHE_BYTES: u64 = 64 << 20;
/// Without it the memory of what was written grows and grows.
const FLUSH_EVERY_MS: u64 = 1000;

/// What went wrong within sled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The files are not as they were written.
    Damage(String),
    /// The system refused something.
    System(ErrorKind, String),
}

impl Fault {
    pub(super) fn text(&self) -> &str {
        match self {
            Fault::Damage(why) | Fault::System(_, why) => why,
        }
    }

    fn open_error(self, directory: &Directory) -> StoreError {
        let path = directory.path().to_owned();
        match self {
            Fault::Damage(why) => StoreError::Damaged { path, why },
            Fault::System(kind, why) => refused(&path, std::io::Error::new(kind, why)),
        }
    }
}

/// Sled, ready for use.
pub(super) struct Opened {
    pub(super) db: Db,
    pub(super) tally: Tally,
    /// Where the damaged files are in whose place it began with empty ones.
    pub(super) aside: Option<PathBuf>,
}

/// Opens sled's files. If they are damaged, sets them aside, says where they are, and starts with empty ones.
pub(super) fn open(directory: &Directory) -> Result<Opened, StoreError> {
    directory.wait_for_sled()?;
    directory.prepare().map_err(|e| refused(directory.path(), e))?;
    let opened = if directory.is_suspect() {
        Err(Fault::Damage("a batch failed in the middle".into()))
    } else {
        open_files(directory).and_then(check)
    };
    let ((db, tally), aside) = match opened {
        Ok(opened) => (opened, None),
        Err(Fault::Damage(why)) => {
            directory.wait_for_sled()?;
            let path = directory.path().to_owned();
            let aside = directory.set_aside().map_err(|e| StoreError::Damaged { path, why: format!("{why}; {e}") })?;
            tracing::error!(aside = %aside.display(), why, "the store is damaged; it was set aside, an empty one begins");
            let anew = open_files(directory).and_then(check).map_err(|fault| fault.open_error(directory))?;
            (anew, Some(aside))
        }
        Err(fault) => return Err(fault.open_error(directory)),
    };
    directory.sync_names();
    Ok(Opened { db, tally, aside })
}

fn open_files(directory: &Directory) -> Result<Db, Fault> {
    let config = ::sled::Config::default().path(directory.sled()).cache_capacity(CACHE_BYTES);
    guarded(|| config.flush_every_ms(Some(FLUSH_EVERY_MS)).open())
}

/// Reads everything: later there is no way back.
fn check(db: Db) -> Result<(Db, Tally), Fault> {
    match Tally::open(&db) {
        Ok(tally) => Ok((db, tally)),
        Err(fault) => {
            close(db).unwrap_or_else(|second| tracing::debug!(why = second.text(), "damaged files do not close well"));
            Err(fault)
        }
    }
}

/// Drops sled's handle, which flushes.
pub(super) fn close(db: Db) -> Result<(), Fault> {
    guarded(|| {
        drop(db);
        Ok(())
    })
}

/// Runs something of sled's. It panics on some damaged files, so a panic is taken for damage.
pub(super) fn guarded<T>(run: impl FnOnce() -> ::sled::Result<T>) -> Result<T, Fault> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(done) => done.map_err(fault),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(panicked(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic")))
        }
    }
}

/// sled unwraps some errors of the system, as when no thread can be started. Files are not set aside for that.
fn panicked(text: &str) -> Fault {
    let system = text.contains("Os {") || text.contains("kind:");
    if system { Fault::System(ErrorKind::Other, text.to_owned()) } else { Fault::Damage(format!("panic: {text}")) }
}

fn fault(error: ::sled::Error) -> Fault {
    use ::sled::Error::{Io, ReportableBug};
    let text = error.to_string();
    match error {
        // A file that ends too early, or one that is not there.
        Io(e) if matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::NotFound | ErrorKind::InvalidData) => {
            Fault::Damage(text)
        }
        Io(e) => Fault::System(e.kind(), text),
        // All stores of a process share sled's threads: when one of those has died, no file is to blame.
        ReportableBug(why) if why.contains("thread") => Fault::System(ErrorKind::Other, why),
        _ => Fault::Damage(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_not_blamed_for_the_system() {
        let full = ::sled::Error::Io(ErrorKind::StorageFull.into());
        assert!(matches!(fault(full), Fault::System(ErrorKind::StorageFull, _)));
        let threads = "called `Result::unwrap()` on an `Err` value: Os { code: 11, kind: WouldBlock }";
        assert!(matches!(panicked(threads), Fault::System(..)));
        assert!(matches!(fault(::sled::Error::ReportableBug("IO thread died".into())), Fault::System(..)));
    }

    #[test]
    fn files_are_blamed_for_what_they_hold() {
        assert!(matches!(fault(::sled::Error::Corruption { at: None, bt: () }), Fault::Damage(_)));
        assert!(matches!(fault(::sled::Error::Io(ErrorKind::UnexpectedEof.into())), Fault::Damage(_)));
        assert!(matches!(guarded::<()>(|| panic!("{}", "expected pid 7")), Err(Fault::Damage(_))));
        assert!(matches!(guarded::<()>(|| panic!("short")), Err(Fault::Damage(_))));
    }
}
