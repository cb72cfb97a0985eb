//! All that a service usually needs: `use sworm::prelude::*;`.

pub use crate::{
    CallError, Context, Handler, Handoff, Inbox, Lifecycle, Member, MemberState, Message, Node, NodeId, Older, Pid,
    Ref, RegisterError, Registration, RegistrationState, Request, Sworm, SwormSpec, Upgrade, Worker,
};
