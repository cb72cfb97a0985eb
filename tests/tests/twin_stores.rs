//! A program of its own: it links two kinds of stores with one name.

use std::path::Path;
use std::sync::Arc;

use sworm::prelude::*;
use sworm::store::{Store, StoreError, StoreFactory};
use sworm::transport::MemoryNetwork;
use sworm::{Error, StartError};

/// Opens nothing.
struct Opens(&'static str);

impl StoreFactory for Opens {
    fn open(&self, directory: &Path) -> Result<Arc<dyn Store>, StoreError> {
        Err(StoreError::NotADirectory { path: directory.join(self.0) })
    }
}

mod one {
    use super::*;

    pub(crate) const LINE: u32 = line!() + 2;

    sworm::plugin!(dyn StoreFactory, "same", Opens("one"));
}

mod other {
    use super::*;

    pub(crate) const LINE: u32 = line!() + 2;

    sworm::plugin!(dyn StoreFactory, "same", Opens("other"));
}

#[tokio::test]
async fn two_kinds_of_stores_with_one_name_are_refused_with_both_places() {
    let started = Node::builder("a").memory_network(&MemoryNetwork::new()).in_memory().start().await;
    let Err(Error::Start(StartError::DuplicatePlugin { name, first, second })) = started else { panic!("{started:?}") };
    let mut places = [first, second].map(|place| {
        let (file, line) = place.rsplit_once(':').expect("a file and a line");
        assert!(file.ends_with("twin_stores.rs"), "{place}");
        line.parse::<u32>().expect("a line")
    });
    places.sort_unstable();
    assert_eq!((name.as_str(), places), ("same", [one::LINE, other::LINE]));
}
