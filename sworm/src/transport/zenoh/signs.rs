//! Who is seen alive, and which links are half open.
//!
//! When one side of a link notices its loss before the other, the other takes the next link for one more of the old ones
//! (zenoh keeps two where both nodes dial) and does not say again what it has declared: the first is linked to a session
//! whose sign of life never comes back, and messages between them are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use zenoh::sample::SampleKind;

use super::keys::{Sign, sign_of};
use super::queue::Queue;
use crate::core::ids::Peer;
use crate::node::random_u32;
use crate::transport::TransportEvent;

/// How long a link may be there without the sign of life of the session at its other end: it follows within milliseconds.
const HALF_OPEN: Duration = Duration::from_secs(3);
/// And up to so much longer, by chance: when two see it, the first to open its session anew does it for both.
const HALF_OPEN_MORE: Duration = Duration::from_secs(1);
/// How long a session is remembered that is not linked: one that stood still for longer counts as new.
const REMEMBERED: Duration = Duration::from_secs(3_600);

/// The signs of life of other nodes; clones are the same.
#[derive(Clone)]
pub(super) struct Signs {
    me: Peer,
    half_open: Duration,
    /// Which of this node's sessions tells of them.
    session: u64,
    queue: Queue,
    events: UnboundedSender<TransportEvent>,
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Condvar>,
}

#[derive(Default)]
struct Seen {
    /// The living sessions of each peer: two while it opens another one.
    peers: BTreeMap<Peer, BTreeSet<String>>,
    /// Sessions that are about to be closed, however long that takes.
    ending: BTreeSet<String>,
    /// Sessions whose sign of life was lost.
    lost: BTreeMap<String, Lost>,
    /// How many sessions this node has had before.
    sessions: u64,
}

struct Lost {
    at: Instant,
    /// Since when a link to it is there all the same.
    linked: Option<Instant>,
}

impl Signs {
    pub(super) fn new(me: &Peer, queue: &Queue, events: &UnboundedSender<TransportEvent>) -> Self {
        let (seen, changed) = (Arc::default(), Arc::default());
        let half_open = HALF_OPEN + HALF_OPEN_MORE.mul_f64(f64::from(random_u32()) / f64::from(u32::MAX));
        Self { me: me.clone(), half_open, session: 0, queue: queue.clone(), events: events.clone(), seen, changed }
    }

    /// The same, told of by the present session.
    pub(super) fn of_this_session(&self) -> Self {
        Self { session: self.seen().sessions, ..self.clone() }
    }

    /// A sign has appeared or gone.
    pub(super) fn tell(&self, key: &str, kind: SampleKind) {
        let Some((sign, session, peer)) = sign_of(key).filter(|(_, _, peer)| *peer != self.me) else { return };
        let mut seen = self.seen();
        if seen.sessions != self.session {
            return; // a session that is closed may still have something to say
        }
        match (sign, kind) {
            (Sign::Lives, SampleKind::Put) => {
                seen.lost.remove(session);
                seen.peers.entry(peer.clone()).or_default().insert(session.to_owned());
                self.queue.shared.everybody().insert(peer.clone());
                let _ = self.events.send(TransportEvent::LinkUp(peer));
                self.changed.notify_all();
            }
            (Sign::Lives, SampleKind::Delete) => {
                let Some(sessions) = seen.peers.get_mut(&peer) else { return };
                sessions.remove(session);
                let was_last = sessions.is_empty();
                if !seen.ending.contains(session) {
                    seen.lost.insert(session.to_owned(), Lost { at: Instant::now(), linked: None });
                }
                if was_last {
                    seen.peers.remove(&peer);
                    self.queue.shared.everybody().remove(&peer);
                    self.down(peer);
                }
            }
            (Sign::Ends | Sign::Again, SampleKind::Put) => {
                seen.lost.remove(session);
                seen.ending.insert(session.to_owned());
                if sign == Sign::Again {
                    let _ = self.events.send(TransportEvent::Reopens(peer));
                }
            }
            (Sign::Ends | Sign::Again, SampleKind::Delete) => _ = seen.ending.remove(session),
        }
    }

    /// Whether there has long been a link to a session whose sign of life was lost. To be asked now and then, with the
    /// sessions that are linked now.
    pub(super) fn are_half_open(&self, linked: &BTreeSet<String>) -> bool {
        self.are_half_open_at(linked, Instant::now())
    }

    fn are_half_open_at(&self, linked: &BTreeSet<String>, now: Instant) -> bool {
        let mut seen = self.seen();
        seen.lost.retain(|session, lost| {
            lost.linked = linked.contains(session).then(|| lost.linked.unwrap_or(now));
            lost.linked.is_some() || now.duration_since(lost.at) < REMEMBERED
        });
        seen.lost.values().filter_map(|lost| lost.linked).any(|since| now.duration_since(since) >= self.half_open)
    }

    /// The session is over, and with it all links. Answers who was seen; what is sent to them waits for the next session.
    pub(super) fn forget_all(&self) -> BTreeSet<Peer> {
        let mut seen = self.seen();
        let sessions = seen.sessions + 1;
        let Seen { peers, .. } = std::mem::replace(&mut *seen, Seen { sessions, ..Seen::default() });
        peers.into_keys().inspect(|peer| self.down(peer.clone())).collect()
    }

    /// Waits until all of these are seen, but not for ever.
    pub(super) fn wait_for(&self, peers: &BTreeSet<Peer>, limit: Duration) {
        let are_missing = |seen: &mut Seen| !peers.iter().all(|peer| seen.peers.contains_key(peer));
        // Whether they came or not, what is to be sent is sent now.
        let waited = self.changed.wait_timeout_while(self.seen(), limit, are_missing);
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *self.queue.shared.everybody() = seen.peers.keys().cloned().collect();
    }

    fn down(&self, peer: Peer) {
        self.queue.forget(&peer);
        let _ = self.events.send(TransportEvent::LinkDown(peer));
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::core::ids::{Incarnation, NodeId};
    use crate::transport::zenoh::keys::Keys;
    use crate::transport::zenoh::queue::queue;

    fn peer(id: &str) -> Peer {
        Peer { node: NodeId::new(id).expect("valid"), incarnation: Incarnation(1) }
    }

    fn signs() -> Signs {
        let (queue, _items) = queue();
        Signs::new(&peer("me"), &queue, &unbounded_channel().0)
    }

    fn told(signs: &Signs, id: &str, session: &str, kind: SampleKind) {
        tells(signs, Sign::Lives, id, session, kind);
    }

    fn tells(signs: &Signs, sign: Sign, id: &str, session: &str, kind: SampleKind) {
        signs.tell(&Keys::new("c").sign(sign, &peer(id), session), kind);
    }

    fn linked(sessions: &[&str]) -> BTreeSet<String> {
        sessions.iter().map(|session| (*session).to_owned()).collect()
    }

    #[test]
    fn a_link_without_the_sign_of_life_that_was_there_is_half_open_after_three_seconds() {
        let (signs, now) = (signs(), Instant::now());
        let after = |ms| now + Duration::from_millis(ms);
        told(&signs, "a", "1", SampleKind::Put);
        assert!(!signs.are_half_open_at(&linked(&["1", "router"]), after(60_000)), "what never had a sign needs none");
        told(&signs, "a", "1", SampleKind::Delete);
        assert!(!signs.are_half_open_at(&linked(&["1"]), after(61_000)));
        assert!(!signs.are_half_open_at(&linked(&["1"]), after(63_999)));
        assert!(signs.are_half_open_at(&linked(&["1"]), after(65_000)));
        told(&signs, "a", "1", SampleKind::Put);
        assert!(!signs.are_half_open_at(&linked(&["1"]), after(90_000)), "it came back");
    }

    #[test]
    fn a_session_that_is_not_linked_is_not_half_open_and_is_forgotten_in_the_end() {
        let (signs, now) = (signs(), Instant::now());
        told(&signs, "a", "1", SampleKind::Put);
        told(&signs, "a", "1", SampleKind::Delete);
        for seconds in 0..10 {
            let links = if seconds % 2 == 0 { linked(&["1"]) } else { linked(&[]) };
            assert!(!signs.are_half_open_at(&links, now + Duration::from_secs(seconds * 2)));
        }
        assert_eq!(signs.seen().lost.len(), 1);
        signs.are_half_open_at(&linked(&[]), now + REMEMBERED + Duration::from_secs(1));
        assert_eq!(signs.seen().lost.len(), 0);
    }

    #[test]
    fn who_says_that_it_ends_its_session_may_take_its_time_to_close_its_links() {
        let (queue, _items) = queue();
        let (events, mut received) = unbounded_channel();
        for sign in [Sign::Ends, Sign::Again] {
            let (signs, now) = (Signs::new(&peer("me"), &queue, &events), Instant::now());
            told(&signs, "a", "1", SampleKind::Put);
            tells(&signs, sign, "a", "1", SampleKind::Put);
            told(&signs, "a", "1", SampleKind::Delete);
            assert!(!signs.are_half_open_at(&linked(&["1"]), now));
            assert!(!signs.are_half_open_at(&linked(&["1"]), now + Duration::from_secs(60)));
            tells(&signs, sign, "a", "1", SampleKind::Delete);
            assert_eq!(signs.seen().ending.len(), 0);
            assert_eq!(received.try_recv(), Ok(TransportEvent::LinkUp(peer("a"))));
            if sign == Sign::Again {
                assert_eq!(received.try_recv(), Ok(TransportEvent::Reopens(peer("a"))));
            }
            assert_eq!(received.try_recv(), Ok(TransportEvent::LinkDown(peer("a"))));
        }
    }

    #[test]
    fn what_a_former_session_of_this_node_still_says_does_not_count() {
        let (queue, _items) = queue();
        let (events, mut received) = unbounded_channel();
        let before = Signs::new(&peer("me"), &queue, &events);
        told(&before, "a", "1", SampleKind::Put);
        assert_eq!(before.forget_all(), BTreeSet::from([peer("a")]));
        let after = before.of_this_session();
        told(&after, "a", "1", SampleKind::Put);
        told(&before, "a", "1", SampleKind::Delete);
        let (up, down) = (TransportEvent::LinkUp(peer("a")), TransportEvent::LinkDown(peer("a")));
        assert_eq!([received.try_recv(), received.try_recv(), received.try_recv()], [Ok(up.clone()), Ok(down), Ok(up)]);
        assert!(received.try_recv().is_err());
        assert_eq!(after.seen().peers.len(), 1);
    }

    #[test]
    fn a_node_with_two_sessions_is_there_until_both_are_gone() {
        let (queue, _items) = queue();
        let (events, mut received) = unbounded_channel();
        let signs = Signs::new(&peer("me"), &queue, &events);
        told(&signs, "a", "1", SampleKind::Put);
        told(&signs, "a", "2", SampleKind::Put);
        told(&signs, "a", "1", SampleKind::Delete);
        let up = || TransportEvent::LinkUp(peer("a"));
        assert_eq!([received.try_recv(), received.try_recv()], [Ok(up()), Ok(up())]);
        assert!(received.try_recv().is_err());
        told(&signs, "a", "2", SampleKind::Delete);
        assert_eq!(received.try_recv(), Ok(TransportEvent::LinkDown(peer("a"))));
    }
}
