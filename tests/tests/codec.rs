//! Every frame comes back as it was sent, and what is no frame costs little and does no harm.
//!
//! Alone in its process: the allocator counts what decoding takes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use peak_alloc::PeakAlloc;
use sworm::__private::{decode, encode};
use sworm::CallError;
use sworm::core::cell::{Declined, Key, Kind, NameCell, NameState, Release, Revision, Spec, Value};
use sworm::core::ids::{Birth, Epoch, Incarnation, InstanceId, NodeId, Peer, Pid, RequestId};
use sworm::core::lane::{Delta, Part};
use sworm::core::membership::Hello;
use sworm::core::message::{
    Answer, Ask, Beat, Done, Grant, GrantOutcome, Message, Phase, Refusal, Registering, Snapshot, Versions,
};
use sworm::internals::{Call, Frame, Replied};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Random frames for each test.
const CASES: u64 = 3_000;
/// What decoding may take beside a multiple of what came.
const SPARE_BYTES: usize = 2 << 20;
/// A cell of a few bytes becomes one of some hundred in memory.
const TIMES: usize = 64;

/// Makes values of all kinds, most of them small.
struct Gen(Rng);

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

    fn bytes(&mut self) -> Bytes {
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

    fn spec(&mut self) -> Arc<Spec> {
        let kind = Kind {
            worker_type: self.text(),
            version: self.0.u32(..),
            distribution: self.text(),
            handoff: self.0.bool(),
            replicas: self.0.u8(..),
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
            4 => NameState::Declined(Box::new(Declined { from: self.peer(), epoch: self.epoch() })),
            5 => NameState::Parked,
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
            restored_from: self.some(|g| Box::new(g.revision())),
            holders: self.many::<_, BTreeSet<_>>(Self::node).into(),
            restarts: self.many::<_, Vec<_>>(Self::number).into(),
            state: self.state(),
        }
    }

    fn change(&mut self) -> (u64, Key, Option<Value>) {
        let (key, value) = match self.0.u8(0..4) {
            0 => (Key::Name(self.text()), Value::Name(Arc::new(self.cell()))),
            1 => (Key::Ban(self.text()), Value::Ban(self.many(Self::birth))),
            2 => (Key::Sworm, Value::Sworm(self.text())),
            _ => (Key::WorkerType(self.text()), Value::WorkerType(self.0.u32(..))),
        };
        (self.number(), key, self.some(|_| value))
    }

    fn ask(&mut self) -> Ask {
        let name = self.text();
        match self.0.u8(0..4) {
            0 => Ask::Register(Box::new(Registering {
                name,
                spec: self.spec(),
                on: self.some(Self::node),
                metadata: self.many(|g| (g.string(), g.string())),
                attached: self.0.bool(),
            })),
            1 => Ask::Unregister { name, birth: self.some(Self::birth) },
            2 => Ask::Join { name, group: self.text() },
            _ => Ask::Leave { name, group: self.text() },
        }
    }

    fn answer(&mut self) -> Answer {
        let (name, reason) = (self.text(), self.string());
        Err(match self.0.u8(0..9) {
            0 => return Ok(Done::Registered { name, host: self.peer(), cell: Arc::new(self.cell()) }),
            1 => return Ok(Done::Unregistered { name, births: self.many(Self::birth) }),
            2 => return Ok(Done::Regrouped { name, host: self.peer(), cell: Arc::new(self.cell()) }),
            3 => {
                let (sworm, node, incarnation) = (self.text(), self.node(), Incarnation(self.number()));
                let pid = Pid { sworm, name, node, incarnation, epoch: self.epoch() };
                Refusal::AlreadyRegistered { pid, worker_type: self.text() }
            }
            4 => Refusal::NotRegistered,
            5 => Refusal::StartFailed { reason, timed_out: self.0.bool() },
            6 => Refusal::NoCandidate { why: reason },
            7 => Refusal::UnknownStrategy { name: reason, node: self.node(), known: self.many(Self::string) },
            _ => Refusal::Again,
        })
    }

    /// A message of the n-th kind; `None` after the last.
    fn message(&mut self, kind: usize) -> Option<Message> {
        let (name, birth, epoch) = (self.text(), self.birth(), self.epoch());
        Some(match kind {
            0 => {
                let phase = self.0.choice([Phase::Joining, Phase::Up, Phase::Leaving]).expect("three");
                let [counter, view, max, durable, holds, time] = std::array::from_fn(|_| self.number());
                Message::Beat(Beat { counter, phase, view, max, durable, holds, time })
            }
            1 => Message::NotOpen,
            2 => Message::Versions(Versions {
                view: self.number(),
                lanes: self.many(|g| (g.peer(), g.number(), g.number())),
                ended: self.many(|g| (g.node(), Incarnation(g.number()))),
                dropped: self.many(|g| (g.node(), Incarnation(g.number()))),
                finals: self.many(|g| (g.peer(), g.number())),
                answer: self.0.bool(),
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
            5 => Message::Ask { request: self.request(), ask: self.ask() },
            6 => Message::Answer { number: self.number(), answer: self.answer() },
            7 => {
                let (view, adoption) = (self.number(), self.0.bool());
                Message::Grant(Box::new(Grant { name, view, cell: self.cell(), adoption }))
            }
            8 => {
                let outcome = match self.0.u8(0..3) {
                    0 => GrantOutcome::Running(Arc::new(self.cell())),
                    1 => GrantOutcome::Failed { reason: self.string(), timed_out: self.0.bool() },
                    _ => GrantOutcome::Refused,
                };
                Message::Granted { name, epoch, outcome }
            }
            9 => Message::End { name, births: self.many(Self::birth) },
            10 => Message::Ended { name, births: self.many(Self::birth) },
            11 => Message::Move { name, birth },
            12 => Message::MoveTo { name, birth, to: self.some(|g| (g.peer(), g.epoch())) },
            13 => Message::Offer { name, birth, epoch, snapshot: self.some(Self::snapshot) },
            14 => Message::OfferAnswer { name, birth, epoch, accepted: self.0.bool() },
            15 => Message::Keep { name, snapshot: self.snapshot() },
            16 => Message::Kept { name, birth, revision: self.revision() },
            17 => Message::Best { name, birth, beyond: self.some(Self::revision) },
            18 => Message::BestIs { name, birth, snapshot: self.some(Self::snapshot) },
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
            _ => return None,
        })
    }

    fn call_error(&mut self) -> CallError {
        let (name, reason, after) = (self.string(), self.string(), Duration::from_millis(self.number()));
        match self.0.u8(0..14) {
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
            _ => CallError::NodeFailed { reason },
        }
    }

    fn frame(&mut self) -> Frame {
        match self.0.u8(0..8) {
            0 => Frame::Hello(Hello {
                from: self.peer(),
                instance: InstanceId(self.number()),
                endpoints: self.many(Self::string),
                labels: self.many(|g| (g.string(), g.string())),
                unix_ms: self.number(),
                answer: self.0.bool(),
            }),
            1 => Frame::Goodbye(self.peer()),
            2 => Frame::Call(Call {
                sworm: self.number(),
                from: self.peer(),
                number: self.number(),
                name: self.text(),
                message: self.text(),
                cast: self.0.bool(),
                hops: self.0.u8(..),
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

/// How many kinds of messages there are.
const KINDS: usize = 22;

/// The kind of a message: with a new one this does not compile, until it is made as well.
fn kind(message: &Message) -> usize {
    match message {
        Message::Beat(_) => 0,
        Message::NotOpen => 1,
        Message::Versions(_) => 2,
        Message::Pull(_) => 3,
        Message::Delta(_) => 4,
        Message::Ask { .. } => 5,
        Message::Answer { .. } => 6,
        Message::Grant(_) => 7,
        Message::Granted { .. } => 8,
        Message::End { .. } => 9,
        Message::Ended { .. } => 10,
        Message::Move { .. } => 11,
        Message::MoveTo { .. } => 12,
        Message::Offer { .. } => 13,
        Message::OfferAnswer { .. } => 14,
        Message::Keep { .. } => 15,
        Message::Kept { .. } => 16,
        Message::Best { .. } => 17,
        Message::BestIs { .. } => 18,
        Message::Goodbye { .. } => 19,
        Message::Part(_) => 20,
        Message::PullPart { .. } => 21,
    }
}

fn every_message_comes_back() {
    for seed in 0..200 {
        let mut g = Gen(Rng::with_seed(seed));
        for n in 0..KINDS {
            let message = g.message(n).expect("a kind");
            assert_eq!(kind(&message), n);
            let bytes = encode(&message).expect("plain data");
            assert_eq!(decode(&bytes), Ok(message), "seed {seed}, kind {n}");
        }
        assert!(g.message(KINDS).is_none());
    }
}

fn every_frame_comes_back() {
    for seed in 0..CASES {
        let frame = Gen(Rng::with_seed(seed)).frame();
        let bytes = frame.encode().expect("plain data");
        let back = Frame::decode(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}: {frame:?}"));
        assert_eq!(format!("{back:?}"), format!("{frame:?}"), "seed {seed}");
        assert_eq!(back.encode().expect("plain data"), bytes, "seed {seed}");
    }
}

/// Decodes what may be anything, and gives what that took at most beyond what is allowed.
fn cost(bytes: &[u8]) -> usize {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    // Without its checksum: whoever wants to do harm computes it.
    drop(decode::<Frame>(bytes));
    (HEAP.peak_usage() - before).saturating_sub(bytes.len() * TIMES)
}

fn anything_costs_little() {
    let mut worst = (0, String::new());
    for seed in 0..CASES {
        let mut g = Gen(Rng::with_seed(seed));
        let mut bytes = encode(&g.frame()).expect("plain data");
        for round in 0..20 {
            match g.0.u8(0..5) {
                0 => bytes.truncate(g.0.usize(0..=bytes.len())),
                1 => bytes = g.bytes().to_vec(),
                // A length that nothing of the sort follows.
                2 if !bytes.is_empty() => {
                    let at = g.0.usize(0..bytes.len());
                    let major = g.0.u8(2..6) << 5;
                    bytes.splice(at..=at, [&[major | 27][..], &(g.0.u64(..) >> g.0.u32(0..48)).to_be_bytes()].concat());
                }
                _ if !bytes.is_empty() => {
                    let at = g.0.usize(0..bytes.len());
                    bytes[at] = g.0.u8(..);
                }
                _ => bytes.push(g.0.u8(..)),
            }
            let cost = cost(&bytes);
            if cost > worst.0 {
                worst = (cost, format!("seed {seed}, round {round}: {bytes:02x?}"));
            }
        }
    }
    println!("at most {} bytes beyond {TIMES} times what came", worst.0);
    assert!(worst.0 <= SPARE_BYTES, "{} bytes: {}", worst.0, worst.1);
}

fn depth_costs_little() {
    for byte in [0x81, 0xa1, 0x9f, 0xbf, 0xc1, 0xd8] {
        let cost = cost(&vec![byte; 1 << 20]);
        assert!(cost <= SPARE_BYTES, "a million times {byte:02x} take {cost} bytes");
    }
}

// One test: no other allocates beside it.
#[test]
fn frames_come_back_and_what_is_none_costs_little() {
    every_message_comes_back();
    every_frame_comes_back();
    anything_costs_little();
    depth_costs_little();
}
