//! Registrations with options.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::lazy::Lazy;
use super::sworm::ASK_LIMIT;
use super::{Ref, Sworm};
use crate::core::cell::{Kind, NameCell, Spec};
use crate::core::ids::{MAX_LABEL_BYTES, MAX_NAME_BYTES, NodeId, Peer};
use crate::core::message::{Ask, Done, Refusal, Registering};
use crate::error::RegisterError;
use crate::node::sworm::Asked;
use crate::worker::Lifecycle;

/// The largest registered value, encoded.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// How many entries of metadata a name may have, and how many bytes in all.
const MAX_METADATA: usize = 64;
const MAX_METADATA_BYTES: usize = 16 << 10;

/// A registration with options; awaiting it registers.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use sworm::prelude::*;
/// # #[derive(Worker, Serialize, Deserialize)]
/// # struct Room;
/// # async fn example(sworm: Sworm) -> sworm::Result<()> {
/// use std::time::Duration;
///
/// let room = sworm.register("lobby", Room).timeout(Duration::from_secs(2)).metadata("mode", "chess").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a registration does nothing until it is awaited"]
pub struct RegisterBuilder<W: Lifecycle>(Lazy<Options<W>, Result<Ref<W>, RegisterError>>);

struct Options<W> {
    sworm: Sworm,
    name: Arc<str>,
    value: W,
    timeout: Duration,
    on: Option<Arc<str>>,
    metadata: BTreeMap<String, String>,
    replaces_failed: bool,
}

impl<W: Lifecycle> RegisterBuilder<W> {
    pub(super) fn new(sworm: Sworm, name: Arc<str>, value: W) -> Self {
        let (timeout, on, metadata, replaces_failed) = (ASK_LIMIT, None, BTreeMap::new(), true);
        Self(Lazy::new(Options { sworm, name, value, timeout, on, metadata, replaces_failed }))
    }

    /// How long to wait for the answer (default 10 s).
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.with(|options| options.timeout = limit))
    }

    /// The node to start on, instead of the one that the distribution strategy would choose. It says nothing about
    /// where the worker goes later.
    pub fn on(self, node: impl AsRef<str>) -> Self {
        Self(self.0.with(|options| options.on = Some(node.as_ref().into())))
    }

    /// Something that look-ups tell of the name: up to 64 entries with keys of 1 to 255 bytes, and 16 KiB in all.
    pub fn metadata(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.with(|options| drop(options.metadata.insert(key.into(), value.into()))))
    }

    /// Leaves a name alone whose worker has failed.
    pub(super) fn unless_failed(self) -> Self {
        Self(self.0.with(|options| options.replaces_failed = false))
    }
}

impl<W: Lifecycle> Options<W> {
    async fn register(self) -> Result<Ref<W>, RegisterError> {
        check_name(&self.name)?;
        check_metadata(&self.metadata)?;
        let Some(hosted) = self.sworm.shared.types.get(W::NAME) else {
            let why = format!("worker type {:?} is not linked", W::NAME);
            return Err(RegisterError::NoCandidate { why });
        };
        if let Some(option) = hosted.in_vain {
            let sworm = self.sworm.shared.name.to_string();
            return Err(RegisterError::NothingSaved { worker_type: W::NAME.to_owned(), option, sworm });
        }
        let value = W::CODEC.encode(&self.value).map_err(|e| RegisterError::BadValue { why: e.to_string() })?;
        if value.len() > MAX_VALUE_BYTES {
            let why = format!("it has {} bytes encoded; at most {MAX_VALUE_BYTES} can be registered", value.len());
            return Err(RegisterError::BadValue { why });
        }
        let kind = Kind {
            worker_type: W::NAME.into(),
            version: W::VERSION,
            distribution: hosted.distribution.clone(),
            handoff: hosted.handoff,
            replicas: hosted.replicas,
            patient: hosted.saving.each,
        };
        let spec = Spec { kind: Arc::new(kind), value: value.into() };
        let on = match &self.on {
            Some(id) => Some(NodeId::new(id).ok_or_else(|| RegisterError::NoCandidate { why: no_id(id) })?),
            None => None,
        };
        let registering = Registering {
            name: self.name.clone(),
            spec: Arc::new(spec),
            on,
            metadata: self.metadata,
            attached: false,
            replaces_failed: self.replaces_failed,
        };
        let number = self.sworm.shared.next_ask();
        let (host, cell) = ask(&self.sworm, number, registering, self.timeout).await?;
        let pid = cell.pid(&self.sworm.shared.name, &self.name, &host);
        Ok(Ref::new(&self.sworm, self.name, pid))
    }
}

/// Asks for a registration and says what came of it: who runs it, and what it states of it.
pub(super) async fn ask(
    sworm: &Sworm,
    number: u64,
    registering: Registering,
    limit: Duration,
) -> Result<(Peer, Arc<NameCell>), RegisterError> {
    let name = registering.name.clone();
    match sworm.shared.ask_as(number, Ask::Register(Box::new(registering)), limit).await? {
        Ok(Asked::Answer(Ok(Done::Registered { host, cell, .. }))) => Ok((host, cell)),
        Ok(Asked::Answer(Err(refusal))) => Err(refused(&name, refusal, limit)),
        Ok(Asked::Answer(Ok(_)) | Asked::Expired) => Err(RegisterError::Timeout { after: limit }),
        Err(_) => {
            Err(sworm.shared.node.stopped_as(RegisterError::Stopped, |reason| RegisterError::NodeFailed { reason }))
        }
    }
}

fn refused(name: &str, refusal: Refusal, limit: Duration) -> RegisterError {
    match refusal {
        Refusal::AlreadyRegistered { pid, worker_type } => {
            RegisterError::AlreadyRegistered { pid, worker_type: worker_type.to_string() }
        }
        Refusal::StartFailed { timed_out: true, .. } => RegisterError::StartTimedOut,
        Refusal::StartFailed { reason, .. } => RegisterError::StartFailed { reason },
        Refusal::Failed { reason } => RegisterError::Failed { name: name.to_owned(), reason: reason.to_string() },
        Refusal::NoCandidate { why } => RegisterError::NoCandidate { why },
        Refusal::UnknownStrategy { name, node, known } => RegisterError::UnknownStrategy { name, node, known },
        Refusal::NoMajority { why } => RegisterError::NoMajority { why },
        Refusal::NotRegistered
        | Refusal::NotSaved { .. }
        | Refusal::TooManyGroups { .. }
        | Refusal::NotMajority
        | Refusal::LastVoter
        | Refusal::NotThere { .. }
        | Refusal::Again => RegisterError::Timeout { after: limit },
    }
}

/// What speaks against a node with that id.
pub(super) fn no_id(id: &str) -> String {
    format!("{id:?} is no node's id: those have 1 to 128 bytes")
}

pub(super) fn check_name(name: &str) -> Result<(), RegisterError> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) { Ok(()) } else { Err(RegisterError::BadName { bytes: name.len() }) }
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), RegisterError> {
    let bad = |why: String| Err(RegisterError::BadMetadata { why });
    if metadata.len() > MAX_METADATA {
        return bad(format!("it has {} entries; at most {MAX_METADATA} can be registered", metadata.len()));
    }
    if let Some(key) = metadata.keys().find(|key| !(1..=MAX_LABEL_BYTES).contains(&key.len())) {
        return bad(format!("a key has 1 to {MAX_LABEL_BYTES} bytes; one has {}", key.len()));
    }
    let bytes: usize = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_METADATA_BYTES {
        return bad(format!("it has {bytes} bytes; at most {MAX_METADATA_BYTES} can be registered"));
    }
    Ok(())
}

/// The spec of a task under a name: there is nothing to start.
pub(super) fn attached(worker_type: &str) -> Spec {
    let kind = Kind {
        worker_type: worker_type.into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: false,
        replicas: 0,
        patient: false,
    };
    Spec { kind: Arc::new(kind), value: Box::default() }
}

// Nothing is pinned in it but the box.
impl<W: Lifecycle> Unpin for RegisterBuilder<W> {}

impl<W: Lifecycle> Future for RegisterBuilder<W> {
    type Output = Result<Ref<W>, RegisterError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, |options| Box::pin(options.register()))
    }
}
