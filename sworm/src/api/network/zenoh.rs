//! Sockets: what is listened on, and whom to look for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::Network;
use crate::core::ids::{NodeId, Peer};
use crate::error::StartError;
use crate::node::identity;
use crate::store::Store;
use crate::transport::local::{self, LocalAnnouncement};
use crate::transport::{
    DEFAULT_LISTEN, Dialed, Transport, TransportError, TransportEvent, ZenohOptions, ZenohTransport, check, dial,
    probe, reserve,
};

/// Stands among the looked-for endpoints for what a zenoh configuration of the caller's finds.
const OWN_CONFIG: &str = "zenoh configuration";

/// What the builder was told about sockets.
#[derive(Default)]
pub(in crate::api) struct Sockets {
    pub(in crate::api) listen: Vec<String>,
    /// What others are told instead of that, if anything.
    pub(in crate::api) advertise: Vec<String>,
    pub(in crate::api) join: Vec<String>,
    pub(in crate::api) config: Option<zenoh::Config>,
}

/// Endpoints and a configuration that can be used; `listen` has all that will be listened on.
pub(in crate::api) struct Checked(Sockets);

impl Sockets {
    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.listen.is_empty() && self.advertise.is_empty() && self.join.is_empty() && self.config.is_none()
    }

    /// Refuses what cannot be used. Changes nothing.
    pub(super) async fn check(mut self) -> Result<Checked, StartError> {
        self.listen = check(self.config.as_ref(), self.listen, &self.advertise, &self.join)?;
        reserve(&self.listen).await?;
        Ok(Checked(self))
    }
}

impl Checked {
    /// Listens first, then looks for the others: of two nodes that start at once one finds the other.
    pub(super) async fn open(
        self,
        cluster: &str,
        me: &Peer,
        store: &dyn Store,
        remembered: &BTreeMap<NodeId, Vec<String>>,
        events: mpsc::UnboundedSender<TransportEvent>,
    ) -> Result<Network, StartError> {
        let Sockets { listen, advertise, join, config } = self.0;
        if listen == [DEFAULT_LISTEN] {
            let node = &*me.node;
            tracing::info!(node, "listening on this machine only; use `.listen(..)` to be reached from others");
        }
        let former = identity::endpoints(store)?;
        // Where any port will do the former one is taken again, so that those who remember it find this node.
        let reserved = match again(&listen, &former) {
            Some(listen) => match reserve(&listen).await {
                Err(TransportError::PortInUse { .. }) => None,
                other => Some(other?),
            },
            None => None,
        };
        let reserved = match reserved {
            Some(reserved) => reserved,
            None => reserve(&listen).await?,
        };
        let dialable = reserved.dialable();
        let announcement =
            if dialable.is_empty() { LocalAnnouncement::none() } else { local::announce(cluster, me, &dialable) };
        let mut looked_for: BTreeSet<String> = join.iter().cloned().collect();
        if join.is_empty() {
            looked_for.extend(local::discover(cluster, me));
        }
        looked_for.extend(remembered.values().flatten().cloned());
        for own in dialable.iter().chain(&advertise) {
            looked_for.remove(own);
        }
        let own_config = config.is_some();
        if !own_config {
            let answering = answering(&looked_for).await;
            if !answering.is_empty() {
                looked_for.extend(probe(cluster, answering).await?);
                for own in dialable.iter().chain(&advertise) {
                    looked_for.remove(own);
                }
            }
        }
        let mut looked_for: Vec<String> = looked_for.into_iter().collect();
        let options = ZenohOptions {
            cluster: cluster.to_owned(),
            me: me.clone(),
            listen: reserved.endpoints().to_vec(),
            advertise,
            connect: looked_for.clone(),
            config,
        };
        let transport: Arc<dyn Transport> = ZenohTransport::open(options, events).await?;
        drop(reserved);
        identity::remember_endpoints(store, &dialable).await?;
        if own_config {
            // Whom it makes zenoh find cannot be asked: they are waited for as long as a seed that does not answer.
            looked_for.push(OWN_CONFIG.to_owned());
        }
        Ok(Network { transport, looked_for, announcement })
    }
}

/// Those endpoints at which something listens.
async fn answering(endpoints: &BTreeSet<String>) -> Vec<String> {
    let dials = endpoints.iter().map(|endpoint| async move { (endpoint, dial(endpoint).await) });
    let answers = futures_util::future::join_all(dials).await;
    answers
        .into_iter()
        .filter(|(_, dialed)| *dialed == Dialed::Answered)
        .map(|(endpoint, _)| endpoint.clone())
        .collect()
}

/// The endpoints to listen on with the former ports in place of 0.
fn again(listen: &[String], former: &[String]) -> Option<Vec<String>> {
    if listen.len() != former.len() || !listen.iter().any(|endpoint| endpoint.ends_with(":0")) {
        return None;
    }
    let port = |endpoint: &str| endpoint.rsplit_once(':').map(|(_, port)| port.to_owned());
    let with_port = |(wanted, had): (&String, &String)| match wanted.strip_suffix(":0") {
        Some(address) => Some(format!("{address}:{}", port(had)?)),
        None => Some(wanted.clone()),
    };
    listen.iter().zip(former).map(with_port).collect()
}
