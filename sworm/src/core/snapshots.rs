//! Saved states: what is kept of them here, and what for it is read.

use std::fmt;
use std::sync::Arc;

use super::Effect;
use super::cell::{NameState, Revision};
use super::chunks::{Manifest, Shipment};
use super::directory::Standing;
use super::fault::{Fault, planted};
use super::ids::{Birth, Epoch, Peer};
use super::message::Message;
use super::state::Core;

/// What the local store has of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The lineage.
    pub birth: Birth,
    /// The place in the worker's history.
    pub revision: Revision,
    /// Whether the worker asked for it.
    pub checkpoint: bool,
    /// Whether the store may have had a later one, which it has lost.
    pub doubtful: bool,
    /// Of a large one, whose bytes are in chunks.
    pub manifest: Option<Arc<Manifest>>,
}

impl Stored {
    /// What there is when that is stored.
    pub fn of(shipment: &Shipment) -> Self {
        let (birth, revision, checkpoint) = (shipment.birth(), shipment.revision(), shipment.checkpoint());
        Self { birth, revision, checkpoint, doubtful: false, manifest: shipment.manifest().cloned() }
    }
}

/// For what a snapshot is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For this node's disk and for the replicas.
    Replicas,
    /// For this node's disk.
    Disk,
    /// For nothing: nobody is told when it is durable.
    Nothing,
}

/// Why a state is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Not all of its chunks are there: those that were there already have gone with what they were of. When all are sent anew
    /// it is kept.
    NotWhole,
    /// The majority was lost before it counted as durable (mode "majority"): its worker is parked with what it has.
    NoMajority,
    /// For a reason that stays.
    Other(&'static str),
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotWhole => "not all of it is there",
            Self::NoMajority => "there is no majority any more",
            Self::Other(why) => why,
        })
    }
}

/// Why a snapshot is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To start a worker here.
    Start { name: Arc<str>, since: Epoch },
    /// To answer a host that looks for the best.
    Answer { name: Arc<str>, birth: Birth, to: Peer },
    /// To copy it to another replica, since one was lost.
    Copy { name: Arc<str>, since: Epoch },
    /// To give that which was set aside to a worker that lacks it.
    Offer { name: Arc<str>, birth: Birth, revision: Revision, to: Peer },
    /// To give it to the worker here, which lacks it: its chunks have come from that node.
    Merge { name: Arc<str>, manifest: Arc<Manifest>, from: Peer },
}

impl Purpose {
    /// Whose snapshot.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Start { name, .. }
            | Self::Answer { name, .. }
            | Self::Copy { name, .. }
            | Self::Offer { name, .. }
            | Self::Merge { name, .. } => name,
        }
    }
}

impl Core {
    /// Makes a state of a worker here ready to be stored and sent: of a large one the chunks are stored, first. `None`: those
    /// that were stored already are not all there.
    pub(super) fn pack(&mut self, name: &Arc<str>, state: Shipment) -> Option<Shipment> {
        let snapshot = match state {
            Shipment::Whole(snapshot) if snapshot.state.len() > self.config.chunk_bytes => snapshot,
            Shipment::Whole(_) => return Some(state),
            Shipment::Chunked(manifest) if self.is_staged(name, &manifest) => return Some(Shipment::Chunked(manifest)),
            Shipment::Chunked(_) => {
                self.drop_staged(name);
                return None;
            }
        };
        let manifest = Arc::new(Manifest::of(&snapshot, self.config.chunk_bytes));
        if !self.holds_chunks(name, &manifest) {
            for index in 0..manifest.chunks() {
                let bytes = snapshot.state.slice(manifest.range(index));
                self.out.push(Effect::StoreChunk { name: name.clone(), manifest: manifest.clone(), index, bytes });
            }
        }
        Some(Shipment::Chunked(manifest))
    }

    /// What was read of a name's state is kept so.
    pub(super) fn as_kept(&self, name: &Arc<str>, state: &Shipment) -> Shipment {
        let kept = self.stored.get(name).filter(|stored| stored.revision == state.revision());
        let manifest = kept.and_then(|stored| stored.manifest.clone());
        manifest.map_or_else(|| state.clone(), Shipment::Chunked)
    }

    /// Keeps a state whose chunks, if it has any, are here.
    pub(super) fn store(&mut self, name: &Arc<str>, snapshot: Shipment) {
        match self.stored.insert(name.clone(), Stored::of(&snapshot)) {
            Some(before) => self.is_let_go(name, before.manifest.as_ref(), Some(&snapshot)),
            // There may be one on the disk that could not be read: it takes its chunks along.
            None => self.is_replaced_by(name, &snapshot),
        }
        if let Some(local) = self.local.get_mut(name) {
            local.unreadable = false;
        }
        self.out.push(Effect::StoreSnapshot { name: name.clone(), snapshot });
    }

    /// A state of whose store something was lost has turned out to be the newest: that is remembered.
    pub(super) fn is_sound_again(&mut self, name: &Arc<str>, snapshot: Shipment) {
        match self.stored.get_mut(name) {
            Some(stored) if stored.revision != snapshot.revision() => stored.doubtful = false,
            Some(_) => self.store(name, snapshot),
            None => {}
        }
    }

    /// What is kept here of a name cannot be read any more. Whether there was any.
    pub(super) fn lose_stored(&mut self, name: &Arc<str>) -> bool {
        let Some(stored) = self.stored.remove(name) else { return false };
        self.is_let_go(name, stored.manifest.as_ref(), None);
        if let Some(local) = self.local.get_mut(name).filter(|local| local.birth == stored.birth) {
            local.unreadable |= stored.checkpoint || local.granted.is_some();
        }
        true
    }

    pub(super) fn on_loaded(&mut self, purpose: Purpose, snapshot: Option<Shipment>) {
        let snapshot = snapshot.filter(Shipment::is_sound);
        match purpose {
            Purpose::Answer { name, birth, to } => {
                if snapshot.is_none() {
                    self.lose_stored(&name);
                }
                let snapshot = snapshot.filter(|snapshot| snapshot.birth() == birth);
                let held = self.held_of(&name, birth).filter(|_| snapshot.is_some());
                self.send(&to, Message::BestIs { name, birth, snapshot, held });
            }
            Purpose::Start { name, since } => self.start_from_loaded(&name, since, snapshot),
            Purpose::Offer { name, birth, revision, to } => self.offer_diverged(name, birth, revision, &to, snapshot),
            Purpose::Copy { name, since } => {
                self.copying.remove(&name);
                match snapshot {
                    Some(snapshot) => self.copy(&name, since, snapshot),
                    // It cannot be read: the next checkpoint takes its place, or else those who have copies are asked.
                    None => drop(self.lose_stored(&name)),
                }
            }
            Purpose::Merge { name, manifest, from } => {
                self.drop_chunks(&name, manifest);
                if let Some(snapshot @ Shipment::Whole(_)) = snapshot {
                    self.on_diverged(&from, &name, snapshot);
                }
            }
        }
    }

    /// Forgets a copy that the name's host does not count on any more.
    pub(super) fn review_snapshot(&mut self, name: &Arc<str>, standing: &Standing) {
        let Some(stored) = self.stored.get(name).cloned() else { return };
        let early = planted(Fault::DeleteBeforeProof);
        let needless = match standing {
            Standing::Claimed { host, cell } => {
                *host != self.config.me
                    && (cell.state == NameState::Running || early)
                    && cell.birth == stored.birth
                    && (!cell.holders.is_empty() && !cell.holders.contains(&self.config.me.node) || early)
                    && (!cell.lacks(stored.revision) || planted(Fault::DropDiverged) || early)
                    && (cell.since > stored.revision.epoch
                        || cell.outdoes(stored.revision)
                        || planted(Fault::DropPromisedCopy) && cell.since == stored.revision.epoch)
            }
            Standing::Free | Standing::Source { .. } => false,
        };
        if needless || self.directory.is_banned(name, stored.birth) {
            self.forget_stored(name);
        }
    }

    /// Whether a worker elsewhere counts on this node for its state: fewer of the others have a copy than could.
    pub(super) fn is_counted_on(&self) -> bool {
        self.stored.keys().any(|name| match self.standing(name) {
            Standing::Claimed { host, cell } if host != self.config.me => {
                let able = || self.view.up().filter(|peer| self.links(peer, &cell.spec.kind));
                let copies = able().filter(|peer| cell.holders.contains(&peer.node)).count();
                cell.holders.contains(&self.config.me.node)
                    && copies < able().count().min(1 + usize::from(cell.spec.replicas))
            }
            // Whoever starts it next will ask for it.
            Standing::Source { host, cell } => {
                host != self.config.me
                    && cell.spec.handoff
                    && cell.holders.contains(&self.config.me.node)
                    && !self.view.up().any(|peer| cell.holders.contains(&peer.node))
            }
            _ => false,
        })
    }

    pub(super) fn tick_snapshots(&mut self) {
        self.tick_staged();
        self.tick_keeping();
        self.tick_slow();
        self.tell_the_unheard();
        self.tick_restoring();
        self.make_up_for_lost_copies();
    }
}
