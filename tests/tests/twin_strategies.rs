//! A program of its own: it links two strategies with one name.

use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Error, StartError, Temporary, Transient};

mod one {
    use super::*;

    pub(crate) const LINE: u32 = line!() + 2;

    sworm::plugin!(dyn Restart, "same", Transient);
}

mod other {
    use super::*;

    pub(crate) const LINE: u32 = line!() + 2;

    sworm::plugin!(dyn Restart, "same", Temporary);
}

#[tokio::test]
async fn two_strategies_with_one_name_are_refused_with_both_places() {
    let started = Node::builder("a").memory_network(&MemoryNetwork::new()).in_memory().start().await;
    let Err(Error::Start(StartError::DuplicatePlugin { name, first, second })) = started else { panic!("{started:?}") };
    let mut places = [first, second].map(|place| {
        let (file, line) = place.rsplit_once(':').expect("a file and a line");
        assert!(file.ends_with("twin_strategies.rs"), "{place}");
        line.parse::<u32>().expect("a line")
    });
    places.sort_unstable();
    assert_eq!((name.as_str(), places), ("same", [one::LINE, other::LINE]));
}
