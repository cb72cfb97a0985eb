#![doc = include_str!("lib.md")]
#![cfg_attr(not(feature = "zenoh"), allow(dead_code, unused_variables, reason = "some parts serve sockets only"))]

mod api;
mod codec;
#[doc(hidden)] // the state machine, for simulators
pub mod core;
mod error;
mod node;
mod panics;
mod plugin;
mod seldom;
pub mod store;
mod strategy;
pub mod transport;
mod worker;

pub mod prelude;

/// The code in the README must compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub use api::{
    Ack, CallBuilder, Events, Inbox, MAX_SNAPSHOT_LIMIT, Member, Mode, MultiCallBuilder, Node, NodeBuilder, Ref,
    RegisterBuilder, Registration, RegistrationState, ReplyTo, Sworm, SwormSpec, VoterList,
};
pub use codec::CodecError;
pub use core::balance::{PlannedMove, Rebalance};
pub use core::draining::{Drained, Stays};
pub use core::events::{Cause, Event, Gone};
pub use core::ids::{Epoch, Incarnation, NodeId, Pid};
pub use core::membership::{Linked, MemberState};
pub use core::placement::{ExplainedCandidate, Explanation};
pub use error::{
    CallError, Error, GroupError, HandoffError, LeaveError, MoveError, OpenError, RegisterError, RestartError, Result,
    StartError, UnregisterError, VotersError,
};
#[doc(hidden)] // for measurements
pub use node::index::Index;
pub use store::{Batch, Space, Store, StoreError, StoreFactory, Ticket};
pub use strategy::{
    BoundedLoad, Candidate, Distribution, Exit, HashRing, LeastLoaded, LocalFirst, MAX_WEIGHT, Permanent,
    PermanentWithin, Pinned, Random, Rendezvous, Restart, RestartDecision, RestartHistory, Spread, Strategy, Temporary,
    Transient, TransientWithin, score, weighted_score,
};
pub use sworm_macros::{Message, Sworm, Worker, handlers};
pub use transport::{MemoryNetwork, Transport};
pub use worker::{
    BoxError, Context, Durable, Handler, Handoff, Lifecycle, Message, Older, Request, Snapshots, Storable, Target,
    Timer, Upgrade, Worker, WorkerOptions,
};

/// What a simulator needs beside [`core`]: what production puts around a core, as far as it is not tied to a runtime.
#[doc(hidden)]
pub mod internals {
    pub use crate::node::disk::Disk;
    pub use crate::node::frame::{Call, Calls, Frame, OneOf, Relay, Replied};
    pub use crate::node::identity::{Identity, Owner, claim};
    pub use crate::plugin::Strategies;

    #[cfg(feature = "faults")]
    pub use crate::api::drain_within;
    #[cfg(feature = "faults")]
    pub use crate::node::driver::forget_worker;
    #[cfg(feature = "faults")]
    pub use crate::node::hanging::limit_saves;
    #[cfg(feature = "faults")]
    pub use crate::node::sworm::{abort, lose, lose_name};
    #[cfg(feature = "faults")]
    pub use crate::node::witness::witness;
}

/// For the code that the macros write.
#[doc(hidden)]
pub mod __private {
    pub use crate::codec::{Codec, CodecError, Encoded, Limited, decode, encode};
    pub use crate::plugin::{Place, Plugin, PluginKind, distribution_name};
    pub use crate::worker::{
        HandlerEntry, Methods, MethodsOf, NoMethods, SavesPart, WorkerEntry, distinct_entries, distinct_ids,
    };
    pub use inventory;
    pub use serde;
}
