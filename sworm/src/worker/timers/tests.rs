use std::future::pending;

use serde::{Deserialize, Serialize};

use super::*;
use crate::transport::MemoryNetwork;
use crate::{BoxError, Context, Lifecycle, Node, Ref};

/// Ticks, and counts that.
#[derive(crate::Worker, Serialize, Deserialize, Default)]
#[worker(name = "clock", crate = crate, handles(Set, Tick, Told, Cancel, Crash, Many), lifecycle, mailbox = 4)]
struct Clock {
    every_ms: Option<u64>,
    #[serde(skip)]
    told: Vec<(u32, Duration)>,
    #[serde(skip)]
    began: Option<Instant>,
    #[serde(skip)]
    timers: Vec<Timer>,
}

impl Lifecycle for Clock {
    async fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        self.began = Some(Instant::now());
        if let Some(ms) = self.every_ms {
            self.timers.push(ctx.send_every(Duration::from_millis(ms), Tick { number: 0, busy_ms: 0 }));
        }
        Ok(())
    }

    async fn run(&mut self, ctx: &mut Context<Self>) -> Result<(), BoxError> {
        // Set while the worker waits already.
        if self.told.len() == 1 && self.timers.is_empty() {
            self.timers.push(ctx.send_after(Duration::from_millis(10), Tick { number: 77, busy_ms: 0 }));
        }
        pending().await
    }
}

#[derive(crate::Message, Serialize, Deserialize, Clone)]
#[message(crate = crate)]
struct Tick {
    number: u32,
    busy_ms: u64,
}

impl Handler<Tick> for Clock {
    async fn handle(&mut self, tick: Tick, _: &mut Context<Self>) {
        self.told.push((tick.number, self.began.expect("it has started").elapsed()));
        tokio::time::sleep(Duration::from_millis(tick.busy_ms)).await;
    }
}

/// Sets a timer, once or again and again.
#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate)]
struct Set {
    tick: Tick,
    after_ms: u64,
    again: bool,
}

impl Handler<Set> for Clock {
    async fn handle(&mut self, set: Set, ctx: &mut Context<Self>) {
        self.began = Some(Instant::now());
        let after = Duration::from_millis(set.after_ms);
        let timer = if set.again { ctx.send_every(after, set.tick) } else { ctx.send_after(after, set.tick) };
        self.timers.push(timer);
    }
}

/// What it was told, and after how many milliseconds.
#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate, reply = Vec<(u32, u64)>)]
struct Told;

impl Handler<Told> for Clock {
    async fn handle(&mut self, _: Told, _: &mut Context<Self>) -> Vec<(u32, u64)> {
        let ms = |time: &Duration| u64::try_from(time.as_millis()).expect("small");
        self.told.iter().map(|(number, after)| (*number, ms(after))).collect()
    }
}

/// Cancels all timers; says which of them had something to come.
#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate, reply = Vec<bool>)]
struct Cancel;

impl Handler<Cancel> for Clock {
    async fn handle(&mut self, _: Cancel, _: &mut Context<Self>) -> Vec<bool> {
        self.timers.iter().map(Timer::cancel).collect()
    }
}

#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate)]
struct Crash;

impl Handler<Crash> for Clock {
    async fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("told to crash")
    }
}

async fn clock(every_ms: Option<u64>) -> (Node, Ref<Clock>) {
    let builder = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new());
    let node = builder.start().await.expect("it starts");
    let sworm = node.sworm("s").await.expect("it opens");
    let clock = sworm.register_name("clock", Clock { every_ms, ..Clock::default() }).await.expect("free");
    (node, clock)
}

async fn set(clock: &Ref<Clock>, number: u32, after_ms: u64, busy_ms: u64, again: bool) {
    clock.call(Set { tick: Tick { number, busy_ms }, after_ms, again }).await.expect("it runs");
}

async fn told(clock: &Ref<Clock>) -> Vec<(u32, u64)> {
    clock.call(Told).await.expect("it runs")
}

fn sleep(ms: u64) -> tokio::time::Sleep {
    tokio::time::sleep(Duration::from_millis(ms))
}

/// Sets so many timers for long; says how many of them are to come, then how many when the first was cancelled and two more
/// were set.
#[derive(crate::Message, Serialize, Deserialize)]
#[message(crate = crate, reply = [usize; 2])]
struct Many(usize);

impl Handler<Many> for Clock {
    async fn handle(&mut self, Many(count): Many, ctx: &mut Context<Self>) -> [usize; 2] {
        let set = || ctx.send_after(Duration::from_secs(1_000), Tick { number: 1, busy_ms: 0 });
        let pending = |timers: &[Timer]| timers.iter().filter(|timer| timer.is_pending()).count();
        self.timers = std::iter::repeat_with(set).take(count).collect();
        let first = pending(&self.timers);
        assert!(!self.timers.iter().any(|timer| !timer.is_pending() && timer.cancel()), "there was nothing to come");
        assert!(self.timers[0].cancel() && !self.timers[0].is_pending());
        self.timers.extend([set(), ctx.send_every(Duration::from_secs(1_000), Tick { number: 2, busy_ms: 0 })]);
        [first, pending(&self.timers)]
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_messages_are_to_come_than_may_be_and_others_when_some_have_come() {
    let (_node, clock) = clock(None).await;
    assert_eq!(clock.call(Many(MAX_TIMERS + 100)).await, Ok([MAX_TIMERS; 2]));
    sleep(1_100_000).await;
    assert_eq!(told(&clock).await.len(), MAX_TIMERS, "those that were refused never come, nor does the one taken back");
    set(&clock, 3, 10, 0, false).await;
    sleep(100).await;
    assert_eq!(told(&clock).await.last().map(|(number, _)| *number), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_message_comes_once_after_its_time_whatever_was_set_before() {
    let (_node, clock) = clock(None).await;
    for (number, after_ms) in [(1, 5_000), (2, 20), (3, 1_000), (4, 0)] {
        set(&clock, number, after_ms, 0, false).await;
    }
    clock.call(Set { tick: Tick { number: 9, busy_ms: 0 }, after_ms: u64::MAX, again: false }).await.expect("it runs");
    sleep(10_000).await;
    let told = told(&clock).await;
    assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4, 2, 3, 1]);
    for ((_, after), expected) in told.into_iter().zip([0, 20, 1_000, 5_000]) {
        assert!((expected..=expected + 5).contains(&after), "{after} ms rather than {expected}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_set_while_the_worker_waits_for_another_comes_before_it() {
    let (_node, clock) = clock(None).await;
    clock.cast(Tick { number: 1, busy_ms: 0 }).await.expect("it is on its way");
    sleep(1_000).await;
    assert_eq!(told(&clock).await.into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [1, 77]);
}

#[tokio::test(start_paused = true)]
async fn a_period_is_kept_and_what_passes_while_the_worker_is_busy_is_left_out() {
    let (_node, quick) = clock(None).await;
    set(&quick, 1, 1_000, 0, true).await;
    sleep(10_500).await;
    let ticks = told(&quick).await;
    assert_eq!(ticks.len(), 10, "{ticks:?}");
    assert!(ticks.iter().zip(1..).all(|((_, after), n)| (n * 1_000..=n * 1_000 + 5).contains(after)), "{ticks:?}");
    let (_node, busy) = clock(None).await;
    set(&busy, 1, 1_000, 2_500, true).await;
    sleep(20_000).await;
    assert!((5..=8).contains(&told(&busy).await.len()));
}

#[tokio::test(start_paused = true)]
async fn what_is_cancelled_does_not_come() {
    let (_node, clock) = clock(Some(50)).await;
    set(&clock, 1, 1_000, 0, false).await;
    set(&clock, 2, 10, 0, false).await;
    sleep(120).await;
    assert_eq!(clock.call(Cancel).await, Ok(vec![true, true, false]), "the last has come");
    assert_eq!(clock.call(Cancel).await, Ok(vec![false; 3]));
    let before = told(&clock).await;
    assert_eq!(before.len(), 3, "{before:?}");
    sleep(5_000).await;
    assert_eq!(told(&clock).await, before);
}

#[tokio::test(start_paused = true)]
async fn timers_and_messages_take_turns() {
    let (_node, clock) = clock(None).await;
    set(&clock, 1, 1, 20, true).await;
    sleep(100).await;
    // The timer is always due, and messages are handled.
    let ticks = told(&clock).await.len();
    assert!(ticks > 1);
    // There is always a message, and the timer's are handled.
    let callers = (0..8).map(|_| {
        let clock = clock.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                clock.call(Tick { number: 2, busy_ms: 1 }).timeout(Duration::from_secs(600)).await.expect("it runs");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("it does not panic");
    }
    let told = told(&clock).await;
    let of_timer = told.iter().filter(|(number, _)| *number == 1).count() - ticks;
    assert!((350..=450).contains(&of_timer), "{of_timer} of {}", told.len());
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_their_worker_and_a_new_start_sets_its_own() {
    let (_node, clock) = clock(Some(1_000)).await;
    set(&clock, 5, 3_000, 0, false).await;
    clock.call(Crash).await.expect_err("it crashes");
    sleep(10_500).await;
    let told = told(&clock).await;
    assert!(told.iter().all(|(number, _)| *number == 0), "{told:?}");
    assert!((9..=10).contains(&told.len()), "{told:?}");
}
