//! ractor_cluster: names are local, process groups are known on all nodes. So a name is a group of one.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ractor::concurrency::JoinHandle;
use ractor::rpc::CallResult;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use ractor_cluster::{NodeServer, NodeServerMessage, RactorClusterMessage, client_connect};
use sworm::BoxError;

use crate::measure::{MESSAGE_BYTES, Measured, NAMES, Time, free_port, measure, name};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// As long as a call of Sworm's.
const CALL_LIMIT: Duration = Duration::from_secs(5);

struct Echoer;

#[derive(RactorClusterMessage)]
enum Say {
    #[rpc]
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

impl Actor for Echoer {
    type Msg = Say;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Say>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Say>, Say::Echo(bytes, to): Say, (): &mut ()) -> Result<(), ActorProcessingErr> {
        Ok(to.send(bytes).map_err(|error| error.to_string())?)
    }
}

async fn start(id: &str, port: u16) -> Result<(ActorRef<NodeServerMessage>, JoinHandle<()>), BoxError> {
    let server = NodeServer::new(port, "peers".into(), id.into(), "localhost".into(), None, None);
    Ok(Actor::spawn(None, server.with_listen_addr(LOOPBACK), ()).await?)
}

pub(crate) async fn there() -> Result<(String, Box<dyn Any>), BoxError> {
    let port = free_port()?;
    let node = start("there", port).await?;
    let mut actors = Vec::new();
    for number in 0..NAMES {
        let (actor, task) = Actor::spawn(None, Echoer, ()).await?;
        pg::join(name(number), vec![actor.get_cell()]);
        actors.push((actor, task));
    }
    Ok((format!("{LOOPBACK}:{port}"), Box::new((node, actors))))
}

pub(crate) async fn here(address: &str, time: Time) -> Result<Measured, BoxError> {
    let (node, _task) = start("here", free_port()?).await?;
    client_connect(&node, address).await?;
    measure(
        time,
        async |name| {
            let found = pg::get_members(&name).into_iter().next();
            found.map(ActorRef::<Say>::from).ok_or_else(|| "it is not there".into())
        },
        |echoer: ActorRef<Say>| async move {
            let bytes = vec![7; MESSAGE_BYTES];
            let called = echoer.call(|to| Say::Echo(bytes, to), Some(CALL_LIMIT)).await;
            match called.map_err(|error| error.to_string())? {
                CallResult::Success(_) => Ok(()),
                CallResult::Timeout => Err("no answer in time".into()),
                CallResult::SenderError => Err("nobody answers".into()),
            }
        },
    )
    .await
}
