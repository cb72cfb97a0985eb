//! What is written for a type that cannot be a worker or a message: impls that hold where they can.
//!
//! They keep the uses of the type from being errors too. The bounds are what the traits ask for, put so that an
//! impl which cannot hold is not itself an error.

use crate::expand::SwormPath;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput};

/// Whether the type was refused as a whole.
pub(crate) fn refused(input: &DeriveInput) -> bool {
    !input.generics.params.is_empty() || matches!(input.data, Data::Union(_))
}

/// The where-clause of the impls. For a refused type it asks for the supertraits; `for<'a>` makes the compiler take
/// a bound without parameters that does not hold.
pub(crate) fn where_clause(input: &DeriveInput, sworm: &SwormPath) -> TokenStream {
    let given = input.generics.where_clause.as_ref();
    if !refused(input) {
        return quote!(#given);
    }
    let (ident, (_, ty_generics, _)) = (&input.ident, input.generics.split_for_impl());
    let predicates = given.map(|clause| &clause.predicates).into_iter().flatten();
    quote! {
        where
            #(#predicates,)*
            for<'__a> #ident #ty_generics: #sworm::Storable + ::core::marker::Send + 'static
    }
}
