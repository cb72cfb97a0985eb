//! The files beside the store: the one that says whose the directory is, and others like it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

/// Whose the directory is.
pub(super) const OWNER: &str = "identity";
/// Each has a checksum, and what it is of.
const CHECKSUM_BYTES: usize = 8;

/// What was written last; nothing if there is no file, or if it is damaged.
pub(super) fn read(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let path = directory.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return None,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "the file cannot be read; going on without");
            return None;
        }
    };
    let whole = bytes.split_first_chunk::<CHECKSUM_BYTES>().filter(|(sum, of)| **sum == xxh3_64(of).to_be_bytes());
    if whole.is_none() {
        tracing::error!(path = %path.display(), "the file is damaged; going on without");
    }
    whole.map(|(_, content)| content.to_vec())
}

/// Replaces the content; it is on the disk when this returns.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let fresh = directory.join(format!("{name}.new"));
    let mut file = File::create(&fresh)?;
    file.write_all(&xxh3_64(content).to_be_bytes())?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, directory.join(name))?;
    // Not every system can sync a directory; then the name is as safe as that system makes it.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}
