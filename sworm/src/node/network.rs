//! Takes what the transport brings: greets, notices who comes and goes, and passes messages on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::frame::{Call, Calls, Frame, Replied};
use super::unread::Unread;
use super::{Introduction, Life, NodeShared, identity, unix_ms};
use crate::core::Input;
use crate::core::ids::{NodeId, Peer};
use crate::core::membership::{Differs, FORMAT, Hello, Want};
use crate::core::message::Message;
use crate::transport::{Class, Dialed, Shortcut, TransportEvent};

const TICK: Duration = Duration::from_millis(50);

/// Runs until the node stops. `remembered` is what the store has of the other nodes.
pub(crate) async fn run(
    node: Arc<NodeShared>,
    mut remembered: BTreeMap<NodeId, Vec<String>>,
    mut events: mpsc::UnboundedReceiver<TransportEvent>,
) {
    let mut stopping = node.stopping();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Biased: who is there is known before time decides that nobody is.
        let event = tokio::select! {
            biased;
            _ = stopping.wait_for(Life::is_over) => return,
            event = events.recv() => match event {
                Some(event) => Some(event),
                None => return,
            },
            _ = ticks.tick() => None,
        };
        let mut want = Vec::new();
        let now = node.mono_ms();
        let is_about_members = !matches!(event, Some(TransportEvent::Message(_)));
        match event {
            None => node.membership().tick(now, &mut want),
            Some(TransportEvent::LinkUp(peer)) => node.membership().linked(now, peer, true, &mut want),
            Some(TransportEvent::LinkDown(peer)) => node.membership().linked(now, peer, false, &mut want),
            Some(TransportEvent::Reopens(peer)) => node.membership().reopens(now, &peer),
            Some(TransportEvent::Message(bytes)) => {
                let unread = node.transport().map(|transport| Unread::new(&transport, bytes.len()));
                message(&node, &bytes, unread, &mut want);
            }
        }
        if is_about_members || !want.is_empty() {
            node.tell_of_members();
        }
        for want in want {
            if let Want::Present { hello } = &want
                && remembered.get(&hello.from.node) != Some(&hello.endpoints)
            {
                remembered.insert(hello.from.node.clone(), hello.endpoints.clone());
                if let Some(transport) = node.transport() {
                    let own = transport.endpoints();
                    transport.know(remembered.values().flatten().cloned().chain(own).collect());
                }
                if let Err(error) = identity::remember(&*node.store, &remembered).await {
                    node.store_failed(error);
                }
            }
            perform(&node, want);
        }
    }
}

/// Gives messages to workers, and answers to callers, on the thread that brings them: all but what would have to wait for the
/// task of [`run`], which a call would otherwise wait for twice.
pub(crate) fn shortcut(node: &Arc<NodeShared>) -> Shortcut {
    let (node, runtime) = (Arc::downgrade(node), Handle::current());
    Box::new(move |bytes| {
        if !Frame::is_of_calls(bytes) {
            return false;
        }
        let Some(node) = node.upgrade() else { return false };
        // What has to wait for its worker does so in a task.
        let _entered = runtime.enter();
        message(&node, bytes, None, &mut Vec::new());
        true
    })
}

/// Dials what this node looks for when it starts.
pub(crate) fn dial_seeds(node: &Arc<NodeShared>, seeds: Vec<String>) {
    for endpoint in seeds {
        if !endpoint.contains('/') {
            continue; // nothing that can be dialled: it is waited for
        }
        let node = node.clone();
        tokio::spawn(async move {
            let Some(transport) = node.transport() else { return };
            let answered = transport.dial(&endpoint).await == Dialed::Answered;
            node.membership().seed(&endpoint, answered);
        });
    }
}

/// What is for a core is unread until that takes it; the rest is done with here.
fn message(node: &Arc<NodeShared>, bytes: &Bytes, unread: Option<Unread>, want: &mut Vec<Want>) {
    let frame = match Frame::decode(bytes) {
        Ok(frame) => frame,
        Err(error) => {
            tracing::debug!(%error, bytes = bytes.len(), "a message was dropped");
            return;
        }
    };
    match frame {
        Frame::Hello(hello) => node.membership().hello(node.mono_ms(), unix_ms(), hello, want),
        Frame::Goodbye(peer) => {
            node.membership().goodbye(&peer);
            node.tell_of_members(); // before its link is lost
        }
        Frame::Core(_, from, _) if node.membership().refuses(&from) => {}
        Frame::Core(sworm, from, message) => {
            let shared = node.sworms().get(&sworm).cloned();
            match shared {
                Some(shared) => shared.message(from, message, unread),
                None => {
                    if let Message::Beat(beat) = *message
                        && beat.is_answered_unopened()
                    {
                        let answer = Frame::Core(sworm, node.me.clone(), Box::new(Message::NotOpen));
                        send(node, &from, &answer);
                    }
                }
            }
        }
        Frame::Call(call) => deliver(node, call),
        Frame::Calls(calls) => deliver_all(node, calls),
        Frame::Reply(number, replied) => node.calls.replied(number, replied),
        Frame::AskAbout(from, about) => node.membership().asked_about(from, about, want),
        Frame::Tell(from, linked) => node.membership().told(node.mono_ms(), &from, linked, want),
        Frame::Relay(relay) => node.pass_on(relay),
    }
}

/// Gives a message to its worker, unless it did so before.
pub(super) fn deliver(node: &NodeShared, call: Call) {
    if node.repeats.is_first(&call.from, call.number) {
        if call.alone {
            node.repeats.came_alone(&call.from, call.number);
        }
        return give(node, call);
    }
    tracing::debug!(name = &*call.name, from = %call.from, number = call.number, "a message came twice");
}

/// The same for the workers of several; their numbers are sent together, and stand or fall together.
pub(super) fn deliver_all(node: &NodeShared, calls: Calls) {
    // The last number was drawn just before they were sent.
    let Some(number) = calls.workers.last().map(|worker| worker.number) else { return };
    if node.repeats.is_first(&calls.from, number) {
        return calls.each().for_each(|call| give(node, call));
    }
    tracing::debug!(from = %calls.from, number, "a message to several workers came twice");
}

/// Gives a message to its worker, if its sworm is open here.
fn give(node: &NodeShared, call: Call) {
    let shared = node.sworms().get(&call.sworm).cloned();
    match shared {
        Some(shared) => shared.deliver(call),
        None if call.cast => {
            tracing::debug!(name = &*call.name, from = %call.from, "a cast is lost: its sworm is not open here");
        }
        None => send(node, &call.from, &Frame::Reply(call.number, Replied::NotHere)),
    }
}

fn send(node: &NodeShared, to: &Peer, frame: &Frame) {
    match frame.encode() {
        Ok(bytes) => node.send(to, Class::Important, bytes),
        Err(error) => tracing::error!(%error, "a message could not be encoded"),
    }
}

fn perform(node: &Arc<NodeShared>, want: Want) {
    let tell_all = |input: &dyn Fn() -> Input| {
        for sworm in node.sworms().values() {
            sworm.input(input());
        }
    };
    match want {
        Want::Greet { to, answer } => send(node, &to, &Frame::Hello(node.hello(answer))),
        Want::AskAbout { to, about } => send(node, &to, &Frame::AskAbout(node.me.clone(), about)),
        Want::Tell { to, linked } => send(node, &to, &Frame::Tell(node.me.clone(), linked)),
        Want::Dial { peer, endpoints } => dial(node, peer, endpoints),
        Want::Present { hello } => {
            say_what_differs(node, &hello);
            tell_all(&|| Input::Present { peer: hello.from.clone(), profile: hello.profile.clone() });
        }
        Want::Absent { peer } => {
            tracing::info!(node = &*node.me.node, %peer, "a node is gone");
            node.calls.gone(&peer);
            tell_all(&|| Input::Absent { peer: peer.clone() });
        }
        Want::OtherFormat { peer, theirs } => {
            tracing::error!(%peer, theirs, ours = FORMAT, "a node that speaks another version of the protocol is not let in");
        }
        Want::ClockAhead { peer, theirs_ms } => {
            let ours_ms = unix_ms();
            tracing::error!(%peer, theirs_ms, ours_ms, "a node whose clock is over a minute ahead is not let in");
        }
        Want::IdTaken { other } => {
            tracing::error!(%other, "another node with this node's id is running");
            settle(node, Introduction::IdTaken);
        }
        Want::Introduced => {
            settle(node, Introduction::Done);
            tell_all(&|| Input::Introduced);
        }
    }
}

fn say_what_differs(node: &NodeShared, hello: &Hello) {
    let peer = &hello.from;
    let Differs { lacks, adds, matters } = node.linked().against(&hello.linked);
    if matters {
        tracing::warn!(node = &*node.me.node, %peer, ?lacks, ?adds, "a node is there, with other distribution strategies");
    } else {
        tracing::info!(node = &*node.me.node, %peer, ?lacks, ?adds, "a node is there");
    }
}

/// What came of meeting the others is said once: later news of it does not undo a start.
fn settle(node: &NodeShared, outcome: Introduction) {
    node.introduced.send_if_modified(|now| {
        let waiting = *now == Introduction::Waiting;
        if waiting {
            *now = outcome;
        }
        waiting
    });
}

/// Whether a node whose link was lost still listens: refused on all endpoints, its process is gone.
fn dial(node: &Arc<NodeShared>, peer: Peer, endpoints: Vec<String>) {
    let node = node.clone();
    tokio::spawn(async move {
        let Some(transport) = node.transport() else { return };
        let mut all_refused = !endpoints.is_empty();
        for endpoint in &endpoints {
            all_refused &= transport.dial(endpoint).await == Dialed::Refused;
        }
        let mut want = Vec::new();
        node.membership().dialled(node.mono_ms(), &peer, all_refused, &mut want);
        node.tell_of_members();
        for want in want {
            perform(&node, want);
        }
    });
}
