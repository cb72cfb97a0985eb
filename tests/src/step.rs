//! The steps of a move, and by what each is told.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sworm::core::Effect;
use sworm::core::cell::{Key, NameState, Value};
use sworm::core::message::Message;
use sworm::core::state::Core;

/// The steps of a move from one node to another, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
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
    /// Of a state in chunks, between the offer and its storing: the source sends one that the target lacks.
    SendChunk,
    /// The target stores it.
    StoreChunk,
    /// Of a state, when the worker has started from it: the target stores it as its own.
    Settle,
    /// The source erases it, since others hold what came after it: not where it is one of those.
    Erase,
}

impl Step {
    /// Those of every move, in order.
    pub const ALL: [Self; 12] = [
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

    /// Those of a state in chunks.
    pub const OF_CHUNKS: [Self; 2] = [Self::SendChunk, Self::StoreChunk];

    /// Those in which a state becomes the target's alone.
    pub const OF_STATES: [Self; 2] = [Self::Settle, Self::Erase];

    /// Whether it is only in some moves that it comes.
    pub fn is_rare(self) -> bool {
        Self::OF_CHUNKS.contains(&self) || self == Self::Erase
    }

    /// Whether it is the target that does it.
    pub fn is_the_targets(self) -> bool {
        use Step::{Answer, Run, Settle, Start, Store, StoreChunk, Take};
        matches!(self, StoreChunk | Store | Answer | Take | Start | Settle | Run)
    }

    /// Whether an effect of this core is this step of a name's move. A state may also be stored since it was saved meanwhile,
    /// or as a copy of one that was.
    pub fn is(self, name: &Arc<str>, effect: &Effect, core: &Core) -> bool {
        let states = |wanted: fn(Option<&NameState>) -> bool| {
            let Effect::Persist(delta) = effect else { return false };
            delta.cells.iter().any(|(_, key, value)| match (key, value) {
                (Key::Name(named), Some(Value::Name(cell))) => named == name && wanted(Some(&cell.state)),
                (Key::Name(named), None) => named == name && wanted(None),
                _ => false,
            })
        };
        match (self, effect) {
            // A replica is sent chunks all the time.
            (Self::SendChunk, Effect::SendChunk { name: named, .. })
            | (Self::StoreChunk, Effect::StoreChunk { name: named, .. }) => named == name && is_moving(core, name),
            (Self::Leaving, _) => states(|state| matches!(state, Some(NameState::Leaving { .. }))),
            (Self::Release, _) => states(|state| state.is_some_and(NameState::is_released)),
            (Self::Take, _) => states(|state| matches!(state, Some(NameState::Starting))),
            (Self::Run, _) => states(|state| matches!(state, Some(NameState::Running))),
            (Self::Forget, _) => states(|state| state.is_none()),
            (Self::Pause, Effect::Pause { name: named, .. })
            | (Self::Stop, Effect::Stop { name: named, .. })
            | (Self::Start, Effect::Start { name: named, .. }) => named == name,
            (Self::Save, Effect::StoreSnapshot { name: named, .. }) => named == name && core.has_paused_to_move(name),
            (Self::Store, Effect::StoreSnapshot { name: named, .. }) => named == name && core.has_accepted(name),
            (Self::Settle, Effect::StoreSnapshot { name: named, .. }) => named == name && core.settles(name),
            (Self::Erase, Effect::DeleteSnapshot { name: named }) => named == name,
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

/// Whether a node has heard that a name is being handed over.
fn is_moving(core: &Core, name: &Arc<str>) -> bool {
    core.directory().cells(name).any(|(_, cell)| matches!(cell.state, NameState::Leaving { .. }))
}
