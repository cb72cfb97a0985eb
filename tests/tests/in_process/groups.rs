//! Messages to all members of a group: each handles them once, wherever it is, and each node gets them once.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize, Serializer};
use sworm::GroupError;
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm_tests::eventually;
use tokio::sync::Semaphore;

use super::{Room, gone, node, opened, running};

#[derive(Worker, Serialize, Deserialize, Default)]
#[worker(name = "groups.member", handles(Add, Large, Ask, Wait), handoff)]
struct Member {
    total: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(id = "groups.add", reply = u32)]
struct Add(u32);

/// Counts how often it is encoded.
#[derive(Message, Deserialize)]
#[message(id = "groups.large", reply = usize)]
struct Large(String);

static ENCODED: AtomicUsize = AtomicUsize::new(0);

impl Serialize for Large {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, SeqCst);
        serializer.serialize_newtype_struct("Large", &self.0)
    }
}

/// Has the member call this group, or publish to it; gives the sum of what came back, or the number of members.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "groups.ask", reply = u32)]
struct Ask {
    group: String,
    publish: bool,
}

/// Waits until the test says so.
#[derive(Message, Serialize, Deserialize)]
#[message(id = "groups.wait")]
struct Wait;

static WAITING: Semaphore = Semaphore::const_new(0);
static GATE: Semaphore = Semaphore::const_new(0);

impl Handler<Add> for Member {
    async fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
        self.total = self.total.wrapping_add(n);
        self.total
    }
}

impl Handler<Large> for Member {
    async fn handle(&mut self, Large(text): Large, _: &mut Context<Self>) -> usize {
        text.len()
    }
}

impl Handler<Ask> for Member {
    async fn handle(&mut self, ask: Ask, ctx: &mut Context<Self>) -> u32 {
        if ask.publish {
            return ctx.sworm().publish(&ask.group, Add(1)).await.expect("it leaves").try_into().expect("few");
        }
        let replies = ctx.sworm().multi_call(&ask.group, Add(1)).await;
        replies.into_iter().map(|(_, total)| total.expect("it runs")).sum()
    }
}

impl Handler<Wait> for Member {
    async fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        WAITING.add_permits(1);
        GATE.acquire().await.expect("never closed").forget();
    }
}

/// Members with these totals, dealt out to these nodes, and all in the group as each of them sees it.
async fn members(group: &str, count: u32, nodes: &[(Node, Sworm)]) {
    let all = (0..count).map(|n| async move {
        let (node, sworm) = &nodes[n as usize % nodes.len()];
        let registering = sworm.register(format!("{group}-{n:04}"), Member { total: n });
        let member = registering.on(node.id()).timeout(Duration::from_secs(60)).await.expect("free");
        sworm.join(group, &member).await.expect("it runs");
    });
    join_all(all).await;
    for (_, sworm) in nodes {
        eventually("all in", || async { (sworm.members(group).len() == count as usize).then_some(()) }).await;
    }
}

/// What each member answers to a call of all of them, by name.
async fn totals(sworm: &Sworm, group: &str) -> Vec<Result<u32, CallError>> {
    sworm.multi_call(group, Add(0)).await.into_iter().map(|(_, total)| total).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_answer_each_for_itself_and_those_that_cannot_say_why() {
    let nodes: [_; 3] = opened("s").await;
    let [(a, on_a), (b, on_b), (_, on_c)] = &nodes;
    members("mixed", 6, &nodes).await;
    for (name, node) in [("mixed-room-a", a), ("mixed-room-b", b)] {
        let room = on_a.register(name, Room).on(node.id()).await.expect("free");
        on_a.join("mixed", &room).await.expect("it runs");
    }
    let mut inbox = on_b.attach_name::<Add>("mixed-task").await.expect("free");
    on_b.join("mixed", &inbox.this()).await.expect("it is there");
    tokio::spawn(async move {
        while let Some((Add(n), to)) = inbox.recv().await {
            to.send(n.wrapping_add(100));
        }
    });
    for sworm in [on_a, on_b, on_c] {
        eventually("all in", || async { (sworm.members("mixed").len() == 9).then_some(()) }).await;
        let replies = sworm.multi_call("mixed", Add(10)).await;
        assert!(replies.iter().map(|(member, _)| &member.name).is_sorted());
        let unknown = || Err(CallError::NoSuchMessage { message: "groups.add".into() });
        for (member, result) in &replies {
            let expected = match (&*member.worker_type, &*member.name) {
                ("room", _) => unknown(),
                (_, "mixed-task") => Ok(110),
                (_, name) => Ok(10 + name[6..].parse::<u32>().expect("its number")),
            };
            assert_eq!(*result, expected, "{}", member.name);
        }
        assert_eq!(replies.len(), 9);
        let back = sworm.publish("mixed", Add(u32::MAX - 9)).await; // takes the ten away
        assert!(back.is_ok_and(|count| count >= 7), "the rooms of this node are not counted");
        eventually("what it was", || async {
            let totals = totals(sworm, "mixed").await;
            (totals[0] == Ok(0) && totals[5] == Ok(5)).then_some(())
        })
        .await;
    }
    assert_eq!(on_c.publish("nobody", Add(1)).await, Ok(0));
    assert_eq!(on_c.multi_call("nobody", Add(1)).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_in_so_many_groups_and_in_no_more_before_it_leaves_one() {
    const MOST: usize = 256;
    let nodes: [_; 2] = opened("s").await;
    let [(_, on_a), (b, on_b)] = &nodes;
    let registering = on_a.register("far", Member::default()).on(b.id()).metadata("shard", "7");
    let far = registering.await.expect("free");
    let all = join_all((0..MOST).map(|n| on_a.join(format!("group-{n}"), &far))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    running(on_b, "far").await;
    let near = on_b.whereis_name::<Member>("far").expect("it runs");
    let full = Err(GroupError::TooManyGroups { name: "far".into(), limit: MOST });
    for (sworm, far) in [(on_a, &far), (on_b, &near)] {
        assert_eq!(sworm.join("one more", far).await, full);
        assert_eq!(sworm.join("group-7", far).await, Ok(()), "it is in that one");
    }
    assert_eq!(on_b.members("one more"), []);
    on_a.leave("group-7", &far).await.expect("it is in it");
    on_a.join("one more", &far).await.expect("there is room");
    assert_eq!(on_a.join("group-7", &far).await, full);
    for sworm in [on_a, on_b] {
        let groups = || ["one more", "group-7", "group-8"].map(|group| sworm.members(group).len());
        eventually("the groups", || async { (groups() == [1, 0, 1]).then_some(()) }).await;
        assert_eq!(&*sworm.members("group-8")[0].metadata["shard"], "7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_members_get_one_message_for_each_of_their_nodes_encoded_once() {
    const COUNT: u32 = 2_000;
    const BYTES: usize = 300_000;
    let network = MemoryNetwork::new();
    let mut nodes = Vec::new();
    for id in ["a", "b", "c"] {
        let node = node(&network, id).await;
        let sworm = node.sworm("s").await.expect("it opens");
        nodes.push((node, sworm));
    }
    for (_, sworm) in &nodes {
        eventually("the others", || async { (sworm.nodes().len() == 3).then_some(()) }).await;
    }
    members("large", COUNT, &nodes).await;
    let sent = || ["b", "c"].map(|to| network.traffic("a", to).bytes);
    let before = sent();
    let replies = nodes[0].1.multi_call("large", Large("x".repeat(BYTES))).timeout(Duration::from_secs(60)).await;
    assert_eq!(replies.len(), COUNT as usize);
    assert!(replies.iter().all(|(_, reply)| *reply == Ok(BYTES)), "{:?}", replies.first());
    assert_eq!(ENCODED.swap(0, SeqCst), 1);
    assert_eq!(nodes[0].1.publish("large", Large("x".repeat(BYTES))).await, Ok(COUNT as usize));
    assert_eq!(ENCODED.swap(0, SeqCst), 1);
    // Both with the names, and what nodes say to each other besides.
    for (after, before) in sent().into_iter().zip(before) {
        let messages = (after - before) / BYTES as u64;
        assert_eq!(messages, 2, "{} bytes", after - before);
    }
    let late = nodes[0].1.multi_call("large", Add(0)).timeout(Duration::MAX).await;
    assert!((0..).zip(late).all(|(n, (_, total))| total == Ok(n)), "a limit beyond all time is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_moves_meanwhile_is_waited_for_and_handles_it_once() {
    let nodes: [_; 3] = opened("s").await;
    let [(_, on_a), _, (c, on_c)] = &nodes;
    members("moving", 3, &nodes).await;
    // The second is on node b: what waits for it when it leaves goes back to whoever has sent it.
    let second = on_a.whereis_name::<Member>("moving-0001").expect("it runs");
    second.cast(Wait).await.expect("it is on its way");
    WAITING.acquire().await.expect("never closed").forget();
    let call = tokio::spawn({
        let on_a = on_a.clone();
        async move { on_a.multi_call("moving", Add(10)).timeout(Duration::from_secs(60)).await }
    });
    on_a.publish("moving", Add(1000)).await.expect("it leaves");
    eventually("what the others have", || async {
        let first = on_a.whereis_name::<Member>("moving-0000").expect("it runs").call(Add(0)).await;
        (first == Ok(1010)).then_some(())
    })
    .await;
    let moved = tokio::spawn({
        let (on_c, c) = (on_c.clone(), c.id().clone());
        async move { on_c.move_name("moving-0001", &c).await }
    });
    eventually("the move", || async {
        matches!(on_a.whereis("moving-0001")?.state, RegistrationState::Moving { .. }).then_some(())
    })
    .await;
    assert!(!call.is_finished());
    let within = Duration::from_millis(200);
    let late = &on_a.multi_call("moving", Add(100_000)).timeout(within).await[1].1;
    assert_eq!(*late, Err(CallError::NotSent { after: within }));
    GATE.add_permits(1);
    assert_eq!(moved.await.expect("it does not panic").expect("it can run there").node, *c.id());
    let replies = call.await.expect("it does not panic");
    assert!(replies.iter().all(|(_, reply)| reply.is_ok()), "{replies:?}");
    eventually("each of them once", || async {
        (totals(on_c, "moving").await == [Ok(101_010), Ok(1011), Ok(101_012)]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_calls_a_group_and_publishes_to_it() {
    let nodes: [_; 2] = opened("s").await;
    let [(_, on_a), _] = &nodes;
    members("asked", 4, &nodes).await;
    members("asking", 2, &nodes).await;
    let group = || "asked".to_owned();
    for name in ["asking-0000", "asking-0001"] {
        let asking = on_a.whereis_name::<Member>(name).expect("it runs");
        let before: u32 = totals(on_a, "asked").await.into_iter().map(|total| total.expect("it runs")).sum();
        assert_eq!(asking.call(Ask { group: group(), publish: false }).await, Ok(before + 4));
        assert_eq!(asking.call(Ask { group: group(), publish: true }).await, Ok(4));
        eventually("it everywhere", || async {
            let after: u32 = totals(on_a, "asked").await.into_iter().map(|total| total.expect("it runs")).sum();
            (after == before + 8).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_stopped_publishes_nothing_and_members_that_failed_say_so() {
    let nodes: [_; 2] = opened("s").await;
    let [(a, on_a), (b, on_b)] = &nodes;
    members("ended", 2, &nodes).await;
    b.close().await.expect("it runs");
    eventually("the failover", || async { (running(on_a, "ended-0001").await.pid.node == *a.id()).then_some(()) })
        .await;
    assert_eq!(totals(on_a, "ended").await, [Ok(0), Ok(1)], "the group has come along");
    assert_eq!(on_b.publish("ended", Add(1)).await, Err(CallError::Stopped));
    assert!(totals(on_b, "ended").await.iter().all(|total| *total == Err(CallError::Stopped)));
    on_a.unregister_name("ended-0000").await.expect("it runs");
    gone(on_a, "ended-0000").await;
    assert_eq!(totals(on_a, "ended").await, [Ok(1)]);
    let large = on_a.publish("ended", Ask { group: "x".repeat(17 << 20), publish: false }).await;
    assert!(matches!(large, Err(CallError::TooLarge { .. })), "{large:?}");
}
