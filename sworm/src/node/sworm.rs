//! One sworm on this node: what its handles, its driver and its workers share.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::HashMap;
use bytes::Bytes;
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::NodeShared;
use super::attached::Attachments;
use super::forward::FLUSH;
use super::frame::{Call, Frame, Replied};
use super::hanging::SaveLimit;
use super::home::Home;
use super::index::Index;
use super::lease::Lease;
use super::order::Order;
use super::rooms::Rooms;
use super::unread::Unread;
use super::watchers::Watchers;
use crate::core::balance::Rebalance;
use crate::core::draining::Drained;
use crate::core::ids::{Epoch, NodeId, Peer};
use crate::core::message::{Answer, Ask, Message, Refusal};
use crate::core::{Core, Input};
use crate::error::CallError;
use crate::strategy::Restart;
use crate::transport::Class;
use crate::worker::AnyWorkerType;
use crate::worker::activity::Activity;
use crate::worker::mailbox::{AnyMailbox, NotTaken, RemoteParcel};
use crate::worker::outbox::{self, TooLarge};
use crate::worker::saving::Saving;
use crate::worker::task::{Control, Replies};

/// A worker type with its settings in this sworm.
#[derive(Clone)]
pub(crate) struct HostedType {
    pub(crate) worker: &'static dyn AnyWorkerType,
    pub(crate) restart: &'static dyn Restart,
    pub(crate) distribution: Arc<str>,
    pub(crate) handoff: bool,
    /// What the type says of how its states are saved, where they are not.
    pub(crate) in_vain: Option<&'static str>,
    pub(crate) saving: Saving,
    pub(crate) replicas: u8,
    pub(crate) mailbox: usize,
    pub(crate) start_timeout: Duration,
}

/// A worker of this node.
pub(crate) struct Slot {
    pub(crate) since: Epoch,
    pub(crate) mailbox: Arc<dyn AnyMailbox>,
    pub(crate) control: mpsc::UnboundedSender<Box<Control>>,
    /// The task; an attached name has none.
    pub(crate) task: Option<Running>,
}

/// The task of a worker.
pub(crate) struct Running {
    pub(crate) handle: AbortHandle,
    pub(crate) activity: Arc<Activity>,
}

/// How far a sworm has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    Joining,
    Ready,
    Disagreed { node: NodeId, theirs: Arc<str> },
    Left { parked: u64, unsaved: u64, late: bool },
}

/// What came of something that was asked.
pub(crate) enum Asked {
    Answer(Answer),
    Expired,
}

/// Something that is read off a core.
pub(crate) type Look = Box<dyn FnOnce(&mut Core) + Send>;

/// How a sworm was opened.
pub(crate) struct Settings {
    /// All of it, as text.
    pub(crate) text: String,
    /// The distribution strategy of workers whose type names none.
    pub(crate) distribution: Arc<str>,
    /// Whether names move for balance.
    pub(crate) rebalance: Rebalance,
}

/// The ways to the driver.
pub(crate) struct Senders {
    pub(crate) inputs: mpsc::UnboundedSender<Input>,
    /// What the messages among the inputs hold, in their order.
    pub(crate) unread: mpsc::UnboundedSender<Option<Unread>>,
    pub(crate) looks: mpsc::UnboundedSender<Look>,
}

/// One sworm on this node.
pub(crate) struct SwormShared {
    pub(crate) name: Arc<str>,
    pub(crate) hash: u64,
    /// What references hold of it.
    pub(crate) home: Arc<Home>,
    pub(crate) settings: Settings,
    pub(crate) node: Arc<NodeShared>,
    pub(crate) types: BTreeMap<&'static str, HostedType>,
    pub(crate) senders: Senders,
    pub(crate) index: Index,
    pub(crate) lease: Arc<Lease>,
    pub(crate) save_limit: SaveLimit,
    pub(crate) watchers: Watchers,
    pub(crate) opened: watch::Receiver<Opened>,
    /// Whether its driver is at work just now.
    pub(crate) at_work: AtomicBool,
    /// What came of emptying this node, when it is done as far as it goes, up to the call of that number.
    pub(crate) drained: watch::Sender<(u64, Drained)>,
    /// Told when it is to end before its node does.
    pub(crate) closing: Notify,
    /// Who looks at what the core wants done.
    #[cfg(feature = "faults")]
    pub(crate) witnesses: super::witness::Witnesses,
    /// What is on its way from here.
    pub(crate) order: Arc<Order>,
    /// What has come here and waits.
    pub(crate) rooms: Rooms,
    /// The names of tasks that are none of its workers.
    pub(super) attachments: Attachments,
    slots: Mutex<HashMap<Arc<str>, Slot>>,
    /// The names whose states are being decoded, be it that nobody waits for that any more.
    decoding: Mutex<HashSet<Arc<str>>>,
    asked: Mutex<HashMap<u64, oneshot::Sender<Asked>>>,
    next_ask: AtomicU64,
}

impl SwormShared {
    pub(crate) fn new(
        node: Arc<NodeShared>,
        name: Arc<str>,
        settings: Settings,
        types: BTreeMap<&'static str, HostedType>,
        senders: Senders,
        lease: Arc<Lease>,
        opened: watch::Receiver<Opened>,
    ) -> Arc<Self> {
        let hash = super::sworm_hash(&name);
        Arc::new_cyclic(|me| {
            let home = Arc::new(Home::new(name.clone(), me.clone(), node.failure.clone()));
            Self {
                name,
                hash,
                index: Index::of(home.clone()),
                home,
                settings,
                node,
                types,
                senders,
                lease,
                save_limit: SaveLimit::default(),
                watchers: Watchers::default(),
                opened,
                at_work: AtomicBool::new(false),
                drained: watch::Sender::new((0, Drained::default())),
                closing: Notify::new(),
                #[cfg(feature = "faults")]
                witnesses: super::witness::Witnesses::default(),
                order: Arc::default(),
                rooms: Rooms::default(),
                attachments: Attachments::default(),
                slots: Mutex::default(),
                decoding: Mutex::default(),
                asked: Mutex::default(),
                next_ask: AtomicU64::new(0),
            }
        })
    }

    pub(crate) fn input(&self, input: Input) {
        // After the driver has ended nobody listens any more.
        let _ = self.senders.inputs.send(input);
    }

    /// A message of another node's core. It is unread until the driver has taken it.
    pub(super) fn message(&self, from: Peer, message: Box<Message>, unread: Option<Unread>) {
        // Before the message: it is there when that is taken.
        let _ = self.senders.unread.send(unread);
        self.input(Input::Message { from, message });
    }

    /// Asks the core for something and waits for what comes of it, which is an error when the node stops. A worker whose sworm
    /// has lost the majority is refused that, whichever sworm it asks, and so is one that is too large to be saved first.
    pub(crate) async fn ask(&self, ask: Ask, within: Duration) -> Result<Result<Asked, RecvError>, TooLarge> {
        self.ask_as(self.next_ask(), ask, within).await
    }

    /// The same with a number that was taken before.
    pub(crate) async fn ask_as(
        &self,
        number: u64,
        ask: Ask,
        within: Duration,
    ) -> Result<Result<Asked, RecvError>, TooLarge> {
        let _calling = outbox::calling()?;
        if outbox::is_cut_off() {
            let why = outbox::CUT_OFF.into();
            return Ok(Ok(Asked::Answer(Err(Refusal::NoMajority { why }))));
        }
        Ok(self.ask_anyway(number, ask, within).await)
    }

    /// The number of the next request.
    pub(crate) fn next_ask(&self) -> u64 {
        self.next_ask.fetch_add(1, Relaxed)
    }

    /// The same as [`ask_as`](Self::ask_as), for what is no worker's to say; the receiver errs when the node stops.
    pub(crate) fn ask_anyway(&self, number: u64, ask: Ask, within: Duration) -> oneshot::Receiver<Asked> {
        let (sender, receiver) = oneshot::channel();
        self.asked().insert(number, sender);
        let until_ms = self.node.mono_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        self.input(Input::Ask { number, ask, until_ms });
        if self.node.has_stopped() {
            self.asked().remove(&number);
        }
        receiver
    }

    /// Looks at something of the core's between two inputs; `None` when the node has stopped.
    pub(crate) async fn look<T: Send + 'static>(&self, at: impl FnOnce(&Core) -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        let look: Look = Box::new(|core| {
            let _ = sender.send(at(core));
        });
        self.senders.looks.send(look).ok()?;
        receiver.await.ok()
    }

    pub(crate) fn asked_is(&self, number: u64, asked: Asked) {
        if let Some(sender) = self.asked().remove(&number) {
            let _ = sender.send(asked);
        }
    }

    /// Whether the workers here may go on.
    pub(crate) fn may_go_on(&self) -> bool {
        self.lease.is_for_ever() || self.lease.is_valid(self.node.mono_ms())
    }

    /// Whether there was a majority and it is lost: nothing is sent from here until it is back.
    pub(crate) fn has_no_majority(&self) -> bool {
        !self.lease.is_for_ever() && self.lease.is_lost(self.node.mono_ms())
    }

    /// A worker whose task has not ended.
    pub(crate) fn unfinished(&self) -> Option<Arc<str>> {
        let running = |slot: &Slot| slot.task.as_ref().is_some_and(|task| !task.handle.is_finished());
        self.slots().iter().find(|(_, slot)| running(slot)).map(|(name, _)| name.clone())
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, HashMap<Arc<str>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn decoding(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.decoding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Asked>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox of a worker of this node.
    pub(crate) fn mailbox(&self, name: &str) -> Option<Arc<dyn AnyMailbox>> {
        self.slots().get(name).map(|slot| slot.mailbox.clone())
    }

    /// A message of another node for a worker of this one.
    pub(crate) fn deliver(self: &Arc<Self>, call: Call) {
        let parcel = RemoteParcel {
            from: call.from,
            number: call.number,
            cast: call.cast,
            hops: call.hops,
            stay: call.stay,
            limit: call.limit_ms.map_or(Duration::MAX, |ms| Duration::from_millis(ms.into())),
            alone: call.alone,
            message: call.message,
            payload: call.payload,
            load: None,
        };
        if *parcel.message == *FLUSH || self.rooms.is_waited_for(&call.name, call.stay) {
            return self.bring(&call.name, parcel, false);
        }
        let here = self.index.look(&call.name, |found| {
            let entry = &found?.entry;
            (entry.running && entry.host == self.node.me).then_some(entry.cell.since)
        });
        let Some(since) = here else { return self.not_here(&call.name, parcel, false) };
        // What comes late for an earlier stay goes behind what was passed on for that one.
        if since != call.stay {
            return self.bring(&call.name, parcel, false);
        }
        let Some(mailbox) = self.mailbox(&call.name) else { return self.not_here(&call.name, parcel, false) };
        match mailbox.deliver(parcel) {
            Ok(()) => {}
            Err((parcel, NotTaken::Closed)) => self.not_here(&call.name, parcel, false),
            Err((parcel, NotTaken::Full)) => self.bring(&call.name, parcel, false),
            Err((parcel, NotTaken::Unknown)) => {
                let message = parcel.message.to_string();
                self.drop_parcel(&call.name, &parcel, CallError::NoSuchMessage { message });
            }
        }
    }

    /// The node stops: whoever waits for an answer is told, and the workers are aborted; gives their tasks.
    pub(crate) fn stopped(&self) -> Vec<AbortHandle> {
        self.asked().clear();
        self.watchers.end();
        let mut slots = self.slots();
        let tasks: Vec<_> = slots.drain().filter_map(|(name, slot)| Some((name, slot.task?.handle))).collect();
        // Before the slots can be looked at: whoever watches that these end finds them there or here.
        self.lease.leave(tasks.iter().cloned());
        drop(slots);
        tasks.into_iter().map(|(_, task)| task).inspect(AbortHandle::abort).collect()
    }

    pub(super) fn reply_with(&self, parcel: &RemoteParcel, replied: Replied) {
        if !parcel.cast {
            // Anything else may be said on a thread of the transport, which must not put.
            let by_worker = matches!(replied, Replied::Done(_));
            let alone = by_worker && parcel.alone && self.node.repeats.is_alone(&parcel.from, parcel.number);
            self.answer(&parcel.from, parcel.number, replied, alone);
        }
    }

    pub(super) fn answer(&self, to: &Peer, number: u64, replied: Replied, alone: bool) {
        match Frame::Reply(number, replied).encode() {
            Ok(frame) if alone && self.node.send_now(to, &frame) => {}
            Ok(frame) => self.node.send(to, Class::Important, frame),
            Err(error) => tracing::error!(%error, "a reply could not be encoded"),
        }
    }
}

impl Replies for SwormShared {
    fn reply(&self, parcel: &RemoteParcel, result: Result<Bytes, CallError>) {
        let replied = match result {
            Ok(bytes) if bytes.len() > super::MAX_PAYLOAD_BYTES => {
                let (bytes, limit) = (bytes.len(), super::MAX_PAYLOAD_BYTES);
                Replied::Failed(CallError::ReplyTooLarge { bytes, limit })
            }
            Ok(bytes) => Replied::Done(bytes),
            Err(error) => Replied::Failed(error),
        };
        self.reply_with(parcel, replied);
    }

    fn give_back(self: Arc<Self>, name: &Arc<str>, parcel: RemoteParcel) {
        self.not_here(name, parcel, true);
    }
}

/// Aborts the task of a worker of this node, as if somebody had done so behind the library's back.
#[cfg(feature = "faults")]
pub fn abort(sworm: &crate::Sworm, name: &str) {
    let slots = sworm.shared.slots();
    let task = slots.get(name).and_then(|slot| slot.task.as_ref()).expect("it runs here");
    task.handle.abort();
}

/// Makes this node forget the name of a worker of its own, as a mistake in the directory would.
#[cfg(feature = "faults")]
pub fn lose_name(sworm: &crate::Sworm, name: &str) {
    let key = crate::core::cell::Key::Name(name.into());
    let look: Look = Box::new(move |core| core.directory_mut().remove(&key));
    sworm.shared.senders.looks.send(look).expect("it runs");
}

/// Makes this node forget that it has a worker's task.
#[cfg(feature = "faults")]
pub fn lose(sworm: &crate::Sworm, name: &str) {
    drop(sworm.shared.slots().remove(name).expect("it runs here"));
}
