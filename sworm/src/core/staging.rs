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
