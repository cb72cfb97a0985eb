//! Workers: what people write, and the task that runs one of them.

pub(crate) mod activity;
mod context;
mod entry;
mod lifecycle;
pub(crate) mod mailbox;
mod message;
mod options;
pub(crate) mod task;

pub use context::Context;
pub use entry::{HandlerEntry, WorkerEntry, distinct_ids};
pub use lifecycle::{BoxError, Handoff, Lifecycle};
pub use message::{Handler, Message, Request, Storable, Target};
pub use options::WorkerOptions;

pub(crate) use entry::{AnyWorkerType, WorkerTypes};

use crate::codec::{Codec, CodecError};

/// A type whose values run under names. Derive it: the derive writes everything in this trait.
///
/// Attributes of `#[worker(..)]`:
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `name = "…"` | the type's name on the wire and on disk | the type's name |
/// | `version = 1` | the version of the stored form; higher ones are not there yet | 1 |
/// | `handles(A, B)` | the messages that it takes | none |
/// | `restart = …` | restart strategy: a plugin's name, or a constant expression | `"transient"` |
/// | `distribution = …` | distribution strategy: a plugin's name, or a constant expression | `"rendezvous"` |
/// | `handoff` | the whole value is saved when it stops or moves | the sworm's setting, else not saved |
/// | `handoff = S` | what [`Handoff<S>`] saves | |
/// | `replicas = 2` | how many peers hold each checkpoint | 1 |
/// | `mailbox = 64` | how many messages wait at most | 1024 |
/// | `start_timeout = "3s"` | how long a start may take | 10 s |
/// | `lifecycle` | you write `impl Lifecycle` yourself | defaults |
/// | `crate = path` | where the sworm crate is | `::sworm` |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a worker",
    label = "not a worker",
    note = "add `#[derive(Worker, Serialize, Deserialize)]` to it"
)]
pub trait Worker: Target {
    /// The type's name on the wire and on disk.
    const NAME: &'static str;

    /// The version of the stored form.
    const VERSION: u32;

    /// The attributes.
    fn options() -> WorkerOptions;

    #[doc(hidden)]
    const CODEC: Codec<Self>;

    #[doc(hidden)]
    fn handlers() -> &'static [HandlerEntry<Self>];

    #[doc(hidden)]
    fn save(&self) -> Result<Vec<u8>, CodecError> {
        Self::CODEC.encode(self)
    }

    #[doc(hidden)]
    fn restore(registered: Self, state: &[u8]) -> Result<Self, CodecError> {
        let _ = registered;
        Self::CODEC.decode(state)
    }
}
