//! A program of its own: it links two worker types with one name.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{Error, StartError};
use sworm_tests::fresh_cluster;

mod carts {
    use super::*;

    #[derive(Worker, Serialize, Deserialize)]
    #[worker(name = "same")]
    pub(crate) struct Cart;
}

mod rooms {
    use super::*;

    #[derive(Worker, Serialize, Deserialize)]
    #[worker(name = "same")]
    pub(crate) struct Room;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_worker_types_with_one_name_are_refused_with_both_places() {
    let started = Node::builder("a").cluster(fresh_cluster()).in_memory().start().await;
    let Err(Error::Start(error @ StartError::DuplicateWorkerType { .. })) = started else { panic!("{started:?}") };
    let text = error.to_string();
    assert!(text.contains("\"same\"") && text.contains("#[worker(name"), "{text}");
    // The two derives stand on different lines of this file.
    let places: Vec<&str> = text.split("twins.rs:").skip(1).collect();
    let lines: Vec<&str> =
        places.iter().map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap()).collect();
    assert!(lines.len() == 2 && lines[0] != lines[1], "{text}");
}
