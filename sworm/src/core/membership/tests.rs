//! Meeting, losing and finding again.

use super::*;

pub(super) fn peer(node: &str, incarnation: u64) -> Peer {
    Peer { node: NodeId::new(node).expect("valid"), incarnation: Incarnation(incarnation) }
}

pub(super) fn hello(node: &str, incarnation: u64) -> Hello {
    Hello {
        from: peer(node, incarnation),
        instance: InstanceId(incarnation),
        endpoints: vec![format!("tcp/{node}:1")],
        profile: Profile::default(),
        unix_ms: 0,
        answer: false,
        others: Vec::new(),
        linked: Linked::default(),
        format: FORMAT,
    }
}

fn alone() -> Membership {
    Membership::new(peer("a", 1), InstanceId(1), vec![], 5_000, 3_000)
}

fn with_b() -> Membership {
    let (mut members, mut want) = (alone(), Vec::new());
    members.linked(0, peer("b", 1), true, &mut want);
    members.hello(0, 0, hello("b", 1), &mut want);
    assert_eq!(want.last(), Some(&Want::Present { hello: hello("b", 1) }));
    members
}

#[test]
fn a_lost_link_with_refused_dials_is_down_at_once() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.linked(10, peer("b", 1), false, &mut want);
    assert_eq!(want.pop(), Some(Want::Dial { peer: peer("b", 1), endpoints: vec!["tcp/b:1".into()] }));
    members.dialled(11, &peer("b", 1), true, &mut want);
    assert_eq!(want, [Want::Absent { peer: peer("b", 1) }]);
}

#[test]
fn a_lost_link_alone_is_suspect_for_the_grace_time() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.linked(10, peer("b", 1), false, &mut want);
    members.dialled(11, &peer("b", 1), false, &mut want);
    want.clear();
    members.tick(5_009, &mut want);
    assert!(!want.contains(&Want::Absent { peer: peer("b", 1) }));
    members.tick(5_010, &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }));
}

#[test]
fn one_that_answered_after_its_link_was_lost_and_refuses_for_a_moment_is_not_down() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.linked(10, peer("b", 1), false, &mut want);
    members.dialled(11, &peer("b", 1), false, &mut want);
    members.dialled(260, &peer("b", 1), true, &mut want);
    members.dialled(1_500, &peer("b", 1), true, &mut want);
    assert!(!want.contains(&Want::Absent { peer: peer("b", 1) }), "it opens its session anew");
    members.dialled(1_600, &peer("b", 1), false, &mut want);
    members.dialled(1_760, &peer("b", 1), true, &mut want);
    members.dialled(3_259, &peer("b", 1), true, &mut want);
    assert!(!want.contains(&Want::Absent { peer: peer("b", 1) }), "it has answered since");
    members.dialled(3_260, &peer("b", 1), true, &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }), "its process is gone");
}

#[test]
fn one_that_has_said_that_it_opens_its_links_anew_may_refuse_for_the_grace_time() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.reopens(5, &peer("b", 9));
    members.reopens(10, &peer("b", 1));
    members.linked(110, peer("b", 1), false, &mut want);
    for now_ms in (110..5_000).step_by(250) {
        members.dialled(now_ms, &peer("b", 1), true, &mut want);
    }
    assert!(!want.contains(&Want::Absent { peer: peer("b", 1) }), "it is about to be back");
    members.tick(5_110, &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }), "it is not");
    // The next time it is refused as any other.
    let (mut members, mut want) = (with_b(), Vec::new());
    members.reopens(10, &peer("b", 1));
    members.linked(110, peer("b", 1), false, &mut want);
    members.linked(300, peer("b", 1), true, &mut want);
    members.linked(400, peer("b", 1), false, &mut want);
    members.dialled(401, &peer("b", 1), true, &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }));
}

#[test]
fn a_link_that_comes_back_is_up_again() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.linked(10, peer("b", 1), false, &mut want);
    members.linked(20, peer("b", 1), true, &mut want);
    assert_eq!(want.last(), Some(&Want::Present { hello: hello("b", 1) }));
    assert_eq!(members.known()[&peer("b", 1).node].state, MemberState::Up);
}

#[test]
fn one_that_was_lost_before_it_introduced_itself_is_let_in_when_it_comes_again() {
    let (mut members, mut want) = (alone(), Vec::new());
    members.linked(0, peer("b", 1), true, &mut want);
    members.linked(10, peer("b", 1), false, &mut want);
    members.tick(6_000, &mut want);
    members.linked(7_000, peer("b", 1), true, &mut want);
    members.hello(7_001, 0, hello("b", 1), &mut want);
    assert_eq!(want.last(), Some(&Want::Present { hello: hello("b", 1) }));
}

#[test]
fn a_successor_takes_the_place_of_its_former_self() {
    let (mut members, mut want) = (with_b(), Vec::new());
    // Its new token may come before the old one is seen to go.
    let again = Hello { instance: InstanceId(1), ..hello("b", 2) };
    members.linked(10, peer("b", 2), true, &mut want);
    members.hello(12, 0, again.clone(), &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }));
    assert_eq!(want.last(), Some(&Want::Present { hello: again }));
    want.clear();
    members.linked(13, peer("b", 1), false, &mut want);
    assert_eq!(want, []);
}

#[test]
fn another_instance_does_not_push_out_a_living_node() {
    let (mut members, mut want) = (with_b(), Vec::new());
    members.linked(10, peer("b", 2), true, &mut want);
    members.hello(11, 0, hello("b", 2), &mut want);
    assert!(!want.iter().any(|want| matches!(want, Want::Absent { .. } | Want::Present { .. })), "{want:?}");
    members.linked(12, peer("b", 1), false, &mut want);
    members.hello(13, 0, hello("b", 2), &mut want);
    assert!(want.contains(&Want::Absent { peer: peer("b", 1) }));
    assert_eq!(want.last(), Some(&Want::Present { hello: hello("b", 2) }));
}

#[test]
fn another_instance_with_the_same_id_is_noticed() {
    let (mut members, mut want) = (alone(), Vec::new());
    members.hello(0, 0, hello("a", 9), &mut want);
    assert_eq!(want, [Want::IdTaken { other: peer("a", 9) }]);
}

#[test]
fn a_node_that_speaks_another_version_of_the_protocol_is_answered_and_not_let_in() {
    for theirs in [0, FORMAT + 1] {
        let (mut members, mut want) = (alone(), Vec::new());
        members.linked(0, peer("b", 1), true, &mut want);
        assert!(!members.refuses(&peer("b", 1)));
        let other = Hello { format: theirs, answer: true, ..hello("b", 1) };
        want.clear();
        members.hello(0, 0, other.clone(), &mut want);
        let greet = Want::Greet { to: peer("b", 1), answer: false };
        assert_eq!(std::mem::take(&mut want), [greet.clone(), Want::OtherFormat { peer: peer("b", 1), theirs }]);
        assert!(members.refuses(&peer("b", 1)), "nothing of it is read");
        members.hello(0, 0, other, &mut want);
        assert_eq!(std::mem::take(&mut want), [greet], "it is said once");
        members.tick(1_000, &mut want);
        assert!(!want.iter().any(|want| matches!(want, Want::Greet { .. })), "{want:?}");
        assert_eq!(members.known()[&peer("b", 1).node].state, MemberState::Joining);
        // Its program is another one now.
        want.clear();
        members.linked(2_000, peer("b", 1), false, &mut want);
        members.linked(2_000, peer("b", 2), true, &mut want);
        members.hello(2_000, 0, hello("b", 2), &mut want);
        assert_eq!(want.last(), Some(&Want::Present { hello: hello("b", 2) }));
        assert!(!members.refuses(&peer("b", 2)));
    }
}

#[test]
fn a_clock_over_a_minute_ahead_is_refused() {
    let (mut members, mut want) = (alone(), Vec::new());
    members.linked(0, peer("b", 1), true, &mut want);
    members.hello(0, 0, Hello { unix_ms: 60_001, ..hello("b", 1) }, &mut want);
    assert_eq!(want.last(), Some(&Want::ClockAhead { peer: peer("b", 1), theirs_ms: 60_001 }));
}

#[test]
fn a_starter_waits_for_those_that_answer_and_not_for_those_that_refuse() {
    let seeds = vec!["tcp/b:1".to_owned(), "tcp/c:1".to_owned()];
    let mut members = Membership::new(peer("a", 1), InstanceId(1), seeds, 5_000, 3_000);
    let mut want = Vec::new();
    members.seed("tcp/c:1", false);
    members.tick(1, &mut want);
    members.seed("tcp/b:1", true);
    members.tick(2, &mut want);
    assert_eq!(want, []);
    members.linked(3, peer("b", 1), true, &mut want);
    members.hello(3, 0, hello("b", 1), &mut want);
    members.tick(4, &mut want);
    assert_eq!(want.last(), Some(&Want::Introduced));
}

#[test]
fn a_starter_waits_for_the_one_that_answered_though_it_has_met_one_that_had_refused() {
    let seeds = vec!["tcp/b:1".to_owned(), "tcp/c:1".to_owned()];
    let mut members = Membership::new(peer("a", 1), InstanceId(1), seeds, 5_000, 3_000);
    let mut want = Vec::new();
    members.seed("tcp/c:1", false);
    members.seed("tcp/b:1", true);
    members.linked(1, peer("c", 1), true, &mut want);
    members.hello(1, 0, hello("c", 1), &mut want);
    members.tick(2, &mut want);
    assert!(!want.contains(&Want::Introduced), "b was not met");
}

#[test]
fn of_what_two_programs_link_it_is_said_what_each_lacks_and_only_distribution_strategies_matter() {
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let ours = Linked {
        worker_types: of(&["cart", "room"]),
        restart: of(&["permanent"]),
        distribution: of(&["rendezvous", "ring"]),
        stores: of(&["sled"]),
    };
    let same = Differs { lacks: Vec::new(), adds: Vec::new(), matters: false };
    assert_eq!(ours.against(&ours), same);
    let theirs = Linked {
        worker_types: of(&["room", "user"]),
        restart: of(&["budget", "permanent"]),
        stores: Vec::new(),
        ..ours.clone()
    };
    let lacks = of(&["worker type \"cart\"", "kind of store \"sled\""]);
    let adds = of(&["worker type \"user\"", "restart strategy \"budget\""]);
    assert_eq!(ours.against(&theirs), Differs { lacks: lacks.clone(), adds: adds.clone(), matters: false });
    assert_eq!(theirs.against(&ours), Differs { lacks: adds, adds: lacks, matters: false });
    let fewer = Linked { distribution: of(&["rendezvous"]), ..ours.clone() };
    let ring = of(&["distribution strategy \"ring\""]);
    assert_eq!(ours.against(&fewer), Differs { lacks: ring.clone(), matters: true, ..same.clone() });
    assert_eq!(fewer.against(&ours), Differs { adds: ring, matters: true, ..same });
}
