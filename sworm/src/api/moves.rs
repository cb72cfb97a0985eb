//! Moves on demand: of one name, of all that a node has, and for balance.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::register::no_id;
use super::sworm::ASK_LIMIT;
use super::{Node, Sworm};
use crate::core::Input;
use crate::core::balance::{PlannedMove, Rebalance};
use crate::core::draining::Drained;
use crate::core::ids::{NodeId, Pid};
use crate::core::message::{Ask, Done, Refusal};
use crate::error::MoveError;
use crate::node::sworm::Asked;
use crate::worker::outbox;

/// How long a node may take to be emptied.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

impl Sworm {
    /// Moves a worker to a node, with its state if its type saves it, and gives its pid there. If it is there already,
    /// nothing happens. It stays there until that node leaves, dies or is emptied, or names move for balance.
    ///
    /// # Errors
    ///
    /// See [`MoveError`]. Waits 10 s at most.
    pub async fn move_name(&self, name: impl AsRef<str>, node: impl AsRef<str>) -> Result<Pid, MoveError> {
        let name: Arc<str> = name.as_ref().into();
        let node = node.as_ref();
        let to = NodeId::new(node).ok_or_else(|| MoveError::NoCandidate { why: no_id(node) })?;
        let ask = Ask::Move { name: name.clone(), to };
        match self.shared.ask(ask, ASK_LIMIT).await? {
            Ok(Asked::Answer(Ok(Done::Moved { host, cell, .. }))) => Ok(cell.pid(&self.shared.name, &name, &host)),
            Ok(Asked::Answer(Err(Refusal::NotRegistered))) => Err(MoveError::NotRegistered { name: name.to_string() }),
            Ok(Asked::Answer(Err(Refusal::Failed { reason }))) => {
                Err(MoveError::Failed { name: name.to_string(), reason: reason.to_string() })
            }
            Ok(Asked::Answer(Err(Refusal::NoMajority { why }))) => Err(MoveError::NoMajority { why }),
            Ok(Asked::Answer(Err(Refusal::NotSaved { why }))) => Err(MoveError::NotSaved { why }),
            Ok(Asked::Answer(Err(refusal))) => Err(MoveError::NoCandidate { why: refusal.why() }),
            Ok(Asked::Answer(Ok(_)) | Asked::Expired) => Err(MoveError::Timeout { after: ASK_LIMIT }),
            Err(_) => Err(self.move_stopped()),
        }
    }

    /// Which names [`rebalance`](Self::rebalance) would move now, from where, and to where; nothing is moved.
    ///
    /// # Errors
    ///
    /// [`MoveError::Stopped`] and [`MoveError::NodeFailed`].
    pub async fn plan_rebalance(&self) -> Result<Vec<PlannedMove>, MoveError> {
        self.shared.look(|core| core.plan_rebalance()).await.ok_or_else(|| self.move_stopped())
    }

    /// Moves names for balance, a few at a time per node: each to where its strategy would place it now, if that node has
    /// fewer than the one that it runs on. Nodes that were there before are levelled as well, which does not happen by
    /// itself ([`Rebalance::On`]). Gives the plan, which each host has been told, and does not wait for it. A name that
    /// does not run when it has its turn stays. A node that comes or goes ends it.
    ///
    /// # Errors
    ///
    /// [`MoveError::RebalanceIsOff`] where the sworm was opened with [`Rebalance::Off`], which is the default.
    pub async fn rebalance(&self) -> Result<Vec<PlannedMove>, MoveError> {
        if self.shared.settings.rebalance == Rebalance::Off {
            return Err(MoveError::RebalanceIsOff { sworm: self.name().to_owned() });
        }
        if outbox::is_cut_off() {
            return Err(MoveError::NoMajority { why: outbox::CUT_OFF.to_owned() });
        }
        let _calling = outbox::calling()?;
        let plan = self.plan_rebalance().await?;
        self.shared.input(Input::Rebalance(plan.clone()));
        Ok(plan)
    }

    /// Where the names of a node would go if it were emptied now, or why they could not; nothing is moved.
    ///
    /// # Errors
    ///
    /// [`MoveError::NoCandidate`] when there is no such node. [`MoveError::Stopped`] and [`MoveError::NodeFailed`].
    pub async fn plan_drain(&self, node: impl AsRef<str>) -> Result<Vec<PlannedMove>, MoveError> {
        let node = node.as_ref();
        let node = NodeId::new(node).ok_or_else(|| MoveError::NoCandidate { why: no_id(node) })?;
        let of = node.clone();
        let plan = self.shared.look(move |core| core.plan_drain(&of)).await.ok_or_else(|| self.move_stopped())?;
        plan.ok_or_else(|| MoveError::NoCandidate { why: format!("{node} is not there") })
    }

    fn move_stopped(&self) -> MoveError {
        self.shared.node.stopped_as(MoveError::Stopped, |reason| MoveError::NodeFailed { reason })
    }
}

impl Node {
    /// Empties this node: all its workers move to other nodes with their states, and it takes none in, for maintenance or
    /// before it ends, in the sworms that it has opened and in those that it opens later. It stays a member and can be asked
    /// for everything. [`undrain`](Node::undrain) ends it.
    ///
    /// It is `Ok` when there is nothing left that could move. What cannot move (names of tasks, workers that no other node can
    /// run, on the only node all of them) goes on here, is listed in [`Drained::stays`], and moves when it can. A name whose worker
    /// has failed has nothing to move: it is not listed, and stays as it is when this node has left.
    ///
    /// # Errors
    ///
    /// [`MoveError::NotEmptied`] when something is still on its way, or waits for its turn, after 60 s: with what has moved and
    /// what has not and why; the rest goes on moving all the same. [`MoveError::Undrained`] at once when that is called meanwhile. [`MoveError::Stopped`] and
    /// [`MoveError::NodeFailed`].
    pub async fn drain(&self) -> Result<Drained, MoveError> {
        self.drain_within(DRAIN_LIMIT).await
    }

    async fn drain_within(&self, limit: Duration) -> Result<Drained, MoveError> {
        let shared = self.shared();
        let deadline = Instant::now() + limit;
        let (call, sworms) = shared.drain();
        let (mut drained, mut in_time) = (Drained::default(), true);
        for sworm in sworms {
            let mut told = sworm.drained.subscribe();
            let part = tokio::select! {
                told = timeout_at(deadline, told.wait_for(|(upto, _)| *upto >= call)) => match told {
                    Ok(Ok(told)) => Some(told.1.clone()),
                    Ok(Err(_)) | Err(_) => None,
                },
                _ = self.stopped() => None,
            };
            let part = match part {
                Some(part) => part,
                None => {
                    in_time = false;
                    sworm.look(|core| core.drained_so_far()).await.flatten().unwrap_or_default()
                }
            };
            drained.moved += part.moved;
            drained.stays.extend(part.stays);
        }
        match in_time {
            _ if shared.has_stopped() => Err(self.move_stopped()),
            _ if shared.was_undrained_after(call) => Err(MoveError::Undrained { drained }),
            false => Err(MoveError::NotEmptied { after: limit, drained }),
            true => Ok(drained),
        }
    }

    /// Takes part as before [`drain`](Node::drain): runs workers again. Nothing moves back by itself, unless the sworm
    /// balances. A `drain` that is under way ends with [`MoveError::Undrained`].
    pub fn undrain(&self) {
        self.shared().undrain();
    }

    fn move_stopped(&self) -> MoveError {
        self.shared().stopped_as(MoveError::Stopped, |reason| MoveError::NodeFailed { reason })
    }
}

/// Empties a node, and waits for that no longer than so.
#[cfg(feature = "faults")]
pub async fn drain_within(node: &Node, limit: Duration) -> Result<Drained, MoveError> {
    node.drain_within(limit).await
}
