//! Messages to all members of a group: encoded once, one message for each node that has some of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;

use super::call::CALL_LIMIT;
use super::lazy::Lazy;
use super::way::{Found, Letter, Way, may_send};
use super::{Registration, Sworm};
use crate::core::ids::{Epoch, Peer};
use crate::error::CallError;
use crate::node::calls::Waiting;
use crate::node::frame::{Calls, Frame, OneOf};
use crate::node::order::{OnItsWay, Stay};
use crate::transport::Class;
use crate::worker::{Message, outbox};

/// How many bytes of names go into one message; a node that has more members gets another one.
const MAX_NAMES_BYTES: usize = 16 << 20;
/// How many members are in one message: half of what one node may have sent to another one since, so that it is no repeat.
const MAX_NAMES: usize = 32_768;
/// What a member's number and the lengths take beside its name, at most.
const NUMBER_BYTES: usize = 40;

impl Sworm {
    /// Sends a message to all members of a group and waits for all their replies, with 5 s for everything unless
    /// `.timeout(..)` says otherwise; awaited directly. Gives one pair for each member that this node knew when the call was
    /// awaited, sorted by name: the member as it was then, and its reply or what became of its call. It returns when the last of
    /// them has answered or failed, and when the time is over at the latest: an error of one member does not end the others'
    /// calls, and those that have no reply by then are [`CallError::Timeout`] or, if they could not be sent the message,
    /// [`CallError::NotSent`]. A group without members is an empty list, at once. Who joins meanwhile is not called.
    ///
    /// Each member handles the message at most once. One that is moving or starting is waited for within the time, as
    /// [`call`](crate::Ref::call) does. Members may be of several worker types: one that does not take the message is a
    /// [`CallError::NoSuchMessage`] of its own. A worker that calls a group that it is in waits for itself: its own result
    /// is [`CallError::Timeout`], and it handles the message afterwards.
    ///
    /// The message is encoded once, and the members of one node get it in one message (one more for each 16 MiB of their
    /// names, or 32,768 of them). A mailbox that is full is waited for within the time, then it is
    /// [`CallError::Overloaded`]; so it is at once for those members to whose node the links take nothing more.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # #[message(reply = u32)]
    /// # struct HowMany;
    /// # async fn example(rooms: Sworm) {
    /// for (room, guests) in rooms.multi_call("open-rooms", HowMany).await {
    ///     match guests {
    ///         Ok(guests) => println!("{} has {guests} guests", room.name),
    ///         Err(error) => println!("{}: {error}", room.name),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn multi_call<M: Message>(&self, group: impl AsRef<str>, message: M) -> MultiCallBuilder<M> {
        let (sworm, group) = (self.clone(), group.as_ref().into());
        MultiCallBuilder(Lazy::new(Options { sworm, group, message, timeout: CALL_LIMIT }))
    }

    /// Sends a message to all members of a group without waiting for it to be handled, and gives the number of those to
    /// which it is on its way: it is in their mailbox if they are on this node, else handed to the links, and may still be lost as
    /// [`cast`](crate::Ref::cast) says. It returns as soon as that is so for all, at once as a rule; one that is moving or
    /// starting, or on this node with a full mailbox, is waited for up to 5 s. Those that could not be sent it (they have failed,
    /// their worker is here and does not take it or has no room in time, or the links to their node take nothing more) are not
    /// counted, and told of in the log at level debug: `Ok` with less than the group has members says how many. A group without
    /// members is `Ok(0)`.
    ///
    /// In a worker with `snapshot = "each"` it leaves when the state is durable ([`Snapshots::Each`](crate::Snapshots::Each)),
    /// and the number is that of the members at the time of the call.
    ///
    /// # Errors
    ///
    /// [`CallError::Undecodable`] and [`CallError::TooLarge`] of the message, [`CallError::NoMajority`],
    /// [`CallError::Stopped`] and [`CallError::NodeFailed`] of this node, and [`CallError::Overloaded`] where the links take
    /// nothing of it, or where a worker with `snapshot = "each"` has sent so much that no more is held back. Nobody was sent
    /// anything then. What the links do not take of what was held back is in the log only.
    pub async fn publish<M: Message>(&self, group: impl AsRef<str>, message: M) -> Result<usize, CallError> {
        let names = self.shared.index.group(group.as_ref());
        let payload = Letter::Message(message).encoded();
        publish::<M>(self, names, payload).await
    }
}

/// A call of all members of a group, with options; awaiting it sends the message and gives the replies.
#[must_use = "a call is sent when it is awaited"]
pub struct MultiCallBuilder<M: Message>(Lazy<Options<M>, Replies<M>>);

/// Each member, and what came of its call.
type Replies<M> = Vec<(Registration, Result<<M as Message>::Reply, CallError>)>;

struct Options<M> {
    sworm: Sworm,
    group: Arc<str>,
    message: M,
    timeout: Duration,
}

impl<M: Message> MultiCallBuilder<M> {
    /// How long to wait for all the replies (default 5 s).
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.with(|options| options.timeout = limit))
    }
}

// Nothing is pinned in it but the box.
impl<M: Message> Unpin for MultiCallBuilder<M> {}

impl<M: Message> Future for MultiCallBuilder<M> {
    type Output = Vec<(Registration, Result<M::Reply, CallError>)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx, |options| Box::pin(options.call()))
    }
}

impl<M: Message> Options<M> {
    async fn call(self) -> Replies<M> {
        let Self { sworm, group, message, timeout } = self;
        let members = sworm.members(&*group);
        let calling = outbox::calling().map_err(CallError::from);
        let results = match calling.and_then(|calling| Ok((calling, Letter::Message(message).encoded()?))) {
            Ok((_calling, payload)) => call_all::<M>(&sworm, &members, payload, timeout).await,
            Err(error) => members.iter().map(|_| Err(error.clone())).collect(),
        };
        members.into_iter().zip(results).collect()
    }
}

async fn call_all<M: Message>(
    sworm: &Sworm,
    members: &[Registration],
    payload: Bytes,
    limit: Duration,
) -> Vec<Result<M::Reply, CallError>> {
    let mut ways: Vec<Way<'_>> = members.iter().map(|member| Way::new(sworm, &member.name, None, limit)).collect();
    let mut turns: Vec<Option<OnItsWay>> = members.iter().map(|_| None).collect();
    let limit_ms = ways.first().map(Way::wait_limit_ms);
    let mut batches = Batches::<M>::new(sworm, payload.clone(), limit_ms);
    for (at, ((way, member), turn)) in ways.iter_mut().zip(members).zip(&mut turns).enumerate() {
        if let Ok(Some(Found::There(stay))) = way.look() {
            *turn = way.is_next(&stay, false);
            if turn.is_some() {
                batches.add(stay, &member.name, at);
            }
        }
    }
    let mut sent: Vec<Option<Sent<'_>>> = members.iter().map(|_| None).collect();
    let refused = batches.send(|host, at| {
        let waiting = sworm.shared.node.calls.wait(host, turns[at].take());
        let number = waiting.number;
        sent[at] = Some(Sent { host: host.clone(), waiting });
        ways[at].is_sent();
        number
    });
    if let Err(error) = refused {
        return members.iter().map(|_| Err(error.clone())).collect();
    }
    // Those whose node is not sent it are called one by one, and each is told why it cannot be.
    for (way, turn) in ways.iter_mut().zip(turns) {
        if turn.is_some() {
            way.is_back();
        }
    }
    let calls = ways.iter_mut().zip(sent).map(|(way, sent)| call_one::<M>(way, sent, payload.clone()));
    join_all(calls).await
}

/// One member's call that went out together with others.
struct Sent<'a> {
    host: Peer,
    waiting: Waiting<'a>,
}

/// One member's call, which may have been sent already.
async fn call_one<M: Message>(
    way: &mut Way<'_>,
    sent: Option<Sent<'_>>,
    payload: Bytes,
) -> Result<M::Reply, CallError> {
    if let Some(Sent { host, waiting }) = sent {
        let replied = way.reply::<M>(&host, waiting).await;
        let is_full = match replied {
            Some(Err(CallError::Overloaded)) => true,
            Some(result) => return result,
            None => false,
        };
        if is_full {
            way.wait_for_room().await?;
        } else {
            way.is_back();
            way.pause().await?;
        }
    }
    way.call::<M>(Letter::Encoded(payload)).await
}

async fn publish<M: Message>(
    sworm: &Sworm,
    names: Vec<Arc<str>>,
    payload: Result<Bytes, CallError>,
) -> Result<usize, CallError> {
    let payload = payload?;
    may_send(sworm)?;
    let Some(outbox) = outbox::present() else { return publish_now::<M>(sworm, &names, payload).await };
    let (sworm, count) = (sworm.clone(), names.len());
    let held = outbox.push(payload.len() + size_of_val(&*names), move || {
        Box::pin(async move {
            if let Err(error) = publish_now::<M>(&sworm, &names, payload).await {
                tracing::warn!(message = M::ID, %error, "what a worker has published did not leave");
            }
        })
    });
    held.map(|()| count).map_err(|_| CallError::Overloaded)
}

async fn publish_now<M: Message>(sworm: &Sworm, names: &[Arc<str>], payload: Bytes) -> Result<usize, CallError> {
    let mut batches = Batches::<M>::new(sworm, payload.clone(), None);
    let (mut others, mut turns) = (Vec::new(), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let mut way = Way::new(sworm, name, None, CALL_LIMIT);
        let there = match way.look() {
            Ok(Some(Found::There(stay))) => way.is_next(&stay, true).map(|turn| (stay, turn)),
            _ => None,
        };
        match there {
            Some((stay, turn)) => {
                batches.add(stay, name, at);
                turns.push(turn);
            }
            None => others.push(cast_one::<M>(way, name, payload.clone())),
        }
    }
    let refused = batches.send(|_, _| sworm.shared.node.calls.number())?;
    drop(turns);
    let sent = names.len() - others.len() - refused;
    let sent = sent + join_all(others).await.into_iter().filter(|is_sent| *is_sent).count();
    if sent == 0 && refused > 0 { Err(CallError::Overloaded) } else { Ok(sent) }
}

async fn cast_one<M: Message>(mut way: Way<'_>, name: &str, payload: Bytes) -> bool {
    let outcome = way.cast::<M>(Letter::Encoded(payload)).await;
    if let Err(error) = &outcome {
        tracing::debug!(name, message = M::ID, %error, "a member of a group was not sent what is published");
    }
    outcome.is_ok()
}

/// A member that runs on another node, and its place among all.
struct Member {
    name: Arc<str>,
    since: Epoch,
    at: usize,
}

/// Those, by node.
struct Batches<'a, M> {
    sworm: &'a Sworm,
    payload: Bytes,
    /// How long calls may wait for room; none for casts.
    limit_ms: Option<u32>,
    of: BTreeMap<Peer, Vec<Member>>,
    message: PhantomData<fn(M)>,
}

impl<'a, M: Message> Batches<'a, M> {
    fn new(sworm: &'a Sworm, payload: Bytes, limit_ms: Option<u32>) -> Self {
        Self { sworm, payload, limit_ms, of: BTreeMap::new(), message: PhantomData }
    }

    fn add(&mut self, stay: Stay, name: &Arc<str>, at: usize) {
        let Stay { host, since } = stay;
        self.of.entry(host).or_default().push(Member { name: name.clone(), since, at });
    }

    /// One message for each node that has room for it, or some. Each member's number is drawn right before its message is
    /// sent: what came after a number makes it look like a repeat if it is very much. Gives how many were not sent it, since
    /// the links to their nodes do not take it.
    fn send(self, mut number: impl FnMut(&Peer, usize) -> u64) -> Result<usize, CallError> {
        let shared = &self.sworm.shared;
        let mut refused = 0;
        for (host, mut members) in self.of {
            let bytes = members.iter().map(|member| member.name.len() + NUMBER_BYTES).sum::<usize>();
            let messages = 1 + bytes / MAX_NAMES_BYTES + members.len() / MAX_NAMES;
            if !shared.node.has_room_for(&host, bytes + messages * self.payload.len()) {
                tracing::debug!(%host, members = members.len(), message = M::ID, "the links do not take it");
                refused += members.len();
                continue;
            }
            while !members.is_empty() {
                let rest = members.split_off(fitting(&members));
                let workers: Vec<_> = std::mem::replace(&mut members, rest)
                    .into_iter()
                    .map(|Member { name, since, at }| OneOf { name, stay: since, number: number(&host, at) })
                    .collect();
                let count = workers.len();
                let calls = Calls {
                    sworm: shared.hash,
                    from: shared.node.me.clone(),
                    workers,
                    limit_ms: self.limit_ms,
                    message: M::ID.into(),
                    cast: self.limit_ms.is_none(),
                    payload: self.payload.clone(),
                };
                let frame = Frame::Calls(calls)
                    .encode()
                    .map_err(|e| CallError::Undecodable { what: M::ID.into(), why: e.to_string() })?;
                shared.node.send(&host, Class::Important, frame);
                if self.limit_ms.is_none() {
                    shared.node.calls.has_sent(&host, count);
                }
            }
        }
        Ok(refused)
    }
}

/// How many of these go into one message: those whose names fit, and at least one.
fn fitting(members: &[Member]) -> usize {
    let mut bytes = 0;
    let fit = members.iter().take(MAX_NAMES).take_while(|member| {
        bytes += member.name.len() + NUMBER_BYTES;
        bytes <= MAX_NAMES_BYTES
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_as_many_names_as_fit_and_at_least_one() {
        let name: Arc<str> = "x".repeat(MAX_NAMES_BYTES / 4 - NUMBER_BYTES).into();
        let member = |name: &Arc<str>, at| Member { name: name.clone(), since: Epoch::default(), at };
        let workers: Vec<_> = (0..9).map(|at| member(&name, at)).collect();
        assert_eq!([&workers[..], &workers[..3], &workers[..0]].map(fitting), [4, 3, 1]);
        let long: Arc<str> = "x".repeat(MAX_NAMES_BYTES + 1).into();
        assert_eq!(fitting(&[member(&long, 0), member(&long, 1)]), 1);
        let short: Arc<str> = "x".into();
        let all: Vec<_> = (0..2 * MAX_NAMES).map(|at| member(&short, at)).collect();
        assert_eq!(fitting(&all), MAX_NAMES);
    }
}
