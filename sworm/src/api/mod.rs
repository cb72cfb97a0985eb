//! What people call.

mod builder;
mod call;
mod events;
mod groups;
mod inbox;
mod lazy;
mod moves;
mod network;
mod node;
mod reference;
mod register;
mod registration;
mod spec;
mod sworm;
mod voters;
mod way;

pub use builder::{MAX_SNAPSHOT_LIMIT, NodeBuilder};
pub use call::CallBuilder;
pub use events::Events;
pub use groups::MultiCallBuilder;
pub use inbox::{Inbox, ReplyTo};
#[cfg(feature = "faults")]
pub use moves::drain_within;
pub use node::{Member, Node};
pub use reference::Ref;
pub use register::RegisterBuilder;
pub use registration::{Registration, RegistrationState};
pub use spec::{Ack, Mode, SwormSpec};
pub use sworm::Sworm;
pub use voters::VoterList;
