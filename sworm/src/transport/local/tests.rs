//! What nodes of one machine find of each other.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use super::*;
use crate::core::ids::{Incarnation, NodeId};

fn peer(id: &str, incarnation: u64) -> Peer {
    Peer { node: NodeId::new(id).expect("a short id"), incarnation: Incarnation(incarnation) }
}

fn endpoints(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).into()).collect()
}

#[test]
fn nodes_of_one_cluster_find_each_other_and_not_themselves() {
    let base = tempfile::tempdir().expect("a directory");
    let at = base.path();
    let long = "x".repeat(128);
    let a = announce_in(at, "shop", &peer("a/é", 1), &endpoints(&["tcp/127.0.0.1:1", "tcp/[::1]:1"]));
    let _b = announce_in(at, "shop", &peer(&long, 2), &endpoints(&["tcp/127.0.0.1:2"]));
    let _other = announce_in(at, "other", &peer("c", 3), &endpoints(&["tcp/127.0.0.1:3"]));
    assert_eq!(discover_in(at, "shop", &peer("a/é", 1)), ["tcp/127.0.0.1:2"]);
    assert_eq!(discover_in(at, "shop", &peer(&long, 2)), ["tcp/127.0.0.1:1", "tcp/[::1]:1"]);
    // Another instance with this node's id is somebody else, and has to be met.
    assert_eq!(discover_in(at, "shop", &peer("a/é", 2)).len(), 3);
    drop(a);
    assert_eq!(discover_in(at, "shop", &peer(&long, 2)), endpoints(&[]));
}

#[test]
fn what_a_dead_node_left_behind_is_removed() {
    let base = tempfile::tempdir().expect("a directory");
    let mut dead = announce_in(base.path(), "shop", &peer("a", 1), &endpoints(&["tcp/127.0.0.1:1"]));
    let (path, lock) = dead.file.take().expect("it could be written");
    assert_eq!(discover_in(base.path(), "shop", &peer("b", 1)), ["tcp/127.0.0.1:1"]);
    drop(lock);
    assert_eq!(discover_in(base.path(), "shop", &peer("b", 1)), endpoints(&[]));
    assert!(!path.exists());
}

#[test]
fn a_directory_that_cannot_be_used_is_no_error_but_is_told_with_the_way_out() {
    let base = tempfile::NamedTempFile::new().expect("a file");
    let warnings = Warnings::default();
    tracing::subscriber::with_default(warnings.clone(), || {
        let _a = announce_in(base.path(), "shop", &peer("a", 1), &endpoints(&["tcp/127.0.0.1:1"]));
        assert_eq!(discover_in(base.path(), "shop", &peer("b", 1)), endpoints(&[]));
    });
    let warnings = warnings.0.lock().expect("not poisoned");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let directory = base.path().join("sworm-").display().to_string();
    assert!(warnings.iter().all(|text| text.contains(&directory) && text.contains("`.join(..)`")), "{warnings:?}");
}

/// Collects what is logged as a warning.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Subscriber for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == Level::WARN {
            let mut text = String::new();
            event.record(&mut |field: &Field, value: &dyn Debug| text += &format!("{field}={value:?} "));
            self.0.lock().expect("not poisoned").push(text);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[cfg(unix)]
#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let base = tempfile::tempdir().expect("a directory");
    let _a = announce_in(base.path(), "shop", &peer("a", 1), &endpoints(&["tcp/127.0.0.1:1"]));
    let user = base.path().join(format!("sworm-{}", user()));
    assert_eq!(fs::metadata(&user).expect("it is there").permissions().mode() & 0o777, 0o700);
    fs::set_permissions(&user, fs::Permissions::from_mode(0o777)).expect("it is ours");
    assert_eq!(discover_in(base.path(), "shop", &peer("b", 1)), endpoints(&[]));
}
