//! The receiver of a move: it makes the state durable, says so, and starts the worker when the name was released to it.

use std::sync::Arc;

use super::Accepted;
use crate::core::Effect;
use crate::core::cell::{NameCell, NameState};
use crate::core::chunks::Shipment;
use crate::core::directory::Standing;
use crate::core::fetch::Why;
use crate::core::host::First;
use crate::core::ids::{Birth, Epoch, Peer};
use crate::core::message::{Message, Phase};
use crate::core::snapshots::Stored;
use crate::core::state::Core;

impl Core {
    pub(in crate::core) fn on_offer(
        &mut self,
        from: &Peer,
        name: &Arc<str>,
        birth: Birth,
        epoch: Epoch,
        snapshot: Option<Shipment>,
    ) {
        let fits = |snapshot: &Shipment| snapshot.is_sound() && snapshot.birth() == birth;
        // It must not take the place of what was saved since.
        let late = snapshot.as_ref().is_some_and(|snapshot| self.is_late(from, name, snapshot));
        if late || !self.is_able_to_take(name, birth) || !snapshot.as_ref().is_none_or(fits) {
            return self.refuse_offer(from, name, birth, epoch);
        }
        match snapshot.as_ref().and_then(|snapshot| self.lacks_chunks(name, snapshot)) {
            Some(manifest) => self.fetch(from, name, manifest, Why::Offer { epoch }),
            None => self.accept_offer(from, name, birth, epoch, snapshot),
        }
    }

    /// Whether an offer of a worker was accepted here: what is stored of it then is what it brings along.
    pub fn has_accepted(&self, name: &Arc<str>) -> bool {
        self.offers.contains_key(name)
    }

    fn is_able_to_take(&self, name: &Arc<str>, birth: Birth) -> bool {
        self.phase == Phase::Up && !self.local.contains_key(name) && !self.directory.is_banned(name, birth)
    }

    /// Takes an offer whose state has come in chunks, if that still goes: its source may have gone on meanwhile, and saved
    /// something newer here.
    pub(in crate::core) fn take_offer(&mut self, from: &Peer, name: &Arc<str>, epoch: Epoch, snapshot: Shipment) {
        let birth = snapshot.birth();
        let is_told = self.is_leaving_to_me(from, name);
        if !is_told && self.is_behind(from) && self.is_able_to_take(name, birth) {
            return; // the source may have said so, and offers it again
        }
        let stands = is_told && !self.is_late(from, name, &snapshot);
        if stands && self.is_able_to_take(name, birth) {
            self.accept_offer(from, name, birth, epoch, Some(snapshot));
        } else {
            self.refuse_offer(from, name, birth, epoch);
        }
    }

    /// Whether an offer is none any more: its source has gone on since, and something newer was saved here.
    fn is_late(&self, from: &Peer, name: &Arc<str>, offered: &Shipment) -> bool {
        let (birth, revision) = (offered.birth(), offered.revision());
        let newer = |stored: &&Stored| stored.birth == birth && stored.revision > revision;
        // What another worker had saved, which this one lacks, may look newer than all that it will ever save.
        let same = |stored: &Stored| stored.revision.epoch == revision.epoch;
        self.stored.get(name).filter(newer).is_some_and(|stored| same(stored) || !self.is_leaving_to_me(from, name))
    }

    fn is_leaving_to_me(&self, from: &Peer, name: &Arc<str>) -> bool {
        let me = &self.config.me;
        let mut cells = self.directory.cells(name);
        cells.any(|(host, cell)| host == from && matches!(&cell.state, NameState::Leaving { to } if **to == *me))
    }

    fn accept_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch, snapshot: Option<Shipment>) {
        self.offers.insert(name.clone(), Accepted { from: from.clone(), epoch });
        self.local_due_ms = 0;
        if let Some(snapshot) = snapshot {
            let theirs = self.directory.cells(name).find(|(host, _)| *host == from).map(|(_, cell)| cell.clone());
            if let Some(cell) = theirs {
                self.set_aside_what_lacks(name, birth, cell.since, &cell.past);
            }
            self.store(name, snapshot);
        }
        self.answer_offer(from, name, birth, epoch, true);
    }

    pub(in crate::core) fn refuse_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch) {
        self.answer_offer(from, name, birth, epoch, false);
    }

    fn answer_offer(&mut self, from: &Peer, name: &Arc<str>, birth: Birth, epoch: Epoch, accepted: bool) {
        let answer = Message::OfferAnswer { name: name.clone(), birth, epoch, accepted };
        self.once_durable(Effect::Send { to: from.clone(), message: Box::new(answer) });
    }

    /// Takes a name that was released to this node.
    pub(in crate::core) fn review_release(&mut self, name: &Arc<str>, standing: &Standing) {
        let me = &self.config.me;
        let mut released: Option<(Epoch, Arc<NameCell>)> = None;
        let mut highest = Epoch::default();
        for (_, cell) in self.directory.cells(name) {
            match &cell.state {
                NameState::Released(release) if release.to == *me => {
                    // It may have been here before, and what was said then is still there.
                    if released.as_ref().is_none_or(|(epoch, _)| release.epoch > *epoch) {
                        released = Some((release.epoch, cell.clone()));
                    }
                    highest = highest.max(cell.epoch);
                }
                NameState::Leaving { to } if **to == *me => return,
                _ => highest = highest.max(cell.epoch),
            }
        }
        let Some((epoch, cell)) = released else {
            if self.offers.get(name).is_some_and(|offer| {
                matches!(standing, Standing::Free) || standing.cell().is_some_and(|(_, cell)| cell.epoch >= offer.epoch)
            }) {
                self.offers.remove(name);
            }
            return;
        };
        self.offers.remove(name);
        let taken = matches!(standing, Standing::Claimed { .. }) || !self.may_take_over();
        if taken || highest >= epoch || self.local.contains_key(name) || self.directory.is_banned(name, cell.birth) {
            return;
        }
        let assigned = self.hybrid();
        // There is no grant to answer, but a lineage whose failed starts are tried again.
        let lineage = Some((self.config.me.clone(), First::Lineage));
        let cell = NameCell { state: NameState::Starting, ..cell.next(epoch, assigned) };
        self.take_in(name, cell, lineage);
    }
}
