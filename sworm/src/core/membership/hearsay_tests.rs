//! Meeting around a missing link.

use super::tests::{hello, peer};
use super::*;

/// Three others that are there.
fn with_others() -> Membership {
    let mut members = Membership::new(peer("a", 1), InstanceId(1), vec![], 5_000, 0);
    let mut want = Vec::new();
    for node in ["b", "c", "d"] {
        members.linked(0, peer(node, 1), true, &mut want);
        members.hello(0, 0, hello(node, 1), &mut want);
    }
    members.tick(0, &mut want);
    members
}

/// They have lost b; what is wanted then is not looked at.
fn without_b() -> Membership {
    let mut members = with_others();
    members.linked(0, peer("b", 1), false, &mut Vec::new());
    members
}

fn state(members: &Membership, node: &str) -> MemberState {
    members.known()[&peer(node, 1).node].state
}

fn tell(members: &mut Membership, now_ms: u64, from: &str, linked: bool) -> Vec<Want> {
    let mut want = Vec::new();
    members.told(now_ms, &peer(from, 1), vec![(peer("b", 1), linked)], &mut want);
    want
}

fn tick(members: &mut Membership, now_ms: u64) -> Vec<Want> {
    let mut want = Vec::new();
    members.tick(now_ms, &mut want);
    want
}

/// Who is asked about b.
fn asked(want: &[Want]) -> Vec<Peer> {
    let about_b = |want: &Want| match want {
        Want::AskAbout { to, about } => (*about == [peer("b", 1)]).then(|| to.clone()),
        _ => None,
    };
    want.iter().filter_map(about_b).collect()
}

fn is_gone(want: &[Want]) -> bool {
    want.contains(&Want::Absent { peer: peer("b", 1) })
}

#[test]
fn nobody_is_asked_when_nobody_is_suspect() {
    let mut members = with_others();
    for now_ms in (0..20_000).step_by(50) {
        assert_eq!(tick(&mut members, now_ms), []);
    }
}

#[test]
fn all_are_asked_about_a_suspect_again_and_again() {
    let mut members = without_b();
    assert_eq!(asked(&tick(&mut members, 249)), []);
    for now_ms in [250, 500, 750] {
        assert_eq!(asked(&tick(&mut members, now_ms)), [peer("c", 1), peer("d", 1)]);
        assert_eq!(asked(&tick(&mut members, now_ms + 249)), []);
    }
}

#[test]
fn of_many_members_each_has_its_turn_and_the_relay_is_always_asked() {
    let mut members = without_b();
    for n in 0..20 {
        let node = format!("e{n:02}");
        members.linked(0, peer(&node, 1), true, &mut Vec::new());
        members.hello(0, 0, hello(&node, 1), &mut Vec::new());
    }
    let mut seen = BTreeSet::new();
    for n in 1..=6 {
        tell(&mut members, 250 * n, "c", true);
        let asked = asked(&tick(&mut members, 250 * n));
        assert!(asked.len() <= 5 && asked.contains(&peer("c", 1)), "{asked:?}");
        seen.extend(asked);
    }
    assert_eq!(seen.len(), 22);
}

#[test]
fn a_suspect_is_not_down_while_a_member_is_linked_to_it() {
    let mut members = without_b();
    for now_ms in (0..60_000).step_by(1_000) {
        assert_eq!(tell(&mut members, now_ms, "c", true), []);
        assert!(!is_gone(&tick(&mut members, now_ms)));
        assert_eq!(state(&members, "b"), MemberState::Suspect);
    }
    assert!(!is_gone(&tick(&mut members, 60_999)));
    // The last answer was that of 59,000.
    assert!(is_gone(&tick(&mut members, 61_000)));
    assert_eq!(state(&members, "b"), MemberState::Down);
}

#[test]
fn an_answer_does_not_shorten_the_grace_time() {
    let mut members = without_b();
    tell(&mut members, 250, "c", true);
    tell(&mut members, 500, "c", false);
    assert!(!is_gone(&tick(&mut members, 4_999)));
    assert!(is_gone(&tick(&mut members, 5_000)));
}

#[test]
fn answers_about_another_incarnation_and_of_those_without_a_link_do_not_count() {
    let mut members = without_b();
    members.linked(0, peer("d", 1), false, &mut Vec::new());
    let mut want = Vec::new();
    members.told(4_000, &peer("c", 1), vec![(peer("b", 2), true), (peer("x", 1), true)], &mut want);
    members.told(4_000, &peer("c", 2), vec![(peer("b", 1), true)], &mut want);
    members.told(4_000, &peer("d", 1), vec![(peer("b", 1), true)], &mut want);
    members.told(4_000, &peer("x", 1), vec![(peer("b", 1), true)], &mut want);
    assert_eq!(want, []);
    assert_eq!(members.route(&peer("b", 1)), Route::None);
    assert!(is_gone(&tick(&mut members, 5_000)));
}

#[test]
fn one_that_is_refused_is_down_whatever_others_say() {
    let mut members = without_b();
    tell(&mut members, 100, "c", true);
    let mut want = Vec::new();
    members.dialled(150, &peer("b", 1), true, &mut want);
    assert!(is_gone(&want));
    assert_eq!(tell(&mut members, 200, "c", true), []);
    assert_eq!(state(&members, "b"), MemberState::Down);
    assert_eq!(asked(&tick(&mut members, 300)), []);
}

#[test]
fn the_route_changes_when_the_relay_goes() {
    let mut members = with_others();
    let b = peer("b", 1);
    assert_eq!(members.route(&b), Route::Direct);
    assert_eq!(members.relayed(), []);
    members.linked(0, b.clone(), false, &mut Vec::new());
    assert_eq!(members.route(&b), Route::None);
    tell(&mut members, 100, "c", true);
    tell(&mut members, 100, "d", true);
    let Route::Via(first) = members.route(&b) else { panic!("{:?}", members.route(&b)) };
    assert_eq!(members.relayed(), [(b.clone(), first.clone())]);
    members.linked(200, first.clone(), false, &mut Vec::new());
    let second = if first == peer("c", 1) { peer("d", 1) } else { peer("c", 1) };
    assert_eq!(members.route(&b), Route::Via(second.clone()));
    tell(&mut members, 300, &second.node, false);
    assert_eq!(members.route(&b), Route::None);
    tell(&mut members, 300, &second.node, true);
    tick(&mut members, 2_299);
    assert_eq!(members.route(&b), Route::Via(second));
    tick(&mut members, 2_300);
    assert_eq!(members.route(&b), Route::None);
    members.linked(2_400, b.clone(), true, &mut Vec::new());
    assert_eq!(members.route(&b), Route::Direct);
    assert_eq!(members.relayed(), []);
}

#[test]
fn only_over_a_link_of_its_own_to_that_very_incarnation_is_anything_passed_on() {
    let mut members = with_others();
    assert!(members.passes_on(&peer("b", 1)));
    assert!(!members.passes_on(&peer("b", 2)) && !members.passes_on(&peer("x", 1)));
    let mut want = Vec::new();
    members.asked_about(peer("c", 1), vec![peer("b", 1), peer("b", 2)], &mut want);
    let linked = vec![(peer("b", 1), true), (peer("b", 2), false)];
    assert_eq!(want, [Want::Tell { to: peer("c", 1), linked }]);
    members.linked(0, peer("b", 1), false, &mut want);
    tell(&mut members, 100, "c", true);
    assert!(!members.passes_on(&peer("b", 1)), "it has a relay itself, and one hop is all there is");
}

#[test]
fn one_that_was_down_is_suspect_again_when_a_member_is_linked_to_it() {
    let mut members = without_b();
    members.linked(0, peer("c", 1), false, &mut Vec::new());
    assert!(is_gone(&tick(&mut members, 5_000)));
    let mut last = 5_000;
    let mut asked_ms: Vec<u64> = Vec::new();
    while last < 100_000 {
        last += 50;
        if !asked(&tick(&mut members, last)).is_empty() {
            asked_ms.push(last);
        }
    }
    assert!(asked_ms.len() < 12, "{asked_ms:?}: about one that is down they are asked less and less often");
    // c, which was down too, is back: it may know.
    members.linked(100_000, peer("c", 1), true, &mut Vec::new());
    assert!(asked(&tick(&mut members, 100_250)).contains(&peer("c", 1)));
    assert_eq!(tell(&mut members, 100_300, "c", true), [Want::Present { hello: hello("b", 1) }]);
    assert_eq!(state(&members, "b"), MemberState::Suspect);
    assert_eq!(members.route(&peer("b", 1)), Route::Via(peer("c", 1)));
}

#[test]
fn one_that_leaves_is_gone_when_its_relay_has_no_link_to_it_any_more() {
    let mut members = without_b();
    tell(&mut members, 100, "c", true);
    members.goodbye(&peer("b", 1));
    assert!(!is_gone(&tick(&mut members, 200)));
    assert_eq!(members.route(&peer("b", 1)), Route::Via(peer("c", 1)));
    tell(&mut members, 300, "c", false);
    assert!(is_gone(&tick(&mut members, 300)));
    assert_eq!(tell(&mut members, 400, "d", true), [], "it does not come back");
}

/// A node that has met c, which is linked to b; it has no link to b itself.
fn told_of_b() -> Membership {
    let mut members = Membership::new(peer("a", 1), InstanceId(1), vec![], 5_000, 0);
    let mut want = Vec::new();
    members.linked(0, peer("c", 1), true, &mut want);
    members.hello(0, 0, Hello { others: vec![peer("a", 1), peer("b", 1)], ..hello("c", 1) }, &mut want);
    members.tick(0, &mut want);
    members
}

#[test]
fn one_that_was_never_linked_is_let_in_over_the_member_that_told_of_it() {
    let mut members = told_of_b();
    for now_ms in (0..2_000).step_by(50) {
        assert_eq!(tick(&mut members, now_ms), [], "its link may still come up");
    }
    assert_eq!(asked(&tick(&mut members, 2_000)), [peer("c", 1)]);
    assert_eq!(tell(&mut members, 2_100, "c", true), [Want::Greet { to: peer("b", 1), answer: true }]);
    assert_eq!(members.route(&peer("b", 1)), Route::Via(peer("c", 1)));
    let mut want = Vec::new();
    members.hello(2_200, 0, hello("b", 1), &mut want);
    assert_eq!(want, [Want::Present { hello: hello("b", 1) }]);
    assert_eq!(state(&members, "b"), MemberState::Suspect);
    assert_eq!(tell(&mut members, 2_300, "c", true), []);
}

#[test]
fn one_that_greets_over_a_member_is_let_in_when_that_member_is_linked_to_it() {
    let (mut members, mut want) = (told_of_b(), Vec::new());
    members.hello(10, 0, Hello { answer: true, ..hello("x", 1) }, &mut want);
    assert_eq!(want, [Want::Greet { to: peer("x", 1), answer: false }]);
    let ask = Want::AskAbout { to: peer("c", 1), about: vec![peer("x", 1)] };
    assert!(tick(&mut members, 260).contains(&ask));
    want.clear();
    members.told(300, &peer("c", 1), vec![(peer("x", 1), true)], &mut want);
    assert_eq!(want, [Want::Present { hello: Hello { answer: true, ..hello("x", 1) } }]);
    assert_eq!(members.route(&peer("x", 1)), Route::Via(peer("c", 1)));
}

#[test]
fn one_that_nobody_hears_is_forgotten_and_one_whose_link_comes_up_is_met() {
    let mut members = told_of_b();
    tick(&mut members, 2_000);
    assert!(!is_gone(&tick(&mut members, 5_000)));
    assert!(!members.known().contains_key(&peer("b", 1).node));
    let (mut members, mut want) = (told_of_b(), Vec::new());
    members.linked(100, peer("b", 1), true, &mut want);
    assert_eq!(want, [Want::Greet { to: peer("b", 1), answer: true }]);
    members.hello(110, 0, hello("b", 1), &mut want);
    assert_eq!(state(&members, "b"), MemberState::Up);
    for now_ms in (150..10_000).step_by(50) {
        assert_eq!(asked(&tick(&mut members, now_ms)), []);
    }
}

#[test]
fn others_are_told_of_all_members_with_a_link() {
    let mut members = with_others();
    assert_eq!(members.linked_to(), [peer("b", 1), peer("c", 1), peer("d", 1)]);
    members.linked(0, peer("b", 1), false, &mut Vec::new());
    tell(&mut members, 100, "c", true);
    assert_eq!(members.linked_to(), [peer("c", 1), peer("d", 1)]);
}
