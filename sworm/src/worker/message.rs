//! What a worker can be sent, and who takes it.

use std::borrow::Cow;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Context, Worker};
use crate::codec::{self, Codec, CodecError, Encoded, Limited};

/// A message with a reply, sent to workers through [`Ref::call`](crate::Ref::call) and
/// [`Ref::cast`](crate::Ref::cast). Derive it:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use sworm::prelude::*;
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(reply = i64)]
/// struct Add { n: i64 }
///
/// assert_eq!(Add::ID, "Add");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a message",
    label = "not a message",
    note = "add `#[derive(Message, Serialize, Deserialize)]` to it"
)]
pub trait Message: Sized + Send + 'static {
    /// What a worker answers. Errors of the handler are its business: use a `Result` here.
    type Reply: Storable + Send + 'static;

    /// The name of the message on the wire, unique among the messages of one worker type.
    const ID: &'static str;

    #[doc(hidden)]
    const CODEC: Codec<Self>;
}

/// States that the worker type `W` takes this message; written by `#[derive(Worker)]` for each type in
/// `handles(..)`.
#[diagnostic::on_unimplemented(
    message = "`{W}` does not take `{Self}`; add it to `#[worker(handles(..))]`",
    label = "not in `handles(..)` of `{W}`"
)]
pub trait Request<W: Target>: Message {}

/// Answers messages of type `M`. The future must be `Send`; write it as an `async fn`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handler for `{M}`; write `impl Handler<{M}> for {Self}`",
    label = "`{M}` is in `handles(..)` without a handler"
)]
pub trait Handler<M: Message>: Worker {
    /// Handles one message. The worker takes the next one when this one is done.
    fn handle(&mut self, message: M, ctx: &mut Context<Self>) -> impl Future<Output = M::Reply> + Send;
}

/// What a [`Ref`](crate::Ref) can point at: a worker type, or an [`Inbox`](crate::Inbox).
pub trait Target: Sized + Send + 'static {
    /// The type's name on the wire and on disk.
    fn type_name() -> Cow<'static, str>;
}

/// A value that can be stored and sent: every type with serde's `Serialize` and `Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be stored or sent; add `#[derive(Serialize, Deserialize)]` to it",
    label = "serde's `Serialize` and `Deserialize` are needed"
)]
pub trait Storable: Sized {
    #[doc(hidden)]
    fn write_to(&self, to: &mut Limited) -> Result<(), CodecError>;
    #[doc(hidden)]
    fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        Codec::of().encode(self)
    }
    #[doc(hidden)]
    fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        Self::from_encoded(Encoded::Bytes(bytes))
    }
    #[doc(hidden)]
    fn from_encoded(encoded: Encoded<'_>) -> Result<Self, CodecError>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Storable for T {
    fn write_to(&self, to: &mut Limited) -> Result<(), CodecError> {
        codec::encode_to(self, to)
    }
    fn from_encoded(encoded: Encoded<'_>) -> Result<Self, CodecError> {
        match encoded {
            Encoded::Bytes(bytes) => codec::decode(bytes),
            Encoded::Reader(from) => codec::read(from),
        }
    }
}
