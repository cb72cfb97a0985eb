//! A core for tests that look at one decision: it stands in a cluster as if it had met the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cell::{Key, Kind, NameCell, NameState, Spec, Value};
use super::ids::{Birth, Epoch, Incarnation, NodeId, Peer, RequestId};
use super::lane::Lane;
use super::message::Phase;
use super::rare::Rare;
use super::state::Core;
use super::view::Member;
use super::{Config, Now, Recovered};
use crate::plugin::Strategies;

pub(super) const TYPE: &str = "counter";

pub(super) fn id(node: &str) -> NodeId {
    NodeId::new(node).expect("valid")
}

pub(super) fn peer(node: &str) -> Peer {
    Peer { node: id(node), incarnation: Incarnation(1) }
}

pub(super) fn now(mono_ms: u64) -> Now {
    Now { mono_ms, unix_ms: 1_700_000_000_000, random: 7 }
}

pub(super) fn config(me: &str) -> Config {
    Config {
        sworm: "s".into(),
        me: peer(me),
        agreed: "same".into(),
        unusual: None,
        hosts: BTreeMap::from([(TYPE.into(), 0)]),
        interval_ms: 200,
        grace_ms: 5_000,
        recover_wait_ms: 0,
        state_wait_ms: None,
        ack_in_memory: false,
        part_bytes: super::transfer::PART_BYTES,
        chunk_bytes: super::chunks::CHUNK_BYTES,
        restart: BTreeMap::new(),
        strategies: Strategies::linked().expect("no two have one name"),
        profile: Default::default(),
        rebalance: Default::default(),
        majority: None,
    }
}

/// What a cell that stands for a running worker says.
pub(super) fn running() -> NameCell {
    let kind = Kind {
        worker_type: TYPE.into(),
        version: 0,
        distribution: "rendezvous".into(),
        handoff: true,
        replicas: 1,
        patient: false,
    };
    NameCell {
        birth: Birth(1, 1),
        epoch: Epoch { major: 1, minor: 0 },
        since: Epoch { major: 1, minor: 0 },
        assigned: 1,
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::default() }),
        request: RequestId { from: peer("a"), number: 1 },
        groups: Rare::default(),
        metadata: Rare::default(),
        attached: false,
        unsaved: false,
        past: Rare::default(),
        outdone: Default::default(),
        holders: Rare::default(),
        restarts: Rare::default(),
        state: NameState::Running,
    }
}

/// One of the others becomes a client: it links no worker type.
pub(super) fn links_nothing(core: &mut Core, node: &str) {
    let peer = peer(node);
    let mut lane = core.directory.lane(&peer).expect("it has one").clone();
    let known = lane.max();
    lane.remove(&Key::WorkerType(TYPE.into()));
    core.directory.join(lane.delta(&peer, known));
}

/// The core of the first node, which sees all of them; each links the worker type and runs what is said.
pub(super) fn cluster(nodes: &[(&str, Vec<(String, NameCell)>)]) -> Core {
    let mut core = Core::new(config(nodes[0].0), Recovered::default(), now(0));
    core.phase = Phase::Up;
    for (node, names) in nodes {
        let peer = peer(node);
        core.view.members.insert(peer.clone(), Phase::Up);
        core.profiles.entry(peer.node.clone()).or_default();
        if peer == core.config.me {
            for (name, cell) in names {
                core.directory.put_name(&name.as_str().into(), cell.clone());
            }
            continue;
        }
        core.members.insert(peer.node.clone(), Member::new(peer.incarnation));
        let mut lane = Lane::default();
        lane.put(Key::WorkerType(TYPE.into()), Value::WorkerType(0));
        for (name, cell) in names {
            lane.put(Key::Name(name.as_str().into()), Value::Name(Arc::new(cell.clone())));
        }
        core.directory.join(lane.delta(&peer, 0));
    }
    core
}
