//! Applies the batches in order, and syncs once for all who wait: the work of the store's one thread.

use std::sync::Arc;

use ::sled::{Db, Tree};

use super::cleaning::Cleaning;
use super::directory::Directory;
use super::engine::{close, guarded};
use super::mark::Mark;
use super::shared::Shared;
use super::tally::Tally;
use crate::store::{Batch, Ticket};

/// After so many bytes there is a sync even if nobody waits for one. sled uses space again for new data once what
/// replaced the old data is written, but not yet durable; this keeps a power failure from finding neither.
const UNSYNCED_BYTES: usize = 256 << 10;

/// The step that makes everything applied durable, or says why it cannot.
pub(super) type SyncStep = Box<dyn FnMut(&Tree) -> Result<(), String> + Send>;

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Arc<Directory>,
    pub(super) to_disk: SyncStep,
    pub(super) mark: Mark,
    pub(super) tally: Tally,
    pub(super) cleaning: Cleaning,
    pub(super) unsynced_bytes: usize,
}

impl Writer {
    /// Works until the store is closed, then lets go of sled's files.
    pub(super) fn run(mut self, db: Db) {
        let mut closing = false;
        while !closing {
            let batches;
            (batches, closing) = self.shared.next(self.cleaning.next(self.tally.live()));
            let idle = batches.is_empty() && !closing;
            for (ticket, batch) in batches {
                if !self.apply(&db, ticket, &batch) {
                    break;
                }
                if self.unsynced_bytes >= UNSYNCED_BYTES {
                    self.sync(&db, true);
                }
            }
            let cleaned = idle && self.clean(&db);
            self.sync(&db, closing || cleaned);
        }
        self.shared.step(|state| state.db = None);
        self.cleaning.end();
        let path = self.directory.path().display();
        if let Err(fault) = close(db) {
            tracing::error!(%path, why = fault.text(), "the store did not close well");
        }
        // Readers that are in the middle of a scan, and sled's own threads, may hold it for a moment longer.
        if self.directory.wait_for_sled().is_err() {
            tracing::error!(%path, "the store's file is still in use");
        }
    }

    /// Whether the next batch may be applied.
    fn apply(&mut self, db: &Db, ticket: Ticket, batch: &Batch) -> bool {
        let applied = self.tally.apply(db, batch);
        if let Err(fault) = &applied
            && db.context.global_error().is_ok()
        {
            // sled goes on, and will write the steps before the one that failed: the batch is torn. After an error of
            // the disk it would have stopped, and the next open does not see the batch.
            self.directory.suspect(fault.text());
        }
        self.unsynced_bytes += batch.bytes();
        self.cleaning.note(batch);
        self.shared.step(|state| {
            match applied {
                Ok(()) => state.applied = ticket,
                Err(fault) => self.shared.fail(state, fault.text().to_owned()),
            }
            state.failed.is_none()
        })
    }

    /// Cleans a little while nobody writes. Whether a sync is due.
    fn clean(&mut self, db: &Db) -> bool {
        if self.shared.step(|state| state.failed.is_some() || state.sync_is_wanted()) {
            return false;
        }
        self.cleaning.idle(db, self.tally.live()).unwrap_or_else(|fault| {
            self.shared.step(|state| self.shared.fail(state, fault.text().to_owned()));
            false
        })
    }

    /// Syncs if somebody waits for it, or in any case.
    fn sync(&mut self, db: &Db, in_any_case: bool) {
        let Some(upto) = self.shared.step(|state| {
            let due = state.failed.is_none() && (in_any_case || state.sync_is_wanted());
            due.then_some(state.applied)
        }) else {
            return;
        };
        let cleaned = self.cleaning.keep_up(db, self.tally.live());
        let begun = cleaned.and_then(|()| self.mark.begin(db));
        let done = begun.and_then(|()| guarded(|| Ok((self.to_disk)(db))));
        self.unsynced_bytes = 0;
        if matches!(done, Ok(Ok(()))) {
            self.mark.done();
        }
        self.shared.step(|state| match done {
            Ok(Ok(())) => self.shared.acknowledge(state, upto),
            Ok(Err(why)) => self.shared.fail(state, why),
            Err(fault) => self.shared.fail(state, fault.text().to_owned()),
        });
    }
}

impl Drop for Writer {
    /// However the thread ends, nobody waits for it any more.
    fn drop(&mut self) {
        self.directory.release();
        self.shared.released();
    }
}
