//! Takes the state of a worker, encoded: a small one whole, a large one in chunks that are handed on while it is encoded.
//!
//! Of a large state only a few chunks are in memory at a time: it is encoded as often as it takes until all of them were
//! handed on. While that goes on the worker does nothing else, so each time the bytes are the same, unless it is made to be
//! otherwise; then it is encoded once more, and is in memory as a whole. It also is where there is no time.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

use super::save::Unsaved;
use super::{Task, beside};
use crate::codec::{Cut, Limited};
use crate::core::Input;
use crate::core::cell::{Revision, Spec};
use crate::core::chunks::{CHUNK_BYTES, Manifest, Shipment};
use crate::core::ids::{Epoch, Pid};
use crate::core::message::Snapshot;
use crate::panics;
use crate::worker::Lifecycle;
use crate::worker::places::{Gone, Place};

/// So many chunks of a state are in memory at a time.
const WINDOW: u32 = 8;

/// Tells the bytes of a state from those of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    checksum: u64,
    bytes: usize,
}

impl Mark {
    /// The one of a state that is kept.
    pub(super) fn of(state: &Shipment) -> Self {
        match state {
            Shipment::Whole(snapshot) => Self { checksum: snapshot.checksum, bytes: snapshot.state.len() },
            Shipment::Chunked(manifest) => Self { checksum: manifest.checksum, bytes: manifest.length as usize },
        }
    }

    /// The one of the registered value.
    pub(super) fn of_value(spec: &Spec) -> Self {
        Self { checksum: xxh3_64(&spec.value), bytes: spec.value.len() }
    }

    fn of_cut(cut: &Cut) -> Self {
        match cut {
            Cut::Whole(state) => Self { checksum: xxh3_64(state), bytes: state.len() },
            Cut::Chunks { checksum, length, .. } => Self { checksum: *checksum, bytes: *length },
        }
    }
}

/// A state that was taken.
pub(super) struct Taken {
    pub(super) state: Shipment,
    /// The first chunks of a large one, and the place that they have in memory.
    chunks: Vec<Bytes>,
    place: Arc<Place>,
}

/// A large state of which chunks were handed on: the others are to follow, and the state itself, or it is told that they do not.
struct Sending {
    name: Arc<str>,
    since: Epoch,
    manifest: Arc<Manifest>,
    inputs: mpsc::UnboundedSender<Input>,
    sent: u32,
    /// Is closed when the chunks that were handed on last are with the store.
    gone: Option<Gone>,
    ends: bool,
}

impl Sending {
    fn new(pid: &Pid, manifest: Arc<Manifest>, inputs: mpsc::UnboundedSender<Input>) -> Self {
        Self { name: pid.name.clone(), since: pid.epoch, manifest, inputs, sent: 0, gone: None, ends: false }
    }

    /// Hands the next chunks on, which keep their place until they are with the store.
    fn send(&mut self, chunks: Vec<Bytes>, place: &Arc<Place>) {
        let (chunks, gone) = place.of_all(chunks);
        self.gone = Some(gone);
        for bytes in chunks {
            let (name, since, manifest, index) = (self.name.clone(), self.since, self.manifest.clone(), self.sent);
            let _ = self.inputs.send(Input::StateChunk { name, since, manifest, index, bytes });
            self.sent += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.sent >= self.manifest.chunks()
    }

    /// Waits until what was handed on is with the store.
    async fn is_taken(&mut self) {
        if let Some(gone) = &mut self.gone {
            gone.recv().await;
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.ends {
            let _ = self.inputs.send(Input::UnsentState { name: self.name.clone(), since: self.since });
        }
    }
}

impl<W: Lifecycle> Task<W> {
    /// A place for the state in memory, unless it is known to be small.
    pub(super) async fn place(&self) -> Place {
        match &self.pausing {
            _ if self.saver.is_small() => Place::default(),
            Some(pausing) => pausing.find(&self.places).await,
            None => self.places.find().await,
        }
    }

    /// Whether the state is that one.
    pub(super) fn has(&self, worker: &W, mark: Mark) -> Result<bool, Unsaved> {
        match self.cut(worker, 0..0) {
            Ok(cut) => Ok(Mark::of_cut(&cut) == mark),
            Err(Unsaved::GivenUp) => Err(Unsaved::GivenUp),
            // Whatever is wrong with it is found when it is saved.
            Err(_) => Ok(false),
        }
    }

    /// Takes the state; [`send_chunks`](Self::send_chunks) is to follow if it is saved.
    pub(super) fn take(&mut self, worker: &W, place: Place) -> Result<Taken, Unsaved> {
        // Where the lease has ended there is no time to be sparing.
        let window = if self.ctx.sworm.shared.may_go_on() { WINDOW as usize } else { usize::MAX };
        let cut = self.cut(worker, 0..window)?;
        let number = self.saver.counts(matches!(cut, Cut::Whole(_)));
        Ok(self.taken(cut, number, place.into()))
    }

    fn taken(&self, cut: Cut, number: u64, place: Arc<Place>) -> Taken {
        let (birth, revision, checkpoint, version) =
            (self.birth, Revision { epoch: self.ctx.pid.epoch, number }, self.saver.goes_on(), W::VERSION);
        let Mark { checksum, .. } = Mark::of_cut(&cut);
        match cut {
            Cut::Whole(state) => {
                let state = Snapshot { birth, revision, checkpoint, version, checksum, state: state.into() };
                Taken { state: Shipment::Whole(state), chunks: Vec::new(), place: Arc::default() }
            }
            Cut::Chunks { length, sums, kept, .. } => {
                let to_u32 = |bytes: usize| u32::try_from(bytes).expect("the limit of states is far below 4 GiB");
                let (length, chunk, sums) = (to_u32(length), to_u32(CHUNK_BYTES), sums.into());
                let manifest = Manifest { birth, revision, checkpoint, version, checksum, length, chunk, sums };
                Taken { state: Shipment::Chunked(Arc::new(manifest)), chunks: kept, place }
            }
        }
    }

    /// Hands on the chunks of a large state, so that it can be kept.
    pub(super) async fn send_chunks(&mut self, worker: &mut W, taken: Taken) -> Result<Shipment, Unsaved> {
        let Taken { mut state, mut chunks, mut place } = taken;
        let Some(manifest) = state.manifest().cloned() else { return Ok(state) };
        let mut sending = Sending::new(&self.ctx.pid, manifest, self.tell.inputs.clone());
        loop {
            sending.send(chunks, &place);
            if sending.is_whole() {
                sending.ends = true;
                return Ok(state);
            }
            sending.is_taken().await;
            if let Some(pausing) = &self.pausing {
                pausing.gets_on();
            }
            if let Some(next) = beside(|| self.next_chunks(worker, &sending))? {
                chunks = next;
                continue;
            }
            let all = beside(|| self.cut(worker, 0..usize::MAX))?;
            let number = state.revision().number;
            Taken { state, chunks, place } = self.taken(all, number, place);
            let Some(manifest) = state.manifest().cloned() else { return Ok(state) };
            drop(std::mem::replace(&mut sending, Sending::new(&self.ctx.pid, manifest, self.tell.inputs.clone())));
        }
    }

    /// The chunks of a large state that come next; `None` if it is not the same any more.
    fn next_chunks(&self, worker: &W, sending: &Sending) -> Result<Option<Vec<Bytes>>, Unsaved> {
        let Sending { manifest, sent, .. } = sending;
        let indexes = *sent..manifest.chunks().min(sent + WINDOW);
        let from = manifest.range(*sent).start;
        let part = from..manifest.range(indexes.end - 1).end;
        let encoded = self.encode(worker, |limit| Limited::part(limit, part))?;
        let is_as_long = encoded.count() == manifest.length as usize;
        let bytes = Bytes::from(encoded.into_bytes().unwrap_or_default());
        if !is_as_long {
            return Ok(None);
        }
        let chunk = |index| {
            let Range { start, end } = manifest.range(index);
            bytes.slice(start - from..end - from)
        };
        let chunks: Vec<Bytes> = indexes.clone().map(chunk).collect();
        let fit = indexes.zip(&chunks).all(|(index, bytes)| manifest.fits(index, bytes));
        Ok(fit.then_some(chunks))
    }

    /// Encodes the state, cut if it is large: these chunks are kept then.
    fn cut(&self, worker: &W, keep: Range<usize>) -> Result<Cut, Unsaved> {
        let encoded = self.encode(worker, |limit| Limited::cut(limit, CHUNK_BYTES, keep))?;
        encoded.into_cut().map_err(|bytes| self.too_large(bytes))
    }

    fn too_large(&self, bytes: usize) -> Unsaved {
        Unsaved::TooLarge { bytes, limit: self.ctx.sworm.shared.node.snapshot_limit }
    }

    /// Encodes the state into what takes it, up to the limit of states.
    fn encode(&self, worker: &W, to: impl FnOnce(usize) -> Limited) -> Result<Limited, Unsaved> {
        let mut encoded = to(self.ctx.sworm.shared.node.snapshot_limit);
        self.activity.begins_saving();
        let saved = panics::guarded(|| worker.save(&mut encoded));
        if self.activity.ends_saving() {
            return Err(Unsaved::GivenUp);
        }
        match saved {
            Ok(Ok(())) => Ok(encoded),
            Ok(Err(error)) => Err(Unsaved::ends(format!("the state {error}"))),
            Err(panic) => Err(Unsaved::ends(format!("saving panicked: {panic}"))),
        }
    }
}
