//! A process dies right before or right after one step of a move.

use std::sync::Arc;

use sworm::core::Effect;
use sworm::core::cell::{Key, NameState, Value};
use sworm::core::ids::Peer;
use sworm::core::message::Message;

use super::world::{Event, World};

/// The steps of a move from one node to another, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The source states that the name is leaving.
    Leaving,
    /// It pauses the worker.
    Pause,
    /// It stores the state.
    Save,
    /// It sends the state.
    Offer,
    /// The target stores it.
    Store,
    /// It says so.
    Answer,
    /// The source ends the worker.
    Stop,
    /// It states that the name is released.
    Release,
    /// The target states that it starts it.
    Take,
    /// It starts the worker.
    Start,
    /// It states that the worker runs.
    Run,
    /// The source takes back what it has stated.
    Forget,
}

impl Step {
    pub(super) const ALL: [Self; 12] = [
        Self::Leaving,
        Self::Pause,
        Self::Save,
        Self::Offer,
        Self::Store,
        Self::Answer,
        Self::Stop,
        Self::Release,
        Self::Take,
        Self::Start,
        Self::Run,
        Self::Forget,
    ];

    fn is_the_targets(self) -> bool {
        matches!(self, Self::Store | Self::Answer | Self::Take | Self::Start | Self::Run)
    }

    /// Whether an effect is this step of a name's move.
    fn is(self, name: &Arc<str>, effect: &Effect) -> bool {
        let states = |wanted: fn(Option<&NameState>) -> bool| {
            let Effect::Persist(delta) = effect else { return false };
            delta.cells.iter().any(|(_, key, value)| match (key, value) {
                (Key::Name(named), Some(Value::Name(cell))) => named == name && wanted(Some(&cell.state)),
                (Key::Name(named), None) => named == name && wanted(None),
                _ => false,
            })
        };
        match (self, effect) {
            (Self::Leaving, _) => states(|state| matches!(state, Some(NameState::Leaving { .. }))),
            (Self::Release, _) => states(|state| state.is_some_and(NameState::is_released)),
            (Self::Take, _) => states(|state| matches!(state, Some(NameState::Starting))),
            (Self::Run, _) => states(|state| matches!(state, Some(NameState::Running))),
            (Self::Forget, _) => states(|state| state.is_none()),
            (Self::Pause, Effect::Pause { name: named, .. })
            | (Self::Save | Self::Store, Effect::StoreSnapshot { name: named, .. })
            | (Self::Stop, Effect::Stop { name: named, .. })
            | (Self::Start, Effect::Start { name: named, .. }) => named == name,
            (Self::Offer, Effect::Send { message, .. }) => {
                matches!(&**message, Message::Offer { name: named, .. } if named == name)
            }
            (Self::Answer, Effect::Send { message, .. }) => {
                matches!(&**message, Message::OfferAnswer { name: named, .. } if named == name)
            }
            _ => false,
        }
    }
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dies {
    Source,
    Target,
    Both,
}

/// Where it happens.
#[derive(Clone, Debug)]
pub(super) struct Trap {
    pub(super) name: Arc<str>,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) step: Step,
    /// Before the step, or after it.
    pub(super) before: bool,
    pub(super) dies: Dies,
}

impl World {
    /// Of what a node is about to do, that which comes before it dies.
    pub(super) fn up_to_the_trap(&mut self, at: &Peer, mut effects: Vec<Effect>) -> Vec<Effect> {
        let Some(trap) = &self.trap else { return effects };
        let acts = if trap.step.is_the_targets() { &trap.target } else { &trap.source };
        let Some(found) = effects.iter().position(|effect| trap.step.is(&trap.name, effect)) else { return effects };
        if *acts != *at.node {
            return effects;
        }
        let Some(trap) = self.trap.take() else { return effects };
        let dying: Vec<String> = match trap.dies {
            Dies::Source => vec![trap.source],
            Dies::Target => vec![trap.target],
            Dies::Both => vec![trap.source, trap.target],
        };
        self.note(|| format!("{dying:?} die at {:?}", trap.step));
        if dying.iter().any(|node| **node == *at.node) {
            effects.truncate(if trap.before { found } else { found + 1 });
        }
        for node in dying {
            if let Some(running) = self.nodes.get_mut(&node) {
                // It does nothing any more.
                running.paused_until = Some(self.now_ms + 1);
                self.push(0, Event::Dies { node });
            }
        }
        effects
    }
}
