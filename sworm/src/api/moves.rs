//! Moves on demand: of one name, of all that a node has, and for balance.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout_at;

use super::sworm::ASK_LIMIT;
use super::{Node, Sworm};
use crate::core::Input;
use crate::core::balance::{PlannedMove, Rebalance};
use crate::core::ids::{NodeId, Pid};
use crate::core::message::{Ask, Done, Refusal};
use crate::error::MoveError;
use crate::node::sworm::{Asked, Emptied};

/// How long a node may take to be emptied.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// What came of emptying a node: see [`Node::drain`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many workers have gone to other nodes.
    pub moved: u64,
    /// The names that are still there.
    pub stays: Vec<Stays>,
}

/// A name that could not be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stays {
    /// The sworm.
    pub sworm: String,
    /// The name.
    pub name: Arc<str>,
    /// Why.
    pub why: String,
}

impl Sworm {
    /// Moves a worker to a node, with its state if its type saves it, and gives its pid there. If it is there already,
    /// nothing happens. It stays there until that node leaves, dies or is emptied, or names move for balance.
    ///
    /// # Errors
    ///
    /// See [`MoveError`]. Waits 10 s at most.
    pub async fn move_name(&self, name: impl AsRef<str>, node: &NodeId) -> Result<Pid, MoveError> {
        let name: Arc<str> = name.as_ref().into();
        let ask = Ask::Move { name: name.clone(), to: node.clone() };
        match self.shared.ask(ask, ASK_LIMIT).await {
            Ok(Asked::Answer(Ok(Done::Moved { host, cell, .. }))) => Ok(cell.pid(&self.shared.name, &name, &host)),
            Ok(Asked::Answer(Err(Refusal::NotRegistered))) => Err(MoveError::NotRegistered { name: name.to_string() }),
            Ok(Asked::Answer(Err(Refusal::NoMajority { why }))) => Err(MoveError::NoMajority { why }),
            Ok(Asked::Answer(Err(refusal))) => Err(MoveError::NoCandidate { why: refusal.why() }),
            Ok(Asked::Answer(Ok(_)) | Asked::Expired) => Err(MoveError::Timeout { after: ASK_LIMIT }),
            Err(_) => Err(self.move_stopped()),
        }
    }

    /// Which names would move for balance now, from where, and to where; nothing is moved.
    ///
    /// # Errors
    ///
    /// [`MoveError::Stopped`] and [`MoveError::NodeFailed`].
    pub async fn plan_rebalance(&self) -> Result<Vec<PlannedMove>, MoveError> {
        self.shared.look(|core| core.plan_rebalance()).await.ok_or_else(|| self.move_stopped())
    }

    /// Moves names for balance, a few at a time per node: each to where its strategy would place it now, if that node has
    /// fewer than the one that it runs on. Gives the plan, which each host has been told, and does not wait for it. A node
    /// that comes or goes ends it.
    ///
    /// # Errors
    ///
    /// [`MoveError::RebalanceIsOff`] where the sworm was opened with [`Rebalance::Off`], which is the default.
    pub async fn rebalance(&self) -> Result<Vec<PlannedMove>, MoveError> {
        if self.shared.settings.rebalance == Rebalance::Off {
            return Err(MoveError::RebalanceIsOff { sworm: self.name().to_owned() });
        }
        let plan = self.plan_rebalance().await?;
        self.shared.input(Input::Rebalance(plan.clone()));
        Ok(plan)
    }

    /// Where the names of a node would go if it were emptied now, or why they could not; nothing is moved.
    ///
    /// # Errors
    ///
    /// [`MoveError::Stopped`] and [`MoveError::NodeFailed`].
    pub async fn plan_drain(&self, node: &NodeId) -> Result<Vec<PlannedMove>, MoveError> {
        let node = node.clone();
        self.shared.look(move |core| core.plan_drain(&node)).await.ok_or_else(|| self.move_stopped())
    }

    fn move_stopped(&self) -> MoveError {
        self.shared.node.stopped_as(MoveError::Stopped, |reason| MoveError::NodeFailed { reason })
    }
}

impl Node {
    /// Empties this node: all its workers move to other nodes with their states, and it takes none in, for maintenance or
    /// before it ends. It stays a member and can be asked for everything. What cannot move (names of tasks, workers that no
    /// other node can run) goes on here, is reported, and moves when it can. [`undrain`](Node::undrain) ends it.
    ///
    /// # Errors
    ///
    /// [`MoveError::Timeout`] after 60 s; the rest goes on moving all the same. [`MoveError::Stopped`] and
    /// [`MoveError::NodeFailed`].
    pub async fn drain(&self) -> Result<Drained, MoveError> {
        let shared = self.shared();
        let sworms: Vec<_> = shared.sworms().values().cloned().collect();
        let mut waits = Vec::new();
        for sworm in sworms {
            let drained = sworm.drained.subscribe();
            sworm.drained.send_replace(None);
            sworm.input(Input::Drain(true));
            waits.push((sworm.name.to_string(), drained));
        }
        let deadline = tokio::time::Instant::now() + DRAIN_LIMIT;
        let mut all = Drained::default();
        for (sworm, mut drained) in waits {
            let told = tokio::select! {
                told = timeout_at(deadline, drained.wait_for(Option::is_some)) => told,
                _ = self.stopped() => return Err(self.move_stopped()),
            };
            let told = told.map_err(|_| MoveError::Timeout { after: DRAIN_LIMIT })?;
            let Emptied { moved, stays } = match told {
                Ok(told) => told.clone().unwrap_or_default(),
                Err(_) => return Err(self.move_stopped()),
            };
            all.moved += moved;
            all.stays.extend(stays.into_iter().map(|(name, why)| Stays { sworm: sworm.clone(), name, why }));
        }
        Ok(all)
    }

    /// Takes part as before [`drain`](Node::drain): runs workers again. Nothing moves back by itself, unless the sworm
    /// balances.
    pub fn undrain(&self) {
        for sworm in self.shared().sworms().values() {
            sworm.input(Input::Drain(false));
        }
    }

    fn move_stopped(&self) -> MoveError {
        self.shared().stopped_as(MoveError::Stopped, |reason| MoveError::NodeFailed { reason })
    }
}
