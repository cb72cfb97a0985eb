//! The file beside the store that says of which kind it is: another kind would find nothing in the directory, and begin anew.

use std::fs;
use std::io;
use std::path::Path;

use super::beside;
use crate::error::StartError;

const NAME: &str = "kind";

/// Refuses a directory with a store of another kind, before anything in it is touched. Where nothing is said of it, it may be any.
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
    beside::replace(directory, NAME, kind.as_bytes())
}

fn read(directory: &Path) -> Option<String> {
    fs::read_to_string(directory.join(NAME)).ok().filter(|kind| !kind.is_empty())
}
