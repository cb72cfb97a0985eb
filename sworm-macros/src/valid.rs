//! Checks what was read. A value that is refused is taken out, so that the rest still makes impls.

use std::ops::RangeInclusive;
use std::time::Duration;

use quote::ToTokens;
use syn::{Attribute, Data, DeriveInput, Fields, LitInt, LitStr};

use crate::ast::{Handoff, Length, MessageAttrs, Mode, Snapshots, Strategy, SwormAttrs, WorkerAttrs};
use crate::errors::Errors;

const MAX_NAME_BYTES: usize = 255;
const MAX_REPLICAS: u64 = 16;
const MAX_MAILBOX: u64 = 1_000_000;
const MAX_EVERY: u64 = 1_000_000_000;
const PERIOD: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(86_400);
/// As `SwormSpec` checks it.
const STATE_WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10 * 365 * 86_400);
const START_TIMEOUT: RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(3600);
/// As `SwormSpec` checks it when a sworm is opened.
const MAX_VOTERS: u64 = 99;
const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const SYNC_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(2);

pub(crate) fn worker(input: &DeriveInput, attrs: &mut WorkerAttrs, errors: &mut Errors) {
    not_a_union(input, "a worker", errors);
    not_on_parts(input, "worker", errors);
    not_generic(
        input,
        "a worker type cannot be generic: other nodes find it by its name; make a newtype for each concrete type",
        errors,
    );
    name(&mut attrs.name, "`name`", errors);
    number(&mut attrs.version, |n| outside(n, 1, u64::from(u32::MAX), "`version`"), errors);
    number(&mut attrs.every, |n| outside(n, 1, MAX_EVERY, "`every`"), errors);
    period(&mut attrs.snapshot, errors);
    saved_at_all(attrs, errors);
    number(&mut attrs.replicas, |n| outside(n, 0, MAX_REPLICAS, "`replicas`"), errors);
    number(&mut attrs.mailbox, |n| outside(n, 1, MAX_MAILBOX, "`mailbox`"), errors);
    length(&mut attrs.start_timeout, &START_TIMEOUT, "`start_timeout` must be above 0 and at most 1h", errors);
    strategy(&mut attrs.restart, "restart = \"transient\"", errors);
    strategy(&mut attrs.distribution, "distribution = \"rendezvous\"", errors);
    listed_once(attrs, errors);
}

pub(crate) fn message(input: &DeriveInput, attrs: &mut MessageAttrs, errors: &mut Errors) {
    not_a_union(input, "a message", errors);
    not_on_parts(input, "message", errors);
    not_generic(
        input,
        "a message type cannot be generic: it has one id on the wire; make a newtype for each concrete type",
        errors,
    );
    id(&mut attrs.id, errors);
}

/// The id of a message.
pub(crate) fn id(slot: &mut Option<LitStr>, errors: &mut Errors) {
    name(slot, "`id`", errors);
}

pub(crate) fn sworm(input: &DeriveInput, attrs: &mut SwormAttrs, errors: &mut Errors) {
    let unit = matches!(&input.data, Data::Struct(data) if matches!(data.fields, Fields::Unit));
    if !unit || !input.generics.params.is_empty() {
        let ident = &input.ident;
        errors.at(ident, format!("a sworm is declared by a unit struct: write `struct {ident};`"));
    }
    name(&mut attrs.name, "`name`", errors);
    length(&mut attrs.sync_interval, &SYNC_INTERVAL, "`sync_interval` must be from 20ms to 2s", errors);
    length(&mut attrs.state_wait, &STATE_WAIT, "`state_wait` must be at most 10 years", errors);
    strategy(&mut attrs.restart, "restart = \"temporary\"", errors);
    strategy(&mut attrs.distribution, "distribution = \"rendezvous\"", errors);
    number(&mut attrs.expect_nodes, |n| outside(n, 1, MAX_VOTERS, "`expect_nodes`"), errors);
    length(&mut attrs.lease, &LEASE, "`lease` must be from 1s to 60s", errors);
    match &attrs.mode {
        // How many nodes vote may be said when it is opened.
        Some(Mode::Majority) => {}
        Some(Mode::Available) | None => {
            let only =
                |what: &str| format!("`{what}` is for `mode = \"majority\"` only; add that, or leave `{what}` out");
            if let Some(voters) = &attrs.expect_nodes {
                errors.at(voters, only("expect_nodes"));
            }
            if let Some(lease) = &attrs.lease {
                errors.at(lease, only("lease"));
            }
        }
    }
}

fn not_a_union(input: &DeriveInput, what: &str, errors: &mut Errors) {
    if let Data::Union(data) = &input.data {
        errors.at(data.union_token, format!("a union cannot be {what}; use a struct or an enum"));
    }
}

fn not_generic(input: &DeriveInput, text: &str, errors: &mut Errors) {
    if !input.generics.params.is_empty() {
        errors.at(&input.generics, text);
    }
}

/// The attribute on a field or a variant would be passed over in silence.
fn not_on_parts(input: &DeriveInput, attribute: &str, errors: &mut Errors) {
    let mut check = |attrs: &[Attribute]| {
        for attr in attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
            errors.at(&attr.meta, format!("`#[{attribute}(..)]` belongs to the type; put it above the type"));
        }
    };
    let mut fields = |fields: &Fields| fields.iter().for_each(|field| check(&field.attrs));
    match &input.data {
        Data::Struct(data) => fields(&data.fields),
        Data::Enum(data) => data.variants.iter().for_each(|variant| fields(&variant.fields)),
        Data::Union(_) => {}
    }
    if let Data::Enum(data) = &input.data {
        data.variants.iter().for_each(|variant| check(&variant.attrs));
    }
}

fn period(slot: &mut Option<Snapshots>, errors: &mut Errors) {
    if let Some(Snapshots::Period(length)) = slot
        && !PERIOD.contains(&length.time)
    {
        errors.at(&*length, "`snapshot` must be from 10ms to 1day, or \"each\"");
        *slot = None;
    }
}

/// What says when, where or how often a state is saved says nothing where it is not saved, or where something else says more.
fn saved_at_all(attrs: &WorkerAttrs, errors: &mut Errors) {
    let WorkerAttrs { snapshot, every, durable, replicas, .. } = attrs;
    if let Some(Handoff::Never(never)) = &attrs.handoff {
        let given = [
            snapshot.is_some().then_some("snapshot"),
            every.is_some().then_some("every"),
            durable.is_some().then_some("durable"),
            replicas.is_some().then_some("replicas"),
        ];
        if let Some(key) = given.into_iter().flatten().next() {
            let text = format!("with `handoff = false` no state is saved, and `{key}` has no meaning; leave one out");
            errors.at(never, text);
        }
        return;
    }
    if let (Some(Snapshots::Each), Some(every)) = (snapshot, every) {
        errors.at(every, "`snapshot = \"each\"` saves after each message, and `every` has no meaning; leave one out");
    }
    if let Some(none) = replicas.as_ref().filter(|n| durable.is_some() && n.base10_parse::<u64>().is_ok_and(|n| n == 0))
    {
        errors.at(none, "with `replicas = 0` no other node has a copy, and `durable` has no meaning; leave one out");
    }
}

/// One type twice would give two equal impls and two equal ids.
fn listed_once(attrs: &mut WorkerAttrs, errors: &mut Errors) {
    let Some(handles) = &mut attrs.handles else { return };
    let mut seen = Vec::new();
    handles.messages.retain(|message| {
        let tokens = message.to_token_stream().to_string();
        let first = !seen.contains(&tokens);
        if first {
            seen.push(tokens);
        } else {
            errors.at(message, "this message is listed twice; keep one");
        }
        first
    });
}

fn name(slot: &mut Option<LitStr>, what: &str, errors: &mut Errors) {
    check(
        slot,
        |text| {
            let fits = (1..=MAX_NAME_BYTES).contains(&text.value().len());
            (!fits).then(|| format!("{what} must have 1 to {MAX_NAME_BYTES} bytes"))
        },
        errors,
    );
}

fn number(slot: &mut Option<LitInt>, wrong: impl Fn(u64) -> Option<String>, errors: &mut Errors) {
    // A number beyond `u64` is outside every range.
    check(slot, |number| wrong(number.base10_parse().unwrap_or(u64::MAX)), errors);
}

fn length(slot: &mut Option<Length>, limits: &RangeInclusive<Duration>, text: &str, errors: &mut Errors) {
    check(slot, |length| (!limits.contains(&length.time)).then(|| text.to_owned()), errors);
}

fn strategy(slot: &mut Option<Strategy>, form: &str, errors: &mut Errors) {
    let Some(Strategy::Named(name)) = slot else { return };
    if name.value().is_empty() {
        errors.at(&*name, format!("a strategy's name is not empty; write it as in `{form}`"));
        *slot = None;
    }
}

fn outside(value: u64, least: u64, most: u64, what: &str) -> Option<String> {
    (!(least..=most).contains(&value)).then(|| format!("{what} must be from {least} to {most}"))
}

fn check<T: ToTokens>(slot: &mut Option<T>, wrong: impl FnOnce(&T) -> Option<String>, errors: &mut Errors) {
    if let Some(value) = slot
        && let Some(text) = wrong(value)
    {
        errors.at(&*value, text);
        *slot = None;
    }
}
