//! Panics of people's code, caught where it is called.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs people's code; a panic in it becomes its text.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| text(&*panic))
}

/// What a panic says.
pub(crate) fn text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a value that is no text".to_owned()
    }
}
