//! Holds lists of byte frames that grow at their end and are compacted by generations.
//!
//! A frame is a blob under prefix ‖ `be32(generation)` ‖ `be64(number)`. A rewrite puts a new generation, at last its
//! first frame, and deletes the old one in one batch with that: however many batches it takes, at any time there is one
//! generation that has a first frame. What a crash or a damaged disk leaves is read up to the first frame that is not as
//! it was written; whoever owns the log gets the rest from the peers.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::blob::{Assembly, Blob, MAX_BLOB_BYTES, delete_blob, put_blob, split};
use super::{Batch, Space, Store, StoreError};

/// Behind a log's prefix: `be32` generation, `be64` number.
const PLACE_BYTES: usize = 12;

/// An append log of byte frames under a key prefix.
///
/// Its methods add to a batch and take it for granted that the batch is written, in order. When the write fails, drop
/// the log and load it again.
///
/// ```
/// use sworm::store::{Batch, FrameLog, MemoryStore, Space, Store};
///
/// let store = MemoryStore::new();
/// let mut log = FrameLog::new(Space::Lanes, "lane/1/");
/// let mut batch = Batch::new();
/// log.append(&mut batch, b"first")?;
/// log.append(&mut batch, b"second")?;
/// store.write(batch)?;
/// let (log, frames) = FrameLog::load(&store, Space::Lanes, "lane/1/")?;
/// assert_eq!((log.frames(), &frames[1][..]), (2, &b"second"[..]));
/// # Ok::<(), sworm::store::StoreError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameLog {
    space: Space,
    prefix: Vec<u8>,
    generation: u32,
    /// The number of chunks of each frame: what it takes to delete them.
    chunks: Vec<u16>,
    bytes: u64,
    /// Keys that belong to the log and to none of its frames: what was found damaged, and what came after it.
    stale: Vec<Vec<u8>>,
    dropped: u64,
}

/// A log that was found by [`FrameLog::load_all`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoadedLog {
    /// The bytes between the common prefix and the log's own keys.
    pub id: Bytes,
    /// The log.
    pub log: FrameLog,
    /// Its frames, in order.
    pub frames: Vec<Bytes>,
}

impl FrameLog {
    /// A log of which nothing is in the store yet.
    pub fn new(space: Space, prefix: impl Into<Vec<u8>>) -> Self {
        let prefix = prefix.into();
        Self { space, prefix, generation: 0, chunks: vec![], bytes: 0, stale: vec![], dropped: 0 }
    }

    /// Reads a log: its frames in order, up to the first that is damaged or missing; [`dropped`](Self::dropped) tells
    /// how many were not returned. A log that is not there is empty.
    pub fn load(
        store: &dyn Store,
        space: Space,
        prefix: impl Into<Vec<u8>>,
    ) -> Result<(FrameLog, Vec<Bytes>), StoreError> {
        let prefix = prefix.into();
        let found = Self::load_all(store, space, &prefix, 0)?.pop();
        Ok(found.map_or_else(|| (Self::new(space, prefix), vec![]), |found| (found.log, found.frames)))
    }

    /// Reads all logs whose prefix is `prefix` and then `id_len` more bytes, in one scan, in the order of those bytes.
    pub fn load_all(
        store: &dyn Store,
        space: Space,
        prefix: impl AsRef<[u8]>,
        id_len: usize,
    ) -> Result<Vec<LoadedLog>, StoreError> {
        let prefix = prefix.as_ref();
        let own = prefix.len() + id_len;
        let mut logs: Vec<Loading> = vec![];
        store.scan(space, prefix, &mut |found, value| {
            let Some((place, index)) = place(found, own) else { return ControlFlow::Continue(()) };
            if logs.last().is_none_or(|last| last.log.prefix != found[..own]) {
                logs.push(Loading::new(Self::new(space, &found[..own])));
            }
            logs.last_mut().expect("one was pushed if there was none").add(place, index, found, value);
            ControlFlow::Continue(())
        })?;
        Ok(logs.into_iter().map(|loading| loading.finish(prefix.len())).collect())
    }

    /// Adds a frame at the end. On an error nothing has changed.
    pub fn append(&mut self, batch: &mut Batch, frame: &[u8]) -> Result<(), StoreError> {
        if frame.len() > MAX_BLOB_BYTES {
            return Err(StoreError::TooLarge { bytes: frame.len(), limit: MAX_BLOB_BYTES });
        }
        // What stands behind the last good frame must not follow the new one when the log is read again.
        self.remove_stale(batch);
        self.chunks.push(0);
        self.put(batch, self.chunks.len() - 1, frame)
    }

    /// Replaces all frames. On an error nothing has changed.
    pub fn rewrite<'f>(
        &mut self,
        batch: &mut Batch,
        frames: impl IntoIterator<Item = &'f [u8]>,
    ) -> Result<(), StoreError> {
        let frames: Vec<&[u8]> = frames.into_iter().collect();
        let mut fresh = self.clone();
        let mut puts = Batch::new();
        fresh.rewrite_in_batches(&mut puts, frames, |_| Ok(()))?;
        batch.append(puts);
        *self = fresh;
        Ok(())
    }

    /// Replaces all frames by some that are too many for one batch: after each frame `write` may write the batch. A crash
    /// leaves either all of the old frames or all of the new ones.
    pub fn rewrite_in_batches<F: AsRef<[u8]>>(
        &mut self,
        batch: &mut Batch,
        frames: impl IntoIterator<Item = F>,
        mut write: impl FnMut(&mut Batch) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut frames = frames.into_iter();
        let mut fresh = Self::new(self.space, self.prefix.clone());
        // There is one generation at a time, so after the last one comes the first.
        fresh.generation = self.generation.wrapping_add(1);
        // An earlier rewrite that was not finished left keys of that very generation.
        self.remove_stale(batch);
        let first = frames.next();
        if first.is_some() {
            fresh.chunks.push(0);
        }
        for frame in frames {
            fresh.append(batch, frame.as_ref())?;
            write(batch)?;
        }
        self.remove(batch);
        if let Some(first) = first {
            fresh.put(batch, 0, first.as_ref())?;
        }
        *self = fresh;
        Ok(())
    }

    /// Deletes everything; the log is then empty and may be used on.
    pub fn remove(&mut self, batch: &mut Batch) {
        self.remove_frames(batch);
        self.remove_stale(batch);
        self.dropped = 0;
    }

    /// How many frames there are.
    pub fn frames(&self) -> usize {
        self.chunks.len()
    }

    /// The bytes of all frames.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many frames could not be read when the log was loaded, as far as their keys tell: the first that was damaged
    /// or missing, and those after it. 0 once the log was rewritten.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn put(&mut self, batch: &mut Batch, number: usize, frame: &[u8]) -> Result<(), StoreError> {
        self.chunks[number] = put_blob(batch, self.space, &self.key(number), frame, 0)?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    fn remove_frames(&mut self, batch: &mut Batch) {
        for (number, chunks) in self.chunks.iter().enumerate() {
            delete_blob(batch, self.space, &self.key(number), *chunks);
        }
        self.chunks.clear();
        self.bytes = 0;
    }

    fn remove_stale(&mut self, batch: &mut Batch) {
        for key in self.stale.drain(..) {
            batch.delete(self.space, key);
        }
    }

    fn key(&self, number: usize) -> Vec<u8> {
        [&self.prefix[..], &self.generation.to_be_bytes(), &(number as u64).to_be_bytes()].concat()
    }
}

/// A log that is being read, chunk by chunk.
struct Loading {
    log: FrameLog,
    frames: Vec<Bytes>,
    /// The next frame, as far as it has been read.
    open: Option<Assembly>,
    /// Where the newest generation goes on after its last good frame: the keys there, and the highest number.
    rest: Vec<Vec<u8>>,
    highest: Option<u64>,
}

impl Loading {
    fn new(log: FrameLog) -> Self {
        Self { log, frames: vec![], open: None, rest: vec![], highest: None }
    }

    fn add(&mut self, (generation, number): (u32, u64), index: u16, key: &[u8], value: &[u8]) {
        if generation != self.log.generation {
            if (number, index) != (0, 0) && self.highest.is_some() {
                return self.log.stale.push(key.to_vec()); // a rewrite that was not finished
            }
            self.supersede(generation);
        }
        self.highest = Some(number);
        self.rest.push(key.to_vec());
        // Something was missing before: nothing after it counts.
        if number != self.frames.len() as u64 || (index > 0 && self.open.is_none()) {
            return;
        }
        self.open = match self.open.take() {
            None => Assembly::start(value),
            Some(open) => open.push(index, value),
        };
        if let Some(full) = self.open.take_if(|open| open.is_full()) {
            let chunks = full.chunks();
            if let Blob::Whole(frame) = full.finish() {
                self.log.chunks.push(chunks);
                self.log.bytes += frame.len() as u64;
                self.frames.push(frame);
                self.rest.clear();
            }
        }
    }

    /// A generation with a first frame was found: the one before it should not be there, and is deleted with the next
    /// change.
    fn supersede(&mut self, generation: u32) {
        let mut old = Batch::new();
        self.log.remove_frames(&mut old);
        self.log.stale.extend(old.ops().iter().map(|op| op.key.to_vec()));
        self.log.stale.append(&mut self.rest);
        self.log.generation = generation;
        (self.frames, self.open, self.highest) = (vec![], None, None);
    }

    fn finish(mut self, id_at: usize) -> LoadedLog {
        let found = self.highest.map_or(0, |highest| highest.saturating_add(1));
        self.log.dropped = found.saturating_sub(self.frames.len() as u64);
        self.log.stale.append(&mut self.rest);
        if self.log.dropped > 0 {
            tracing::warn!(
                log = %self.log.prefix.escape_ascii(),
                kept = self.frames.len(),
                dropped = self.log.dropped,
                "a log is damaged"
            );
        }
        LoadedLog { id: Bytes::copy_from_slice(&self.log.prefix[id_at..]), log: self.log, frames: self.frames }
    }
}

/// Generation, number and chunk of a key, if it is one of a log whose prefix has `own` bytes.
fn place(key: &[u8], own: usize) -> Option<((u32, u64), u16)> {
    let (blob, index) = split(key)?;
    let place: &[u8; PLACE_BYTES] = blob.get(own..)?.try_into().ok()?;
    let (generation, number) = place.split_first_chunk::<4>()?;
    Some(((u32::from_be_bytes(*generation), u64::from_be_bytes(number.try_into().ok()?)), index))
}

#[cfg(test)]
mod tests;
