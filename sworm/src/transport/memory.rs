//! A network within one process, for tests of several nodes: links that can be cut and healed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use super::{Class, Dialed, MAX_MESSAGE_BYTES, Transport, TransportEvent};
use crate::core::ids::{NodeId, Peer};

#[cfg(test)]
mod tests;

/// A network within one process. Clones are the same network; clusters on it do not see each other.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    hub: Arc<Mutex<Hub>>,
}

/// A node's connection to a [`MemoryNetwork`]. It delivers at once, in order and without loss, unless the link is cut.
pub struct MemoryTransport {
    at: At,
    connection: u64,
    unread: Arc<AtomicUsize>,
    hub: Arc<Mutex<Hub>>,
}

#[derive(Default)]
struct Hub {
    nodes: BTreeMap<At, Node>,
    /// Pairs of node ids, the smaller one first: a cut outlives restarts, as that of a real cable does.
    cuts: BTreeSet<(String, String)>,
    connections: u64,
    /// What stands before the links that are held up, by sender and receiver.
    held: BTreeMap<(NodeId, NodeId), VecDeque<(At, Bytes)>>,
    /// Whether each message comes twice.
    repeats: bool,
    /// Those that have too much to send.
    full: BTreeSet<NodeId>,
    /// Those who have too much to send to one other, by sender and receiver.
    full_links: BTreeSet<(NodeId, NodeId)>,
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

/// A node's place: its cluster, and who it is there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    cluster: Arc<str>,
    peer: Peer,
}

struct Node {
    events: UnboundedSender<TransportEvent>,
    /// Tells a peer that connected again from its own late end.
    connection: u64,
    /// The bytes of the messages that it was given and has not taken.
    unread: Arc<AtomicUsize>,
}

impl MemoryNetwork {
    /// Makes a network with no nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Connects a node of a cluster. A peer that is there already is replaced.
    pub fn connect(&self, cluster: &str, me: Peer, events: UnboundedSender<TransportEvent>) -> Arc<MemoryTransport> {
        let at = At { cluster: cluster.into(), peer: me };
        let mut hub = lock(&self.hub);
        hub.remove(&at);
        hub.connections += 1;
        let connection = hub.connections;
        let unread = Arc::<AtomicUsize>::default();
        hub.nodes.insert(at.clone(), Node { events, connection, unread: unread.clone() });
        let others: Vec<At> = hub.reachable(&at).map(|(other, _)| other.clone()).collect();
        for other in &others {
            hub.tell(other, TransportEvent::LinkUp(at.peer.clone()));
            hub.tell(&at, TransportEvent::LinkUp(other.peer.clone()));
        }
        drop(hub);
        Arc::new(MemoryTransport { at, connection, unread, hub: self.hub.clone() })
    }

    /// Cuts the link between two nodes, at both ends and for every incarnation of theirs, in every cluster.
    pub fn cut(&self, a: impl AsRef<str>, b: impl AsRef<str>) {
        let mut hub = lock(&self.hub);
        if hub.cuts.insert(pair(a.as_ref(), b.as_ref())) {
            hub.tell_pairs(a.as_ref(), b.as_ref(), TransportEvent::LinkDown);
        }
    }

    /// Whether every message arrives twice from now on, as a network may bring it.
    pub fn repeat(&self, on: bool) {
        lock(&self.hub).repeats = on;
    }

    /// Whether a node has too much to send from now on: it refuses messages for workers elsewhere.
    pub fn fill(&self, id: impl AsRef<str>, on: bool) {
        let (mut hub, Some(id)) = (lock(&self.hub), NodeId::new(id)) else { return };
        if on {
            hub.full.insert(id)
        } else {
            hub.full.remove(&id)
        };
    }

    /// The same of what it has to send to one other node.
    pub fn fill_link(&self, from: impl AsRef<str>, to: impl AsRef<str>, on: bool) {
        let (mut hub, Some(link)) = (lock(&self.hub), NodeId::new(from).zip(NodeId::new(to))) else { return };
        if on {
            hub.full_links.insert(link)
        } else {
            hub.full_links.remove(&link)
        };
    }

    /// What one node has sent to another one so far, in all their incarnations.
    pub fn traffic(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Traffic {
        let ids = NodeId::new(from).zip(NodeId::new(to));
        ids.and_then(|ids| lock(&self.hub).traffic.get(&ids).copied()).unwrap_or_default()
    }

    /// How many bytes of messages a node was given that it has not taken yet: they wait in its queues.
    pub fn unread(&self, id: impl AsRef<str>) -> usize {
        let hub = lock(&self.hub);
        let its = hub.nodes.iter().filter(|(at, _)| at.peer.node == *id.as_ref());
        its.map(|(_, node)| node.unread.load(Relaxed)).sum()
    }

    /// From now on messages of one node to another one wait, in order, until they are let through.
    pub fn hold(&self, from: impl AsRef<str>, to: impl AsRef<str>) {
        if let Some(link) = NodeId::new(from).zip(NodeId::new(to)) {
            lock(&self.hub).held.entry(link).or_default();
        }
    }

    /// How long the messages are that wait, the next one first.
    pub fn held(&self, from: impl AsRef<str>, to: impl AsRef<str>) -> Vec<usize> {
        let hub = lock(&self.hub);
        let held = NodeId::new(from).zip(NodeId::new(to)).and_then(|link| hub.held.get(&link));
        held.map(|held| held.iter().map(|(_, message)| message.len()).collect()).unwrap_or_default()
    }

    /// Lets the next message that waits through.
    pub fn let_through(&self, from: impl AsRef<str>, to: impl AsRef<str>) {
        let mut hub = lock(&self.hub);
        let next = NodeId::new(from).zip(NodeId::new(to)).and_then(|link| hub.held.get_mut(&link)?.pop_front());
        if let Some((at, message)) = next {
            hub.tell(&at, TransportEvent::Message(message));
        }
    }

    /// Lets all that waits through, and what comes.
    pub fn release(&self, from: impl AsRef<str>, to: impl AsRef<str>) {
        let mut hub = lock(&self.hub);
        let held = NodeId::new(from).zip(NodeId::new(to)).and_then(|link| hub.held.remove(&link));
        for (at, message) in held.into_iter().flatten() {
            hub.tell(&at, TransportEvent::Message(message));
        }
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
    fn reachable<'a>(&'a self, me: &'a At) -> impl Iterator<Item = (&'a At, &'a Node)> {
        self.nodes
            .iter()
            .filter(move |(at, _)| at.cluster == me.cluster && *at != me && self.linked(&at.peer.node, &me.peer.node))
    }

    fn tell(&self, to: &At, event: TransportEvent) {
        if let Some(node) = self.nodes.get(to) {
            if let TransportEvent::Message(message) = &event {
                node.unread.fetch_add(message.len(), Relaxed);
            }
            // A node that has stopped listening loses its events, as one whose process hangs would.
            let _ = node.events.send(event);
        }
    }

    /// Hands a message over, if the receiver is there.
    fn carry(&mut self, from: &Peer, to: &At, message: Bytes) {
        if self.nodes.contains_key(to) {
            let traffic = self.traffic.entry((from.node.clone(), to.peer.node.clone())).or_default();
            traffic.messages += 1;
            traffic.bytes += message.len() as u64;
            for _ in 0..=usize::from(self.repeats) {
                let message = message.clone();
                match self.held.get_mut(&(from.node.clone(), to.peer.node.clone())) {
                    Some(held) => held.push_back((to.clone(), message)),
                    None => self.tell(to, TransportEvent::Message(message)),
                }
            }
        }
    }

    fn tell_pairs(&self, a: &str, b: &str, event: fn(Peer) -> TransportEvent) {
        for x in self.nodes.keys().filter(|at| at.peer.node == *a) {
            for y in self.nodes.keys().filter(|at| at.peer.node == *b && at.cluster == x.cluster && *at != x) {
                self.tell(x, event(y.peer.clone()));
                self.tell(y, event(x.peer.clone()));
            }
        }
    }

    fn remove(&mut self, me: &At) {
        if self.nodes.remove(me).is_some() {
            for (_, other) in self.reachable(me) {
                let _ = other.events.send(TransportEvent::LinkDown(me.peer.clone()));
            }
        }
    }

    /// Whether that connection is the present one of its peer.
    fn holds(&self, transport: &MemoryTransport) -> bool {
        self.nodes.get(&transport.at).is_some_and(|node| node.connection == transport.connection)
    }
}

impl MemoryTransport {
    fn end(&self) {
        let mut hub = lock(&self.hub);
        if hub.holds(self) {
            hub.remove(&self.at);
        }
    }
}

#[async_trait]
impl Transport for MemoryTransport {
    fn send(&self, to: &Peer, _class: Class, message: Bytes) {
        let mut hub = lock(&self.hub);
        let me = &self.at.peer;
        if to != me && hub.linked(&to.node, &me.node) && hub.holds(self) && fits(&message) {
            let to = At { cluster: self.at.cluster.clone(), peer: to.clone() };
            hub.carry(me, &to, message);
        }
    }

    fn broadcast(&self, _class: Class, message: Bytes) {
        let mut hub = lock(&self.hub);
        if hub.holds(self) && fits(&message) {
            let others: Vec<At> = hub.reachable(&self.at).map(|(at, _)| at.clone()).collect();
            for other in &others {
                hub.carry(&self.at.peer, other, message.clone());
            }
        }
    }

    fn has_room_for(&self, to: &Peer, _bytes: usize) -> bool {
        let (hub, me) = (lock(&self.hub), &self.at.peer.node);
        !hub.full.contains(me) && !hub.full_links.contains(&(me.clone(), to.node.clone()))
    }

    fn was_read(&self, bytes: usize) {
        self.unread.fetch_sub(bytes, Relaxed);
    }

    fn endpoints(&self) -> Vec<String> {
        vec![endpoint(&self.at.peer)]
    }

    async fn dial(&self, to: &str) -> Dialed {
        let hub = lock(&self.hub);
        let Some(id) = to.strip_prefix("memory/").and_then(|rest| rest.rsplit_once('#')).map(|(id, _)| id) else {
            return Dialed::Unreachable;
        };
        if hub.cuts.contains(&pair(id, &self.at.peer.node)) || !hub.holds(self) {
            return Dialed::Unreachable;
        }
        let answers = hub.nodes.keys().any(|at| at.cluster == self.at.cluster && endpoint(&at.peer) == to);
        if answers { Dialed::Answered } else { Dialed::Refused }
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
