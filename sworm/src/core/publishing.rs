//! What is decided leaves: to the disk, to the others, and what waits for the disk after it.

use super::Effect;
use super::fault::{Fault, planted};
use super::message::Message;
use super::state::Core;

/// How long copies of what others state may stay in memory alone.
const LAZY_SYNC_MS: u64 = 1_000;

impl Core {
    /// Does this once everything stated so far is durable.
    pub(super) fn once_durable(&mut self, effect: Effect) {
        match effect {
            Effect::Send { to, message } if planted(Fault::AckBeforeDurable) => self.send(&to, *message),
            effect => self.waiting.push(effect),
        }
    }

    pub(super) fn publish(&mut self) {
        let mut sync = !self.waiting.is_empty();
        if let Some(delta) = self.directory.unpublished() {
            sync = true;
            self.out.push(Effect::Persist(delta.clone()));
            self.tell_all(delta);
        }
        // Copies of others' lanes need not be durable before anything else, but soon.
        let now = self.now.mono_ms;
        sync |= self.unsynced_ms.is_some_and(|since| now >= since + LAZY_SYNC_MS);
        if std::mem::take(&mut self.ends_changed) {
            self.unsynced_ms.get_or_insert(now);
            self.out.push(Effect::PersistEnds {
                ended: self.directory.ended().clone(),
                dropped: self.directory.dropped().clone(),
            });
        }
        if sync {
            self.unsynced_ms = None;
            self.sync_number += 1;
            let max = self.directory.lane(&self.config.me).map_or(0, |lane| lane.max());
            self.syncing.insert(self.sync_number, max);
            self.after.insert(self.sync_number, std::mem::take(&mut self.waiting));
            self.out.push(Effect::Sync(self.sync_number));
        }
        if self.beat_due_ms <= self.now.mono_ms {
            self.beat();
        }
    }

    pub(super) fn on_durable(&mut self, number: u64) {
        let unsynced = self.syncing.split_off(&(number + 1));
        if let Some((_, max)) = std::mem::replace(&mut self.syncing, unsynced).pop_last() {
            self.durable_max = self.durable_max.max(max);
        }
        let later = self.after.split_off(&(number + 1));
        for effect in std::mem::replace(&mut self.after, later).into_values().flatten() {
            match effect {
                Effect::Send { to, message } => {
                    if let Message::Versions(_) = &*message
                        && let Some(member) = self.member(&to)
                    {
                        member.is_owed = false;
                    }
                    self.send(&to, *message);
                }
                other => self.out.push(other),
            }
        }
    }
}
