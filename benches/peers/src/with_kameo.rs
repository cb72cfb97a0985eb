//! kameo, over libp2p with TCP: names are in a distributed hash table.

use std::any::Any;

use kameo::Actor;
use kameo::actor::{RemoteActorRef, Spawn};
use kameo::message::{Context, Message};
use kameo::remote::{Behaviour, messaging};
use kameo::{RemoteActor, remote_message};
use libp2p::futures::StreamExt;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, SwarmBuilder, noise, tcp, yamux};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sworm::BoxError;
use tokio::sync::oneshot;

use crate::measure::{LOOK_AGAIN, MESSAGE_BYTES, Measured, NAMES, Time, measure, name};

#[derive(Actor, RemoteActor)]
struct Echoer;

#[derive(Serialize, Deserialize)]
struct Echo(ByteBuf);

#[derive(kameo::Reply, Serialize, Deserialize)]
struct Echoed(ByteBuf);

#[remote_message]
impl Message<Echo> for Echoer {
    type Reply = Echoed;

    async fn handle(&mut self, Echo(bytes): Echo, _: &mut Context<Self, Echoed>) -> Echoed {
        Echoed(bytes)
    }
}

/// Listens over loopback, dials if there is an address, and gives its own.
async fn start(dial: Option<&str>) -> Result<String, BoxError> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour::new(key.public().to_peer_id(), messaging::Config::default()))?
        // A connection without a request lives on.
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(3_600)))
        .build();
    swarm.behaviour().try_init_global()?;
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
    let dials = dial.is_some();
    if let Some(address) = dial {
        swarm.dial(address.parse::<Multiaddr>()?)?;
    }
    let id = *swarm.local_peer_id();
    let (ready, is_ready) = oneshot::channel();
    let mut ready = Some(ready);
    tokio::spawn(async move {
        loop {
            let address = match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } if !dials => format!("{address}/p2p/{id}"),
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } => {
                    let address = endpoint.get_remote_address().clone();
                    swarm.add_peer_address(peer_id, address.clone());
                    address.to_string()
                }
                _ => continue,
            };
            if let Some(ready) = ready.take() {
                let _ = ready.send(address);
            }
        }
    });
    Ok(is_ready.await?)
}

pub(crate) async fn there() -> Result<(String, Box<dyn Any>), BoxError> {
    let address = start(None).await?;
    // A name is registered when another node knows it, too.
    let registering = tokio::spawn(async {
        let mut actors = Vec::new();
        for number in 0..NAMES {
            let actor = Echoer::spawn(Echoer);
            while actor.register(name(number)).await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            actors.push(actor);
        }
        std::future::pending::<()>().await;
    });
    Ok((address, Box::new(registering)))
}

pub(crate) async fn here(address: &str, time: Time) -> Result<Measured, BoxError> {
    start(Some(address)).await?;
    let message = ByteBuf::from(vec![7; MESSAGE_BYTES]);
    measure(
        time,
        async |name| {
            let found = RemoteActorRef::<Echoer>::lookup(name).await.map_err(|error| error.to_string())?;
            found.ok_or_else(|| "it is not there".into())
        },
        move |echoer: RemoteActorRef<Echoer>| {
            let message = Echo(message.clone());
            async move {
                echoer.ask(&message).await.map_err(|error| error.to_string())?;
                Ok(())
            }
        },
    )
    .await
}
