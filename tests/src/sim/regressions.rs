//! Seeds that once failed, each with what was wrong.

use super::run::Shape;

/// The seed, the size that it was found with, and why it failed.
pub const REGRESSIONS: &[(u64, Shape, &str)] = &[
    (262, Shape::SMALL, "an acknowledged count was forgotten by the node that a worker moved to"),
    (353, Shape::SMALL, "a name ran on two nodes at once without a cut"),
    (612, Shape::SMALL, "a node looked a name up as its own that it did not run"),
    (723, Shape::SMALL, "a name ran on two nodes at once without a cut"),
    (759, Shape::SMALL, "a look-up named a host that did not run the name"),
    (788, Shape::SMALL, "a name started below an epoch at which it had run"),
    (991, Shape::SMALL, "a lane that had ended was held for ever"),
    (1_133, Shape::SMALL, "a name started below an epoch at which it had run"),
    (1_341, Shape::SMALL, "one name was given away twice"),
    (1_393, Shape::SMALL, "an acknowledged count was not in the state that a name started from"),
    (1_400, Shape::SMALL, "a name started below an epoch at which it had run"),
    (1_446, Shape::SMALL, "a lane that had ended was held for ever"),
];
