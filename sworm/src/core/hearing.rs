//! Who else knows where the copies of a state are.
//!
//! A checkpoint that others hold than the one before is acknowledged when somebody knows that who does not hold it, if there is
//! anybody: those who hold it may all die at once, and who is left must not take an older state, or the registered value, for
//! the newest. Heartbeats say who knows what; since a reply waits here, it is also asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Effect;
use super::fault::{Fault, planted};
use super::ids::{Epoch, Peer};
use super::message::Message;
use super::state::Core;

/// The checkpoints that wait for that.
#[derive(Debug, Default)]
pub struct Unheard {
    waiting: BTreeMap<Arc<str>, Waiting>,
    /// What the others were known to hold when it was looked at last, in one number.
    looked_at: u64,
    ask_ms: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Epoch,
    number: u64,
    /// How much of the own lane the others must hold.
    seq: u64,
}

/// How soon it is asked again how much of the own lane somebody holds.
const ASK_AGAIN_MS: u64 = 20;
/// How many are asked at a time.
const ASKED: usize = 3;

impl Core {
    /// Those who would look for a state if all who hold it were gone, and know what to look for when they hold so much of
    /// what this node says.
    fn outsiders(&self, name: &Arc<str>) -> Vec<&Peer> {
        let holders = self.directory.mine(name).map(|cell| cell.holders.clone()).unwrap_or_default();
        let others = self.view.up().filter(|peer| **peer != self.config.me);
        others.filter(|peer| !holders.contains(&peer.node)).collect()
    }

    /// Whether what this node has said up to this number, which tells who holds a state, is known to one of those; in mode
    /// "majority" to enough voters.
    pub(super) fn are_known(&self, name: &Arc<str>, seq: u64) -> bool {
        let me = &self.config.me.node;
        let holds = |peer: &Peer| self.members.get(&peer.node).is_some_and(|member| member.holds_of_mine >= seq);
        if seq == 0 || planted(Fault::HoldersUnheard) {
            return true;
        }
        let to_quorum = self.is_known_to_quorum(|node| node == me || self.view.peer(node).is_some_and(holds));
        to_quorum.unwrap_or_else(|| {
            let outsiders = self.outsiders(name);
            outsiders.is_empty() || outsiders.into_iter().any(holds)
        })
    }

    pub(super) fn wait_to_be_heard(&mut self, name: &Arc<str>, since: Epoch, number: u64, seq: u64) {
        self.unheard.waiting.insert(name.clone(), Waiting { since, number, seq });
    }

    pub(super) fn waits_to_be_heard(&self, name: &Arc<str>, since: Epoch, number: u64) -> bool {
        self.unheard.waiting.get(name).is_some_and(|waiting| waiting.since == since && waiting.number >= number)
    }

    /// Acknowledges checkpoints that have waited for that.
    pub(super) fn tell_the_unheard(&mut self) {
        for (name, waiting) in std::mem::take(&mut self.unheard.waiting) {
            let Waiting { since, number, seq } = waiting;
            if self.local.get(&name).is_none_or(|local| local.since != since) {
                continue;
            }
            if self.are_known(&name, seq) {
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
        let held = self.members.values().fold(0, |sum: u64, member| sum.wrapping_add(member.holds_of_mine));
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
        let Some(name) = self.unheard.waiting.keys().next() else { return };
        let asked: Vec<Peer> = self.outsiders(name).into_iter().take(ASKED).cloned().collect();
        self.unheard.ask_ms = now + ASK_AGAIN_MS;
        let versions = self.versions(true);
        for to in asked {
            self.send(&to, Message::Versions(versions.clone()));
        }
    }

    /// No checkpoint is acknowledged any more.
    pub(super) fn hear_no_more(&mut self) {
        for (name, Waiting { since, number, .. }) in std::mem::take(&mut self.unheard.waiting) {
            let result = Err("there is no majority any more".to_owned());
            self.out.push(Effect::Checkpointed { name, since, number, result });
        }
    }
}
