use super::*;
use crate::core::ids::{Incarnation, NodeId, Peer};

fn waiting(message: &str) -> Waiting {
    let from = Peer { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) };
    let parcel = RemoteParcel {
        from,
        number: 1,
        cast: true,
        hops: 0,
        stay: Epoch::default(),
        limit: LIMIT,
        alone: false,
        message: message.into(),
        payload: Bytes::new(),
        load: None,
    };
    Waiting::new(parcel, false)
}

#[test]
fn who_asks_whether_what_came_before_was_passed_on_waits_with_it_however_much_that_is() {
    let (rooms, to) = (Rooms::default(), Addressee { name: "name".into(), since: Epoch::default() });
    let push = |message: &str| rooms.push(&mut rooms.lock(), &to, waiting(message)).is_ok();
    assert!((0..MAX_WAITING).all(|_| push("cast")));
    assert!(!push("cast"));
    assert!(push(FLUSH), "nobody would answer it");
}
