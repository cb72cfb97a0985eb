//! The laws of the transport, between sessions on the loopback interface.

mod at_once;
mod half_open;
mod links;
mod messages;
mod opening;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::core::ids::{Incarnation, NodeId};

/// Far longer than anything takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

struct Node {
    me: Peer,
    transport: Arc<ZenohTransport>,
    events: UnboundedReceiver<TransportEvent>,
}

fn peer(id: &str) -> Peer {
    Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(7) }
}

fn text(message: impl ToString) -> Bytes {
    Bytes::from(message.to_string())
}

fn options(cluster: &str, id: &str, listen: &str, connect: &[String]) -> ZenohOptions {
    ZenohOptions {
        cluster: cluster.into(),
        me: peer(id),
        listen: vec![listen.into()],
        advertise: Vec::new(),
        connect: connect.to_vec(),
        config: None,
    }
}

impl Node {
    async fn open(cluster: &str, id: &str, connect: &[String]) -> Self {
        Self::open_at(cluster, id, "tcp/127.0.0.1:0", connect).await
    }

    async fn open_at(cluster: &str, id: &str, listen: &str, connect: &[String]) -> Self {
        let (events, received) = unbounded_channel();
        let transport = ZenohTransport::open(options(cluster, id, listen, connect), events).await.expect("it opens");
        Self { me: peer(id), transport, events: received }
    }

    /// Two nodes of a cluster that have seen each other.
    async fn pair(cluster: &str) -> (Self, Self) {
        let mut a = Self::open(cluster, "a", &[]).await;
        let mut b = Self::open(cluster, "b", &a.transport.endpoints()).await;
        a.until(&TransportEvent::LinkUp(b.me.clone())).await;
        b.until(&TransportEvent::LinkUp(a.me.clone())).await;
        (a, b)
    }

    async fn next(&mut self) -> TransportEvent {
        timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("an open channel")
    }

    async fn until(&mut self, event: &TransportEvent) {
        while self.next().await != *event {}
    }

    async fn message(&mut self) -> Bytes {
        loop {
            if let TransportEvent::Message(message) = self.next().await {
                return message;
            }
        }
    }
}
