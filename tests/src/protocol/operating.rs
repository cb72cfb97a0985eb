//! What operators ask: why something runs where it does, who votes, what happens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kind;

/// What an operator can ask of a node.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the library's functions")]
pub enum Operating {
    Explain {
        sworm: String,
        kind: Kind,
        name: String,
    },
    RestartName {
        sworm: String,
        name: String,
    },
    Voters {
        sworm: String,
    },
    ChangeVoter {
        sworm: String,
        node: String,
        add: bool,
    },
    /// From now on the node notes what happens; if slowly, nothing is read before somebody asks for it.
    Watch {
        sworm: String,
        slowly: bool,
    },
    /// What has happened since.
    Events {
        sworm: String,
    },
}

/// Why something runs where it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// The node that would be chosen, or why there is none.
    pub choice: Result<String, String>,
    /// Where it runs.
    pub runs: Option<String>,
    /// Why it has failed.
    pub failed: Option<String>,
    /// The nodes.
    pub candidates: BTreeMap<String, Considered>,
}

/// A node as a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `sworm::ExplainedCandidate` and `sworm::Candidate`")]
pub struct Considered {
    pub weight: u32,
    pub labels: BTreeMap<String, String>,
    pub score: Option<u64>,
    pub excluded: Option<String>,
}

/// The list of voters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "they are the fields of `sworm::VoterList`")]
pub struct Voting {
    pub number: u64,
    pub nodes: Vec<String>,
}

/// Something that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// The event's name.
    pub kind: String,
    /// All that it says.
    pub text: String,
}
