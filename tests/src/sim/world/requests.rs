//! What nodes are asked for, and the answers.

use std::collections::BTreeMap;
use std::sync::Arc;

use sworm::NodeId;

use sworm::core::Input;
use sworm::core::cell::{Kind, Spec};
use sworm::core::message::{Answer, Ask, Registering};

use super::{Asked, World};
use crate::sim::kinds;

impl World {
    /// Asks a node to start a worker that counts from a number.
    pub fn register(&mut self, on: &str, name: &str, from: u64) -> u64 {
        self.register_at(on, name, from, None)
    }

    /// Asks a node to start a worker that counts from a number, perhaps on a certain node.
    pub fn register_at(&mut self, on: &str, name: &str, from: u64, at: Option<&str>) -> u64 {
        let (worker_type, distribution) = kinds::of(name, &self.options);
        let spec = Spec {
            kind: Arc::new(Kind {
                worker_type: worker_type.into(),
                version: self.version,
                distribution: distribution.into(),
                handoff: self.handoff,
                replicas: self.options.replicas,
                patient: self.options.patient,
            }),
            value: from.to_be_bytes().into(),
        };
        let registering = Registering {
            name: name.into(),
            spec: Arc::new(spec),
            on: at.map(|at| NodeId::new(at).expect("valid")),
            metadata: BTreeMap::new(),
            attached: false,
            replaces_failed: true,
        };
        self.ask(on, Ask::Register(Box::new(registering)))
    }

    /// Asks a node to end a name.
    pub fn unregister(&mut self, on: &str, name: &str) -> u64 {
        self.ask(on, Ask::Unregister { name: name.into(), birth: None })
    }

    /// Asks a node for something; the number is that of the request.
    pub fn ask(&mut self, on: &str, ask: Ask) -> u64 {
        const WITHIN_MS: u64 = 20_000;
        let number = self.asked.len() as u64 + 1;
        self.note(|| {
            let what = match &ask {
                Ask::Register(registering) => format!("to register from {:?}", registering.spec.value.last()),
                Ask::Unregister { .. } => "to unregister".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{on} asks {number}: {what} {}", ask.name())
        });
        let node = &self.nodes[on];
        let until_ms = node.now(self.now_ms, 0).mono_ms + WITHIN_MS;
        let me = node.me.clone();
        self.tell(0, &me, Input::Ask { number, ask: ask.clone(), until_ms });
        let until_ms = self.now_ms + WITHIN_MS + 1_000;
        self.laws.groups.asked(number, &ask, self.now_ms, until_ms);
        let moves = matches!(ask, Ask::Move { .. }).then(|| ask.name().clone());
        self.asked.insert(number, Asked { on: on.to_owned(), ask, until_ms, answer: None });
        if let Some(name) = moves {
            self.regroup_sometimes(&name, 2);
        }
        number
    }

    /// Where there are groups, one in so many times a worker that runs is to join or to leave one of a few.
    pub(in crate::sim) fn regroup_sometimes(&mut self, name: &str, one_in: u32) {
        if !self.options.groups || self.groups_rng.u32(0..one_in) > 0 || self.places(name).is_empty() {
            return;
        }
        let group: Arc<str> = format!("group-{}", self.groups_rng.u32(0..3)).into();
        let name: Arc<str> = name.into();
        let joins = self.groups_rng.u32(0..3) > 0;
        self.regroup(if joins { Ask::Join { name, group } } else { Ask::Leave { name, group } });
    }

    /// What was done of a group is undone at once now and then.
    pub(in crate::sim) fn undo_sometimes(&mut self, number: u64) {
        let undone = match self.asked.get(&number).map(|asked| asked.ask.clone()) {
            Some(Ask::Join { name, group }) => Ask::Leave { name, group },
            Some(Ask::Leave { name, group }) => Ask::Join { name, group },
            _ => return,
        };
        if self.options.groups && self.groups_rng.u32(0..3) == 0 {
            self.regroup(undone);
        }
    }

    fn regroup(&mut self, ask: Ask) {
        let awake = self.awake();
        if !awake.is_empty() {
            let on = awake[self.groups_rng.usize(0..awake.len())].clone();
            self.ask(&on, ask);
        }
    }

    /// Waits for the answer to a request; its time must not be over before.
    pub fn answer(&mut self, number: u64) -> Answer {
        self.run_until("an answer", |world| world.asked[&number].answer.is_some());
        self.asked[&number].answer.clone().flatten().expect("answered in time")
    }
}
