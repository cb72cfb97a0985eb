//! Lanes: for each node that something is sent to a queue and a thread that puts it. A node that takes nothing, or takes it slowly,
//! holds up its own lane and no other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::packet::Packer;
use super::queue::{Shared, bytes_of, limit};
use crate::core::ids::Peer;
use crate::transport::Class;

/// A thread that has had nothing to do for so long ends; the next message begins another one.
const IDLE: Duration = Duration::from_secs(30);
/// So many bytes are taken out of a queue before the packets made of them are put.
const TAKE_BYTES: usize = 1 << 20;
/// How often it is looked whether somebody still waits for the end.
const LOOK: Duration = Duration::from_millis(20);

/// What a lane's thread is asked to do.
enum Letter {
    /// Send it.
    Message(Class, Bytes),
    /// Say when everything before this is sent.
    Flush(Sender<()>),
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
    /// Whether so many bytes more may wait there.
    pub(super) fn has_room_for(&self, to: &Peer, class: Class, bytes: usize) -> bool {
        let queued = self.state().of.get(to).map_or(0, |lane| lane.bytes.load(Relaxed));
        queued.saturating_add(bytes) <= lane_limit(class)
    }

    /// Sends a message; says whether it was taken.
    pub(super) fn send(&self, shared: &Arc<Shared>, to: &Peer, class: Class, message: Bytes) -> bool {
        let mut state = self.state();
        if state.ended {
            return true; // as after any loss of the links
        }
        if !state.of.contains_key(to) {
            match begin(shared, to) {
                Ok(lane) => _ = state.of.insert(to.clone(), lane),
                Err(error) => {
                    tracing::error!(%to, %error, "the thread that sends to a node cannot be started");
                    return false;
                }
            }
        }
        let (lane, bytes) = (&state.of[to], bytes_of(&message));
        if lane.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes) > lane_limit(class) {
            lane.bytes.fetch_sub(bytes, Relaxed);
            return false;
        }
        // Its thread ends only when it is no more among them.
        let _ = lane.letters.send(Letter::Message(class, message));
        true
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

/// One node takes no more than half of the room, so that it leaves some for the others.
fn lane_limit(class: Class) -> usize {
    limit(class) / 2
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
    let mut packer = Packer::default();
    loop {
        let mut next = match letters.recv_timeout(IDLE) {
            Ok(letter) => Some(letter),
            Err(RecvTimeoutError::Timeout) => match shared.lanes.is_over(to, letters) {
                Ok(()) => return,
                Err(letter) => Some(letter),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut taken_bytes = 0;
        while let Some(letter) = next.take() {
            match letter {
                Letter::Message(class, message) => {
                    shared.taken(&message);
                    bytes.fetch_sub(bytes_of(&message), Relaxed);
                    taken_bytes += message.len();
                    packer.push(class, &message);
                }
                Letter::Flush(flushed) => {
                    put_all(shared, to, &mut packer);
                    // Whoever waits for it may have given up.
                    let _ = flushed.send(());
                }
            }
            if taken_bytes < TAKE_BYTES {
                next = letters.try_recv().ok();
            }
        }
        put_all(shared, to, &mut packer);
    }
}

fn put_all(shared: &Shared, to: &Peer, packer: &mut Packer) {
    for packet in packer.take() {
        if !shared.abandoned.load(Relaxed) {
            shared.puts.put(to, packet, &shared.counters);
        }
    }
}
