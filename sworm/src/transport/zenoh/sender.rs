//! The one thread that puts: a worker's task or a thread of zenoh's must never wait for a congested link.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::CongestionControl;
use zenoh::query::{ConsolidationMode, Query, QueryTarget, Queryable};
use zenoh::sample::Locality;
use zenoh::session::Session;

use super::keys::Keys;
use super::packet::{Packer, Packet};
use super::queue::{Item, Shared};
use crate::core::ids::Peer;
use crate::transport::Class;

/// So many bytes are taken out of the queue before the packets made of them are put.
const TAKE_BYTES: usize = 1 << 20;
/// How long the end waits for the others to say that they have received everything.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What is open while the transport lives. It belongs to the thread, so that the session is never closed inside a runtime.
pub(super) struct Open {
    pub(super) session: Session,
    pub(super) token: LivelinessToken,
    pub(super) _subscribers: [Subscriber<()>; 3],
    pub(super) _flush: Queryable<()>,
}

/// The state of the thread.
pub(super) struct Sender {
    keys: Keys,
    shared: Arc<Shared>,
    packer: Packer,
    open: Open,
    broadcast: KeyExpr<'static>,
    /// Keys that zenoh knows by a number: a put by such a key is cheaper.
    direct: HashMap<Peer, KeyExpr<'static>>,
}

impl Sender {
    pub(super) fn new(keys: Keys, shared: Arc<Shared>, open: Open) -> zenoh::Result<Self> {
        let broadcast = open.session.declare_keyexpr(keys.broadcast()).wait()?;
        Ok(Self { keys, shared, packer: Packer::default(), open, broadcast, direct: HashMap::new() })
    }

    /// Works until it is told to end, or nobody is left to tell it.
    pub(super) fn run(mut self, items: &Receiver<Item>) {
        while let Ok(first) = items.recv() {
            let mut next = Some(first);
            let mut taken_bytes = 0;
            while let Some(item) = next.take() {
                match item {
                    Item::Message { to, class, message } => {
                        self.shared.taken(&message);
                        taken_bytes += message.len();
                        self.packer.push(to, class, &message);
                    }
                    Item::Forget(peer) => self.forget(&peer),
                    Item::Answer(query) => self.answer(&query),
                    Item::Close { flushed, closed } => {
                        self.put_all();
                        self.wait_until_received();
                        // Whoever waits for these may have given up.
                        let _ = flushed.send(());
                        self.end();
                        let _ = closed.send(());
                        return;
                    }
                    Item::Abort => return self.end(),
                }
                if taken_bytes < TAKE_BYTES {
                    next = items.try_recv().ok();
                }
            }
            self.put_all();
        }
    }

    fn put_all(&mut self) {
        for packet in self.packer.take() {
            if !self.shared.abandoned.load(Relaxed) {
                self.put(packet);
            }
        }
    }

    fn put(&mut self, packet: Packet) {
        let Open { session, .. } = &self.open;
        let key = match packet.to {
            None => &self.broadcast,
            Some(peer) => self.direct.entry(peer).or_insert_with_key(|peer| {
                let key = self.keys.direct(peer);
                session.declare_keyexpr(key.clone()).wait().unwrap_or_else(|error| {
                    tracing::debug!(%error, "a key could not be declared");
                    KeyExpr::new(key).expect("slashes and letters form a key expression")
                })
            }),
        };
        let congestion = match packet.class {
            Class::Droppable => CongestionControl::Drop,
            Class::Important => CongestionControl::Block,
        };
        let put = session.put(key, packet.payload).congestion_control(congestion).allowed_destination(Locality::Remote);
        match put.wait() {
            Ok(()) => _ = self.shared.counters.packets_sent.fetch_add(1, Relaxed),
            Err(error) => tracing::debug!(%error, "a packet was not sent"),
        }
    }

    fn forget(&mut self, peer: &Peer) {
        // What is still to be sent to it would only declare the key again.
        self.put_all();
        if let Some(key) = self.direct.remove(peer)
            && let Err(error) = self.open.session.undeclare(key).wait()
        {
            tracing::debug!(%error, "a key could not be undeclared");
        }
    }

    fn answer(&self, query: &Query) {
        let known = self.shared.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = query.reply(query.key_expr(), known).wait() {
            tracing::debug!(%error, "a query was not answered");
        }
    }

    /// Asks the others whether they have received everything: a query follows the messages on each link, and closing a
    /// link that does not linger discards what is still under way.
    fn wait_until_received(&self) {
        if self.shared.abandoned.load(Relaxed) {
            return;
        }
        let answers = self
            .open
            .session
            .get(self.keys.every_flush())
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            .timeout(FLUSH_LIMIT)
            .wait();
        match answers {
            Ok(answers) => while answers.recv().is_ok() {},
            Err(error) => tracing::debug!(%error, "the others could not be asked"),
        }
    }

    /// Says that this node is gone, then closes all links.
    fn end(self) {
        let Open { session, token, .. } = self.open;
        for result in [token.undeclare().wait(), session.close().wait()] {
            if let Err(error) = result {
                tracing::debug!(%error, "zenoh did not end well");
            }
        }
    }
}
