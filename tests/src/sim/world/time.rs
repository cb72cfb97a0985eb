//! Time: what happens next, and how long something takes.

use super::{Event, World};

impl World {
    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while self.step(until) {}
        self.now_ms = until;
    }

    /// Lets time pass until something is so; more than two minutes are a failure.
    pub fn run_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let took = self.run_while(120_000, |world| !done(world));
        assert!(took, "two minutes passed without: {what}");
    }

    /// Lets time pass while something is so, at most so long. Returns whether it ended.
    pub(in crate::sim) fn run_while(&mut self, ms: u64, mut so: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now_ms + ms;
        while so(self) {
            if !self.step(until) {
                return false;
            }
        }
        true
    }

    fn step(&mut self, until: u64) -> bool {
        let Some(((at, seq), _)) = self.events.first_key_value() else { return false };
        let (at, seq) = (*at, *seq);
        if at > until {
            return false;
        }
        self.now_ms = self.now_ms.max(at);
        let event = self.events.remove(&(at, seq)).expect("the first");
        if let Some(held) = self.held_until(&event) {
            // Its process is stopped: it comes when it goes on, in order.
            self.pushed += 1;
            self.events.insert((held.max(self.now_ms), self.pushed), event);
            return true;
        }
        self.digest.update(&at.to_be_bytes());
        self.happens(event);
        true
    }

    fn held_until(&self, event: &Event) -> Option<u64> {
        let at = match event {
            Event::Arrives { to: at, .. }
            | Event::Link { at, .. }
            | Event::Dialled { at, .. }
            | Event::Seed { at, .. }
            | Event::Tells { at, .. }
            | Event::Synced { at, .. }
            | Event::Wake { at }
            | Event::Publishes { at }
            | Event::Ends { at } => at,
            Event::CheckLink { .. } | Event::Resumes { .. } | Event::Dies { .. } => return None,
        };
        self.nodes.get(&*at.node).filter(|node| node.me == *at)?.paused_until
    }
}
