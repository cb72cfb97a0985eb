//! Carries out the commands about moves.

use serde_json::Value;
use sworm::{NodeId, PlannedMove};

use super::{Server, Typed, failure, json};
use crate::protocol::{Emptied, Failure, Moving, Planned};

impl<T: Typed> Server<T> {
    pub(super) async fn moving(&self, command: Moving) -> Result<Value, Failure> {
        match command {
            Moving::MoveName { sworm, name, to } => {
                json(self.sworm(&sworm)?.move_name(name, &id(&to)).await.map_err(failure)?)
            }
            Moving::PlanRebalance { sworm } => {
                json(planned(self.sworm(&sworm)?.plan_rebalance().await.map_err(failure)?))
            }
            Moving::Rebalance { sworm } => json(planned(self.sworm(&sworm)?.rebalance().await.map_err(failure)?)),
            Moving::PlanDrain { sworm, node } => {
                json(planned(self.sworm(&sworm)?.plan_drain(&id(&node)).await.map_err(failure)?))
            }
            Moving::Drain => {
                let drained = self.node()?.drain().await.map_err(failure)?;
                let stays = drained.stays.into_iter().map(|stays| (stays.name.to_string(), stays.why)).collect();
                json(Emptied { moved: drained.moved, stays })
            }
            Moving::Hold { sworm, name, step, before } => {
                self.held.arm(&self.sworm(&sworm)?, name.into(), step, before);
                json(())
            }
            Moving::Held => {
                self.held.reached().await;
                json(())
            }
            Moving::LetGo => {
                self.held.let_go();
                json(())
            }
            Moving::Undrain => {
                self.node()?.undrain();
                json(())
            }
        }
    }
}

fn id(node: &str) -> NodeId {
    NodeId::new(node).expect("valid")
}

fn planned(moves: Vec<PlannedMove>) -> Vec<Planned> {
    let planned = |PlannedMove { name, from, to, .. }| Planned {
        name: name.to_string(),
        from: from.to_string(),
        to: to.map(|to| to.to_string()),
    };
    moves.into_iter().map(planned).collect()
}
