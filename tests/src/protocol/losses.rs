//! What a node is made to lose of a worker of its own.

use serde::{Deserialize, Serialize};

/// What is lost, as a mistake would lose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Its task: somebody has aborted it.
    Task,
    /// That it has a task.
    Slot,
    /// Its name, out of the directory.
    Name,
    /// That there is such a worker at all.
    Worker,
}
