//! Lanes: for each node that something is sent to a queue and a thread that puts it. A node that takes nothing, or takes it slowly,
//! holds up its own lane and no other.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ahash::HashMap;
use bytes::Bytes;

use super::packet::Packer;
use super::queue::{Shared, bytes_of};
use crate::core::ids::Peer;
use crate::transport::Class;

/// A thread that has had nothing to do for so long ends; the next message begins another one.
const IDLE: Duration = Duration::from_secs(30);
/// So many bytes are taken out of a queue before the packets made of them are put.
const TAKE_BYTES: usize = 1 << 20;
/// Beyond so many queued bytes droppable messages for that node are dropped, beyond twice as many important ones too.
const LANE_BYTES: usize = 64 << 20;
/// How often it is looked whether somebody still waits for the end.
const LOOK: Duration = Duration::from_millis(20);

/// What a lane's thread is asked to do.
enum Letter {
    /// Send it.
    Message(Class, Bytes),
    /// Say when everything before this is sent.
    Flush(Sender<()>),
    /// The node is gone: end, and forget its key.
    Forget,
}

/// What became of a message.
pub(super) enum Sent {
    Taken,
    /// Too much waits to be sent there.
    Full,
    /// Nothing is taken any more.
    Over,
}

/// The lanes.
#[derive(Default)]
pub(super) struct Lanes(Mutex<State>);

#[derive(Default)]
struct State {
    of: HashMap<Peer, Lane>,
    /// Nothing is taken any more.
    ended: bool,
}

/// The way to one lane's thread.
struct Lane {
    letters: Sender<Letter>,
    bytes: Arc<AtomicUsize>,
}

impl Lanes {
    /// Whether so many bytes more may wait there, and at most `room` with them.
    pub(super) fn has_room_for(&self, to: &Peer, class: Class, bytes: usize, room: usize) -> bool {
        let queued = self.state().of.get(to).map_or(0, |lane| lane.bytes.load(Relaxed));
        queued.saturating_add(bytes) <= lane_limit(class).min(room)
    }

    /// Sends a message, if it and what waits there already have at most `room` bytes.
    pub(super) fn send(&self, shared: &Arc<Shared>, to: &Peer, class: Class, message: Bytes, room: usize) -> Sent {
        let mut state = self.state();
        if state.ended {
            return Sent::Over;
        }
        if !state.of.contains_key(to) {
            match begin(shared, to) {
                Ok(lane) => _ = state.of.insert(to.clone(), lane),
                Err(error) => {
                    tracing::error!(%to, %error, "the thread that sends to a node cannot be started");
                    return Sent::Full;
                }
            }
        }
        let (lane, bytes) = (&state.of[to], bytes_of(&message));
        if lane.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) > lane_limit(class).min(room) {
            lane.bytes.fetch_sub(bytes, Relaxed);
            return Sent::Full;
        }
        if lane.letters.send(Letter::Message(class, message)).is_err() {
            // Its thread ends only when it is no more among them, unless it has panicked. The next message begins another one.
            tracing::error!(%to, "the thread that sends to a node has ended; what it had is lost");
            shared.taken(lane.bytes.load(Relaxed).saturating_sub(bytes));
            state.of.remove(to);
            return Sent::Full;
        }
        Sent::Taken
    }

    /// The node is gone: its thread ends when it has done what it has, and forgets its key. Whether there is one.
    pub(super) fn forget(&self, peer: &Peer) -> bool {
        self.state().of.get(peer).is_some_and(|lane| lane.letters.send(Letter::Forget).is_ok())
    }

    /// Waits until everything is sent, as long as it is to be. Nothing is taken any more.
    pub(super) fn flush_and_end(&self, shared: &Shared) {
        let (flushed, all_flushed) = mpsc::channel();
        for lane in self.take().into_values() {
            let _ = lane.letters.send(Letter::Flush(flushed.clone()));
        }
        drop(flushed);
        while !shared.abandoned.load(Relaxed) {
            if matches!(all_flushed.recv_timeout(LOOK), Err(RecvTimeoutError::Disconnected)) {
                return;
            }
        }
    }

    /// Nothing is taken any more; the threads end when they have done what they have.
    pub(super) fn end(&self) {
        drop(self.take());
    }

    fn take(&self) -> HashMap<Peer, Lane> {
        let mut state = self.state();
        state.ended = true;
        std::mem::take(&mut state.of)
    }

    /// Whether a thread that found nothing to do may end. What has come meanwhile stays for it.
    fn is_over(&self, peer: &Peer, letters: &Receiver<Letter>) -> Result<(), Letter> {
        let mut state = self.state();
        match letters.try_recv() {
            Ok(letter) => Err(letter),
            Err(_) => {
                state.of.remove(peer);
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lane_limit(class: Class) -> usize {
    match class {
        Class::Droppable => LANE_BYTES,
        Class::Important => 2 * LANE_BYTES,
    }
}

fn begin(shared: &Arc<Shared>, to: &Peer) -> std::io::Result<Lane> {
    let (letters, received) = mpsc::channel();
    let bytes = Arc::<AtomicUsize>::default();
    let lane = Lane { letters, bytes: bytes.clone() };
    let (shared, to) = (shared.clone(), to.clone());
    let run = move || run(&shared, &to, &received, &bytes);
    thread::Builder::new().name("sworm-put".into()).spawn(run)?;
    Ok(lane)
}

fn run(shared: &Shared, to: &Peer, letters: &Receiver<Letter>, bytes: &AtomicUsize) {
    let mut hand = Hand { shared, to, bytes, packer: Packer::default(), holds: 0 };
    loop {
        let mut next = match letters.recv_timeout(IDLE) {
            Ok(letter) => Some(letter),
            Err(RecvTimeoutError::Timeout) => match shared.lanes.is_over(to, letters) {
                Ok(()) => return,
                Err(letter) => Some(letter),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        while let Some(letter) = next.take() {
            match letter {
                Letter::Message(class, message) => hand.take(class, &message),
                Letter::Flush(flushed) => {
                    hand.put();
                    // Whoever waits for it may have given up.
                    let _ = flushed.send(());
                }
                Letter::Forget => {
                    hand.put();
                    match shared.lanes.is_over(to, letters) {
                        Ok(()) => return shared.puts.forget(to),
                        // It is back, or somebody does not know yet that it is not.
                        Err(letter) => {
                            next = Some(letter);
                            continue;
                        }
                    }
                }
            }
            if hand.holds < TAKE_BYTES {
                next = letters.try_recv().ok();
            }
        }
        hand.put();
    }
}

/// What a thread has taken out of its queue.
struct Hand<'a> {
    shared: &'a Shared,
    to: &'a Peer,
    /// What is queued, this included.
    bytes: &'a AtomicUsize,
    packer: Packer,
    holds: usize,
}

impl Hand<'_> {
    fn take(&mut self, class: Class, message: &Bytes) {
        self.holds += bytes_of(message);
        self.packer.push(class, message);
    }

    fn put(&mut self) {
        for packet in self.packer.take() {
            if !self.shared.abandoned.load(Relaxed) {
                self.shared.puts.put(self.to, packet, &self.shared.counters);
            }
        }
        let held = std::mem::take(&mut self.holds);
        self.shared.taken(held);
        self.bytes.fetch_sub(held, Relaxed);
    }
}
