//! What look-ups tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::Entry;
use crate::core::events::Stage;
use crate::core::ids::{NodeId, Pid};

/// A name and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The name.
    pub name: Arc<str>,
    /// Its present worker, or its last one while it is moving or recovering.
    pub pid: Pid,
    /// The worker type's name.
    pub worker_type: Arc<str>,
    /// What its worker does.
    pub state: RegistrationState,
    /// What the registration said beside the value.
    pub metadata: BTreeMap<String, String>,
    /// The groups that it is in.
    pub groups: BTreeSet<Arc<str>>,
    /// The nodes that hold its last durable state; empty as long as it has saved none. Each of them alone is enough.
    pub holders: BTreeSet<NodeId>,
    /// Whether it is a task under a name ([`Sworm::attach_name`](crate::Sworm::attach_name)).
    pub attached: bool,
}

/// What a name's worker does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistrationState {
    /// It is being started. Calls wait for it.
    Starting,
    /// It runs.
    Running,
    /// It is being handed to another node. Calls wait for it.
    Moving {
        /// Which node.
        to: NodeId,
    },
    /// Its node is gone, and it is about to start elsewhere. Calls wait for it.
    Recovering,
    /// It was stopped with its state saved, since nobody could take it over. Calls wait for it.
    Parked,
    /// It has no worker, and is not started again by itself. [`restart_name`](crate::Sworm::restart_name) starts it from its
    /// last durable state, [`register_name`](crate::Sworm::register_name) replaces it.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Registration {
    pub(crate) fn new(sworm: &Arc<str>, name: &Arc<str>, entry: &Entry) -> Self {
        let cell = &entry.cell;
        let state = match entry.stage() {
            Stage::Failed(reason) => RegistrationState::Failed { reason: reason.to_string() },
            Stage::Running => RegistrationState::Running,
            Stage::Starting => RegistrationState::Starting,
            Stage::Moving(to) => RegistrationState::Moving { to: to.clone() },
            Stage::Parked => RegistrationState::Parked,
            Stage::Recovering => RegistrationState::Recovering,
        };
        Self {
            name: name.clone(),
            pid: cell.pid(sworm, name, &entry.host),
            worker_type: cell.spec.worker_type.clone(),
            state,
            metadata: (*cell.metadata).clone(),
            groups: (*cell.groups).clone(),
            holders: (*cell.holders).clone(),
            attached: cell.attached,
        }
    }
}
