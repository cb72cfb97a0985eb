//! Commits what is queued, and tells all who wait: the work of the store's one thread.

use std::sync::Arc;

use redb::{Database, Durability};

use crate::directory::Directory;
use crate::file::{Fault, TABLE, guarded};
use crate::shared::{Shared, Steps, Work};

pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) directory: Arc<Directory>,
}

impl Writer {
    /// Works until the store is closed or fails, then lets go of the file.
    pub(crate) fn run(self, db: Arc<Database>) {
        let mut last = false;
        while !last {
            let work: Work = self.shared.next();
            last = work.last;
            match guarded(|| commit(&db, &work.steps)) {
                Ok(()) => self.shared.acknowledge(work.upto),
                Err(fault) => {
                    self.shared.fail(fault.text());
                    last = true;
                }
            }
        }
        self.shared.forget_db();
        let db = Arc::into_inner(db).expect("reads use it under the lock only");
        if let Err(fault) = guarded(|| Ok(db.close()?)) {
            tracing::error!(path = %self.directory.path().display(), why = fault.text(), "the store did not close well");
        }
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody waits for it any more.
    fn drop(&mut self) {
        self.directory.release();
        self.shared.released();
    }
}

/// Puts everything on the disk, all of it or nothing.
fn commit(db: &Database, steps: &Steps) -> Result<(), Fault> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut transaction = db.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    let mut table = transaction.open_table(TABLE)?;
    for (key, value) in steps {
        match value {
            Some(value) => table.insert(key.as_slice(), value.as_ref()).map(drop)?,
            None => table.remove(key.as_slice()).map(drop)?,
        }
    }
    drop(table);
    Ok(transaction.commit()?)
}
