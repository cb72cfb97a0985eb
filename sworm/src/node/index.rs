//! What look-ups read: names and groups, beside the core, so that no reader ever waits for it.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ahash::HashMap;
use smol_str::SmolStr;
use tokio::sync::oneshot;

use super::home::Home;
use crate::core::Entry;
use crate::core::cell::Kind;
use crate::core::ids::NodeId;

/// Names, groups, and who waits for a change of a name.
#[derive(Default)]
pub struct Index {
    names: papaya::HashMap<Named, Arc<Found>, ahash::RandomState>,
    groups: RwLock<HashMap<Arc<str>, BTreeSet<Arc<str>>>>,
    nodes: RwLock<Vec<NodeId>>,
    /// What the core said of the names that an answer said more of, as long as it has said nothing since.
    overlaid: Mutex<HashMap<Arc<str>, Option<Entry>>>,
    waiters: Mutex<HashMap<Arc<str>, Waiters>>,
    home: Arc<Home>,
}

/// So many who wait for a change of one name may have gone away unnoticed.
const SWEEP_AT_LEAST: usize = 16;

/// Those who wait for a change of a name.
#[derive(Default)]
struct Waiters {
    waiting: Vec<oneshot::Sender<()>>,
    /// How many there are when those are left out that wait no longer.
    sweep_at: usize,
}

/// What is known of a name, and of which sworm it is. What a look-up needs comes first, to be in one line of the processor's
/// cache: the name's text (a long one is elsewhere) and the worker's type.
#[repr(C)]
pub(crate) struct Found {
    text: SmolStr,
    /// That of the cell, at hand without going there.
    pub(crate) kind: Arc<Kind>,
    pub(crate) home: Arc<Home>,
    /// As it is held here.
    pub(crate) name: Arc<str>,
    pub(crate) entry: Entry,
}

/// What is known of a name, found by its text.
struct Named(Arc<Found>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.text
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.as_str().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Named {}

impl Index {
    /// That of a sworm, empty.
    pub(super) fn of(home: Arc<Home>) -> Self {
        Self { home, ..Self::default() }
    }

    /// What is known of a name.
    pub fn get(&self, name: &str) -> Option<Entry> {
        self.names.pin().get(name).map(|found| found.entry.clone())
    }

    /// Looks at what is known of a name, without a copy of it.
    pub(crate) fn look<T>(&self, name: &str, look: impl FnOnce(Option<&Arc<Found>>) -> T) -> T {
        look(self.names.pin().get(name))
    }

    /// Everything that is known.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Entry)> {
        self.names.pin().values().map(|found| (found.name.clone(), found.entry.clone())).collect()
    }

    /// The names in a group, sorted.
    pub(crate) fn group(&self, group: &str) -> Vec<Arc<str>> {
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        groups.get(group).map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    /// The nodes that take part, sorted.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The core says that these nodes take part now.
    pub(crate) fn set_nodes(&self, nodes: Vec<NodeId>) {
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// The core says this of a name now.
    pub fn set(&self, name: &Arc<str>, entry: Option<Entry>) {
        self.change(name, entry, |_, _| ());
    }

    /// The same; what it has said before, and what it says now, are looked at afterwards.
    pub(crate) fn change(
        &self,
        name: &Arc<str>,
        entry: Option<Entry>,
        look: impl FnOnce(Option<&Entry>, Option<&Entry>),
    ) {
        let overlaid = self.overlaid().remove(name);
        let names = self.names.pin();
        let new_groups = entry.as_ref().map(|entry| entry.cell.groups.clone()).unwrap_or_default();
        let old = match entry.clone() {
            Some(entry) => {
                let (home, kind) = (self.home.clone(), entry.cell.spec.kind.clone());
                let text = SmolStr::from(name.clone());
                let found = Arc::new(Found { text, kind, home, name: name.clone(), entry });
                names.insert(Named(found.clone()), found)
            }
            None => names.remove(&**name),
        };
        let old = old.map(|old| &old.entry);
        look(overlaid.as_ref().map_or(old, Option::as_ref), entry.as_ref());
        let old_groups = old.map(|old| old.cell.groups.clone()).unwrap_or_default();
        if old_groups != new_groups {
            let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
            for left in old_groups.difference(&new_groups) {
                if let Some(members) = groups.get_mut(left) {
                    members.remove(name);
                    if members.is_empty() {
                        groups.remove(left);
                    }
                }
            }
            for joined in &*new_groups {
                groups.entry(joined.clone()).or_default().insert(name.clone());
            }
        }
        self.wake(name);
    }

    /// What an answer said of a name, until the core says more: a caller reads its own writes. Never puts an older
    /// assignment in the place of a newer one.
    pub(crate) fn overlay(&self, name: &Arc<str>, entry: Entry) {
        let older = |known: &Entry| {
            (known.cell.birth, known.cell.epoch, known.running) <= (entry.cell.birth, entry.cell.epoch, entry.running)
        };
        let known = self.get(name);
        if known.as_ref().is_none_or(|known| older(known) && *known != entry) {
            self.replace(name, known, Some(entry));
        }
    }

    /// What an answer said of a name's end, until the core says more.
    pub(crate) fn overlay_end(&self, name: &Arc<str>) {
        self.replace(name, self.get(name), None);
    }

    fn replace(&self, name: &Arc<str>, known: Option<Entry>, entry: Option<Entry>) {
        let said = self.overlaid().remove(name).unwrap_or(known);
        self.set(name, entry);
        self.overlaid().insert(name.clone(), said);
    }

    fn overlaid(&self) -> MutexGuard<'_, HashMap<Arc<str>, Option<Entry>>> {
        self.overlaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change of the name that comes after this call.
    pub(crate) fn changed(&self, name: &Arc<str>) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.entry(name.clone()).or_default().push(sender);
        receiver
    }

    fn wake(&self, name: &Arc<str>) {
        let woken = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        for waiter in woken.into_iter().flat_map(|waiters| waiters.waiting) {
            let _ = waiter.send(());
        }
    }
}

impl Waiters {
    fn push(&mut self, waiter: oneshot::Sender<()>) {
        // Each only when as many have come again: those who wait may be very many.
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|waiter| !waiter.is_closed());
            self.sweep_at = (self.waiting.len() * 2).max(SWEEP_AT_LEAST);
        }
        self.waiting.push(waiter);
    }
}

#[cfg(test)]
mod tests;
