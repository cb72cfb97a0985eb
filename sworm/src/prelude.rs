//! All that a service usually needs: `use sworm::prelude::*;`.

pub use crate::{
    Ack, CallError, Context, Event, Handler, Handoff, Inbox, Lifecycle, Member, MemberState, Message, Mode, Node,
    NodeId, Older, Pid, Rebalance, Ref, RegisterError, Registration, RegistrationState, Request, Sworm, SwormSpec,
    Upgrade, Worker,
};
