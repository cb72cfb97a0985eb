//! The derives of the sworm crate: `Worker`, `Message` and `Sworm`.
//!
//! Each goes the same way: `attr` reads the attribute as typed, `ast` holds what was read, `valid` checks it, `expand`
//! writes the impls. Where something is wrong the impls are written all the same, from what is right (`fallback`
//! where that is too little), so that one mistake gives one error and not one more for every use of the type.

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
mod valid;
mod value;

#[cfg(test)]
mod tests;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct or an enum a worker type. It writes `Target`, `Worker`, a `Request` for each message in
/// `handles(..)` and, without the attribute `lifecycle`, a `Lifecycle` with its defaults; and it puts the type into
/// the inventory, where nodes find it by its name. The attributes are listed at the trait `Worker`.
///
/// The type must have serde's `Serialize` and `Deserialize`, and no type, lifetime or constant parameters.
#[proc_macro_derive(Worker, attributes(worker))]
pub fn derive_worker(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::worker(&input).into()
}

/// Makes a type a message.
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `reply = Type` | what a worker answers | `()` |
/// | `id = "…"` | the message's name on the wire, 1 to 255 bytes | the type's name |
/// | `crate = path` | where the sworm crate is | `::sworm` |
///
/// The type and its reply must have serde's `Serialize` and `Deserialize`, and the type no parameters.
#[proc_macro_derive(Message, attributes(message))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::message(&input).into()
}

/// Makes a unit struct stand for a sworm and its settings: it becomes a `SwormSpec` by `into()`.
///
/// | attribute | meaning | default |
/// |---|---|---|
/// | `name = "…"` | the sworm's name, 1 to 255 bytes | the type's name |
/// | `restart = …` | restart strategy: a plugin's name, or a constant expression | `"transient"` |
/// | `distribution = …` | distribution strategy: a plugin's name, or a constant expression | `"rendezvous"` |
/// | `handoff` | workers' state is saved when they stop or move | not saved |
/// | `mode = "majority"` | when the network is cut: `"available"` goes on everywhere, `"majority"` on one side | `"available"` |
/// | `expect_nodes = 3` | with `"majority"`, which needs it: how many nodes found it and vote, 1 to 99 | none |
/// | `lease = "3s"` | with `"majority"`: how long a node goes on without hearing of one, 1 s to 60 s | 3 s |
/// | `rebalance = "on"` | whether names move for balance: `"off"`, `"on"`, or `"manual"` by `Sworm::rebalance` | `"off"` |
/// | `ack = "memory"` | a registration is acknowledged before it is on the disk | `"durable"` |
/// | `sync_interval = "100ms"` | how often nodes compare what they hold, 20 ms to 2 s | 200 ms |
/// | `crate = path` | where the sworm crate is | `::sworm` |
#[proc_macro_derive(Sworm, attributes(sworm))]
pub fn derive_sworm(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::sworm(&input).into()
}
