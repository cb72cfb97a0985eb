//! How many bytes of large messages of other nodes one mailbox holds: it is bounded by their number, and by this.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::mailbox::RemoteParcel;

/// Larger messages are counted. Of smaller ones a mailbox holds few bytes for each message that it has room for.
const HEAVY_BYTES: usize = 16 << 10;
/// What is counted together.
const UNIT_BYTES: usize = 1 << 10;
/// With how many bytes they wait in one mailbox: twice the largest message.
const MAX_BYTES: usize = 32 << 20;

/// What there is room for in a mailbox; nothing is allocated before the first large message comes.
#[derive(Default)]
pub(crate) struct Heavy(OnceLock<Arc<Semaphore>>);

/// The room that a message takes until it is handled, or leaves its mailbox otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Heavy {
    /// Gives a message the room that it takes; whether there is any.
    pub(crate) fn takes(&self, parcel: &mut RemoteParcel) -> bool {
        let Some(units) = units(parcel) else { return true };
        match self.room().clone().try_acquire_many_owned(units) {
            Ok(permit) => {
                parcel.load = Some(Load { _permit: Arc::new(permit) });
                true
            }
            Err(_) => false,
        }
    }

    /// The same, as soon as there is.
    pub(crate) async fn takes_later(&self, parcel: &mut RemoteParcel) {
        let Some(units) = units(parcel) else { return };
        if let Ok(permit) = self.room().clone().acquire_many_owned(units).await {
            parcel.load = Some(Load { _permit: Arc::new(permit) });
        }
    }

    fn room(&self) -> &Arc<Semaphore> {
        self.0.get_or_init(|| Arc::new(Semaphore::new(MAX_BYTES / UNIT_BYTES)))
    }
}

/// What a message counts, if it is large and has no room yet.
fn units(parcel: &RemoteParcel) -> Option<u32> {
    let bytes = parcel.payload.len();
    let counts = bytes > HEAVY_BYTES && parcel.load.is_none();
    counts.then(|| u32::try_from(bytes.min(MAX_BYTES).div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX))
}
