//! A node process: hosts workers until it is told to leave, or until the process that started it is gone.

use std::io::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::BoxError;
use sworm::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::aircraft::SWORM;
use crate::args::NodeArgs;

/// The line on stdin that makes a node leave.
pub(crate) const LEAVE: &str = "leave";
/// How often it is looked whether the node has failed.
const HEALTH: Duration = Duration::from_millis(500);

/// A line on stdout, as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) enum Told {
    /// The node runs and may be given workers.
    Ready { endpoints: Vec<String>, incarnation: u64 },
    /// It has handed its workers over and stopped.
    Left,
}

/// Runs until the node is told to leave or stdin ends.
pub(crate) async fn run(args: NodeArgs) -> Result<(), BoxError> {
    let NodeArgs { id, cluster, store, listen, join } = args;
    let node = Node::builder(id).cluster(cluster).store(store).listen(listen).join(join).start().await?;
    // The worker type is linked into this program: opening the sworm is all that it takes to host workers.
    let _aircraft = node.sworm(SWORM).await?;
    tell(&Told::Ready { endpoints: node.endpoints(), incarnation: node.incarnation().0 })?;

    let mut commands = BufReader::new(stdin()).lines();
    let mut health = tokio::time::interval(HEALTH);
    loop {
        tokio::select! {
            command = commands.next_line() => match command?.as_deref() {
                Some(LEAVE) => {
                    node.leave().await?;
                    return tell(&Told::Left);
                }
                Some(other) => return Err(format!("{other:?} is no command").into()),
                // The run is over or its process is gone: nobody is left to hand anything over to.
                None => return Ok(node.close().await?),
            },
            _ = health.tick() => if let Some(why) = node.failure() {
                return Err(why.into());
            }
        }
    }
}

fn tell(told: &Told) -> Result<(), BoxError> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, told)?;
    writeln!(stdout)?;
    Ok(stdout.flush()?)
}
