//! What comes in: callbacks that only pass on, since a thread of zenoh's runs them and holds up a link meanwhile.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;
use zenoh::sample::{Locality, Sample, SampleKind};
use zenoh::session::Session;

use super::keys::{self, Keys};
use super::packet;
use super::queue::{Item, Queue};
use super::sender::Open;
use crate::core::ids::Peer;
use crate::transport::TransportEvent;

/// Declares everything, the sign of life last: whoever sees it can send.
pub(super) async fn declare(
    session: Session,
    keys: &Keys,
    me: &Peer,
    queue: &Queue,
    events: &UnboundedSender<TransportEvent>,
) -> zenoh::Result<Open> {
    let receive = || {
        let (queue, events) = (queue.clone(), events.clone());
        move |sample: Sample| receive(&queue, &events, &sample)
    };
    let remote = Locality::Remote;
    let broadcasts = session.declare_subscriber(keys.broadcast()).callback(receive()).allowed_origin(remote).await?;
    let directs = session.declare_subscriber(keys.direct(me)).callback(receive()).allowed_origin(remote).await?;
    let answering = queue.clone();
    let flush = session
        .declare_queryable(keys.flush(me))
        .callback(move |query| answering.push(Item::Answer(query)))
        .allowed_origin(remote)
        .await?;
    let (own, queue, events) = (me.clone(), queue.clone(), events.clone());
    let signs = session
        .liveliness()
        .declare_subscriber(keys.everyone_alive())
        .history(true)
        .callback(move |sample| see(&own, &queue, &events, &sample))
        .await?;
    let token = session.liveliness().declare_token(keys.alive(me)).await?;
    Ok(Open { session, token, _subscribers: [broadcasts, directs, signs], _flush: flush })
}

/// A packet has arrived.
fn receive(queue: &Queue, events: &UnboundedSender<TransportEvent>, sample: &Sample) {
    let packet = Bytes::from(sample.payload().to_bytes().into_owned());
    match packet::split(packet) {
        // Once the node has stopped listening nothing needs to arrive any more.
        Some(messages) => messages.for_each(|message| _ = events.send(TransportEvent::Message(message))),
        None => {
            queue.shared.counters.packets_malformed.fetch_add(1, Relaxed);
            tracing::debug!(bytes = sample.payload().len(), "dropped something that is not a packet");
        }
    }
}

/// A sign of life has appeared or gone.
fn see(me: &Peer, queue: &Queue, events: &UnboundedSender<TransportEvent>, sample: &Sample) {
    let Some(peer) = keys::peer_of(sample.key_expr().as_str()).filter(|peer| peer != me) else { return };
    let event = match sample.kind() {
        SampleKind::Put => TransportEvent::LinkUp(peer),
        SampleKind::Delete => {
            queue.push(Item::Forget(peer.clone()));
            TransportEvent::LinkDown(peer)
        }
    };
    let _ = events.send(event);
}
