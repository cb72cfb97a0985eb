//! Reads `#[worker(..)]`, `#[message(..)]` and `#[sworm(..)]` as typed, without judging the values.

use proc_macro2::{Ident, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Meta, Result, Token};

use crate::ast::{Ack, Durable, HandlersAttrs, MessageAttrs, Mode, Rebalance, SwormAttrs, WorkerAttrs};
use crate::errors::Errors;
use crate::value::{Arg, skip_value};

/// The keys of one attribute.
pub(crate) trait Keys: Default {
    const ATTRIBUTE: &'static str;
    /// How the attribute is written.
    const FORM: &'static str;

    fn read(&mut self, arg: Arg<'_>) -> Result<()>;
}

/// Reads all attributes of that name; a key that cannot be read is reported and passed over.
pub(crate) fn read<K: Keys>(attrs: &[Attribute], errors: &mut Errors) -> K {
    let mut keys = K::default();
    let mut seen = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(K::ATTRIBUTE)) {
        if !matches!(attr.meta, Meta::List(_)) {
            errors.at(&attr.meta, format!("expected a list, as in `{}`", K::FORM));
            continue;
        }
        let outcome = attr.parse_args_with(|input: ParseStream<'_>| read_list(input, &mut keys, &mut seen, errors));
        if let Err(error) = outcome {
            errors.push(error);
        }
    }
    keys
}

/// Reads the arguments of an attribute that is a macro itself.
pub(crate) fn read_args<K: Keys>(args: TokenStream, errors: &mut Errors) -> K {
    let (mut keys, mut seen) = (K::default(), Vec::new());
    let outcome = (|input: ParseStream<'_>| read_list(input, &mut keys, &mut seen, errors)).parse2(args);
    if let Err(error) = outcome {
        errors.push(error);
    }
    keys
}

fn read_list<K: Keys>(input: ParseStream<'_>, keys: &mut K, seen: &mut Vec<Ident>, errors: &mut Errors) -> Result<()> {
    while !input.is_empty() {
        let outcome = read_key(input, keys, seen, errors).and_then(|()| {
            let ended = input.is_empty() || input.peek(Token![,]);
            if ended { Ok(()) } else { Err(Error::new(input.span(), "expected `,`")) }
        });
        if let Err(error) = outcome {
            errors.push(error);
            skip_value(input)?;
        }
        input.parse::<Option<Token![,]>>()?;
    }
    Ok(())
}

fn read_key<K: Keys>(input: ParseStream<'_>, keys: &mut K, seen: &mut Vec<Ident>, errors: &mut Errors) -> Result<()> {
    let key = Ident::parse_any(input).map_err(|e| Error::new(e.span(), "expected the name of an attribute"))?;
    if seen.contains(&key) {
        return Err(Error::new(key.span(), format!("`{key}` is given twice; keep one")));
    }
    seen.push(key.clone());
    keys.read(Arg { key: &key, input, errors })
}

const CRATE: &str = "crate = path::to::sworm";

impl Keys for WorkerAttrs {
    const ATTRIBUTE: &'static str = "worker";
    const FORM: &'static str = "#[worker(name = \"counter\")]";

    fn read(&mut self, arg: Arg<'_>) -> Result<()> {
        match arg.key.to_string().as_str() {
            "name" => self.name = Some(arg.text("name = \"counter\"")?),
            "version" => self.version = Some(arg.number("version = 1")?),
            "handles" => self.handles = Some(arg.handles("handles(Add, Get)")?),
            "restart" => self.restart = Some(arg.strategy("restart = \"transient\"")?),
            "distribution" => self.distribution = Some(arg.strategy("distribution = \"rendezvous\"")?),
            "handoff" => self.handoff = Some(arg.handoff("handoff = Part")?),
            "replicas" => self.replicas = Some(arg.number("replicas = 2")?),
            "mailbox" => self.mailbox = Some(arg.number("mailbox = 64")?),
            "start_timeout" => self.start_timeout = Some(arg.length("start_timeout = \"3s\"")?),
            "lifecycle" => self.lifecycle = Some(arg.flag()?),
            "methods" => self.methods = Some(arg.flag()?),
            "crate" => self.krate = Some(arg.path(CRATE)?),
            "snapshot" => self.snapshot = Some(arg.snapshots("snapshot = \"1s\"")?),
            "every" => self.every = Some(arg.number("every = 100")?),
            "durable" => self.durable = Some(durable(arg)?),
            "state_wait" => {
                return Err(arg.error("`state_wait` belongs to the sworm: `#[sworm(state_wait = \"30s\")]`"));
            }
            _ => {
                return Err(arg.unknown(&[
                    "name",
                    "handles(..)",
                    "methods",
                    "restart",
                    "distribution",
                    "handoff",
                    "snapshot",
                    "every",
                    "durable",
                    "replicas",
                    "mailbox",
                    "start_timeout",
                    "lifecycle",
                    "version",
                    "crate",
                ]));
            }
        }
        Ok(())
    }
}

impl Keys for MessageAttrs {
    const ATTRIBUTE: &'static str = "message";
    const FORM: &'static str = "#[message(reply = i64)]";

    fn read(&mut self, arg: Arg<'_>) -> Result<()> {
        match arg.key.to_string().as_str() {
            "reply" => self.reply = Some(arg.ty("reply = i64")?),
            "id" => self.id = Some(arg.text("id = \"add\"")?),
            "crate" => self.krate = Some(arg.path(CRATE)?),
            _ => return Err(arg.unknown(&["reply", "id", "crate"])),
        }
        Ok(())
    }
}

impl Keys for HandlersAttrs {
    const ATTRIBUTE: &'static str = "handlers";
    const FORM: &'static str = "#[handlers(crate = path::to::sworm)]";

    fn read(&mut self, arg: Arg<'_>) -> Result<()> {
        match arg.key.to_string().as_str() {
            "crate" => self.krate = Some(arg.path(CRATE)?),
            _ => return Err(arg.unknown(&["crate"])),
        }
        Ok(())
    }
}

impl Keys for SwormAttrs {
    const ATTRIBUTE: &'static str = "sworm";
    const FORM: &'static str = "#[sworm(name = \"carts\")]";

    fn read(&mut self, arg: Arg<'_>) -> Result<()> {
        match arg.key.to_string().as_str() {
            "name" => self.name = Some(arg.text("name = \"carts\"")?),
            "restart" => self.restart = Some(arg.strategy("restart = \"temporary\"")?),
            "distribution" => self.distribution = Some(arg.strategy("distribution = \"rendezvous\"")?),
            "handoff" => self.handoff = Some(arg.switch("handoff = false")?),
            "mode" => self.mode = Some(mode(arg)?),
            "expect_nodes" => self.expect_nodes = Some(arg.number("expect_nodes = 3")?),
            "lease" => self.lease = Some(arg.length("lease = \"3s\"")?),
            "ack" => self.ack = Some(ack(arg)?),
            "rebalance" => self.rebalance = Some(rebalance(arg)?),
            "sync_interval" => self.sync_interval = Some(arg.length("sync_interval = \"100ms\"")?),
            "state_wait" => self.state_wait = Some(arg.length("state_wait = \"30s\"")?),
            "crate" => self.krate = Some(arg.path(CRATE)?),
            _ => {
                return Err(arg.unknown(&[
                    "name",
                    "restart",
                    "distribution",
                    "handoff",
                    "mode",
                    "expect_nodes",
                    "lease",
                    "ack",
                    "rebalance",
                    "sync_interval",
                    "state_wait",
                    "crate",
                ]));
            }
        }
        Ok(())
    }
}

fn ack(arg: Arg<'_>) -> Result<Ack> {
    let ack = arg.text("ack = \"durable\"")?;
    match ack.value().as_str() {
        "durable" => Ok(Ack::Durable),
        "memory" => Ok(Ack::Memory),
        other => {
            let text = format!("there is no ack \"{other}\"; write \"durable\", which is the default, or \"memory\"");
            Err(Error::new(ack.span(), text))
        }
    }
}

fn durable(arg: Arg<'_>) -> Result<Durable> {
    let durable = arg.text("durable = \"local\"")?;
    match durable.value().as_str() {
        "replicas" => Ok(Durable::Replicas),
        "local" => Ok(Durable::Local),
        other => {
            let text =
                format!("there is no durable \"{other}\"; write \"replicas\", which is the default, or \"local\"");
            Err(Error::new(durable.span(), text))
        }
    }
}

fn rebalance(arg: Arg<'_>) -> Result<Rebalance> {
    let rebalance = arg.text("rebalance = \"on\"")?;
    match rebalance.value().as_str() {
        "off" => Ok(Rebalance::Off),
        "on" => Ok(Rebalance::On),
        "manual" => Ok(Rebalance::Manual),
        other => {
            let text =
                format!("there is no rebalance \"{other}\"; write \"off\", which is the default, \"on\" or \"manual\"");
            Err(Error::new(rebalance.span(), text))
        }
    }
}

fn mode(arg: Arg<'_>) -> Result<Mode> {
    let mode = arg.text("mode = \"available\"")?;
    match mode.value().as_str() {
        "available" => Ok(Mode::Available),
        "majority" => Ok(Mode::Majority),
        other => {
            let text =
                format!("there is no mode \"{other}\"; write \"available\", which is the default, or \"majority\"");
            Err(Error::new(mode.span(), text))
        }
    }
}
