//! Who else knows where the copies of a state are.
//!
//! A checkpoint that others hold than the one before is acknowledged when somebody knows that who does not hold it, if there is
//! anybody: those who hold it may all die at once, and who is left must not take an older state, or the registered value, for
//! the newest. Nor must it when all die and those who hold it are not back, so it is to be on a disk. Others are asked for that:
//! what others state they sync when there is time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Effect;
use super::fault::{Fault, planted};
use super::ids::{Epoch, Peer};
use super::message::{Message, Versions};
use super::snapshots::NotKept;
use super::state::Core;
use super::view::Member;

/// The checkpoints that wait for that.
#[derive(Debug, Default)]
pub struct Unheard {
    waiting: BTreeMap<Arc<str>, Waiting>,
    /// What the others were known to keep when it was looked at last, in one number.
    looked_at: u64,
    ask_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Epoch,
    number: u64,
    /// How much of the own lane the others must keep.
    seq: u64,
    since_ms: u64,
}

/// How long it is waited for that to be on a disk of others; then it is enough that they know it.
const DISK_WAIT_MS: u64 = 2_000;
/// How soon it is asked again how much of the own lane somebody keeps.
const ASK_AGAIN_MS: u64 = 20;
/// How many are asked at a time for one checkpoint, and in how many names' behalf.
const ASKED: usize = 3;
const NAMES: usize = 64;

impl Core {
    /// Those who would look for a state if all who hold it were gone, and know what to look for when they hold so much of
    /// what this node says.
    fn outsiders(&self, name: &Arc<str>) -> Vec<&Peer> {
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let others = self.view.staying().filter(|peer| **peer != self.config.me);
        others.filter(|peer| !holders.contains(&peer.node)).collect()
    }

    /// Whether what this node has said up to this number, which tells who holds a state, is known to one of those; in mode
    /// "majority" to enough voters.
    pub(super) fn are_known(&self, name: &Arc<str>, seq: u64) -> bool {
        self.are_known_since(name, seq, self.now.mono_ms)
    }

    fn are_known_since(&self, name: &Arc<str>, seq: u64, since_ms: u64) -> bool {
        // Whose disk is slow, or stands still, holds nobody up for longer.
        let is_late = self.now.mono_ms >= since_ms + DISK_WAIT_MS;
        let me = &self.config.me.node;
        let keeps = |peer: &Peer| {
            let is_slow = is_late || self.slow.passes_over(peer);
            let heard = |member: &Member| member.keeps_of_mine.max(held_in_memory(member, is_slow));
            self.members.get(&peer.node).is_some_and(|member| heard(member) >= seq)
        };
        if seq == 0 || planted(Fault::HoldersUnheard) {
            return true;
        }
        let to_quorum = self.is_known_to_quorum(|node| node == me || self.view.peer(node).is_some_and(keeps));
        to_quorum.unwrap_or_else(|| {
            let outsiders = self.outsiders(name);
            outsiders.is_empty() || outsiders.into_iter().any(keeps)
        })
    }

    pub(super) fn wait_to_be_heard(&mut self, name: &Arc<str>, since: Epoch, number: u64, seq: u64) {
        let since_ms = self.now.mono_ms;
        self.unheard.waiting.insert(name.clone(), Waiting { since, number, seq, since_ms });
    }

    pub(super) fn waits_to_be_heard(&self, name: &Arc<str>, since: Epoch, number: u64) -> bool {
        self.unheard.waiting.get(name).is_some_and(|waiting| waiting.since == since && waiting.number >= number)
    }

    /// Acknowledges checkpoints that have waited for that.
    pub(super) fn tell_the_unheard(&mut self) {
        for (name, waiting) in std::mem::take(&mut self.unheard.waiting) {
            let Waiting { since, number, seq, since_ms } = waiting;
            if self.local.get(&name).is_none_or(|local| local.since != since) {
                continue;
            }
            if self.are_known_since(&name, seq, since_ms) {
                let told = Effect::Checkpointed { name, since, number, result: Ok(()) };
                if self.durable_max >= seq { self.out.push(told) } else { self.once_durable(told) }
            } else {
                self.unheard.waiting.insert(name, waiting);
            }
        }
    }

    /// The same if the others are known to hold more than when it was done last.
    pub(super) fn tell_who_was_heard(&mut self) {
        if self.unheard.waiting.is_empty() {
            return;
        }
        let known = |member: &Member| member.keeps_of_mine.wrapping_add(member.holds_of_mine);
        let held = self.members.values().fold(0, |sum: u64, member| sum.wrapping_add(known(member)));
        if std::mem::replace(&mut self.unheard.looked_at, held) != held {
            self.tell_the_unheard();
        }
    }

    /// Asks some who do not know where a state is, as far as is known. It has been said to them just before.
    pub(super) fn ask_who_has_heard(&mut self) {
        let now = self.now.mono_ms;
        if now < self.unheard.ask_ms {
            return;
        }
        let is_late = self.unheard.waiting.values().any(|waiting| now >= waiting.since_ms + DISK_WAIT_MS);
        if is_late {
            self.tell_the_unheard();
        }
        if self.unheard.waiting.is_empty() {
            return;
        }
        let asked: BTreeSet<Peer> = if self.majority.is_some() {
            // Those who hold it are voters, too.
            self.view.staying().filter(|peer| **peer != self.config.me).cloned().collect()
        } else {
            let names = self.unheard.waiting.keys().take(NAMES);
            names.flat_map(|name| self.outsiders(name).into_iter().take(ASKED)).cloned().collect()
        };
        self.unheard.ask_ms = now + ASK_AGAIN_MS;
        let versions = self.versions(true);
        for to in asked {
            let durable = !is_late && !self.slow.passes_over(&to);
            self.send(&to, Message::Versions(Versions { durable, ..versions.clone() }));
        }
    }

    /// No checkpoint is acknowledged any more.
    pub(super) fn hear_no_more(&mut self) {
        for (name, Waiting { since, number, .. }) in std::mem::take(&mut self.unheard.waiting) {
            self.is_not_kept(&name, since, number, NotKept::NoMajority);
        }
    }
}

/// What a member holds and may forget, where that is enough.
fn held_in_memory(member: &Member, is_enough: bool) -> u64 {
    if is_enough || planted(Fault::HeardInMemory) { member.holds_of_mine } else { 0 }
}
