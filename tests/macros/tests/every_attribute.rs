//! The derives with every attribute there is, in a crate that forbids what the library forbids.
#![forbid(unsafe_code)]
#![deny(warnings)]
#![expect(missing_docs, unreachable_pub, reason = "this repository's own lints, and not what is tested")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{
    BoxError, Candidate, Distribution, Durable, Exit, Restart, RestartDecision, RestartHistory, Snapshots, Strategy,
    SwormSpec, Target,
};

mod other {
    #[derive(sworm::Message, serde::Serialize, serde::Deserialize)]
    #[message(reply = std::collections::BTreeMap<String, Result<i64, String>>, id = "other.get", crate = ::sworm)]
    pub struct Get;

    #[derive(sworm::Message, serde::Serialize, serde::Deserialize)]
    pub enum Reset {
        Softly,
        Hard { twice: bool },
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = i64)]
struct Add {
    n: i64,
}

/// All defaults.
#[derive(Worker, Serialize, Deserialize)]
struct Plain;

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "counter", version = 1, handles(Add, other::Get, other::Reset,), restart = "transient")]
#[worker(distribution = "rendezvous", handoff, replicas = 2, mailbox = 64, start_timeout = "3s 500ms")]
#[worker(lifecycle, crate = sworm)]
struct Counter {
    total: i64,
}

impl Lifecycle for Counter {
    async fn started(&mut self, _ctx: &mut Context<Self>) -> Result<(), BoxError> {
        Ok(())
    }
}

impl Handler<Add> for Counter {
    async fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> i64 {
        self.total += add.n;
        self.total
    }
}

impl Handler<other::Get> for Counter {
    async fn handle(
        &mut self,
        _get: other::Get,
        _ctx: &mut Context<Self>,
    ) -> std::collections::BTreeMap<String, Result<i64, String>> {
        [("total".to_owned(), Ok(self.total))].into()
    }
}

impl Handler<other::Reset> for Counter {
    async fn handle(&mut self, reset: other::Reset, _ctx: &mut Context<Self>) {
        match reset {
            other::Reset::Softly => self.total /= 2,
            other::Reset::Hard { twice } => self.total = i64::from(!twice),
        }
    }
}

struct Nth {
    n: usize,
}

impl Distribution for Nth {
    fn choose(&self, _name: &str, candidates: &[Candidate]) -> usize {
        self.n % candidates.len()
    }
}

struct Patient {
    after: Duration,
}

impl Patient {
    const fn new(after: Duration) -> Self {
        Self { after }
    }
}

impl Restart for Patient {
    fn decide(&self, _: &Exit, _: &RestartHistory) -> RestartDecision {
        RestartDecision::Restart { after: self.after }
    }
}

const PATIENT: Patient = Patient::new(Duration::from_secs(1));

/// Strategies by value, and a part of the state.
#[derive(Worker, Serialize, Deserialize)]
#[worker(restart = Patient { after: Duration::from_millis(5) }, distribution = Nth { n: 1 + 1 })]
#[worker(handoff = Vec<u8>)]
enum Cart {
    Open(Vec<u8>),
    Closed,
}

impl Handoff<Vec<u8>> for Cart {
    fn save(&self) -> Vec<u8> {
        match self {
            Self::Open(items) => items.clone(),
            Self::Closed => Vec::new(),
        }
    }

    fn restore(&mut self, items: Vec<u8>) {
        *self = Self::Open(items);
    }
}

/// Its states are saved whenever they change, and those of older versions can be read.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(version = 3, snapshot = "each", durable = "replicas")]
struct Ledger {
    total: i64,
}

impl Upgrade for Ledger {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        Ok(Self { total: if older.version() == 1 { older.read::<i32>()?.into() } else { older.read()? } })
    }
}

/// A part of it is saved, now and then.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(version = 2, handoff = Part, snapshot = "1s 500ms", every = 100, durable = "local", crate = crate::renamed)]
struct Book {
    part: Part,
}

#[derive(Serialize, Deserialize, Default)]
struct Part {
    pages: u32,
}

impl Handoff<Part> for Book {
    fn save(&self) -> Part {
        Part { pages: self.part.pages }
    }

    fn restore(&mut self, part: Part) {
        self.part = part;
    }
}

impl Upgrade for Book {
    fn upgrade(_older: Older<'_>) -> Result<Self, BoxError> {
        Ok(Self::default())
    }
}

impl Upgrade for Part {
    fn upgrade(older: Older<'_>) -> Result<Self, BoxError> {
        Ok(Self { pages: older.read()? })
    }
}

/// A crate that has the library under another path, and a worker that a macro writes.
mod renamed {
    pub use sworm::*;
}

macro_rules! counts {
    ($name:ident, $message:ty, $text:literal) => {
        #[derive(Worker, Serialize, Deserialize)]
        #[worker(name = $text, crate = crate::renamed, handles($message), handoff = false)]
        struct $name(i64);

        impl Handler<$message> for $name {
            async fn handle(&mut self, add: $message, _ctx: &mut Context<Self>) -> i64 {
                self.0 += add.n;
                self.0
            }
        }
    };
}

counts!(Written, Add, "written");

#[derive(Message, Serialize, Deserialize)]
#[message(crate = crate::renamed)]
#[allow(non_camel_case_types)]
struct r#move;

#[derive(Sworm)]
struct Plainly;

#[derive(Sworm)]
#[sworm(name = "carts", restart = "temporary", handoff, distribution = "rendezvous", sync_interval = "100ms")]
#[sworm(mode = "available", ack = "memory", rebalance = "manual", state_wait = "30s", crate = sworm)]
struct Carts;

#[derive(Sworm)]
#[sworm(mode = "majority", expect_nodes = 3, lease = "2s")]
struct ByMajority;

#[derive(Sworm)]
#[sworm(restart = PATIENT, distribution = Nth { n: 0 }, handoff = false)]
struct ByValue;

/// Is called by its methods.
#[derive(Worker, Serialize, Deserialize)]
#[worker(methods, handoff)]
pub struct Called {
    total: i64,
}

#[sworm::handlers(crate = ::sworm)]
impl Called {
    /// Adds.
    #[cold]
    #[must_use]
    pub async fn add(&mut self, n: i64, _ctx: &mut sworm::Context<Self>) -> i64 {
        self.total += n;
        self.total
    }

    #[message(id = "reset")]
    pub(crate) async fn reset(&mut self) {
        self.total = 0;
    }

    #[deprecated = "call `reset`"]
    async fn clear(&mut self) {
        self.reset().await;
    }
}

#[test]
fn each_attribute_says_what_it_should() {
    let called = |called: &sworm::Ref<Called>| (called.add(1), called.reset());
    let _ = called;
    assert_eq!([CalledAdd::ID, CalledReset::ID, CalledClear::ID], ["Called.add", "reset", "Called.clear"]);
    #[derive(Worker, Serialize, Deserialize)]
    #[worker(handles(Add))]
    struct Local;

    impl Handler<Add> for Local {
        async fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> i64 {
            add.n
        }
    }
    assert_eq!(Local::type_name(), "Local");

    assert_eq!((Plain::NAME, Plain::VERSION), ("Plain", 1));
    assert!(Plain::options().restart.is_none() && Plain::options().handoff.is_none());

    assert_eq!((Counter::NAME, Counter::type_name().as_ref()), ("counter", "counter"));
    let options = Counter::options();
    assert!(matches!(options.restart, Some(Strategy::Named("transient"))));
    assert!(matches!(options.distribution, Some(Strategy::Named("rendezvous"))));
    assert_eq!((options.handoff, options.replicas, options.mailbox), (Some(true), Some(2), Some(64)));
    assert_eq!(options.start_timeout, Some(Duration::from_millis(3500)));
    assert_eq!((Add::ID, other::Get::ID, other::Reset::ID), ("Add", "other.get", "Reset"));

    assert_eq!((Written::NAME, Written::options().handoff, r#move::ID), ("written", Some(false), "move"));

    let Some(Strategy::Value(restart)) = Cart::options().restart else { panic!("by value") };
    let after = Duration::from_millis(5);
    assert_eq!(restart.decide(&Exit::Normal, &RestartHistory::default()), RestartDecision::Restart { after });
    assert!(matches!(Cart::options().distribution, Some(Strategy::Value(_))));
    assert_eq!(Cart::options().handoff, Some(true));
    let mut saved = sworm::__private::Limited::none();
    Worker::save(&Cart::Open(vec![7]), &mut saved).expect("encodes");
    let saved = saved.into_bytes().expect("it fits");
    let restored = <Cart as Worker>::restore(Cart::Closed, sworm::__private::Encoded::Bytes(&saved)).expect("decodes");
    assert!(matches!(restored, Cart::Open(items) if items == [7]));

    let options = Ledger::options();
    assert_eq!((Ledger::VERSION, options.snapshot, options.every), (3, Some(Snapshots::Each), None));
    assert_eq!(options.durable, Some(Durable::Replicas));
    let options = Book::options();
    assert_eq!((Book::VERSION, options.handoff, options.every), (2, Some(true), Some(100)));
    assert_eq!(options.snapshot, Some(Snapshots::Every(Duration::from_millis(1_500))));
    assert_eq!(options.durable, Some(Durable::Local));

    let _: [SwormSpec; 3] = [Plainly.into(), Carts.into(), ByValue.into()];
}
