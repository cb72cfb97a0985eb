//! What travels between nodes, around and beside the cores' messages.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::{self, CodecError};
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Epoch, Peer};
use crate::core::membership::Hello;
use crate::core::message::Message;
use crate::error::CallError;

/// What is behind each frame.
const CHECKSUM_BYTES: usize = size_of::<u64>();

/// One message on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Frame {
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
    /// A message for several workers.
    #[serde(rename = "g")]
    Calls(Calls),
    /// The answer to it: the number of the call, and what came of it.
    #[serde(rename = "r")]
    Reply(u64, Replied),
    /// The sender asks whether the receiver is linked to these.
    #[serde(rename = "a")]
    AskAbout(Peer, Vec<Peer>),
    /// The answer: to whom the sender is linked, and to whom it is not.
    #[serde(rename = "t")]
    Tell(Peer, Vec<(Peer, bool)>),
    /// For another node, to which the sender has no link.
    #[serde(rename = "y")]
    Relay(Relay),
}

/// A message for a worker, sent to the node that hosts it. It travels as the list of its fields, without their names: there
/// are more of these than of anything else.
#[derive(Clone, Debug)]
pub struct Call {
    /// The sworm (hash of its name).
    pub sworm: u64,
    /// Who sends it, and under which number.
    pub from: Peer,
    /// Counts its calls.
    pub number: u64,
    /// The worker's name.
    pub name: Arc<str>,
    /// The message's id.
    pub message: Arc<str>,
    /// Whether no reply is wanted.
    pub cast: bool,
    /// How often it was sent on.
    pub hops: u8,
    /// The worker that it is for: the epoch at which that started.
    pub stay: Epoch,
    /// How long a call may wait for room there (ms).
    pub limit_ms: Option<u32>,
    /// Whether nothing else of the sender's is on its way to workers of the receiver: all that was answered has come back.
    pub alone: bool,
    /// The message.
    pub payload: Bytes,
}

impl Serialize for Call {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload } = self;
        let (from, stay) = ((&from.node, from.incarnation), (stay.major, stay.minor));
        (sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Call {
    fn deserialize<D: Deserializer<'de>>(of: D) -> Result<Self, D::Error> {
        let (sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload) =
            Deserialize::deserialize(of)?;
        let ((node, incarnation), (major, minor)) = (from, stay);
        let (from, stay) = (Peer { node, incarnation }, Epoch { major, minor });
        Ok(Self { sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload })
    }
}

/// A message for several workers of the node that it is sent to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calls {
    /// The sworm (hash of its name).
    #[serde(rename = "s")]
    pub sworm: u64,
    /// Who sends it.
    #[serde(rename = "f")]
    pub from: Peer,
    /// The workers.
    #[serde(rename = "n")]
    pub workers: Vec<OneOf>,
    /// How long calls may wait for room there (ms).
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u32>,
    /// The message's id.
    #[serde(rename = "m")]
    pub message: Arc<str>,
    /// Whether no reply is wanted.
    #[serde(rename = "c")]
    pub cast: bool,
    /// The message.
    #[serde(rename = "p")]
    pub payload: Bytes,
}

/// One of the workers that a message is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OneOf {
    /// Its name.
    #[serde(rename = "n")]
    pub name: Arc<str>,
    /// The epoch at which it started.
    #[serde(rename = "e", with = "short")]
    pub stay: Epoch,
    /// The number of its call.
    #[serde(rename = "i")]
    pub number: u64,
}

/// An epoch as two numbers, without their names.
mod short {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Epoch;

    pub(super) fn serialize<S: Serializer>(epoch: &Epoch, to: S) -> Result<S::Ok, S::Error> {
        (epoch.major, epoch.minor).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Epoch, D::Error> {
        let (major, minor) = Deserialize::deserialize(from)?;
        Ok(Epoch { major, minor })
    }
}

impl Calls {
    /// The call of each worker.
    pub(crate) fn each(self) -> impl Iterator<Item = Call> {
        let Self { sworm, from, workers, limit_ms, message, cast, payload } = self;
        workers.into_iter().map(move |OneOf { name, stay, number }| {
            let (from, message, payload) = (from.clone(), message.clone(), payload.clone());
            Call { sworm, from, number, name, message, cast, hops: 0, stay, limit_ms, alone: false, payload }
        })
    }
}

/// A frame for a node to which its sender has no link. The receiver passes it on over a link of its own, as it is, or not
/// at all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Relay {
    /// For whom it is.
    #[serde(rename = "t")]
    pub to: Peer,
    /// Whether it may be dropped where a link is congested.
    #[serde(rename = "d")]
    pub droppable: bool,
    /// The frame, encoded.
    #[serde(rename = "f")]
    pub frame: Bytes,
}

/// What came of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Replied {
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
    /// The frame as it travels, with its checksum.
    pub fn encode(&self) -> Result<Bytes, CodecError> {
        let mut bytes = codec::encode_with_room(self, CHECKSUM_BYTES)?;
        bytes.extend_from_slice(&xxh3_64(&bytes).to_be_bytes());
        Ok(bytes.into())
    }

    /// Whether these are the first bytes of a message for workers, or of the answer to one: of those only the tag is looked at.
    pub(crate) fn is_of_calls(bytes: &[u8]) -> bool {
        // A map with one key, which is one letter.
        matches!(bytes, [0xa1, 0x61, b'c' | b'g' | b'r', ..])
    }

    /// Takes a frame in, unless a single bit of it is not as it was sent.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (frame, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or_else(|| CodecError::new("too short"))?;
        if xxh3_64(frame) != u64::from_be_bytes(*checksum) && !planted(Fault::TrustBytes) {
            return Err(CodecError::new("does not match its checksum"));
        }
        codec::decode(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Incarnation, NodeId};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = Frame::decode(&bytes);
        }

        #[test]
        fn changed_frames_are_refused(at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let frame = Frame::Reply(7, Replied::Failed(CallError::Overloaded));
            let mut bytes = frame.encode().expect("encodes").to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Frame::decode(&bytes).is_err());
        }

        #[test]
        fn changed_messages_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let frame = Frame::Reply(7, Replied::Failed(CallError::Overloaded));
            let mut bytes = codec::encode(&frame).expect("encodes");
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = codec::decode::<Frame>(&bytes);
        }
    }

    #[test]
    fn messages_for_workers_and_their_answers_are_told_from_all_else_by_their_first_bytes() {
        let peer = Peer { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) };
        let (from, name, message, payload) = (peer.clone(), "x".into(), "m".into(), Bytes::new());
        let (sworm, number, cast, hops, stay, limit_ms, alone) = (1, 7, false, 0, Epoch::default(), Some(1), false);
        let call = Call { sworm, from, number, name, message, cast, hops, stay, limit_ms, alone, payload };
        let Call { from, message, payload, .. } = call.clone();
        let workers = vec![OneOf { name: "x".into(), stay, number }];
        let calls = Calls { sworm, from, workers, limit_ms, message, cast: true, payload };
        let relay = Relay { to: peer.clone(), droppable: true, frame: Bytes::new() };
        for (frame, expected) in [
            (Frame::Call(call), true),
            (Frame::Calls(calls), true),
            (Frame::Reply(7, Replied::NotHere), true),
            (Frame::Goodbye(peer.clone()), false),
            (Frame::Core(1, peer.clone(), Box::new(Message::NotOpen)), false),
            (Frame::AskAbout(peer.clone(), Vec::new()), false),
            (Frame::Tell(peer, Vec::new()), false),
            (Frame::Relay(relay), false),
        ] {
            assert_eq!(Frame::is_of_calls(&frame.encode().expect("encodes")), expected, "{frame:?}");
        }
        assert!(!Frame::is_of_calls(&[]) && !Frame::is_of_calls(&[0xa1, 0x61]));
    }

    #[test]
    fn frames_come_back() {
        let bytes = Frame::Reply(7, Replied::Done(Bytes::from_static(b"x"))).encode().expect("encodes");
        assert!(matches!(Frame::decode(&bytes), Ok(Frame::Reply(7, Replied::Done(x))) if &x[..] == b"x"));
    }
}
