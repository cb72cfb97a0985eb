//! What a node repairs by itself: workers that it has lost sight of, and starts that fail.

use sworm_tests::protocol::{Kind, Loss, Say};
use sworm_tests::{Cluster, eventually, program};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_vanished_is_followed_as_its_strategy_says_and_one_that_lost_its_name_has_it_back() {
    let cluster = Cluster::start(program!(), &["a", "b"]).await;
    let [a, b] = ["a", "b"].map(|id| cluster[id].clone());
    let kinds = [(Kind::Permanent, "permanent"), (Kind::Counter, "transient"), (Kind::Temporary, "temporary")];
    let losses = [(Loss::Task, "task"), (Loss::Slot, "slot"), (Loss::Worker, "worker"), (Loss::Name, "name")];
    let mut all = Vec::new();
    for (kind, strategy) in kinds {
        for (loss, what) in losses {
            let name = format!("{strategy} loses its {what}");
            let pid = b.register_on(kind, &name, 0, "b").await.expect("free");
            assert_eq!(b.call(kind, &name, Say::AddDurable(5)).await, Ok(5));
            assert_eq!(b.call(kind, &name, Say::Add(2)).await, Ok(7));
            eventually("the news", || a.find(&name)).await;
            all.push((kind, loss, pid));
        }
    }
    b.watch().await;
    for (_, loss, pid) in &all {
        b.lose(&pid.name, *loss).await;
    }
    for (kind, loss, pid) in all {
        let name = &*pid.name;
        match (loss, kind) {
            (Loss::Name, _) => {
                b.sees(&mut 0, "NameLost", &[name]).await;
                for node in [&a, &b] {
                    let back = || async { node.find(name).await.filter(|f| f.pid == pid && f.state == "Running") };
                    eventually(&format!("{pid} on {}", node.id()), back).await;
                    // The worker has not noticed.
                    assert_eq!(node.call(kind, name, Say::Get).await, Ok(7), "{pid}");
                }
            }
            (Loss::Task | Loss::Slot, Kind::Temporary) => {
                for node in [&a, &b] {
                    let gone = || async { node.find(name).await.is_none().then_some(()) };
                    eventually(&format!("the end of {pid} on {}", node.id()), gone).await;
                }
            }
            _ => {
                for node in [&a, &b] {
                    let again = || async {
                        let found = node.find(name).await?;
                        (found.pid.epoch > pid.epoch && found.state == "Running").then_some(found.pid.node)
                    };
                    let on = eventually(&format!("another start of {pid} on {}", node.id()), again).await;
                    assert_eq!(on, pid.node, "{pid}");
                }
                // From what it had saved.
                assert_eq!(a.call(kind, name, Say::Get).await, Ok(5), "{pid}");
            }
        }
    }
    // Whatever was lost, nothing runs twice or unseen.
    cluster.all_run(10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_tried_again_until_it_works_or_nobody_wants_it_any_more() {
    let mut cluster = Cluster::start(program!(), &["a", "b"]).await;
    let [a, b] = ["a", "b"].map(|id| cluster[id].clone());
    cluster.open_gate();
    for name in ["wanted", "ended"] {
        b.register_on(Kind::Moody, name, 0, "b").await.expect("the gate is open");
        assert_eq!(b.call(Kind::Moody, name, Say::AddDurable(5)).await, Ok(5));
        eventually("the news", || a.find(name)).await;
    }
    cluster.close_gate();
    a.watch().await;
    cluster.kill("b").await;
    let (mut seen, why) = (0, "the gate is closed");
    for _ in 0..3 {
        a.sees(&mut seen, "StartFailed", &["wanted", why]).await;
    }
    a.sees(&mut 0, "StartFailed", &["ended", why]).await;
    a.unregister("ended").await.expect("it is there, and waits");
    let mut ended = 0;
    a.sees(&mut ended, "Unregistered", &["ended"]).await;
    // By then the other one would have been tried again as well: it had failed as often.
    seen = seen.max(ended);
    for _ in 0..2 {
        a.sees(&mut seen, "StartFailed", &["wanted", why]).await;
    }
    cluster.open_gate();
    let runs = || async { a.find("wanted").await.filter(|found| found.state == "Running") };
    assert_eq!(eventually("the start", runs).await.pid.node.as_str(), "a");
    assert_eq!(a.call(Kind::Moody, "wanted", Say::Get).await, Ok(5));
    let later = a.events().await.split_off(ended);
    assert!(later.iter().all(|event| !event.text.contains("ended")), "{later:#?}");
    cluster.all_run(1).await;
}
