use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::*;

/// A map behind a lock, with nothing but what a store must have.
#[derive(Default)]
struct Plain {
    state: Mutex<State>,
    /// Whether a scan keeps the lock while it calls.
    locks: bool,
    /// Whether it loses what it has when it is closed, and goes on.
    loses: bool,
}

#[derive(Clone, Default)]
struct State {
    values: BTreeMap<Vec<u8>, Bytes>,
    written: Ticket,
}

impl Plain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics within")
    }
}

impl Store for Plain {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        batch.check()?;
        let mut state = self.state();
        for op in batch.ops() {
            match &op.value {
                Some(value) => state.values.insert(op.space.key(&op.key), value.clone()),
                None => state.values.remove(&op.space.key(&op.key)),
            };
        }
        state.written.0 += 1;
        Ok(state.written)
    }

    fn sync(&self, _: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(ready(Ok(())))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().values.get(&space.key(key)).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let state = self.state();
        let copy = state.clone();
        let _locked = self.locks.then_some(state);
        let prefix = space.key(prefix);
        for (key, value) in copy.values.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            if each(&key[1..], value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        if self.loses {
            self.state().values.clear();
        }
        Box::pin(ready(Ok(())))
    }
}

fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .expect("text")
}

#[tokio::test]
async fn a_map_with_what_a_store_must_have_and_no_more_keeps_the_laws() {
    store_laws(&mut || Box::new(Plain::default())).await;
}

#[test]
fn a_store_that_locks_itself_out_within_a_scan_is_told_so() {
    let store = Box::new(Plain { locks: true, ..Plain::default() });
    let broken = catch_unwind(|| a_callback_may_use_the_store(store, Duration::from_millis(500)));
    assert!(said(broken.expect_err("it waits for ever")).contains("within a scan has not returned"));
}

#[tokio::test]
async fn a_store_that_goes_on_after_a_close_must_have_what_it_had() {
    let store = Plain { loses: true, ..Plain::default() };
    let broken = AssertUnwindSafe(a_closed_store_refuses_or_has_nothing_to_close(&store)).catch_unwind().await;
    assert!(said(broken.expect_err("it has lost all")).contains("has all it had"));
}
