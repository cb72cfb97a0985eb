//! A process dies right before or right after one step of a move.

use std::sync::Arc;

use sworm::core::Effect;
use sworm::core::ids::Peer;

use super::world::{Event, World};
use crate::step::Step;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dies {
    Source,
    Target,
    Both,
}

/// Where it happens.
#[derive(Clone, Debug)]
pub(super) struct Trap {
    pub(super) name: Arc<str>,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) step: Step,
    /// Before the step, or after it.
    pub(super) before: bool,
    pub(super) dies: Dies,
}

impl World {
    /// Of what a node is about to do, that which comes before it dies.
    pub(super) fn up_to_the_trap(&mut self, at: &Peer, mut effects: Vec<Effect>) -> Vec<Effect> {
        let Some(trap) = &self.trap else { return effects };
        let acts = if trap.step.is_the_targets() { &trap.target } else { &trap.source };
        if *acts != *at.node {
            return effects;
        }
        let core = &self.nodes[&*at.node].core;
        let is_it = |effect: &Effect| trap.step.is(&trap.name, effect, core);
        let Some(found) = effects.iter().position(is_it) else { return effects };
        let Some(trap) = self.trap.take() else { return effects };
        let dying: Vec<String> = match trap.dies {
            Dies::Source => vec![trap.source],
            Dies::Target => vec![trap.target],
            Dies::Both => vec![trap.source, trap.target],
        };
        self.note(|| format!("{dying:?} die at {:?}", trap.step));
        if dying.iter().any(|node| **node == *at.node) {
            effects.truncate(if trap.before { found } else { found + 1 });
        }
        for node in dying {
            if !trap.before && *node != *at.node {
                // It may still take in what was sent to it then.
                let delay = self.rng.u64(1..=2 * self.options.delay_ms.max(1));
                self.push(delay, Event::Dies { node });
                continue;
            }
            if let Some(running) = self.nodes.get_mut(&node) {
                // It does nothing any more.
                running.paused_until = Some(self.now_ms + 1);
                self.push(0, Event::Dies { node });
            }
        }
        effects
    }
}
