use super::*;
use crate::core::cell::{Kind, NameCell, NameState, Spec};
use crate::core::ids::{Birth, Epoch, Incarnation, NodeId, Peer, RequestId};
use crate::core::rare::Rare;

fn entry(major: u64, groups: &[&str]) -> Entry {
    let host = Peer { node: NodeId::new("a").expect("valid"), incarnation: Incarnation(1) };
    let epoch = Epoch { major, minor: 0 };
    let kind = Kind {
        worker_type: "t".into(),
        version: 1,
        distribution: "rendezvous".into(),
        handoff: false,
        replicas: 1,
        patient: false,
    };
    let cell = NameCell {
        birth: Birth(1, 1),
        epoch,
        since: epoch,
        assigned: major,
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::default() }),
        request: RequestId { from: host.clone(), number: 1 },
        groups: groups.iter().map(|group| Arc::from(*group)).collect::<BTreeSet<_>>().into(),
        metadata: Rare::default(),
        attached: false,
        unsaved: false,
        past: Default::default(),
        outdone: Default::default(),
        holders: Rare::default(),
        restarts: Rare::default(),
        state: NameState::Running,
    };
    Entry { host, cell: Arc::new(cell), running: true }
}

#[test]
fn groups_follow_their_names() {
    let (index, name) = (Index::default(), Arc::from("n"));
    index.set(&name, Some(entry(1, &["g", "h"])));
    assert_eq!(index.group("g"), std::slice::from_ref(&name));
    index.set(&name, Some(entry(1, &["h"])));
    assert!(index.group("g").is_empty());
    index.set(&name, None);
    assert!(index.group("h").is_empty());
    assert!(index.groups.read().expect("not poisoned").is_empty());
}

#[test]
fn an_overlay_never_hides_something_newer() {
    let (index, name) = (Index::default(), Arc::from("n"));
    index.set(&name, Some(entry(5, &[])));
    index.overlay(&name, entry(4, &[]));
    assert_eq!(index.get("n").expect("known").cell.epoch.major, 5);
    index.overlay(&name, entry(6, &[]));
    assert_eq!(index.get("n").expect("known").cell.epoch.major, 6);
}

#[test]
fn a_change_is_one_of_what_was_said_and_not_of_what_an_answer_overlaid() {
    let (index, name) = (Index::default(), Arc::from("n"));
    let changes = |entry: Option<Entry>| {
        let mut seen = None;
        let major = |entry: &Entry| entry.cell.epoch.major;
        index.change(&name, entry, |old, new| seen = Some((old.map(major), new.map(major))));
        seen.expect("looked at")
    };
    index.overlay(&name, entry(4, &[]));
    assert_eq!(changes(Some(entry(4, &[]))), (None, Some(4)));
    index.overlay(&name, entry(5, &[]));
    index.overlay(&name, entry(6, &[]));
    index.overlay_end(&name);
    assert!(index.get("n").is_none());
    assert_eq!(changes(Some(entry(6, &[]))), (Some(4), Some(6)));
    // What was said already is not noted for a change that does not come.
    index.overlay(&name, entry(6, &[]));
    assert!(index.overlaid().is_empty());
    assert_eq!(changes(None), (Some(6), None));
}

#[test]
fn whoever_waits_for_a_name_is_woken_by_its_change_alone() {
    let (index, name) = (Index::default(), Arc::from("n"));
    let mut waiting = index.changed(&name);
    index.set(&Arc::from("other"), Some(entry(1, &[])));
    assert!(waiting.try_recv().is_err());
    index.set(&name, Some(entry(1, &[])));
    assert!(waiting.try_recv().is_ok());
}
