//! `#[derive(Worker)]`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::DeriveInput;
use syn::spanned::Spanned;

use super::{SwormPath, codec, constant, duration, ident_at, name_or_ident};
use crate::ast::{Durable, Handles, Handoff, Snapshots, Strategy, WorkerAttrs};
use crate::errors::Errors;
use crate::{attr, fallback, valid};

pub(crate) fn worker(input: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let mut attrs: WorkerAttrs = attr::read(&input.attrs, &mut errors);
    valid::worker(input, &mut attrs, &mut errors);

    let sworm = SwormPath(attrs.krate.take());
    let refused = fallback::refused(input);
    let (ident, name) = (&input.ident, name_or_ident(attrs.name.as_ref(), &input.ident));
    let options = options(&attrs, &sworm);
    let handlers = match &attrs.handles {
        Some(handles) if !refused => handlers(ident, handles, &sworm),
        _ => quote!(&[]),
    };
    let handlers =
        if refused { quote!(&[#handlers]) } else { with_methods(ident, &handlers, attrs.methods.as_ref(), &sworm) };
    let saves_part = match &attrs.handoff {
        Some(Handoff::Part(part)) if !refused => {
            let (worker, sworm) = (ident_at(ident, part.span()), sworm.at(part.span()));
            quote_spanned! {part.span()=>
                #[automatically_derived]
                impl #sworm::__private::SavesPart<#part> for #worker {}
            }
        }
        _ => TokenStream::new(),
    };
    let state = if refused { TokenStream::new() } else { state(ident, &attrs, &sworm) };
    let lifecycle = lifecycle(input, &attrs, &sworm);
    let rest = if refused { TokenStream::new() } else { rest(ident, &attrs, &sworm) };
    let where_clause = fallback::where_clause(input, &sworm);
    let codec = codec(ident, &sworm);
    let version = attrs.version.as_ref().map_or_else(|| quote!(1), |version| quote!(#version));
    let upgrade = if refused { TokenStream::new() } else { upgrade(ident, &attrs, &sworm) };
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let messages = attrs.handles.iter().flat_map(|handles| &handles.messages);
    let requests = messages.map(|message| {
        let (worker, sworm) = (ident_at(ident, message.span()), sworm.at(message.span()));
        quote_spanned! {message.span()=>
            #[automatically_derived]
            impl #impl_generics #sworm::Request<#worker #ty_generics> for #message #where_clause {}
        }
    });
    let errors = errors.to_compile_errors();
    quote! {
        #errors

        #[automatically_derived]
        impl #impl_generics #sworm::Target for #ident #ty_generics #where_clause {
            fn type_name() -> ::std::borrow::Cow<'static, str> {
                ::std::borrow::Cow::Borrowed(#name)
            }
        }

        #[automatically_derived]
        impl #impl_generics #sworm::Worker for #ident #ty_generics #where_clause {
            const NAME: &'static str = #name;
            const VERSION: u32 = #version;
            const CODEC: #sworm::__private::Codec<Self> = #codec;

            fn options() -> #sworm::WorkerOptions {
                #options
            }

            fn handlers() -> &'static [&'static [#sworm::__private::HandlerEntry<Self>]] {
                #handlers
            }

            #state
            #upgrade
        }

        #(#requests)*
        #saves_part
        #lifecycle
        #rest
    }
}

fn options(attrs: &WorkerAttrs, sworm: &SwormPath) -> TokenStream {
    let mut calls = quote!(#sworm::WorkerOptions::new());
    if let Some(given) = &attrs.restart {
        let value = strategy(given, &quote!(#sworm::Restart), sworm);
        calls.extend(quote!(.restart(#value)));
    }
    if let Some(given) = &attrs.distribution {
        let value = strategy(given, &quote!(#sworm::Distribution), sworm);
        calls.extend(quote!(.distribution(#value)));
    }
    if let Some(given) = &attrs.handoff {
        let on = !matches!(given, Handoff::Never(_));
        calls.extend(quote!(.handoff(#on)));
    }
    calls.extend(attrs.snapshot.as_ref().map(|when| match when {
        Snapshots::Each => quote!(.snapshot(#sworm::Snapshots::Each)),
        Snapshots::Period(period) => {
            let period = duration(period.time);
            quote!(.snapshot(#sworm::Snapshots::Every(#period)))
        }
    }));
    calls.extend(attrs.every.as_ref().map(|messages| quote!(.every(#messages))));
    calls.extend(attrs.durable.as_ref().map(|durable| match durable {
        Durable::Replicas => quote!(.durable(#sworm::Durable::Replicas)),
        Durable::Local => quote!(.durable(#sworm::Durable::Local)),
    }));
    calls.extend(attrs.replicas.as_ref().map(|count| quote!(.replicas(#count))));
    calls.extend(attrs.mailbox.as_ref().map(|messages| quote!(.mailbox(#messages))));
    if let Some(limit) = &attrs.start_timeout {
        let limit = duration(limit.time);
        calls.extend(quote!(.start_timeout(#limit)));
    }
    calls
}

fn strategy(given: &Strategy, kind: &TokenStream, sworm: &SwormPath) -> TokenStream {
    match given {
        Strategy::Named(name) => quote!(#sworm::Strategy::Named(#name)),
        Strategy::Value(value) => {
            let value = constant(kind, value);
            quote!(#sworm::Strategy::Value(#value))
        }
    }
}

/// The table for dispatch. Each entry stands at its message, so that a missing handler is reported there; equal ids
/// are reported at the list.
fn handlers(ident: &Ident, handles: &Handles, sworm: &SwormPath) -> TokenStream {
    let private = quote!(#sworm::__private);
    let entries = handles.messages.iter().map(|message| {
        let (worker, sworm) = (ident_at(ident, message.span()), sworm.at(message.span()));
        quote_spanned!(message.span()=> #sworm::__private::HandlerEntry::<#worker>::of::<#message>())
    });
    let places = 0..handles.messages.len();
    // At the list, but not as if its author had written it: lints would look at the list as the macro's arguments.
    let distinct = quote_spanned! {Span::call_site().located_at(handles.span)=>
        const _: () = ::core::assert!(
            #private::distinct_ids(&[#(HANDLERS[#places].id()),*]),
            "two messages in `handles(..)` have one id; give one of them `#[message(id = \"…\")]`"
        );
    };
    quote!({
        const HANDLERS: &[#private::HandlerEntry<#ident>] = &[#(#entries),*];
        #distinct
        HANDLERS
    })
}

/// The same with those of `#[handlers]`, if there is such a block. Where `methods` says that there is one, a missing one and
/// equal ids are reported at that word, and otherwise equal ids at the type.
fn with_methods(ident: &Ident, handlers: &TokenStream, methods: Option<&Ident>, sworm: &SwormPath) -> TokenStream {
    let span = methods.unwrap_or(ident).span();
    let (worker, at) = (ident_at(ident, span), sworm.at(span));
    let of_methods = match methods {
        Some(_) => quote_spanned!(span=> <#worker as #at::__private::Methods>::HANDLERS),
        None => quote!(#sworm::__private::MethodsOf::<#ident>::HANDLERS),
    };
    let distinct = quote_spanned! {Span::call_site().located_at(span)=>
        const _: () = ::core::assert!(
            #at::__private::distinct_entries(ALL),
            "a message and a method, or two methods, have one id; give one of them `#[message(id = \"…\")]`"
        );
    };
    quote! {
        #[allow(unused_imports)]
        use #sworm::__private::NoMethods as _;
        const ALL: &[&[#sworm::__private::HandlerEntry<#ident>]] = &[#handlers, #of_methods];
        #distinct
        ALL
    }
}

/// `save` and `restore` through `Handoff`; without `handoff = Part` the trait's own save the whole value.
fn state(ident: &Ident, attrs: &WorkerAttrs, sworm: &SwormPath) -> TokenStream {
    let Some(Handoff::Part(part)) = &attrs.handoff else { return TokenStream::new() };
    let private = quote!(#sworm::__private);
    let (worker, at) = (ident_at(ident, part.span()), sworm.at(part.span()));
    // Twice the same tokens: what is wrong with them is one error.
    let handoff = quote_spanned!(part.span()=> <#worker as #at::Handoff<#part>>);
    let codec = quote_spanned!(part.span()=> #at::__private::Codec::<#part>::of());
    quote! {
        fn save(&self, to: &mut #private::Limited) -> ::core::result::Result<(), #private::CodecError> {
            #codec.encode_to(&#handoff::save(self), to)
        }

        fn restore(
            mut registered: Self,
            state: #private::Encoded<'_>,
        ) -> ::core::result::Result<Self, #private::CodecError> {
            #handoff::restore(&mut registered, #codec.decode_from(state)?);
            ::core::result::Result::Ok(registered)
        }
    }
}

/// How what older versions stored is read, when there are any.
fn upgrade(ident: &Ident, attrs: &WorkerAttrs, sworm: &SwormPath) -> TokenStream {
    let Some(version) = attrs.version.as_ref().filter(|version| version.base10_parse::<u32>().is_ok_and(|n| n > 1))
    else {
        return TokenStream::new();
    };
    let (worker, at) = (ident_at(ident, version.span()), sworm.at(version.span()));
    let value = quote_spanned!(version.span()=> <#worker as #at::Upgrade>::upgrade);
    let value = quote! {
        fn upgrade_value(older: #sworm::Older<'_>) -> ::core::result::Result<Self, #sworm::BoxError> {
            #value(older)
        }
    };
    let Some(Handoff::Part(part)) = &attrs.handoff else { return value };
    let at = sworm.at(part.span());
    let (handoff, part) = (
        quote_spanned!(part.span()=> <#ident as #at::Handoff<#part>>),
        quote_spanned!(part.span()=> <#part as #at::Upgrade>::upgrade),
    );
    quote! {
        #value

        fn upgrade_state(
            mut registered: Self,
            older: #sworm::Older<'_>,
        ) -> ::core::result::Result<Self, #sworm::BoxError> {
            #handoff::restore(&mut registered, #part(older)?);
            ::core::result::Result::Ok(registered)
        }
    }
}

fn lifecycle(input: &DeriveInput, attrs: &WorkerAttrs, sworm: &SwormPath) -> TokenStream {
    if attrs.lifecycle.is_some() {
        return TokenStream::new();
    }
    let (ident, where_clause) = (&input.ident, fallback::where_clause(input, sworm));
    let (impl_generics, ty_generics, _) = input.generics.split_for_impl();
    let sworm = sworm.at(ident.span());
    quote_spanned! {ident.span()=>
        #[automatically_derived]
        impl #impl_generics #sworm::Lifecycle for #ident #ty_generics #where_clause {}
    }
}

/// The entry in the inventory.
fn rest(ident: &Ident, attrs: &WorkerAttrs, sworm: &SwormPath) -> TokenStream {
    let at = attrs.lifecycle.as_ref().unwrap_or(ident).span();
    let (worker, sworm_at) = (ident_at(ident, at), sworm.at(at));
    let entry = quote_spanned!(at=> #sworm_at::__private::WorkerEntry::of::<#worker>);
    let place = quote_spanned!(ident.span()=> (::core::file!(), ::core::line!()));
    quote! {
        const _: () = {
            #sworm::__private::inventory::submit! { #entry #place }
        };
    }
}
