//! What can go wrong, one enum per operation.

mod ask;
mod call;
mod moves;
mod start;

pub use self::ask::{GroupError, RegisterError, RestartError, UnregisterError};
pub use self::call::{CallError, HandoffError};
pub use self::moves::{MoveError, VotersError};
pub use self::start::{LeaveError, OpenError, StartError};

use crate::worker::outbox::TooLarge;

/// What is said to a worker that must be saved before it asks for something, and is too large for that.
macro_rules! caller_too_large {
    ($($error:ident)*) => {
        $(impl From<TooLarge> for $error {
            fn from(TooLarge { bytes, limit }: TooLarge) -> Self {
                Self::CallerTooLarge { bytes, limit }
            }
        })*
    };
}

caller_too_large!(CallError RegisterError UnregisterError RestartError MoveError VotersError);

impl From<TooLarge> for GroupError {
    /// What a worker changes of groups is held back, so that it is not told this.
    fn from(_: TooLarge) -> Self {
        Self::Overloaded
    }
}

/// A result with any of this library's errors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any of this library's errors, for functions that do several things.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A sworm could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A name could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A name could not be unregistered.
    #[error(transparent)]
    Unregister(#[from] UnregisterError),
    /// A worker that has failed was not started again.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// A group could not be joined or left.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A name was not moved, or a node not emptied.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// The list of voters was not changed.
    #[error(transparent)]
    Voters(#[from] VotersError),
    /// A call did not come back with a reply.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A state was not saved.
    #[error(transparent)]
    Handoff(#[from] HandoffError),
    /// A node did not leave in good order.
    #[error(transparent)]
    Leave(#[from] LeaveError),
}
