//! The network that a node is started on: checked first, opened when nothing else can be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::core::ids::{NodeId, Peer};
use crate::error::StartError;
use crate::store::Store;
use crate::transport::local::LocalAnnouncement;
use crate::transport::{MemoryNetwork, Transport, TransportEvent};

#[cfg(feature = "zenoh")]
mod zenoh;

#[cfg(feature = "zenoh")]
pub(super) use self::zenoh::Sockets;

/// What was said about networks.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) memory: Option<MemoryNetwork>,
    #[cfg(feature = "zenoh")]
    pub(super) sockets: Sockets,
}

/// The network that was asked for, and can be used.
pub(super) enum Wanted {
    Memory(MemoryNetwork),
    #[cfg(feature = "zenoh")]
    Zenoh(Box<zenoh::Checked>),
}

/// An open network.
pub(super) struct Network {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) looked_for: Vec<String>,
    pub(super) announcement: LocalAnnouncement,
}

impl Asked {
    /// Refuses what cannot be used. Changes nothing.
    pub(super) async fn check(self) -> Result<Wanted, StartError> {
        match self.memory {
            #[cfg(feature = "zenoh")]
            Some(_) if !self.sockets.is_empty() => Err(StartError::TwoNetworks),
            Some(network) => Ok(Wanted::Memory(network)),
            #[cfg(feature = "zenoh")]
            None => Ok(Wanted::Zenoh(Box::new(self.sockets.check().await?))),
            #[cfg(not(feature = "zenoh"))]
            None => Err(StartError::NoNetwork),
        }
    }
}

impl Wanted {
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
            #[cfg(feature = "zenoh")]
            Self::Zenoh(checked) => checked.open(cluster, me, store, remembered, events).await,
        }
    }
}
