//! Workers that panic in their hooks, or never return, on real processes: they harm no other one.

use sworm::Pid;
use sworm_tests::protocol::{Kind, Say};
use sworm_tests::{Cluster, Process, eventually, program};

/// A worker of each node that goes on all the time.
struct Bystanders {
    pids: Vec<Pid>,
    total: i64,
}

impl Bystanders {
    async fn of(nodes: [&Process; 2]) -> Self {
        let mut pids = Vec::new();
        for node in nodes {
            let name = format!("bystander-{}", node.id());
            pids.push(node.register_on(Kind::Counter, &name, 0, node.id()).await.expect("free"));
        }
        for node in nodes {
            for pid in &pids {
                eventually(&format!("{pid} on {}", node.id()), || node.find(&pid.name)).await;
            }
        }
        Self { pids, total: 0 }
    }

    /// They are the same, and have counted on.
    async fn go_on(&mut self, nodes: [&Process; 2], after: &str) {
        for node in nodes {
            self.total += 1;
            for pid in &self.pids {
                let total = node.call(Kind::Counter, &pid.name, Say::Add(1)).await;
                assert_eq!(total, Ok(self.total), "{pid} after {after}");
                assert_eq!(node.find(&pid.name).await.map(|found| found.pid).as_ref(), Some(pid), "after {after}");
            }
        }
    }
}

/// Waits until nobody knows the name any more, and no worker of it lives.
async fn is_gone(nodes: [&Process; 2], name: &str) {
    for node in nodes {
        let gone = || async {
            let lives = node.living().await.iter().any(|pid| *pid.name == *name);
            (node.find(name).await.is_none() && !lives).then_some(())
        };
        eventually(&format!("the end of {name} on {}", node.id()), gone).await;
    }
}

/// Ends a name through a node. It may take longer than a call to stop what does not stop by itself.
async fn end(through: &Process, name: &str) {
    if let Err(failure) = through.unregister(name).await {
        assert_eq!(failure.kind, "Timeout", "{name}: {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_panic_in_any_hook_or_never_return_harm_no_other_on_their_node_or_elsewhere() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let [a, b] = ["a", "b"].map(|id| cluster[id].clone());
    let both: [&Process; 2] = [&a, &b];
    let mut bystanders = Bystanders::of(both).await;
    a.watch().await;
    b.watch().await;
    // It is reported in five seconds; the others have their turns meanwhile.
    a.register_on(Kind::Counter, "never returns", 0, "b").await.expect("free");
    a.cast(Kind::Counter, "never returns", Say::Sleep(3_600_000)).await.expect("it runs");

    let refused = a.register_on(Kind::Rough, "started", 0, "b").await.expect_err("it panics");
    assert_eq!(refused.kind, "StartFailed", "{refused}");
    assert!(refused.text.contains("told to panic in started"), "{refused}");
    is_gone(both, "started").await;
    bystanders.go_on(both, "a panic in `started`").await;

    let first = a.register_on(Kind::Rough, "handler", 4, "b").await.expect("free");
    let died = a.call(Kind::Rough, "handler", Say::Crash).await.expect_err("it panics");
    assert_eq!((died.kind.as_str(), died.unknown), ("WorkerDied", true), "{died}");
    let again = || async { a.find("handler").await.filter(|found| found.pid.epoch > first.epoch) };
    eventually("another start", again).await;
    assert_eq!(a.call(Kind::Rough, "handler", Say::Get).await, Ok(4));
    bystanders.go_on(both, "a panic in a handler").await;

    let mut seen = 0;
    a.register_on(Kind::Rough, "stopping", 0, "b").await.expect("free");
    a.unregister("stopping").await.expect("it stops all the same");
    b.sees(&mut seen, "HookFailed", &["stopping", "told to panic in stopping"]).await;
    is_gone(both, "stopping").await;
    bystanders.go_on(both, "a panic in `stopping`").await;

    let mut seen = 0;
    a.register_on(Kind::Rough, "saving", 0, "b").await.expect("free");
    let unsaved = a.call(Kind::Rough, "saving", Say::AddDurable(1)).await.expect_err("it panics");
    assert_eq!(unsaved.kind, "NotDurable", "{unsaved}");
    assert!(unsaved.text.contains("told to panic in saving"), "{unsaved}");
    let runs = || async { a.find("saving").await.filter(|found| found.state == "Running") };
    eventually("it running", runs).await;
    let mover = a.clone();
    let moving = tokio::spawn(async move { mover.move_name("saving", "a").await });
    b.sees(&mut seen, "Resumed", &["saving"]).await;
    end(&a, "saving").await;
    moving.await.expect("it does not panic").expect_err("it cannot be moved");
    is_gone(both, "saving").await;
    bystanders.go_on(both, "a panic in `save`").await;

    let mut seen = 0;
    a.register_on(Kind::Rough, "restoring", 0, "b").await.expect("free");
    let mover = b.clone();
    let moving = tokio::spawn(async move { mover.move_name("restoring", "a").await });
    a.sees(&mut seen, "StartFailed", &["restoring", "told to panic in restoring"]).await;
    end(&b, "restoring").await;
    moving.await.expect("it does not panic").expect_err("it cannot start there");
    is_gone(both, "restoring").await;
    bystanders.go_on(both, "a panic in `restore`").await;

    let mut seen = 0;
    b.sees(&mut seen, "Stuck", &["never returns"]).await;
    bystanders.go_on(both, "one that never returns").await;
    end(&a, "never returns").await;
    is_gone(both, "never returns").await;
    bystanders.go_on(both, "its end").await;
}
