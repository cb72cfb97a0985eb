use super::*;
use crate::core::cell::{Key, NameState, Value};
use crate::core::fixture::{cluster, peer, running};
use crate::core::message::{Answer, Ask, Message};

const NUMBER: u64 = 7;

fn name() -> Arc<str> {
    "x".into()
}

/// A node of three that has asked for something.
fn asker() -> Core {
    let mut core = cluster(&[("a", vec![]), ("b", vec![]), ("c", vec![])]);
    core.on_ask(NUMBER, Ask::Restart { name: name() }, 60_000);
    core.out.clear();
    core
}

/// How much of the lane of b is known here.
fn known(core: &Core) -> u64 {
    core.directory.lane(&peer("b")).expect("it has one").max()
}

/// b states something, and this node hears of it.
fn b_states(core: &mut Core, state: impl FnOnce(&mut crate::core::lane::Lane)) {
    let before = known(core);
    let mut lane = core.directory.lane(&peer("b")).expect("it has one").clone();
    state(&mut lane);
    core.directory.join(lane.delta(&peer("b"), before));
}

fn put(lane: &mut crate::core::lane::Lane) {
    lane.put(Key::Name(name()), Value::Name(Arc::new(running())));
}

/// That x runs on b, as b stated at that number.
fn registered(said: u64) -> Answer {
    Ok(Done::Registered { name: name(), host: peer("b"), cell: Arc::new(running()), said })
}

/// What look-ups are to say of x because of the answer.
fn overlays(core: &Core) -> Vec<&Peer> {
    let overlays = core.out.iter().filter_map(|effect| match effect {
        Effect::Overlay { name, entry } if **name == *"x" => Some(&entry.host),
        _ => None,
    });
    overlays.collect()
}

#[test]
fn what_an_answer_says_is_shown_until_as_much_of_its_host_is_known() {
    let mut core = asker();
    let said = known(&core) + 1;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    assert_eq!(overlays(&core), [&peer("b")]);
    core.forget_told();
    assert!(core.knows_better(&name(), None), "nothing has come meanwhile");
    b_states(&mut core, put);
    core.forget_told();
    assert!(!core.knows_better(&name(), None));
}

#[test]
fn an_answer_that_comes_late_is_not_shown() {
    let mut core = asker();
    b_states(&mut core, put);
    let said = known(&core);
    b_states(&mut core, |lane| lane.remove(&Key::Name(name())));
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    assert_eq!(overlays(&core), [] as [&Peer; 0], "the name has ended since");
    assert!(core.answers.iter().any(|effect| matches!(effect, Effect::Answer { number: NUMBER, answer: Ok(_) })));
}

#[test]
fn whoever_is_answered_finds_what_that_says() {
    let mut core = asker();
    b_states(&mut core, put);
    let said = known(&core);
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    let effects = core.flush(crate::core::fixture::now(1));
    let shown = effects.iter().position(|effect| matches!(effect, Effect::Index { name, .. } if **name == *"x"));
    let answered = effects.iter().position(|effect| matches!(effect, Effect::Answer { number: NUMBER, .. }));
    assert!(shown.is_some() && shown < answered, "{shown:?}, {answered:?}");
}

#[test]
fn an_end_that_is_known_counts_more_than_an_answer() {
    let mut core = asker();
    let said = known(&core) + 5;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    core.directory.ban(&name(), [running().birth]);
    assert!(!core.knows_better(&name(), None));
    // Nor is an answer shown of what has ended already.
    core.out.clear();
    core.on_ask(NUMBER + 1, Ask::Restart { name: name() }, 60_000);
    core.on_answer(&peer("c"), NUMBER + 1, 1, registered(said));
    assert_eq!(overlays(&core), [] as [&Peer; 0]);
}

#[test]
fn an_answer_about_a_node_that_is_gone_is_not_shown() {
    let mut core = asker();
    let said = known(&core) + 1;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    core.view.members.remove(&peer("b"));
    core.forget_told();
    assert!(!core.knows_better(&name(), None), "it has died since");

    let mut core = asker();
    core.view.members.remove(&peer("b"));
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    assert_eq!(overlays(&core), [] as [&Peer; 0], "it had died before");
}

#[test]
fn what_is_newer_than_an_answer_is_shown() {
    let mut core = asker();
    let said = known(&core) + 1;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    let entry = |major| {
        let epoch = Epoch { major, minor: 0 };
        let cell = Arc::new(crate::core::cell::NameCell { epoch, state: NameState::Running, ..running() });
        Entry { host: peer("c"), cell, running: true }
    };
    assert!(core.knows_better(&name(), Some(&entry(1))));
    assert!(!core.knows_better(&name(), Some(&entry(2))), "it has moved");
    assert!(!core.knows_better(&name(), None), "and ended");
}

#[test]
fn a_name_that_was_just_registered_elsewhere_can_join_a_group() {
    let mut core = asker();
    let said = known(&core) + 1;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    core.out.clear();
    core.on_ask(NUMBER + 1, Ask::Join { name: name(), group: "g".into() }, 60_000);
    let asked = core.out.iter().find_map(|effect| match effect {
        Effect::Send { to, message } if matches!(**message, Message::Ask { .. }) => Some(to.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(peer("b")));
}

#[test]
fn what_this_node_has_ended_is_not_shown_again_for_an_answer_of_before() {
    let mut core = asker();
    let said = known(&core) + 1;
    core.on_answer(&peer("c"), NUMBER, 1, registered(said));
    core.on_ask(NUMBER + 1, Ask::Unregister { name: name(), birth: None }, 60_000);
    let births = [running().birth].into();
    core.on_answer(&peer("c"), NUMBER + 1, 1, Ok(Done::Unregistered { name: name(), births }));
    assert!(core.told_host("x").is_none());
}
