//! The voters of a sworm in mode "majority".

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Sworm;
use crate::core::ids::NodeId;
use crate::core::message::{Ask, Done, Refusal};
use crate::error::VotersError;
use crate::node::sworm::Asked;

/// How long a change of the voters may take.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// How long those are waited for who have to be there.
const THERE_LIMIT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The voters of a sworm, and how often they were changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VoterList {
    /// 1 for the list that was founded; each change has the next number.
    pub number: u64,
    /// The voters. The first in order of ids breaks ties.
    pub nodes: BTreeSet<NodeId>,
}

impl Sworm {
    /// The voters, as this node knows them; `None` while they are not founded, and in mode "available".
    ///
    /// # Errors
    ///
    /// [`VotersError::Stopped`] and [`VotersError::NodeFailed`].
    pub async fn voters(&self) -> Result<Option<VoterList>, VotersError> {
        let list = |core: &crate::core::Core| {
            core.voters().map(|list| VoterList { number: list.number, nodes: list.nodes.clone() })
        };
        self.shared.look(list).await.ok_or_else(|| self.voters_stopped())
    }

    /// Adds a voter, for good. It has to be there, with the sworm opened and a worker type linked, and so has a majority of the
    /// voters with it: that is waited for, for 5 s. The change counts when majorities of the voters without and with it have stored it. One
    /// change at a time is made; adding a voter again changes nothing.
    ///
    /// # Errors
    ///
    /// [`VotersError::NoMajority`]; [`VotersError::NotThere`] where somebody is missing; [`VotersError::Timeout`] after 30 s, when the
    /// change may still come about.
    pub async fn add_voter(&self, node: &NodeId) -> Result<VoterList, VotersError> {
        self.change_voters(node, true).await
    }

    /// Takes a voter away, for good, whether it is there or not. A node that is not to come back must be taken away, or it
    /// counts as one that is out of sight. Of those who are left a majority has to be there: that is waited for, for 5 s.
    ///
    /// # Errors
    ///
    /// As [`add_voter`](Self::add_voter), and [`VotersError::LastVoter`].
    pub async fn remove_voter(&self, node: &NodeId) -> Result<VoterList, VotersError> {
        self.change_voters(node, false).await
    }

    async fn change_voters(&self, node: &NodeId, add: bool) -> Result<VoterList, VotersError> {
        let until = Instant::now() + THERE_LIMIT;
        loop {
            let refused = match self.shared.ask(Ask::Voter { node: (**node).into(), add }, ASK_LIMIT).await? {
                Ok(Asked::Answer(Ok(Done::Voters { number, nodes }))) => return Ok(VoterList { number, nodes }),
                Ok(Asked::Answer(Err(refused))) => refused,
                Ok(Asked::Answer(Ok(_)) | Asked::Expired) => return Err(VotersError::Timeout { after: ASK_LIMIT }),
                Err(_) => return Err(self.voters_stopped()),
            };
            return Err(match refused {
                Refusal::NotMajority => VotersError::NotMajority { sworm: self.name().to_owned() },
                Refusal::NoMajority { why } => VotersError::NoMajority { why },
                Refusal::LastVoter => VotersError::LastVoter { node: node.clone() },
                // It may have been opened there just now.
                Refusal::NotThere { .. } if Instant::now() < until => {
                    sleep(LOOK_AGAIN).await;
                    continue;
                }
                Refusal::NotThere { why } => VotersError::NotThere { why },
                _ => VotersError::Timeout { after: ASK_LIMIT },
            });
        }
    }

    fn voters_stopped(&self) -> VotersError {
        self.shared.node.stopped_as(VotersError::Stopped, |reason| VotersError::NodeFailed { reason })
    }
}
