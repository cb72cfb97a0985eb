//! Attributes of worker types, and what a worker's hooks and handlers can do, where a worker moves or asks for a copy.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, OpenError, RegisterError, StartError};
use sworm_tests::eventually;

use super::{opened, running};

#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32)]
struct Add(u32);

/// Makes the total durable, and gives it.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = u32)]
struct Save;

/// Sends an `Add` to itself.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = String)]
struct AddToYourself(u32);

/// Counters that differ in their attributes.
macro_rules! counters {
    ($($worker:ident($($attribute:tt)*)),* $(,)?) => {$(
        #[derive(Worker, Serialize, Deserialize, Default)]
        #[worker(handles(Add, Save, AddToYourself), $($attribute)*)]
        struct $worker {
            total: u32,
            since_start: u32,
        }

        impl Handler<Add> for $worker {
            async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
                self.total += n;
                self.since_start += n;
                self.total
            }
        }

        impl Handler<Save> for $worker {
            async fn handle(&mut self, _: Save, ctx: &mut Context<Self>) -> u32 {
                ctx.checkpoint().await.expect("the type has handoff");
                self.total
            }
        }

        impl Handler<AddToYourself> for $worker {
            async fn handle(&mut self, AddToYourself(n): AddToYourself, ctx: &mut Context<Self>) -> String {
                let this: Ref<Self> = ctx.this();
                this.cast(Add(n)).await.expect("it runs");
                assert_eq!((this.name(), this.pid()), (ctx.name(), ctx.pid().clone()));
                this.name().to_owned()
            }
        }
    )*};
}

counters! {
    Unsaid(),
    Saved(handoff),
    NotSaved(handoff = false),
    PartSaved(handoff = Part),
    SavedHere(handoff, replicas = 0),
    Bumped(handoff, lifecycle),
}

/// What is saved of a `PartSaved`.
#[derive(Serialize, Deserialize)]
struct Part {
    total: u32,
}

impl Handoff<Part> for PartSaved {
    fn save(&self) -> Part {
        Part { total: self.total }
    }

    fn restore(&mut self, Part { total }: Part) {
        self.total = total;
    }
}

impl Lifecycle for Bumped {
    async fn stopping(&mut self, _: &mut Context<Self>) {
        self.total += 1_000;
    }
}

#[derive(Message, Serialize, Deserialize)]
#[message(reply = (u32, u32))]
struct Look;

/// Registers a counter on a node and adds 5 to it.
async fn five<W: Lifecycle + Default>(sworm: &Sworm, on: &Node) -> Ref<W>
where
    Add: Request<W>,
{
    let counter = sworm.register(W::NAME, W::default()).on(on.id()).await.expect("free");
    assert_eq!(counter.call(Add(5)).await, Ok(5));
    counter
}

/// Where the counter is found from another node, after it has moved there.
async fn total<W: Lifecycle>(sworm: &Sworm) -> u32
where
    Add: Request<W>,
{
    running(sworm, W::NAME).await;
    sworm.whereis_name::<W>(W::NAME).expect("it runs").call(Add(0)).await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_moves_along_is_said_by_the_type_else_by_the_sworm_else_nothing_does() {
    for (spec, unsaid) in [(SwormSpec::new("s"), 0), (SwormSpec::new("s").handoff(true), 5)] {
        let [(a, on_a), (_b, on_b)] = opened(spec).await;
        five::<Unsaid>(&on_a, &a).await;
        five::<Saved>(&on_a, &a).await;
        five::<NotSaved>(&on_a, &a).await;
        five::<PartSaved>(&on_a, &a).await;
        five::<Bumped>(&on_a, &a).await;
        a.leave().await.expect("it leaves");
        assert_eq!(total::<Unsaid>(&on_b).await, unsaid);
        assert_eq!(total::<Saved>(&on_b).await, 5);
        assert_eq!(total::<NotSaved>(&on_b).await, 0);
        assert_eq!(total::<PartSaved>(&on_b).await, 5);
        assert_eq!(total::<Bumped>(&on_b).await, 1_005, "`stopping` runs before the state is saved");
    }
}

/// Has a part that is saved and one that is not.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "halves", handles(Look), handoff = Half)]
struct Halves {
    saved: u32,
    scratch: u32,
}

#[derive(Serialize, Deserialize)]
struct Half(u32);

impl Handoff<Half> for Halves {
    fn save(&self) -> Half {
        Half(self.saved)
    }

    fn restore(&mut self, Half(saved): Half) {
        self.saved = saved;
    }
}

impl Handler<Look> for Halves {
    async fn handle(&mut self, _: Look, _: &mut Context<Self>) -> (u32, u32) {
        self.saved += 1;
        self.scratch += 1;
        (self.saved, self.scratch)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_part_that_handoff_names_is_saved() {
    let [(a, on_a), (_b, on_b)] = opened("s").await;
    let halves = on_a.register("halves", Halves { saved: 10, scratch: 20 }).on(a.id()).await.expect("free");
    assert_eq!(halves.call(Look).await, Ok((11, 21)));
    a.leave().await.expect("it leaves");
    running(&on_b, "halves").await;
    let halves = on_b.whereis_name::<Halves>("halves").expect("it runs");
    assert_eq!(halves.call(Look).await, Ok((12, 21)), "the rest is the registered value's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_kept_by_as_many_peers_as_the_type_asks_for() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    five::<SavedHere>(&on_a, &a).await.call(Save).await.expect("it is saved");
    five::<Saved>(&on_a, &a).await.call(Save).await.expect("it is saved");
    let holders = async |name: &str, count: usize| {
        let all = eventually("its holders", || async {
            let holders = on_b.whereis(name)?.holders;
            (holders.len() == count).then_some(holders)
        });
        all.await.into_iter().collect::<Vec<_>>()
    };
    // The later one has its copy: by now the earlier one would have one too.
    assert_eq!(holders("Saved", 2).await, [a.id().clone(), b.id().clone()]);
    assert_eq!(holders("SavedHere", 1).await, [a.id().clone()]);
}

counters! {
    Copied(replicas = 3),
    SavedLocally(durable = "local"),
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_type_says_of_its_states_is_refused_where_they_are_not_saved() {
    let [(_a, sworm)] = opened("s").await;
    let refused = |result: Result<(), RegisterError>| match result {
        Err(RegisterError::NothingSaved { worker_type, option, sworm }) => (worker_type, option, sworm),
        other => panic!("{other:?}"),
    };
    let copied = sworm.register_name("x", Copied::default()).await.map(drop);
    assert_eq!(refused(copied), ("Copied".into(), "replicas", "s".into()));
    let local = sworm.register_name("x", SavedLocally::default()).await.map(drop);
    assert_eq!(refused(local), ("SavedLocally".into(), "durable", "s".into()));
    assert!(sworm.whereis("x").is_none());
    // The sworm may say that they are.
    let [(_b, sworm)] = opened(SwormSpec::new("t").handoff(true)).await;
    sworm.register_name("x", Copied::default()).await.expect("free");
    sworm.register_name("y", SavedLocally::default()).await.expect("free");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_nothing_of_workers_that_it_does_not_run() {
    let client = || Node::builder("c").memory_network(&MemoryNetwork::new()).in_memory().client();
    for (builder, of) in [
        (client().weight(1), "weight"),
        (client().label("zone", "a"), "label"),
        (client().concurrent_starts(64), "concurrent_starts"),
        (client().snapshot_limit(1 << 20), "snapshot_limit"),
    ] {
        let error = builder.start().await.expect_err("it runs nothing");
        assert!(matches!(&error, Error::Start(StartError::RunsNothing { option, .. }) if *option == of), "{error}");
    }
    client().start().await.expect("it starts").close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_without_a_majority_is_refused_be_it_the_usual_one() {
    let [(node, _sworm)] = opened("s").await;
    let refused = node.sworm(SwormSpec::new("t").lease(Duration::from_secs(3))).await.expect_err("it has no meaning");
    assert!(matches!(&refused, OpenError::BadSetting { what, .. } if what.contains("lease")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_can_send_messages_to_itself() {
    let [(_node, sworm)] = opened("s").await;
    let counter = sworm.register_name("me", Unsaid::default()).await.expect("free");
    assert_eq!(counter.call(AddToYourself(7)).await, Ok("me".into()));
    assert_eq!(counter.call(Add(1)).await, Ok(8));
}
