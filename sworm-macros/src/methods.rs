//! Reads the methods of an `impl` block that are called as messages, and checks them.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{
    Attribute, FnArg, GenericArgument, ImplItem, ImplItemFn, ItemImpl, LitStr, Pat, PathArguments, ReceiverKind,
    ReturnType, Signature, Type, Visibility,
};

use crate::ast::MessageAttrs;
use crate::attr::{self, Keys};
use crate::errors::Errors;
use crate::valid;

/// What a `Ref` can do already: a method of that name could not be called through one.
const TAKEN: &[&str] = &["name", "pid", "call", "cast", "clone"];

/// The methods of one worker type.
pub(crate) struct Methods {
    pub(crate) worker: Ident,
    /// That of the messages and of their trait: the widest of any method.
    pub(crate) vis: Visibility,
    pub(crate) all: Vec<Method>,
}

/// A method that is called as a message.
pub(crate) struct Method {
    pub(crate) ident: Ident,
    /// The message's type.
    pub(crate) message: Ident,
    /// Its id on the wire.
    pub(crate) id: LitStr,
    pub(crate) args: Vec<(Ident, TokenStream)>,
    /// Whether it takes the context.
    pub(crate) ctx: bool,
    pub(crate) reply: TokenStream,
    /// Those that say something of whatever is made of it.
    pub(crate) attrs: Vec<Attribute>,
}

/// Takes the attributes that are not Rust's out of the block.
pub(crate) fn read(block: &mut ItemImpl, errors: &mut Errors) -> Option<Methods> {
    let worker = worker(block, errors)?;
    let mut all = Vec::new();
    let mut vis = Visibility::Inherited;
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        let given: MessageAttrs = attr::read(&method.attrs, errors);
        let marked = method.attrs.iter().any(|attr| attr.path().is_ident(MessageAttrs::ATTRIBUTE));
        method.attrs.retain(|attr| !attr.path().is_ident(MessageAttrs::ATTRIBUTE));
        if is_called(&method.sig) {
            if let Some(read) = read_one(&worker, method, given, errors) {
                vis = wider(vis, &method.vis);
                all.push(read);
            }
        } else if marked {
            errors.at(&method.sig.ident, "only an `async fn` with `self` is called as a message");
        }
    }
    let none = !block.items.iter().any(|item| matches!(item, ImplItem::Fn(m) if is_called(&m.sig)));
    if none {
        errors.at(&worker, "there is no `async fn` with `self` in this block, and so nothing to be called");
    }
    Some(Methods { worker, vis, all })
}

fn is_called(sig: &Signature) -> bool {
    sig.asyncness.is_some() && sig.receiver().is_some()
}

fn worker(block: &ItemImpl, errors: &mut Errors) -> Option<Ident> {
    if let Some((path, _)) = &block.trait_ {
        errors.at(path, "`#[handlers]` belongs to the type's own methods: `impl Counter { .. }`");
        return None;
    }
    if !block.generics.params.is_empty() {
        errors.at(&block.generics, "a worker type has no parameters, and so have the methods that it is called by");
        return None;
    }
    match &*block.self_ty {
        Type::Path(ty) if ty.qself.is_none() => {
            let ident = ty.path.get_ident().cloned();
            if ident.is_none() {
                errors.at(ty, "write the block beside the worker type, with its name alone");
            }
            ident
        }
        other => {
            errors.at(other, "this is not a worker type");
            None
        }
    }
}

fn read_one(worker: &Ident, method: &ImplItemFn, given: MessageAttrs, errors: &mut Errors) -> Option<Method> {
    let sig = &method.sig;
    let before = errors.count();
    if TAKEN.contains(&sig.ident.unraw().to_string().as_str()) {
        errors.at(&sig.ident, format!("every `Ref` has a method `{}` already; choose another name", sig.ident.unraw()));
    }
    if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
        errors.at(
            &sig.generics,
            "a method that is called as a message cannot be generic: it has one form on the wire; make one for each type",
        );
    }
    if let Some(receiver) = sig.receiver()
        && !matches!(receiver.kind, ReceiverKind::Reference(..))
    {
        errors.at(receiver, "take `&mut self` or `&self`: the worker goes on after the call");
    }
    if let Some(reply) = &given.reply {
        errors.at(reply, "the reply is what the method returns; leave `reply` out");
    }
    let (args, ctx) = arguments(worker, sig, errors);
    let reply = reply(worker, sig, errors);
    let mut id = given.id;
    valid::id(&mut id, errors);
    let name = sig.ident.unraw();
    let id = id.unwrap_or_else(|| LitStr::new(&format!("{}.{name}", worker.unraw()), sig.ident.span()));
    let message = format_ident!("{}{}", worker.unraw(), camel(&name.to_string()), span = sig.ident.span());
    let of_all = ["doc", "cfg", "deprecated"];
    let attrs = method.attrs.iter().filter(|attr| of_all.iter().any(|name| attr.path().is_ident(name)));
    let attrs = attrs.cloned().collect();
    (errors.count() == before).then(|| Method { ident: sig.ident.clone(), message, id, args, ctx, reply, attrs })
}

fn arguments(worker: &Ident, sig: &Signature, errors: &mut Errors) -> (Vec<(Ident, TokenStream)>, bool) {
    let typed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    let mut typed: Vec<_> = typed.collect();
    let ctx = typed.last().is_some_and(|last| is_context(&last.ty));
    if ctx {
        typed.pop();
    }
    let mut args = Vec::new();
    for arg in typed {
        if is_context(&arg.ty) {
            errors.at(&arg.ty, "the context comes last");
        } else if let Type::Reference(_) = &*arg.ty {
            errors.at(&arg.ty, "an argument travels: take it by value, such as a `String` rather than a `&str`");
        } else if let Type::ImplTrait(_) = &*arg.ty {
            errors.at(&arg.ty, "an argument travels: give it a type of its own rather than `impl`");
        }
        match &*arg.pat {
            Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => {
                args.push((pat.ident.clone(), without_self(worker, arg.ty.to_token_stream())));
            }
            other => errors.at(other, "an argument needs a name: a field of the message is made of it"),
        }
    }
    (args, ctx)
}

fn reply(worker: &Ident, sig: &Signature, errors: &mut Errors) -> TokenStream {
    let ReturnType::Type(_, ty) = &sig.output else { return quote!(()) };
    match &**ty {
        Type::Reference(_) => errors.at(ty, "a reply travels: return it by value"),
        Type::ImplTrait(_) => errors.at(ty, "a reply travels: give it a type of its own rather than `impl`"),
        _ => {}
    }
    without_self(worker, ty.to_token_stream())
}

/// `&mut Context<..>`, by whatever path.
fn is_context(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    let Some(last) = path.path.segments.last() else { return false };
    let of_one = match &last.arguments {
        PathArguments::AngleBracketed(of) => {
            of.args.len() == 1 && of.args.iter().all(|arg| matches!(arg, GenericArgument::Type(_)))
        }
        _ => false,
    };
    reference.mutability.is_some() && last.ident == "Context" && of_one
}

/// `Self` is another type where the message is written.
fn without_self(worker: &Ident, tokens: TokenStream) -> TokenStream {
    let replaced = tokens.into_iter().map(|token| match token {
        TokenTree::Ident(ident) if ident == "Self" => {
            let mut worker = worker.clone();
            worker.set_span(ident.span());
            TokenTree::Ident(worker)
        }
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), without_self(worker, group.stream()));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        other => other,
    });
    replaced.collect()
}

/// `add_item` as `AddItem`.
fn camel(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    let upper = words.map(|word| {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        first.to_uppercase() + rest
    });
    upper.collect()
}

/// Everybody, then the crate, then a part of it, then the module.
fn wider(one: Visibility, other: &Visibility) -> Visibility {
    let rank = |vis: &Visibility| match vis {
        Visibility::Public(_) => 3,
        Visibility::Restricted(restricted) if restricted.path.is_ident("crate") => 2,
        Visibility::Restricted(_) => 1,
        Visibility::Inherited => 0,
    };
    if rank(other) > rank(&one) { other.clone() } else { one }
}
