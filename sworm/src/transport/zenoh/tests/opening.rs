//! What opening a transport refuses, and what it leaves out.

use tokio::net::TcpListener;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_by_name() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("tcp/{}", taken.local_addr().expect("it is bound"));
    let (events, _received) = unbounded_channel();
    let error = ZenohTransport::open(options("port", "a", &endpoint, &[]), events.clone()).await.err();
    assert_eq!(error, Some(TransportError::PortInUse { endpoint }));

    let b = Node::open("port", "b", &[]).await;
    let endpoint = b.transport.endpoints()[0].clone();
    let error = ZenohTransport::open(options("port", "a", &endpoint, &[]), events).await.err();
    assert_eq!(error, Some(TransportError::PortInUse { endpoint }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_endpoint_is_refused_by_name() {
    for (bad, says) in [
        ("", "no protocol; write tcp/host:port"),
        ("127.0.0.1:1", "no protocol; write tcp/host:port"),
        ("tcp/127.0.0.1", "no port"),
        ("tcp/a:b", "none from 0 to 65535"),
        ("tcp/127.0.0.1:99999", "none from 0 to 65535"),
        ("tcp/:1", "no host"),
        ("tcp/\":1", "quotes"),
        ("tcp/198.51.100.1:0", "no address of this machine"),
        ("udp/127.0.0.1:0", "over tcp, tls or ws, not over \"udp\""),
    ] {
        let (events, _received) = unbounded_channel();
        match ZenohTransport::open(options("bad", "a", bad, &[]), events).await.err() {
            Some(TransportError::BadEndpoint { endpoint, why }) => {
                assert!(endpoint == bad && why.contains(says), "{bad}: {why}");
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_advertised_stands_for_where_the_node_listens_and_must_be_an_endpoint() {
    let (events, _received) = unbounded_channel();
    let advertising = |what: &str| ZenohOptions {
        advertise: vec![what.into()],
        ..options("advertised", "a", "tcp/127.0.0.1:0", &[])
    };
    let open = ZenohTransport::open(advertising("tcp/shop.example:7447"), events.clone()).await.expect("it opens");
    assert_eq!(open.endpoints(), ["tcp/shop.example:7447"]);
    let error = ZenohTransport::open(advertising("shop.example"), events).await.err();
    assert!(
        matches!(&error, Some(TransportError::BadEndpoint { endpoint, .. }) if endpoint == "shop.example"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_may_not_be_blocked_opens_sessions_too() {
    let sessions = async {
        let a = Node::open("local", "a", &[]).await;
        let seen = probe("local", a.transport.endpoints()).await.expect("it answers");
        assert_eq!(Vec::from_iter(seen), a.transport.endpoints());
        Node::open("local", "b", &a.transport.endpoints()).await.transport.close().await;
        a.transport.close().await;
    };
    tokio::task::LocalSet::new().run_until(sessions).await;
}

#[tokio::test]
async fn a_current_thread_runtime_is_refused() {
    let (events, _received) = unbounded_channel();
    let error = ZenohTransport::open(options("runtime", "a", "tcp/127.0.0.1:0", &[]), events).await.err();
    assert_eq!(error, Some(TransportError::CurrentThreadRuntime));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_and_repeated_endpoints_are_not_connected_to() {
    let reserved = reserve(&["tcp/0.0.0.0:0".into()]).await.expect("a free port");
    let port = reserved.endpoints()[0].rsplit_once(':').expect("a port").1.to_owned();
    let connect: Vec<String> = [
        "127.0.0.1:PORT",
        "localhost:PORT",
        "127.0.0.2:PORT",
        "198.51.100.1:PORT",
        "127.0.0.1:1",
        "127.0.0.1:1",
        "[::1]:1",
    ]
    .map(|address| format!("tcp/{}", address.replace("PORT", &port)))
    .into();
    let others = reserved.others(&connect).await.expect("endpoints");
    assert_eq!(others.iter().filter(|other| other.contains("127.0.0")).count(), 1, "{others:?}");
    assert!(others.contains(&format!("tcp/198.51.100.1:{port}")) && others.contains(&"tcp/[::1]:1".into()));
    let dialable = reserved.dialable();
    assert!(!dialable[0].contains("0.0.0.0") && dialable[0].ends_with(&port), "{dialable:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_want_one_port_at_once_one_gets_it() {
    let at = reserve(&["tcp/127.0.0.1:0".into()]).await.expect("a free port").endpoints()[0].clone();
    let open = |id| {
        let (events, _received) = unbounded_channel();
        ZenohTransport::open(options("race", id, &at, &[]), events)
    };
    let refused = match tokio::join!(open("a"), open("b")) {
        (Ok(_got), Err(refused)) | (Err(refused), Ok(_got)) => refused,
        (a, b) => panic!("{:?} and {:?}", a.err(), b.err()),
    };
    assert_eq!(refused, TransportError::PortInUse { endpoint: at });
}
