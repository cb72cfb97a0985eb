//! Calls of this node that wait for a reply of another one, and whether a call is the only thing on its way there.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::HashMap;
use tokio::sync::oneshot;

use super::frame::Replied;
use super::order::OnItsWay;
use crate::core::ids::Peer;
use crate::error::CallError;

/// The calls without a reply.
#[derive(Default)]
pub(crate) struct Calls {
    next: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Call>,
    ways: HashMap<Peer, OnTheWay>,
}

struct Call {
    to: Peer,
    reply: oneshot::Sender<Replied>,
    /// How many messages without a reply had gone there before: when this one is answered they have arrived, too.
    after: u64,
    /// Its place in the order, which others wait for.
    sent: Option<OnItsWay>,
}

/// What went from this node to workers of another one, as far as it is not known to have arrived.
#[derive(Default)]
struct OnTheWay {
    calls: usize,
    /// How many messages went there that have no reply, or whose reply nobody waits for any more; and how many of them have
    /// arrived.
    unanswered: u64,
    arrived: u64,
}

/// A call that waits; dropping it forgets the call.
pub(crate) struct Waiting<'a> {
    calls: &'a Calls,
    pub(crate) number: u64,
    /// Whether everything that went to workers of that node before has arrived there.
    pub(crate) alone: bool,
    pub(crate) reply: oneshot::Receiver<Replied>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.calls.lock();
        let Some(call) = state.waiting.remove(&self.number) else { return };
        let way = state.way(&call.to);
        way.calls -= 1;
        way.unanswered += 1;
        drop(state);
    }
}

impl Calls {
    /// A number for a message that nobody answers.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Waits for a reply of that node, to what is sent afterwards. Its place in the order is settled when the reply comes, or it
    /// has it again then, whether somebody looks or not.
    pub(crate) fn wait(&self, to: &Peer, sent: Option<OnItsWay>) -> Waiting<'_> {
        let number = self.number();
        let (sender, reply) = oneshot::channel();
        let mut state = self.lock();
        let way = state.way(to);
        let alone = way.calls == 0 && way.unanswered == way.arrived;
        way.calls += 1;
        let call = Call { to: to.clone(), reply: sender, after: way.unanswered, sent };
        state.waiting.insert(number, call);
        Waiting { calls: self, number, alone, reply }
    }

    /// Messages that nobody answers have been sent to workers of that node.
    pub(crate) fn has_sent(&self, to: &Peer, messages: usize) {
        self.lock().way(to).unanswered += messages as u64;
    }

    /// A reply has come.
    pub(crate) fn replied(&self, number: u64, replied: Replied) {
        let mut state = self.lock();
        let Some(Call { to, reply, after, sent }) = state.waiting.remove(&number) else { return };
        let way = state.way(&to);
        way.calls -= 1;
        way.arrived = way.arrived.max(after);
        drop(state);
        let back = sent.filter(|_| matches!(replied, Replied::NotHere)).map(OnItsWay::comes_back);
        if reply.send(replied).is_err()
            && let Some(back) = back
        {
            back.goes_away();
        }
    }

    /// A node is gone: what it was sent has an unknown outcome.
    pub(crate) fn gone(&self, peer: &Peer) {
        let mut state = self.lock();
        state.ways.remove(peer);
        let gone: Vec<Call> = state.waiting.extract_if(|_, call| call.to == *peer).map(|(_, call)| call).collect();
        drop(state);
        for Call { reply, sent, .. } in gone {
            drop(sent);
            let _ = reply.send(Replied::Failed(CallError::NodeDown));
        }
    }

    /// This node has stopped: nobody brings replies any more.
    pub(crate) fn stopped(&self) {
        let state = std::mem::take(&mut *self.lock());
        drop(state); // what is settled by that looks for others' places
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn way(&mut self, to: &Peer) -> &mut OnTheWay {
        if !self.ways.contains_key(to) {
            self.ways.insert(to.clone(), OnTheWay::default());
        }
        self.ways.get_mut(to).expect("it was put in")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::ids::{Epoch, Incarnation, NodeId};
    use crate::node::order::{Order, Stay, Turn};

    fn peer(id: &str) -> Peer {
        Peer { node: NodeId::new(id).expect("valid"), incarnation: Incarnation(1) }
    }

    #[test]
    fn a_call_is_alone_when_all_that_went_to_its_node_before_has_arrived() {
        let (calls, a, b) = (Calls::default(), peer("a"), peer("b"));
        let first = calls.wait(&a, None);
        assert!(first.alone);
        assert!(!calls.wait(&a, None).alone, "there is another call"); // and nobody waits for this one
        assert!(calls.wait(&b, None).alone, "that is another node");
        calls.replied(first.number, Replied::NotHere);
        drop(first);
        let second = calls.wait(&a, None);
        assert!(!second.alone, "one that nobody waits for came after the first");
        calls.replied(second.number, Replied::NotHere);
        drop(second);
        let third = calls.wait(&a, None);
        assert!(third.alone, "its reply says that the others have arrived");
        calls.has_sent(&a, 2);
        calls.replied(third.number, Replied::NotHere);
        drop(third);
        let fourth = calls.wait(&a, None);
        assert!(!fourth.alone, "the third was sent before these two");
        calls.replied(fourth.number, Replied::NotHere);
        drop(fourth);
        assert!(calls.wait(&a, None).alone);
        calls.gone(&a);
        assert!(calls.wait(&a, None).alone, "what went to a node that is gone is gone");
    }

    #[test]
    fn a_call_that_is_answered_is_settled_though_nobody_looks_and_one_that_comes_back_has_its_place_again() {
        let (calls, order, name) = (Calls::default(), Arc::<Order>::default(), Arc::<str>::from("room"));
        let stay = |id: &str, major| Stay { host: peer(id), since: Epoch { major, minor: 0 } };
        let (mut first, mut second, mut third) = (order.ticket(&name), order.ticket(&name), order.ticket(&name));
        let Turn::Now(sent) = first.turn(&stay("a", 1), false) else { panic!("nothing is on its way") };
        let one = calls.wait(&peer("a"), Some(sent));
        let Turn::Now(sent) = second.turn(&stay("a", 1), false) else { panic!("they go together") };
        let other = calls.wait(&peer("a"), Some(sent));
        assert!(matches!(third.turn(&stay("b", 2), false), Turn::Unsettled(..)));
        calls.replied(one.number, Replied::Done(bytes::Bytes::new()));
        assert!(matches!(third.turn(&stay("b", 2), false), Turn::Unsettled(..)), "the other one is on its way");
        calls.replied(other.number, Replied::NotHere);
        assert!(matches!(third.turn(&stay("b", 2), false), Turn::Behind(_)), "the other one has its place again");
        second.is_back();
        drop(second);
        assert!(matches!(third.turn(&stay("b", 2), false), Turn::Now(_)));
    }

    #[test]
    fn whoever_waits_is_told_when_the_node_is_gone_or_this_one_has_stopped() {
        let calls = Calls::default();
        let (mut to_a, mut to_b) = (calls.wait(&peer("a"), None), calls.wait(&peer("b"), None));
        calls.gone(&peer("a"));
        assert!(matches!(to_a.reply.try_recv(), Ok(Replied::Failed(CallError::NodeDown))));
        calls.stopped();
        assert!(to_b.reply.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Closed));
    }
}
