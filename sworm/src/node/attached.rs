//! Which names are attached here to a task that still wants them: whoever has asked for one waits for it, or has its inbox.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sworm::{Slot, SwormShared};
use crate::core::Entry;
use crate::core::ids::{Birth, Pid, RequestId};

/// The numbers of the requests whose names are wanted.
#[derive(Default)]
pub(crate) struct Attachments(Mutex<HashSet<u64>>);

/// Keeps an attached name, from before it is asked for until its inbox is dropped. A name that nobody keeps is taken away
/// when it is looked after.
pub(crate) struct Attachment {
    number: u64,
    sworm: Arc<SwormShared>,
}

impl Attachments {
    fn numbers(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attachment {
    /// That of a name which is about to be asked for.
    pub(crate) fn new(sworm: &Arc<SwormShared>) -> Self {
        let (number, sworm) = (sworm.next_ask(), sworm.clone());
        sworm.attachments.numbers().insert(number);
        Self { number, sworm }
    }

    /// The number of the request.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.sworm.attachments.numbers().remove(&self.number);
    }
}

impl SwormShared {
    /// Whether a task of this node wants the name that was given for this request.
    pub(super) fn is_kept(&self, request: &RequestId) -> bool {
        request.from == self.node.me && self.attachments.numbers().contains(&request.number)
    }

    /// A task has got its name: from now on messages go to its inbox. If the name has ended meanwhile, which nobody could tell it,
    /// the inbox has ended too.
    pub(crate) fn attach(&self, pid: &Pid, birth: Birth, slot: Slot) {
        self.slots().insert(pid.name.clone(), slot);
        let is_it = |entry: &Entry| entry.host == self.node.me && entry.cell.birth == birth;
        if !self.index.get(&pid.name).is_some_and(|entry| is_it(&entry)) {
            self.drop_detached(&pid.name);
        }
    }

    /// An attached name that is not here any more, as look-ups show already, is gone from its task too.
    pub(super) fn drop_detached(&self, name: &Arc<str>) {
        let mut slots = self.slots();
        if slots.get(name).is_some_and(|slot| slot.task.is_none()) {
            slots.remove(name);
        }
    }
}
