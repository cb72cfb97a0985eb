//! Packets: the messages that were ready for one destination together, as one payload.
//!
//! A packet is the version of this format (one byte), then each message after its length (four bytes, big-endian).

use std::collections::HashMap;

use bytes::{Buf, Bytes};

use crate::core::ids::Peer;
use crate::transport::Class;

const VERSION: u8 = 1;
const LENGTH_BYTES: usize = 4;
/// A packet takes no further message beyond this: it then fits into one batch of zenoh's (64 KiB), with its key.
const PACKET_BYTES: usize = 48 << 10;

/// A payload under way.
pub(super) struct Packet {
    /// `None`: everybody.
    pub(super) to: Option<Peer>,
    /// Important if any message in it is.
    pub(super) class: Class,
    pub(super) payload: Vec<u8>,
}

/// Gathers messages into packets. For each destination the packets, in their order, hold its messages in theirs.
#[derive(Default)]
pub(super) struct Packer {
    packets: Vec<Packet>,
    /// The packets that still take messages.
    open: HashMap<Option<Peer>, usize>,
}

impl Packer {
    pub(super) fn push(&mut self, to: Option<Peer>, class: Class, message: &[u8]) {
        // A broadcast goes to every destination: what comes before it and what comes after it share no packet.
        if to.is_none() {
            self.open.retain(|to, _| to.is_none());
        } else {
            self.open.remove(&None);
        }
        let open = self.open.get(&to).copied().filter(|at| self.packets[*at].takes(message));
        let at = open.unwrap_or_else(|| {
            self.packets.push(Packet { to: to.clone(), class, payload: vec![VERSION] });
            self.open.insert(to, self.packets.len() - 1);
            self.packets.len() - 1
        });
        self.packets[at].add(class, message);
    }

    /// The packets so far, in the order in which to send them.
    pub(super) fn take(&mut self) -> Vec<Packet> {
        self.open.clear();
        std::mem::take(&mut self.packets)
    }
}

impl Packet {
    /// A packet of one message.
    pub(super) fn of_one(message: &[u8]) -> Vec<u8> {
        let mut packet = Self { to: None, class: Class::Important, payload: vec![VERSION] };
        packet.add(Class::Important, message);
        packet.payload
    }

    fn takes(&self, message: &[u8]) -> bool {
        self.payload.len() + LENGTH_BYTES + message.len() <= PACKET_BYTES
    }

    fn add(&mut self, class: Class, message: &[u8]) {
        let length = u32::try_from(message.len()).expect("a message is at most MAX_MESSAGE_BYTES long");
        self.class = self.class.max(class);
        self.payload.reserve(LENGTH_BYTES + message.len());
        self.payload.extend_from_slice(&length.to_be_bytes());
        self.payload.extend_from_slice(message);
    }
}

/// Takes a packet apart; `None` if it is not one. Nothing is copied, nothing is delivered of a packet that is damaged.
pub(super) fn split(mut packet: Bytes) -> Option<impl Iterator<Item = Bytes>> {
    if packet.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut rest = packet.clone();
    while !rest.is_empty() {
        next(&mut rest)?;
    }
    Some(std::iter::from_fn(move || next(&mut packet)))
}

fn next(packet: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(packet.try_get_u32().ok()?).ok()?;
    (length <= packet.len()).then(|| packet.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{Incarnation, NodeId};

    fn peer(id: &str) -> Option<Peer> {
        Some(Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(1) })
    }

    fn messages(packet: &Packet) -> Vec<Bytes> {
        split(Bytes::copy_from_slice(&packet.payload)).expect("a packet of ours").collect()
    }

    #[test]
    fn what_is_ready_for_one_destination_goes_into_one_packet() {
        let mut packer = Packer::default();
        for n in 0..100_u8 {
            packer.push(peer(if n % 2 == 0 { "a" } else { "b" }), Class::Droppable, &[n]);
        }
        packer.push(peer("b"), Class::Important, b"");
        let packets = packer.take();
        assert_eq!(packets.iter().map(|p| p.to.clone()).collect::<Vec<_>>(), [peer("a"), peer("b")]);
        assert_eq!(packets.iter().map(|p| p.class).collect::<Vec<_>>(), [Class::Droppable, Class::Important]);
        assert_eq!(messages(&packets[0]), (0..50).map(|n| Bytes::from(vec![n * 2])).collect::<Vec<_>>());
        assert_eq!(messages(&packets[1]).len(), 51);
        assert!(packer.take().is_empty());
    }

    #[test]
    fn a_full_packet_is_followed_by_another_and_a_long_message_has_its_own() {
        let mut packer = Packer::default();
        for length in [10, 47 << 10, 2 << 10, 200 << 10, 5] {
            packer.push(None, Class::Droppable, &vec![7; length]);
        }
        let lengths: Vec<Vec<usize>> =
            packer.take().iter().map(|p| messages(p).iter().map(Bytes::len).collect()).collect();
        assert_eq!(lengths, [vec![10, 47 << 10], vec![2 << 10], vec![200 << 10], vec![5]]);
    }

    #[test]
    fn every_destination_gets_its_messages_and_the_broadcasts_in_order() {
        let mut packer = Packer::default();
        let to = [peer("a"), None, peer("b"), peer("a"), None, None, peer("b"), peer("a"), peer("a"), None];
        for (n, to) in to.iter().enumerate() {
            packer.push(to.clone(), Class::Droppable, &[n as u8]);
        }
        let packets = packer.take();
        for destination in [peer("a"), peer("b")] {
            let is_for = |to: &Option<Peer>| to.is_none() || *to == destination;
            let sent: Vec<u8> = (0..to.len()).filter(|n| is_for(&to[*n])).map(|n| n as u8).collect();
            let got: Vec<u8> =
                packets.iter().filter(|p| is_for(&p.to)).flat_map(messages).map(|message| message[0]).collect();
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn damaged_packets_are_refused_whole() {
        let good = [&[VERSION, 0, 0, 0, 1, b'x'][..], &[0, 0, 0, 0]].concat();
        assert!(split(Bytes::from(good.clone())).is_some());
        for end in 2..good.len() {
            assert_eq!(split(Bytes::copy_from_slice(&good[..end])).is_some(), end == 6, "cut at {end}");
        }
        for bad in [&[][..], &[0], &[2, 0, 0, 0, 0], &[VERSION, 255, 255, 255, 255], &[VERSION, 255, 255, 255, 255, 1]]
        {
            assert!(split(Bytes::copy_from_slice(bad)).is_none(), "{bad:?}");
        }
    }
}
