//! What events say of themselves: whom they are about, and why that has happened.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{Cause, Event, Gone};
use crate::core::ids::Pid;

impl Event {
    /// The name that it is about, if it is about one.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.pid().map(|pid| &pid.name)
    }

    /// The worker that it is about, if it is about a name: of two the present one, and of a name that runs nowhere the last one.
    pub fn pid(&self) -> Option<&Pid> {
        match self {
            Self::Registered { pid, .. }
            | Self::Started { pid }
            | Self::Handoff { pid, .. }
            | Self::Moved { pid, .. }
            | Self::Restarted { pid, .. }
            | Self::Recovering { pid }
            | Self::Parked { pid }
            | Self::Resumed { pid }
            | Self::Failed { pid, .. }
            | Self::Unregistered { pid, .. }
            | Self::Exited { pid, .. }
            | Self::StartFailed { pid, .. }
            | Self::Stuck { pid, .. }
            | Self::SnapshotFailed { pid, .. }
            | Self::HookFailed { pid, .. }
            | Self::NameLost { pid }
            | Self::StateDiverged { pid, .. }
            | Self::RestoredOlder { pid, .. }
            | Self::StateAwaited { pid, .. }
            | Self::NoCandidate { pid, .. }
            | Self::Conflict { pid, .. } => Some(pid),
            Self::NodeUp { .. }
            | Self::NodeSuspect { .. }
            | Self::NodeLeaving { .. }
            | Self::NodeDown { .. }
            | Self::MajorityLost
            | Self::MajorityHeard
            | Self::Missed { .. } => None,
        }
    }

    /// Why it has happened, for people: of each event about a name, as far as this node knows.
    pub fn reason(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Registered { worker_type, .. } => format!("registered with worker type {worker_type:?}").into(),
            Self::Started { .. } => "its start has succeeded".into(),
            Self::Handoff { to, .. } => format!("it is to go to node {to}").into(),
            Self::Moved { cause, .. } | Self::Restarted { cause, reason: None, .. } => cause.to_string().into(),
            Self::Restarted { cause, reason: Some(reason), .. } => format!("{cause}: {reason}").into(),
            Self::Recovering { pid } => format!("node {} is gone", pid.node).into(),
            Self::Parked { pid } => format!("node {} gives it up, and nobody has taken it over", pid.node).into(),
            Self::Resumed { pid } => {
                format!("its handover did not come about, or node {} is there again", pid.node).into()
            }
            Self::Failed { reason, .. } | Self::RestoredOlder { reason, .. } | Self::SnapshotFailed { reason, .. } => {
                Cow::Borrowed(&**reason)
            }
            Self::Unregistered { why, .. } => why.to_string().into(),
            Self::Exited { reason, .. } | Self::StartFailed { reason, .. } | Self::NoCandidate { reason, .. } => {
                reason.into()
            }
            Self::Stuck { with, busy, .. } => format!("it has been busy with {with} for {busy:?}").into(),
            Self::HookFailed { hook, reason, .. } => format!("`{hook}`: {reason}").into(),
            Self::NameLost { .. } => "the directory had lost its name".into(),
            Self::Conflict { winner, .. } => format!("{winner} has the same name, and goes on").into(),
            Self::StateDiverged { epoch, node, .. } => {
                format!("node {node} has kept a state of the worker of epoch {epoch}, which this one lacks").into()
            }
            Self::StateAwaited { holders, .. } => {
                let holders: Vec<&str> = holders.iter().map(|node| &**node).collect();
                format!("its newest state is on {}, and nobody who has it is there", holders.join(", ")).into()
            }
            Self::NodeUp { .. }
            | Self::NodeSuspect { .. }
            | Self::NodeLeaving { .. }
            | Self::NodeDown { .. }
            | Self::MajorityLost
            | Self::MajorityHeard
            | Self::Missed { .. } => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exit => "its worker had ended",
            Self::Handoff => "it was handed over",
            Self::NodeDown => "its node was gone",
            Self::Parked => "it was parked",
            Self::Conflict => "another worker, or a later state, of the name was met",
        })
    }
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered => f.write_str("it was unregistered"),
            Self::Exited { reason } => write!(f, "its worker has ended and is not restarted: {reason}"),
            Self::StartFailed { reason } => write!(f, "its worker could not start: {reason}"),
            Self::Replaced => f.write_str("another registration has taken its place"),
            Self::NodeGone => f.write_str("it was the name of a task whose node is gone"),
            Self::Unknown => f.write_str("another node knows why"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::fixture::{id, peer, running};

    #[test]
    fn every_event_about_a_name_says_which_whose_and_why() {
        let name: Arc<str> = "x".into();
        let pid = running().pid(&"s".into(), &name, &peer("a"));
        let (of, why) = (|| pid.clone(), || Arc::<str>::from("because"));
        let (text, from, winner) = (|| "because".to_owned(), of(), of());
        let all = [
            Event::Registered { pid: of(), worker_type: "room".into() },
            Event::Started { pid: of() },
            Event::Handoff { pid: of(), to: id("b") },
            Event::Moved { from: from.clone(), pid: of(), cause: Cause::Handoff },
            Event::Restarted { from: from.clone(), pid: of(), cause: Cause::Conflict, reason: None },
            Event::Restarted { from, pid: of(), cause: Cause::Exit, reason: Some(why()) },
            Event::Recovering { pid: of() },
            Event::Parked { pid: of() },
            Event::Resumed { pid: of() },
            Event::Failed { pid: of(), reason: why() },
            Event::Unregistered { pid: of(), why: Gone::Exited { reason: why() } },
            Event::Exited { pid: of(), reason: text() },
            Event::StartFailed { pid: of(), reason: text(), again: Duration::ZERO },
            Event::Stuck { pid: of(), with: "add".into(), busy: Duration::from_secs(5) },
            Event::NameLost { pid: of() },
            Event::Conflict { pid: of(), winner },
            Event::StateDiverged { pid: of(), epoch: pid.epoch, node: id("b") },
            Event::RestoredOlder { name: name.clone(), pid: of(), reason: why() },
            Event::StateAwaited { name: name.clone(), pid: of(), holders: vec![id("b")] },
            Event::SnapshotFailed { pid: of(), reason: why() },
            Event::HookFailed { pid: of(), hook: "stopping".into(), reason: why() },
            Event::NoCandidate { name: name.clone(), pid: of(), reason: text() },
        ];
        for event in all {
            assert_eq!((event.name(), event.pid()), (Some(&name), Some(&pid)), "{event:?}");
            let reason = event.reason().expect("it says why");
            let told = [
                "because",
                "node ",
                "worker type",
                "handed over",
                "has succeeded",
                "busy",
                "lost its name",
                "newest state",
            ];
            let goes_on = ["goes on", "another worker"];
            assert!(told.iter().chain(&goes_on).any(|what| reason.contains(what)), "{event:?}: {reason}");
        }
        let of_nodes = [Event::MajorityLost, Event::Missed { events: 1 }];
        assert!(of_nodes.iter().all(|event| event.pid().is_none() && event.reason().is_none()));
    }
}
