//! What comes in: callbacks that only pass on, to workers' mailboxes or to the node, since a thread of zenoh's runs them and
//! holds up a link meanwhile.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::Queryable;
use zenoh::sample::{Locality, Sample};
use zenoh::session::Session;

use super::keys::{Keys, Sign};
use super::packet;
use super::queue::{Item, Queue};
use super::signs::Signs;
use crate::core::ids::Peer;
use crate::transport::TransportEvent;

/// Where what comes in goes, whichever session it comes over.
pub(super) struct Receiver {
    pub(super) keys: Keys,
    pub(super) me: Peer,
    pub(super) queue: Queue,
    pub(super) events: UnboundedSender<TransportEvent>,
    pub(super) signs: Signs,
}

/// What is open while a session lives.
pub(super) struct Open {
    pub(super) session: Session,
    token: LivelinessToken,
    _subscribers: [Subscriber<()>; 2],
    _flush: Queryable<()>,
}

impl Receiver {
    /// Declares everything, the sign of life last: whoever sees it can send.
    pub(super) async fn declare(&self, session: Session) -> zenoh::Result<Open> {
        let Self { keys, me, .. } = self;
        let (queue, events) = (self.queue.clone(), self.events.clone());
        let receive = move |sample: Sample| receive(&queue, &events, &sample);
        let remote = Locality::Remote;
        let directs = session.declare_subscriber(keys.direct(me)).callback(receive).allowed_origin(remote).await?;
        let answering = self.queue.clone();
        let flush = session
            .declare_queryable(keys.flush(me))
            .callback(move |query| answering.push(Item::Answer(query)))
            .allowed_origin(remote)
            .await?;
        let signs = self.signs.of_this_session();
        let alive = session
            .liveliness()
            .declare_subscriber(keys.all_signs())
            .history(true)
            .callback(move |sample| signs.tell(sample.key_expr().as_str(), sample.kind()))
            .await?;
        let token = session.liveliness().declare_token(keys.sign(Sign::Lives, me, &session.zid().to_string())).await?;
        Ok(Open { session, token, _subscribers: [directs, alive], _flush: flush })
    }
}

impl Open {
    /// Says that this session ends, with that sign, and that this node is not there.
    pub(super) fn say_that_it_ends(self, receiver: &Receiver, sign: Sign) -> Ending {
        let Self { session, token, .. } = self;
        let key = receiver.keys.sign(sign, &receiver.me, &session.zid().to_string());
        let said = session.liveliness().declare_token(key).wait();
        complain(token.undeclare().wait());
        if let Err(error) = &said {
            tracing::debug!(%error, "that a session ends could not be said");
        }
        Ending { session, _said: said.ok() }
    }
}

/// A session that has said that it ends.
pub(super) struct Ending {
    session: Session,
    _said: Option<LivelinessToken>,
}

impl Ending {
    /// Closes all links.
    pub(super) fn close(self) {
        complain(self.session.close().wait());
    }
}

fn complain(result: zenoh::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "zenoh did not end well");
    }
}

/// A packet has arrived.
fn receive(queue: &Queue, events: &UnboundedSender<TransportEvent>, sample: &Sample) {
    let packet = Bytes::from(sample.payload().to_bytes().into_owned());
    match packet::split(packet) {
        // Once the node has stopped listening nothing needs to arrive any more.
        Some(messages) => messages
            .filter(|message| !queue.shared.is_taken(message) && queue.shared.has_come(message))
            .for_each(|message| _ = events.send(TransportEvent::Message(message))),
        None => {
            queue.shared.counters.packets_malformed.fetch_add(1, Relaxed);
            tracing::debug!(bytes = sample.payload().len(), "dropped something that is not a packet");
        }
    }
}
