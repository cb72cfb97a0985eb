//! What a node process measures by itself: look-ups and calls, beside the same without Sworm.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sworm::prelude::*;
use sworm::{BoxError, Pid};
use tokio::sync::{mpsc, oneshot};

use crate::load::{Load, load};
use crate::names::name;
use crate::protocol::LookUps;
use crate::raw::MESSAGE_BYTES;
use crate::workers::{Add, Echo, Keeper, Saver};

/// A step through the names that no cache foresees.
const STRIDE: usize = 7919;
/// The time is looked at after so many look-ups.
const LOOK_UPS: usize = 1000;

/// Looks names up that run elsewhere, and the same names in a plain concurrent map.
pub(super) fn look_up(
    node: &Node,
    sworm: &Sworm,
    count: usize,
    readers: usize,
    time: Duration,
) -> Result<LookUps, BoxError> {
    let remote = |name: &String| sworm.whereis(name).is_some_and(|found| found.pid.node != *node.id());
    let names: Vec<String> = (0..count).map(name).filter(remote).collect();
    let map: papaya::HashMap<Arc<str>, Pid> = papaya::HashMap::new();
    for name in &names {
        map.pin().insert(name.as_str().into(), sworm.whereis(name).ok_or("it was there")?.pid);
    }
    let sworm_ns = read(&names, readers, time, |name| drop(black_box(sworm.whereis_name::<Keeper>(name))));
    let map_ns = read(&names, readers, time, |name| _ = black_box(map.pin().get(name)));
    Ok(LookUps { sworm_ns, map_ns })
}

/// The time that one look-up takes one reader.
fn read(names: &[String], readers: usize, time: Duration, look: impl Fn(&str) + Sync) -> f64 {
    let reader = |first: usize| {
        let (started, mut done) = (Instant::now(), 0);
        while started.elapsed() < time {
            for _ in 0..LOOK_UPS {
                look(&names[(first + done) * STRIDE % names.len()]);
                done += 1;
            }
        }
        started.elapsed().as_secs_f64() * 1e9 / done as f64
    };
    let each: f64 = std::thread::scope(|scope| {
        let reader = &reader;
        let readers: Vec<_> = (0..readers).map(|n| scope.spawn(move || reader(n * names.len() / 2))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a look-up does not panic")).sum()
    });
    each / readers as f64
}

/// Calls one worker after another, each caller others, all on one node.
pub(super) async fn call(
    sworm: &Sworm,
    count: usize,
    on: &str,
    callers: usize,
    time: Duration,
) -> Result<Load, BoxError> {
    let mut workers: Vec<Ref<Keeper>> = Vec::new();
    for found in (0..count).filter_map(|number| sworm.whereis_name::<Keeper>(name(number))) {
        if *found.pid().node == *on {
            workers.push(found);
        }
    }
    if workers.len() < callers {
        return Err(format!("only {} workers for {callers} callers", workers.len()).into());
    }
    let message = Bytes::from(vec![7; MESSAGE_BYTES]);
    load(callers, time, |caller| {
        let mine: Vec<_> = workers.iter().skip(caller).step_by(callers).cloned().collect();
        let (mut next, message) = (0, message.clone());
        move || {
            next = (next + 1) % mine.len();
            let call = mine[next].call(Echo(message.clone()));
            async move {
                black_box(call.await?);
                Ok(())
            }
        }
    })
    .await
}

/// The same with that many tasks that answer over a channel: what calls are made of.
pub(super) async fn call_channel(tasks: usize, callers: usize, time: Duration) -> Result<Load, BoxError> {
    let message = Bytes::from(vec![7; MESSAGE_BYTES]);
    let task = |_| {
        let (calls, mut received) = mpsc::channel::<(Bytes, oneshot::Sender<Bytes>)>(64);
        tokio::spawn(async move {
            while let Some((message, reply)) = received.recv().await {
                let _ = reply.send(message);
            }
        });
        calls
    };
    let tasks: Vec<_> = (0..tasks.max(callers)).map(task).collect();
    load(callers, time, |caller| {
        let mine: Vec<_> = tasks.iter().skip(caller).step_by(callers).cloned().collect();
        let (mut next, message) = (0, message.clone());
        move || {
            next = (next + 1) % mine.len();
            let (calls, message) = (mine[next].clone(), message.clone());
            async move {
                let (reply, answer) = oneshot::channel();
                calls.send((message, reply)).await?;
                black_box(answer.await?);
                Ok(())
            }
        }
    })
    .await
}

/// Calls that change the state of a worker of type [`Saver`], one for each caller.
pub(super) async fn save(sworm: &Sworm, callers: usize, time: Duration) -> Result<Load, BoxError> {
    let workers: Option<Vec<_>> = (0..callers).map(|number| sworm.whereis_name::<Saver>(name(number))).collect();
    let workers = workers.ok_or("not all workers are there")?;
    load(callers, time, |caller| {
        let worker = workers[caller].clone();
        move || {
            let call = worker.call(Add(1));
            async move {
                black_box(call.await?);
                Ok(())
            }
        }
    })
    .await
}

/// The names in a plain map, each with as much as its registration has at least: a value of 8 bytes.
pub(super) fn map(count: usize) -> HashMap<String, u64> {
    (0..count).map(|number| (name(number), number as u64)).collect()
}
