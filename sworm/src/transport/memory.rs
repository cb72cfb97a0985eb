//! A network within one process, for tests of several nodes: links that can be cut and healed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::{Class, Dialed, MAX_MESSAGE_BYTES, Transport, TransportEvent};
use crate::core::ids::{NodeId, Peer};

#[cfg(test)]
mod tests;

/// A network within one process. Clones are the same network; everything connected to it is one cluster.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    hub: Arc<Mutex<Hub>>,
}

/// A node's connection to a [`MemoryNetwork`]. It delivers at once, in order and without loss, unless the link is cut.
pub struct MemoryTransport {
    me: Peer,
    connection: u64,
    hub: Arc<Mutex<Hub>>,
}

#[derive(Default)]
struct Hub {
    nodes: BTreeMap<Peer, Node>,
    /// Pairs of node ids, the smaller one first: a cut outlives restarts, as that of a real cable does.
    cuts: BTreeSet<(String, String)>,
    connections: u64,
    /// By sender and receiver.
    traffic: BTreeMap<(NodeId, NodeId), Traffic>,
}

/// What was sent over a link in one direction.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Traffic {
    /// How many messages.
    pub messages: u64,
    /// All their bytes.
    pub bytes: u64,
}

struct Node {
    events: UnboundedSender<TransportEvent>,
    /// Tells a peer that connected again from its own late end.
    connection: u64,
}

impl MemoryNetwork {
    /// Makes a network with no nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a node. A peer that is there already is replaced.
    pub fn connect(&self, me: Peer, events: UnboundedSender<TransportEvent>) -> Arc<MemoryTransport> {
        let mut hub = lock(&self.hub);
        hub.remove(&me);
        hub.connections += 1;
        let connection = hub.connections;
        hub.nodes.insert(me.clone(), Node { events, connection });
        let others: Vec<Peer> = hub.reachable(&me).map(|(peer, _)| peer.clone()).collect();
        for other in &others {
            hub.tell(other, TransportEvent::LinkUp(me.clone()));
            hub.tell(&me, TransportEvent::LinkUp(other.clone()));
        }
        drop(hub);
        Arc::new(MemoryTransport { me, connection, hub: self.hub.clone() })
    }

    /// Cuts the link between two nodes, at both ends and for every incarnation of theirs.
    pub fn cut(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        let mut hub = lock(&self.hub);
        if hub.cuts.insert(pair(a.as_ref(), b.as_ref())) {
            hub.tell_pairs(a.as_ref(), b.as_ref(), TransportEvent::LinkDown);
        }
    }

    /// What one node has sent to another one so far, in all their incarnations.
    pub fn traffic(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Traffic {
        let ids = NodeId::new(from).zip(NodeId::new(to));
        ids.and_then(|ids| lock(&self.hub).traffic.get(&ids).copied()).unwrap_or_default()
    }

    /// Makes the link between two nodes again.
    pub fn heal(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        let mut hub = lock(&self.hub);
        if hub.cuts.remove(&pair(a.as_ref(), b.as_ref())) {
            hub.tell_pairs(a.as_ref(), b.as_ref(), TransportEvent::LinkUp);
        }
    }
}

impl Hub {
    fn linked(&self, a: &NodeId, b: &NodeId) -> bool {
        self.cuts.is_empty() || !self.cuts.contains(&pair(a, b))
    }

    /// The other nodes that `me` has a link to.
    fn reachable<'a>(&'a self, me: &'a Peer) -> impl Iterator<Item = (&'a Peer, &'a Node)> {
        self.nodes.iter().filter(move |(peer, _)| *peer != me && self.linked(&peer.node, &me.node))
    }

    fn tell(&self, to: &Peer, event: TransportEvent) {
        if let Some(node) = self.nodes.get(to) {
            // A node that has stopped listening loses its events, as one whose process hangs would.
            let _ = node.events.send(event);
        }
    }

    /// Hands a message over, if the receiver is there.
    fn carry(&mut self, from: &Peer, to: &Peer, message: Bytes) {
        if self.nodes.contains_key(to) {
            let traffic = self.traffic.entry((from.node.clone(), to.node.clone())).or_default();
            traffic.messages += 1;
            traffic.bytes += message.len() as u64;
            self.tell(to, TransportEvent::Message(message));
        }
    }

    fn tell_pairs(&self, a: &str, b: &str, event: fn(Peer) -> TransportEvent) {
        for x in self.nodes.keys().filter(|peer| peer.node == *a) {
            for y in self.nodes.keys().filter(|peer| peer.node == *b && *peer != x) {
                self.tell(x, event(y.clone()));
                self.tell(y, event(x.clone()));
            }
        }
    }

    fn remove(&mut self, me: &Peer) {
        if self.nodes.remove(me).is_some() {
            for (_, other) in self.reachable(me) {
                let _ = other.events.send(TransportEvent::LinkDown(me.clone()));
            }
        }
    }

    /// Whether that connection is the present one of its peer.
    fn holds(&self, transport: &MemoryTransport) -> bool {
        self.nodes.get(&transport.me).is_some_and(|node| node.connection == transport.connection)
    }
}

impl MemoryTransport {
    fn end(&self) {
        let mut hub = lock(&self.hub);
        if hub.holds(self) {
            hub.remove(&self.me);
        }
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn send(&self, to: &Peer, _class: Class, message: Bytes) {
        let mut hub = lock(&self.hub);
        if *to != self.me && hub.linked(&to.node, &self.me.node) && hub.holds(self) && fits(&message) {
            hub.carry(&self.me, to, message);
        }
    }

    fn broadcast(&self, _class: Class, message: Bytes) {
        let mut hub = lock(&self.hub);
        if hub.holds(self) && fits(&message) {
            let others: Vec<Peer> = hub.reachable(&self.me).map(|(peer, _)| peer.clone()).collect();
            for other in &others {
                hub.carry(&self.me, other, message.clone());
            }
        }
    }

    fn endpoints(&self) -> Vec<String> {
        vec![endpoint(&self.me)]
    }

    async fn dial(&self, to: &str) -> Dialed {
        let hub = lock(&self.hub);
        let Some(id) = to.strip_prefix("memory/").and_then(|rest| rest.rsplit_once('#')).map(|(id, _)| id) else {
            return Dialed::Unreachable;
        };
        if hub.cuts.contains(&pair(id, &self.me.node)) || !hub.holds(self) {
            return Dialed::Unreachable;
        }
        if hub.nodes.keys().any(|peer| endpoint(peer) == to) { Dialed::Answered } else { Dialed::Refused }
    }

    async fn close(&self) {
        self.end();
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.end();
    }
}

fn fits(message: &Bytes) -> bool {
    message.len() <= MAX_MESSAGE_BYTES
}

fn endpoint(peer: &Peer) -> String {
    format!("memory/{peer}")
}

fn pair(a: &str, b: &str) -> (String, String) {
    if a <= b { (a.into(), b.into()) } else { (b.into(), a.into()) }
}

/// Nothing in here panics while it holds the lock, and what it guards is whole after each step.
fn lock(hub: &Mutex<Hub>) -> MutexGuard<'_, Hub> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}
