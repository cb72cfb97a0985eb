//! What leaves a worker that must not go on: nothing, whichever sworm it is for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{CallError, Event, GroupError, MoveError, RegisterError, UnregisterError};
use sworm_tests::eventually;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::{Counter, Hold, cut_off, id, opened};

/// Sends what it can to a worker of another sworm, when its own one has lost the majority.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-sender", handles(SendAll), distribution = "local-first")]
struct Sender;

/// Lives in a sworm that goes on on each side.
#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "majority-sink", handles(Note, Noted))]
struct Sink {
    notes: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "majority-send")]
struct SendAll;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "majority-note")]
struct Note;

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32, id = "majority-noted")]
struct Noted;

impl Handler<Note> for Sink {
    async fn handle(&mut self, _: Note, _: &mut Context<Self>) {
        self.notes += 1;
    }
}

impl Handler<Noted> for Sink {
    async fn handle(&mut self, _: Noted, _: &mut Context<Self>) -> u32 {
        self.notes
    }
}

/// What a cast, a call and a publish came to, and whether a registration, its end, a move, a join and a rebalancing were refused
/// for the same reason.
type Tried = ([Result<(), CallError>; 3], [bool; 5]);

/// What the sender knows.
#[derive(Clone)]
struct Around {
    /// The other sworm.
    free: Sworm,
    /// A worker of its own sworm.
    own: Ref<Counter>,
    /// Where it tells what it tried.
    tell: mpsc::UnboundedSender<Tried>,
}

static AROUND: Mutex<Option<Around>> = Mutex::new(None);

impl Handler<SendAll> for Sender {
    async fn handle(&mut self, _: SendAll, _: &mut Context<Self>) {
        let around = AROUND.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Around { free, own, tell } = around.expect("it is set before that");
        let sink = free.whereis_name::<Sink>("sink").expect("it runs here");
        while own.cast(Hold(false)).await != Err(CallError::NoMajority) {
            sleep(Duration::from_millis(2)).await;
        }
        let cast = sink.cast(Note).await;
        let call = sink.call(Note).await;
        let published = free.publish("sinks", Note).await.map(drop);
        let registered = free.register_name("another", Sink::default()).await.map(drop);
        let unregistered = free.unregister_name("sink").await;
        let moved = free.move_name("sink", "c").await.map(drop);
        let joined = free.join("others", &sink).await;
        let rebalanced = free.rebalance().await;
        let refused = [
            matches!(registered, Err(RegisterError::NoMajority { .. })),
            matches!(unregistered, Err(UnregisterError::NoMajority { .. })),
            matches!(moved, Err(MoveError::NoMajority { .. })),
            matches!(joined, Err(GroupError::NoMajority { .. })),
            matches!(rebalanced, Err(MoveError::NoMajority { .. })),
        ];
        let _ = tell.send(([cast, call, published], refused));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_majority_sends_nothing_into_another_sworm_either() {
    let network = MemoryNetwork::new();
    let all = opened(&network, &["a", "b", "c"], 3).await;
    let (c, on_c) = (&all[2].0, &all[2].1);
    let free = c.open(SwormSpec::new("free").rebalance(Rebalance::Manual)).await.expect("it opens");
    let sink = free.register_name("sink", Sink::default()).await.expect("free");
    free.join("sinks", &sink).await.expect("it runs here");
    let own = super::counter(on_c, "own").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    *AROUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(Around { free, own, tell });
    // On a machine that stands still just then its task is aborted before it has tried: once more, then.
    let mut tried = None;
    for n in 0..5 {
        let sender = || async { on_c.whereis_or_register_name(format!("sender-{n}"), Sender::default).await.ok() };
        let sender = eventually("its registration", sender).await;
        assert_eq!(sender.pid().node, id("c"));
        let mut events = on_c.events();
        eventually("its message", || async { sender.cast(SendAll).await.ok() }).await;
        cut_off(&network, "c", &["a", "b"]);
        while events.next().await != Some(Event::MajorityLost) {}
        if let Ok(Some(what)) = timeout(Duration::from_secs(10), told.recv()).await {
            tried = Some(what);
            break;
        }
        ["a", "b"].into_iter().for_each(|other| network.heal("c", other));
    }
    let none = [Err(CallError::NoMajority), Err(CallError::NoMajority), Err(CallError::NoMajority)];
    assert_eq!(tried.expect("a worker that is told before it is aborted"), (none, [true; 5]));
    // Whoever is no worker of that sworm may.
    assert_eq!(sink.call(Noted).await, Ok(0));
}
