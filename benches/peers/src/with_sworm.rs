//! Sworm itself.

use std::any::Any;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sworm::BoxError;
use sworm::prelude::*;

use crate::measure::{LINK_LIMIT, LOOK_AGAIN, MESSAGE_BYTES, Measured, NAMES, Time, measure, name};

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "peers-echo", handles(Echo))]
struct Echoer;

/// Comes back as it is.
#[derive(Message, Serialize, Deserialize)]
#[message(reply = ByteBuf)]
struct Echo(ByteBuf);

impl Handler<Echo> for Echoer {
    async fn handle(&mut self, Echo(bytes): Echo, _: &mut Context<Self>) -> ByteBuf {
        bytes
    }
}

async fn start(id: &str, join: Option<&str>) -> Result<(Node, Sworm), BoxError> {
    let builder = Node::builder(id).cluster("peers").in_memory().listen("tcp/127.0.0.1:0");
    let node = builder.join(join).start().await?;
    let sworm = node.sworm("peers").await?;
    Ok((node, sworm))
}

pub(crate) async fn there() -> Result<(String, Box<dyn Any>), BoxError> {
    let (node, sworm) = start("there", None).await?;
    for number in 0..NAMES {
        sworm.register_name(name(number), Echoer).await?;
    }
    let address = node.endpoints().first().cloned().ok_or("it listens")?;
    Ok((address, Box::new((node, sworm))))
}

pub(crate) async fn here(address: &str, time: Time) -> Result<Measured, BoxError> {
    let (_node, sworm) = start("here", Some(address)).await?;
    let all = async {
        while sworm.registered().len() < NAMES {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(LINK_LIMIT, all).await?;
    let message = ByteBuf::from(vec![7; MESSAGE_BYTES]);
    measure(
        time,
        async |name| sworm.whereis_name::<Echoer>(name).ok_or_else(|| "it is not there".into()),
        move |echoer| {
            let call = echoer.call(Echo(message.clone()));
            async move {
                call.await?;
                Ok(())
            }
        },
    )
    .await
}
