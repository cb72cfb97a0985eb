//! What the library logs while these tests run.

use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};

use sworm_tests::eventually;
use tracing_subscriber::filter::LevelFilter;

static TEXT: Mutex<String> = Mutex::new(String::new());

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on all is kept that operators are to know.
pub(super) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing_subscriber::fmt().with_max_level(LevelFilter::INFO).with_ansi(false).with_writer(|| Kept).init();
    });
}

/// Waits until so many lines have been kept in which all of this stands.
pub(super) async fn has(lines: usize, what: &[&str]) {
    let there = || async { (count(what) >= lines).then_some(()) };
    eventually(&format!("{lines} lines with {what:?}"), there).await;
}

/// In how many lines so far all of this stands.
pub(super) fn count(what: &[&str]) -> usize {
    let text = TEXT.lock().unwrap_or_else(PoisonError::into_inner);
    text.lines().filter(|line| what.iter().all(|what| line.contains(what))).count()
}
