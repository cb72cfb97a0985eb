//! The task of one worker: starts it, lets it handle one message after the other, saves its state, ends it.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, block_in_place};
use tokio::time::timeout;

use super::activity::Activity;
use super::context::{Asked, Place};
use super::heavy::Heavy;
use super::mailbox::{AnyMailbox, Mailbox, Parcel, RemoteParcel};
use super::outbox::{self, Outbox};
use super::pausing::Pausing;
use super::places::Places;
use super::saving::Saving;
use super::starts::Starts;
use super::timers::Timers;
use super::{Context, Lifecycle};
use crate::api::Sworm;
use crate::core::Input;
use crate::core::cell::Spec;
use crate::core::chunks::Shipment;
use crate::core::ids::{Birth, Epoch, Pid};
use crate::core::message::Snapshot;
use crate::core::snapshots::NotKept;
use crate::error::CallError;
use crate::panics;
use crate::strategy::Exit;

mod decode;
mod diverging;
mod ending;
mod handling;
mod next;
mod save;
mod showing;
mod taking;

use decode::{decode_within, place_to_read};
use next::{Incoming, Next};
use save::{Began, Saver};
use showing::held;

/// How long `stopping`, `on_conflict` and `on_diverged` may take.
pub(crate) const STOPPING_LIMIT: Duration = Duration::from_secs(5);

/// What a worker is started with.
pub(crate) struct Start {
    pub(crate) pid: Pid,
    pub(crate) birth: Birth,
    pub(crate) spec: Arc<Spec>,
    pub(crate) state: Option<Shipment>,
    pub(crate) sworm: Sworm,
    pub(crate) mailbox: usize,
    pub(crate) start_timeout: Duration,
    pub(crate) saving: Saving,
    /// Where it waits for its turn to start.
    pub(crate) starts: Starts,
    /// Where large states are saved.
    pub(crate) places: Places,
    pub(crate) control: mpsc::UnboundedReceiver<Box<Control>>,
    /// Where the task writes what it does.
    pub(crate) activity: Arc<Activity>,
    /// Where the task tells what happens to it.
    pub(crate) tell: Tell,
}

/// Where a worker's task tells what happens to it.
#[derive(Clone)]
pub(crate) struct Tell {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    pub(crate) replies: Arc<dyn Replies>,
}

/// How encoded replies leave.
pub(crate) trait Replies: Send + Sync + 'static {
    /// Sends the reply to a call of another node.
    fn reply(&self, parcel: &RemoteParcel, result: Result<Bytes, CallError>);
    /// Sends a message that was not handled to where its worker is looked for anew.
    fn give_back(self: Arc<Self>, name: &Arc<str>, parcel: RemoteParcel);
}

/// What a worker's task is told.
#[derive(Debug)]
pub(crate) enum Control {
    Pause {
        pausing: Arc<Pausing>,
        why: Exit,
    },
    Resume,
    Stop {
        why: Exit,
    },
    Checkpointed {
        number: u64,
        result: Result<(), NotKept>,
    },
    /// A state of its lineage that it lacks.
    Diverged {
        snapshot: Snapshot,
    },
}

/// Starts the task of a worker and gives the way in.
pub(crate) fn spawn<W: Lifecycle>(mut start: Start) -> (Arc<dyn AnyMailbox>, AbortHandle) {
    let (sender, receiver) = mpsc::channel(start.mailbox);
    let last_words = LastWords::of(&start.pid, &start.tell);
    // What it is made from is not kept beside it.
    let first = First { state: start.state.take(), saving: start.saving, starts: start.starts.clone() };
    let sworm = start.sworm.shared.clone();
    let task = Box::new(Task::<W>::of(start, &first, receiver));
    let task = run(last_words, task, Box::new(first));
    let task = tokio::spawn(outbox::of_sworm(sworm, task));
    (Arc::new(Mailbox { sender, heavy: Heavy::default() }), task.abort_handle())
}

/// How a worker's work ended.
enum End {
    Exit(Exit),
    Stopped,
}

/// Says how a task ended when it comes to no end of its own: somebody has aborted it. Nothing is said when the runtime ends.
struct LastWords {
    name: Arc<str>,
    since: Epoch,
    inputs: mpsc::UnboundedSender<Input>,
    runtime: Handle,
    said: bool,
}

impl LastWords {
    fn of(pid: &Pid, tell: &Tell) -> Self {
        let (name, since, inputs) = (pid.name.clone(), pid.epoch, tell.inputs.clone());
        Self { name, since, inputs, runtime: Handle::current(), said: false }
    }

    /// The task ends by itself, and this is its last word. The node may have stopped meanwhile; then nobody wants to know.
    fn are(mut self, input: Input) {
        self.said = true;
        let _ = self.inputs.send(input);
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if self.said {
            return;
        }
        let (name, since, inputs) = (self.name.clone(), self.since, self.inputs.clone());
        let exit = Exit::Killed("its task was aborted".into());
        // A runtime that ends runs no new task.
        self.runtime.spawn(async move { drop(inputs.send(Input::Exited { name, since, exit })) });
    }
}

/// What a worker needs until it has started.
struct First {
    state: Option<Shipment>,
    saving: Saving,
    starts: Starts,
}

/// Once it has begun its last words are dropped after everything else: the worker is gone then.
async fn run<W: Lifecycle>(last_words: LastWords, mut task: Box<Task<W>>, first: Box<First>) {
    let (name, since) = (task.ctx.pid.name.clone(), task.ctx.pid.epoch);
    // A task is as large as what it may have to remember at any of its awaits, and there are many: what happens seldom has a
    // place of its own meanwhile.
    let input = match Box::pin(task.begin(*first)).await {
        Err(exit) => Input::Started { name, since, result: Err(exit) },
        Ok((mut worker, renewed)) => {
            if let Some(spec) = renewed {
                task.send(Input::Renewed { name: name.clone(), since, spec });
            }
            task.send(Input::Started { name: name.clone(), since, result: Ok(()) });
            lets_the_driver_run().await;
            let end = task.work(&mut worker).await;
            Box::pin(task.conflict(&mut worker)).await;
            if let Some(why) = task.stop_due.take() {
                Box::pin(task.stopping(&mut worker, why)).await;
            }
            // A destructor that panics is the worker's business too.
            task.activity.begins("its destructor");
            let _ = panics::guarded(|| drop(worker));
            task.activity.ends();
            match end {
                End::Exit(exit) => Input::Exited { name, since, exit },
                End::Stopped => Input::Stopped { name, since },
            }
        }
    };
    task.give_everything_back();
    drop(task);
    last_words.are(input);
}

struct Task<W> {
    birth: Birth,
    spec: Arc<Spec>,
    saver: Saver,
    /// What its code casts, when its state is saved after each message.
    outbox: Option<Arc<Outbox>>,
    /// Whether hooks may have changed the state since it was saved.
    stirred: bool,
    /// Whether it was not saved yet, nor was the worker paused.
    fresh: bool,
    /// Whether the state was the same before what was sent last as after it.
    unchanged: bool,
    /// Whether `run` was dropped though nothing has happened, and what it sends first when it is called anew has left already.
    repeats: bool,
    /// Told to pause, and why, while a checkpoint was awaited.
    pause_due: Option<(Arc<Pausing>, Exit)>,
    /// The pause for which its state is being saved.
    pausing: Option<Arc<Pausing>>,
    /// The states that it was given while it waited for something.
    diverged_due: VecDeque<Snapshot>,
    /// The winner of a conflict that this worker has lost, until it is told.
    lost_to: Option<Pid>,
    /// Told to stop, and why, while a checkpoint was awaited.
    stop_due: Option<Exit>,
    /// The call of another node that is being handled, until it is answered.
    in_hand: Option<Box<RemoteParcel>>,
    activity: Arc<Activity>,
    places: Places,
    start_timeout: Duration,
    control: mpsc::UnboundedReceiver<Box<Control>>,
    incoming: Incoming<W>,
    tell: Tell,
    ctx: Context<W>,
}

type Ran = Result<Result<(), super::BoxError>, Box<dyn Any + Send>>;

impl<W: Lifecycle> Task<W> {
    fn of(start: Start, first: &First, receiver: mpsc::Receiver<Parcel<W>>) -> Self {
        let First { state, saving, .. } = first;
        let began = saving.each.then(|| Began::of(state.as_ref(), &start.spec));
        let timers = Timers::default();
        Self {
            birth: start.birth,
            saver: Saver::new(*saving, state.as_ref().is_some_and(Shipment::checkpoint), began),
            stirred: false,
            fresh: true,
            outbox: saving.each.then(Arc::<Outbox>::default),
            unchanged: false,
            repeats: false,
            pause_due: None,
            pausing: None,
            diverged_due: VecDeque::new(),
            lost_to: None,
            stop_due: None,
            in_hand: None,
            activity: start.activity,
            places: start.places,
            start_timeout: start.start_timeout,
            control: start.control,
            incoming: Incoming::new(receiver, timers.clone()),
            tell: start.tell,
            ctx: Context {
                pid: start.pid,
                sworm: start.sworm,
                handoff: start.spec.handoff || saving.goes_on(),
                place: Place::Hook,
                asked: Arc::default(),
                exit: None,
                failed: None,
                timers,
            },
            spec: start.spec,
        }
    }

    fn send(&self, input: Input) {
        let _ = self.tell.inputs.send(input);
    }

    /// Makes the worker and starts it. Gives its spec beside it, if what it was registered with was of an older version.
    async fn begin(&mut self, First { state, saving, starts }: First) -> Result<(W, Option<Arc<Spec>>), Exit> {
        let shared = self.ctx.sworm.shared.clone();
        // Whoever waits for a place takes no other start's turn.
        let place = place_to_read(&shared.node, state.as_ref()).await;
        let turn = starts.turn().await;
        self.activity.begins("its decoding");
        let of = (&shared, &self.ctx.pid.name);
        let decoded = decode_within::<W>(self.start_timeout, of, &self.spec, saving, state).await;
        drop(place);
        self.activity.ends();
        let (mut worker, renewed) = decoded?;
        self.started(&mut worker).await?;
        drop(turn);
        Ok((worker, renewed))
    }

    async fn started(&mut self, worker: &mut W) -> Result<(), Exit> {
        self.ctx.place = Place::Hook;
        let limit = self.start_timeout;
        self.activity.begins("`started`");
        let outbox = self.outbox.clone();
        let started = timeout(limit, guarded(held(outbox.as_ref(), worker.started(&mut self.ctx)))).await;
        self.activity.ends();
        self.ctx.place = Place::Work;
        self.stirred = true;
        match started {
            Err(_) => Err(Exit::StartTimedOut),
            Ok(Err(panic)) => Err(Exit::Panic(panic)),
            Ok(Ok(Err(error))) => Err(Exit::StartFailed(error.to_string())),
            Ok(Ok(Ok(()))) => Ok(()),
        }
    }

    async fn work(&mut self, worker: &mut W) -> End {
        if let Some(end) = Box::pin(self.settle(worker)).await {
            return end;
        }
        loop {
            if let Some(error) = self.ctx.failed.take() {
                return End::Exit(Exit::Error(error.into()));
            }
            if self.ctx.asked.stop() {
                return Box::pin(self.finishes(worker)).await;
            }
            if let Some((pausing, why)) = self.pause_due.take()
                && let Some(end) = Box::pin(self.pause(worker, pausing, why)).await
            {
                return end;
            }
            if let Some(snapshot) = self.diverged_due.pop_front() {
                if let Some(end) = Box::pin(self.diverged(worker, snapshot)).await {
                    return end;
                }
                continue;
            }
            if self.saver.is_due()
                && let Some(end) = Box::pin(self.save_aside(worker)).await
            {
                return end;
            }
            let (next, repeats) = self.next(worker).await;
            let by_itself = matches!(next, Next::Asked | Next::Control(Some(Control::Checkpointed { .. })));
            let settled = match &next {
                _ if self.is_settled() => None,
                Next::Ran(Ok(_)) => Box::pin(self.settle(worker)).await,
                Next::Message(_) | Next::Control(Some(Control::Pause { .. } | Control::Diverged { .. })) => {
                    Box::pin(self.settle_before(worker)).await
                }
                Next::Ran(Err(_)) | Next::Control(_) | Next::Asked => None,
            };
            if let Some(end) = settled {
                if let Next::Message(parcel) = next {
                    self.give_back(parcel);
                }
                return end;
            }
            let end = match next {
                Next::Message(parcel) => self.handle(worker, parcel).await,
                Next::Control(Some(Control::Pause { pausing, why })) => {
                    Box::pin(self.pause(worker, pausing, why)).await
                }
                Next::Control(Some(Control::Diverged { snapshot })) => Box::pin(self.diverged(worker, snapshot)).await,
                Next::Control(Some(Control::Checkpointed { number, result })) => {
                    self.saver.arrived(number);
                    if result.is_err() {
                        self.saver.is_lost();
                    }
                    None
                }
                Next::Control(Some(Control::Resume)) | Next::Asked => None,
                Next::Control(Some(Control::Stop { why })) => {
                    self.loses(&why);
                    Box::pin(self.conflict(worker)).await;
                    Box::pin(self.stopping(worker, why)).await;
                    Some(End::Stopped)
                }
                Next::Control(None) => {
                    Box::pin(self.stopping(worker, Exit::Killed("its node let go of it".into()))).await;
                    Some(End::Stopped)
                }
                Next::Ran(Ok(Ok(()))) => Some(Box::pin(self.finishes(worker)).await),
                Next::Ran(Ok(Err(error))) => Some(End::Exit(Exit::Error(error.to_string()))),
                Next::Ran(Err(panic)) => Some(End::Exit(Exit::Panic(panics::text(&*panic)))),
            };
            if let Some(end) = end {
                return end;
            }
            let holds = self.holds_something();
            if !self.is_settled()
                && let Some(end) = Box::pin(self.settle(worker)).await
            {
                return end;
            }
            self.repeats = by_itself && if holds { self.unchanged } else { repeats };
        }
    }
}

/// Something was sent to the driver, which the runtime may run next on this very thread, and on no other: people's code, which
/// may block it, comes after.
async fn lets_the_driver_run() {
    tokio::task::yield_now().await;
}

/// Runs people's code that may block its thread, where others may go on without that.
fn beside<T>(run: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => block_in_place(run),
        _ => run(),
    }
}

/// Runs people's code; a panic in it becomes its text.
async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panics::text(&*panic))
}
