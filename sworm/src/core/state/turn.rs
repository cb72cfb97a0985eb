//! One turn of the core: an input comes in, what follows is drawn, and what is to be done is handed out.

use std::sync::Arc;

use super::{Core, TICK_MS};
use crate::core::directory::Standing;
use crate::core::{Effect, Entry, Input, Notice, Now, Turn};

impl Core {
    /// Takes one input. Its effects come with the next [`Self::flush`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        self.check_lease();
        match input {
            Input::Tick => self.tick(),
            Input::Present { peer, profile } => self.on_present(peer, profile),
            Input::Absent { peer } => self.on_absent(&peer),
            Input::Introduced => self.introduced = true,
            Input::Message { from, message } => self.on_message(&from, *message),
            Input::Ask { number, ask, until_ms } => self.on_ask(number, ask, until_ms),
            Input::Durable(number) => self.on_durable(number),
            Input::Started { name, since, result } => self.on_started(&name, since, result),
            Input::Exited { name, since, exit } => self.on_exited(&name, since, exit),
            Input::Stopped { name, since } => self.on_stopped(&name, since),
            Input::Paused { name, since, state } => self.on_paused(&name, since, state),
            Input::Gone { name, since } => self.on_gone(&name, since),
            Input::PauseGoesOn { name, since } => self.pause_goes_on(&name, since),
            Input::Checkpoint { name, since, snapshot, wait } => self.on_checkpoint(&name, since, snapshot, wait),
            Input::Unsaved { name, since, why } => self.on_unsaved(&name, since, why),
            Input::GivenUp { name, since, why } => self.on_given_up(&name, since, &why),
            Input::HookFailed { name, since, hook, why: reason } => {
                self.out.push(Effect::Tell(Notice::HookFailed { pid: self.own_pid(&name, since), hook, reason }));
            }
            Input::Renewed { name, since, spec } => self.on_renewed(&name, since, spec),
            Input::Merged { name, since, revision, result } => self.on_merged(&name, since, revision, &result),
            Input::NotGiven { name, since, revision } => self.on_not_given(&name, since, revision),
            Input::LostChunk { to, name, set } => self.on_lost_chunk(&to, &name, set),
            Input::StateChunk { name, since, manifest, index, bytes } => {
                self.on_state_chunk(&name, since, manifest, index, bytes);
            }
            Input::UnsentState { name, since } => self.on_unsent_state(&name, since),
            Input::Loaded { purpose, snapshot } => self.on_loaded(purpose, snapshot),
            Input::Leave { until_ms } => self.on_leave(until_ms),
            Input::Drain(call) => self.on_drain(call),
            Input::Rebalance(plan) => self.tell_hosts_to_rebalance(plan),
        }
    }

    /// Draws the consequences of the inputs since the last call and gives all effects.
    pub fn flush(&mut self, now: Now) -> Vec<Effect> {
        self.draw(now);
        self.publish_all()
    }

    /// The same, but what was stated may still be unpublished then, and whether it is comes along: there is to be another call
    /// at once, with what has come meanwhile. A worker that is quick to start is published once, as one that runs.
    pub fn flush_some(&mut self, now: Now) -> (Vec<Effect>, bool) {
        self.draw(now);
        let waits = self.directory.is_unpublished()
            && self.beat_due_ms > now.mono_ms
            && !self.out.iter().any(|effect| effect.turn() == Turn::WithPublishing);
        if !waits {
            return (self.publish_all(), false);
        }
        // Nobody here sees what is not on its way to the others.
        let (shown, done) =
            std::mem::take(&mut self.out).into_iter().partition(|effect| effect.turn() == Turn::AfterPublishing);
        self.out = shown;
        (done, true)
    }

    fn publish_all(&mut self) -> Vec<Effect> {
        self.tell_who_was_heard();
        self.publish();
        self.ask_who_has_heard();
        std::mem::take(&mut self.out)
    }

    fn draw(&mut self, now: Now) {
        self.now = now;
        let me = self.config.me.clone();
        loop {
            self.refresh_view();
            while let Some(message) = self.inbox.pop_front() {
                self.on_message(&me, message);
            }
            self.refresh_view();
            let lacks = self.directory.lacks_what_was_seen(|peer| self.is_live(peer));
            if std::mem::replace(&mut self.lacks, lacks) && !lacks {
                self.recheck.extend(self.queues.keys().cloned());
            }
            self.forget_told();
            let mut names = self.directory.take_touched();
            names.append(&mut self.recheck);
            if names.is_empty() && self.inbox.is_empty() {
                break;
            }
            for name in names {
                self.review(&name);
            }
        }
        self.out.append(&mut self.answers);
    }

    /// When the next tick is useful, in `mono_ms`. Nothing else that comes meanwhile puts it off: else a node to which something
    /// comes all the time would never look at what depends on time alone.
    pub fn next_tick_ms(&self) -> u64 {
        self.beat_due_ms.min(self.ticked_ms + TICK_MS)
    }

    /// Everything that depends on what the directory says of a name.
    fn review(&mut self, name: &Arc<str>) {
        let said = self.own_max();
        let standing = self.standing(name);
        self.index(name, &standing);
        self.review_as_host(name, &standing);
        self.review_diverged(name, &standing);
        self.review_snapshot(name, &standing);
        if self.queues.contains_key(name) {
            self.run_queue(name);
        }
        if self.is_arbiter(name) && self.settled() {
            self.review_bans(name);
            let standing = if self.own_max() == said { standing } else { self.standing(name) };
            self.review_adoption(name, standing);
        }
    }

    fn index(&mut self, name: &Arc<str>, standing: &Standing) {
        let entry = standing.cell().map(|(host, cell)| Entry {
            host: host.clone(),
            cell: cell.clone(),
            running: matches!(standing, Standing::Claimed { .. })
                && matches!(cell.state, crate::core::cell::NameState::Running),
        });
        if self.knows_better(name, entry.as_ref()) {
            return;
        }
        let held = entry.as_ref().and_then(|entry| self.directory.as_held(&entry.host, name));
        self.out.push(Effect::Index { name: held.unwrap_or(name).clone(), entry });
    }

    fn tick(&mut self) {
        self.ticked_ms = self.now.mono_ms;
        self.tick_members();
        self.tick_unusual();
        self.tick_majority();
        self.tick_transfers();
        self.tick_requests();
        self.tick_arbiter();
        self.tick_host();
        self.tick_repair();
        self.tick_snapshots();
        self.tick_fetches();
        self.tick_diverged();
        self.tick_leave();
        self.tick_moves_asked_for();
        self.tick_balance();
    }
}
