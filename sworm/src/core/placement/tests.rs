//! What is said of a place for a name, and whether that comes about.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Explanation, Placing};
use crate::core::cell::{Kind, NameCell, NameState, Release};
use crate::core::fixture::{cluster, id, peer, running};
use crate::core::ids::Epoch;
use crate::core::message::{Beat, Phase, Refusal};
use crate::core::state::Core;
use crate::core::view::Member;

fn name() -> Arc<str> {
    "alice".into()
}

/// The name stands so in the lane of a node that is not in view any more, if it is not a's.
fn core(cell: Option<NameCell>) -> Core {
    let names = cell.map(|cell| ("alice".to_owned(), cell)).into_iter().collect();
    let mut core = cluster(&[("a", Vec::new()), ("b", Vec::new()), ("c", Vec::new()), ("d", names)]);
    core.view.members.remove(&peer("d"));
    core.members.remove(&id("d"));
    core
}

fn kind() -> Kind {
    (*running().spec.kind).clone()
}

fn explained(core: &Core) -> Explanation {
    core.explain(&name(), &kind())
}

/// Some node that rendezvous would not choose.
fn another(core: &Core) -> &'static str {
    let chosen = explained(core).choice.expect("there are three");
    ["a", "b", "c"].into_iter().find(|node| chosen != *node).expect("one of three")
}

#[test]
fn a_name_without_a_node_is_said_to_start_where_it_does_with_one_that_holds_its_state() {
    let holder = another(&core(None));
    let failed = NameState::Failed { reason: "it broke".into() };
    // On a node that is gone it runs as well as not.
    for state in [NameState::Running, NameState::Parked, failed] {
        let holders = BTreeSet::from([id(holder), id("d")]);
        let cell = NameCell { state: state.clone(), holders: holders.into(), ..running() };
        let core = core(Some(cell.clone()));
        let explained = explained(&core);
        assert_eq!(explained.choice, Ok(id(holder)), "{state:?}");
        assert_eq!(core.place_adopted(&name(), &cell).map(|to| to.node), Ok(id(holder)), "{state:?}");
        let holds: Vec<_> = explained.candidates.iter().filter(|c| c.holds_state).map(|c| &c.candidate.node).collect();
        assert_eq!(holds, [&id(holder)]);
        let line = format!("{holder}: weight 1, 0 names, holds its state, score ");
        assert!(explained.to_string().contains(&line), "{explained}");
    }
}

#[test]
fn who_must_not_run_a_name_takes_no_part_in_what_scores_depend_on() {
    let mut core = core(None);
    core.view.members.insert(peer("a"), Phase::Leaving);
    for strategy in ["random", "ring"] {
        let explained = core.explain(&name(), &Kind { distribution: strategy.into(), ..kind() });
        let chosen = explained.choice.clone().expect("there are two");
        let able: Vec<_> = explained.candidates.iter().filter(|one| one.excluded.is_none()).collect();
        assert_eq!(able.len(), 2, "{explained}");
        let best = able.into_iter().max_by_key(|one| one.score).expect("two");
        assert!(best.candidate.node == chosen && best.score.is_some(), "{explained}");
        assert_eq!(explained.candidates[0].score.is_none(), strategy == "random", "{explained}");
    }
}

#[test]
fn a_name_that_was_handed_over_is_said_to_start_where_it_was_handed_to() {
    let to = another(&core(None));
    let release = Release { to: peer(to), epoch: Epoch { major: 2, minor: 0 }, snapshot: None };
    let cell = NameCell { state: NameState::Released(Box::new(release)), ..running() };
    assert_eq!(explained(&core(Some(cell))).choice, Ok(id(to)));
}

#[test]
fn nodes_that_are_there_and_not_in_the_sworm_are_told_of() {
    let mut core = core(None);
    core.view.members.retain(|member, _| member.node == "a");
    core.view.members.insert(peer("a"), Phase::Leaving);
    core.members.retain(|_, _| false);
    for node in ["closed", "joining"] {
        core.members.insert(id(node), Member::new(peer(node).incarnation));
    }
    let phase = Phase::Joining;
    let [counter, view, changes, seen, max, durable, heard, holds, time] = [0; 9];
    let beat = Beat { counter, phase, view, changes, seen, max, durable, heard, holds, time };
    core.members.get_mut(&id("joining")).expect("it was put in").beat = Some((beat, 0));
    let mut gone = Member::new(peer("gone").incarnation);
    gone.present = false;
    core.members.insert(id("gone"), gone);
    let (name, kind) = (name(), kind());
    let refused = |on: Option<&str>| {
        let on = on.map(id);
        let placing = Placing { name: &name, kind: &kind, asked: None, on: on.as_ref(), but: None, planned: None };
        match core.place(placing) {
            Err(Refusal::NoCandidate { why }) => why,
            other => panic!("{other:?}"),
        }
    };
    let all = "closed has not opened the sworm, joining is about to join";
    assert_eq!(refused(None), format!("no node can run worker type \"counter\": a is leaving, {all}"));
    let cannot = |node| format!("node {node} cannot run worker type \"counter\": {node}");
    assert_eq!(refused(Some("closed")), cannot("closed") + " has not opened the sworm");
    assert_eq!(refused(Some("gone")), cannot("gone") + " is not there");
    let explained = explained(&core);
    let told: Vec<_> =
        explained.candidates.iter().map(|c| (c.candidate.node.as_str(), c.excluded.as_deref().unwrap_or(""))).collect();
    let expected = [("a", "is leaving"), ("closed", "has not opened the sworm"), ("joining", "is about to join")];
    assert_eq!(told, expected);
}
