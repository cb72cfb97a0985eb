//! What a store holds, as text: one entry a line, for files that are kept beside the tests.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use sworm::store::{Batch, MemoryStore, Space, Store};

const SPACES: [Space; 3] = [Space::Meta, Space::Lanes, Space::Snapshots];

/// All that a store holds.
///
/// # Panics
///
/// When it cannot be read.
pub fn dump(store: &dyn Store) -> String {
    let mut text = String::new();
    for space in SPACES {
        let scanned = store.scan(space, b"", &mut |key, value| {
            writeln!(text, "{} {} {}", space.byte(), hex(key), hex(value)).expect("there is room");
            ControlFlow::Continue(())
        });
        scanned.expect("it can be read");
    }
    text
}

/// A store that holds that.
///
/// # Panics
///
/// When it is no dump.
pub fn restored(text: &str) -> Arc<MemoryStore> {
    let mut all = Batch::new();
    for line in text.lines() {
        let mut parts = line.split(' ');
        let mut part = || parts.next().expect("each line has three parts");
        let (space, key, value) = (part(), part(), part());
        let space = SPACES.into_iter().find(|known| known.byte().to_string() == space).expect("a space");
        all.put(space, bytes(key), bytes(value));
    }
    let store = MemoryStore::new();
    store.write(all).expect("small");
    Arc::new(store)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(digit).collect()
}
