//! Asks a cluster where all its members listen, before this node opens its own session.
//!
//! zenoh makes a lost link again only towards endpoints that the session was opened with; a peer that it learned of by
//! gossip is lost for good when a single link is cut. So each node opens its session with all members in its list, and of
//! any two nodes at least the later one has the other in it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zenoh::query::{ConsolidationMode, QueryTarget};
use zenoh::session::Session;

use super::keys::Keys;
use super::{apart, config};
use crate::transport::TransportError;

/// How long the whole may take; it ends with the first answer.
const LIMIT: Duration = Duration::from_millis(1500);
/// A fresh link may not know the other side's queryables yet: such a question ends at once without an answer.
const AGAIN: Duration = Duration::from_millis(30);

/// The endpoints of the members that the nodes at these endpoints know. Empty if none of them belongs to the cluster.
pub(crate) async fn probe(cluster: &str, connect: Vec<String>) -> Result<BTreeSet<String>, TransportError> {
    apart(probe_here(Keys::new(cluster).every_flush(), connect)).await
}

async fn probe_here(key: String, connect: Vec<String>) -> Result<BTreeSet<String>, TransportError> {
    let config = config::base(None, Vec::new(), connect.clone())?.finish(&[], &connect)?;
    let failed = |error: zenoh::Error| TransportError::Failed { why: error.to_string() };
    let session = zenoh::open(config).await.map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let mut known = BTreeSet::new();
    while known.is_empty() && Instant::now() < deadline {
        known = ask(&session, &key).await;
        if known.is_empty() {
            sleep(AGAIN).await;
        }
    }
    if let Err(error) = session.close().await {
        tracing::debug!(%error, "a session did not end well");
    }
    Ok(known)
}

async fn ask(session: &Session, key: &str) -> BTreeSet<String> {
    let asked = session.get(key).target(QueryTarget::All).consolidation(ConsolidationMode::None).timeout(LIMIT).await;
    let Ok(answers) = asked else { return BTreeSet::new() };
    let mut known = BTreeSet::new();
    while let Ok(answer) = answers.recv_async().await {
        if let Ok(sample) = answer.result()
            && let Ok(text) = sample.payload().try_to_string()
        {
            known.extend(text.lines().filter(|line| line.contains('/')).map(str::to_owned));
        }
    }
    known
}
