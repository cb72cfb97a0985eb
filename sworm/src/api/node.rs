//! A node: one running instance of the library.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::time::timeout;

use super::{NodeBuilder, Sworm, SwormSpec};
use crate::core::Input;
use crate::core::ids::{Incarnation, NodeId};
use crate::core::membership::{Linked, MemberState};
use crate::error::{LeaveError, OpenError};
use crate::node::forward::SETTLE_WAIT;
use crate::node::frame::Frame;
use crate::node::sworm::{Opened, SwormShared};
use crate::node::{Life, NodeShared, have_ended, open};
use crate::transport::Class;
use crate::transport::local::LocalAnnouncement;

/// How long a leave may take without any worker going.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);
/// What a leave may take beyond its limit, to park what is left and close.
const LEAVE_SLACK: Duration = Duration::from_secs(15);
/// How long opening a sworm waits for the others.
const OPEN_LIMIT: Duration = Duration::from_secs(30);
/// How often it is looked whether it is the others that are waited for.
const OPEN_STEP: Duration = Duration::from_millis(50);

/// One running node. Clones are handles to the same node; [`leave`](Node::leave), [`close`](Node::close) or dropping the
/// last handle ends it (a drop is like a crash: nothing is handed over, and the other nodes start its workers from what
/// was saved).
#[derive(Clone)]
pub struct Node {
    guard: Arc<Guard>,
}

struct Guard {
    shared: Arc<NodeShared>,
    /// Tells other nodes on this machine where this one listens.
    _announcement: LocalAnnouncement,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.stop(None);
    }
}

/// Waits until a node has left a sworm, as long as it gets on with that.
async fn left(sworm: &SwormShared, limit: Duration) -> Option<Opened> {
    let limit = limit.saturating_add(LEAVE_SLACK);
    let mut opened = sworm.opened.clone();
    loop {
        let before = sworm.slots().len();
        match timeout(limit, opened.wait_for(|now| matches!(now, Opened::Left { .. }))).await {
            Ok(Ok(left)) => return Some(left.clone()),
            Ok(Err(_)) => return None,
            Err(_) if sworm.slots().len() < before => {}
            Err(_) => return None,
        }
    }
}

/// Waits until a sworm has been opened, or was not. What this node does itself does not count: recovering a million names
/// takes a minute.
async fn settled(sworm: &SwormShared, limit: Duration) -> Option<Opened> {
    let mut opened = sworm.opened.clone();
    let mut waited = Duration::ZERO;
    while waited < limit {
        let step = OPEN_STEP.min(limit - waited);
        match timeout(step, opened.wait_for(|now| *now != Opened::Joining)).await {
            Ok(settled) => return settled.ok().map(|now| now.clone()),
            Err(_) if sworm.at_work.load(Relaxed) => {}
            Err(_) => waited += step,
        }
    }
    None
}

/// A node of the cluster, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its incarnation: a number that rises at every start.
    pub incarnation: Incarnation,
    /// What is thought of it.
    pub state: MemberState,
    /// Where it is reached, as far as it said.
    pub endpoints: Vec<String>,
    /// What its program links, as far as it said. Names of a worker type run on those only that link it, and are refused
    /// where the deciding node does not link their distribution strategy.
    pub linked: Linked,
}

impl Node {
    /// Begins to build a node with that id: 1 to 128 bytes, the same at every start, unique in the cluster.
    pub fn builder(id: impl Into<String>) -> NodeBuilder {
        NodeBuilder::new(id.into())
    }

    pub(crate) fn new(shared: Arc<NodeShared>, announcement: LocalAnnouncement) -> Self {
        Self { guard: Arc::new(Guard { shared, _announcement: announcement }) }
    }

    pub(crate) fn shared(&self) -> &Arc<NodeShared> {
        &self.guard.shared
    }

    /// This node's id.
    pub fn id(&self) -> &NodeId {
        &self.guard.shared.me.node
    }

    /// This run's incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.guard.shared.me.incarnation
    }

    /// Where others reach this node: what it advertises, else where it listens, with the real ports.
    pub fn endpoints(&self) -> Vec<String> {
        self.guard.shared.endpoints()
    }

    /// Waits until the node has stopped, and says why if it did so by itself: its store failed, as on a full disk. Then
    /// nothing is acknowledged any more, its workers are stopped, and the other nodes start them from what was saved. A
    /// service that waits for this can start the node anew, or end.
    pub async fn stopped(&self) -> Option<String> {
        let mut life = self.guard.shared.stopping();
        drop(life.wait_for(Life::is_over).await);
        self.failure()
    }

    /// Why the node has stopped by itself, if it has: its store failed.
    pub fn failure(&self) -> Option<String> {
        self.guard.shared.failure()
    }

    /// Opens a sworm by name or with settings, and waits until this node knows what the others know of it. The second
    /// time it gives the one that is open.
    ///
    /// # Errors
    ///
    /// [`OpenError::Disagreed`] when another node, or this one before, opened it with other settings, [`OpenError::Timeout`] after
    /// 30 s without the others (the time that this node needs to recover its own names does not count, some 65 µs each), and
    /// the others of [`OpenError`]. The sworm is not open then and can be opened anew.
    pub async fn sworm(&self, spec: impl Into<SwormSpec>) -> Result<Sworm, OpenError> {
        self.open_within(&spec.into(), OPEN_LIMIT).await
    }

    async fn open_within(&self, spec: &SwormSpec, limit: Duration) -> Result<Sworm, OpenError> {
        let node = &self.guard.shared;
        if let Some(refused) = open::refused(node, &spec.name) {
            open::close(&refused).await;
        }
        let shared = open::open(node, spec)?;
        let mut stopping = node.stopping();
        let settled = tokio::select! {
            settled = settled(&shared, limit) => settled,
            _ = stopping.wait_for(Life::is_over) => return Err(self.stopped_open()),
        };
        let sworm = spec.name.clone();
        let error = match settled {
            Some(Opened::Ready) => return Ok(Sworm::new(shared)),
            Some(Opened::Left { .. }) => return Err(self.stopped_open()),
            Some(Opened::Disagreed { node, theirs }) => {
                OpenError::Disagreed { sworm, node, theirs: theirs.to_string(), ours: spec.agreed() }
            }
            _ if node.has_stopped() => return Err(self.stopped_open()),
            // Somebody else who waited for it may have given up, and ended it.
            Some(Opened::Joining) | None => OpenError::Timeout { sworm, after: limit },
        };
        open::close(&shared).await;
        Err(error)
    }

    fn stopped_open(&self) -> OpenError {
        self.guard.shared.stopped_as(OpenError::Stopped, |reason| OpenError::NodeFailed { reason })
    }

    /// The same as [`sworm`](Node::sworm), for a type with `#[derive(Sworm)]`.
    ///
    /// # Errors
    ///
    /// As [`sworm`](Node::sworm).
    pub async fn open(&self, spec: impl Into<SwormSpec>) -> Result<Sworm, OpenError> {
        self.sworm(spec).await
    }

    /// All nodes that this one has met in this run, itself among them, sorted by id.
    pub fn members(&self) -> Vec<Member> {
        let shared = &self.guard.shared;
        let state = if shared.has_stopped() { MemberState::Down } else { MemberState::Up };
        let me = Member {
            id: shared.me.node.clone(),
            incarnation: shared.me.incarnation,
            state,
            endpoints: self.endpoints(),
            linked: shared.linked(),
        };
        let mut members: Vec<Member> = shared
            .membership()
            .known()
            .iter()
            .map(|(id, known)| Member {
                id: id.clone(),
                incarnation: known.incarnation,
                state: known.state,
                endpoints: known.hello.as_ref().map(|hello| hello.endpoints.clone()).unwrap_or_default(),
                linked: known.hello.as_ref().map(|hello| hello.linked.clone()).unwrap_or_default(),
            })
            .collect();
        members.push(me);
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members
    }

    /// Leaves in good order: hands every worker over with its state, parks in the store what no other node can take, then
    /// stops. Takes as long as the states take to travel, and gives up when none has gone for 30 s; until then a worker whose
    /// state cannot be saved is asked for it again every 5 s.
    ///
    /// # Errors
    ///
    /// [`LeaveError`]; the node has stopped in any case.
    pub async fn leave(&self) -> crate::Result<()> {
        self.leave_within(LEAVE_LIMIT).await
    }

    /// The same, with another limit: it gives up when no worker has gone for that long, and then takes up to 15 s to park
    /// those that are left.
    ///
    /// # Errors
    ///
    /// [`LeaveError`]; the node has stopped in any case.
    pub async fn leave_within(&self, limit: Duration) -> crate::Result<()> {
        let shared = &self.guard.shared;
        if shared.has_stopped() {
            return Err(shared.stopped_as(LeaveError::Stopped, LeaveError::Store).into());
        }
        shared.leaves();
        let until_ms = shared.mono_ms().saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let sworms: Vec<_> = shared.sworms().values().cloned().collect();
        for sworm in &sworms {
            sworm.input(Input::Leave { until_ms });
        }
        let (mut in_time, mut not_handed_over, mut not_saved) = (true, 0, 0);
        for sworm in &sworms {
            let Some(Opened::Left { parked, unsaved, late }) = left(sworm, limit).await else {
                in_time = false;
                continue;
            };
            not_saved += unsaved;
            if late {
                not_handed_over += parked;
            } else if parked > 0 {
                tracing::info!(sworm = &*sworm.name, parked, "workers stay in the store, since nobody could take them");
            }
        }
        // Casts that wait for earlier ones to arrive still go where their workers are.
        for sworm in &sworms {
            let _ = timeout(SETTLE_WAIT, sworm.rooms.settled()).await;
        }
        if let Ok(goodbye) = Frame::Goodbye(shared.me.clone()).encode() {
            shared.broadcast(Class::Important, goodbye);
        }
        let closed = self.close().await;
        match (in_time, shared.failure()) {
            (_, Some(why)) => Err(LeaveError::Store(why).into()),
            (false, None) => Err(LeaveError::Timeout.into()),
            (true, None) if not_saved > 0 => Err(LeaveError::NotSaved { workers: not_saved }.into()),
            (true, None) if not_handed_over > 0 => Err(LeaveError::NotHandedOver { parked: not_handed_over }.into()),
            (true, None) => closed,
        }
    }

    /// Stops at once, without handing anything over, and closes the store. The other nodes start the workers from what
    /// was saved.
    ///
    /// # Errors
    ///
    /// [`LeaveError::Store`] when the store could not be closed.
    pub async fn close(&self) -> crate::Result<()> {
        let shared = &self.guard.shared;
        let transport = shared.take_transport();
        have_ended(&shared.end(None)).await;
        if let Some(transport) = transport {
            transport.close().await;
        }
        shared.store.close().await.map_err(|error| LeaveError::Store(error.to_string()).into())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("me", &self.guard.shared.me).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Introduction;
    use crate::transport::MemoryNetwork;

    #[tokio::test]
    async fn a_sworm_that_cannot_join_in_time_is_not_open_and_can_be_opened_anew() {
        let node = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("starts");
        // As if those that it looks for were not met yet.
        let met = node.guard.shared.introduced.send_replace(Introduction::Waiting);
        let limit = Duration::from_millis(50);
        let (spec, other) = (SwormSpec::new("s"), SwormSpec::new("s").handoff(true));
        for spec in [&spec, &other] {
            let error = node.open_within(spec, limit).await.expect_err("it cannot join");
            assert!(matches!(&error, OpenError::Timeout { after, .. } if *after == limit), "{error}");
        }
        node.guard.shared.introduced.send_replace(met);
        let sworm = node.open_within(&spec, OPEN_LIMIT).await.expect("it can now");
        assert_eq!(sworm.nodes(), [node.id().clone()]);
        node.close().await.expect("closes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_node_does_itself_does_not_count_when_it_waits_for_the_others() {
        let node = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("starts");
        node.guard.shared.introduced.send_replace(Introduction::Waiting);
        let spec = SwormSpec::new("s");
        let shared = open::open(&node.guard.shared, &spec).expect("it is opened");
        let limit = Duration::from_secs(1);
        let recovered = shared.clone();
        let work = move |_: &mut _| {
            std::thread::sleep(limit * 2);
            recovered.input(Input::Introduced);
        };
        shared.senders.looks.send(Box::new(work)).expect("its driver runs");
        node.open_within(&spec, limit).await.expect("nobody else was waited for");
        node.close().await.expect("closes");
    }

    #[tokio::test]
    async fn a_node_whose_driver_panics_stops_and_says_why() {
        let node = Node::builder("a").in_memory().memory_network(&MemoryNetwork::new()).start().await.expect("starts");
        let sworm = node.sworm("s").await.expect("it opens");
        open::watched(sworm.shared.clone(), async {}).await;
        assert_eq!(node.failure(), None);
        open::watched(sworm.shared.clone(), async { panic!("told to") }).await;
        assert!(node.failure().is_some_and(|why| why.contains("\"s\"") && why.contains("told to")));
        assert!(matches!(node.sworm("s").await, Err(OpenError::NodeFailed { .. })));
    }

    /// Services spawn these futures.
    #[allow(dead_code)] // that it compiles is the test
    fn futures_can_be_sent(builder: NodeBuilder, node: Node) {
        fn sendable(_: impl Send) {}
        sendable(builder.start());
        sendable(async move {
            let _ = node.sworm("s").await;
            let _ = node.leave().await;
            let _ = node.close().await;
        });
    }
}
