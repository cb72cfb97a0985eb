//! A link that is gone for one of its sides only, or that carries nothing.

use std::future::pending;

use tokio::io::{copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::keys::Sign;
use super::*;

/// What becomes of links through a [`Relay`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// None comes about.
    Closed,
    /// All passes.
    Open,
    /// The side that was dialled sees its end; the one that dialled does not.
    Half,
    /// Both stay, and nothing passes.
    Stalled,
}

/// A port before an endpoint.
struct Relay {
    endpoint: String,
    way: watch::Sender<Way>,
    _links: JoinSet<()>,
}

impl Relay {
    async fn new(to: &str, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = format!("tcp/{}", listener.local_addr().expect("it is bound"));
        let to = to.trim_start_matches("tcp/").to_owned();
        let way = watch::Sender::new(way);
        let (mut links, ways) = (JoinSet::new(), way.subscribe());
        links.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((dialer, _)) = listener.accept().await {
                if *ways.borrow() == Way::Open
                    && let Ok(dialed) = TcpStream::connect(&to).await
                {
                    open.spawn(pass(dialer, dialed, ways.clone()));
                }
            }
        });
        Self { endpoint, way, _links: links }
    }
}

async fn pass(mut dialer: TcpStream, mut dialed: TcpStream, mut way: watch::Receiver<Way>) {
    let stalled = tokio::select! {
        _ = copy_bidirectional(&mut dialer, &mut dialed) => return,
        way = way.wait_for(|way| matches!(way, Way::Half | Way::Stalled)) => way.is_ok_and(|way| *way == Way::Stalled),
    };
    if stalled {
        return pending().await;
    }
    drop(dialed);
    let _ = copy(&mut dialer, &mut sink()).await;
}

/// A node without gossip, which would tell the way around a relay.
async fn open(id: &str, listen: &str, connect: &Relay) -> Node {
    open_with("", id, listen, std::slice::from_ref(&connect.endpoint)).await
}

/// The same with more settings of zenoh's.
async fn open_with(more: &str, id: &str, listen: &str, connect: &[String]) -> Node {
    let config = format!("{{scouting: {{multicast: {{enabled: false}}, gossip: {{enabled: false}}}}{more}}}");
    let config = zenoh::Config::from_json5(&config);
    let options = options("half", id, listen, connect);
    let (events, received) = unbounded_channel();
    let options = ZenohOptions { config: Some(config.expect("valid")), ..options };
    let transport = ZenohTransport::open(options, events).await.expect("it opens");
    Node { me: peer(id), transport, events: received }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_did_not_notice_that_its_link_was_lost_is_seen_again_and_goes_when_it_goes() {
    let ports = reserve(&["tcp/127.0.0.1:0".into(), "tcp/127.0.0.1:0".into()]).await.expect("free ports");
    let [at_a, at_c] = ports.endpoints() else { panic!("two") };
    let (to_a, to_c) = (Relay::new(at_a, Way::Open).await, Relay::new(at_c, Way::Closed).await);
    let mut a = open("a", at_a, &to_c).await;
    let mut c = open("c", at_c, &to_a).await;
    a.until(&TransportEvent::LinkUp(c.me.clone())).await;
    c.until(&TransportEvent::LinkUp(a.me.clone())).await;
    let way_around = Relay::new(at_a, Way::Open).await;
    let mut b = open("b", "tcp/127.0.0.1:0", &way_around).await;
    b.until(&TransportEvent::LinkUp(a.me.clone())).await;
    let (me, at) = (a.me.clone(), at_a.clone());
    let third = tokio::spawn(async move {
        b.until(&TransportEvent::LinkDown(me.clone())).await;
        assert_eq!(b.transport.dial(&at).await, Dialed::Answered);
        b.until(&TransportEvent::LinkUp(me)).await;
        b
    });
    to_a.way.send_replace(Way::Half);
    a.until(&TransportEvent::LinkDown(c.me.clone())).await;
    // It dials within a second; the other side notices after a lease of two, and takes this for a second link until then.
    to_c.way.send_replace(Way::Open);
    a.until(&TransportEvent::LinkUp(c.me.clone())).await;
    a.transport.send(&c.me, Class::Important, text("there"));
    assert_eq!(c.message().await, text("there"));
    let _b = third.await.expect("it was answered, and sees it again");
    c.transport.send(&a.me, Class::Important, text("back"));
    assert_eq!(a.message().await, text("back"));
    c.transport.close().await;
    a.until(&TransportEvent::LinkDown(c.me)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stood_still_for_longer_than_its_links_live_opens_its_session_anew_if_it_has_any_left() {
    let mut a = Node::open("still", "a", &[]).await;
    let config = config::base(None, Vec::new(), a.transport.endpoints()).expect("valid");
    let config = config.finish(&[], &a.transport.endpoints()).expect("valid");
    let alone =
        zenoh::open(config::base(None, Vec::new(), Vec::new()).and_then(|base| base.finish(&[], &[])).expect("valid"));
    let (session, alone) = (zenoh::open(config.clone()).await.expect("it opens"), alone.await.expect("it opens"));
    let (me, (queue, _items), (events, _received)) = (peer("b"), queue(), unbounded_channel());
    let signs = Signs::new(&me, &queue, &events);
    let receiver = Receiver { keys: Keys::new("still"), me: me.clone(), queue, events, signs };
    let open = receiver.declare(session.clone()).await.expect("it declares");
    a.until(&TransportEvent::LinkUp(me.clone())).await;
    let (late, moment) = (Duration::from_secs(2), Duration::from_millis(1_900));
    let mut reopening = Reopening::new(Handle::current(), config);
    let (open, receiver) = tokio::task::spawn_blocking(move || {
        assert!(reopening.look(&session, &receiver, moment).is_none(), "its links live");
        assert!(reopening.look(&alone, &receiver, late).is_none(), "there is nothing to be cured");
        let why = reopening.look(&session, &receiver, late).expect("the others have given up its links");
        let open = reopening.reopen(open, &receiver, &why).expect("it goes on");
        assert!(reopening.look(&session, &receiver, late).is_none(), "not again so soon");
        (open, receiver)
    })
    .await
    .expect("no panic");
    a.until(&TransportEvent::LinkUp(me)).await;
    let ended = tokio::task::spawn_blocking(move || open.say_that_it_ends(&receiver, Sign::Ends).close());
    ended.await.expect("no panic");
}

/// Links that are given up later than anybody here waits.
const PATIENT: &str =
    ", transport: {link: {tx: {lease: 120000, queue: {congestion_control: {block: {wait_before_close: 120000000}}}}}}";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_takes_nothing_holds_up_nothing_that_goes_to_another() {
    let listen = "tcp/127.0.0.1:0";
    let mut b = open_with(PATIENT, "b", listen, &[]).await;
    let mut c = open_with(PATIENT, "c", listen, &[]).await;
    let to_b = Relay::new(&b.transport.endpoints()[0], Way::Open).await;
    let connect = [std::slice::from_ref(&to_b.endpoint), &c.transport.endpoints()].concat();
    let mut a = open_with(PATIENT, "a", listen, &connect).await;
    let mut missing = std::collections::BTreeSet::from([b.me.clone(), c.me.clone()]);
    while !missing.is_empty() {
        if let TransportEvent::LinkUp(peer) = a.next().await {
            missing.remove(&peer);
        }
    }
    b.until(&TransportEvent::LinkUp(a.me.clone())).await;
    c.until(&TransportEvent::LinkUp(a.me.clone())).await;
    to_b.way.send_replace(Way::Stalled);
    // More than a link holds.
    for _ in 0..64 {
        a.transport.send(&b.me, Class::Important, Bytes::from(vec![7; 1 << 20]));
    }
    for n in 0..100 {
        a.transport.send(&c.me, Class::Important, text(n));
        a.transport.broadcast(Class::Important, text("to all"));
        assert_eq!(c.message().await, text(n));
        assert_eq!(c.message().await, text("to all"));
    }
    assert!(a.transport.queue.shared.queued_bytes() > 8 << 20, "that node takes nothing");
    assert!(a.events.try_recv().is_err(), "its link is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_once_waits_for_nothing_where_a_node_takes_nothing() {
    let listen = "tcp/127.0.0.1:0";
    let mut b = open_with(PATIENT, "b", listen, &[]).await;
    let to_b = Relay::new(&b.transport.endpoints()[0], Way::Open).await;
    let mut a = open_with(PATIENT, "a", listen, std::slice::from_ref(&to_b.endpoint)).await;
    a.until(&TransportEvent::LinkUp(b.me.clone())).await;
    b.until(&TransportEvent::LinkUp(a.me.clone())).await;
    a.transport.send(&b.me, Class::Important, text("the first makes the key known"));
    b.message().await;
    to_b.way.send_replace(Way::Stalled);
    for _ in 0..64 {
        a.transport.send(&b.me, Class::Important, Bytes::from(vec![7; 1 << 20]));
    }
    // The thread that puts is held up when it has not got on for a while.
    let left = || a.transport.queue.shared.queued_bytes();
    let mut before = usize::MAX;
    while std::mem::replace(&mut before, left()) != left() {
        sleep(Duration::from_secs(2)).await;
    }
    assert!(a.transport.queue.shared.queued_bytes() > 8 << 20, "that node takes nothing");
    // As long as any, and more of them than are on their way at a time.
    let (transport, to) = (a.transport.clone(), b.me.clone());
    let at_once = tokio::task::spawn_blocking(move || {
        (0..4).filter(|n| transport.send_now(&to, &Bytes::from(vec![*n; 6 << 10]))).count()
    });
    let sent_now = timeout(PATIENCE, at_once).await.expect("it does not wait for the link").expect("no panic");
    assert_eq!(sent_now, 4, "all of them are the link's now");
    assert!(a.events.try_recv().is_err(), "its link is there");
}
