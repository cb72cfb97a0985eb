//! When a worker's state is saved while it runs, and who must hold it before that counts.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::BoxError;
use crate::codec::{self, CodecError};

/// When the state of a worker is saved while it runs, beside stops, moves and [`checkpoint`](crate::Context::checkpoint).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshots {
    /// After each message, if it has changed the state. The reply, and what the worker's code sends, leaves only when the state
    /// that it shows is durable; if that does not become durable, it is dropped.
    ///
    /// | held back | until |
    /// |---|---|
    /// | casts, `publish`, changes of groups, timers in handlers, also those of timers | the state that the handler leaves is durable |
    /// | the same in [`started`](crate::Lifecycle::started) and [`on_diverged`](crate::Lifecycle::on_diverged) | the state that the hook leaves is durable, which is then saved |
    /// | the same in [`run`](crate::Lifecycle::run) | the same at its next wait: one that lasts 50 ms drops `run`, which is called anew when the state is durable. A call or a request is waited for first. So keep in the worker how far it has come. What it sends before its first wait is sent once, not again by the call after that, unless it has changed the state meanwhile |
    /// | the same in [`stopping`](crate::Lifecycle::stopping), when it moves, is parked or ends by itself | whoever takes over has the state, or it is durable here |
    ///
    /// What may leave then and cannot yet, since the worker that it is for moves or has no room for it, is waited for aside as long as a
    /// cast is: neither the reply nor the next message waits for it. For changes of groups the reply waits, up to 1 s. What became of
    /// that is in the log only.
    ///
    /// Up to 10,000 of these are held back at a time, with 32 MiB: as much as the messages take encoded, once for each
    /// `publish`, and 16 bytes for each of its receivers. What is more than that is refused at once, and does not leave later: casts
    /// and `publish` with [`CallError::Overloaded`](crate::CallError::Overloaded), changes of groups with
    /// [`GroupError::Overloaded`](crate::GroupError::Overloaded), and a timer is not set, as its documentation
    /// [says](crate::Context::send_after).
    ///
    /// What the worker waits for cannot be held back: the state is taken when the handler has returned, and that waits for the
    /// reply. So **calls** and [`multi_call`](crate::Sworm::multi_call) leave when what the worker was before the present
    /// message is durable, and show what the handler has changed until then. The same is so of what the worker **asks the
    /// sworm** for and waits for: registering, attaching, unregistering, restarting and moving names, rebalancing, and changes of the
    /// voters. While its state is too large to be saved all of these are refused
    /// ([`CallError::CallerTooLarge`](crate::CallError::CallerTooLarge), and in the errors of the others under the same name). A message
    /// to oneself splits a handler where that is not enough: its handler runs when what this one leaves is durable, and calls or
    /// registers then.
    ///
    /// At once leaves what `stopping` sends when the name is unregistered, what
    /// [`on_conflict`](crate::Lifecycle::on_conflict) sends, whatever tasks of its own send, what is answered to messages of an
    /// [`Inbox`](crate::Inbox), and the end of a name whose `Inbox` is dropped.
    Each,
    /// When it has changed and this time has passed since it was saved last (10 ms to 1 day). Nothing waits for it.
    Every(Duration),
}

/// What a checkpoint, or a reply with [`Snapshots::Each`], waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durable {
    /// For the disk of the worker's node, and for those of its replicas. What was acknowledged survives the loss of as many
    /// nodes as there are replicas.
    #[default]
    Replicas,
    /// For the disk of the worker's node alone. The replicas get the states as fast as they can take them. When the node
    /// dies, what was acknowledged and had not reached a replica is lost for as long as it stays away. When it is back, the
    /// worker that went on without that is given it ([`on_diverged`](crate::Lifecycle::on_diverged)), and
    /// [`Event::StateDiverged`](crate::Event::StateDiverged) says so: a type without that hook has lost it for good.
    Local,
}

/// What a worker type says about that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saving {
    pub(crate) each: bool,
    pub(crate) period: Option<Duration>,
    pub(crate) messages: Option<u32>,
    pub(crate) durable: Durable,
}

impl Saving {
    /// Whether the state is saved while the worker runs: then it also starts again from there after a crash.
    pub(crate) fn goes_on(&self) -> bool {
        self.each || self.period.is_some() || self.messages.is_some()
    }
}

/// What an older version of a type has stored.
#[derive(Clone, Copy, Debug)]
pub struct Older<'a> {
    version: u32,
    bytes: &'a [u8],
}

impl<'a> Older<'a> {
    #[doc(hidden)]
    pub fn new(version: u32, bytes: &'a [u8]) -> Self {
        Self { version, bytes }
    }

    /// The version that has stored it: 1 up to the one before the present.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Reads it as what it was: a type with the fields of that version, kept for this.
    ///
    /// # Errors
    ///
    /// When it does not have that form.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        codec::decode(self.bytes)
    }
}

/// Reads what older versions of a worker type have stored. `#[worker(version = 2)]` asks for it: from the worker, for
/// registered values and states that were saved whole, and with `handoff = S` from `S`, too.
///
/// A name that was registered with an older version is started by nodes that link the same version or a later one. When it
/// has started with a later one its registered value is replaced by what `upgrade` made of it, and from then on it is not
/// started by nodes with an older version: there is no way back.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// use sworm::prelude::*;
///
/// #[derive(Worker, Serialize, Deserialize)]
/// #[worker(name = "cart", version = 2, handoff)]
/// struct Cart {
///     items: Vec<(String, u32)>,
/// }
///
/// /// As it was before items had a count.
/// #[derive(Deserialize)]
/// struct CartV1 {
///     items: Vec<String>,
/// }
///
/// impl Upgrade for Cart {
///     fn upgrade(older: Older<'_>) -> Result<Self, sworm::BoxError> {
///         let cart: CartV1 = older.read()?;
///         Ok(Self { items: cart.items.into_iter().map(|item| (item, 1)).collect() })
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it is made from what older versions stored; write `impl Upgrade for {Self}`",
    label = "a `version` above 1 needs an `impl Upgrade`"
)]
pub trait Upgrade: Sized {
    /// Makes a value from what an older version has stored.
    ///
    /// # Errors
    ///
    /// Any. The start fails with it and is tried again, and nothing that is stored is changed.
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError>;
}
