//! What arrives where, in which order.

use zenoh::Wait;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_and_broadcast_arrives_in_order_and_not_at_the_sender() {
    let (mut a, mut b) = Node::pair("order").await;
    let mut c = Node::open("order", "c", &[a.transport.endpoints(), b.transport.endpoints()].concat()).await;
    a.until(&TransportEvent::LinkUp(c.me.clone())).await;
    c.until(&TransportEvent::LinkUp(a.me.clone())).await;
    for n in 0..300 {
        match n % 3 {
            0 => a.transport.send(&b.me, Class::Important, text(n)),
            1 => a.transport.broadcast(Class::Important, text(n)),
            _ => a.transport.send(&c.me, Class::Important, text(n)),
        }
    }
    a.transport.send(&a.me, Class::Important, text("to itself"));
    for n in (0..300).filter(|n| n % 3 != 2) {
        assert_eq!(b.message().await, text(n));
    }
    for n in (0..300).filter(|n| n % 3 != 0) {
        assert_eq!(c.message().await, text(n));
    }
    // What comes back to `a` is the next thing that it receives.
    b.transport.send(&a.me, Class::Droppable, text("back"));
    assert_eq!(a.message().await, text("back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_arrives_whole_in_far_fewer_packets() {
    const MESSAGES: usize = 10_000;
    let (a, mut b) = Node::pair("burst").await;
    // Who sends may be interrupted after each message, which then goes alone; but not in every round.
    let mut rounds = Vec::new();
    while rounds.len() < 20 {
        let before = a.transport.counters().packets_sent.load(Relaxed);
        for n in 0..MESSAGES {
            a.transport.send(&b.me, Class::Important, text(n));
        }
        for n in 0..MESSAGES {
            assert_eq!(b.message().await, text(n));
        }
        let packets = a.transport.counters().packets_sent.load(Relaxed) - before;
        if packets < MESSAGES as u64 / 10 {
            return;
        }
        rounds.push(packets);
    }
    panic!("{rounds:?} packets");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_messages_arrive() {
    let (a, mut b) = Node::pair("long").await;
    let long = Bytes::from((0..3 << 20).map(|n: usize| (n % 251) as u8).collect::<Vec<_>>());
    a.transport.send(&b.me, Class::Important, long.clone());
    a.transport.broadcast(Class::Important, Bytes::new());
    assert!(b.message().await == long);
    assert!(b.message().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_with_other_names_do_not_hear_each_other_on_linked_sessions() {
    let (mut a, b) = Node::pair("one").await;
    let everybody = [a.transport.endpoints(), b.transport.endpoints()].concat();
    let mut stranger = Node::open("two", "stranger", &everybody).await;
    let mut friend = Node::open("two", "friend", &[everybody, stranger.transport.endpoints()].concat()).await;
    stranger.until(&TransportEvent::LinkUp(friend.me.clone())).await;
    friend.until(&TransportEvent::LinkUp(stranger.me.clone())).await;
    // The sessions are linked: an endpoint answers, and a session of no cluster at all would hear both.
    stranger.transport.broadcast(Class::Important, text("for friends"));
    stranger.transport.send(&a.me, Class::Important, text("for nobody"));
    assert_eq!(friend.message().await, text("for friends"));
    b.transport.broadcast(Class::Important, text("from one"));
    assert_eq!(a.next().await, TransportEvent::Message(text("from one")));
    assert!(stranger.events.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_packets_are_counted_and_dropped() {
    let mut a = Node::open("malformed", "a", &[]).await;
    let base = config::base(None, Vec::new(), a.transport.endpoints()).expect("valid");
    let connect = base.connect.clone();
    let intruder = zenoh::open(base.finish(&[], &connect).expect("valid")).await.expect("it opens");
    let keys = Keys::new("malformed");
    let token =
        intruder.liveliness().declare_token(keys.sign(keys::Sign::Lives, &peer("x"), "1")).await.expect("a token");
    a.until(&TransportEvent::LinkUp(peer("x"))).await;
    let strange = keys.sign(keys::Sign::Lives, &peer("x"), "1").replace("live/1/", "live/1/zz");
    let strange = intruder.liveliness().declare_token(strange).await;
    for payload in [&b""[..], b"\x09", b"\x01\xff\xff\xff\xff", b"\x01\0\0\0\x02x", b"{}"] {
        intruder.put(keys.direct(&a.me), payload).wait().expect("put");
    }
    intruder.put(keys.direct(&a.me), &b"\x01\0\0\0\x02ok"[..]).wait().expect("put");
    assert_eq!(a.next().await, TransportEvent::Message(text("ok")));
    assert_eq!(a.transport.counters().packets_malformed.load(Relaxed), 5);
    drop((token, strange));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_connect_to_each_other_receive_everything_once() {
    const MESSAGES: u32 = 2_000;
    let at = reserve(&["tcp/127.0.0.1:0".into(), "tcp/127.0.0.1:0".into()]).await.expect("free ports");
    let [at_a, at_b] = at.endpoints() else { panic!("two were asked for") };
    let nodes = tokio::join!(
        Node::open_at("both", "a", at_a, at.endpoints()),
        Node::open_at("both", "b", at_b, at.endpoints()),
    );
    // Each end speaks as soon as it sees the other, while the second link between them is being made.
    let talk = |mut node: Node, other: &'static str| async move {
        node.until(&TransportEvent::LinkUp(peer(other))).await;
        for n in 0..MESSAGES {
            match n % 2 {
                0 => node.transport.send(&peer(other), Class::Important, text(n)),
                _ => node.transport.broadcast(Class::Important, text(n)),
            }
        }
        for n in 0..MESSAGES {
            assert_eq!(node.message().await, text(n));
        }
        node
    };
    let (a, mut b) = tokio::join!(talk(nodes.0, "b"), talk(nodes.1, "a"));
    a.transport.close().await;
    while let Some(event) = timeout(PATIENCE, b.events.recv()).await.expect("an event in time") {
        match event {
            TransportEvent::LinkDown(_) => break,
            TransportEvent::LinkUp(_) => {}
            TransportEvent::Message(message) => panic!("once more: {message:?}"),
            TransportEvent::Reopens(peer) => panic!("nothing is wrong with {peer}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_does_not_take_in_time_is_dropped_beyond_a_limit_and_taken_again_below_it() {
    let (a, mut b) = Node::pair("unread").await;
    b.transport.queue.shared.limit_unread(10_000);
    let unread = || b.transport.counters().messages_unread.load(Relaxed);
    // The last of them is dropped, so that all before it have come.
    let ended = async {
        loop {
            a.transport.send(&b.me, Class::Important, Bytes::from(vec![7; 3_000]));
            if unread() > 0 {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("there is a limit");
    for _ in 0..3 {
        let message = b.message().await;
        b.transport.was_read(message.len());
    }
    a.transport.send(&b.me, Class::Important, text("again"));
    timeout(PATIENCE, async { while b.message().await != text("again") {} }).await.expect("there is room");
}
