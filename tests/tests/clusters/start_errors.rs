//! A node that cannot start says what is wrong and what to do, and leaves nothing behind.

use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use sworm::prelude::*;
use sworm::store::StoreError;
use sworm::transport::TransportError;
use sworm::{Error, NodeBuilder, StartError};
use sworm_tests::{Cluster, eventually, fresh_cluster, program};

fn builder(id: &str) -> NodeBuilder {
    Node::builder(id).cluster(fresh_cluster())
}

async fn refused(builder: NodeBuilder) -> StartError {
    match builder.start().await {
        Err(Error::Start(error)) => error,
        Err(other) => panic!("not a start error: {other}"),
        Ok(node) => panic!("{node:?} has started"),
    }
}

#[track_caller]
fn says(error: &StartError, what: &[&str]) {
    let text = error.to_string();
    assert!(what.iter().all(|what| text.contains(what)), "{text:?} does not say {what:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_choice_of_a_store_the_error_names_both() {
    let error = refused(builder("a")).await;
    assert!(matches!(error, StartError::NoStore { .. }));
    says(&error, &["\"a\"", ".store(", ".in_memory()"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_and_cluster_names_have_limits() {
    let (long_id, long_name) = ("x".repeat(129), "x".repeat(256));
    for id in ["", long_id.as_str()] {
        let error = refused(builder(id).in_memory()).await;
        assert!(matches!(error, StartError::BadNodeId { .. }), "{error}");
        says(&error, &["1 to 128 bytes", &id.len().to_string()]);
    }
    for name in ["", long_name.as_str()] {
        let error = refused(Node::builder("a").cluster(name).in_memory()).await;
        assert!(matches!(error, StartError::BadClusterName { .. }), "{error}");
        says(&error, &["1 to 255 bytes"]);
    }
    let longest = Node::builder("é".repeat(64)).cluster(fresh_cluster()).in_memory().start().await;
    longest.expect("128 bytes are allowed").close().await.expect("it closes");
}

#[test]
fn a_current_thread_runtime_is_refused_with_the_way_out_also_when_a_peer_answers() {
    let threads = tokio::runtime::Runtime::new().expect("a runtime");
    let cluster = fresh_cluster();
    let of = |id: &str| Node::builder(id).cluster(&cluster);
    let peer = threads.block_on(of("b").in_memory().start()).expect("it starts");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("never");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for alone in [of("a").store(&path), of("a").store(&path).join(peer.endpoints())] {
        let error = runtime.block_on(refused(alone));
        assert!(matches!(error, StartError::Transport(TransportError::CurrentThreadRuntime)), "{error}");
        says(&error, &["multi-thread", "multi_thread"]);
    }
    assert!(!path.exists());
    threads.block_on(peer.close()).expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_process_uses_is_refused() {
    let mut cluster = Cluster::new(program!()).with_store("sled").started(&["a"]).await;
    let of_a = || Node::builder("a").cluster(cluster.name()).store(cluster.store("a"));
    let error = refused(of_a()).await;
    assert!(matches!(error, StartError::Store(StoreError::Locked { .. })), "{error}");
    says(&error, &[cluster.store("a").to_str().expect("text"), "in use"]);
    let of_a = of_a();
    cluster.kill("a").await;
    of_a.start().await.expect("it is free now").close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_another_node_or_cluster_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let cluster = fresh_cluster();
    let mine = || Node::builder("a").cluster(&cluster).store(directory.path());
    mine().start().await.expect("it is fresh").close().await.expect("it closes");
    let strangers = [Node::builder("b").cluster(&cluster), Node::builder("a").cluster("another")];
    for stranger in strangers {
        let error = refused(stranger.store(directory.path())).await;
        assert!(matches!(error, StartError::ForeignStore { .. }), "{error}");
        says(&error, &[directory.path().to_str().expect("text"), "node \"a\" of cluster", &cluster]);
    }
    mine().start().await.expect("it is as it was").close().await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_directory_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "important").expect("written");
    for path in [file.clone(), file.join("below")] {
        let error = refused(builder("a").store(&path)).await;
        assert!(matches!(error, StartError::Store(StoreError::NotADirectory { .. })), "{error}");
        says(&error, &[file.to_str().expect("text"), "not a directory"]);
    }
    assert_eq!(std::fs::read(&file).expect("it is still there"), b"important");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_to_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(path) = unwritable(directory.path()) else {
        // Not by the macros: the harness shows what they print of failures only.
        let skipped = b"\nSKIPPED: everything can be written to on this machine\n";
        return std::io::stderr().write_all(skipped).expect("it can be said");
    };
    let error = refused(builder("a").store(&path)).await;
    assert!(matches!(error, StartError::Store(StoreError::NotWritable { .. })), "{error}");
    says(&error, &[path.to_str().expect("text"), "cannot be written to"]);
}

/// A directory that this user may not write to. For root that is one which the system itself makes.
#[cfg(unix)]
fn unwritable(directory: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;

    let read_only = directory.join("read-only");
    std::fs::create_dir(&read_only).expect("a directory");
    std::fs::set_permissions(&read_only, PermissionsExt::from_mode(0o500)).expect("its owner may");
    let refuses = |path: &PathBuf| {
        let made = std::fs::create_dir(path.join("sworm-tests")).map_err(|error| error.kind());
        matches!(made, Err(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem))
    };
    [read_only, PathBuf::from("/sys")].into_iter().find(refuses).map(|path| path.join("sworm-tests"))
}

#[cfg(not(unix))]
fn unwritable(_: &Path) -> Option<PathBuf> {
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_an_endpoint_that_is_none_are_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = format!("tcp/{}", listener.local_addr().expect("bound"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("never");
    let error = refused(builder("a").store(&path).listen(&taken)).await;
    assert!(matches!(error, StartError::Transport(TransportError::PortInUse { .. })), "{error}");
    says(&error, &[&taken, "in use"]);
    for wrong in [builder("a").store(&path).listen("nonsense"), builder("a").store(&path).join(["nonsense"])] {
        let error = refused(wrong).await;
        assert!(matches!(error, StartError::Transport(TransportError::BadEndpoint { .. })), "{error}");
        says(&error, &["nonsense"]);
    }
    assert!(!path.exists(), "nothing is left on disk");
    drop(listener);
    let start = || async { builder("a").store(&path).listen(&taken).start().await.ok() };
    let free = eventually("the port being free", start).await;
    free.close().await.expect("it closes");
}

#[test]
fn a_node_can_be_started_and_used_in_any_task() {
    fn is_send<T: Send>(_: T) {}
    async fn all_of_it() -> sworm::Result<()> {
        let node = builder("a").in_memory().start().await?;
        node.open("s").await?.unregister_name("x").await?;
        node.leave().await?;
        node.close().await
    }
    is_send(all_of_it());
}
