//! A program of its own: one of its worker types asks for a distribution strategy that nobody links.

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::{Error, StartError};
use sworm_tests::fresh_cluster;

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "cart", distribution = "with-luck")]
struct Cart;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_types_unknown_distribution_is_refused_with_a_list_of_the_known_ones() {
    let started = Node::builder("a").cluster(fresh_cluster()).in_memory().start().await;
    let Err(Error::Start(error @ StartError::UnknownStrategy { .. })) = started else { panic!("{started:?}") };
    let text = error.to_string();
    for what in ["\"cart\"", "\"with-luck\"", "distribution", "rendezvous", "least-loaded", "local-first"] {
        assert!(text.contains(what), "{text:?} does not say {what:?}");
    }
}
