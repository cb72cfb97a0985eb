//! What travels between nodes, around and beside the cores' messages.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::core::ids::Peer;
use crate::core::membership::Hello;
use crate::core::message::Message;
use crate::error::CallError;

/// One message on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// Greeting of a node.
    #[serde(rename = "h")]
    Hello(Hello),
    /// The sender leaves in good order.
    #[serde(rename = "b")]
    Goodbye(Peer),
    /// From core to core of one sworm.
    #[serde(rename = "m")]
    Core(u64, Peer, Box<Message>),
    /// A message for a worker.
    #[serde(rename = "c")]
    Call(Call),
    /// The answer to it: the number of the call, and what came of it.
    #[serde(rename = "r")]
    Reply(u64, Replied),
}

/// A message for a worker, sent to the node that hosts it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The sworm (hash of its name).
    #[serde(rename = "s")]
    pub(crate) sworm: u64,
    /// Who sends it, and under which number.
    #[serde(rename = "f")]
    pub(crate) from: Peer,
    #[serde(rename = "i")]
    pub(crate) number: u64,
    /// The worker's name.
    #[serde(rename = "n")]
    pub(crate) name: Arc<str>,
    /// The message's id.
    #[serde(rename = "m")]
    pub(crate) message: Arc<str>,
    /// Whether no reply is wanted.
    #[serde(rename = "c")]
    pub(crate) cast: bool,
    /// How often it was sent on.
    #[serde(rename = "h", default)]
    pub(crate) hops: u8,
    /// The message.
    #[serde(rename = "p")]
    pub(crate) payload: Bytes,
}

/// What came of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Replied {
    /// It was handled.
    #[serde(rename = "d")]
    Done(Bytes),
    /// It was not, or not wholly.
    #[serde(rename = "e")]
    Failed(CallError),
    /// The worker is not on this node; the message was not handled.
    #[serde(rename = "n")]
    NotHere,
}

impl Frame {
    pub(crate) fn encode(&self) -> Result<Bytes, CodecError> {
        codec::encode(self).map(Bytes::from)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Frame::decode(&bytes);
        }

        #[test]
        fn changed_frames_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let frame = Frame::Reply(7, Replied::Failed(CallError::Overloaded));
            let mut bytes = frame.encode().expect("encodes").to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Frame::decode(&bytes);
        }
    }

    #[test]
    fn frames_come_back() {
        let bytes = Frame::Reply(7, Replied::Done(Bytes::from_static(b"x"))).encode().expect("encodes");
        assert!(matches!(Frame::decode(&bytes), Ok(Frame::Reply(7, Replied::Done(x))) if &x[..] == b"x"));
    }
}
