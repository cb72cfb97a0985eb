//! What a handler casts, held back until the state that it shows is durable.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

tokio::task_local! {
    static OUTBOX: Arc<Outbox>;
}

type Held = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What waits, in order.
#[derive(Default)]
pub(crate) struct Outbox(Mutex<Vec<Held>>);

impl Outbox {
    /// Runs a handler; what it casts is held back.
    pub(super) fn hold<F: Future>(self: &Arc<Self>, handler: F) -> impl Future<Output = F::Output> {
        OUTBOX.scope(self.clone(), handler)
    }

    /// Holds this back.
    pub(crate) fn push(&self, send: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static) {
        self.held().push(Box::new(send));
    }

    /// Sends what waits, one after the other.
    pub(super) async fn send(&self) {
        let held = std::mem::take(&mut *self.held());
        for send in held {
            send().await;
        }
    }

    /// Forgets what waits: the state that it shows is lost.
    pub(super) fn clear(&self) {
        self.held().clear();
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The outbox of the handler that runs in the present task, if what it casts is to be held back.
pub(crate) fn present() -> Option<Arc<Outbox>> {
    OUTBOX.try_with(Arc::clone).ok()
}
