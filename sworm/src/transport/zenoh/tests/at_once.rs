//! What is put on its caller's thread, and what is taken on the thread that brings it.

use std::sync::Mutex;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_put_at_once_where_its_key_is_known_and_it_is_short() {
    let (mut a, mut b) = Node::pair("at once").await;
    let (now, long) = (text("now"), Bytes::from(vec![7; 10_000]));
    assert!(!a.transport.send_now(&b.me, &now), "nothing was sent there yet");
    a.transport.send(&b.me, Class::Important, text("before"));
    assert_eq!(b.message().await, text("before"));
    assert!(a.transport.send_now(&b.me, &now));
    assert_eq!(b.message().await, now);
    assert!(!a.transport.send_now(&b.me, &long), "it could have to wait");
    assert!(!a.transport.send_now(&peer("nobody"), &now));
    // What is refused was not sent.
    a.transport.send(&b.me, Class::Important, text("after"));
    assert_eq!(b.message().await, text("after"));
    a.transport.close().await;
    assert!(!a.transport.send_now(&b.me, &now), "the session is closed");
    b.until(&TransportEvent::LinkDown(a.me.clone())).await;
    assert_eq!(a.events.try_recv().ok(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shortcut_takes_is_no_event() {
    let (a, mut b) = Node::pair("shortcut").await;
    let taken = Arc::new(Mutex::new(Vec::new()));
    let take = taken.clone();
    b.transport.shortcut(Box::new(move |message| {
        let takes = message.starts_with(b"take");
        if takes {
            take.lock().expect("no panic").push(message.clone());
        }
        takes
    }));
    for message in ["take 1", "leave", "take 2", "end"] {
        a.transport.send(&b.me, Class::Important, text(message));
    }
    assert_eq!(b.message().await, text("leave"));
    assert_eq!(b.message().await, text("end"));
    assert_eq!(*taken.lock().expect("no panic"), [text("take 1"), text("take 2")]);
}
