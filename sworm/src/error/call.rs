//! Of messages and of states.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a call did not come back with a reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody has the name. The message was not handled.
    #[error("{name:?} is not registered")]
    NotRegistered {
        /// The name.
        name: String,
    },
    /// A worker of another type has the name. The message was not handled.
    #[error("{name:?} is registered with worker type {found:?}")]
    WrongType {
        /// The name.
        name: String,
        /// The type that has it.
        found: String,
    },
    /// The worker failed and is not started again by itself (see [`Sworm::restart_name`](crate::Sworm::restart_name)). The
    /// message was not handled.
    #[error("the worker is not running: {reason}")]
    Failed {
        /// Why it failed.
        reason: String,
    },
    /// The time was over before the message could be sent: the name was moving (also since its node leaves or is being
    /// emptied), starting, or waiting for its node or for one that holds its state
    /// ([`Event::StateAwaited`](crate::Event::StateAwaited)); or the message took so long to encode. It was not handled.
    #[error(
        "not sent within {after:?}: the name was moving, starting, or waiting for its state, or the message took that long to encode"
    )]
    NotSent {
        /// How long was waited.
        after: Duration,
    },
    /// This node is leaving ([`Node::leave`](crate::Node::leave)), and the message had not been sent when the time was over or
    /// the node had left. It was not handled: send it through another node. A node that leaves sends messages as before
    /// until then, and where it is the worker's node that leaves, or is being emptied ([`Node::drain`](crate::Node::drain)),
    /// the message waits for the worker's next place, as with every move.
    #[error("this node is leaving; the message was not sent")]
    Draining,
    /// This node, or that of an [`Inbox`](crate::Inbox), has no majority (mode "majority" only). The message was not handled. For
    /// a worker whose node has none a call waits within its time.
    #[error("this side has no majority; the message was not handled")]
    NoMajority,
    /// The worker's node lost its majority while the message was handled: its reply is held back, since the other side may
    /// start the worker from an older state. **Unknown outcome**.
    #[error("the majority was lost while the message was handled")]
    MajorityLost,
    /// The worker's mailbox was full until the time was over, or the links do not take what this node sends: 128 MiB wait to
    /// be sent to that node, or 512 MiB to all, and this message was refused at once. Or it is a worker with `snapshot = "each"` that casts or publishes, and
    /// its code has sent so much since its state was durable last that no more is held back
    /// ([`Snapshots::Each`](crate::Snapshots::Each)). The message was not handled, and will not be.
    #[error("the worker's mailbox, or what this node or the calling worker has to send, is full")]
    Overloaded,
    /// The worker type on that node does not know the message. It was not handled.
    #[error("the worker's node does not know the message {message:?}")]
    NoSuchMessage {
        /// The message's id.
        message: String,
    },
    /// The message could not be encoded or decoded. It was not handled.
    #[error("{what} {why}")]
    Undecodable {
        /// The message's id.
        what: String,
        /// Why.
        why: String,
    },
    /// The reply could not be encoded or decoded. The message **was handled**, so this counts as an unknown outcome.
    #[error("the message was handled, but its reply to {message} {why}")]
    UndecodableReply {
        /// The message's id.
        message: String,
        /// Why.
        why: String,
    },
    /// The message is larger than 16 MiB encoded, and its worker is on another node, or it is for a group. It was not sent. Within
    /// a node a call or a cast is not encoded, so there it would have been handled: do not rely on that, since workers move.
    #[error("the message has {bytes} bytes; at most {limit} can be sent")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The reply is larger than 16 MiB encoded, and the caller is on another node. The message **was handled**, so this counts
    /// as an unknown outcome. Within a node nothing is encoded: there the reply arrives.
    #[error("the message was handled, but its reply has {bytes} bytes; at most {limit} can be sent")]
    ReplyTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// No reply in time. **Unknown outcome**: it may have been handled, or be handled yet.
    #[error("no reply within {after:?}; the message may have been handled or not")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The worker's node is gone. **Unknown outcome**.
    #[error("the worker's node is gone; the message may have been handled or not")]
    NodeDown,
    /// The worker ended while it handled the message. **Unknown outcome**: effects before its end may remain.
    #[error("the worker died while it handled the message: {reason}")]
    WorkerDied {
        /// Why.
        reason: String,
    },
    /// The message was handled, but the state could not be made durable as the worker asked. **Unknown outcome**: the
    /// worker starts again from its last checkpoint.
    #[error("the state after the message could not be made durable: {reason}")]
    NotDurable {
        /// Why.
        reason: String,
    },
    /// The message was handled, and the state after it is too large to be saved as the worker asked, or as its type does
    /// after each message. The worker goes on with it in memory; if its node dies it goes on from the state before.
    /// **Unknown outcome**.
    #[error("the state after the message has {bytes} bytes; at most {limit} are saved")]
    StateTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of the worker's node: [`NodeBuilder::snapshot_limit`](crate::NodeBuilder::snapshot_limit).
        limit: usize,
    },
    /// It is a worker with `snapshot = "each"` that calls, and its own state is too large to be saved: what it would show by the
    /// call might be lost. The message was not sent, nor will others be until its state is small enough again.
    #[error("the caller's own state has {bytes} bytes; at most {limit} are saved")]
    CallerTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit of its node: [`NodeBuilder::snapshot_limit`](crate::NodeBuilder::snapshot_limit).
        limit: usize,
    },
    /// This node has stopped. Unknown outcome.
    #[error("the node has stopped")]
    Stopped,
    /// This node has stopped by itself, since it could not go on: see [`Node::stopped`](crate::Node::stopped). Unknown
    /// outcome.
    #[error("the node has stopped: {reason}")]
    NodeFailed {
        /// Why.
        reason: String,
    },
}

impl CallError {
    /// Whether the message may have been handled, or has been. If not, sending it again cannot handle it twice.
    pub fn is_unknown_outcome(&self) -> bool {
        match self {
            Self::Timeout { .. }
            | Self::NodeDown
            | Self::WorkerDied { .. }
            | Self::NotDurable { .. }
            | Self::StateTooLarge { .. }
            | Self::MajorityLost
            | Self::UndecodableReply { .. }
            | Self::ReplyTooLarge { .. }
            | Self::Stopped
            | Self::NodeFailed { .. } => true,
            Self::NotRegistered { .. }
            | Self::WrongType { .. }
            | Self::Failed { .. }
            | Self::NotSent { .. }
            | Self::Draining
            | Self::NoMajority
            | Self::Overloaded
            | Self::NoSuchMessage { .. }
            | Self::Undecodable { .. }
            | Self::TooLarge { .. }
            | Self::CallerTooLarge { .. } => false,
        }
    }
}

/// Why a state was not saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The worker type does not save its state. Add `handoff` to `#[worker(..)]`.
    #[error("worker type {worker_type:?} does not save its state; add `handoff` to `#[worker(..)]`")]
    NotEnabled {
        /// The worker type.
        worker_type: String,
    },
    /// In `started` and `stopping` there is nothing to save yet, or it is saved anyway.
    #[error("`checkpoint` is for handlers and `run`; in `started` and `stopping` it has no effect")]
    NotHere,
}
