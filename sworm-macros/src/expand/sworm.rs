//! `#[derive(Sworm)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::DeriveInput;

use super::{SwormPath, constant, duration, name_or_ident};
use crate::ast::{Ack, Mode, Rebalance, Strategy, SwormAttrs};
use crate::errors::Errors;
use crate::{attr, valid};

pub(crate) fn sworm(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut attrs: SwormAttrs = attr::read(&input.attrs, &mut errors);
    valid::sworm(input, &mut attrs, &mut errors);

    let sworm = SwormPath(attrs.krate.take());
    let (ident, name) = (&input.ident, name_or_ident(attrs.name.as_ref(), &input.ident));
    let mut spec = quote!(#sworm::SwormSpec::new(#name));
    spec.extend(strategy("restart", &quote!(#sworm::Restart), attrs.restart.as_ref()));
    spec.extend(strategy("distribution", &quote!(#sworm::Distribution), attrs.distribution.as_ref()));
    spec.extend(attrs.handoff.map(|on| quote!(.handoff(#on))));
    if let Some(Mode::Majority) = attrs.mode {
        spec.extend(quote!(.mode(#sworm::Mode::Majority)));
    }
    spec.extend(attrs.expect_nodes.map(|voters| quote!(.expect_nodes(#voters))));
    spec.extend(attrs.lease.map(|lease| {
        let lease = duration(lease.time);
        quote!(.lease(#lease))
    }));
    spec.extend(attrs.ack.map(|ack| match ack {
        Ack::Durable => quote!(.ack(#sworm::Ack::Durable)),
        Ack::Memory => quote!(.ack(#sworm::Ack::Memory)),
    }));
    spec.extend(attrs.rebalance.map(|rebalance| match rebalance {
        Rebalance::Off => quote!(.rebalance(#sworm::Rebalance::Off)),
        Rebalance::On => quote!(.rebalance(#sworm::Rebalance::On)),
        Rebalance::Manual => quote!(.rebalance(#sworm::Rebalance::Manual)),
    }));
    spec.extend(attrs.sync_interval.map(|every| {
        let every = duration(every.time);
        quote!(.sync_interval(#every))
    }));

    spec.extend(attrs.state_wait.map(|limit| {
        let limit = duration(limit.time);
        quote!(.state_wait(#limit))
    }));

    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let errors = errors.to_compile_errors();
    quote! {
        #errors
        #[automatically_derived]
        impl #impl_generics ::core::convert::From<#ident #ty_generics> for #sworm::SwormSpec #where_clause {
            fn from(_: #ident #ty_generics) -> Self {
                #spec
            }
        }
    }
}

fn strategy(setter: &str, kind: &TokenStream, given: Option<&Strategy>) -> Option<TokenStream> {
    let setter = match given? {
        Strategy::Named(_) => format_ident!("{setter}"),
        Strategy::Value(_) => format_ident!("{setter}_value"),
    };
    Some(match given? {
        Strategy::Named(name) => quote!(.#setter(#name)),
        Strategy::Value(value) => {
            let value = constant(kind, value);
            quote!(.#setter(#value))
        }
    })
}
