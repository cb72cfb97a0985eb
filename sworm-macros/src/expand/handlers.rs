//! `#[handlers]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ItemImpl;
use syn::ext::IdentExt;

use super::SwormPath;
use crate::ast::HandlersAttrs;
use crate::attr;
use crate::errors::Errors;
use crate::methods::{self, Method, Methods};

pub(crate) fn handlers(args: TokenStream, block: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut attrs: HandlersAttrs = attr::read_args(args, &mut errors);
    let mut parsed: ItemImpl = match syn::parse2(block.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(syn::Error::new(error.span(), format!("`#[handlers]` stands above an `impl` block: {error}")));
            let errors = errors.to_compile_errors();
            return quote!(#errors #block);
        }
    };
    let sworm = SwormPath(attrs.krate.take());
    let methods = methods::read(&mut parsed, &mut errors);
    let written = methods.map(|methods| written(&methods, &sworm));
    let errors = errors.to_compile_errors();
    quote! {
        #errors
        #parsed
        #written
    }
}

fn written(methods: &Methods, sworm: &SwormPath) -> TokenStream {
    let Methods { worker, vis, all } = methods;
    let messages = all.iter().map(|method| message(methods, method, sworm));
    let entries = all.iter().map(|method| {
        let (cfgs, message) = (method.cfgs(), &method.message);
        quote!(#(#cfgs)* #sworm::__private::HandlerEntry::<#worker>::of::<#message>())
    });
    let calls = format_ident!("{}Calls", worker.unraw(), span = worker.span());
    let doc = format!(
        "The methods of [`{worker}`] as a [`Ref`](sworm::Ref) to one has them: each sends a message and waits for the reply, \
         as `call` does. Bring it into scope to use them."
    );
    let signatures = all.iter().map(|method| signature(method, sworm));
    let bodies = all.iter().map(|method| {
        let (cfgs, signature, message) = (method.cfgs(), method.signature(sworm), &method.message);
        let fields = method.args.iter().map(|(name, _)| name);
        let value = if method.args.is_empty() { quote!(#message) } else { quote!(#message { #(#fields),* }) };
        quote! {
            #(#cfgs)*
            #signature {
                self.call(#value)
            }
        }
    });
    let at = sworm.at(worker.span());
    let methods = quote_spanned!(worker.span()=> impl #at::__private::Methods for #worker);
    quote! {
        #(#messages)*

        #[doc = #doc]
        #[allow(dead_code, unreachable_pub)]
        #vis trait #calls {
            #(#signatures)*
        }

        #[automatically_derived]
        #[allow(deprecated)]
        impl #calls for #sworm::Ref<#worker> {
            #(#bodies)*
        }

        #[automatically_derived]
        #methods {
            const HANDLERS: &'static [#sworm::__private::HandlerEntry<Self>] = &[#(#entries),*];
        }
    }
}

fn signature(method: &Method, sworm: &SwormPath) -> TokenStream {
    let (attrs, signature) = (&method.attrs, method.signature(sworm));
    quote!(#(#attrs)* #signature;)
}

impl Method {
    fn cfgs(&self) -> impl Iterator<Item = &syn::Attribute> {
        self.attrs.iter().filter(|attr| attr.path().is_ident("cfg"))
    }

    fn signature(&self, sworm: &SwormPath) -> TokenStream {
        let (ident, message) = (&self.ident, &self.message);
        let args = self.args.iter().map(|(name, ty)| quote!(#name: #ty));
        quote!(fn #ident(&self, #(#args),*) -> #sworm::CallBuilder<#message>)
    }
}

/// The message of one method, and how it is handled.
fn message(methods: &Methods, method: &Method, sworm: &SwormPath) -> TokenStream {
    let (worker, vis) = (&methods.worker, &methods.vis);
    let Method { ident, message, id, args, ctx, reply, .. } = method;
    let (cfgs, cfgs_again, more_cfgs, last_cfgs) = (method.cfgs(), method.cfgs(), method.cfgs(), method.cfgs());
    let (names, types) = (args.iter().map(|(name, _)| name), args.iter().map(|(_, ty)| ty));
    let names_again = names.clone();
    let doc = format!("What [`{worker}::{}`] is called by on the wire.", ident.unraw());
    let serde = format!("{}::__private::serde", sworm.to_token_stream());
    let (body, clone) = if args.is_empty() {
        (quote!(;), Some(quote!(#[derive(::core::clone::Clone, ::core::marker::Copy)])))
    } else {
        (quote!({ #(#vis #names: #types),* }), None)
    };
    let taken = if args.is_empty() { quote!(#message) } else { quote!(#message { #(#names_again),* }) };
    let passed = args.iter().map(|(name, _)| quote!(#name)).chain(ctx.then(|| quote!(__sworm_ctx)));
    let unused = (!ctx).then(|| quote!(let _ = __sworm_ctx;));
    let at = sworm.at(ident.span());
    // At the method's name: what is wrong with its future is reported there.
    let handler = quote_spanned! {ident.span()=>
        impl #at::Handler<#message> for #worker {
            async fn handle(&mut self, __sworm_message: #message, __sworm_ctx: &mut #at::Context<Self>) -> #reply {
                #unused
                let #taken = __sworm_message;
                #worker::#ident(self, #(#passed),*).await
            }
        }
    };
    quote! {
        #(#cfgs)*
        #[doc = #doc]
        #clone
        #[derive(#sworm::__private::serde::Serialize, #sworm::__private::serde::Deserialize)]
        #[serde(crate = #serde)]
        #[allow(missing_docs, unreachable_pub)]
        #vis struct #message #body

        #(#cfgs_again)*
        #[automatically_derived]
        impl #sworm::Message for #message {
            type Reply = #reply;
            const ID: &'static str = #id;
            const CODEC: #sworm::__private::Codec<Self> = #sworm::__private::Codec::<Self>::of();
        }

        #(#more_cfgs)*
        #[automatically_derived]
        impl #sworm::Request<#worker> for #message {}

        #(#last_cfgs)*
        #[automatically_derived]
        #[allow(deprecated)]
        #handler
    }
}
