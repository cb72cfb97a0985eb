//! The one place that turns values into bytes and back: CBOR, for the wire and the disk.

mod limited;

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use limited::Cut;
pub use limited::Limited;

/// The deepest nesting that is decoded.
const RECURSION_LIMIT: usize = 64;
/// How much memory a thread keeps for encoding.
const MOST_KEPT_BYTES: usize = 64 << 10;

thread_local! {
    /// Where a thread encodes values whose length it does not know yet.
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value could not be encoded, or bytes could not be decoded.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Encodes a value.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    encode_with_room(value, 0)
}

/// Encodes a value. There is room for so many bytes behind it, and hardly more.
pub(crate) fn encode_with_room<T: Serialize + ?Sized>(value: &T, room: usize) -> Result<Vec<u8>, CodecError> {
    let mut bytes = BYTES.take();
    bytes.clear();
    ciborium::into_writer(value, &mut bytes).map_err(|e| CodecError(format!("cannot be encoded: {e}")))?;
    if bytes.capacity() > MOST_KEPT_BYTES {
        bytes.reserve_exact(room);
        return Ok(bytes);
    }
    let mut exact = Vec::with_capacity(bytes.len() + room);
    exact.extend_from_slice(&bytes);
    BYTES.set(bytes);
    Ok(exact)
}

/// Encodes a value into what takes so many bytes.
pub(crate) fn encode_to<T: Serialize + ?Sized>(value: &T, to: &mut Limited) -> Result<(), CodecError> {
    ciborium::into_writer(value, to).map_err(|e| CodecError(format!("cannot be encoded: {e}")))
}

/// Encodes a value, only to look at the bytes.
pub(crate) fn with_encoded<T: Serialize + ?Sized, R>(
    value: &T,
    look: impl FnOnce(&[u8]) -> R,
) -> Result<R, CodecError> {
    let mut bytes = BYTES.take();
    bytes.clear();
    let encoded = ciborium::into_writer(value, &mut bytes).map_err(|e| CodecError(format!("cannot be encoded: {e}")));
    let looked = encoded.map(|()| look(&bytes));
    if bytes.capacity() <= MOST_KEPT_BYTES {
        BYTES.set(bytes);
    }
    looked
}

/// What is wrong with a value is said by its own type, and not where CBOR met it.
fn undecodable<E: fmt::Debug>(error: ciborium::de::Error<E>) -> CodecError {
    match error {
        ciborium::de::Error::Semantic(_, why) => CodecError(format!("cannot be decoded: {why}")),
        other => CodecError(format!("cannot be decoded: {other}")),
    }
}

/// Decodes a value; bytes left over are an error.
pub fn decode<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CodecError> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut bytes, RECURSION_LIMIT).map_err(undecodable)?;
    if bytes.is_empty() { Ok(value) } else { Err(CodecError(format!("{} bytes too many", bytes.len()))) }
}

/// Decodes a value from what is read; bytes left over are an error.
pub(crate) fn read<T: DeserializeOwned>(mut from: &mut dyn Read) -> Result<T, CodecError> {
    let value = ciborium::de::from_reader_with_recursion_limit(&mut from, RECURSION_LIMIT).map_err(undecodable)?;
    match io::copy(from, &mut io::sink()) {
        Ok(0) => Ok(value),
        Ok(bytes) => Err(CodecError(format!("{bytes} bytes too many"))),
        Err(error) => Err(CodecError(format!("cannot be read: {error}"))),
    }
}

/// An encoded value: in memory, or read bit by bit from where it is.
pub enum Encoded<'a> {
    /// Its bytes.
    Bytes(&'a [u8]),
    /// What gives its bytes.
    Reader(&'a mut dyn Read),
}

/// How the values of one type become bytes and come back.
pub struct Codec<T> {
    encode: fn(&T, &mut Limited) -> Result<(), CodecError>,
    decode: fn(Encoded<'_>) -> Result<T, CodecError>,
}

impl<T> Codec<T> {
    /// Through serde.
    pub const fn of() -> Self
    where
        T: crate::Storable,
    {
        Self { encode: T::write_to, decode: T::from_encoded }
    }

    /// Encodes a value.
    pub fn encode(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let mut all = Limited::none();
        self.encode_to(value, &mut all)?;
        Ok(all.into_bytes().unwrap_or_default())
    }

    /// Encodes a value into what takes so many bytes.
    pub fn encode_to(&self, value: &T, to: &mut Limited) -> Result<(), CodecError> {
        (self.encode)(value, to)
    }

    /// Decodes a value; bytes left over are an error.
    pub fn decode(&self, bytes: &[u8]) -> Result<T, CodecError> {
        self.decode_from(Encoded::Bytes(bytes))
    }

    /// Decodes a value from where it is; bytes left over are an error.
    pub fn decode_from(&self, encoded: Encoded<'_>) -> Result<T, CodecError> {
        (self.decode)(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<Vec<(String, Option<u64>)>>(&bytes);
        }

        #[test]
        fn values_come_back(value in any::<Vec<(String, Option<u64>)>>()) {
            prop_assert_eq!(decode::<Vec<(String, Option<u64>)>>(&encode(&value).expect("encodes")), Ok(value));
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_type() {
        let why = decode::<std::num::NonZeroU8>(&[0]).expect_err("it is zero").to_string();
        assert!(why.starts_with("cannot be decoded: invalid value: integer `0`"), "{why}");
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        assert!(decode::<u8>(&[1, 2]).is_err());
        assert!(read::<u8>(&mut &[1, 2][..]).is_err());
        assert_eq!(read::<u8>(&mut &[1][..]), Ok(1));
    }
}
