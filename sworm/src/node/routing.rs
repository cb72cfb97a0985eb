//! What leaves for other nodes: over the link to them or, where that is lost, over one member that is linked to both.

use bytes::Bytes;

use super::NodeShared;
use super::frame::{Frame, Relay};
use super::network;
use crate::core::ids::Peer;
use crate::core::membership::{Known, MemberState, Route};
use crate::error::CallError;
use crate::transport::{Class, Transport};

impl NodeShared {
    /// Sends a frame to a node.
    pub(crate) fn send(&self, to: &Peer, class: Class, frame: Bytes) {
        if *to == self.me {
            return self.take_back(&frame);
        }
        let route = self.membership().route(to);
        let Some(transport) = self.transport() else { return };
        match route {
            // A link that has just come up is the transport's before it is known here.
            Route::Direct | Route::None => transport.send(to, class, frame),
            Route::Via(relay) => send_over(&*transport, &relay, to, class, frame),
        }
    }

    /// Sends a frame to a node to which nothing else of that kind is on its way, at once, if the transport can; says whether it
    /// did.
    pub(crate) fn send_now(&self, to: &Peer, frame: &Bytes) -> bool {
        let is_direct = || matches!(self.membership().route(to), Route::Direct);
        *to != self.me && is_direct() && self.transport().is_some_and(|transport| transport.send_now(to, frame))
    }

    /// Whether messages of so many bytes can be sent there: unless so much waits to be sent that they would be dropped.
    pub(crate) fn has_room_for(&self, to: &Peer, bytes: usize) -> bool {
        if *to == self.me {
            return true;
        }
        let route = self.membership().route(to);
        let over = if let Route::Via(relay) = &route { relay } else { to };
        self.transport().is_none_or(|transport| transport.has_room_for(over, bytes))
    }

    /// Sends a message for a worker, if there is room for it.
    pub(crate) fn send_or_refuse(&self, to: &Peer, frame: Bytes) -> Result<(), CallError> {
        if !self.has_room_for(to, frame.len()) {
            return Err(CallError::Overloaded);
        }
        self.send(to, Class::Important, frame);
        Ok(())
    }

    /// Whether that incarnation of a node takes part, as far as is known here.
    pub(crate) fn is_present(&self, peer: &Peer) -> bool {
        let present = |known: &Known| {
            known.incarnation == peer.incarnation && !matches!(known.state, MemberState::Down | MemberState::Joining)
        };
        *peer == self.me || self.membership().known().get(&peer.node).is_some_and(present)
    }

    /// A call of this node's own, or the reply to one, where local calls are encoded.
    fn take_back(&self, frame: &[u8]) {
        match Frame::decode(frame) {
            Ok(Frame::Call(call)) => network::deliver(self, call),
            Ok(Frame::Calls(calls)) => network::deliver_all(self, calls),
            Ok(Frame::Reply(number, replied)) => self.calls.replied(number, replied),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a message of this node to itself cannot be decoded"),
        }
    }

    /// Sends a frame to all other nodes.
    pub(crate) fn broadcast(&self, class: Class, frame: Bytes) {
        let relayed = self.membership().relayed();
        let Some(transport) = self.transport() else { return };
        for (to, relay) in relayed {
            send_over(&*transport, &relay, &to, class, frame.clone());
        }
        transport.broadcast(class, frame);
    }

    /// Passes on what is for another node, if this one is linked to it.
    pub(super) fn pass_on(&self, relay: Relay) {
        let Relay { to, droppable, frame } = relay;
        if !self.membership().passes_on(&to) {
            return tracing::debug!(%to, "a message for a node without a link to here is not passed on");
        }
        if let Some(transport) = self.transport() {
            transport.send(&to, if droppable { Class::Droppable } else { Class::Important }, frame);
        }
    }
}

fn send_over(transport: &dyn Transport, relay: &Peer, to: &Peer, class: Class, frame: Bytes) {
    let wrapped = Frame::Relay(Relay { to: to.clone(), droppable: class == Class::Droppable, frame });
    match wrapped.encode() {
        Ok(frame) => transport.send(relay, class, frame),
        Err(error) => tracing::error!(%error, "a message could not be encoded"),
    }
}
