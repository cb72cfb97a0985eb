//! What operators ask, a method each.

use super::Process;
use crate::SWORM;
use crate::protocol::{Command, Explained, Failure, Happened, Kind, Operating, Voting};
use sworm::Pid;

impl Process {
    /// `explain_as`.
    pub async fn explain(&self, kind: Kind, name: &str) -> Explained {
        let command = Operating::Explain { sworm: SWORM.into(), kind, name: name.into() };
        self.get(Command::Operating(command)).await.expect("it never fails")
    }

    /// `restart_name`.
    pub async fn restart_name(&self, name: &str) -> Result<Pid, Failure> {
        self.get(Command::Operating(Operating::RestartName { sworm: SWORM.into(), name: name.into() })).await
    }

    /// `voters`.
    pub async fn voters(&self) -> Option<Voting> {
        self.get(Command::Operating(Operating::Voters { sworm: SWORM.into() })).await.expect("it runs")
    }

    /// `add_voter`.
    pub async fn add_voter(&self, node: &str) -> Result<Voting, Failure> {
        self.change_voter(node, true).await
    }

    /// `remove_voter`.
    pub async fn remove_voter(&self, node: &str) -> Result<Voting, Failure> {
        self.change_voter(node, false).await
    }

    async fn change_voter(&self, node: &str, add: bool) -> Result<Voting, Failure> {
        self.get(Command::Operating(Operating::ChangeVoter { sworm: SWORM.into(), node: node.into(), add })).await
    }

    /// Begins to note what happens: `events`.
    pub async fn watch(&self) {
        self.ask(Command::Operating(Operating::Watch { sworm: SWORM.into() })).await.expect("it runs");
    }

    /// What it has seen happen since then.
    pub async fn events(&self) -> Vec<Happened> {
        self.get(Command::Operating(Operating::Events { sworm: SWORM.into() })).await.expect("it watches")
    }
}
