//! Births of names that have ended for good, and how long that is remembered.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Directory;
use crate::core::cell::{Key, Value};
use crate::core::fault::{Fault, planted};
use crate::core::ids::{Birth, LaneId, NodeId, Peer};
use crate::core::lane::Lane;

impl Directory {
    /// Ends these births of a name for good. If the own statement is of one of them it stays until its worker has stopped.
    pub fn ban(&mut self, name: &Arc<str>, births: impl IntoIterator<Item = Birth>) {
        let key = Key::Ban(name.clone());
        let mut all: BTreeSet<Birth> = births.into_iter().collect();
        if planted(Fault::BanOneBirth) {
            all = all.into_iter().take(1).collect();
        }
        if let Some(Value::Ban(set)) = self.lanes.get(&self.me).and_then(|lane| lane.fact(&key)) {
            all.extend(set);
        }
        self.put(key, Value::Ban(all));
    }

    /// Ends these births of a name for good, and takes the own statement of it back if it is of one of them: no worker of
    /// it runs here any more.
    pub fn ban_stopped(&mut self, name: &Arc<str>, births: impl IntoIterator<Item = Birth>) {
        let births: BTreeSet<Birth> = births.into_iter().collect();
        self.ban(name, births.iter().copied());
        if self.mine(name).is_some_and(|cell| births.contains(&cell.birth)) {
            self.remove(&Key::Name(name.clone()));
        }
    }

    /// The number at which the own lane says that births of a name have ended; 0 when it does not.
    pub fn own_ban(&self, name: &Arc<str>) -> u64 {
        let own = self.lanes.get(&self.me).filter(|lane| lane.may_ban());
        let key = Key::Ban(name.clone());
        own.filter(|lane| lane.fact(&key).is_some()).and_then(|lane| lane.seq(&key)).unwrap_or(0)
    }

    /// The births of a name that the own lane says have ended.
    pub fn own_bans(&self, name: &Arc<str>) -> BTreeSet<Birth> {
        let own = self.lanes.get(&self.me).filter(|lane| lane.may_ban());
        match own.and_then(|lane| lane.fact(&Key::Ban(name.clone()))) {
            Some(Value::Ban(births)) => births.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// Whether any lane may hold a ban: where nothing ends there is none.
    fn may_ban(&self) -> bool {
        self.lanes.values().any(Lane::may_ban)
    }

    /// Whether a birth of a name has ended for good.
    pub fn is_banned(&self, name: &Arc<str>, birth: Birth) -> bool {
        self.is_banned_by(name, birth, |_| true)
    }

    /// Whether one of those lanes ends a birth of a name.
    pub fn is_banned_by(&self, name: &Arc<str>, birth: Birth, by: impl Fn(&LaneId) -> bool) -> bool {
        if !self.may_ban() {
            return false;
        }
        let key = Key::Ban(name.clone());
        let mut lanes = self.lanes.iter().filter(|(id, _)| by(id));
        lanes.any(|(_, lane)| matches!(lane.fact(&key), Some(Value::Ban(set)) if set.contains(&birth)))
    }

    /// The births of a name that somebody still speaks of and that only incarnations which have ended have banned: to be
    /// banned again, since those lanes will go.
    pub fn orphaned_bans(&self, name: &Arc<str>) -> BTreeSet<Birth> {
        if !self.may_ban() {
            return BTreeSet::new();
        }
        let key = Key::Ban(name.clone());
        let banned = |birth: &Birth, living: bool| {
            let lanes = self.lanes.iter().filter(|(id, _)| self.has_ended(id) != living);
            lanes
                .map(|(_, lane)| lane)
                .any(|lane| matches!(lane.fact(&key), Some(Value::Ban(set)) if set.contains(birth)))
        };
        let mut births = if planted(Fault::DropBans) { BTreeSet::new() } else { self.births(name) };
        if !self.away.is_empty() {
            let bans = self.lanes.values().filter_map(|lane| match lane.fact(&key) {
                Some(Value::Ban(set)) => Some(set.iter().filter(|birth| self.may_come_back(**birth))),
                _ => None,
            });
            births.extend(bans.flatten());
        }
        births.into_iter().filter(|birth| banned(birth, false) && !banned(birth, true)).collect()
    }

    /// Whether a lineage that was ended still stands in the lane of a host that is there: it has not stopped it yet.
    pub fn is_ending(&self, name: &Arc<str>, live: impl Fn(&Peer) -> bool) -> bool {
        self.ending(name, live).is_some()
    }

    /// The host that has not stopped a lineage yet that was ended, and which one.
    pub fn ending(&self, name: &Arc<str>, live: impl Fn(&Peer) -> bool) -> Option<(&Peer, Birth)> {
        let mut claims = self.cells(name).filter(|(_, cell)| cell.state.is_claim());
        let (host, cell) = claims.find(|(host, cell)| live(host) && self.is_banned(name, cell.birth))?;
        Some((host, cell.birth))
    }

    /// Notes who has ended and is not back: its store may still speak of whatever was registered before. That is reckoned
    /// with for so long.
    pub fn note_away(&mut self, now: u64, limit: u64, is_back: impl Fn(&NodeId) -> bool) {
        let me = &self.me.node;
        let away: Vec<&NodeId> = self.ended.keys().filter(|node| *node != me && !is_back(node)).collect();
        let since = |node: &NodeId| self.away.get(node).copied().unwrap_or(now);
        let reckoned = |since: u64| if now < since.saturating_add(limit) { since } else { 0 };
        self.away = away.into_iter().map(|node| (node.clone(), reckoned(since(node)))).collect();
    }

    /// Whether somebody who is away may still speak of a lineage.
    pub(super) fn may_come_back(&self, birth: Birth) -> bool {
        self.away.values().any(|since| birth.0 < *since) && !planted(Fault::ForgetTheAway)
    }

    /// Forgets those own bans that no cell in any lane needs any more. Only while all known members hold the same.
    pub fn forget_bans(&mut self) {
        let Some(own) = self.lanes.get(&self.me) else { return };
        let idle: Vec<Key> = own
            .facts()
            .filter_map(|(key, value)| match (key, value) {
                (Key::Ban(name), Value::Ban(set)) => Some((key, name, set)),
                _ => None,
            })
            .filter(|(_, name, set)| {
                self.cells(name).all(|(_, cell)| !set.contains(&cell.birth))
                    && !set.iter().any(|birth| self.may_come_back(*birth))
            })
            .map(|(key, _, _)| key.clone())
            .collect();
        for key in idle {
            self.remove(&key);
        }
    }
}
