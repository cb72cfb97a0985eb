//! Holds a node's work up at one step of a move.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sworm::Sworm;
use sworm::internals::witness;
use tokio::sync::watch;

use crate::Step;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Armed,
    Reached,
    Over,
}

/// One step at a time.
#[derive(Clone)]
pub(super) struct Held(Arc<watch::Sender<Stage>>);

impl Default for Held {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Over)))
    }
}

/// Whoever holds it up is gone by then.
const LIMIT: Duration = Duration::from_secs(60);

impl Held {
    pub(super) fn arm(&self, sworm: &Sworm, name: Arc<str>, step: Step, before: bool) {
        self.0.send_replace(Stage::Armed);
        let held = self.clone();
        witness(sworm, move |effect, core| {
            let here = *held.0.borrow() == Stage::Armed && step.is(&name, effect, core);
            if here && before {
                held.wait();
            }
            (here && !before).then(|| {
                let held = held.clone();
                Box::new(move || held.wait()) as Box<dyn FnOnce()>
            })
        });
    }

    /// Blocks: nothing is to go on.
    fn wait(&self) {
        self.0.send_replace(Stage::Reached);
        let until = Instant::now() + LIMIT;
        // Whoever was woken just now runs on another thread.
        tokio::task::block_in_place(|| {
            // Nothing wakes a thread that is to stand still.
            while *self.0.borrow() == Stage::Reached && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }

    pub(super) async fn reached(&self) {
        let _ = self.0.subscribe().wait_for(|stage| *stage != Stage::Armed).await;
    }

    pub(super) fn let_go(&self) {
        self.0.send_replace(Stage::Over);
    }
}
