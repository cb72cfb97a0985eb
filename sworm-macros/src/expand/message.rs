//! `#[derive(Message)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::DeriveInput;

use super::{SwormPath, codec, name_or_ident};
use crate::ast::MessageAttrs;
use crate::errors::Errors;
use crate::{attr, fallback, valid};

pub(crate) fn message(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut attrs: MessageAttrs = attr::read(&input.attrs, &mut errors);
    valid::message(input, &mut attrs, &mut errors);

    let sworm = SwormPath(attrs.krate.take());
    let (ident, id) = (&input.ident, name_or_ident(attrs.id.as_ref(), &input.ident));
    let reply = attrs.reply.map_or_else(|| quote!(()), |reply| reply.to_token_stream());
    let where_clause = fallback::where_clause(input, &sworm);
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let codec = codec(ident, &sworm);
    let errors = errors.to_compile_errors();
    quote! {
        #errors
        #[automatically_derived]
        impl #impl_generics #sworm::Message for #ident #ty_generics #where_clause {
            type Reply = #reply;
            const ID: &'static str = #id;
            const CODEC: #sworm::__private::Codec<Self> = #codec;
        }
    }
}
