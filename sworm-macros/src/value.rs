//! One key of an attribute, and the kinds of value that can follow it. `form` is how the whole is written, for the
//! error texts.

use proc_macro2::{Ident, TokenTree};
use syn::ext::IdentExt;
use syn::parse::discouraged::Speculative;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Lit, LitBool, LitInt, LitStr, Path, Result, Token, Type, parenthesized, token};

use crate::ast::{Handles, Handoff, Length, Snapshots, Strategy};
use crate::errors::Errors;

/// A key that was just read; its value, if any, comes next.
pub(crate) struct Arg<'a> {
    pub(crate) key: &'a Ident,
    pub(crate) input: ParseStream<'a>,
    pub(crate) errors: &'a mut Errors,
}

impl Arg<'_> {
    /// An error at the key.
    pub(crate) fn error(&self, text: impl std::fmt::Display) -> Error {
        Error::new(self.key.span(), text)
    }

    /// An error at what comes next, or at the key if nothing does.
    fn expected(&self, what: &str, form: &str) -> Error {
        let span = if self.input.is_empty() { self.key.span() } else { self.input.span() };
        Error::new(span, format!("expected {what}, as in `{form}`"))
    }

    /// The error for a key that means nothing.
    pub(crate) fn unknown(&self, known: &[&str]) -> Error {
        let list = known.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        self.error(format!("unknown attribute `{}`; there are {list}", self.key))
    }

    pub(crate) fn text(self, form: &str) -> Result<LitStr> {
        self.equals(form)?;
        if self.input.peek(LitStr) { self.input.parse() } else { Err(self.expected("text in quotes", form)) }
    }

    pub(crate) fn number(self, form: &str) -> Result<LitInt> {
        self.equals(form)?;
        if self.input.peek(LitInt) { self.input.parse() } else { Err(self.expected("a whole number", form)) }
    }

    pub(crate) fn length(self, form: &str) -> Result<Length> {
        self.equals(form)?;
        if !self.input.peek(LitStr) {
            return Err(self.expected("a length of time in quotes", form));
        }
        let literal: LitStr = self.input.parse()?;
        match humantime::parse_duration(&literal.value()) {
            Ok(time) => Ok(Length { literal, time }),
            Err(_) => Err(Error::new(literal.span(), format!("not a length of time; write it as in `{form}`"))),
        }
    }

    /// `"each"` or a length of time.
    pub(crate) fn snapshots(self, form: &str) -> Result<Snapshots> {
        let ahead = self.input.fork();
        let each = ahead.parse::<Token![=]>().and_then(|_| ahead.parse::<LitStr>());
        if each.is_ok_and(|text| text.value() == "each") {
            self.input.advance_to(&ahead);
            return Ok(Snapshots::Each);
        }
        self.length(form).map(Snapshots::Period).map_err(|error| {
            let also = format!("{error}, or `snapshot = \"each\"`");
            Error::new(error.span(), also)
        })
    }

    pub(crate) fn path(self, form: &str) -> Result<Path> {
        self.equals(form)?;
        let ahead = self.input.fork();
        let path = Path::parse_mod_style(&ahead).map_err(|_| self.expected("a path without quotes", form))?;
        self.input.advance_to(&ahead);
        Ok(path)
    }

    pub(crate) fn ty(self, form: &str) -> Result<Type> {
        self.equals(form)?;
        self.attempt("a type without quotes", form)
    }

    pub(crate) fn strategy(self, form: &str) -> Result<Strategy> {
        self.equals(form)?;
        let ahead = self.input.fork();
        if let Ok(name) = ahead.parse::<LitStr>()
            && (ahead.is_empty() || ahead.peek(Token![,]))
        {
            self.input.advance_to(&ahead);
            return Ok(Strategy::Named(name));
        }
        self.attempt("a name in quotes or a constant expression", form).map(|value| Strategy::Value(Box::new(value)))
    }

    /// A key that stands for itself.
    pub(crate) fn flag(self) -> Result<Ident> {
        if self.input.is_empty() || self.input.peek(Token![,]) {
            return Ok(self.key.clone());
        }
        Err(Error::new(self.input.span(), format!("`{0}` takes no value; write `{0}`", self.key)))
    }

    /// A key that stands for itself, or has `true` or `false`.
    pub(crate) fn switch(self, form: &str) -> Result<bool> {
        if self.input.is_empty() || self.input.peek(Token![,]) {
            return Ok(true);
        }
        self.equals(form)?;
        if self.input.peek(LitBool) {
            return self.input.parse::<LitBool>().map(|on| on.value);
        }
        Err(self.expected("`true` or `false`", form))
    }

    pub(crate) fn handoff(self, form: &str) -> Result<Handoff> {
        if !self.input.peek(Token![=]) {
            return self.switch(form).map(|_| Handoff::Whole);
        }
        self.equals(form)?;
        if self.input.peek(LitBool) {
            let on: LitBool = self.input.parse()?;
            return Ok(if on.value { Handoff::Whole } else { Handoff::Never(on) });
        }
        self.attempt("`false` or a type", form).map(|part| Handoff::Part(Box::new(part)))
    }

    pub(crate) fn handles(self, form: &str) -> Result<Handles> {
        if !self.input.peek(token::Paren) {
            return Err(self.error(format!("expected a list, as in `{form}`")));
        }
        let content;
        let list = parenthesized!(content in self.input);
        Ok(Handles { span: list.span.join(), messages: types(&content, form, self.errors)? })
    }

    fn equals(&self, form: &str) -> Result<()> {
        if self.input.peek(Token![=]) && !self.input.peek(Token![==]) {
            return self.input.parse::<Token![=]>().map(drop);
        }
        Err(self.error(format!("expected `{form}`")))
    }

    /// Parses ahead, since what a failed parse leaves behind in a nested group would be reported a second time.
    fn attempt<T: Parse>(&self, what: &str, form: &str) -> Result<T> {
        let ahead = self.input.fork();
        let value = ahead.parse().map_err(|_| self.expected(what, form))?;
        self.input.advance_to(&ahead);
        Ok(value)
    }
}

/// The types in a list; what is not one is reported and passed over.
fn types(content: ParseStream<'_>, form: &str, errors: &mut Errors) -> Result<Vec<Type>> {
    let mut all = Vec::new();
    while !content.is_empty() {
        let ahead = content.fork();
        match ahead.parse::<Type>() {
            Ok(one) if ahead.is_empty() || ahead.peek(Token![,]) => {
                content.advance_to(&ahead);
                all.push(one);
            }
            _ => {
                errors.at_span(content.span(), format!("expected the type of a message, as in `{form}`"));
                while !content.is_empty() && !content.peek(Token![,]) {
                    content.parse::<TokenTree>()?;
                }
            }
        }
        content.parse::<Option<Token![,]>>()?;
    }
    Ok(all)
}

/// Passes over what is left of one key that could not be read, up to the comma before the next.
pub(crate) fn skip_value(input: ParseStream<'_>) -> Result<()> {
    while !input.is_empty() && !before_next_key(input) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// A comma alone does not tell, since types have commas too.
fn before_next_key(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    if ahead.parse::<Token![,]>().is_err() {
        return false;
    }
    let key_follows = |ahead: ParseStream<'_>| {
        // What stands where `=` belongs makes a key of it too: it is reported as such.
        let nearly = ahead.peek(Lit) || ahead.peek(Token![:]) && !ahead.peek(Token![::]);
        ahead.is_empty() || ahead.peek(Token![=]) || ahead.peek(Token![,]) || ahead.peek(token::Paren) || nearly
    };
    ahead.is_empty() || Ident::parse_any(&ahead).is_ok() && key_follows(&ahead)
}
