//! Saved states on their way: from workers to their nodes, and from disk to disk.

use std::sync::Arc;

use sworm::core::Input;
use sworm::core::chunks::{Manifest, Shipment};
use sworm::core::ids::Peer;
use sworm::core::message::{Message, Snapshot};
use sworm::internals::{Disk, Frame};
use sworm::store::{Store, StoreError};

use super::node::SWORM;
use super::perform::SWORM_HASH;
use super::world::World;

impl World {
    /// A state that a worker gives to its node. Every other large one comes in chunks, one after the other, and is made up
    /// again when some of them have come, now and then.
    pub(super) fn ship(&mut self, delay: u64, at: &Peer, name: &Arc<str>, state: Snapshot) -> Shipment {
        let (chunk, number) = (self.options.chunk_bytes, state.revision.number);
        if state.state.len() <= chunk || number % 2 == 1 {
            return Shipment::Whole(state);
        }
        let manifest = Arc::new(Manifest::of(&state, chunk));
        let since = state.revision.epoch;
        let send = |world: &mut Self, upto: u32| {
            for index in 0..upto {
                let (name, manifest) = (name.clone(), manifest.clone());
                let bytes = state.state.slice(manifest.range(index));
                world.tell(delay, at, Input::StateChunk { name, since, manifest, index, bytes });
            }
        };
        if number % 8 == 2 {
            send(self, manifest.chunks() - 1);
            self.tell(delay, at, Input::UnsentState { name: name.clone(), since });
        }
        send(self, manifest.chunks());
        Shipment::Chunked(manifest)
    }

    /// A state from which a worker is to start, as far as it can be read.
    pub(super) fn read(&self, at: &Peer, name: &Arc<str>, state: Shipment) -> Option<Snapshot> {
        let machine = &self.machines[&*at.node];
        match state {
            Shipment::Whole(state) => Some(state),
            Shipment::Chunked(_) if machine.unreadable.contains(name) => None,
            Shipment::Chunked(manifest) => {
                Disk::load_whole(&machine.disk, SWORM, name, &manifest).expect("a simulated disk can be read")
            }
        }
    }

    /// Reads a chunk and sends it, or what comes of that on a bad day: other bytes, or those of another chunk.
    pub(super) fn send_chunk(
        &mut self,
        at: &Peer,
        to: Peer,
        name: Arc<str>,
        manifest: &Manifest,
        index: u32,
    ) -> Result<(), StoreError> {
        let store: &dyn Store = &self.machines[&*at.node].disk;
        let set = manifest.set(&name);
        let spoiled = self.options.spoiled > 0 && self.rng.u32(0..1_000) < self.options.spoiled;
        let read = if spoiled && self.rng.bool() { self.rng.u32(0..manifest.chunks()) } else { index };
        let lost = self.machines[&*at.node].unreadable.contains(&name);
        let Some(mut bytes) = Disk::load_chunk(store, SWORM, &name, manifest, read)?.filter(|_| !lost) else {
            self.tell(1, at, Input::LostChunk { to, name, set });
            return Ok(());
        };
        if spoiled && read == index {
            bytes = self.garbled(&bytes);
        }
        let message = Box::new(Message::Chunk { name, set, index, bytes });
        self.count_message(&message);
        self.send(at, &to, &Frame::Core(SWORM_HASH, at.clone(), message));
        Ok(())
    }
}
