//! Something with options that begins when it is awaited.

use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// Its options until it is polled for the first time, then what it does.
pub(super) enum Lazy<O, T> {
    Options(Option<O>),
    Begun(BoxFuture<'static, T>),
}

impl<O, T> Lazy<O, T> {
    pub(super) fn new(options: O) -> Self {
        Self::Options(Some(options))
    }

    /// The same with other options.
    ///
    /// # Panics
    ///
    /// When it has begun.
    pub(super) fn with(mut self, change: impl FnOnce(&mut O)) -> Self {
        match &mut self {
            Self::Options(Some(options)) => change(options),
            _ => panic!("options are set before it is awaited"),
        }
        self
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>, begin: impl FnOnce(O) -> BoxFuture<'static, T>) -> Poll<T> {
        if let Self::Options(options) = self {
            *self = Self::Begun(begin(options.take().expect("it has not begun")));
        }
        match self {
            Self::Begun(begun) => begun.poll_unpin(cx),
            Self::Options(_) => unreachable!("it has begun"),
        }
    }
}
