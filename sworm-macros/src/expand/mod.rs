//! Writes the impls.

mod handlers;
mod message;
mod sworm;
mod worker;

pub(crate) use handlers::handlers;
pub(crate) use message::message;
pub(crate) use sworm::sworm;
pub(crate) use worker::worker;

use std::time::Duration;

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Expr, Ident, LitStr, Path};

/// The sworm crate: what `crate = path` says, else `::sworm`.
pub(crate) struct SwormPath(Option<Path>);

impl SwormPath {
    /// The path as if it stood there: the compiler points at where a path begins.
    fn at(&self, span: Span) -> TokenStream {
        let Some(path) = &self.0 else { return quote_spanned!(span=> ::sworm) };
        let moved = path.to_token_stream().into_iter().map(|mut token| {
            token.set_span(token.span().located_at(span));
            token
        });
        moved.collect()
    }
}

impl ToTokens for SwormPath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match &self.0 {
            Some(path) => path.to_tokens(tokens),
            None => tokens.extend(quote!(::sworm)),
        }
    }
}

/// The name given, else the type's.
fn name_or_ident(given: Option<&LitStr>, ident: &Ident) -> LitStr {
    given.cloned().unwrap_or_else(|| LitStr::new(&ident.unraw().to_string(), ident.span()))
}

/// The type's name as if it stood there.
fn ident_at(ident: &Ident, span: Span) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(ident.span().located_at(span));
    ident
}

fn duration(time: Duration) -> TokenStream {
    let (secs, nanos) = (time.as_secs(), time.subsec_nanos());
    quote!(::core::time::Duration::new(#secs, #nanos))
}

/// A `&'static dyn` of a constant expression, checked where the expression stands. The odd name keeps the constant
/// from hiding one that the expression names.
fn constant(kind: &TokenStream, value: &Expr) -> TokenStream {
    let reference = quote_spanned!(value.span()=> &);
    let value = TokenTree::Group(Group::new(Delimiter::None, value.to_token_stream()));
    quote!({
        const __SWORM_VALUE: &(dyn #kind) = #reference #value;
        __SWORM_VALUE
    })
}

/// The one place that asks for serde: at the type's name, so that a missing derive is one error there.
fn codec(ident: &Ident, sworm: &SwormPath) -> TokenStream {
    let sworm = sworm.at(ident.span());
    quote_spanned!(ident.span()=> #sworm::__private::Codec::<Self>::of())
}
