//! What many cells say alike, held once: each cell comes off the wire with its own copy.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cell::{Kind, NameCell, NameState};
use super::ids::{NodeId, Peer};
use super::rare::Rare;

/// The parts of cells that are shared.
#[derive(Debug, Default)]
pub struct Shared {
    nodes: Pool<str>,
    kinds: Pool<Kind>,
    holders: Pool<BTreeSet<NodeId>>,
    groups: Pool<BTreeSet<Arc<str>>>,
}

impl Shared {
    /// Puts shared parts in the place of equal ones.
    pub fn share(&mut self, cell: &mut NameCell) {
        let mut kind = cell.spec.kind.clone();
        self.kinds.share(&mut kind);
        if !Arc::ptr_eq(&kind, &cell.spec.kind) {
            Arc::make_mut(&mut cell.spec).kind = kind;
        }
        self.share_peer(&mut cell.request.from);
        self.holders.share_rare(&mut cell.holders);
        self.groups.share_rare(&mut cell.groups);
        match &mut cell.state {
            NameState::Leaving { to } => self.share_peer(to),
            NameState::Released(release) => self.share_peer(&mut release.to),
            NameState::Starting | NameState::Running | NameState::Parked | NameState::Failed { .. } => {}
        }
    }

    /// Puts the shared text in the place of a node's id.
    pub fn share_peer(&mut self, peer: &mut Peer) {
        self.nodes.share(peer.node.text());
    }
}

/// Values of which equal ones are one.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    held: BTreeSet<Arc<T>>,
    /// With how many it is time to drop those that nobody else holds.
    sweep_at: usize,
}

/// So many that nobody else holds do not matter.
const SPARE: usize = 64;

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { held: BTreeSet::new(), sweep_at: SPARE }
    }
}

impl<T: ?Sized + Ord> Pool<T> {
    fn share(&mut self, value: &mut Arc<T>) {
        if let Some(held) = self.held.get(&**value) {
            *value = held.clone();
            return;
        }
        if self.held.len() >= self.sweep_at {
            self.held.retain(|held| Arc::strong_count(held) > 1);
            self.sweep_at = 2 * self.held.len() + SPARE;
        }
        self.held.insert(value.clone());
    }
}

impl<T: Ord> Pool<T> {
    fn share_rare(&mut self, value: &mut Rare<T>) {
        if let Some(content) = value.content() {
            self.share(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_and_those_that_nobody_holds_are_dropped() {
        let mut pool = Pool::<str>::default();
        let (mut one, mut two): (Arc<str>, Arc<str>) = ("a".into(), "a".into());
        pool.share(&mut one);
        pool.share(&mut two);
        assert!(Arc::ptr_eq(&one, &two));
        for n in 0..10 * SPARE {
            pool.share(&mut n.to_string().into());
        }
        assert!(pool.held.contains("a") && pool.held.len() <= 2 * SPARE, "{}", pool.held.len());
    }
}
