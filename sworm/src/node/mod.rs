//! Performs: one running node with its store, its transport and its sworms. What is to be done is decided in `core`.

pub(crate) mod attached;
pub(crate) mod awake;
pub(crate) mod calls;
pub(crate) mod clock;
pub(crate) mod disk;
mod draining;
pub(crate) mod driver;
pub(crate) mod forward;
pub(crate) mod frame;
pub(crate) mod hanging;
pub(crate) mod home;
pub(crate) mod identity;
pub(crate) mod index;
mod lease;
pub(crate) mod network;
pub(crate) mod open;
pub(crate) mod order;
mod repeats;
mod rooms;
mod routing;
pub(crate) mod scope;
mod states;
pub(crate) mod sworm;
pub(crate) mod unread;
pub(crate) mod watchers;
#[cfg(feature = "faults")]
pub(crate) mod witness;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ahash::HashMap;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use xxhash_rust::xxh3::xxh3_64;

use crate::core::events::MembersTold;
use crate::core::ids::{InstanceId, Peer};
use crate::core::membership::{FORMAT, Hello, Linked, Membership, Profile};
use crate::plugin::{self, Strategies};
use crate::store::{Store, StoreError};
use crate::transport::Transport;
use crate::worker::WorkerTypes;
use crate::worker::places::Places;
use crate::worker::starts::Starts;
use calls::Calls;
use clock::Clock;
use draining::Drains;
use identity::Identity;
use repeats::Repeats;
use sworm::SwormShared;

/// The largest message or reply, encoded.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 16 << 20;
/// So many chunks of states are read and handed to the transport at a time.
const SENDING: usize = 4;
/// How long a node whose link is lost is suspect before it counts as down.
pub(crate) const GRACE_MS: u64 = 5_000;
/// How long the workers of a node that stops at once may take to end, before the others are left to start them.
const ABORT_WAIT: Duration = Duration::from_secs(3);

/// What everything on one node shares.
pub(crate) struct NodeShared {
    pub(crate) me: Peer,
    pub(crate) cluster: String,
    pub(crate) instance: InstanceId,
    /// How often its store was found to have less than it had synced.
    pub(crate) losses: u32,
    pub(crate) profile: Profile,
    /// Whether it runs workers.
    pub(crate) hosts: bool,
    /// Whether calls of its own workers are encoded too.
    pub(crate) encodes_local_calls: bool,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) types: WorkerTypes,
    pub(crate) strategies: Strategies,
    pub(crate) starts: Starts,
    pub(crate) recover_wait_ms: u64,
    /// The largest state that a worker of it may save.
    pub(crate) snapshot_limit: usize,
    /// For large states that are saved, and for those that workers start from.
    pub(crate) saved: Places,
    pub(crate) restored: Places,
    /// For chunks that are on their way to the transport.
    pub(crate) sending: Arc<Semaphore>,
    pub(crate) calls: Calls,
    repeats: Repeats,
    pub(crate) membership: Mutex<Membership>,
    pub(crate) introduced: watch::Sender<Introduction>,
    told: Mutex<MembersTold>,
    /// Gone once the node has stopped, whoever still holds a handle.
    transport: RwLock<Option<Arc<dyn Transport>>>,
    sworms: Mutex<HashMap<u64, Arc<SwormShared>>>,
    drains: Drains,
    /// Whether it has begun to leave.
    leaving: AtomicBool,
    clock: Clock,
    life: watch::Sender<Life>,
    /// Why it has stopped by itself, if it has, for those who hold nothing else of it.
    failure: Arc<OnceLock<String>>,
}

/// Whether this node has met those that it looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Introduction {
    Waiting,
    Done,
    IdTaken,
}

/// Whether this node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Stopped { why: Option<String> },
}

impl Life {
    pub(crate) fn is_over(&self) -> bool {
        *self != Self::Running
    }
}

impl NodeShared {
    #[allow(clippy::too_many_arguments)] // called once, by the builder
    pub(crate) fn new(
        me: Peer,
        cluster: String,
        Identity { instance, losses, .. }: Identity,
        profile: Profile,
        hosts: bool,
        encodes_local_calls: bool,
        concurrent_starts: usize,
        recover_wait: Duration,
        snapshot_limit: usize,
        store: Arc<dyn Store>,
        types: WorkerTypes,
        strategies: Strategies,
        membership: Membership,
        clock: Clock,
    ) -> Self {
        Self {
            me,
            cluster,
            instance,
            losses,
            profile,
            hosts,
            encodes_local_calls,
            store,
            types,
            strategies,
            starts: Starts::new(concurrent_starts),
            recover_wait_ms: u64::try_from(recover_wait.as_millis()).unwrap_or(u64::MAX),
            snapshot_limit,
            saved: Places::default(),
            restored: Places::default(),
            sending: Arc::new(Semaphore::new(SENDING)),
            calls: Calls::default(),
            repeats: Repeats::default(),
            membership: Mutex::new(membership),
            introduced: watch::Sender::new(Introduction::Waiting),
            told: Mutex::default(),
            transport: RwLock::default(),
            sworms: Mutex::default(),
            drains: Drains::default(),
            leaving: AtomicBool::new(false),
            clock,
            life: watch::Sender::new(Life::Running),
            failure: Arc::default(),
        }
    }

    pub(crate) fn set_transport(&self, transport: Arc<dyn Transport>) {
        *self.transport.write().unwrap_or_else(PoisonError::into_inner) = Some(transport);
    }

    pub(crate) fn take_transport(&self) -> Option<Arc<dyn Transport>> {
        self.transport.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn transport(&self) -> Option<Arc<dyn Transport>> {
        self.transport.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where this node listens.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.transport().map(|transport| transport.endpoints()).unwrap_or_default()
    }

    /// What its program links.
    pub(crate) fn linked(&self) -> Linked {
        plugin::linked(&self.types, &self.strategies)
    }

    /// This node's greeting.
    pub(crate) fn hello(&self, answer: bool) -> Hello {
        Hello {
            from: self.me.clone(),
            instance: self.instance,
            endpoints: self.endpoints(),
            profile: self.profile.clone(),
            unix_ms: unix_ms(),
            answer,
            others: self.membership().linked_to(),
            linked: self.linked(),
            format: FORMAT,
        }
    }

    pub(crate) fn mono_ms(&self) -> u64 {
        self.clock.ms()
    }

    /// How long until a time of the core.
    pub(crate) fn until(&self, mono_ms: u64) -> Duration {
        self.clock.until(mono_ms)
    }

    pub(crate) fn sworms(&self) -> MutexGuard<'_, HashMap<u64, Arc<SwormShared>>> {
        self.sworms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn membership(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who watch what is thought of the other nodes now, if that has changed.
    pub(crate) fn tell_of_members(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = told.news(self.membership().known());
        if !news.is_empty() {
            self.sworms().values().for_each(|sworm| sworm.watchers.tell(news.clone()));
        }
    }

    /// Told when the node stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    pub(crate) fn has_stopped(&self) -> bool {
        self.life.borrow().is_over()
    }

    /// It begins to leave.
    pub(crate) fn leaves(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// Whether it has begun to leave, or has left.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Why the node stopped by itself, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        match &*self.life.borrow() {
            Life::Stopped { why } => why.clone(),
            Life::Running => None,
        }
    }

    /// The error that says that the node has stopped, with the reason if it did so by itself.
    pub(crate) fn stopped_as<E>(&self, stopped: E, failed: impl FnOnce(String) -> E) -> E {
        self.failure().map_or(stopped, failed)
    }

    /// Ends everything that runs here, if it has not ended yet; gives the tasks of the workers.
    pub(crate) fn end(&self, why: Option<String>) -> Vec<AbortHandle> {
        let first = self.life.send_if_modified(|life| {
            let first = *life == Life::Running;
            if first {
                if let Some(why) = &why {
                    let _ = self.failure.set(why.clone());
                }
                *life = Life::Stopped { why };
            }
            first
        });
        if !first {
            return Vec::new();
        }
        let sworms: Vec<_> = self.sworms().drain().collect();
        let tasks = sworms.into_iter().flat_map(|(_, sworm)| sworm.stopped()).collect();
        self.calls.stopped();
        tasks
    }

    /// Stops everything at once: for the others it looks as if the process had ended. Its workers have ended by then. The
    /// store is closed in the background, unless the caller closes it.
    pub(crate) fn stop(&self, why: Option<String>) {
        let transport = self.take_transport();
        let tasks = self.end(why);
        if let Ok(runtime) = Handle::try_current() {
            let store = self.store.clone();
            runtime.spawn(async move {
                have_ended(&tasks).await;
                drop(transport);
                // What failed before was said then.
                if let Err(error) = store.close().await
                    && !matches!(error, StoreError::Failed(_))
                {
                    tracing::error!(%error, "the store could not be closed");
                }
            });
        }
    }

    /// The node cannot go on without its store: what its workers know could not be made durable, and what others may
    /// have been promised is on the disk or with them.
    pub(crate) fn store_failed(&self, error: StoreError) {
        let why = match error {
            StoreError::Failed(why) => why,
            other => other.to_string(),
        };
        self.fail(&format!("the store failed: {why}"));
    }

    /// The node cannot go on.
    pub(crate) fn fail(&self, why: &str) {
        if !self.has_stopped() {
            tracing::error!(node = &*self.me.node, why, "this node stops; its workers are left to the others");
        }
        self.stop(Some(why.to_owned()));
    }
}

/// Waits until aborted tasks have come to their end: before that the others must not start the same workers. One that
/// blocks its thread is not waited for for ever.
pub(crate) async fn have_ended(tasks: &[AbortHandle]) {
    let deadline = tokio::time::Instant::now() + ABORT_WAIT;
    while tasks.iter().any(|task| !task.is_finished()) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A random number; the standard library seeds each state of its hasher from the system.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(Instant::now())
}

pub(crate) fn random_u32() -> u32 {
    u32::try_from(random_u64() >> 32).expect("32 bits are left")
}

/// What stands for a sworm on the wire.
pub(crate) fn sworm_hash(name: &str) -> u64 {
    xxh3_64(name.as_bytes())
}
