//! How much a change weighs: about as many bytes as it has when it is encoded, and hardly ever less.

use super::Change;
use crate::core::cell::{Key, NameCell, NameState, Value};

/// What every change has: its number, and the kinds of key and value.
const CHANGE: usize = 32;
/// What every statement about a name has.
const NAME: usize = 288;
/// A peer beside its text, a revision, a text or a number.
const PEER: usize = 32;
const REVISION: usize = 56;
const ITEM: usize = 9;
/// A revision without the names of its parts.
const PAST: usize = 24;

/// Whether these changes together weigh no more than the limit.
pub fn fits(changes: &[Change], limit: usize) -> bool {
    let mut total = 0;
    changes.iter().all(|(_, key, value)| {
        total += weight(key, value.as_ref());
        total <= limit
    })
}

/// What a change weighs.
pub(super) fn weight(key: &Key, value: Option<&Value>) -> usize {
    let key = match key {
        Key::Name(text) | Key::Ban(text) | Key::WorkerType(text) => text.len(),
        Key::Sworm | Key::Seen | Key::Voters | Key::Unusual => 0,
    };
    let value = match value {
        Some(Value::Name(cell)) => return name_weight(key, Some(cell)),
        Some(Value::Ban(births)) => births.len() * 2 * ITEM,
        Some(Value::Sworm(text) | Value::Unusual(text)) => text.len(),
        Some(Value::Seen(lanes)) => lanes.keys().map(|lane| PEER + lane.node.len()).sum(),
        Some(Value::Voters(ballot)) => {
            let lists = ballot.decided.iter().chain(&ballot.proposed);
            lists.flat_map(|list| &list.nodes).map(|node| ITEM + node.len()).sum::<usize>() + 2 * REVISION
        }
        Some(Value::WorkerType(_)) | None => 0,
    };
    CHANGE + key + value
}

/// What a statement about a name of so many bytes weighs.
pub(super) fn name_weight(name: usize, cell: Option<&NameCell>) -> usize {
    let Some(cell) = cell else { return CHANGE + name };
    let kind = &cell.spec.kind;
    let texts = kind.worker_type.len() + kind.distribution.len() + cell.spec.value.len() + cell.request.from.node.len();
    let groups: usize = cell.groups.iter().map(|group| group.len() + ITEM).sum();
    let metadata: usize = cell.metadata.iter().map(|(key, value)| key.len() + value.len() + 2 * ITEM).sum();
    let holders: usize = cell.holders.iter().map(|node| node.len() + ITEM).sum();
    let past = if cell.past.is_empty() { 0 } else { ITEM } + cell.past.len() * PAST;
    let state = match &cell.state {
        NameState::Starting | NameState::Running | NameState::Parked => 0,
        NameState::Leaving { to } => PEER + to.node.len(),
        NameState::Released(release) => PEER + release.to.node.len() + 2 * REVISION,
        NameState::Failed { reason } => ITEM + reason.len(),
    };
    CHANGE + NAME + name + texts + groups + metadata + holders + past + cell.restarts.len() * ITEM + state
}
