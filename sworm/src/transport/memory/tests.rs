//! The laws of the transport, within one process.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::core::ids::Incarnation;

fn peer(id: &str, incarnation: u64) -> Peer {
    Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(incarnation) }
}

fn join(network: &MemoryNetwork, id: &str) -> (Arc<MemoryTransport>, UnboundedReceiver<TransportEvent>) {
    join_of(network, "shop", id)
}

fn join_of(
    network: &MemoryNetwork,
    cluster: &str,
    id: &str,
) -> (Arc<MemoryTransport>, UnboundedReceiver<TransportEvent>) {
    let (events, received) = unbounded_channel();
    (network.connect(cluster, peer(id, 1), events), received)
}

fn all(received: &mut UnboundedReceiver<TransportEvent>) -> Vec<TransportEvent> {
    std::iter::from_fn(|| received.try_recv().ok()).collect()
}

fn up(id: &str) -> TransportEvent {
    TransportEvent::LinkUp(peer(id, 1))
}

fn down(id: &str) -> TransportEvent {
    TransportEvent::LinkDown(peer(id, 1))
}

fn message(text: &'static str) -> TransportEvent {
    TransportEvent::Message(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn clusters_on_one_network_neither_see_nor_disturb_each_other() {
    let network = MemoryNetwork::new();
    let (a, mut at_a) = join(&network, "a");
    let (b, mut at_b) = join(&network, "b");
    let (_c, mut elsewhere_c) = join_of(&network, "other", "c");
    let (_same, mut elsewhere_a) = join_of(&network, "other", "a");
    a.broadcast(Class::Important, Bytes::from_static(b"1"));
    a.send(&peer("c", 1), Class::Important, Bytes::from_static(b"2"));
    network.cut("a", "b");
    drop(b);
    assert_eq!(all(&mut at_a), [up("b"), down("b")]);
    assert_eq!(all(&mut at_b), [up("a"), message("1"), down("a")]);
    assert_eq!(all(&mut elsewhere_c), [up("a")]);
    assert_eq!(all(&mut elsewhere_a), [up("c")]);
    assert_eq!(a.dial(&endpoint(&peer("c", 1))).await, Dialed::Refused);
}

#[test]
fn nodes_see_each_other_and_messages_arrive_in_order_but_not_at_the_sender() {
    let network = MemoryNetwork::new();
    let (a, mut at_a) = join(&network, "a");
    let (_b, mut at_b) = join(&network, "b");
    let (_c, mut at_c) = join(&network, "c");
    assert_eq!(all(&mut at_a), [up("b"), up("c")]);
    assert_eq!(all(&mut at_b), [up("a"), up("c")]);
    assert_eq!(all(&mut at_c), [up("a"), up("b")]);
    a.send(&peer("b", 1), Class::Important, Bytes::from_static(b"1"));
    a.broadcast(Class::Droppable, Bytes::from_static(b"2"));
    a.send(&peer("b", 1), Class::Droppable, Bytes::from_static(b"3"));
    a.send(&peer("a", 1), Class::Important, Bytes::from_static(b"self"));
    a.send(&peer("b", 9), Class::Important, Bytes::from_static(b"another incarnation"));
    assert_eq!(all(&mut at_a), []);
    assert_eq!(all(&mut at_b), [message("1"), message("2"), message("3")]);
    assert_eq!(all(&mut at_c), [message("2")]);
    assert_eq!(network.traffic("a", "b"), Traffic { messages: 3, bytes: 3 });
    assert_eq!(network.traffic("a", "c"), Traffic { messages: 1, bytes: 1 });
    assert_eq!((network.traffic("b", "a"), network.traffic("a", "a")), (Traffic::default(), Traffic::default()));
}

#[tokio::test]
async fn a_cut_link_carries_nothing_until_it_is_healed() {
    let network = MemoryNetwork::new();
    let (a, mut at_a) = join(&network, "a");
    let (b, mut at_b) = join(&network, "b");
    let (_c, mut at_c) = join(&network, "c");
    for events in [&mut at_a, &mut at_b, &mut at_c] {
        all(events);
    }
    network.cut("b", "a");
    network.cut("a", "b");
    a.broadcast(Class::Important, Bytes::from_static(b"lost"));
    b.send(&peer("a", 1), Class::Important, Bytes::from_static(b"lost"));
    assert_eq!(a.dial(&b.endpoints()[0]).await, Dialed::Unreachable);
    assert_eq!(all(&mut at_a), [down("b")]);
    assert_eq!(all(&mut at_b), [down("a")]);
    assert_eq!(all(&mut at_c), [message("lost")]);
    network.heal("a", "b");
    a.broadcast(Class::Important, Bytes::from_static(b"kept"));
    assert_eq!(all(&mut at_a), [up("b")]);
    assert_eq!(all(&mut at_b), [up("a"), message("kept")]);
}

#[tokio::test]
async fn a_closed_or_dropped_node_is_gone_for_the_others() {
    let network = MemoryNetwork::new();
    let (a, mut at_a) = join(&network, "a");
    let (b, _at_b) = join(&network, "b");
    let (c, _at_c) = join(&network, "c");
    all(&mut at_a);
    assert_eq!(a.dial(&b.endpoints()[0]).await, Dialed::Answered);
    b.close().await;
    b.broadcast(Class::Important, Bytes::from_static(b"after the end"));
    assert_eq!(a.dial(&b.endpoints()[0]).await, Dialed::Refused);
    assert_eq!(a.dial("tcp/127.0.0.1:1").await, Dialed::Unreachable);
    drop(c);
    assert_eq!(all(&mut at_a), [down("b"), down("c")]);
    drop(b);
    assert_eq!(all(&mut at_a), []);
}

#[test]
fn a_peer_that_connects_again_is_not_ended_by_its_former_connection() {
    let network = MemoryNetwork::new();
    let (_a, mut at_a) = join(&network, "a");
    let (former, _) = join(&network, "b");
    let (_b, _at_b) = join(&network, "b");
    drop(former);
    assert_eq!(all(&mut at_a), [up("b"), down("b"), up("b")]);
}

#[test]
fn messages_before_a_link_that_is_held_up_wait_in_order_until_they_are_let_through() {
    let network = MemoryNetwork::new();
    let (a, _at_a) = join(&network, "a");
    let (b, mut at_b) = join(&network, "b");
    all(&mut at_b);
    network.hold("a", "b");
    for text in ["1", "22", "333"] {
        a.send(&peer("b", 1), Class::Important, Bytes::from_static(text.as_bytes()));
    }
    b.send(&peer("a", 1), Class::Important, Bytes::from_static(b"the other way"));
    assert_eq!((network.held("a", "b"), network.held("b", "a")), (vec![1, 2, 3], vec![]));
    network.let_through("a", "b");
    assert_eq!(all(&mut at_b), [message("1")]);
    network.release("a", "b");
    a.send(&peer("b", 1), Class::Important, Bytes::from_static(b"4"));
    assert_eq!(all(&mut at_b), [message("22"), message("333"), message("4")]);
}
