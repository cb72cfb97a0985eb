//! Random values of everything that goes over the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use sworm::CallError;
use sworm::core::cell::{Key, Kind, NameCell, NameState, Release, Revision, Spec, Value};
use sworm::core::chunks::{Manifest, SetId, Shipment};
use sworm::core::ids::{Birth, Epoch, Incarnation, InstanceId, NodeId, Peer, Pid, Request, RequestId};
use sworm::core::lane::{Delta, Part};
use sworm::core::majority::Votes;
use sworm::core::majority::voters::{Ballot, Voters};
use sworm::core::membership::{Hello, Linked, Profile};
use sworm::core::message::{
    Answer, Ask, Beat, Done, Grant, GrantOutcome, Message, Phase, Refusal, Registering, Snapshot, Versions,
};
use sworm::core::past::Past;
use sworm::internals::{Call, Calls, Frame, OneOf, Relay, Replied};

use crate::KINDS;

/// Makes values of all kinds, most of them small.
pub(super) struct Gen(pub(super) Rng);

impl Gen {
    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.bool().then(|| make(self))
    }

    fn many<T, C: FromIterator<T>>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> C {
        (0..self.0.usize(0..4)).map(|_| make(self)).collect()
    }

    fn number(&mut self) -> u64 {
        self.0.u64(..) >> self.0.u32(0..64)
    }

    fn string(&mut self) -> String {
        (0..self.0.usize(0..12)).map(|_| self.0.char(..)).collect()
    }

    fn text(&mut self) -> Arc<str> {
        self.string().into()
    }

    /// A few bytes.
    pub(super) fn bytes(&mut self) -> Bytes {
        let len = self.0.usize(0..64);
        std::iter::repeat_with(|| self.0.u8(..)).take(len).collect()
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(format!("node-{}", self.number())).expect("valid")
    }

    fn peer(&mut self) -> Peer {
        Peer { node: self.node(), incarnation: Incarnation(self.number()) }
    }

    fn request(&mut self) -> RequestId {
        RequestId { from: self.peer(), number: self.number() }
    }

    fn birth(&mut self) -> Birth {
        Birth(self.number(), self.0.u32(..))
    }

    fn epoch(&mut self) -> Epoch {
        Epoch { major: self.number(), minor: self.0.u32(..) }
    }

    fn revision(&mut self) -> Revision {
        Revision { epoch: self.epoch(), number: self.number() }
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            birth: self.birth(),
            revision: self.revision(),
            checkpoint: self.0.bool(),
            version: self.0.u32(..),
            checksum: self.number(),
            state: self.bytes(),
        }
    }

    fn set(&mut self) -> SetId {
        SetId(self.number(), self.number())
    }

    fn shipment(&mut self) -> Shipment {
        let snapshot = self.snapshot();
        if self.0.bool() {
            return Shipment::Whole(snapshot);
        }
        let Snapshot { birth, revision, checkpoint, version, checksum, .. } = snapshot;
        let (length, chunk, sums) = (self.0.u32(..), self.0.u32(..), self.many::<_, Vec<u64>>(Self::number).into());
        Shipment::Chunked(Arc::new(Manifest { birth, revision, checkpoint, version, checksum, length, chunk, sums }))
    }

    fn spec(&mut self) -> Arc<Spec> {
        let kind = Kind {
            worker_type: self.text(),
            version: self.0.u32(..),
            distribution: self.text(),
            handoff: self.0.bool(),
            replicas: self.0.u8(..),
            patient: self.0.bool(),
        };
        Arc::new(Spec { kind: Arc::new(kind), value: self.bytes().to_vec().into() })
    }

    fn state(&mut self) -> NameState {
        match self.0.u8(0..7) {
            0 => NameState::Starting,
            1 => NameState::Running,
            2 => NameState::Leaving { to: Box::new(self.peer()) },
            3 => {
                let snapshot = self.some(Self::revision);
                NameState::Released(Box::new(Release { to: self.peer(), epoch: self.epoch(), snapshot }))
            }
            4 => NameState::Parked,
            _ => NameState::Failed { reason: self.text() },
        }
    }

    fn cell(&mut self) -> NameCell {
        NameCell {
            birth: self.birth(),
            epoch: self.epoch(),
            since: self.epoch(),
            assigned: self.number(),
            spec: self.spec(),
            request: self.request(),
            groups: self.many::<_, BTreeSet<_>>(Self::text).into(),
            metadata: self.many::<_, BTreeMap<_, _>>(|g| (g.string(), g.string())).into(),
            attached: self.0.bool(),
            unsaved: self.0.bool(),
            past: self.many::<_, Past>(Self::revision).into(),
            outdone: Default::default(),
            holders: self.many::<_, BTreeSet<_>>(Self::node).into(),
            restarts: self.many::<_, Vec<_>>(Self::number).into(),
            state: self.state(),
        }
    }

    fn change(&mut self) -> (u64, Key, Option<Value>) {
        let (key, value) = match self.0.u8(0..7) {
            0 => (Key::Name(self.text()), Value::Name(Arc::new(self.cell()))),
            1 => (Key::Ban(self.text()), Value::Ban(self.many(Self::birth))),
            2 => (Key::Sworm, Value::Sworm(self.text())),
            3 => (Key::Seen, Value::Seen(self.many(|g| (g.peer(), g.number())))),
            4 => {
                let ballot = Ballot {
                    decided: self.some(Self::voters),
                    proposed: self.some(Self::voters),
                    votes: self.0.bool(),
                };
                (Key::Voters, Value::Voters(Box::new(ballot)))
            }
            5 => (Key::Unusual, Value::Unusual(self.text())),
            _ => (Key::WorkerType(self.text()), Value::WorkerType(self.0.u32(..))),
        };
        (self.number(), key, self.some(|_| value))
    }

    fn voters(&mut self) -> Voters {
        Voters { number: self.number(), ballot: self.number(), nodes: self.many(Self::node) }
    }

    fn ask(&mut self) -> Ask {
        let name = self.text();
        match self.0.u8(0..6) {
            0 => Ask::Register(Box::new(Registering {
                name,
                spec: self.spec(),
                on: self.some(Self::node),
                metadata: self.many(|g| (g.string(), g.string())),
                attached: self.0.bool(),
                replaces_failed: self.0.bool(),
            })),
            1 => Ask::Unregister { name, birth: self.some(Self::birth) },
            2 => Ask::Join { name, group: self.text() },
            3 => Ask::Leave { name, group: self.text() },
            4 => Ask::Move { name, to: self.node() },
            5 => Ask::Restart { name },
            _ => Ask::Voter { node: name, add: self.0.bool() },
        }
    }

    fn stated(&mut self) -> (Peer, Arc<NameCell>, u64) {
        (self.peer(), Arc::new(self.cell()), self.number())
    }

    fn answer(&mut self) -> Answer {
        let (name, reason) = (self.text(), self.string());
        Err(match self.0.u8(0..16) {
            0 => {
                let (host, cell, said) = self.stated();
                return Ok(Done::Registered { name, host, cell, said });
            }
            1 => return Ok(Done::Unregistered { name, births: self.many(Self::birth) }),
            2 => {
                let (host, cell, said) = self.stated();
                return Ok(Done::Regrouped { name, host, cell, said });
            }
            3 => {
                let (sworm, node, incarnation) = (self.text(), self.node(), Incarnation(self.number()));
                let pid = Pid { sworm, name, node, incarnation, epoch: self.epoch() };
                Refusal::AlreadyRegistered { pid, worker_type: self.text() }
            }
            4 => Refusal::NotRegistered,
            5 => Refusal::StartFailed { reason, timed_out: self.0.bool() },
            6 => Refusal::NoCandidate { why: reason },
            7 => Refusal::UnknownStrategy { name: reason, node: self.node(), known: self.many(Self::string) },
            8 => {
                let (host, cell, said) = self.stated();
                return Ok(Done::Moved { name, host, cell, said });
            }
            9 => return Ok(Done::Voters { number: self.number(), nodes: self.many(Self::node) }),
            10 => Refusal::NoMajority { why: reason },
            11 => Refusal::NotMajority,
            12 => Refusal::LastVoter,
            13 => Refusal::Failed { reason: reason.into() },
            14 => Refusal::TooManyGroups { limit: self.0.usize(..) },
            15 => Refusal::NotThere { why: reason },
            _ => Refusal::Again,
        })
    }

    /// A message of the n-th kind; `None` after the last.
    pub(super) fn message(&mut self, kind: usize) -> Option<Message> {
        let (name, birth, epoch) = (self.text(), self.birth(), self.epoch());
        Some(match kind {
            0 => {
                let phase = self.0.choice([Phase::Joining, Phase::Up, Phase::Leaving]).expect("three");
                let [counter, view, changes, seen, max, durable, heard, holds, time] =
                    std::array::from_fn(|_| self.number());
                Message::Beat(Beat { counter, phase, view, changes, seen, max, durable, heard, holds, time })
            }
            1 => Message::NotOpen,
            2 => Message::Versions(Versions {
                view: self.number(),
                changes: self.number(),
                lanes: self.many(|g| (g.peer(), g.number(), g.number())),
                ended: self.many(|g| (g.node(), Incarnation(g.number()))),
                dropped: self.many(|g| (g.node(), Incarnation(g.number()))),
                finals: self.many(|g| (g.peer(), g.number())),
                answer: self.0.bool(),
                durable: self.0.bool(),
            }),
            3 => Message::Pull(self.many(|g| (g.peer(), g.number()))),
            4 => Message::Delta(Delta {
                lane: self.peer(),
                from: self.number(),
                to: self.number(),
                full: self.0.bool(),
                fingerprint: self.number(),
                cells: self.many(Self::change),
            }),
            5 => Message::Ask { request: Request { id: self.request(), attempt: self.0.u32(..) }, ask: self.ask() },
            6 => Message::Answer { number: self.number(), attempt: self.0.u32(..), answer: self.answer() },
            7 => {
                let (view, adoption) = (self.number(), self.0.bool());
                Message::Grant(Box::new(Grant { name, view, cell: self.cell(), adoption }))
            }
            8 => {
                let outcome = match self.0.u8(0..3) {
                    0 => GrantOutcome::Running { cell: Arc::new(self.cell()), said: self.number() },
                    1 => GrantOutcome::Failed { reason: self.string(), timed_out: self.0.bool() },
                    _ => GrantOutcome::Refused,
                };
                Message::Granted { name, epoch, outcome }
            }
            9 => Message::End { name, births: self.many(Self::birth) },
            10 => Message::Ended { name, births: self.many(Self::birth) },
            11 => Message::Move { name, birth, to: self.some(Self::node) },
            12 => Message::MoveTo {
                name,
                birth,
                to: self.some(|g| (g.peer(), g.epoch())).ok_or_else(|| "why".to_owned()),
            },
            13 => Message::Offer { name, birth, epoch, snapshot: self.some(Self::shipment) },
            14 => Message::OfferAnswer { name, birth, epoch, accepted: self.0.bool() },
            15 => Message::Keep { name, snapshot: self.shipment(), past: self.many(Self::revision) },
            16 => Message::Kept { name, birth, revision: self.revision() },
            17 => Message::Best { name, birth, beyond: self.some(Self::revision) },
            18 => Message::BestIs { name, birth, snapshot: self.some(Self::shipment), held: self.some(Self::revision) },
            19 => Message::Goodbye { max: self.number() },
            20 => Message::Part(Part {
                lane: self.peer(),
                from: self.number(),
                gc: self.number(),
                after: self.number(),
                upto: self.number(),
                cells: self.many(Self::change),
                end: self.some(Self::number),
            }),
            21 => {
                let [from, gc, after] = std::array::from_fn(|_| self.number());
                Message::PullPart { lane: self.peer(), from, gc, after }
            }
            23 => Message::Votes(Votes {
                view: (self.number(), self.number()),
                votes: self.0.bool(),
                lists: self.number(),
                echoes: self.many(|g| (g.peer(), g.number())),
                silent: self.many(Self::peer),
            }),
            24 => Message::Diverged { name, snapshot: self.shipment() },
            25 => Message::DivergedRefused { name, revision: self.revision(), since: epoch },
            26 => Message::PullChunk { name, set: self.set(), index: self.some(|g| g.0.u32(..)) },
            27 => Message::Chunk { name, set: self.set(), index: self.0.u32(..), bytes: self.bytes() },
            28 => Message::NoChunk { name, set: self.set() },
            22 => Message::Rebalance(self.many(|g| (g.text(), g.node()))),
            _ => return None,
        })
    }

    fn call_error(&mut self) -> CallError {
        let (name, reason, after) = (self.string(), self.string(), Duration::from_millis(self.number()));
        match self.0.u8(0..17) {
            0 => CallError::NotRegistered { name },
            1 => CallError::WrongType { name, found: reason },
            2 => CallError::Failed { reason },
            3 => CallError::NotSent { after },
            4 => CallError::Overloaded,
            5 => CallError::NoSuchMessage { message: name },
            6 => CallError::Undecodable { what: name, why: reason },
            7 => CallError::TooLarge { bytes: self.0.usize(..), limit: self.0.usize(..) },
            8 => CallError::Timeout { after },
            9 => CallError::NodeDown,
            10 => CallError::WorkerDied { reason },
            11 => CallError::NotDurable { reason },
            12 => CallError::Stopped,
            13 => CallError::UndecodableReply { message: name, why: reason },
            14 => CallError::ReplyTooLarge { bytes: self.0.usize(..), limit: self.0.usize(..) },
            15 => CallError::Draining,
            _ => CallError::NodeFailed { reason },
        }
    }

    fn linked(&mut self) -> Linked {
        let mut linked = Linked::default();
        for names in [&mut linked.worker_types, &mut linked.restart, &mut linked.distribution, &mut linked.stores] {
            *names = self.many(Self::string);
        }
        linked
    }

    /// Any frame.
    pub(super) fn frame(&mut self) -> Frame {
        match self.0.u8(0..12) {
            0 => Frame::Hello(Hello {
                from: self.peer(),
                instance: InstanceId(self.number()),
                endpoints: self.many(Self::string),
                profile: Profile { labels: self.many(|g| (g.string(), g.string())), weight: self.0.u32(..) },
                unix_ms: self.number(),
                answer: self.0.bool(),
                others: self.many(Self::peer),
                linked: self.linked(),
                format: self.0.u32(..),
            }),
            1 => Frame::Goodbye(self.peer()),
            8 => Frame::AskAbout(self.peer(), self.many(Self::peer)),
            9 => Frame::Tell(self.peer(), self.many(|g| (g.peer(), g.0.bool()))),
            10 => Frame::Relay(Relay { to: self.peer(), droppable: self.0.bool(), frame: self.bytes() }),
            11 => Frame::Calls(Calls {
                sworm: self.number(),
                from: self.peer(),
                workers: self.many(|g| OneOf { name: g.text(), stay: g.epoch(), number: g.number() }),
                limit_ms: self.0.bool().then(|| self.0.u32(..)),
                message: self.text(),
                cast: self.0.bool(),
                payload: self.bytes(),
            }),
            2 => Frame::Call(Call {
                sworm: self.number(),
                from: self.peer(),
                number: self.number(),
                name: self.text(),
                message: self.text(),
                cast: self.0.bool(),
                hops: self.0.u8(..),
                stay: self.epoch(),
                limit_ms: self.0.bool().then(|| self.0.u32(..)),
                alone: self.0.bool(),
                payload: self.bytes(),
            }),
            3 => {
                let replied = match self.0.u8(0..3) {
                    0 => Replied::Done(self.bytes()),
                    1 => Replied::Failed(self.call_error()),
                    _ => Replied::NotHere,
                };
                Frame::Reply(self.number(), replied)
            }
            _ => {
                let kind = self.0.usize(0..KINDS);
                Frame::Core(self.number(), self.peer(), Box::new(self.message(kind).expect("a kind")))
            }
        }
    }
}
