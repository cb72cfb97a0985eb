//! The edge to the other nodes: what a transport promises, and the transports that there are.

use std::fmt::Write;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::core::ids::Peer;

pub(crate) mod local;
mod memory;
#[cfg(feature = "zenoh")]
mod zenoh;

pub use self::memory::{MemoryNetwork, MemoryTransport, Traffic};
#[cfg(feature = "zenoh")]
pub(crate) use self::zenoh::{DEFAULT_LISTEN, ZenohOptions, ZenohTransport, check, dial, probe, reserve};

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing into a string cannot fail");
        text
    })
}

/// The longest message, in bytes (64 MiB). A longer one is dropped by its sender, with an error in the log: a receiver
/// would refuse it without a word.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Carries messages between the nodes of one cluster. It is never trusted to deliver: a message may be lost without
/// any event, and what is on its way when a link goes down is lost.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a message to one node.
    ///
    /// Never blocks, never fails visibly. What one sender sends to one node, by `send` and by `broadcast`, arrives in
    /// order for as long as the link lives. A message to the sender itself is dropped.
    fn send(&self, to: &Peer, class: Class, message: Bytes);

    /// Sends a small message to one node on the caller's thread, if that can be done without waiting; says whether it was
    /// sent. It may overtake what was sent there before, and is for messages of which only one at a time is on its way there:
    /// else it could have to wait after all.
    fn send_now(&self, to: &Peer, message: &Bytes) -> bool {
        let _ = (to, message);
        false
    }

    /// Whether an important message of so many bytes would not be dropped now because too much waits to be sent, there or to all.
    fn has_room_for(&self, to: &Peer, bytes: usize) -> bool {
        let _ = (to, bytes);
        true
    }

    /// How many packets it has sent so far, if it counts them: messages that are ready together share one.
    fn packets_sent(&self) -> Option<u64> {
        None
    }

    /// Sends a message to all other nodes of the cluster, as `send` does.
    fn broadcast(&self, class: Class, message: Bytes);

    /// Where others can dial this node: `tcp/127.0.0.1:7447`, with the real port where 0 was asked.
    fn endpoints(&self) -> Vec<String>;

    /// Takes note of where all members of the cluster listen, this node included, so that those who join can be told.
    fn know(&self, endpoints: Vec<String>) {
        let _ = endpoints;
    }

    /// A message with so many bytes was taken: it came as an event, and no queue holds it any more. What is not taken has a
    /// limit: a transport may drop what comes beyond it.
    fn was_read(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Offers a way in that is shorter than the events. A transport that uses it asks it first about each message, on the
    /// thread that brings it; one that does not use it reports every message as an event.
    fn shortcut(&self, shortcut: Shortcut) {
        drop(shortcut);
    }

    /// Asks whether anything listens at an endpoint, within one second.
    async fn dial(&self, endpoint: &str) -> Dialed;

    /// Ends in good order: sends what is queued (for up to 2 s), tells the others that this node is gone and closes all
    /// links. Takes 3 s at most; messages sent afterwards are dropped. Dropping the transport instead sends nothing more.
    async fn close(&self);
}

/// Takes a message at once, or says that it is to be reported as an event. It never waits and runs no code of the library's
/// users. What it takes may overtake what is reported before.
pub type Shortcut = Box<dyn Fn(&Bytes) -> bool + Send + Sync>;

/// What becomes of a message when a link is congested.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Dropped: it will be told again, or pulled.
    Droppable,
    /// Waits, for a while; then the link is given up, with all that was queued for it.
    Important,
}

/// What a transport reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransportEvent {
    /// A message of another node. It shares the memory of the packet that it came in (usually up to 48 KiB): what is kept
    /// for long should be a copy.
    Message(Bytes),
    /// There is a link to that node. Told also of nodes that were there first, and possibly more than once.
    LinkUp(Peer),
    /// That node is about to close its links and to open them anew. Meanwhile nothing listens where it is dialled.
    Reopens(Peer),
    /// The link to that node is gone. That does not say that the node is.
    LinkDown(Peer),
}

/// What came of dialling an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialed {
    /// The machine is there and nothing listens at that port: the process is gone.
    Refused,
    /// Something listens there.
    Answered,
    /// No answer in time, no such host, or not an endpoint that can be dialled: says nothing.
    Unreachable,
}

/// Why a transport could not be opened. Nothing has been started then.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TransportError {
    /// Another program (or another node) listens there: choose another port, or port 0.
    #[error("{endpoint} is in use")]
    PortInUse {
        /// The endpoint as it was given.
        endpoint: String,
    },
    /// Not something to listen on or to connect to: write `tcp/host:port`.
    #[error("`{endpoint}` cannot be used as an endpoint: {why}")]
    BadEndpoint {
        /// The endpoint as it was given.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The given zenoh configuration does not take Sworm's settings.
    #[error("the zenoh configuration does not fit: {why}")]
    BadConfig {
        /// What zenoh says of it.
        why: String,
    },
    /// zenoh panics inside a current-thread runtime: use tokio's multi-thread one, which is `#[tokio::main]`, and in
    /// tests `#[tokio::test(flavor = "multi_thread")]`.
    #[error("a node needs tokio's multi-thread runtime (in tests: `#[tokio::test(flavor = \"multi_thread\")]`)")]
    CurrentThreadRuntime,
    /// Anything else.
    #[error("the transport could not be opened: {why}")]
    Failed {
        /// The cause.
        why: String,
    },
}
