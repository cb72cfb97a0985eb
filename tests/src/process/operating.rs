//! What operators ask, a method each.

use super::Process;
use crate::SWORM;
use crate::protocol::{Command, Explained, Failure, Happened, Kind, Operating, Voting};
use sworm::Pid;

impl Process {
    /// Opens a sworm beside [`SWORM`](crate::SWORM) whose workers are placed by a strategy, and which has its name.
    pub async fn open_placed_by(&self, strategy: &str) {
        let (sworm, distribution) = (strategy.to_owned(), Some(strategy.to_owned()));
        let open = Command::Open { sworm, handoff: None, majority: None, balance: None, distribution };
        self.ask(open).await.unwrap_or_else(|failure| panic!("{strategy} on {}: {failure}", self.id()));
    }

    /// `explain_as`.
    pub async fn explain(&self, kind: Kind, name: &str) -> Explained {
        self.explain_in(SWORM, kind, name).await
    }

    /// The same in another sworm.
    pub async fn explain_in(&self, sworm: &str, kind: Kind, name: &str) -> Explained {
        let command = Operating::Explain { sworm: sworm.into(), kind, name: name.into() };
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
        self.ask(Command::Operating(Operating::Watch { sworm: SWORM.into(), slowly: false })).await.expect("it runs");
    }

    /// The same, but nothing is read before [`events`](Self::events) is first asked for.
    pub async fn watch_slowly(&self) {
        self.ask(Command::Operating(Operating::Watch { sworm: SWORM.into(), slowly: true })).await.expect("it runs");
    }

    /// Waits until it has seen something happen whose description says all this, after what was seen before.
    pub async fn sees(&self, seen: &mut usize, kind: &str, says: &[&str]) {
        let what = format!("{} seeing {kind} of {says:?}", self.id());
        *seen = crate::eventually(&what, || async {
            let events = self.events().await;
            let is_it = |event: &Happened| event.kind == kind && says.iter().all(|what| event.text.contains(what));
            events.iter().skip(*seen).position(is_it).map(|place| *seen + place + 1)
        })
        .await;
    }

    /// What it has seen happen since then.
    pub async fn events(&self) -> Vec<Happened> {
        self.get(Command::Operating(Operating::Events { sworm: SWORM.into() })).await.expect("it watches")
    }
}
