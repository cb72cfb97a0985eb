//! Runs one core: feeds it what happens, and performs what it decides.

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Life;
use super::disk::Disk;
use super::frame::Frame;
use super::hanging::{GRACE, given_up, stopped_within};
use super::states;
use super::sworm::{Asked, Look, Opened, Running, Slot, SwormShared};
use crate::api::Sworm;
use crate::core::ids::{Epoch, Peer, Pid};
use crate::core::message::{Answer, Done, Message};
use crate::core::{Core, Effect, Entry, Input, Notice, Now};
use crate::store::{StoreError, Ticket};
use crate::strategy::Exit;
use crate::transport::Class;
use crate::worker::activity::Activity;
use crate::worker::pausing::Pausing;
use crate::worker::task::{Control, STOPPING_LIMIT, Start, Tell};

/// How many inputs are taken before their effects are performed.
const BATCH: usize = 1024;
/// How often it is waited for what comes of that at once.
const ROUNDS: usize = 4;
/// How often a worker that pauses is looked at.
const PAUSE_LOOK: Duration = Duration::from_secs(1);
/// How long a pause may take in all while a large state is being saved.
const PAUSE_LIMIT: Duration = Duration::from_secs(50);

/// What drives a core.
pub(crate) struct Driver {
    pub(crate) shared: Arc<SwormShared>,
    pub(crate) core: Core,
    pub(crate) disk: Disk,
    pub(crate) inputs: mpsc::UnboundedReceiver<Input>,
    pub(crate) looks: mpsc::UnboundedReceiver<Look>,
    pub(crate) opened: watch::Sender<Opened>,
    pub(crate) syncs: mpsc::UnboundedSender<(u64, Ticket)>,
}

impl Driver {
    /// Runs until the node stops, or the sworm is closed because it could not be opened.
    pub(crate) async fn run(mut self) {
        let mut stopped = self.shared.node.stopping();
        loop {
            // A time span, not an instant: the runtime's clock may be a paused one, which runs ahead of the node's.
            let tick = self.shared.node.until(self.core.next_tick_ms());
            let input = tokio::select! {
                _ = stopped.wait_for(Life::is_over) => break,
                () = self.shared.closing.notified() => break,
                // A tick that is due waits for nothing that is there to be read.
                () = ready(()), if tick.is_zero() => Some(Input::Tick),
                input = self.inputs.recv(), if !tick.is_zero() => input,
                Some(look) = self.looks.recv() => {
                    self.shared.at_work.store(true, Relaxed);
                    look(&mut self.core);
                    self.shared.at_work.store(false, Relaxed);
                    continue;
                }
                () = sleep(tick), if !tick.is_zero() => Some(Input::Tick),
            };
            self.shared.at_work.store(true, Relaxed);
            if let Err(error) = self.take_all(input).await {
                self.shared.node.store_failed(error);
                break;
            }
            self.shared.at_work.store(false, Relaxed);
        }
        self.shared.stopped();
    }

    /// Takes what is there, and performs what comes of it. What that leads to at once, as the starts of workers, is taken along
    /// before anything is published, a few times: one message tells more than several.
    async fn take_all(&mut self, mut input: Option<Input>) -> Result<(), StoreError> {
        for _ in 0..ROUNDS {
            self.take_batch(input);
            let (effects, waits) = self.core.flush_some(self.now());
            self.perform(effects)?;
            if !waits {
                return Ok(());
            }
            lets_others_run().await;
            input = self.inputs.try_recv().ok();
            if input.is_none() {
                break;
            }
        }
        self.take_batch(input);
        let effects = self.core.flush(self.now());
        self.perform(effects)
    }

    fn take_batch(&mut self, mut input: Option<Input>) {
        let now = self.now();
        for _ in 0..BATCH {
            let Some(next) = input.take() else { return };
            self.take(now, next);
            input = self.inputs.try_recv().ok();
        }
        if let Some(last) = input {
            self.take(now, last);
        }
    }

    fn take(&mut self, now: Now, input: Input) {
        match &input {
            // The tasks of a node that stops are aborted and let go of: that is no end of their names.
            Input::Exited { exit: Exit::Killed(_), .. } | Input::Gone { .. } if self.shared.node.has_stopped() => {
                return;
            }
            Input::Exited { name, exit, .. } if !exit.is_normal() => {
                tracing::warn!(sworm = &*self.shared.name, name = &**name, %exit, "a worker has ended");
            }
            Input::Exited { name, exit, .. } | Input::Started { name, result: Err(exit), .. } => {
                tracing::debug!(sworm = &*self.shared.name, name = &**name, %exit, "a worker has ended");
            }
            Input::Gone { name, .. } => {
                tracing::error!(sworm = &*self.shared.name, name = &**name, "the task of a worker is gone");
            }
            Input::GivenUp { name, why, .. } => {
                tracing::error!(sworm = &*self.shared.name, name = &**name, why = &**why, "a worker is given up");
            }
            _ => {}
        }
        if let Input::Exited { name, since, .. }
        | Input::Stopped { name, since }
        | Input::GivenUp { name, since, .. }
        | Input::Gone { name, since } = &input
        {
            let mut slots = self.shared.slots();
            if slots.get(name).is_some_and(|slot| slot.since == *since) {
                slots.remove(name);
            }
        }
        self.core.handle(now, input);
    }

    fn now(&self) -> Now {
        Now { mono_ms: self.shared.node.mono_ms(), unix_ms: super::unix_ms(), random: super::random_u32() }
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<(), StoreError> {
        let mut syncs = Vec::new();
        let mut ready = false;
        for effect in effects {
            #[cfg(feature = "faults")]
            let then = self.shared.witnesses.show(&effect, &self.core);
            match effect {
                Effect::Ready => ready = true,
                Effect::Persist(delta) => {
                    let core = &self.core;
                    self.disk.persist(&delta, || core.whole_lane(&delta.lane))?;
                }
                Effect::PersistEnds { ended, dropped } => self.disk.persist_ends(ended, dropped)?,
                Effect::ForgetLane(lane) => self.disk.forget(&lane),
                Effect::StoreSnapshot { name, snapshot } => self.disk.keep(&name, snapshot)?,
                Effect::DeleteSnapshot { name } => self.disk.delete_snapshot(&name),
                Effect::SetAside { name, birth, revision } => self.disk.set_aside(&name, birth, revision)?,
                Effect::DeleteAside { name, birth, revision } => self.disk.delete_aside(&name, birth, revision),
                Effect::LoadSnapshot { purpose } => {
                    self.disk.write()?;
                    let large = self.disk.is_in_chunks(purpose.name());
                    states::load(self.shared.clone(), purpose, large);
                }
                Effect::StoreChunk { name, manifest, index, bytes } => {
                    self.disk.store_chunk(&name, &manifest, index, &bytes)?;
                }
                Effect::DropChunks { name, manifest } => self.disk.drop_chunks(&name, &manifest),
                Effect::SendChunk { to, name, manifest, index } => {
                    self.disk.write()?;
                    states::send_chunk(self.shared.clone(), to, name, manifest, index);
                }
                Effect::Sync(number) => syncs.push(number),
                other => self.perform_here(other),
            }
            #[cfg(feature = "faults")]
            if let Some(then) = then {
                self.disk.write()?;
                then();
            }
        }
        let ticket = self.disk.write()?;
        if let Some(number) = syncs.last().copied() {
            if self.shared.node.store.is_volatile() {
                self.shared.input(Input::Durable(number)); // it is as durable as it will ever be
            } else {
                // The task that syncs ends only with this one.
                let _ = self.syncs.send((number, ticket));
            }
        }
        // Whoever waits for it finds all that came with it, and is told of nothing that was there before.
        if ready {
            self.opened.send_replace(Opened::Ready);
        }
        Ok(())
    }

    fn perform_here(&mut self, effect: Effect) {
        let shared = &self.shared;
        match effect {
            Effect::Send { to, message } => self.send(Some(&to), message),
            Effect::Broadcast(message) => self.send(None, message),
            Effect::Start { name, since, spec, state } => self.start(name, since, spec, state),
            Effect::Pause { name, since, why } => self.pause(name, since, why),
            Effect::Resume { name, since } => {
                self.control(&name, since, Control::Resume);
            }
            Effect::Stop { name, since, why } => self.stop(name, since, why),
            // Whose task is gone is not given it: the next one is.
            Effect::Merge { name, since, snapshot } => {
                self.control(&name, since, Control::Diverged { snapshot });
            }
            Effect::LookAfter(workers) => self.look_after(&workers),
            Effect::Checkpointed { name, since, number, result } => {
                self.control(&name, since, Control::Checkpointed { number, result });
            }
            Effect::Index { name, entry } => {
                self.drop_detached(&name, entry.as_ref());
                // Looked at after the change: whoever begins to watch now has either seen it or is told.
                shared.index.change(&name, entry, |old, new| {
                    if shared.watchers.are_there() {
                        shared.watchers.tell(self.core.changes(&name, old, new));
                    }
                });
            }
            Effect::Overlay { name, entry } => shared.index.overlay(&name, entry),
            Effect::Answer { number, answer } => {
                self.overlay_end(&answer);
                shared.asked_is(number, Asked::Answer(answer));
            }
            Effect::Expired { number } => shared.asked_is(number, Asked::Expired),
            Effect::Viewed(peers) => shared.index.set_nodes(peers.into_iter().map(|peer| peer.node).collect()),
            Effect::Disagreed { node, theirs } => {
                drop(self.opened.send_replace(Opened::Disagreed { node, theirs }));
            }
            Effect::Lease { until_ms } => {
                shared.lease.set(until_ms);
                if until_ms == 0 {
                    super::lease::abort_late(shared);
                }
            }
            Effect::Left { parked, unsaved, late } => {
                drop(self.opened.send_replace(Opened::Left { parked, unsaved, late }));
            }
            Effect::Drained { call, drained } => drop(shared.drained.send_replace((call, drained))),
            Effect::Tell(notice) => self.tell(&notice),
            Effect::Ready
            | Effect::Persist(_)
            | Effect::PersistEnds { .. }
            | Effect::ForgetLane(_)
            | Effect::Sync(_)
            | Effect::StoreSnapshot { .. }
            | Effect::DeleteSnapshot { .. }
            | Effect::SetAside { .. }
            | Effect::DeleteAside { .. }
            | Effect::LoadSnapshot { .. }
            | Effect::StoreChunk { .. }
            | Effect::DropChunks { .. }
            | Effect::SendChunk { .. } => unreachable!("performed by the caller"),
        }
    }

    fn send(&self, to: Option<&Peer>, message: Box<Message>) {
        let class = match *message {
            // Told again, or pulled.
            Message::Beat(_)
            | Message::Delta(_)
            | Message::Versions(_)
            | Message::Pull(_)
            | Message::Part(_)
            | Message::PullPart { .. } => Class::Droppable,
            _ => Class::Important,
        };
        let node = &self.shared.node;
        match Frame::Core(self.shared.hash, node.me.clone(), message).encode() {
            Ok(frame) => match to {
                Some(to) => node.send(to, class, frame),
                None => node.broadcast(class, frame),
            },
            Err(error) => tracing::error!(%error, "a message could not be encoded"),
        }
    }

    fn start(
        &self,
        name: Arc<str>,
        since: Epoch,
        spec: Arc<crate::core::cell::Spec>,
        state: Option<crate::core::chunks::Shipment>,
    ) {
        let shared = &self.shared;
        let (Some(hosted), Some(birth)) = (shared.types.get(&*spec.worker_type), self.core.birth_of(&name)) else {
            let result = Err(Exit::StartFailed(format!("worker type {:?} is not linked", &*spec.worker_type)));
            return shared.input(Input::Started { name, since, result });
        };
        let pid = self.pid(name.clone(), since);
        let (control_sender, control) = mpsc::unbounded_channel();
        let activity = Arc::new(Activity::default());
        let (mailbox, handle) = hosted.worker.start(Start {
            pid,
            birth,
            spec,
            state,
            sworm: Sworm::new(shared.clone()),
            mailbox: hosted.mailbox,
            start_timeout: hosted.start_timeout,
            saving: hosted.saving,
            permits: shared.node.starts.clone(),
            places: shared.node.saved.clone(),
            control,
            activity: activity.clone(),
            tell: Tell { inputs: shared.senders.inputs.clone(), replies: shared.clone() },
        });
        let slot = Slot { since, mailbox, control: control_sender, task: Some(Running { handle, activity }) };
        shared.slots().insert(name, slot);
    }

    fn pid(&self, name: Arc<str>, since: Epoch) -> Pid {
        let me = self.shared.node.me.clone();
        Pid { sworm: self.shared.name.clone(), name, node: me.node, incarnation: me.incarnation, epoch: since }
    }

    fn control(&self, name: &Arc<str>, since: Epoch, control: Control) -> bool {
        let slots = self.shared.slots();
        let slot = slots.get(name).filter(|slot| slot.since == since);
        slot.is_some_and(|slot| slot.control.send(Box::new(control)).is_ok())
    }

    fn stop(&self, name: Arc<str>, since: Epoch, why: Exit) {
        let attached = self.shared.slots().get(&name).is_some_and(|slot| slot.task.is_none());
        let hooks = if matches!(why, Exit::Conflict { .. }) { 2 } else { 1 };
        if attached || !self.control(&name, since, Control::Stop { why }) {
            self.shared.slots().remove(&name);
            return self.shared.input(Input::Stopped { name, since });
        }
        let limit = STOPPING_LIMIT * hooks + GRACE;
        tokio::spawn(stopped_within(limit, self.shared.clone(), name, since));
    }

    /// Looks whether these workers' tasks are there, and get on.
    fn look_after(&mut self, workers: &[(Arc<str>, Epoch)]) {
        let now = std::time::Instant::now();
        let (mut gone, mut stuck, mut hanging) = (Vec::new(), Vec::new(), Vec::new());
        let limit = self.shared.save_limit.get();
        // In parts: whoever calls a worker needs the slots too.
        for some in workers.chunks(256) {
            let slots = self.shared.slots();
            for (name, since) in some {
                match slots.get(name).filter(|slot| slot.since == *since).map(|slot| &slot.task) {
                    // One whose task has finished has said how, in words that are yet to be read: it may have stopped as it
                    // was told, and counts as gone only if it is known by then to have no task.
                    Some(Some(task)) if !task.handle.is_finished() => {
                        stuck.extend(task.activity.overdue(now).map(|long| (name.clone(), *since, long)));
                        let hangs = task.activity.saving_for(now).is_some_and(|taken| taken >= limit);
                        if hangs && task.activity.give_up_saving() {
                            hanging.push((name.clone(), *since));
                        }
                    }
                    Some(_) => {}
                    None => gone.push((name.clone(), *since)),
                }
            }
        }
        for (name, since, (what, busy)) in stuck {
            self.tell(&Notice::Stuck { pid: self.pid(name, since), with: what.into(), busy });
        }
        // At once: what the core asked about is still so.
        let now = self.now();
        for (name, since) in gone {
            self.take(now, Input::Gone { name, since });
        }
        for (name, since) in hanging {
            self.take(now, given_up(name, since, limit));
        }
    }

    fn pause(&self, name: Arc<str>, since: Epoch, why: Exit) {
        let pausing = Arc::<Pausing>::default();
        let shared = self.shared.clone();
        if !self.control(&name, since, Control::Pause { pausing: pausing.clone(), why }) {
            let state = Err("its task is gone".into());
            return shared.input(Input::Paused { name, since, state });
        }
        tokio::spawn(async move {
            let (began, mut got_on, mut steps) = (Instant::now(), Instant::now(), 0);
            while got_on.elapsed() < STOPPING_LIMIT + GRACE && began.elapsed() < PAUSE_LIMIT {
                sleep(PAUSE_LOOK).await;
                let gets_on = pausing.got_on_since(&mut steps);
                if pausing.is_answered() {
                    return;
                }
                if gets_on {
                    got_on = Instant::now();
                    shared.input(Input::PauseGoesOn { name: name.clone(), since });
                }
            }
            if pausing.answers() {
                let state = Err("it did not pause in time".into());
                shared.input(Input::Paused { name, since, state });
            }
        });
    }

    /// An attached name that is gone is gone from its task too.
    fn drop_detached(&self, name: &Arc<str>, entry: Option<&Entry>) {
        let here = |entry: &Entry| entry.host == self.shared.node.me;
        if entry.is_some_and(here) || !self.shared.index.get(name).is_some_and(|old| here(&old)) {
            return;
        }
        let mut slots = self.shared.slots();
        if slots.get(name).is_some_and(|slot| slot.task.is_none()) {
            slots.remove(name);
        }
    }

    /// A name that was ended is gone before the directory shows it: a caller reads its own writes.
    fn overlay_end(&self, answer: &Answer) {
        let index = &self.shared.index;
        if let Ok(Done::Unregistered { name, births }) = answer
            && index.get(name).is_some_and(|entry| births.contains(&entry.cell.birth))
        {
            index.overlay_end(name);
        }
    }

    fn tell(&self, notice: &Notice) {
        self.shared.watchers.tell(notice.event());
        let sworm = &*self.shared.name;
        match notice {
            Notice::NoCandidate { pid, why } => {
                tracing::warn!(sworm, name = &*pid.name, why, "a name has no node to run on")
            }
            Notice::RestoredOlder { pid, reason } => {
                tracing::warn!(sworm, name = &*pid.name, reason = &**reason, "an older state of a worker may be used");
            }
            Notice::StateAwaited { pid, holders } => {
                let holders: Vec<&str> = holders.iter().map(|node| &**node).collect();
                tracing::warn!(sworm, name = &*pid.name, ?holders, "the nodes that hold a name's state are waited for");
            }
            Notice::Unsaved { pid, reason } => {
                tracing::error!(sworm, name = &*pid.name, reason = &**reason, "a worker's state could not be saved");
            }
            Notice::HookFailed { pid, hook, reason } => {
                tracing::warn!(
                    sworm,
                    name = &*pid.name,
                    hook,
                    reason = &**reason,
                    "a hook has failed; its worker ends without it"
                );
            }
            Notice::Conflict { pid, winner } => {
                tracing::warn!(sworm, name = &*pid.name, %winner, "two workers had one name; the one here stops");
            }
            Notice::StateDiverged { pid, epoch, node } => {
                tracing::warn!(sworm, name = &*pid.name, %epoch, %node, "a saved state has turned up that the worker lacks");
            }
            Notice::Exited { pid, reason } => {
                tracing::debug!(sworm, name = &*pid.name, reason, "a worker ended by itself");
            }
            Notice::GaveUp { name, reason } => {
                tracing::error!(sworm, name = &**name, reason, "a worker is not started again")
            }
            Notice::StartFailed { pid, reason, again } => {
                tracing::warn!(sworm, name = &*pid.name, reason, ?again, "a start failed and will be tried again");
            }
            Notice::MajorityLost => {
                tracing::error!(sworm, "no majority of the voters is heard of; all workers here are parked");
            }
            Notice::MajorityHeard => tracing::info!(sworm, "a majority of the voters is heard of"),
            Notice::Stuck { pid, with, busy } => {
                tracing::warn!(sworm, name = &*pid.name, with = &**with, ?busy, "a worker is stuck");
            }
            Notice::OtherStrategies { node, theirs, ours } => {
                let [theirs, ours] = [theirs, ours].map(|said| said.as_deref().unwrap_or("the usual ones"));
                tracing::warn!(
                    sworm,
                    node = &**node,
                    theirs,
                    ours,
                    "a node has opened the sworm with other strategies for workers whose type names none"
                );
            }
            Notice::NameLost { pid } => {
                tracing::error!(sworm, name = &*pid.name, "a worker had lost its name and has it back");
            }
        }
    }
}

/// Goes to the end of what the runtime has to do, where any of its threads may take it up: with tokio's own `yield_now` it
/// would be this thread only, which people's code that comes next may block.
async fn lets_others_run() {
    let mut has_run = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_run, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Waits until what was written is on the disk, many waits at a time, and tells the core.
pub(crate) async fn sync(shared: Arc<SwormShared>, mut syncs: mpsc::UnboundedReceiver<(u64, Ticket)>) {
    while let Some((mut number, mut ticket)) = syncs.recv().await {
        while let Ok((next, upto)) = syncs.try_recv() {
            (number, ticket) = (next, upto.max(ticket));
        }
        if let Err(error) = shared.node.store.sync(ticket).await {
            return shared.node.store_failed(error);
        }
        shared.input(Input::Durable(number));
    }
}

/// Makes this node forget a worker of its own, which goes on, as a mistake in what it keeps of its workers would.
#[cfg(feature = "faults")]
pub fn forget_worker(sworm: &crate::Sworm, name: &str) {
    let name = name.to_owned();
    let look: super::sworm::Look = Box::new(move |core| core.forget_worker(&name));
    sworm.shared.senders.looks.send(look).expect("it runs");
}
