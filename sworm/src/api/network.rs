//! The network that a node is started on: checked first, opened when nothing else can be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::core::ids::{NodeId, Peer};
use crate::error::StartError;
use crate::node::identity;
use crate::store::Store;
use crate::transport::local::{self, LocalAnnouncement};
use crate::transport::{
    DEFAULT_LISTEN, Dialed, MemoryNetwork, Transport, TransportError, TransportEvent, ZenohOptions, ZenohTransport,
    check, dial, probe, reserve,
};

/// Stands among the looked-for endpoints for what a zenoh configuration of the caller's finds.
const OWN_CONFIG: &str = "zenoh configuration";

/// The network that was asked for, and can be used.
pub(super) enum Wanted {
    Memory(MemoryNetwork),
    Zenoh(Box<Checked>),
}

/// Endpoints and a configuration that can be used.
pub(super) struct Checked {
    /// All that will be listened on.
    listen: Vec<String>,
    /// What others are told instead of that, if anything.
    advertise: Vec<String>,
    join: Vec<String>,
    config: Option<zenoh::Config>,
}

/// An open network.
pub(super) struct Network {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) looked_for: Vec<String>,
    pub(super) announcement: LocalAnnouncement,
}

impl Wanted {
    /// Refuses what cannot be used. Changes nothing.
    pub(super) async fn check(
        network: Option<MemoryNetwork>,
        listen: Vec<String>,
        advertise: Vec<String>,
        join: Vec<String>,
        config: Option<zenoh::Config>,
    ) -> Result<Self, StartError> {
        let no_zenoh = listen.is_empty() && advertise.is_empty() && join.is_empty() && config.is_none();
        match network {
            Some(_) if !no_zenoh => Err(StartError::TwoNetworks),
            Some(network) => Ok(Self::Memory(network)),
            None => {
                let listen = check(config.as_ref(), listen, &advertise, &join)?;
                reserve(&listen).await?;
                Ok(Self::Zenoh(Box::new(Checked { listen, advertise, join, config })))
            }
        }
    }

    pub(super) async fn open(
        self,
        cluster: &str,
        me: &Peer,
        store: &dyn Store,
        remembered: &BTreeMap<NodeId, Vec<String>>,
        events: mpsc::UnboundedSender<TransportEvent>,
    ) -> Result<Network, StartError> {
        match self {
            Self::Memory(network) => Ok(Network {
                transport: network.connect(cluster, me.clone(), events),
                looked_for: Vec::new(),
                announcement: LocalAnnouncement::none(),
            }),
            Self::Zenoh(checked) => checked.open(cluster, me, store, remembered, events).await,
        }
    }
}

impl Checked {
    /// Listens first, then looks for the others: of two nodes that start at once one finds the other.
    async fn open(
        self,
        cluster: &str,
        me: &Peer,
        store: &dyn Store,
        remembered: &BTreeMap<NodeId, Vec<String>>,
        events: mpsc::UnboundedSender<TransportEvent>,
    ) -> Result<Network, StartError> {
        let listen = self.listen;
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
        let mut looked_for: BTreeSet<String> = self.join.iter().cloned().collect();
        if self.join.is_empty() {
            looked_for.extend(local::discover(cluster, me));
        }
        looked_for.extend(remembered.values().flatten().cloned());
        for own in dialable.iter().chain(&self.advertise) {
            looked_for.remove(own);
        }
        let own_config = self.config.is_some();
        if !own_config {
            let answering = answering(&looked_for).await;
            if !answering.is_empty() {
                looked_for.extend(probe(cluster, &answering).await?);
                for own in dialable.iter().chain(&self.advertise) {
                    looked_for.remove(own);
                }
            }
        }
        let mut looked_for: Vec<String> = looked_for.into_iter().collect();
        let options = ZenohOptions {
            cluster: cluster.to_owned(),
            me: me.clone(),
            listen: reserved.endpoints().to_vec(),
            advertise: self.advertise,
            connect: looked_for.clone(),
            config: self.config,
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
