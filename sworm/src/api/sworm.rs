//! A sworm: names, look-ups and groups.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::register::RegisterBuilder;
use super::{Events, Inbox, Ref, Registration};
use crate::core::Entry;
use crate::core::cell::{Kind, NameState};
use crate::core::ids::{MAX_LABEL_BYTES, NodeId, Pid};
use crate::core::message::{Ask, Done, Refusal};
use crate::core::placement::Explanation;
use crate::error::{GroupError, RegisterError, RestartError, UnregisterError};
use crate::node::sworm::{Asked, SwormShared};
use crate::worker::{Lifecycle, Message, Target, outbox};

/// How long registrations, ends of names and group changes wait for their answer, unless told otherwise.
pub(crate) const ASK_LIMIT: Duration = Duration::from_secs(10);

/// A handle to a sworm that this node has opened. Clones are handles to the same sworm; none keeps the node running.
#[derive(Clone)]
pub struct Sworm {
    pub(crate) shared: Arc<SwormShared>,
}

impl Sworm {
    pub(crate) fn new(shared: Arc<SwormShared>) -> Self {
        Self { shared }
    }

    /// The sworm's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Starts a worker under a name, on the node that its distribution strategy chooses. The value is what it starts
    /// from, here or anywhere, now and later. Of any number of concurrent registrations of one name exactly one is `Ok`.
    ///
    /// A name whose worker has [failed](crate::RegistrationState::Failed) is replaced: that lineage ends, and its saved states
    /// go with it. To start it again from its state there is [`restart_name`](Sworm::restart_name).
    ///
    /// With a store, `Ok` means that the registration is on the disk of the worker's node, unless the sworm was opened
    /// with [`Ack::Memory`](crate::Ack::Memory).
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]. Waits 10 s at most; see [`register`](Sworm::register) for that and other options.
    pub async fn register_name<W: Lifecycle>(&self, name: impl AsRef<str>, value: W) -> Result<Ref<W>, RegisterError> {
        self.register(name, value).await
    }

    /// The same with options: `.timeout(..)`, `.on(node)`, `.metadata(key, value)`; awaited directly.
    pub fn register<W: Lifecycle>(&self, name: impl AsRef<str>, value: W) -> RegisterBuilder<W> {
        RegisterBuilder::new(self.clone(), name.as_ref().into(), value)
    }

    /// Puts the present task under a name: messages to it come out of the [`Inbox`]. It is not moved and not restarted;
    /// the name goes when the inbox is dropped, or with [`unregister_name`](Sworm::unregister_name). Elsewhere it is
    /// found as `Ref<Inbox<M>>`.
    ///
    /// A name whose worker has [failed](crate::RegistrationState::Failed) is taken as [`register_name`](Sworm::register_name) takes it:
    /// that worker, its groups and its saved state are gone then.
    ///
    /// If the future is dropped, or ends with [`RegisterError::Timeout`], the name may still be taken for this node. As no task
    /// has it, it is taken away again: after a second or two, as long as there are not thousands of names here.
    ///
    /// ```no_run
    /// # use serde::{Deserialize, Serialize};
    /// # use sworm::prelude::*;
    /// #[derive(Message, Serialize, Deserialize)]
    /// #[message(reply = String)]
    /// struct Order(String);
    ///
    /// # async fn example(node: Node, sworm: Sworm) -> sworm::Result<()> {
    /// let mut inbox = sworm.attach_name::<Order>(format!("admin-of-{}", node.id())).await?;
    /// while let Some((Order(what), reply)) = inbox.recv().await {
    ///     match what.as_str() {
    ///         "drain" => reply.send(format!("{:?}", node.drain().await?)),
    ///         other => reply.send(format!("{other} is not known")),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`RegisterError`].
    pub async fn attach_name<M: Message>(&self, name: impl AsRef<str>) -> Result<Inbox<M>, RegisterError> {
        super::inbox::attach(self, name.as_ref().into()).await
    }

    /// Finds a worker. Reads this node's copy of the directory: no network, no waiting. `None` if there is no such name,
    /// or if it is of another type ([`whereis`](Sworm::whereis) tells). A name is found while its worker starts, moves or is
    /// recovered, and when it has failed: a call waits in the first cases, and gets
    /// [`CallError::Failed`](crate::CallError::Failed) in the last.
    pub fn whereis_name<W: Target>(&self, name: impl AsRef<str>) -> Option<Ref<W>> {
        self.shared.index.look(name.as_ref(), |found| {
            let found = found.filter(|found| *found.kind.worker_type == *W::type_name())?;
            Some(Ref::found(found.clone()))
        })
    }

    /// What is known of a name, whatever its type; reads this node's copy of the directory.
    pub fn whereis(&self, name: impl AsRef<str>) -> Option<Registration> {
        let name = name.as_ref();
        let entry = self.shared.index.get(name)?;
        Some(Registration::new(&self.shared.name, &name.into(), &entry))
    }

    /// Why a name runs where it does, or where it would: the nodes, what speaks against each, how the distribution strategy
    /// weighs them, and its choice. For a name that is not registered, as a worker of any type with the sworm's own
    /// strategy; [`explain_as`](Sworm::explain_as) takes a type.
    pub async fn explain(&self, name: impl AsRef<str>) -> Explanation {
        let kind = Kind {
            worker_type: "".into(),
            version: 0,
            distribution: self.shared.settings.distribution.clone(),
            handoff: false,
            replicas: 0,
            patient: false,
        };
        self.explain_kind(name.as_ref().into(), kind).await
    }

    /// Why a name runs where it does, or where a worker of this type would.
    pub async fn explain_as<W: Lifecycle>(&self, name: impl AsRef<str>) -> Explanation {
        let distribution = match self.shared.types.get(W::NAME) {
            Some(hosted) => hosted.distribution.clone(),
            None => self.shared.settings.distribution.clone(),
        };
        let kind = Kind {
            worker_type: W::NAME.into(),
            version: W::VERSION,
            distribution,
            handoff: false,
            replicas: 0,
            patient: false,
        };
        self.explain_kind(name.as_ref().into(), kind).await
    }

    async fn explain_kind(&self, name: Arc<str>, kind: Kind) -> Explanation {
        let (asked, strategy) = (name.clone(), kind.distribution.clone());
        let explained = self.shared.look(move |core| core.explain(&asked, &kind)).await;
        explained.unwrap_or_else(|| Explanation::none(name, strategy, "this node has stopped"))
    }

    /// Finds a worker, or starts it from the value that the closure makes. If somebody else is faster, theirs is found; a first
    /// start that is under way is waited for, up to 10 s, since it may fail. One that has failed is not replaced, so that this does
    /// not get around the limit of restarts.
    ///
    /// # Errors
    ///
    /// See [`RegisterError`]; [`RegisterError::WrongType`] when the name has another type, [`RegisterError::Failed`] when its
    /// worker has failed: [`restart_name`](Sworm::restart_name) starts it again from its state.
    pub async fn whereis_or_register_name<W: Lifecycle>(
        &self,
        name: impl AsRef<str>,
        value: impl FnOnce() -> W,
    ) -> Result<Ref<W>, RegisterError> {
        let name = name.as_ref();
        // A first start may come to nothing: that is waited for.
        if let Some(entry) = self.shared.index.get(name).filter(|entry| !entry.cell.starts_first()) {
            return self.found(name, &entry);
        }
        match self.register(name, value()).unless_failed().await {
            Err(RegisterError::AlreadyRegistered { pid, worker_type }) => self.typed(name, &worker_type, pid),
            // Somebody else's, it turns out, is still on its way.
            Err(error @ (RegisterError::Timeout { .. } | RegisterError::NoMajority { .. })) => {
                self.shared.index.get(name).map_or(Err(error), |entry| self.found(name, &entry))
            }
            other => other,
        }
    }

    fn found<W: Lifecycle>(&self, name: &str, entry: &Entry) -> Result<Ref<W>, RegisterError> {
        if let NameState::Failed { reason } = &entry.cell.state {
            return Err(RegisterError::Failed { name: name.to_owned(), reason: reason.to_string() });
        }
        let pid = entry.cell.pid(&self.shared.name, &name.into(), &entry.host);
        self.typed(name, &entry.cell.spec.worker_type, pid)
    }

    fn typed<W: Lifecycle>(&self, name: &str, found: &str, pid: Pid) -> Result<Ref<W>, RegisterError> {
        if found == W::NAME {
            return Ok(Ref::new(self, name.into(), pid));
        }
        Err(RegisterError::WrongType { name: name.to_owned(), found: found.to_owned(), expected: W::NAME.to_owned() })
    }

    /// Stops the worker under a name and takes the name away, wherever it runs; also of a name whose node is gone.
    ///
    /// With stores, `Ok` means that this is on two disks: that of the worker's node, or of the one that decides where that is
    /// gone; and that of another one, if there is any which has it within 5 s. So it stays so though all lose their power then,
    /// whichever of the two is back first. The other one is a node that hosts workers, if there is one. If there is none, it is a
    /// [client](crate::NodeBuilder::client), and nodes that start wait for no clients: where the only node that hosts workers is
    /// gone when a name ends, and all clients are when it comes back, the worker runs there until one of those two is back. And
    /// where the network is cut (mode "available") the other side does not know of it, and may run the worker until the cut heals.
    ///
    /// # Errors
    ///
    /// See [`UnregisterError`].
    pub async fn unregister_name(&self, name: impl AsRef<str>) -> Result<(), UnregisterError> {
        let name: Arc<str> = name.as_ref().into();
        let ask = Ask::Unregister { name: name.clone(), birth: None };
        match self.shared.ask(ask, ASK_LIMIT).await? {
            Ok(Asked::Answer(Ok(_))) => Ok(()),
            Ok(Asked::Answer(Err(Refusal::NotRegistered))) => {
                Err(UnregisterError::NotRegistered { name: name.to_string() })
            }
            Ok(Asked::Answer(Err(Refusal::NoMajority { why }))) => Err(UnregisterError::NoMajority { why }),
            Ok(Asked::Answer(Err(_)) | Asked::Expired) => Err(UnregisterError::Timeout { after: ASK_LIMIT }),
            Err(_) => Err(self
                .shared
                .node
                .stopped_as(UnregisterError::Stopped, |reason| UnregisterError::NodeFailed { reason })),
        }
    }

    /// Starts the worker of a name again that has [failed](crate::RegistrationState::Failed), from its last durable state if
    /// its type saves any, else from its registered value, and gives its pid. Its restarts are forgotten: it has as many as at
    /// first. A worker that runs is left alone; then its pid is given.
    ///
    /// # Errors
    ///
    /// See [`RestartError`]. Waits 10 s at most.
    pub async fn restart_name(&self, name: impl AsRef<str>) -> Result<Pid, RestartError> {
        let name: Arc<str> = name.as_ref().into();
        match self.shared.ask(Ask::Restart { name: name.clone() }, ASK_LIMIT).await? {
            Ok(Asked::Answer(Ok(Done::Registered { host, cell, .. }))) => Ok(cell.pid(&self.shared.name, &name, &host)),
            Ok(Asked::Answer(Err(Refusal::NotRegistered))) => {
                Err(RestartError::NotRegistered { name: name.to_string() })
            }
            Ok(Asked::Answer(Err(Refusal::NoMajority { why }))) => Err(RestartError::NoMajority { why }),
            Ok(Asked::Answer(Err(Refusal::Again | Refusal::Failed { .. }) | Ok(_)) | Asked::Expired) => {
                Err(RestartError::Timeout { after: ASK_LIMIT })
            }
            Ok(Asked::Answer(Err(refusal))) => Err(RestartError::NoCandidate { why: refusal.why() }),
            Err(_) => {
                Err(self.shared.node.stopped_as(RestartError::Stopped, |reason| RestartError::NodeFailed { reason }))
            }
        }
    }

    /// All names, sorted; reads this node's copy of the directory.
    pub fn registered(&self) -> Vec<Registration> {
        self.registered_where(|_, _| true)
    }

    /// The names that begin with `prefix`, sorted.
    pub fn registered_with_prefix(&self, prefix: impl AsRef<str>) -> Vec<Registration> {
        let prefix = prefix.as_ref();
        self.registered_where(|name, _| name.starts_with(prefix))
    }

    /// The names that run on a node, sorted.
    pub fn registered_on(&self, node: impl AsRef<str>) -> Vec<Registration> {
        let node = node.as_ref();
        self.registered_where(|_, entry| *entry.host.node == *node)
    }

    /// The names of a worker type, sorted.
    pub fn registered_of_type<W: Target>(&self) -> Vec<Registration> {
        let worker_type = W::type_name();
        self.registered_where(|_, entry| *entry.cell.spec.worker_type == *worker_type)
    }

    fn registered_where(&self, which: impl Fn(&str, &Entry) -> bool) -> Vec<Registration> {
        let mut found: Vec<Registration> = self
            .shared
            .index
            .all()
            .into_iter()
            .filter(|(name, entry)| which(name, entry))
            .map(|(name, entry)| Registration::new(&self.shared.name, &name, &entry))
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// What happens from now on: names that come, move and go, and nodes. Whoever asks for the stream first and then for
    /// [`registered`](Sworm::registered) misses nothing between the two, but may be told of something that it has seen.
    ///
    /// The events are told as they come, and kept for a slow reader up to [`Events::CAPACITY`]; what is dropped then is
    /// told as a number, [`Event::Missed`](crate::Event::Missed). Nobody waits for a reader, and nothing is told of what was
    /// there when the sworm was opened.
    ///
    /// ```no_run
    /// # use sworm::prelude::*;
    /// # async fn example(sworm: Sworm) {
    /// use sworm::Event;
    ///
    /// let mut events = sworm.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::Moved { from, pid, cause } => println!("{} went to {} ({cause:?})", from, pid.node),
    ///         Event::Failed { pid, reason } => println!("{pid} is not started again: {reason}"),
    ///         Event::Missed { events } => println!("too slow by {events} events"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.shared.watchers.subscribe())
    }

    /// The nodes that have opened this sworm and take part in it, as this node sees them, sorted; itself among them.
    pub fn nodes(&self) -> Vec<NodeId> {
        self.shared.index.nodes()
    }

    /// Puts a worker into a group; twice is the same as once. The group goes with it wherever it moves, and comes back with
    /// it, when its node has died and when all nodes have. With `Ok` the worker's node has that in its store; the others are told
    /// at the same time. If that node dies or is cut off before another one has heard of it, and the worker is started elsewhere
    /// before it is back, the change is lost, also when it is back. After an error that does not say that nothing was changed it
    /// may have been made.
    ///
    /// A worker is in up to 256 groups. In the code of a worker with `snapshot = "each"` that happens when its state is
    /// durable ([`Snapshots::Each`](crate::Snapshots::Each)): at once it is told [`GroupError::BadGroup`],
    /// [`GroupError::NotRegistered`] of a member of another sworm, and [`GroupError::Overloaded`]; all other errors are in the log
    /// only.
    ///
    /// # Errors
    ///
    /// See [`GroupError`]. Waits 10 s at most.
    pub async fn join<W: Target>(&self, group: impl AsRef<str>, member: &Ref<W>) -> Result<(), GroupError> {
        let (name, group) = (self.own_name(member)?, checked_group(group.as_ref())?);
        self.regroup(name.clone(), Ask::Join { name, group }).await
    }

    /// Takes a worker out of a group; twice is the same as once. Otherwise as [`join`](Self::join).
    ///
    /// # Errors
    ///
    /// See [`GroupError`].
    pub async fn leave<W: Target>(&self, group: impl AsRef<str>, member: &Ref<W>) -> Result<(), GroupError> {
        let (name, group) = (self.own_name(member)?, checked_group(group.as_ref())?);
        self.regroup(name.clone(), Ask::Leave { name, group }).await
    }

    /// The name of a worker of this sworm: in another one somebody else may have it here.
    fn own_name<W: Target>(&self, member: &Ref<W>) -> Result<Arc<str>, GroupError> {
        let name = member.shared_name();
        if member.is_of(self) { Ok(name) } else { Err(GroupError::NotRegistered { name: name.to_string() }) }
    }

    async fn regroup(&self, name: Arc<str>, ask: Ask) -> Result<(), GroupError> {
        let Some(outbox) = outbox::present() else { return self.regroup_now(&name, ask).await };
        let sworm = self.clone();
        let held = outbox.push_change(MAX_LABEL_BYTES, move || {
            Box::pin(async move {
                if let Err(error) = sworm.regroup_now(&name, ask).await {
                    tracing::warn!(%name, %error, "what a worker has changed of a group was not done");
                }
            })
        });
        held.map_err(|_| GroupError::Overloaded)
    }

    async fn regroup_now(&self, name: &str, ask: Ask) -> Result<(), GroupError> {
        match self.shared.ask(ask, ASK_LIMIT).await? {
            Ok(Asked::Answer(Ok(Done::Regrouped { .. }))) => Ok(()),
            Ok(Asked::Answer(Err(Refusal::NotRegistered))) => Err(GroupError::NotRegistered { name: name.to_string() }),
            Ok(Asked::Answer(Err(Refusal::Failed { reason }))) => {
                Err(GroupError::Failed { name: name.to_string(), reason: reason.to_string() })
            }
            Ok(Asked::Answer(Err(Refusal::TooManyGroups { limit }))) => {
                Err(GroupError::TooManyGroups { name: name.to_owned(), limit })
            }
            Ok(Asked::Answer(Err(Refusal::NoMajority { why }))) => Err(GroupError::NoMajority { why }),
            Ok(Asked::Answer(_) | Asked::Expired) => Err(GroupError::Timeout { after: ASK_LIMIT }),
            Err(_) => Err(self.shared.node.stopped_as(GroupError::Stopped, |reason| GroupError::NodeFailed { reason })),
        }
    }

    /// The workers in a group, sorted by name; reads this node's copy of the directory.
    pub fn members(&self, group: impl AsRef<str>) -> Vec<Registration> {
        let names = self.shared.index.group(group.as_ref());
        names.iter().filter_map(|name| self.whereis(name)).collect()
    }
}

fn checked_group(group: &str) -> Result<Arc<str>, GroupError> {
    if (1..=MAX_LABEL_BYTES).contains(&group.len()) {
        Ok(group.into())
    } else {
        Err(GroupError::BadGroup { bytes: group.len() })
    }
}

impl fmt::Debug for Sworm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sworm").field("name", &self.shared.name).finish_non_exhaustive()
    }
}
