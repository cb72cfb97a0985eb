//! Keeps sled's file small: makes sled clean it at the pace of the writes, and goes on when there are none.
//!
//! sled moves what is still of use out of a segment of its file, so that the segment can be used again, one page at a time:
//! as often as it replaces some page, and once a second. At the pace of many small writes that is too seldom. Each page
//! that is replaced is another page moved, and a page is replaced at the tenth write to it; so writes to a page of the
//! cleaner's own, of one small item, are how sled is told to move more.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::time::Duration;

use ::sled::{Db, Tree};

use super::directory::Directory;
use super::engine::{Fault, guarded};
use crate::store::Batch;

/// The tree of the cleaner's own page.
const TREE: &str = "cleaning";
/// sled takes up to so much for nothing: some segments of 512 KiB that wait to be used again. Below it there is no haste.
const SMALL: u64 = 2 << 20;
/// How many tenths of the live data the file may take before cleaning keeps up with the writes.
const RELAXED: u64 = 15;
/// How many tenths of the live data the file may take when nobody writes.
const AT_REST: u64 = 29;
/// How many writes to the cleaner's page go with a write of the store's, by how many tenths of the live data the file takes.
const PACE: [(u64, u64); 3] = [(RELAXED, 2), (25, 4), (AT_REST, 8)];
/// How many writes to the cleaner's page are in a slice of work that is done when nobody writes.
const SLICE: u64 = 1000;
/// How many writes to the cleaner's page go with one sync at most, which waits for them. A large batch leaves the rest to
/// the slices.
const MOST: u64 = 8 * SLICE;
/// How many bytes of items, and how many items, are written again in such a slice.
const AGAIN_BYTES: usize = 64 << 10;
const AGAIN_ITEMS: usize = 256;
/// After how many passes that gave nothing back there is no hope, however large the file is.
const MOST_PASSES: u64 = 8;
/// The pause between two slices, in which writes come first.
const PAUSE: Duration = Duration::from_millis(5);
/// When sled's own thread has done what it does after the last write.
const LAST_LOOK: Duration = Duration::from_secs(2);

pub(super) struct Cleaning {
    file: File,
    /// Opened when there is something to clean.
    own: Option<Tree>,
    nudges: u64,
    /// The steps of batches since the file was last looked at.
    steps: u64,
    /// Where writing again goes on.
    cursor: Vec<u8>,
    /// How many passes have given nothing back.
    passes: u32,
    /// What the file took at the end of the last pass that gave something back.
    least: u64,
    /// The live data at the end of the last pass, and the bytes of all batches since.
    last_live: u64,
    written: u64,
    /// Whether something has changed since there was nothing left to do.
    due: bool,
}

impl Cleaning {
    pub(super) fn open(directory: &Directory) -> io::Result<Self> {
        let file = File::open(directory.db())?;
        Ok(Self {
            file,
            own: None,
            nudges: 0,
            steps: 0,
            cursor: Vec::new(),
            passes: 0,
            least: u64::MAX,
            last_live: 0,
            written: 0,
            due: true,
        })
    }

    /// Takes note of a batch that was applied.
    pub(super) fn note(&mut self, batch: &Batch) {
        self.steps += batch.ops().len() as u64;
        self.written += batch.bytes() as u64;
        self.due = true;
    }

    /// How long to wait for writes before [`idle`](Self::idle) is due; `None` if there is nothing to do without them.
    pub(super) fn next(&self, live: u64) -> Option<Duration> {
        let much = self.size().is_ok_and(|taken| is_over(taken, live, AT_REST) && !self.is_in_vain(taken, live));
        self.due.then_some(if much { PAUSE } else { LAST_LOOK })
    }

    /// Has sled clean as much as the steps since the last time are worth. A sync follows: sled uses the space again.
    pub(super) fn keep_up(&mut self, db: &Db, live: u64) -> Result<(), Fault> {
        let steps = std::mem::take(&mut self.steps);
        if steps == 0 {
            return Ok(());
        }
        let taken = self.size()?;
        let pace = PACE.iter().rev().find(|(tenths, _)| is_over(taken, live, *tenths));
        pace.map_or(Ok(()), |(_, each)| self.nudge(db, (steps * each).min(MOST)))
    }

    /// Does a slice of what is left to do when nobody writes. Whether it wrote something, so that a sync is due.
    pub(super) fn idle(&mut self, db: &Db, live: u64) -> Result<bool, Fault> {
        let taken = self.size()?;
        self.due = is_over(taken, live, AT_REST) && !self.is_in_vain(taken, live);
        if !self.due {
            return Ok(false);
        }
        self.write_again(db, live)?;
        self.nudge(db, SLICE)?;
        Ok(true)
    }

    /// Whether more passes than the file is times the live data have given nothing back, one after the other. Then it is
    /// left as it is: very small items take more, however they are written. It is tried again when as much has been written
    /// as there is, or a part of it is gone.
    fn is_in_vain(&self, taken: u64, live: u64) -> bool {
        u64::from(self.passes) > (taken / live.max(1)).min(MOST_PASSES) && !self.has_changed(live)
    }

    /// Whether there is more to hope for than at the end of the last pass.
    fn has_changed(&self, live: u64) -> bool {
        self.written >= live || live < self.last_live / 4 * 3
    }

    /// Lets go of sled.
    pub(super) fn end(&mut self) {
        self.own = None;
    }

    /// Writes some items again as they are: a segment that nothing else changes is cleaned when its pages are replaced, and
    /// what has been changed in small steps takes less when it is in one piece.
    fn write_again(&mut self, db: &Db, live: u64) -> Result<(), Fault> {
        let mut items = db.range::<&[u8], _>((Bound::Excluded(&self.cursor[..]), Bound::Unbounded)).take(AGAIN_ITEMS);
        let (mut last, mut bytes) = (None, 0);
        while bytes < AGAIN_BYTES
            && let Some((key, value)) = guarded(|| items.next().transpose())?
        {
            bytes += key.len() + value.len();
            // sled leaves out an insert that changes nothing, and the first try has its way: nobody else writes.
            let _ = guarded(|| db.compare_and_swap(&key, Some(&value), Some(&value)))?;
            last = Some(key);
        }
        let Some(key) = last else {
            return self.end_pass(live);
        };
        self.cursor = key.to_vec();
        Ok(())
    }

    /// Everything was written again.
    fn end_pass(&mut self, live: u64) -> Result<(), Fault> {
        let taken = self.size()?;
        // Not the last pass counts but the best: the size goes up and down somewhat.
        let in_vain = taken >= self.least && !self.has_changed(live);
        (self.passes, self.least) = if in_vain { (self.passes + 1, self.least) } else { (0, taken) };
        (self.last_live, self.written) = (live, 0);
        self.cursor.clear();
        Ok(())
    }

    fn nudge(&mut self, db: &Db, times: u64) -> Result<(), Fault> {
        let own = match &mut self.own {
            Some(own) => own,
            none => none.insert(guarded(|| db.open_tree(TREE))?),
        };
        for _ in 0..times {
            self.nudges += 1;
            guarded(|| own.insert(b"", &self.nudges.to_be_bytes()))?;
        }
        Ok(())
    }

    fn size(&self) -> Result<u64, Fault> {
        let about = self.file.metadata();
        about.map(|about| about.len()).map_err(|error| Fault::System(error.kind(), error.to_string()))
    }
}

/// Whether a file takes more than so many tenths of the live data, and is not small either.
fn is_over(taken: u64, live: u64, tenths: u64) -> bool {
    taken > SMALL && taken.saturating_mul(10) > live.saturating_mul(tenths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::super::tests::{dir, open, put};
    use super::*;
    use crate::store::{Space, Store as _};

    const ITEMS: u32 = 10_000;

    fn size(dir: &tempfile::TempDir) -> u64 {
        std::fs::metadata(dir.path().join("sled/db")).unwrap().len()
    }

    fn item(n: u32) -> Vec<u8> {
        Space::Lanes.key(&n.to_be_bytes())
    }

    /// Opens a store whose file sled alone has left too large for its items, and reads and writes until it is not any more.
    fn shrinks(fill: impl FnOnce(&Db)) {
        let dir = dir();
        let db = ::sled::open(dir.path().join("sled")).unwrap();
        fill(&db);
        let before: Vec<_> = db.iter().map(|item| item.unwrap()).collect();
        let live: usize = before.iter().map(|(key, value)| key.len() + value.len()).sum();
        let most = live as u64 * 3;
        drop(db);
        assert!(size(&dir) > most / 3 * 4, "sled alone leaves {} bytes of {live}", size(&dir));

        let store = open(&dir);
        let mut written = 0_u32;
        while size(&dir) > most {
            let mut items = before.iter();
            let mut each = |key: &[u8], value: &[u8]| {
                let wanted = items.next().unwrap();
                assert!(key == &wanted.0[1..] && *value == *wanted.1, "a reader sees each item once, as it was");
                std::ops::ControlFlow::Continue(())
            };
            store.scan(Space::Lanes, b"", &mut each).unwrap();
            written += 1;
            let mut batch = Batch::new();
            batch.put(Space::Meta, "late", written.to_be_bytes().to_vec());
            store.write(batch).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            assert!(written < 1_000, "{} bytes of {live}", size(&dir));
        }
        drop(store);
        let store = open(&dir);
        assert_eq!((store.was_set_aside(), store.has_lost_writes()), (None, false));
        assert_eq!(store.get(Space::Meta, b"late").unwrap(), Some(written.to_be_bytes().to_vec().into()));
    }

    #[test]
    fn a_file_with_many_old_states_in_it_shrinks() {
        shrinks(|db| {
            let mut random = 88_172_645_463_325_252_u64;
            for round in 0..800 {
                let mut batch = ::sled::Batch::default();
                for n in 0..100 {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    let which = if round < ITEMS / 100 { round * 100 + n } else { (random % u64::from(ITEMS)) as u32 };
                    batch.insert(item(which), vec![round as u8; 200]);
                }
                db.apply_batch(batch).unwrap();
                db.flush().unwrap();
            }
        });
    }

    #[test]
    fn where_nothing_helps_it_is_left_alone_until_there_is_more_to_hope_for() {
        let dir = dir();
        let directory = Directory::open(dir.path()).unwrap();
        let db = ::sled::open(directory.sled()).unwrap();
        for n in 0..20_000_u32 {
            db.insert(n.to_be_bytes(), b"").unwrap();
        }
        db.flush().unwrap();
        let live = 20_000 * 4;
        let mut cleaning = Cleaning::open(&directory).unwrap();
        let slices = (0..10_000).take_while(|_| cleaning.idle(&db, live).unwrap()).count();
        assert!((1..10_000).contains(&slices) && cleaning.next(live).is_none(), "{slices} slices");
        assert!(size(&dir) > live * 3, "else this tests nothing: {} bytes", size(&dir));

        let batch = |bytes| put("new", vec![0; bytes]);
        cleaning.note(&batch(100));
        cleaning.keep_up(&db, live).unwrap();
        assert!(!cleaning.idle(&db, live).unwrap(), "a small write is no reason");
        (0..100).for_each(|_| cleaning.note(&batch(4000)));
        cleaning.keep_up(&db, live).unwrap();
        // sled may have given enough of it back by itself meanwhile.
        let goes_on = cleaning.idle(&db, live).unwrap();
        assert!(goes_on || !is_over(size(&dir), live, AT_REST), "as much as there is was written");
    }
}
