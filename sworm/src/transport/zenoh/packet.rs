//! Packets: the messages that were ready for one destination together, as one payload.
//!
//! A packet is the version of this format (one byte), then each message after its length (four bytes, big-endian).

use bytes::{Buf, Bytes};

use crate::transport::Class;

const VERSION: u8 = 1;
const LENGTH_BYTES: usize = 4;
/// A packet takes no further message beyond this: it then fits into one batch of zenoh's (64 KiB), with its key.
const PACKET_BYTES: usize = 48 << 10;

/// A payload under way.
pub(super) struct Packet {
    /// Important if any message in it is.
    pub(super) class: Class,
    pub(super) payload: Vec<u8>,
}

/// Gathers messages for one destination into packets; those, in their order, hold its messages in theirs.
#[derive(Default)]
pub(super) struct Packer(Vec<Packet>);

impl Packer {
    pub(super) fn push(&mut self, class: Class, message: &[u8]) {
        match self.0.last_mut().filter(|packet| packet.takes(message)) {
            Some(packet) => packet.add(class, message),
            None => {
                let mut packet = Packet { class, payload: vec![VERSION] };
                packet.add(class, message);
                self.0.push(packet);
            }
        }
    }

    /// The packets so far, in the order in which to send them.
    pub(super) fn take(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.0)
    }
}

impl Packet {
    /// A packet of one message.
    pub(super) fn of_one(message: &[u8]) -> Vec<u8> {
        let mut packet = Self { class: Class::Important, payload: vec![VERSION] };
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

    fn messages(packet: &Packet) -> Vec<Bytes> {
        split(Bytes::copy_from_slice(&packet.payload)).expect("a packet of ours").collect()
    }

    #[test]
    fn what_is_ready_together_goes_into_one_packet() {
        let mut packer = Packer::default();
        (0..100_u8).for_each(|n| packer.push(Class::Droppable, &[n]));
        packer.push(Class::Important, b"");
        let packets = packer.take();
        assert_eq!(packets.iter().map(|p| p.class).collect::<Vec<_>>(), [Class::Important]);
        let sent = (0..100).map(|n| Bytes::from(vec![n])).chain([Bytes::new()]);
        assert_eq!(messages(&packets[0]), sent.collect::<Vec<_>>());
        assert!(packer.take().is_empty());
        packer.push(Class::Droppable, b"");
        assert_eq!(packer.take()[0].class, Class::Droppable);
    }

    #[test]
    fn a_full_packet_is_followed_by_another_and_a_long_message_has_its_own() {
        let mut packer = Packer::default();
        for length in [10, 47 << 10, 2 << 10, 200 << 10, 5] {
            packer.push(Class::Droppable, &vec![7; length]);
        }
        let lengths: Vec<Vec<usize>> =
            packer.take().iter().map(|p| messages(p).iter().map(Bytes::len).collect()).collect();
        assert_eq!(lengths, [vec![10, 47 << 10], vec![2 << 10], vec![200 << 10], vec![5]]);
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
