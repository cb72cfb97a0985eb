//! Workers: what people write, and the task that runs one of them.

pub(crate) mod activity;
mod context;
mod entry;
pub(crate) mod heavy;
mod lifecycle;
pub(crate) mod mailbox;
mod message;
mod options;
pub(crate) mod outbox;
pub(crate) mod pausing;
pub(crate) mod places;
pub(crate) mod saving;
pub(crate) mod starts;
pub(crate) mod task;
mod timers;

pub use context::Context;
pub use entry::{HandlerEntry, Methods, MethodsOf, NoMethods, WorkerEntry, distinct_entries, distinct_ids};
pub use lifecycle::{BoxError, Handoff, Lifecycle, SavesPart};
pub use message::{Handler, Message, Request, Storable, Target};
pub use options::WorkerOptions;
pub use saving::{Durable, Older, Snapshots, Upgrade};
pub use timers::Timer;

pub(crate) use entry::{AnyWorkerType, WorkerTypes, entry_of};

use crate::codec::{Codec, CodecError, Encoded, Limited};

/// A type whose values run under names. Derive it: the derive writes everything in this trait.
///
/// Attributes of `#[worker(..)]`:
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `name = "…"` | the type's name on the wire and on disk, 1 to 255 bytes | the type's name |
/// | `version = 2` | the version of the stored form; above 1 write `impl` [`Upgrade`] | 1 |
/// | `handles(A, B)` | the messages that it takes | none |
/// | `methods` | it is an error that there is no `#[sworm::handlers] impl`; its methods are called as messages without this word, too | not required |
/// | `restart = …` | restart strategy: a plugin's name, or a constant expression | `"transient"` |
/// | `distribution = …` | distribution strategy: a plugin's name, or a constant expression | `"rendezvous"` |
/// | `handoff` | the whole value is saved when it stops or moves | the sworm's setting, else not saved |
/// | `handoff = S` | what [`Handoff<S>`] saves | |
/// | `snapshot = "1s"` | the state is saved when it has changed, so long after it was saved last (10 ms to 1 day) | not while it runs |
/// | `snapshot = "each"` | the state is saved after each message that changes it, before the reply leaves | |
/// | `every = 100` | the state is saved after so many messages (1 to 1,000,000,000); not beside `"each"` | |
/// | `replicas = 2` | how many peers hold each saved state (0 to 16); where states are saved | 1 |
/// | `durable = "local"` | a checkpoint waits for the worker's own disk alone; where states are saved, and not with `replicas = 0` | `"replicas"` |
/// | `mailbox = 64` | how many messages wait at most (1 to 1,000,000) | 1024 |
/// | `start_timeout = "3s"` | how long a start may take, up to 1 h | 10 s |
/// | `lifecycle` | you write `impl Lifecycle` yourself | defaults |
/// | `crate = path` | where the sworm crate is | `::sworm` |
///
/// # What survives
///
/// A worker starts from its registered value, or from the newest state that was saved and can be reached:
///
/// | setting | stop, move, drain | worker crash | node crash (`kill -9`) | power loss of one node | crash or power loss of all |
/// |---|---|---|---|---|---|
/// | none | registered value | registered value | registered value | registered value | registered value |
/// | `handoff` | **all** | registered value | the state of its last move, else registered value | the same | the same |
/// | `handoff` and [`checkpoint`](crate::Context::checkpoint) | **all** | last checkpoint | last checkpoint | last checkpoint | last checkpoint |
/// | `snapshot = "1s"`, `every = 100` | **all** | last saved state | the last one that reached a replica | the same | last saved state |
/// | `snapshot = "each"` | **all** | **all that was replied to** | **all that was replied to** | **all that was replied to** | **all that was replied to** |
/// | `durable = "local"` with `"each"` | **all** | **all that was replied to** | what had reached a replica, until the node is back | the same | **all that was replied to** |
/// | `durable = "local"` with checkpoints | **all** | last checkpoint | the last one that reached a replica, until the node is back | the same | last checkpoint |
///
/// "All" is for a [`Handoff<S>`] what `S` saves. A node in memory (no [`store`](crate::NodeBuilder::store)) keeps its copies as long
/// as it runs. A replica that does not answer for 2 s is left out of that save and passed over for 30 s, longer when it is late
/// again; the next node takes its place, or, where there is none, it gets the state as soon as it keeps up again. So two nodes that die
/// within seconds can take a state with them. Where only an older state can be had, that is waited out
/// ([`SwormSpec::state_wait`](crate::SwormSpec::state_wait)) and then said: [`Event::RestoredOlder`](crate::Event::RestoredOlder). What turns up
/// later is given to [`Lifecycle::on_diverged`].
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
    fn handlers() -> &'static [&'static [HandlerEntry<Self>]];

    #[doc(hidden)]
    fn save(&self, to: &mut Limited) -> Result<(), CodecError> {
        Self::CODEC.encode_to(self, to)
    }

    #[doc(hidden)]
    fn restore(registered: Self, state: Encoded<'_>) -> Result<Self, CodecError> {
        let _ = registered;
        Self::CODEC.decode_from(state)
    }

    /// A registered value of an older version.
    #[doc(hidden)]
    fn upgrade_value(older: Older<'_>) -> Result<Self, BoxError> {
        Err(format!("version {} cannot be read", older.version()).into())
    }

    /// The state that an older version saved.
    #[doc(hidden)]
    fn upgrade_state(registered: Self, older: Older<'_>) -> Result<Self, BoxError> {
        let _ = registered;
        Self::upgrade_value(older)
    }
}
