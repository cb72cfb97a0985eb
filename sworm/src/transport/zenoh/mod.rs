//! The transport over zenoh: one session, a thread for each node that something is put to, callbacks that only pass on.

mod config;
mod endpoint;
mod keeper;
mod keys;
mod lanes;
mod packet;
mod probe;
mod puts;
mod queue;
mod receiver;
mod reopen;
mod signs;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub(crate) use self::config::DEFAULT_LISTEN;
pub(crate) use self::endpoint::{dial, reserve};
use self::keeper::Keeper;
use self::keys::Keys;
pub(crate) use self::probe::probe;
pub(crate) use self::queue::Counters;
use self::queue::{Item, Queue, queue};
use self::receiver::Receiver;
use self::reopen::Reopening;
use self::signs::Signs;
use super::{Class, Dialed, Shortcut, Transport, TransportError, TransportEvent};
use crate::core::ids::Peer;

/// How long an endpoint may be silent before the log says so: nodes of a cluster start one after another.
const WARN_AFTER: Duration = Duration::from_secs(3);
/// Bounds of [`Transport::close`].
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How to open a [`ZenohTransport`].
pub(crate) struct ZenohOptions {
    /// The cluster: nodes of others are never heard.
    pub(crate) cluster: String,
    /// This node.
    pub(crate) me: Peer,
    /// What to listen on; this machine only, at any port, if empty and the configuration has nothing.
    pub(crate) listen: Vec<String>,
    /// What to tell others instead of that, if anything.
    pub(crate) advertise: Vec<String>,
    /// Whom to connect to, for ever; own endpoints are left out.
    pub(crate) connect: Vec<String>,
    /// The base of everything else.
    pub(crate) config: Option<zenoh::Config>,
}

/// Refuses a runtime, a configuration and endpoints that cannot be used, and says what will be listened on.
pub(crate) fn check(
    config: Option<&zenoh::Config>,
    listen: Vec<String>,
    advertise: &[String],
    connect: &[String],
) -> Result<Vec<String>, TransportError> {
    check_runtime()?;
    let base = config::base(config.cloned(), listen, connect.to_vec())?;
    let (listen, connect) = (base.listen.clone(), base.connect.clone());
    listen.iter().chain(advertise).chain(&connect).try_for_each(|endpoint| endpoint::parse(endpoint).map(drop))?;
    base.finish(&listen, &connect)?;
    Ok(listen)
}

/// zenoh panics inside a current-thread runtime.
fn check_runtime() -> Result<(), TransportError> {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::CurrentThread) => Err(TransportError::CurrentThreadRuntime),
        Ok(_) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Runs what opens and closes sessions in a task of its own. zenoh blocks the thread until that is done (`block_in_place`): within the
/// caller's task nothing else would go on that this waits for as well, tokio may take a wake-up of that for one of zenoh's, and in a
/// `LocalSet` it panics.
async fn apart<T: Send + 'static>(
    what: impl Future<Output = Result<T, TransportError>> + Send + 'static,
) -> Result<T, TransportError> {
    let mut task = JoinSet::new(); // dropping it ends what goes on
    task.spawn(what);
    match task.join_next().await.expect("there is one") {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(failed(error)),
        },
    }
}

/// A zenoh session that carries one node's messages.
pub(crate) struct ZenohTransport {
    queue: Queue,
    endpoints: Vec<String>,
    /// Tasks that end with the transport.
    _tasks: JoinSet<()>,
}

impl ZenohTransport {
    /// Opens a session, without waiting for anybody to connect to.
    pub(crate) async fn open(
        options: ZenohOptions,
        events: UnboundedSender<TransportEvent>,
    ) -> Result<Arc<Self>, TransportError> {
        check_runtime()?;
        apart(Self::open_here(options, events)).await
    }

    async fn open_here(
        options: ZenohOptions,
        events: UnboundedSender<TransportEvent>,
    ) -> Result<Arc<Self>, TransportError> {
        for endpoint in &options.advertise {
            endpoint::parse(endpoint)?; // nobody else could do anything with a bad one
        }
        config::warn_of_linger();
        let base = config::base(options.config, options.listen, options.connect)?;
        let reserved = reserve(&base.listen).await?;
        let connect = reserved.others(&base.connect).await?;
        let config = base.finish(reserved.endpoints(), &connect)?;
        let session = match zenoh::open(config.clone()).await {
            Ok(session) => session,
            Err(error) => {
                // Somebody else may have been faster; zenoh's text does not tell reliably.
                let endpoints = reserved.endpoints().to_vec();
                drop(reserved);
                reserve(&endpoints).await?;
                return Err(failed(error));
            }
        };
        let endpoints = match options.advertise {
            given if !given.is_empty() => given,
            _ => reserved.dialable(),
        };
        let (queue, items) = queue();
        let keys = Keys::new(&options.cluster);
        let signs = Signs::new(&options.me, &queue, &events);
        let receiver = Receiver { keys, me: options.me, queue: queue.clone(), events, signs };
        let open = receiver.declare(session).await.map_err(failed)?;
        let keeper = Keeper::new(receiver, open, Reopening::new(Handle::current(), config));
        let thread = std::thread::Builder::new().name("sworm-zenoh".into());
        thread.spawn(move || keeper.run(&items)).inspect_err(|_| queue.shared.puts.end()).map_err(failed)?;
        let transport = Self { queue, endpoints, _tasks: warn_of_silence(connect) };
        transport.know(transport.endpoints());
        Ok(Arc::new(transport))
    }

    /// What has been counted so far.
    pub(crate) fn counters(&self) -> &Counters {
        &self.queue.shared.counters
    }
}

#[async_trait]
impl Transport for ZenohTransport {
    fn send(&self, to: &Peer, class: Class, message: Bytes) {
        self.queue.send(to, class, message);
    }

    fn send_now(&self, to: &Peer, message: &Bytes) -> bool {
        self.queue.shared.puts.put_now(to, message, &self.queue.shared.counters)
    }

    fn broadcast(&self, class: Class, message: Bytes) {
        self.queue.broadcast(class, &message);
    }

    fn has_room_for(&self, to: &Peer, bytes: usize) -> bool {
        self.queue.shared.has_room_for(to, bytes)
    }

    fn packets_sent(&self) -> Option<u64> {
        Some(self.counters().packets_sent.load(Relaxed))
    }

    fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    fn know(&self, endpoints: Vec<String>) {
        *self.queue.shared.known.lock().unwrap_or_else(PoisonError::into_inner) = endpoints.join("\n");
    }

    fn was_read(&self, bytes: usize) {
        self.queue.shared.was_read(bytes);
    }

    fn shortcut(&self, shortcut: Shortcut) {
        // Whoever comes second is not the node that this was opened for.
        let _ = self.queue.shared.shortcut.set(shortcut);
    }

    async fn dial(&self, endpoint: &str) -> Dialed {
        endpoint::dial(endpoint).await
    }

    async fn close(&self) {
        let (flushed, until_flushed) = oneshot::channel();
        let (closed, until_closed) = oneshot::channel();
        self.queue.push(Item::Close { flushed, closed });
        if timeout(FLUSH_LIMIT, until_flushed).await.is_err() {
            self.queue.shared.abandoned.store(true, Relaxed);
            tracing::warn!("closing without having sent everything: a link takes no messages");
        }
        if timeout(CLOSE_LIMIT, until_closed).await.is_err() {
            tracing::warn!("closing the session takes too long; it goes on in the background");
        }
        tracing::debug!(counters = ?self.counters(), "the transport is closed");
    }
}

impl Drop for ZenohTransport {
    fn drop(&mut self) {
        // The callbacks hold clones of the queue, so the thread would never see it end.
        self.queue.shared.abandoned.store(true, Relaxed);
        self.queue.push(Item::Abort);
    }
}

/// Says once of each endpoint that it does not answer; zenoh goes on trying without a word.
fn warn_of_silence(connect: Vec<String>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for endpoint in connect {
        tasks.spawn(async move {
            sleep(WARN_AFTER).await;
            if endpoint::dial(&endpoint).await != Dialed::Answered {
                tracing::warn!("{endpoint} does not answer; it will be tried for ever");
            }
        });
    }
    tasks
}

fn failed(error: impl ToString) -> TransportError {
    TransportError::Failed { why: error.to_string() }
}
