//! The thread that puts what is queued: a worker's task or a thread of zenoh's must never wait for a congested link.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::qos::CongestionControl;
use zenoh::query::{ConsolidationMode, Query, QueryTarget};
use zenoh::sample::Locality;
use zenoh::session::Session;

use super::keys::Sign;
use super::packet::{Packer, Packet};
use super::queue::{Item, Shared};
use super::receiver::{Open, Receiver};
use super::reopen::{Reopening, Why};
use crate::core::ids::Peer;
use crate::transport::Class;

/// So many bytes are taken out of the queue before the packets made of them are put.
const TAKE_BYTES: usize = 1 << 20;
/// How long the end waits for the others to say that they have received everything.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The state of the thread.
pub(super) struct Sender {
    receiver: Receiver,
    packer: Packer,
    /// It belongs to the thread, so that the session is never closed inside a runtime.
    open: Open,
    reopening: Reopening,
    broadcast: KeyExpr<'static>,
}

impl Sender {
    pub(super) fn new(receiver: Receiver, open: Open, reopening: Reopening) -> Self {
        let broadcast = numbered(&open.session, receiver.keys.broadcast());
        receiver.queue.shared.puts.begin(open.session.clone(), reopening.has_priorities());
        Self { receiver, packer: Packer::default(), open, reopening, broadcast }
    }

    /// Works until it is told to end, or nobody is left to tell it.
    pub(super) fn run(mut self, items: &mpsc::Receiver<Item>) {
        loop {
            let (asleep, limit) = (Instant::now(), self.reopening.until_look());
            let mut next = match items.recv_timeout(limit) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let late = asleep.elapsed().saturating_sub(limit);
            let is_over = matches!(next, Some(Item::Close { .. } | Item::Abort));
            if let Some(why) = self.reopening.look(&self.open.session, &self.receiver, late).filter(|_| !is_over) {
                let Some(again) = self.reopen(&why) else { return };
                self = again;
            }
            let mut taken_bytes = 0;
            while let Some(item) = next.take() {
                match item {
                    Item::Message { to, class, message } => {
                        self.shared().taken(&message);
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

    /// The same with another session. Everything that was taken out of the queue has been put.
    fn reopen(self, why: &Why) -> Option<Self> {
        self.shared().puts.end();
        let Self { receiver, open, mut reopening, .. } = self;
        let open = reopening.reopen(open, &receiver, why)?;
        Some(Self::new(receiver, open, reopening))
    }

    /// Says that this node is gone, then closes all links.
    fn end(self) {
        self.shared().puts.end();
        self.open.say_that_it_ends(&self.receiver, Sign::Ends).close();
    }

    fn shared(&self) -> &Shared {
        &self.receiver.queue.shared
    }

    fn put_all(&mut self) {
        for packet in self.packer.take() {
            if !self.shared().abandoned.load(Relaxed) {
                self.put(packet);
            }
        }
    }

    fn put(&self, packet: Packet) {
        let Open { session, .. } = &self.open;
        let key = match packet.to {
            None => Some(self.broadcast.clone()),
            Some(peer) => self.shared().puts.key(&peer, || numbered(session, self.receiver.keys.direct(&peer))),
        };
        let Some(key) = key else { return };
        let congestion = match packet.class {
            Class::Droppable => CongestionControl::Drop,
            Class::Important => CongestionControl::Block,
        };
        let put = session.put(key, packet.payload).congestion_control(congestion).allowed_destination(Locality::Remote);
        match put.wait() {
            Ok(()) => _ = self.shared().counters.packets_sent.fetch_add(1, Relaxed),
            Err(error) => tracing::debug!(%error, "a packet was not sent"),
        }
    }

    fn forget(&mut self, peer: &Peer) {
        // What is still to be sent to it would only declare the key again.
        self.put_all();
        if let Some(key) = self.shared().puts.forget(peer)
            && let Err(error) = self.open.session.undeclare(key).wait()
        {
            tracing::debug!(%error, "a key could not be undeclared");
        }
    }

    fn answer(&self, query: &Query) {
        let known = self.shared().known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Err(error) = query.reply(query.key_expr(), known).wait() {
            tracing::debug!(%error, "a query was not answered");
        }
    }

    /// Asks the others whether they have received everything: a query follows the messages on each link, and closing a
    /// link that does not linger discards what is still under way.
    fn wait_until_received(&self) {
        if self.shared().abandoned.load(Relaxed) {
            return;
        }
        let answers = self
            .open
            .session
            .get(self.receiver.keys.every_flush())
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
}

/// A key that zenoh knows by a number, if it can be.
fn numbered(session: &Session, key: String) -> KeyExpr<'static> {
    session.declare_keyexpr(key.clone()).wait().unwrap_or_else(|error| {
        tracing::debug!(%error, "a key could not be declared");
        KeyExpr::new(key).expect("slashes and letters form a key expression")
    })
}
