use std::sync::LazyLock;

use super::*;
use crate::core::ids::{Incarnation, NodeId};

fn stay(node: &str, since: u64) -> Stay {
    let host = Peer { node: NodeId::new(node).expect("valid"), incarnation: Incarnation(1) };
    Stay { host, since: Epoch { major: since, minor: 0 } }
}

fn tickets<const N: usize>(order: &Arc<Order>) -> [Ticket<'_>; N] {
    static ROOM: LazyLock<Arc<str>> = LazyLock::new(|| "room".into());
    std::array::from_fn(|_| order.ticket(&ROOM))
}

fn goes(ticket: &mut Ticket<'_>, to: &Stay) -> OnItsWay {
    match ticket.turn(to, false) {
        Turn::Now(sent) => sent,
        _ => panic!("it is its turn"),
    }
}

fn is_told(waiting: &mut oneshot::Receiver<()>) -> bool {
    waiting.try_recv().is_ok()
}

#[test]
fn calls_to_one_place_go_together() {
    let order = Arc::default();
    let [mut first, mut second] = tickets(&order);
    let _sent = [goes(&mut first, &stay("a", 1)), goes(&mut second, &stay("a", 1))];
}

#[test]
fn a_call_to_a_new_place_waits_for_the_calls_to_the_old_one() {
    let order = Arc::default();
    let [mut first, mut second, mut third] = tickets(&order);
    let sent = [goes(&mut first, &stay("a", 1)), goes(&mut second, &stay("a", 1))];
    let Turn::Unsettled(mut waiting, _) = third.turn(&stay("b", 2), false) else { panic!("two are on their way") };
    let [one, other] = sent;
    drop(one);
    assert!(!is_told(&mut waiting));
    drop(other);
    assert!(is_told(&mut waiting));
    let _sent = goes(&mut third, &stay("b", 2));
}

#[test]
fn what_comes_back_goes_before_what_came_after_it() {
    let order = Arc::default();
    let [mut first, mut second, mut third, mut fourth] = tickets(&order);
    let sent = [goes(&mut first, &stay("a", 1)), goes(&mut second, &stay("a", 1))];
    let Turn::Unsettled(..) = third.turn(&stay("b", 2), false) else { panic!("two are on their way") };
    let [one, other] = sent;
    other.comes_back();
    one.comes_back();
    second.is_back();
    first.is_back();
    let to = stay("b", 2);
    let Turn::Behind(_) = third.turn(&to, false) else { panic!("behind both") };
    let Turn::Behind(mut waiting) = second.turn(&to, false) else { panic!("behind the first") };
    let Turn::Behind(_) = fourth.turn(&to, false) else { panic!("behind all") };
    let _first = goes(&mut first, &to);
    assert!(is_told(&mut waiting));
    let _second = goes(&mut second, &to);
    let _third = goes(&mut third, &to);
    let _fourth = goes(&mut fourth, &to);
}

#[test]
fn whoever_goes_away_holds_nobody_up() {
    let order = Arc::default();
    let [mut first, mut second, mut third] = tickets(&order);
    let sent = goes(&mut first, &stay("a", 1));
    let Turn::Unsettled(..) = second.turn(&stay("b", 2), false) else { panic!("one is on its way") };
    let Turn::Behind(mut waiting) = third.turn(&stay("b", 2), false) else { panic!("behind the second") };
    drop(sent);
    drop(second);
    assert!(is_told(&mut waiting));
    let _sent = goes(&mut third, &stay("b", 2));
}

#[test]
fn casts_are_passed_on_before_anything_goes_to_the_new_place_also_where_that_is_the_same_node() {
    let order = Arc::default();
    for to in [stay("b", 2), stay("a", 3)] {
        let [mut first, mut second, mut third] = tickets(&order);
        let from = stay("a", 1);
        let Turn::Now(sent) = first.turn(&from, true) else { panic!("nothing is on its way") };
        drop(sent);
        assert!(!order.is_idle("room"));
        let Turn::Flush(at, _) = second.turn(&to, false) else { panic!("the cast may be on its way") };
        assert_eq!(at, from);
        let Turn::Behind(_) = third.turn(&to, false) else { panic!("the second sees to it") };
        order.flushed("room", &from);
        drop(goes(&mut second, &to));
        drop(goes(&mut third, &to));
        assert!(order.is_idle("room"));
    }
}

#[test]
fn what_is_given_up_is_counted_no_more() {
    let order = Arc::default();
    let [mut first, mut second, mut third] = tickets(&order);
    let lost = goes(&mut first, &stay("a", 1));
    let Turn::Unsettled(..) = second.turn(&stay("b", 2), false) else { panic!("one is on its way") };
    order.give_up("room");
    let _sent = goes(&mut second, &stay("b", 2));
    drop(lost);
    let Turn::Unsettled(..) = third.turn(&stay("c", 3), false) else { panic!("the second is on its way") };
}

#[test]
fn what_goes_back_to_callers_of_this_node_keeps_the_others_waiting() {
    let order: Arc<Order> = Arc::default();
    let here = stay("a", 1);
    let [mut first, mut second] = tickets(&order);
    assert!(order.is_idle("room"));
    order.comes_back(&"room".into(), &here, first.number());
    let Turn::Behind(_) = second.turn(&stay("b", 2), false) else { panic!("the first is on its way back") };
    first.is_back();
    let Turn::Behind(_) = second.turn(&stay("b", 2), false) else { panic!("behind the first") };
    drop(goes(&mut first, &stay("b", 2)));
    drop(goes(&mut second, &stay("b", 2)));
    assert!(order.is_idle("room"));
}

#[test]
fn what_comes_back_to_somebody_who_is_gone_leaves_nothing_behind() {
    let order: Arc<Order> = Arc::default();
    let [mut first] = tickets(&order);
    let sent = goes(&mut first, &stay("a", 1));
    drop(first);
    sent.comes_back().goes_away();
    assert!(order.is_idle("room"));
}

#[test]
fn what_comes_back_leaves_nothing_behind_when_whoever_has_not_looked_goes_away() {
    let order: Arc<Order> = Arc::default();
    let [mut first] = tickets(&order);
    let sent = goes(&mut first, &stay("a", 1));
    first.is_sent();
    sent.comes_back();
    assert!(!order.is_idle("room"));
    drop(first);
    assert!(order.is_idle("room"));
}

#[test]
fn who_does_not_see_its_turn_for_long_lets_the_others_pass() {
    let order: Arc<Order> = Arc::default();
    let [mut first, mut second, mut third] = tickets(&order);
    let to = stay("b", 2);
    let sent = goes(&mut first, &stay("a", 1));
    sent.comes_back();
    let Turn::Behind(_) = second.turn(&to, false) else { panic!("the first has its place again") };
    let Turn::Behind(mut waiting) = third.turn(&to, false) else { panic!("behind both") };
    let long_ago = Instant::now().checked_sub(SEES_ITS_TURN).expect("the machine has run for so long");
    order.lock().of.get_mut("room").expect("two wait").waiting.insert(first.number(), Place::Told(long_ago));
    let _second = goes(&mut second, &to);
    assert!(is_told(&mut waiting), "the next one is told in the place of the first");
    let _third = goes(&mut third, &to);
    // It goes when it looks.
    first.is_back();
    let _first = goes(&mut first, &to);
}

#[test]
fn what_finds_no_worker_keeps_its_place() {
    let order: Arc<Order> = Arc::default();
    let [mut first, mut second] = tickets(&order);
    first.waits();
    assert!(!order.is_idle("room"));
    let Turn::Behind(mut waiting) = second.turn(&stay("a", 1), false) else { panic!("behind the first") };
    let _first = goes(&mut first, &stay("a", 1));
    assert!(is_told(&mut waiting));
    let _second = goes(&mut second, &stay("a", 1));
}

#[test]
fn how_long_it_is_waited_for_what_went_elsewhere_is_counted_from_the_first_who_waits() {
    let order: Arc<Order> = Arc::default();
    let [mut first, mut second, mut third] = tickets(&order);
    let sent = goes(&mut first, &stay("a", 1));
    let Turn::Unsettled(_, since) = second.turn(&stay("b", 2), false) else { panic!("one is on its way") };
    drop(second);
    let Turn::Unsettled(_, still) = third.turn(&stay("b", 2), false) else { panic!("it still is") };
    assert_eq!(since, still, "one who gives up changes nothing for the others");
    drop(sent);
    let _sent = goes(&mut third, &stay("b", 2));
    let [mut fourth] = tickets(&order);
    let Turn::Unsettled(_, anew) = fourth.turn(&stay("c", 3), false) else { panic!("the third is on its way") };
    assert!(anew > since);
}
