//! Carries out what operators ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use sworm::{Explanation, NodeId, Spread, Sworm, SwormSpec, VoterList};
use tokio::sync::Notify;

use super::{Server, Typed, failure, json, missing};
use crate::protocol::{Considered, Explained, Failure, Happened, Operating, Voting};

/// What has happened so far in each sworm that is watched.
#[derive(Default)]
pub(super) struct Watched(Mutex<HashMap<String, (Seen, Arc<Notify>)>>);

type Seen = Arc<Mutex<Vec<Happened>>>;

impl Watched {
    fn begin(&self, sworm: &Sworm, slowly: bool) {
        let (mut events, seen) = (sworm.events(), Arc::<Mutex<Vec<Happened>>>::default());
        let asked = Arc::new(Notify::new());
        let watched = (seen.clone(), asked.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sworm.name().to_owned(), watched);
        tokio::spawn(async move {
            if slowly {
                asked.notified().await;
            }
            while let Some(event) = events.next().await {
                let text = format!("{event:?}");
                let kind = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned();
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(Happened { kind, text });
            }
        });
    }

    fn so_far(&self, sworm: &str) -> Option<Vec<Happened>> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, asked) = watched.get(sworm)?;
        asked.notify_one();
        Some(seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl<T: Typed> Server<T> {
    pub(super) async fn operating(&self, command: Operating) -> Result<Value, Failure> {
        match command {
            Operating::Explain { sworm, kind, name } => {
                json(explained(self.typed.explain(self.sworm(&sworm)?, kind, name).await))
            }
            Operating::RestartName { sworm, name } => {
                json(self.sworm(&sworm)?.restart_name(name).await.map_err(failure)?)
            }
            Operating::Voters { sworm } => json(self.sworm(&sworm)?.voters().await.map_err(failure)?.map(voting)),
            Operating::ChangeVoter { sworm, node, add } => {
                let (sworm, node) = (self.sworm(&sworm)?, NodeId::new(node).expect("valid"));
                let changed = if add { sworm.add_voter(&node).await } else { sworm.remove_voter(&node).await };
                json(voting(changed.map_err(failure)?))
            }
            Operating::Watch { sworm, slowly } => {
                self.watched.begin(&self.sworm(&sworm)?, slowly);
                json(())
            }
            Operating::Events { sworm } => json(self.watched.so_far(&sworm).ok_or_else(|| missing("watched"))?),
        }
    }
}

/// The same with a distribution strategy: one that is linked by that name, or `zones`.
pub(super) fn placed_by(spec: SwormSpec, strategy: &str) -> SwormSpec {
    const LINKED: [&str; 6] = ["rendezvous", "least-loaded", "bounded", "ring", "random", "local-first"];
    static ZONES: Spread = Spread::over("zone");
    match LINKED.into_iter().find(|linked| *linked == strategy) {
        Some(linked) => spec.distribution(linked),
        None => {
            assert_eq!(strategy, "zones");
            spec.distribution_value(&ZONES)
        }
    }
}

fn voting(list: VoterList) -> Voting {
    Voting { number: list.number, nodes: list.nodes.iter().map(ToString::to_string).collect() }
}

fn explained(explanation: Explanation) -> Explained {
    let considered = explanation.candidates.into_iter().map(|of| {
        let considered = Considered {
            weight: of.candidate.weight,
            labels: of.candidate.labels,
            score: of.score,
            excluded: of.excluded,
        };
        (of.candidate.node.to_string(), considered)
    });
    Explained {
        choice: explanation.choice.map(|node| node.to_string()),
        runs: explanation.runs.map(|pid| pid.node.to_string()),
        failed: explanation.failed.map(|reason| reason.to_string()),
        candidates: considered.collect(),
    }
}
