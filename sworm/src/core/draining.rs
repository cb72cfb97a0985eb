//! Emptying a node: all its workers go elsewhere, and it takes nothing in, until it is told otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Effect;
use super::cell::NameState;
use super::fault::{Fault, planted};
use super::host::LocalPhase;
use super::message::Phase;
use super::moves::Wanted;
use super::state::Core;

/// What came of emptying a node: see [`Node::drain`](crate::Node::drain).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// How many workers have gone to other nodes.
    pub moved: u64,
    /// The names that are still there.
    pub stays: Vec<Stays>,
}

/// A name that has not been moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stays {
    /// The sworm.
    pub sworm: String,
    /// The name.
    pub name: Arc<str>,
    /// Why it could not be, or how far that is.
    pub why: String,
}

/// This node is being emptied, and takes nothing in.
#[derive(Debug, Default)]
pub struct Draining {
    /// The newest call that asked for it.
    call: u64,
    moved: u64,
    /// What cannot go, and why.
    stays: BTreeMap<Arc<str>, String>,
    /// What went wrong with those that are tried again.
    failed: BTreeMap<Arc<str>, String>,
    /// How many are parked here, whose states nobody else may have, and since when it is as many.
    parked: (usize, u64),
    told: bool,
}

/// For how long nodes that stay may take over none of the names that are parked here.
const TAKEN_OVER_MS: u64 = 30_000;

impl Core {
    /// This node is to be emptied, by the call of that number; or to take part as before. Before it has joined nothing is
    /// there to go, but it takes nothing in then either.
    pub(super) fn on_drain(&mut self, call: Option<u64>) {
        match call {
            Some(_) if self.leaving.is_some() => {}
            Some(call) => {
                // One that is under way goes on, and counts what has gone.
                let under_way = self.draining.take().filter(|draining| !draining.told);
                self.draining = Some(Draining { call, ..under_way.unwrap_or_default() });
                if self.phase == Phase::Up {
                    self.phase = Phase::Draining;
                }
            }
            None => {
                if let Some(draining) = self.draining.take().filter(|draining| !draining.told) {
                    self.out.push(Effect::Drained { call: draining.call, drained: self.so_far(&draining) });
                }
                if self.phase == Phase::Draining {
                    self.phase = Phase::Up;
                }
                self.wishes.retain(|_, wish| !wish.is_to_drain());
            }
        }
        self.beat_soon();
    }

    /// What has gone by now, and what is still there, if this node is being emptied.
    pub fn drained_so_far(&self) -> Option<Drained> {
        self.draining.as_ref().map(|draining| self.so_far(draining))
    }

    pub(super) fn tick_drain(&mut self) {
        let Some(mut draining) = self.draining.take() else { return };
        for (name, attached) in self.local.keys().map(|name| (name.clone(), self.is_attached(name))).collect::<Vec<_>>()
        {
            if attached {
                let why = "it is the name of a task, which stays where it is".to_owned();
                draining.stays.insert(name, why);
            } else if !self.wishes.contains_key(&name) {
                self.wish(&name, None, Wanted::Drain, u64::MAX);
            }
        }
        draining.stays.retain(|name, _| self.local.contains_key(name));
        draining.failed.retain(|name, _| self.local.contains_key(name));
        // What has gone is there when its new host says so: until then this node is still responsible for it.
        let released = self.directory.my_names().any(|(_, cell)| cell.state.is_released());
        let parked = self.directory.my_names().filter(|(_, cell)| cell.state == NameState::Parked).count();
        if draining.parked.0 != parked {
            draining.parked = (parked, self.now.mono_ms);
        }
        // Those who stay take them over from here, if there are any who may.
        let is_taken_over = parked > 0
            && self.has_quorum_in_view()
            && self.view.up().next().is_some()
            && self.now.mono_ms < draining.parked.1 + TAKEN_OVER_MS
            && !planted(Fault::DrainedThoughParked);
        if !draining.told
            && !released
            && !is_taken_over
            && self.local.len() == draining.stays.len()
            && self.offers.is_empty()
        {
            draining.told = true;
            self.out.push(Effect::Drained { call: draining.call, drained: self.so_far(&draining) });
        }
        self.draining = Some(draining);
    }

    fn is_attached(&self, name: &Arc<str>) -> bool {
        self.directory.mine(name).is_some_and(|cell| cell.attached)
    }

    fn so_far(&self, draining: &Draining) -> Drained {
        let mut stays = draining.stays.clone();
        for (name, local) in self.local.iter() {
            stays.entry(name.clone()).or_insert_with(|| {
                let now = match &local.phase {
                    LocalPhase::Moving(moving) => format!("it is being handed to {}", moving.to().node),
                    LocalPhase::Running => "it waits for its turn".to_owned(),
                    LocalPhase::Parking | LocalPhase::Stopping(_) => "it is being stopped".to_owned(),
                    LocalPhase::Restoring
                    | LocalPhase::Starting
                    | LocalPhase::Settling
                    | LocalPhase::Waiting { .. } => "it is being started".to_owned(),
                };
                match draining.failed.get(name) {
                    Some(failed) => format!("{now}; before, {failed}"),
                    None => now,
                }
            });
        }
        for (name, cell) in self.directory.my_names() {
            if let NameState::Released(release) = &cell.state {
                let why = format!("it was given to {}, which has not started it yet", release.to.node);
                stays.insert(name.clone(), why);
            }
        }
        for (name, _) in self.directory.my_names().filter(|(_, cell)| cell.state == NameState::Parked) {
            let why = "it does not run, and nobody has taken it over with the state that is here";
            stays.insert(name.clone(), why.to_owned());
        }
        for (name, offer) in &self.offers {
            let why = format!("it is on its way here from {}", offer.from().node);
            stays.entry(name.clone()).or_insert(why);
        }
        let sworm = || self.config.sworm.to_string();
        let stays = stays.into_iter().map(|(name, why)| Stays { sworm: sworm(), name, why }).collect();
        Drained { moved: draining.moved, stays }
    }

    /// There is nowhere to go for a worker.
    pub(super) fn stays_here(&mut self, name: &Arc<str>, why: String) {
        if let Some(draining) = &mut self.draining {
            draining.stays.insert(name.clone(), why);
        }
    }

    /// A worker that was to go goes on here for now.
    pub(super) fn has_not_gone(&mut self, name: &Arc<str>, why: String) {
        if let Some(draining) = &mut self.draining {
            draining.failed.insert(name.clone(), why);
        }
    }

    /// A worker has been given away.
    pub(super) fn has_gone(&mut self, name: &Arc<str>) {
        self.wishes.remove(name);
        self.leaving_goes_on();
        if let Some(draining) = &mut self.draining {
            draining.moved += 1;
            draining.stays.remove(name);
        }
    }
}
