//! Names whose workers run nowhere, and what is asked for in vain meanwhile, or is not.

use sworm::prelude::*;
use sworm_tests::eventually;

use super::{Brittle, Count, break_for_good, has_failed};
use crate::opened;

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_refused_leaves_a_failed_name_and_its_state() {
    let [(a, on_a), (b, on_b)] = opened("s").await;
    for (count, name) in (1..).zip(["x", "y", "z"]) {
        let worker = on_a.register(name, Brittle { count }).on(a.id()).await.expect("free");
        on_a.join("group", &worker).await.expect("it is there");
        worker.call(Count).await.expect("it runs");
        break_for_good::<Brittle>(&on_a, name).await;
    }
    let all_failed = |sworm: &Sworm| ["x", "y", "z"].iter().all(|name| has_failed(sworm, name).is_some());
    for sworm in [&on_a, &on_b] {
        eventually("the news", || async { all_failed(sworm).then_some(()) }).await;
    }
    b.drain().await.expect("it has nothing");
    for name in ["x", "y", "z"] {
        for sworm in [&on_a, &on_b] {
            match sworm.register(name, Brittle { count: 70 }).on("nobody").await {
                Err(RegisterError::NoCandidate { why }) => assert!(why.contains("nobody is not there"), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        match on_b.attach_name::<Count>(name).await {
            Err(RegisterError::NoCandidate { why }) => assert!(why.contains("b is being emptied"), "{why}"),
            other => panic!("{:?}", other.err()),
        }
        assert!(all_failed(&on_a) && all_failed(&on_b), "{name}");
    }
    b.undrain();
    for (count, name) in (1..).zip(["x", "y", "z"]) {
        on_b.restart_name(name).await.expect("it can run");
        let worker = on_b.whereis_name::<Brittle>(name).expect("it runs");
        assert_eq!(worker.call(Count).await, Ok(count + 2));
    }
    assert_eq!(on_b.members("group").len(), 3);
}
