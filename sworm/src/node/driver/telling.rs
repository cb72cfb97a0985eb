//! Tells what a core notices: as events, and in the log.

use super::Driver;
use crate::core::Notice;

impl Driver {
    pub(super) fn tell(&self, notice: &Notice) {
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
