//! Nodes on one machine find each other without configuration: each leaves a small file that says where it listens.
//!
//! Announce first, then look for others: of two nodes that start at once, at least one then sees the other. A file is
//! locked for as long as its node lives, so a node that was killed is told from one that does not listen yet.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::hex;
use crate::core::ids::Peer;

#[cfg(test)]
mod tests;

/// So many files are read, at most, and so much of each: enough for every node that fits onto a machine.
const MAX_FILES: usize = 1_000;
const MAX_FILE_BYTES: u64 = 16 << 10;

/// A node's announcement; dropping it takes it back.
pub(crate) struct LocalAnnouncement {
    /// Where it is, and the lock on it; nothing if it could not be made.
    file: Option<(PathBuf, File)>,
}

impl LocalAnnouncement {
    /// For a node that is not to be found.
    pub(crate) fn none() -> Self {
        Self { file: None }
    }
}

/// Tells the other nodes on this machine where this one listens. Failing is no error, since the node can be found by other
/// ways, but is said in the log.
pub(crate) fn announce(cluster: &str, me: &Peer, endpoints: &[String]) -> LocalAnnouncement {
    announce_in(&std::env::temp_dir(), cluster, me, endpoints)
}

/// The endpoints of the other nodes of a cluster on this machine. What dead nodes left behind is removed.
pub(crate) fn discover(cluster: &str, me: &Peer) -> Vec<String> {
    discover_in(&std::env::temp_dir(), cluster, me)
}

/// [`announce`], below another directory than the system's one for temporary files.
pub(crate) fn announce_in(base: &Path, cluster: &str, me: &Peer, endpoints: &[String]) -> LocalAnnouncement {
    let file = write(base, cluster, me, endpoints)
        .inspect_err(|error| {
            tracing::warn!(
                %error,
                directory = %of_user(base).display(),
                "the other nodes on this machine do not find this one: repair the directory, or give them `.join(..)`"
            );
        })
        .ok();
    LocalAnnouncement { file }
}

/// [`discover`], below another directory than the system's one for temporary files.
pub(crate) fn discover_in(base: &Path, cluster: &str, me: &Peer) -> Vec<String> {
    read(base, cluster, me).unwrap_or_else(|error| {
        tracing::warn!(
            %error,
            directory = %of_user(base).display(),
            "other nodes on this machine cannot be looked for: repair the directory, or use `.join(..)`"
        );
        Vec::new()
    })
}

impl Drop for LocalAnnouncement {
    fn drop(&mut self) {
        // Removed while the lock is held: nobody can take it for a dead node's.
        if let Some((path, _lock)) = self.file.take() {
            let _ = fs::remove_file(path);
        }
    }
}

fn write(base: &Path, cluster: &str, me: &Peer, endpoints: &[String]) -> io::Result<(PathBuf, File)> {
    let directory = directory(base, cluster)?;
    let path = directory.join(file_name(me));
    let unfinished = directory.join(format!(".{}", file_name(me)));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&unfinished)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all(endpoints.join("\n").as_bytes())?;
    fs::rename(&unfinished, &path)?;
    Ok((path, file))
}

fn read(base: &Path, cluster: &str, me: &Peer) -> io::Result<Vec<String>> {
    let own = file_name(me);
    let mut endpoints = Vec::new();
    for entry in fs::read_dir(directory(base, cluster)?)?.take(MAX_FILES) {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') || name == *own {
            continue;
        }
        match read_one(&entry.path()) {
            Ok(text) => endpoints.extend(text.lines().map(String::from)),
            Err(error) => tracing::debug!(%error, file = ?name, "passed over an announcement"),
        }
    }
    Ok(endpoints)
}

/// The text of an announcement; nothing if its node is gone.
fn read_one(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    match file.try_lock_shared() {
        Ok(()) => {
            fs::remove_file(path)?;
            return Ok(String::new());
        }
        Err(TryLockError::WouldBlock) => {}
        // Where files cannot be locked every announcement counts; one of a dead node costs vain attempts to connect.
        Err(TryLockError::Error(error)) => tracing::debug!(%error, "cannot tell whether its node lives"),
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn file_name(peer: &Peer) -> String {
    // A node id can be longer than a file name may be.
    let node = if peer.node.len() <= 64 {
        hex(peer.node.as_bytes())
    } else {
        format!("{:032x}", xxh3_128(peer.node.as_bytes()))
    };
    format!("{node}-{}", peer.incarnation)
}

/// The cluster's directory, made if it is not there. Nobody else can read or write it.
fn directory(base: &Path, cluster: &str) -> io::Result<PathBuf> {
    let user = of_user(base);
    let directory = user.join(format!("{:032x}", xxh3_128(cluster.as_bytes())));
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&directory)?;
    check(&user)?;
    Ok(directory)
}

fn of_user(base: &Path) -> PathBuf {
    base.join(format!("sworm-{}", user()))
}

/// Refuses a directory that somebody else made, or can write to: endpoints in it would be theirs.
#[cfg(unix)]
fn check(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::symlink_metadata(directory)?;
    let foreign = own_uid().is_some_and(|uid| uid != metadata.uid());
    if !metadata.is_dir() || metadata.mode() & 0o077 != 0 || foreign {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the directory is not this user's alone"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// The user, as a part of a path.
fn user() -> String {
    #[cfg(unix)]
    if let Some(uid) = own_uid() {
        return uid.to_string();
    }
    let name = std::env::var("USER").or_else(|_| std::env::var("USERNAME")).unwrap_or_default();
    hex(&name.as_bytes()[..name.len().min(64)])
}

/// Who this process runs as, where the system tells without a system call of its own.
#[cfg(unix)]
fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata))
}
