//! The key expressions: the only place that forms and reads them.
//!
//! `sworm/1/<cluster>/…` with `n/<node>/<incarnation>` for what is sent to a node, `flush/<node>/<incarnation>` to ask one
//! whether it has received everything so far, and of each session `live/<session>/<node>/<incarnation>` as its sign of life,
//! `ends/…` and `again/…` as the signs that it is about to be closed, for good or to be opened anew.

use xxhash_rust::xxh3::xxh3_128;

use crate::core::ids::{Incarnation, NodeId, Peer};
use crate::transport::hex;

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
}

impl Keys {
    /// A cluster's name may hold any characters and have any length: its hash stands for it.
    pub(super) fn new(cluster: &str) -> Self {
        Self { base: format!("sworm/1/{:032x}", xxh3_128(cluster.as_bytes())) }
    }

    pub(super) fn direct(&self, to: &Peer) -> String {
        self.of_peer("n", to)
    }

    pub(super) fn flush(&self, of: &Peer) -> String {
        self.of_peer("flush", of)
    }

    pub(super) fn every_flush(&self) -> String {
        format!("{}/flush/*/*", self.base)
    }

    /// A node that opens another session is the same node.
    pub(super) fn sign(&self, sign: Sign, me: &Peer, session: &str) -> String {
        self.of_peer(&format!("{}/{session}", sign.kind()), me)
    }

    /// Of all sessions: no other key has so many chunks.
    pub(super) fn all_signs(&self) -> String {
        format!("{}/*/*/*/*", self.base)
    }

    /// A node id may hold any characters, so it stands there in hexadecimal.
    fn of_peer(&self, kind: &str, peer: &Peer) -> String {
        format!("{}/{kind}/{}/{}", self.base, hex(peer.node.as_bytes()), peer.incarnation)
    }
}

/// What a session says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sign {
    /// It is there.
    Lives,
    /// It is about to be closed.
    Ends,
    /// It is about to be closed, and the same node opens another one.
    Again,
}

impl Sign {
    fn kind(self) -> &'static str {
        match self {
            Self::Lives => "live",
            Self::Ends => "ends",
            Self::Again => "again",
        }
    }
}

/// The sign in a key, and of which peer's which session it is.
pub(super) fn sign_of(key: &str) -> Option<(Sign, &str, Peer)> {
    let mut chunks = key.rsplit('/').skip(2);
    let session = chunks.next()?;
    let kind = chunks.next()?;
    let sign = [Sign::Lives, Sign::Ends, Sign::Again].into_iter().find(|sign| sign.kind() == kind)?;
    Some((sign, session, peer_of(key)?))
}

/// The peer in a key that ends in `<node>/<incarnation>`.
fn peer_of(key: &str) -> Option<Peer> {
    let mut chunks = key.rsplit('/');
    let incarnation = chunks.next()?;
    let node = String::from_utf8(from_hex(chunks.next()?)?).ok()?;
    Some(Peer { node: NodeId::new(node)?, incarnation: Incarnation(incarnation.parse().ok()?) })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |character: &u8| char::from(*character).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(id: &str) -> Peer {
        Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(u64::MAX) }
    }

    #[test]
    fn a_node_id_of_any_characters_comes_back_out_of_a_key() {
        for id in ["a", "A b/c*d$é#?", &"x".repeat(128), "日本"] {
            let key = Keys::new("shop").sign(Sign::Lives, &peer(id), "1");
            assert!(key.len() < 400 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/'), "{key}");
            assert_eq!(sign_of(&key), Some((Sign::Lives, "1", peer(id))));
        }
    }

    #[test]
    fn a_key_that_is_none_of_ours_has_no_peer() {
        for key in ["", "a", "sworm/1/x/live/zz/1", "live/616/1", "live/61/-1", "live//1", "live/61/", "live/ff/1"] {
            assert_eq!(peer_of(key), None, "{key}");
        }
    }

    #[test]
    fn clusters_with_other_names_have_no_key_in_common() {
        let (one, other) = (Keys::new("shop"), Keys::new("shop/d"));
        assert_ne!(one.every_flush(), other.every_flush());
        assert_ne!(one.sign(Sign::Lives, &peer("a"), "1"), other.sign(Sign::Lives, &peer("a"), "1"));
        assert_ne!(one.direct(&peer("a")), other.direct(&peer("a")));
    }
}
