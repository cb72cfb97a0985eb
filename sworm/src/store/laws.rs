//! What every store owes, as tests that any implementation can run.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Batch, MAX_BATCH_BYTES, MAX_KEY_BYTES, MAX_VALUE_BYTES, Space, Store, StoreError, Ticket};

mod crash;
#[cfg(test)]
mod tests;

pub use crash::crash_store_laws;

/// How long what uses the store within a scan may take.
const SCAN_LIMIT: Duration = Duration::from_secs(60);

/// Runs the laws that hold for every store. `fresh` makes an empty store at each call.
///
/// # Panics
///
/// When a law is broken, with a message that names it.
pub async fn store_laws(fresh: &mut dyn FnMut() -> Box<dyn Store>) {
    reads_see_what_was_written(&*fresh());
    batches_apply_in_order(&*fresh());
    spaces_do_not_mix(&*fresh());
    scans_go_by_prefix_in_key_order(&*fresh());
    a_callback_may_use_the_store(fresh(), SCAN_LIMIT);
    what_is_too_large_changes_nothing(&*fresh());
    batches_are_seen_in_the_order_of_the_writes(&*fresh());
    tickets_rise_and_syncs_return(&*fresh()).await;
    a_closed_store_refuses_or_has_nothing_to_close(&*fresh()).await;
}

/// Runs the laws for a store that outlives its process. `open` opens the same place, empty at first, at each call.
///
/// # Panics
///
/// When a law is broken, with a message that names it.
pub async fn durable_store_laws(open: &mut dyn FnMut() -> Box<dyn Store>) {
    let store = open();
    write(&*store, &[("a", Some("1")), ("b", Some("2")), ("gone", Some("3"))]);
    let ticket = write(&*store, &[("gone", None), ("b", Some("4"))]);
    store.sync(ticket).await.expect("a sync works");
    drop(store);

    let store = open();
    assert_eq!(
        all(&*store, Space::Meta, b""),
        pairs(&[("a", "1"), ("b", "4")]),
        "what was synced is there after a drop"
    );
    write(&*store, &[("c", Some("5"))]);
    store.close().await.expect("a close works");

    // The closed store is still alive: closing is enough to let go of the place.
    let again = open();
    assert_eq!(get(&*again, "c").as_deref(), Some("5"), "what was written is there after a close");
    write(&*again, &[("d", Some("6"))]);
    drop(again);
    drop(store);
    let store = open();
    assert_eq!(get(&*store, "d").as_deref(), Some("6"), "a drop syncs what was written");
    what_was_refused_is_not_there_later(store, open).await;
}

/// A write that has failed has done nothing: then, and in each later life.
async fn what_was_refused_is_not_there_later(store: Box<dyn Store>, open: &mut dyn FnMut() -> Box<dyn Store>) {
    let before = all(&*store, Space::Meta, b"");
    let mut large = Batch::new();
    large.put(Space::Meta, "refused", "1").put(Space::Meta, "a", vec![1; MAX_VALUE_BYTES + 1]);
    assert!(store.write(large).is_err(), "too large a value is refused");
    let ticket = write(&*store, &[]);
    store.sync(ticket).await.expect("a sync works");
    store.close().await.expect("a close works");
    let mut late = Batch::new();
    late.put(Space::Meta, "late", "1").delete(Space::Meta, "a");
    assert_eq!(store.write(late), Err(StoreError::Closed), "a closed store takes nothing");
    drop(store);
    assert_eq!(all(&*open(), Space::Meta, b""), before, "what was refused is not there in a later life");
}

fn reads_see_what_was_written(store: &dyn Store) {
    assert_eq!(get(store, "k"), None, "an empty store has no values");
    write(store, &[("k", Some("1"))]);
    assert_eq!(get(store, "k").as_deref(), Some("1"), "a read sees the write before it");
    write(store, &[("k", Some("2"))]);
    assert_eq!(get(store, "k").as_deref(), Some("2"), "a put replaces");
    write(store, &[("k", None), ("absent", None)]);
    assert_eq!(get(store, "k"), None, "a delete takes the value away");
    write(store, &[("", Some("empty key")), ("empty value", Some(""))]);
    assert_eq!(get(store, "").as_deref(), Some("empty key"), "an empty key is a key");
    assert_eq!(get(store, "empty value").as_deref(), Some(""), "an empty value is a value");
    for round in 0..1000 {
        write(store, &[("n", Some(&round.to_string()))]);
        assert_eq!(get(store, "n"), Some(round.to_string()), "each read sees the write before it");
    }
}

fn batches_apply_in_order(store: &dyn Store) {
    write(store, &[("k", Some("1")), ("k", None), ("k", Some("2"))]);
    assert_eq!(get(store, "k").as_deref(), Some("2"), "the last step for a key counts");
    write(store, &[("k", Some("3")), ("k", None)]);
    assert_eq!(get(store, "k"), None, "the last step for a key counts, a delete too");
    write(store, &[]);
}

fn spaces_do_not_mix(store: &dyn Store) {
    let spaces = [Space::Meta, Space::Lanes, Space::Snapshots];
    let mut batch = Batch::new();
    for space in spaces {
        batch.put(space, "k", format!("{space:?}")).put(space, [0xff; 3], "last");
    }
    store.write(batch).expect("a write works");
    for space in spaces {
        let found = store.get(space, b"k").expect("a read works");
        assert_eq!(found, Some(format!("{space:?}").into()), "a space has its own keys");
        assert_eq!(all(store, space, b"").len(), 2, "a scan stays in its space");
    }
    let mut batch = Batch::new();
    batch.delete(Space::Lanes, "k");
    store.write(batch).expect("a write works");
    assert_eq!(all(store, Space::Meta, b"").len(), 2, "a delete stays in its space");
    assert_eq!(all(store, Space::Lanes, b"").len(), 1, "a delete works in every space");
}

fn scans_go_by_prefix_in_key_order(store: &dyn Store) {
    let mut batch = Batch::new();
    let keys: [&[u8]; 9] = [b"b", b"a\xff\xff", b"a", b"ab", b"a\xff", b"", b"a\0", b"\xff\xff", b"\xff"];
    for key in keys {
        batch.put(Space::Lanes, key, key.to_vec());
    }
    store.write(batch).expect("a write works");
    for prefix in [&b""[..], b"a", b"a\xff", b"\xff", b"ab", b"abc", b"c"] {
        let mut expected: Vec<_> = keys.iter().filter(|key| key.starts_with(prefix)).map(|key| key.to_vec()).collect();
        expected.sort();
        let found: Vec<_> = all(store, Space::Lanes, prefix).into_iter().map(|(key, _)| key).collect();
        assert_eq!(found, expected, "a scan of {prefix:?} gives its keys, in order");
    }
    let mut seen = 0;
    let mut each = |_: &[u8], _: &[u8]| {
        seen += 1;
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    store.scan(Space::Lanes, b"", &mut each).expect("a scan works");
    assert_eq!(seen, 3, "a scan ends when it is told to");
}

/// On a thread of its own: a store that locks itself out waits for ever.
fn a_callback_may_use_the_store(store: Box<dyn Store>, limit: Duration) {
    let (sender, receiver) = mpsc::channel();
    let using = thread::spawn(move || {
        use_within_a_scan(&*store);
        // Nobody waits for it any more where this took too long.
        let _ = sender.send(());
    });
    match receiver.recv_timeout(limit) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("a read or write within a scan has not returned in {limit:?}"),
        Err(RecvTimeoutError::Disconnected) => match using.join() {
            Err(panic) => resume_unwind(panic),
            Ok(()) => unreachable!("it says when it has ended well"),
        },
    }
}

fn use_within_a_scan(store: &dyn Store) {
    write(store, &[("a", Some("1")), ("b", Some("2"))]);
    let mut each = |key: &[u8], value: &[u8]| {
        let found = store.get(Space::Meta, key).expect("a read within a scan works");
        assert_eq!(found.as_deref(), Some(value), "a read within a scan sees the same");
        let mut batch = Batch::new();
        batch.put(Space::Lanes, key, "seen");
        store.write(batch).expect("a write within a scan works");
        ControlFlow::Continue(())
    };
    store.scan(Space::Meta, b"", &mut each).expect("a scan works");
    assert_eq!(all(store, Space::Lanes, b"").len(), 2, "a write within a scan happens");
}

fn what_is_too_large_changes_nothing(store: &dyn Store) {
    let mut largest = Batch::new();
    largest.put(Space::Meta, vec![b'k'; MAX_KEY_BYTES], vec![1; MAX_VALUE_BYTES]);
    store.write(largest).expect("the largest key and value are taken");

    let mut value = Batch::new();
    value.put(Space::Meta, "x", "1").put(Space::Meta, "y", vec![1; MAX_VALUE_BYTES + 1]);
    let mut key = Batch::new();
    key.put(Space::Meta, "x", "1").delete(Space::Meta, vec![1; MAX_KEY_BYTES + 1]);
    let mut whole = Batch::new();
    let bytes = Bytes::from(vec![1; MAX_VALUE_BYTES]);
    while whole.bytes() <= MAX_BATCH_BYTES {
        whole.put(Space::Meta, "x", bytes.clone());
    }
    for (batch, what) in [(value, "value"), (key, "key"), (whole, "batch")] {
        let refused = store.write(batch);
        assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "too large a {what} is refused: {refused:?}");
    }
    assert_eq!(all(store, Space::Meta, b"").len(), 1, "of a batch with something too large, nothing is applied");
}

/// Many threads write; whoever reads afterwards finds each batch whole and the last one of each thread.
fn batches_are_seen_in_the_order_of_the_writes(store: &dyn Store) {
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for round in 0..100u8 {
                    let mut batch = Batch::new();
                    batch.put(Space::Meta, [thread, 0], vec![round]).put(Space::Meta, [thread, 1], vec![round]);
                    store.write(batch).expect("a write works");
                    let found = all(store, Space::Meta, &[thread]);
                    let own = |key: u8| (vec![thread, key], vec![round]);
                    assert_eq!(found, [own(0), own(1)], "a thread sees its own batch, whole");
                }
            });
        }
    });
    assert!(
        all(store, Space::Meta, b"").iter().all(|(_, value)| *value == [99]),
        "the last batch of each thread stays"
    );
}

async fn tickets_rise_and_syncs_return(store: &dyn Store) {
    store.sync(Ticket::default()).await.expect("before the first write all is synced");
    let first = write(store, &[("a", Some("1"))]);
    let second = write(store, &[("b", Some("2"))]);
    assert!(Ticket::default() < first && first < second, "tickets rise");
    let (one, two) = futures_util::future::join(store.sync(second), store.sync(first)).await;
    one.and(two).expect("a sync works");
    store.sync(first).await.expect("what is synced stays synced");
}

/// One that keeps the default of [`Store::close`] goes on as before.
async fn a_closed_store_refuses_or_has_nothing_to_close(store: &dyn Store) {
    let ticket = write(store, &[("a", Some("1"))]);
    store.close().await.expect("a close works");
    store.close().await.expect("a second close does nothing");
    if store.write(Batch::new()).is_ok() {
        assert_eq!(get(store, "a").as_deref(), Some("1"), "a store that takes writes after a close has all it had");
        return store.sync(ticket).await.expect("a store that takes writes after a close syncs them");
    }
    let refused = [
        store.write(Batch::new()).map(drop),
        store.sync(ticket).await,
        store.get(Space::Meta, b"a").map(drop),
        store.scan(Space::Meta, b"", &mut |_, _| ControlFlow::Continue(())),
    ];
    assert_eq!(refused, [const { Err(StoreError::Closed) }; 4], "a closed store does nothing");
}

fn write(store: &dyn Store, steps: &[(&str, Option<&str>)]) -> Ticket {
    let mut batch = Batch::new();
    for (key, value) in steps {
        match value {
            Some(value) => batch.put(Space::Meta, key, value.as_bytes().to_vec()),
            None => batch.delete(Space::Meta, key),
        };
    }
    store.write(batch).expect("a write works")
}

fn get(store: &dyn Store, key: &str) -> Option<String> {
    let value = store.get(Space::Meta, key.as_bytes()).expect("a read works");
    value.map(|value| String::from_utf8(value.to_vec()).expect("the laws write text"))
}

fn all(store: &dyn Store, space: Space, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = vec![];
    let mut each = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        ControlFlow::Continue(())
    };
    store.scan(space, prefix, &mut each).expect("a scan works");
    found
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
