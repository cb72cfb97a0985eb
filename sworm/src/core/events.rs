//! What to tell those who watch: how what look-ups say of a name has changed, and what is thought of the other nodes.

mod kinds;
mod said;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use kinds::{Cause, Event, Gone};

use super::cell::NameState;
use super::ids::{Epoch, Incarnation, NodeId, Peer, Pid};
use super::membership::{Known, MemberState};
use super::state::Core;
use super::{Entry, Notice};

/// What a name's worker does, as look-ups say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being handed to that node.
    Moving(&'a NodeId),
    /// Its node is gone.
    Recovering,
    /// It was stopped with its state saved.
    Parked,
    /// It is not started again.
    Failed(&'a Arc<str>),
}

impl Entry {
    /// What its worker does.
    pub fn stage(&self) -> Stage<'_> {
        match &self.cell.state {
            NameState::Failed { reason } => Stage::Failed(reason),
            NameState::Running if self.running => Stage::Running,
            NameState::Starting => Stage::Starting,
            NameState::Leaving { to } => Stage::Moving(&to.node),
            NameState::Released(release) => Stage::Moving(&release.to.node),
            NameState::Parked => Stage::Parked,
            NameState::Running => Stage::Recovering,
        }
    }

    fn worker(&self) -> (&Peer, Epoch) {
        (&self.host, self.cell.since)
    }
}

impl Core {
    /// What to tell when look-ups say another thing of a name than before.
    pub fn changes(&self, name: &Arc<str>, old: Option<&Entry>, new: Option<&Entry>) -> Vec<Event> {
        let pid = |entry: &Entry| entry.cell.pid(&self.config.sworm, name, &entry.host);
        let gone = |old: &Entry| Event::Unregistered { pid: pid(old), why: self.why_gone(name, old, new) };
        let Some(new) = new else {
            return old.map(gone).into_iter().collect();
        };
        let mut events = Vec::new();
        let before = match old.filter(|old| old.cell.birth == new.cell.birth) {
            Some(same) if same.worker() == new.worker() => Some(same.stage()),
            Some(other) => {
                let (from, pid, cause) = (pid(other), pid(new), self.cause(name, other, new));
                let stays = from.node == pid.node;
                events.push(match stays {
                    true => Event::Restarted { from, pid, cause, reason: self.exit_of(name, other) },
                    false => Event::Moved { from, pid, cause },
                });
                None
            }
            None => {
                events.extend(old.map(gone));
                events.push(Event::Registered { pid: pid(new), worker_type: new.cell.spec.worker_type.clone() });
                None
            }
        };
        events.extend(became(before, new.stage(), || pid(new)));
        events
    }

    /// Why a name has another worker than before.
    fn cause(&self, name: &Arc<str>, old: &Entry, new: &Entry) -> Cause {
        let now = self.directory.lane(&old.host).and_then(|lane| lane.name(name)).map(|(_, cell)| cell);
        let given = match (now.map(|cell| &cell.state), old.stage()) {
            (Some(NameState::Released(release)), _) => release.to == new.host,
            // That it has let go may be heard after that the other one has taken it.
            (Some(NameState::Leaving { to }), _) => **to == new.host,
            (Some(state), _) if state.is_claim() => false,
            (_, Stage::Moving(to)) => *to == new.host.node,
            _ => false,
        };
        match old.stage() {
            Stage::Parked => Cause::Parked,
            _ if given => Cause::Handoff,
            _ if old.host == new.host && old.cell.restarts != new.cell.restarts => Cause::Exit,
            _ if old.host == new.host => Cause::Conflict,
            _ if !self.is_live(&old.host) => Cause::NodeDown,
            _ if now.is_some_and(|cell| cell.state.is_claim()) => Cause::Conflict,
            _ => Cause::Handoff,
        }
    }

    /// A worker of this node.
    pub(super) fn own_pid(&self, name: &Arc<str>, since: Epoch) -> Pid {
        let Peer { node, incarnation } = self.config.me.clone();
        Pid { sworm: self.config.sworm.clone(), name: name.clone(), node, incarnation, epoch: since }
    }
}

/// What a worker does now that it did not do before.
fn became(before: Option<Stage<'_>>, now: Stage<'_>, pid: impl FnOnce() -> Pid) -> Option<Event> {
    if before == Some(now) {
        return None;
    }
    Some(match now {
        Stage::Starting => return None,
        Stage::Running if matches!(before, None | Some(Stage::Starting)) => Event::Started { pid: pid() },
        Stage::Running => Event::Resumed { pid: pid() },
        Stage::Moving(to) => Event::Handoff { pid: pid(), to: to.clone() },
        Stage::Recovering => Event::Recovering { pid: pid() },
        Stage::Parked => Event::Parked { pid: pid() },
        Stage::Failed(reason) => Event::Failed { pid: pid(), reason: reason.clone() },
    })
}

impl Notice {
    /// The event; what the directory shows as well is told of there.
    pub fn event(&self) -> Option<Event> {
        Some(match self.clone() {
            Self::NoCandidate { pid, why } => Event::NoCandidate { name: pid.name.clone(), pid, reason: why },
            Self::RestoredOlder { pid, reason } => Event::RestoredOlder { name: pid.name.clone(), pid, reason },
            Self::StateAwaited { pid, holders } => {
                Event::StateAwaited { name: pid.name.clone(), pid, holders: holders.into_iter().collect() }
            }
            Self::Unsaved { pid, reason } => Event::SnapshotFailed { pid, reason },
            Self::HookFailed { pid, hook, reason } => Event::HookFailed { pid, hook: hook.into(), reason },
            Self::Conflict { pid, winner } => Event::Conflict { pid, winner },
            Self::StateDiverged { pid, epoch, node } => Event::StateDiverged { pid, epoch, node },
            Self::Exited { pid, reason } => Event::Exited { pid, reason },
            Self::StartFailed { pid, reason, again } => Event::StartFailed { pid, reason, again },
            Self::Stuck { pid, with, busy } => Event::Stuck { pid, with, busy },
            Self::MajorityLost => Event::MajorityLost,
            Self::MajorityHeard => Event::MajorityHeard,
            Self::NameLost { pid } => Event::NameLost { pid },
            Self::GaveUp { .. } | Self::OtherStrategies { .. } => return None,
        })
    }
}

/// What was told of the other nodes.
#[derive(Debug, Default)]
pub struct MembersTold(BTreeMap<NodeId, (Incarnation, MemberState)>);

impl MembersTold {
    /// What is to be told of them now.
    pub fn news(&mut self, known: &BTreeMap<NodeId, Known>) -> Vec<Event> {
        self.0.retain(|node, _| known.contains_key(node));
        let mut news = Vec::new();
        for (node, known) in known {
            let now = (known.incarnation, known.state);
            let old = self.0.insert(node.clone(), now);
            if old == Some(now) {
                continue;
            }
            if let Some((incarnation, state)) = old
                && incarnation != known.incarnation
                && !matches!(state, MemberState::Joining | MemberState::Down)
            {
                news.push(Event::NodeDown { node: node.clone(), incarnation });
            }
            let (node, incarnation) = (node.clone(), known.incarnation);
            news.extend(match known.state {
                MemberState::Joining => None,
                MemberState::Up => Some(Event::NodeUp { node, incarnation }),
                MemberState::Suspect => Some(Event::NodeSuspect { node, incarnation }),
                MemberState::Leaving => Some(Event::NodeLeaving { node, incarnation }),
                MemberState::Down => Some(Event::NodeDown { node, incarnation }),
            });
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cell::NameCell;
    use crate::core::fixture::{cluster, peer, running};

    #[test]
    fn a_worker_that_was_given_away_has_moved_though_it_is_not_heard_yet_that_its_node_has_let_go() {
        let leaving = NameCell { state: NameState::Leaving { to: Box::new(peer("c")) }, ..running() };
        let core = cluster(&[("a", vec![]), ("b", vec![("x".into(), leaving.clone())]), ("c", vec![])]);
        let later = Epoch { major: 2, minor: 0 };
        let taken = NameCell { epoch: later, since: later, ..running() };
        let [old, new] = [("b", leaving), ("c", taken)].map(|(host, cell)| Entry {
            host: peer(host),
            cell: Arc::new(cell),
            running: true,
        });
        let events = core.changes(&"x".into(), Some(&old), Some(&new));
        assert!(
            matches!(&events[..], [Event::Moved { cause: Cause::Handoff, .. }, Event::Started { .. }]),
            "{events:?}"
        );
    }
}
