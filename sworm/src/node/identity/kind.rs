//! The file beside the store that says of which kind it is: another kind would find nothing in the directory, and begin anew.

use std::io;
use std::path::Path;

use super::beside;
use crate::error::StartError;

const NAME: &str = "kind";

/// Refuses a directory with a store of another kind, before anything in it is touched. Where nothing is said of that, or what is
/// said is damaged, it may be any.
pub(crate) fn check(directory: &Path, asked: &str) -> Result<(), StartError> {
    match read(directory) {
        Some(found) if found != asked => {
            Err(StartError::OtherStore { path: directory.to_owned(), found, asked: asked.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Says that the store is of that kind; it is on the disk when this returns.
pub(crate) fn note(directory: &Path, kind: &str) -> io::Result<()> {
    if read(directory).is_some() {
        return Ok(());
    }
    beside::write(directory, NAME, kind.as_bytes())
}

fn read(directory: &Path) -> Option<String> {
    beside::read(directory, NAME).and_then(|kind| String::from_utf8(kind).ok())
}
