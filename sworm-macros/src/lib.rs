//! The derives of the sworm crate, `Worker`, `Message` and `Sworm`, and the attribute `handlers`.
//!
//! Each goes the same way: `attr` reads the attribute as typed, `ast` holds what was read, `valid` checks it, `expand`
//! writes the impls. Where something is wrong the impls are written all the same, from what is right (`fallback`
//! where that is too little), so that one mistake gives one error and not one more for every use of the type.

mod ast;
mod attr;
mod errors;
mod expand;
mod fallback;
mod methods;
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
/// | `expect_nodes = 3` | with `"majority"`, which needs it, here or in the `SwormSpec`: how many nodes found it and vote, 1 to 99 | none |
/// | `lease = "3s"` | with `"majority"`: how long a node goes on without hearing of one, 1 s to 60 s | 3 s |
/// | `rebalance = "on"` | whether names move for balance: `"off"`, `"on"`, or `"manual"` by `Sworm::rebalance` | `"off"` |
/// | `ack = "memory"` | a registration is acknowledged before it is on the disk | `"durable"` |
/// | `state_wait = "10s"` | how long a name waits for a node that has its newest state, up to 10 years | 10 s; with `snapshot = "each"` until it is back |
/// | `sync_interval = "100ms"` | how often nodes compare what they hold, 20 ms to 2 s | 200 ms |
/// | `crate = path` | where the sworm crate is | `::sworm` |
///
/// All nodes must open it with the same settings, or `open` fails, but for `restart`, `distribution` and `sync_interval`: a
/// worker is restarted as the node says that it runs on, and a name is placed as the one said that was asked for it.
#[proc_macro_derive(Sworm, attributes(sworm))]
pub fn derive_sworm(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::sworm(&input).into()
}

/// Makes the `async` methods of a worker type callable through a `Ref` to it. Put it above `impl Counter { .. }`. With
/// `methods` in `#[worker(..)]` it is an error if it is missing.
///
/// For each `async fn` with `&mut self` or `&self` it writes
///
/// - a message with the arguments as its fields: `CounterAdd` for `add`, with the id `Counter.add` on the wire (or what
///   `#[message(id = "…")]` above the method says), and its handler, which calls the method;
/// - a method of the same name in the trait `CounterCalls`, which `Ref<Counter>` has: `counter.add(5)` is
///   `counter.call(CounterAdd { n: 5 })`, with the same errors, and with `.timeout(..)`. Other modules import the trait.
///
/// The messages can be cast, sent to groups and to oneself later, as all messages. They and the trait are as visible as the most
/// visible method of the block. The order of the methods is of no meaning; their names, and those of their arguments, are what
/// travels. A last argument `ctx: &mut Context<Self>` is the worker's own and does not travel. `&self` needs a worker that is
/// `Sync`. All other functions of the block stay as they are; a block cannot be generic, and one type has one such block.
///
/// `#[handlers(crate = path)]` says where the sworm crate is (default `::sworm`).
#[proc_macro_attribute]
pub fn handlers(args: TokenStream, block: TokenStream) -> TokenStream {
    expand::handlers(args.into(), block.into()).into()
}
