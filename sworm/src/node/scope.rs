//! The node for which a value is being decoded: references in it are usable there.

use std::cell::RefCell;
use std::fmt::Display;
use std::sync::Arc;

use super::NodeShared;
use crate::panics;

thread_local! {
    static HERE: RefCell<Option<Arc<NodeShared>>> = const { RefCell::new(None) };
}

/// Puts back what was there before, also when decoding panics.
struct Before(Option<Arc<NodeShared>>);

impl Drop for Before {
    fn drop(&mut self) {
        HERE.set(self.0.take());
    }
}

/// Decodes something for that node.
pub(crate) fn decoding<T>(node: &Arc<NodeShared>, decode: impl FnOnce() -> T) -> T {
    let _before = Before(HERE.replace(Some(node.clone())));
    decode()
}

/// The same for what others have sent; an error, or a panic in people's code, becomes its text.
pub(crate) fn decoded<T, E: Display>(
    node: &Arc<NodeShared>,
    decode: impl FnOnce() -> Result<T, E>,
) -> Result<T, String> {
    panics::guarded(|| decoding(node, decode).map_err(|error| error.to_string())).flatten()
}

/// The node for which this thread decodes something at the moment.
pub(crate) fn here() -> Option<Arc<NodeShared>> {
    HERE.with_borrow(Clone::clone)
}
