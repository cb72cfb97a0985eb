//! What each test has for itself, or draws for itself.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64;

/// Half of the tests have one kind of store, and half the other: always the same, unless `SWORM_TEST_STORES` is set. Each text there
/// draws other halves; with `other` each test has the one that it has not without it.
pub(super) fn drawn_store() -> &'static str {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let draw = |text: &str| xxh3_64(format!("{text}{test}").as_bytes()) & 1 > 0;
    let drawn = match std::env::var("SWORM_TEST_STORES") {
        Ok(which) if which == "other" => !draw(""),
        which => draw(&which.unwrap_or_default()),
    };
    ["sled", "redb"][usize::from(drawn)]
}

/// A loopback address of the test's own. On Linux there are millions, so that no other test takes a port that a killed
/// node had: to listen on it again would fail then, and whoever dials it would think that the node lives.
pub fn fresh_host() -> String {
    if !cfg!(target_os = "linux") {
        return "127.0.0.1".into();
    }
    let [a, b, c, ..] = RandomState::new().hash_one(std::process::id()).to_be_bytes();
    format!("127.{}.{b}.{}", a.max(1), c.clamp(1, 254))
}
