//! Sends on the casts that were not handled where they came to: nobody waits for them, so nobody else would.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::frame::{Call, Frame};
use super::sworm::SwormShared;
use crate::core::Entry;
use crate::core::cell::NameState;
use crate::core::ids::Peer;
use crate::transport::Class;
use crate::worker::mailbox::{AnyMailbox, NotTaken, RemoteParcel};

/// How often a cast is sent on.
const MAX_HOPS: u8 = 3;
/// How long it waits for its worker, each time.
const LIMIT: Duration = Duration::from_secs(30);
/// How soon a name is looked at again, if no change comes first.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Where a cast goes next.
enum Next {
    Here(Arc<dyn AnyMailbox>),
    There(Peer),
    /// Its worker starts, or its node is gone.
    Later,
    Nowhere(&'static str),
}

impl SwormShared {
    /// Sends a cast that came back to where its worker is, as soon as it is somewhere.
    pub(crate) fn forward(self: &Arc<Self>, name: &Arc<str>, mut cast: RemoteParcel) {
        if cast.hops >= MAX_HOPS {
            return self.lost(name, &cast, "its worker moved too often");
        }
        cast.hops += 1;
        self.bring(name, cast);
    }

    /// Brings a cast to its worker; waits for it in the background if need be.
    pub(crate) fn bring(self: &Arc<Self>, name: &Arc<str>, cast: RemoteParcel) {
        // At once where that is possible: a node that leaves sends nothing later.
        let Some(mut cast) = self.pass_on(name, cast) else { return };
        let (shared, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let deadline = Instant::now() + LIMIT;
            while Instant::now() < deadline && !shared.node.has_stopped() {
                let changed = shared.index.changed(&name);
                match shared.pass_on(&name, cast) {
                    Some(back) => cast = back,
                    None => return,
                }
                let _ = timeout(LOOK_AGAIN, changed).await;
            }
            shared.lost(&name, &cast, "its worker did not run in time");
        });
    }

    /// Gives the cast back if it must wait.
    fn pass_on(&self, name: &Arc<str>, cast: RemoteParcel) -> Option<RemoteParcel> {
        match self.next(self.index.get(name).as_ref(), name) {
            Next::Later => return Some(cast),
            Next::Nowhere(why) => self.lost(name, &cast, why),
            Next::There(host) => self.send_on(&host, name, cast),
            Next::Here(mailbox) => match mailbox.deliver(cast) {
                Ok(()) => {}
                Err((cast, NotTaken::Full | NotTaken::Closed)) => return Some(cast),
                Err((cast, NotTaken::Unknown)) => self.lost(name, &cast, "its worker does not know the message"),
            },
        }
        None
    }

    fn next(&self, entry: Option<&Entry>, name: &str) -> Next {
        let Some(entry) = entry else { return Next::Nowhere("nobody has the name") };
        let me = &self.node.me;
        match &entry.cell.state {
            NameState::Failed { .. } => Next::Nowhere("its worker is not started again"),
            NameState::Leaving { to } if **to != *me => Next::There((**to).clone()),
            NameState::Released(release) if release.to != *me => Next::There(release.to.clone()),
            NameState::Running if entry.running && entry.host != *me => Next::There(entry.host.clone()),
            NameState::Running if entry.running => self.mailbox(name).map_or(Next::Later, Next::Here),
            _ => Next::Later,
        }
    }

    fn send_on(&self, host: &Peer, name: &Arc<str>, cast: RemoteParcel) {
        let RemoteParcel { from, number, cast, hops, message, payload } = cast;
        let call = Call { sworm: self.hash, from, number, name: name.clone(), message, cast, hops, payload };
        match Frame::Call(call).encode() {
            Ok(frame) => self.node.send(host, Class::Important, frame),
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    /// Nobody waits for a cast: that it is lost is said in the log only.
    pub(crate) fn lost(&self, name: &str, cast: &RemoteParcel, why: &str) {
        tracing::debug!(sworm = &*self.name, name, message = &*cast.message, from = %cast.from, why, "a cast is lost");
    }
}
