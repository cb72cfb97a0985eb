//! Makes a worker of what is stored, also by an older version.

use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use crate::codec::Encoded;

use crate::core::cell::{Kind, Spec};
use crate::core::chunks::{Manifest, Shipment};
use crate::core::message::Snapshot;
use crate::node::disk::ChunkReader;
use crate::node::sworm::SwormShared;
use crate::node::{NodeShared, scope};
use crate::panics;
use crate::strategy::Exit;
use crate::worker::places::Place;
use crate::worker::saving::{Older, Saving};
use crate::worker::{BoxError, Lifecycle};

/// What is decoded: the worker, and its spec in the present form if it was registered with an older one.
pub(super) type Decoded<W> = Result<(W, Option<Arc<Spec>>), Exit>;

/// Decodes within that time. What may run `restore` or `upgrade`, which may block, does so on a thread of its own: that is left
/// alone when the time is over, and until it has returned the name is not decoded again, so that it takes no other thread.
pub(super) async fn decode_within<W: Lifecycle>(
    limit: Duration,
    (sworm, name): (&Arc<SwormShared>, &Arc<str>),
    spec: &Arc<Spec>,
    saving: Saving,
    state: Option<Shipment>,
) -> Decoded<W> {
    let (node, spec) = (sworm.node.clone(), spec.clone());
    if state.is_none() && spec.version == W::VERSION {
        return decode(&node, &spec, saving, None);
    }
    let Some(turn) = Turn::take(sworm, name) else {
        return Err(Exit::StartFailed("`restore` or `upgrade` was called before, and has not returned yet".into()));
    };
    let (sworm, name) = (sworm.name.clone(), name.clone());
    let read = Arc::<AtomicU32>::default();
    let reads = read.clone();
    let decoding = tokio::task::spawn_blocking(move || {
        let state = state.map(|state| Saved::of(state, &node, &sworm, &name, &reads));
        let decoded = decode(&node, &spec, saving, state);
        drop(turn);
        decoded
    });
    let mut decoding = pin!(decoding);
    let mut before = 0;
    loop {
        match timeout(limit, &mut decoding).await {
            Ok(Ok(decoded)) => return decoded,
            Ok(Err(error)) => return Err(Exit::StartFailed(format!("decoding did not end: {error}"))),
            Err(_) => {
                // That the disk is slow is no fault of the worker's.
                let now = read.load(Relaxed);
                if std::mem::replace(&mut before, now) == now {
                    return Err(Exit::StartTimedOut);
                }
            }
        }
    }
}

/// A place in memory for what is read of a large state while it is decoded.
pub(super) async fn place_to_read(node: &NodeShared, state: Option<&Shipment>) -> Place {
    match state {
        Some(Shipment::Chunked(_)) => node.restored.find().await,
        _ => Place::default(),
    }
}

/// A name is being decoded.
struct Turn(Arc<SwormShared>, Arc<str>);

impl Turn {
    fn take(sworm: &Arc<SwormShared>, name: &Arc<str>) -> Option<Self> {
        let is_free = sworm.decoding().insert(name.clone());
        is_free.then(|| Self(sworm.clone(), name.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.decoding().remove(&self.1);
    }
}

/// A state that is in memory, or is read from the disk while it is decoded.
enum Saved {
    Whole(Snapshot),
    Chunked(Arc<Manifest>, ChunkReader),
}

impl Saved {
    fn of(state: Shipment, node: &Arc<NodeShared>, sworm: &Arc<str>, name: &str, reads: &Arc<AtomicU32>) -> Self {
        match state {
            Shipment::Whole(snapshot) => Self::Whole(snapshot),
            Shipment::Chunked(manifest) => {
                let reader = ChunkReader::new(node.store.clone(), sworm.clone(), name, manifest.clone(), reads.clone());
                Self::Chunked(manifest, reader)
            }
        }
    }

    fn version(&self) -> u32 {
        match self {
            Self::Whole(snapshot) => snapshot.version,
            Self::Chunked(manifest, _) => manifest.version,
        }
    }

    fn encoded(&mut self) -> Encoded<'_> {
        match self {
            Self::Whole(snapshot) => Encoded::Bytes(&snapshot.state),
            Self::Chunked(_, reader) => Encoded::Reader(reader),
        }
    }

    /// All of it, for what an older version has stored: that may be read several times.
    fn whole(self) -> io::Result<Bytes> {
        match self {
            Self::Whole(snapshot) => Ok(snapshot.state),
            Self::Chunked(manifest, mut reader) => {
                let mut all = Vec::with_capacity(manifest.length as usize);
                reader.read_to_end(&mut all)?;
                Ok(all.into())
            }
        }
    }
}

fn decode<W: Lifecycle>(node: &Arc<NodeShared>, spec: &Spec, saving: Saving, state: Option<Saved>) -> Decoded<W> {
    let failed = |what: &str, why: &dyn std::fmt::Display| Exit::StartFailed(format!("{what} {why}"));
    let decode = || {
        let (registered, renewed) = registered::<W>(spec, saving).map_err(|e| failed("the registered value", &e))?;
        let worker = match state {
            Some(state) => restored(registered, state).map_err(|error| failed("the saved state", &error))?,
            None => registered,
        };
        Ok((worker, renewed))
    };
    panics::guarded(|| scope::decoding(node, decode))
        .unwrap_or_else(|panic| Err(failed("decoding", &format!("panicked: {panic}"))))
}

fn registered<W: Lifecycle>(spec: &Spec, saving: Saving) -> Result<(W, Option<Arc<Spec>>), BoxError> {
    // A name that was registered before its type saved states is to be found with them from now on.
    let handoff = spec.handoff || saving.goes_on();
    let (worker, value) = if spec.version == W::VERSION {
        (W::CODEC.decode(&spec.value)?, spec.value.clone())
    } else {
        known::<W>(spec.version)?;
        let worker = W::upgrade_value(Older::new(spec.version, &spec.value))?;
        let value = W::CODEC.encode(&worker)?.into();
        (worker, value)
    };
    let kind = Kind { version: W::VERSION, handoff, patient: saving.each, ..(*spec.kind).clone() };
    let renewed = (kind != *spec.kind).then(|| Arc::new(Spec { kind: Arc::new(kind), value }));
    Ok((worker, renewed))
}

fn restored<W: Lifecycle>(registered: W, mut state: Saved) -> Result<W, BoxError> {
    let version = state.version();
    if version == W::VERSION {
        return Ok(W::restore(registered, state.encoded())?);
    }
    known::<W>(version)?;
    W::upgrade_state(registered, Older::new(version, &state.whole()?))
}

fn known<W: Lifecycle>(version: u32) -> Result<(), BoxError> {
    if version > W::VERSION {
        return Err(format!("has version {version}, this program has {}", W::VERSION).into());
    }
    Ok(())
}
