//! The commands about moves.

use super::Process;
use crate::protocol::{Command, Emptied, Failure, Moving, Planned};
use crate::{SWORM, Step};
use sworm::Pid;

impl Process {
    /// `move_name`.
    pub async fn move_name(&self, name: &str, to: &str) -> Result<Pid, Failure> {
        let command = Moving::MoveName { sworm: SWORM.into(), name: name.into(), to: to.into() };
        self.get(Command::Moving(command)).await
    }

    /// `plan_rebalance`, in the names' order.
    pub async fn plan_rebalance(&self) -> Vec<Planned> {
        self.plan(Moving::PlanRebalance { sworm: SWORM.into() }).await.expect("it runs")
    }

    /// `rebalance`, in the names' order.
    pub async fn rebalance(&self) -> Result<Vec<Planned>, Failure> {
        self.plan(Moving::Rebalance { sworm: SWORM.into() }).await
    }

    /// `plan_drain`, in the names' order.
    pub async fn plan_drain(&self, node: &str) -> Vec<Planned> {
        self.plan(Moving::PlanDrain { sworm: SWORM.into(), node: node.into() }).await.expect("it runs")
    }

    async fn plan(&self, command: Moving) -> Result<Vec<Planned>, Failure> {
        let mut planned: Vec<Planned> = self.get(Command::Moving(command)).await?;
        planned.sort();
        Ok(planned)
    }

    /// `drain`. It takes as long as a command may, at most.
    pub async fn drain(&self) -> Result<Emptied, Failure> {
        self.get(Command::Moving(Moving::Drain)).await
    }

    /// Stops its work right before a step of a name's next move that it does, or right after it.
    pub async fn hold(&self, name: &str, step: Step, before: bool) {
        let command = Moving::Hold { sworm: SWORM.into(), name: name.into(), step, before };
        self.ask(Command::Moving(command)).await.expect("it runs");
    }

    /// Waits until it has come to that.
    pub async fn held(&self) -> Result<(), Failure> {
        self.get(Command::Moving(Moving::Held)).await
    }

    /// Lets it go on.
    pub async fn let_go(&self) {
        self.ask(Command::Moving(Moving::LetGo)).await.expect("it runs");
    }

    /// `undrain`.
    pub async fn undrain(&self) {
        self.ask(Command::Moving(Moving::Undrain)).await.expect("it runs");
    }
}
