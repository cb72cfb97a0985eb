//! Nodes in the test's own process, over a network in memory: what needs no process of its own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::store::StoreError;
use sworm::transport::MemoryNetwork;
use sworm::{Error, MoveError, NodeBuilder, NodeId, StartError, UnregisterError};
use sworm_tests::eventually;

mod attached;
mod balancing;
mod casts;
mod conflicts;
mod diverged;
mod drains;
mod encoding;
mod events;
mod exits;
mod failed;
mod fresh;
mod full;
mod groups;
mod inside;
mod isolation;
mod large;
mod leaving;
mod log;
mod lookups;
mod majority;
mod methods;
mod moving;
mod names;
mod opening;
mod options;
mod order;
mod placing;
mod plugins;
mod recovering;
mod refusals;
mod relaying;
mod repairs;
mod repeats;
mod resuming;
mod run;
mod saving;
mod strategies;
mod traffic;
mod unpolled;
mod unread;
mod walk;

/// In mode "majority": not so short that it ends by itself where a busy machine stands still for some seconds.
const LEASE: Duration = Duration::from_secs(8);

/// A worker that does nothing.
#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "room")]
struct Room;

/// A node on that network. With `SWORM_ENCODE_LOCAL_CALLS=1` it encodes its local calls too.
async fn node(network: &MemoryNetwork, id: &str) -> Node {
    let encode = std::env::var_os("SWORM_ENCODE_LOCAL_CALLS").is_some();
    let builder = Node::builder(id).in_memory().memory_network(network).encode_local_calls(encode);
    builder.start().await.expect("it starts")
}

/// Starts a node; one that was dropped before lets go of its directory in its own time.
async fn in_its_directory(build: impl Fn() -> NodeBuilder) -> Node {
    eventually("the directory", || async {
        match build().start().await {
            Err(Error::Start(StartError::Store(StoreError::Locked { .. }))) => None,
            started => Some(started.expect("it starts")),
        }
    })
    .await
}

/// Nodes a, b and so on, and their handles to a sworm that all have opened and see each other in.
async fn opened<const N: usize>(spec: impl Into<SwormSpec>) -> [(Node, Sworm); N] {
    opened_on(&MemoryNetwork::new(), spec).await
}

/// The same on that network.
async fn opened_on<const N: usize>(network: &MemoryNetwork, spec: impl Into<SwormSpec>) -> [(Node, Sworm); N] {
    let (spec, mut all) = (spec.into(), Vec::new());
    for id in ["a", "b", "c"].into_iter().take(N) {
        let node = node(network, id).await;
        let sworm = node.sworm(spec.clone()).await.expect("it opens");
        all.push((node, sworm));
    }
    for (_, sworm) in &all {
        eventually("the others", || async { (sworm.nodes().len() == N).then_some(()) }).await;
    }
    all.try_into().unwrap_or_else(|_| unreachable!("there are {N}"))
}

/// Waits until a node knows that a name runs, and gives what it knows.
async fn running(sworm: &Sworm, name: &str) -> Registration {
    eventually("the worker", || async { sworm.whereis(name).filter(|r| r.state == RegistrationState::Running) }).await
}

/// Waits until a node knows that a name is gone.
async fn gone(sworm: &Sworm, name: &str) {
    eventually("the end of the name", || async { sworm.whereis(name).is_none().then_some(()) }).await;
}

/// Ends a name whose worker is stuck: it is waited for nearly as long as there is time. Gives whether that was told; if not,
/// the name is gone, and its worker may be there for a moment.
async fn ended(sworm: &Sworm, name: &str) -> bool {
    eventually("the end of the name", || async {
        match sworm.unregister_name(name).await {
            Ok(()) => Some(true),
            Err(UnregisterError::NotRegistered { .. }) => Some(false),
            Err(UnregisterError::Timeout { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

/// Moves a name. On a busy machine that may take longer than there is time to tell of it.
async fn moved(sworm: &Sworm, name: &str, to: &NodeId) -> Pid {
    eventually("the move", || async {
        match sworm.move_name(name, to).await {
            Err(MoveError::Timeout { .. }) => None,
            moved => Some(moved.expect("it can run there")),
        }
    })
    .await
}
