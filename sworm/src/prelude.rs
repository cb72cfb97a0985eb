//! All that a service usually needs: `use sworm::prelude::*;`.

pub use crate::{
    Ack, BoxError, CallError, Context, Epoch, Event, Exit, GroupError, Handler, Handoff, HandoffError, Inbox,
    Incarnation, Lifecycle, Member, MemberState, Message, Mode, MoveError, Node, NodeId, Older, OpenError, Pid,
    Rebalance, Ref, RegisterError, Registration, RegistrationState, ReplyTo, Request, StartError, Sworm, SwormSpec,
    UnregisterError, Upgrade, Worker,
};
