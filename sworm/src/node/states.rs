//! Reads saved states for a core, and the chunks that it is to send, while it goes on.

use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::frame::Frame;
use super::sworm::SwormShared;
use crate::core::Input;
use crate::core::chunks::{Manifest, Shipment};
use crate::core::ids::Peer;
use crate::core::message::{Message, Snapshot};
use crate::core::snapshots::Purpose;
use crate::panics;
use crate::store::StoreError;
use crate::transport::Class;

/// After how long a state that cannot be read is read again.
const AGAIN: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

/// Reads a state. A large one that a worker is to start from, and any that a worker is given, waits until there is a place for
/// what is read of it in memory.
pub(super) fn load(shared: Arc<SwormShared>, purpose: Purpose, large: bool) {
    tokio::spawn(async move {
        let place = match matches!(purpose, Purpose::Merge { .. }) || large && matches!(purpose, Purpose::Start { .. })
        {
            true => Some(shared.node.restored.find().await),
            false => None,
        };
        let mut again = AGAIN.iter();
        let loaded = loop {
            let (from, wanted) = (shared.clone(), purpose.clone());
            let read = move || panics::guarded(|| Disk::load(&*from.node.store, &from.name, &wanted));
            let why = match tokio::task::spawn_blocking(read).await {
                Ok(Ok(Ok(loaded))) => break loaded,
                // It may be read another time: what counts as gone is not looked at again.
                Ok(Ok(Err(error))) => match again.next() {
                    Some(after) => {
                        tracing::warn!(%error, name = &**purpose.name(), "a saved state cannot be read yet");
                        tokio::time::sleep(*after).await;
                        continue;
                    }
                    None => error.to_string(),
                },
                Ok(Err(panic)) => format!("the store panicked: {panic}"),
                Err(error) => error.to_string(),
            };
            tracing::error!(why, name = &**purpose.name(), "a saved state cannot be read");
            break None;
        };
        let snapshot = loaded.map(|loaded| match (loaded, place) {
            (Shipment::Whole(loaded), Some(place)) => {
                Shipment::Whole(Snapshot { state: place.of(loaded.state), ..loaded })
            }
            (loaded, _) => loaded,
        });
        shared.input(Input::Loaded { purpose, snapshot });
    });
}

/// Reads a chunk and sends it; only a few at a time are in memory before the transport has them.
pub(super) fn send_chunk(shared: Arc<SwormShared>, to: Peer, name: Arc<str>, manifest: Arc<Manifest>, index: u32) {
    tokio::spawn(async move {
        let Ok(permit) = shared.node.sending.clone().acquire_owned().await else { return };
        tokio::task::spawn_blocking(move || {
            let set = manifest.set(&name);
            let read = || Disk::load_chunk(&*shared.node.store, &shared.name, &name, &manifest, index);
            let read = guarded(read);
            let bytes = match read {
                Ok(Some(bytes)) => bytes,
                Ok(None) => {
                    tracing::warn!(name = &*name, index, "a chunk of a saved state is not there any more, or damaged");
                    return shared.input(Input::LostChunk { to, name, set });
                }
                // It may be read another time: whoever wants it asks again.
                Err(error) => return tracing::error!(%error, name = &*name, index, "a chunk cannot be read"),
            };
            let message = Box::new(Message::Chunk { name, set, index, bytes });
            match Frame::Core(shared.hash, shared.node.me.clone(), message).encode() {
                Ok(frame) => shared.node.send(&to, Class::Important, frame),
                Err(error) => tracing::error!(%error, "a message could not be encoded"),
            }
            drop(permit);
        });
    });
}

/// Reads from a store. One that panics could not be read: somebody waits for what becomes of it.
fn guarded<T>(read: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    panics::guarded(read).unwrap_or_else(|panic| Err(StoreError::Failed(format!("it panicked: {panic}"))))
}
