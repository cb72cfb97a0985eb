//! Large states of workers here that are on their way to the disk: their chunks come one after the other, and what they are
//! chunks of comes last.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::Effect;
use super::chunks::{Manifest, SetId, Shipment};
use super::ids::Epoch;
use super::state::Core;

/// The chunks of a state that have come so far.
#[derive(Debug)]
pub(super) struct Staged {
    since: Epoch,
    set: SetId,
    manifest: Arc<Manifest>,
    come: BTreeSet<u32>,
}

impl Core {
    /// A worker here saves a large state, and this is a chunk of it.
    pub(super) fn on_state_chunk(
        &mut self,
        name: &Arc<str>,
        since: Epoch,
        manifest: Arc<Manifest>,
        index: u32,
        bytes: Bytes,
    ) {
        let is_here = self.local.get(name).is_some_and(|local| local.since == since);
        if !is_here || self.holds_chunks(name, &manifest) {
            return;
        }
        let set = manifest.set(name);
        if self.staged.get(name).is_some_and(|staged| (staged.since, staged.set) != (since, set)) {
            self.drop_staged(name);
        }
        let begun = || Staged { since, set, manifest: manifest.clone(), come: BTreeSet::new() };
        self.staged.entry(name.clone()).or_insert_with(begun).come.insert(index);
        self.out.push(Effect::StoreChunk { name: name.clone(), manifest, index, bytes });
    }

    /// A worker here has begun to save a large state, and does not go on with that.
    pub(super) fn on_unsent_state(&mut self, name: &Arc<str>, since: Epoch) {
        if self.staged.get(name).is_some_and(|staged| staged.since == since) {
            self.drop_staged(name);
        }
    }

    /// A state of a worker here is not kept: nor are the chunks that have come of it.
    pub(super) fn drop_staged(&mut self, name: &Arc<str>) {
        if let Some(staged) = self.staged.remove(name) {
            self.drop_chunks(name, staged.manifest);
        }
    }

    /// Drops what has come of states whose workers are gone.
    pub(super) fn tick_staged(&mut self) {
        let is_here = |name: &Arc<str>, since: Epoch| self.local.get(name).is_some_and(|local| local.since == since);
        let gone = self.staged.iter().filter(|(name, staged)| !is_here(name, staged.since));
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.drop_staged(&name);
        }
    }

    /// All of a state's chunks are here: those that were staged are so no more.
    pub(super) fn is_staged(&mut self, name: &Arc<str>, manifest: &Manifest) -> bool {
        let (set, chunks) = (manifest.set(name), manifest.chunks() as usize);
        if self.staged.get(name).is_none_or(|staged| staged.set != set || staged.come.len() != chunks) {
            return self.holds_chunks(name, manifest);
        }
        self.staged.remove(name);
        true
    }

    /// Forgets chunks, unless a manifest that is kept tells of them, or they are being gathered.
    pub(super) fn drop_chunks(&mut self, name: &Arc<str>, manifest: Arc<Manifest>) {
        let set = manifest.set(name);
        let is_staged = self.staged.get(name).is_some_and(|staged| staged.set == set);
        if !is_staged && !self.is_fetching(name, set) {
            self.out.push(Effect::DropChunks { name: name.clone(), manifest });
        }
    }

    /// Something else is kept of a name than what a worker saves at the moment.
    pub(super) fn is_replaced_by(&mut self, name: &Arc<str>, kept: &Shipment) {
        let set = kept.manifest().map(|manifest| manifest.set(name));
        match self.staged.get(name) {
            Some(staged) if Some(staged.set) == set => drop(self.staged.remove(name)),
            _ => self.drop_staged(name),
        }
    }

    /// What was kept of a name, or set aside, is not any more: its chunks are no longer there, also not for a state that has
    /// the same.
    pub(super) fn is_let_go(&mut self, name: &Arc<str>, kept: Option<&Arc<Manifest>>, by: Option<&Shipment>) {
        let Some(set) = kept.map(|manifest| manifest.set(name)) else { return };
        let stays = by.and_then(Shipment::manifest).is_some_and(|manifest| manifest.set(name) == set);
        if !stays && self.staged.get(name).is_some_and(|staged| staged.set == set) {
            self.staged.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Input;
    use crate::core::cell::Revision;
    use crate::core::chunks::CHUNK_BYTES;
    use crate::core::fixture::{cluster, now, running};
    use crate::core::host::Local;
    use crate::core::ids::Birth;
    use crate::core::message::Snapshot;
    use crate::core::snapshots::Wait;

    /// A worker of this node, and a core that knows it.
    struct Worker {
        core: Core,
        since: Epoch,
    }

    impl Worker {
        fn new() -> Self {
            let cell = running();
            let mut core = cluster(&[("a", vec![("x".to_owned(), cell.clone())])]);
            core.local.insert("x".into(), Local::forgotten(&cell));
            Self { core, since: cell.since }
        }

        fn state(&self, number: u64, bytes: u8) -> (Arc<Manifest>, Snapshot) {
            let state = Bytes::from(vec![bytes; 2 * CHUNK_BYTES + 9]);
            let checksum = xxhash_rust::xxh3::xxh3_64(&state);
            let revision = Revision { epoch: self.since, number };
            let snapshot = Snapshot { birth: Birth(1, 1), revision, checkpoint: true, version: 1, checksum, state };
            (Arc::new(Manifest::of(&snapshot, CHUNK_BYTES)), snapshot)
        }

        /// What comes of it: the chunks that are stored, how often chunks are dropped, what is kept, and what the worker is told.
        fn take(&mut self, input: Input) -> (Vec<u32>, usize, Option<u64>, Option<bool>) {
            self.core.handle(now(1), input);
            let (mut chunks, mut dropped, mut kept, mut told) = (Vec::new(), 0, None, None);
            for effect in self.core.flush(now(1)) {
                match effect {
                    Effect::StoreChunk { index, .. } => chunks.push(index),
                    Effect::DropChunks { .. } => dropped += 1,
                    Effect::StoreSnapshot { snapshot, .. } => kept = Some(snapshot.revision().number),
                    Effect::Checkpointed { result, .. } => told = Some(result.is_ok()),
                    _ => {}
                }
            }
            (chunks, dropped, kept, told)
        }

        fn chunk(&mut self, (manifest, snapshot): &(Arc<Manifest>, Snapshot), index: u32) -> (Vec<u32>, usize) {
            let (since, bytes) = (snapshot.revision.epoch, snapshot.state.slice(manifest.range(index)));
            let (chunks, dropped, ..) =
                self.take(Input::StateChunk { name: "x".into(), since, manifest: manifest.clone(), index, bytes });
            (chunks, dropped)
        }

        fn save(&mut self, (manifest, _): &(Arc<Manifest>, Snapshot)) -> (usize, Option<u64>, Option<bool>) {
            let (since, snapshot) = (self.since, Shipment::Chunked(manifest.clone()));
            let input = Input::Checkpoint { name: "x".into(), since, snapshot, wait: Wait::Disk };
            let (_, dropped, kept, told) = self.take(input);
            (dropped, kept, told)
        }
    }

    #[test]
    fn a_state_is_kept_when_all_of_its_chunks_have_come_and_not_before() {
        let mut worker = Worker::new();
        let state = worker.state(1, 7);
        assert_eq!([0, 1].map(|index| worker.chunk(&state, index)), [0, 1].map(|index| (vec![index], 0)));
        // One is missing: the worker is told, and nothing is left of the others.
        assert_eq!(worker.save(&state), (1, None, Some(false)));
        for index in 0..3 {
            assert_eq!(worker.chunk(&state, index), (vec![index], 0));
        }
        assert_eq!(worker.save(&state), (0, Some(1), None));
        // The same bytes are there: no chunk is written again.
        let again = worker.state(2, 7);
        assert_eq!([0, 1, 2].map(|index| worker.chunk(&again, index)), [0, 1, 2].map(|_| (vec![], 0)));
        assert_eq!(worker.save(&again), (0, Some(2), None));
    }

    #[test]
    fn chunks_of_what_is_not_saved_in_the_end_are_dropped() {
        let mut worker = Worker::new();
        let (one, other) = (worker.state(1, 7), worker.state(2, 8));
        assert_eq!(worker.chunk(&one, 0), (vec![0], 0));
        assert_eq!(worker.chunk(&other, 0), (vec![0], 1), "another state takes its place");
        let (name, since) = (Arc::<str>::from("x"), worker.since);
        let before = Epoch { major: 0, ..since };
        assert_eq!(worker.take(Input::UnsentState { name: name.clone(), since: before }).1, 0, "not its own");
        assert_eq!(worker.take(Input::UnsentState { name: name.clone(), since }).1, 1);
        assert_eq!(worker.take(Input::UnsentState { name, since }).1, 0);
    }

    #[test]
    fn chunks_of_a_worker_that_is_gone_are_not_taken_and_those_that_came_before_are_dropped() {
        let mut worker = Worker::new();
        let state = worker.state(1, 7);
        assert_eq!(worker.chunk(&state, 0), (vec![0], 0));
        worker.core.local.clear();
        worker.core.tick_staged();
        let dropped = worker.core.flush(now(1)).into_iter().filter(|e| matches!(e, Effect::DropChunks { .. })).count();
        assert_eq!(dropped, 1);
        let (manifest, snapshot) = worker.state(1, 7);
        let revision = Revision { epoch: Epoch { major: 0, minor: 0 }, ..snapshot.revision };
        assert_eq!(worker.chunk(&(manifest, Snapshot { revision, ..snapshot }), 0), (vec![], 0));
    }

    #[test]
    fn chunks_that_are_deleted_with_another_state_do_not_count_for_the_next_one() {
        let mut worker = Worker::new();
        let (one, other) = (worker.state(1, 7), worker.state(2, 8));
        for state in [&one, &other] {
            (0..3).for_each(|index| drop(worker.chunk(state, index)));
            worker.save(state);
        }
        // Those of a third one that is as the first one was are written again, whatever was there of it.
        let third = worker.state(3, 7);
        (0..3).for_each(|index| assert_eq!(worker.chunk(&third, index), (vec![index], 0)));
        let name = "x".into();
        worker.core.store(&name, Shipment::Chunked(third.0.clone()));
        worker.core.forget_stored(&name);
        drop(worker.core.flush(now(1)));
        assert_eq!(worker.save(&third), (0, None, Some(false)), "they went with what was kept meanwhile");
        // What cannot be read any more is still on the disk, and something else takes its place there.
        (0..3).for_each(|index| assert_eq!(worker.chunk(&third, index), (vec![index], 0)));
        worker.core.store(&name, Shipment::Chunked(one.0.clone()));
        worker.core.lose_stored(&name);
        (0..3).for_each(|index| drop(worker.chunk(&third, index)));
        worker.core.store(&name, Shipment::Chunked(other.0.clone()));
        drop(worker.core.flush(now(1)));
        let (_, kept, told) = worker.save(&third);
        assert_eq!((kept, told), (None, Some(false)));
    }
}
