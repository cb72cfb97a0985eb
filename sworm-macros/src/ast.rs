//! What a derive was given: the type, and its attribute as typed.

use std::time::Duration;

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{Expr, LitBool, LitInt, LitStr, Path, Type};

/// The attributes of `#[worker(..)]`.
#[derive(Default)]
pub(crate) struct WorkerAttrs {
    pub(crate) krate: Option<Path>,
    pub(crate) name: Option<LitStr>,
    pub(crate) version: Option<LitInt>,
    pub(crate) handles: Option<Handles>,
    pub(crate) restart: Option<Strategy>,
    pub(crate) distribution: Option<Strategy>,
    pub(crate) handoff: Option<Handoff>,
    pub(crate) snapshot: Option<Snapshots>,
    pub(crate) every: Option<LitInt>,
    pub(crate) durable: Option<Durable>,
    pub(crate) replicas: Option<LitInt>,
    pub(crate) mailbox: Option<LitInt>,
    pub(crate) start_timeout: Option<Length>,
    /// The word itself: a missing `impl Lifecycle` is reported there.
    pub(crate) lifecycle: Option<Ident>,
    /// The word itself: missing methods are reported there.
    pub(crate) methods: Option<Ident>,
}

/// The arguments of `#[handlers(..)]`.
#[derive(Default)]
pub(crate) struct HandlersAttrs {
    pub(crate) krate: Option<Path>,
}

/// The attributes of `#[message(..)]`.
#[derive(Default)]
pub(crate) struct MessageAttrs {
    pub(crate) krate: Option<Path>,
    pub(crate) reply: Option<Type>,
    pub(crate) id: Option<LitStr>,
}

/// The attributes of `#[sworm(..)]`.
#[derive(Default)]
pub(crate) struct SwormAttrs {
    pub(crate) krate: Option<Path>,
    pub(crate) name: Option<LitStr>,
    pub(crate) restart: Option<Strategy>,
    pub(crate) distribution: Option<Strategy>,
    pub(crate) handoff: Option<bool>,
    pub(crate) mode: Option<Mode>,
    pub(crate) expect_nodes: Option<LitInt>,
    pub(crate) lease: Option<Length>,
    pub(crate) ack: Option<Ack>,
    pub(crate) rebalance: Option<Rebalance>,
    pub(crate) sync_interval: Option<Length>,
    pub(crate) state_wait: Option<Length>,
}

/// The list in `handles(..)`.
pub(crate) struct Handles {
    /// The whole list with its parentheses.
    pub(crate) span: Span,
    pub(crate) messages: Vec<Type>,
}

/// `handoff`, `handoff = false` or `handoff = Part`.
pub(crate) enum Handoff {
    Whole,
    Never(LitBool),
    Part(Box<Type>),
}

/// When the state is saved while the worker runs.
pub(crate) enum Snapshots {
    Each,
    Period(Length),
}

/// What a checkpoint waits for.
pub(crate) enum Durable {
    Replicas,
    Local,
}

/// What happens when the network is cut.
pub(crate) enum Mode {
    Available,
    Majority,
}

/// When a registration is acknowledged.
pub(crate) enum Ack {
    Durable,
    Memory,
}

/// Whether names move for balance.
pub(crate) enum Rebalance {
    Off,
    On,
    Manual,
}

/// A strategy by the name of its plugin, or as a value.
pub(crate) enum Strategy {
    Named(LitStr),
    Value(Box<Expr>),
}

/// A length of time as typed.
pub(crate) struct Length {
    pub(crate) literal: LitStr,
    pub(crate) time: Duration,
}

impl ToTokens for Length {
    fn to_tokens(&self, tokens: &mut proc_macro2::TokenStream) {
        self.literal.to_tokens(tokens);
    }
}
