//! Holds everything in memory: for tests, and for nodes that keep nothing.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Batch, Space, Store, StoreError, Ticket};

/// A store that lasts as long as its value. A sync is immediate and promises nothing beyond that.
///
/// ```
/// use sworm::store::{Batch, MemoryStore, Space, Store};
///
/// let store = MemoryStore::new();
/// let mut batch = Batch::new();
/// batch.put(Space::Meta, "color", "green");
/// store.write(batch)?;
/// assert_eq!(store.get(Space::Meta, b"color")?.as_deref(), Some(&b"green"[..]));
/// # Ok::<(), sworm::store::StoreError>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    volatile: bool,
}

#[derive(Debug, Default)]
struct State {
    values: BTreeMap<(Space, Bytes), Bytes>,
    written: Ticket,
    closed: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty store that no node will ever open again.
    pub(crate) fn volatile() -> Self {
        Self { volatile: true, ..Self::default() }
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }
}

impl Store for MemoryStore {
    fn write(&self, batch: Batch) -> Result<Ticket, StoreError> {
        batch.check()?;
        let mut state = self.open()?;
        for op in batch.ops {
            match op.value {
                Some(value) => state.values.insert((op.space, op.key), value),
                None => state.values.remove(&(op.space, op.key)),
            };
        }
        state.written.0 += 1;
        Ok(state.written)
    }

    fn sync(&self, _upto: Ticket) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(std::future::ready(self.open().map(drop)))
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.open()?.values.get(&(space, Bytes::copy_from_slice(key))).cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        // One step at a time, so that `each` may use the store, and a scan that breaks early copies nothing.
        let mut from = Bound::Included((space, Bytes::copy_from_slice(prefix)));
        loop {
            let next = {
                let state = self.open()?;
                state.values.range((from, Bound::Unbounded)).next().map(|(key, value)| (key.clone(), value.clone()))
            };
            match next {
                Some((key, value)) if key.0 == space && key.1.starts_with(prefix) => {
                    if each(&key.1, &value).is_break() {
                        return Ok(());
                    }
                    from = Bound::Excluded(key);
                }
                _ => return Ok(()),
            }
        }
    }

    fn is_volatile(&self) -> bool {
        self.volatile
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_laws() {
        crate::store::store_laws(&mut || Box::new(MemoryStore::new())).await;
    }
}
