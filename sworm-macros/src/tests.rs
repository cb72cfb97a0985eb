//! What the derives write beside an error: all that was right. The error texts are pinned by the compile-fail tests.

use quote::quote;
use syn::{DeriveInput, File, Item, parse_quote, parse2};

use crate::expand;

fn items(tokens: proc_macro2::TokenStream) -> Vec<Item> {
    parse2::<File>(tokens).expect("the expansion is Rust").items
}

fn errors(items: &[Item]) -> Vec<String> {
    let texts = items.iter().filter_map(|item| match item {
        Item::Macro(item) if item.mac.path.segments.last()?.ident == "compile_error" => Some(&item.mac.tokens),
        _ => None,
    });
    texts.map(|text| parse2::<syn::LitStr>(text.clone()).expect("one text").value()).collect()
}

/// The traits with impls, in order.
fn traits(items: &[Item]) -> Vec<String> {
    let paths = items.iter().filter_map(|item| match item {
        Item::Impl(item) => item.trait_.as_ref().map(|(path, _)| path),
        _ => None,
    });
    paths.filter_map(|path| path.segments.last()).map(|last| last.ident.to_string()).collect()
}

#[test]
fn a_worker_without_attributes_has_its_name_and_all_traits() {
    let input: DeriveInput = parse_quote! { struct r#type; };
    let tokens = expand::worker(&input);
    assert!(tokens.to_string().contains(r#"const NAME : & 'static str = "type""#));
    let items = items(tokens);
    assert_eq!(errors(&items), [] as [&str; 0]);
    assert_eq!(traits(&items), ["Target", "Worker", "Lifecycle"]);
}

#[test]
fn a_mistake_takes_nothing_else_away() {
    let input: DeriveInput = parse_quote! {
        #[worker(nam = Map<A, B, C>, handles(Add, Get), mailbox = 0, replicas = 2,, handoff)]
        struct Counter;
    };
    let tokens = expand::worker(&input);
    let text = tokens.to_string();
    assert!(text.contains("replicas (2)") && text.contains("handoff (true)") && !text.contains("mailbox ("));
    let items = items(tokens);
    let errors = errors(&items);
    assert!(errors.iter().any(|error| error == "expected the name of an attribute"), "{errors:?}");
    assert_eq!(errors.len(), 4);
    assert_eq!(traits(&items), ["Target", "Worker", "Request", "Request", "Lifecycle"]);
}

#[test]
fn what_follows_a_key_is_never_passed_over_in_silence() {
    let after = |given: &[&str], expected: &[&str]| {
        for text in given {
            let list: proc_macro2::TokenStream = text.parse().expect("tokens");
            let worker: DeriveInput = parse_quote! { #[worker(#list)] struct Counter; };
            let sworm: DeriveInput = parse_quote! { #[sworm(#list)] struct Counters; };
            assert_eq!(errors(&items(expand::worker(&worker))), expected, "{text}");
            if !text.contains("mailbox") && !text.contains("replicas") {
                assert_eq!(errors(&items(expand::sworm(&sworm))), expected, "{text}");
            }
        }
    };
    after(&["handoff, mailbox: 3", "mailbox: 3", "handoff, mailbox"], &["expected `mailbox = 64`"]);
    after(&["name = \"c\", \"x\", 17", "name = \"c\", 17"], &["expected the name of an attribute"]);
    after(&["name = \"c\" 17, handoff", "handoff = false true"], &["expected `,`"]);
    after(&["name = \"b\", replicas 2, mailbox 3"], &["expected `replicas = 2`", "expected `mailbox = 64`"]);
    let sworm: DeriveInput = parse_quote! { #[sworm(name = "d", handoff: false)] struct D; };
    assert_eq!(errors(&items(expand::sworm(&sworm))), ["expected `handoff = false`"]);
}

#[test]
fn a_refused_type_has_impls_with_bounds_and_no_entry() {
    let input: DeriveInput = parse_quote! {
        #[worker(handles(Get))]
        struct Cache<T> { items: Vec<T> }
    };
    let items = items(expand::worker(&input));
    assert_eq!(errors(&items).len(), 1);
    assert_eq!(traits(&items), ["Target", "Worker", "Request", "Lifecycle"]);
    assert!(!items.iter().any(|item| matches!(item, Item::Const(_))), "the inventory takes concrete types only");
}

#[test]
fn paths_start_where_the_attribute_says() {
    let input: DeriveInput = parse_quote! {
        #[worker(crate = my::sworm, handles(Get), handoff = Part, restart = Own)]
        struct Counter;
    };
    assert!(!expand::worker(&input).to_string().contains(":: sworm :: sworm"));
    let message: DeriveInput = parse_quote! {
        #[message(crate = my::sworm, reply = i64)]
        struct Add;
    };
    let sworm: DeriveInput = parse_quote! {
        #[sworm(crate = my::sworm, restart = Own, mode = "majority", expect_nodes = 3, ack = "memory", rebalance = "on")]
        struct Carts;
    };
    let handlers = expand::handlers(
        quote!(crate = my::sworm),
        quote!(impl Counter { async fn add(&mut self, n: i64, ctx: &mut Context<Self>) -> i64 { n } }),
    );
    for expanded in [expand::worker(&input), expand::message(&message), expand::sworm(&sworm), handlers] {
        let text = expanded.to_string();
        assert!(text.contains("my :: sworm ::") && !text.replace("my :: sworm", "").contains("sworm ::"), "{text}");
    }
}

/// What is written of a worker with these attributes.
fn worker_with(given: &str) -> proc_macro2::TokenStream {
    let given: proc_macro2::TokenStream = given.parse().expect("tokens");
    let input: DeriveInput = parse_quote! { #[worker(name = "c", #given)] struct Counter; };
    expand::worker(&input)
}

#[test]
fn a_version_above_one_is_read_by_the_hook_of_what_was_stored() {
    let written = |given: &str| {
        let tokens = worker_with(given);
        assert_eq!(errors(&items(tokens.clone())), [] as [&str; 0]);
        tokens.to_string()
    };
    assert_eq!(written("version = 1"), written(""));
    assert!(!written("").contains("Upgrade"));
    let whole = written("version = 2, handoff");
    assert!(whole.contains("const VERSION : u32 = 2") && whole.contains("fn upgrade_value"), "{whole}");
    assert!(
        whole.contains("< Counter as :: sworm :: Upgrade > :: upgrade") && !whole.contains("upgrade_state"),
        "{whole}"
    );
    let part = written("version = 2, handoff = Part");
    assert!(part.contains("fn upgrade_value") && part.contains("fn upgrade_state"), "{part}");
    assert!(part.contains("< Part as :: sworm :: Upgrade > :: upgrade"), "{part}");
    for wrong in ["version = 0", "version = 4294967296"] {
        let errors = errors(&items(worker_with(wrong)));
        assert!(matches!(&errors[..], [error] if error.contains("from 1 to 4294967295")), "{errors:?}");
    }
}

#[test]
fn when_and_where_states_are_saved_is_written_as_it_was_given() {
    let text = worker_with(r#"snapshot = "each", durable = "local""#).to_string();
    assert!(
        text.contains("snapshot (:: sworm :: Snapshots :: Each) . durable (:: sworm :: Durable :: Local)"),
        "{text}"
    );
    let text = worker_with(r#"snapshot = "1s", every = 7, durable = "replicas""#).to_string();
    assert!(text.contains("Snapshots :: Every (") && text.contains("every (7)"), "{text}");
    assert!(text.contains("Durable :: Replicas") && !text.contains("handoff ("), "{text}");
    let never = ["snapshot = \"each\"", "every = 7", "durable = \"local\"", "replicas = 2"];
    for (key, given) in ["snapshot", "every", "durable", "replicas"].into_iter().zip(never) {
        for whole in [format!("handoff = false, {given}"), format!("{given}, handoff = false")] {
            let errors = errors(&items(worker_with(&whole)));
            assert!(matches!(&errors[..], [error] if error.contains(&format!("`{key}` has no meaning"))), "{errors:?}");
            assert!(errors[0].contains("`handoff = false`"), "{errors:?}");
        }
        let fine = errors(&items(worker_with(&format!("handoff, {given}"))));
        assert_eq!(fine, [] as [&str; 0]);
    }
}

#[test]
fn of_all_that_says_how_states_are_saved_nothing_is_accepted_that_means_nothing() {
    let handoffs = ["", "handoff,", "handoff = Part,", "handoff = false,"];
    let snapshots = ["", "snapshot = \"1s\",", "snapshot = \"each\","];
    for (handoff, snapshot) in handoffs.into_iter().flat_map(|handoff| snapshots.map(|snapshot| (handoff, snapshot))) {
        for (every, durable) in
            [("", ""), ("every = 7,", ""), ("", "durable = \"local\","), ("every = 7,", "durable = \"replicas\",")]
        {
            for replicas in ["", "replicas = 0,", "replicas = 2,"] {
                let never =
                    handoff.contains("false") && [snapshot, every, durable, replicas].iter().any(|s| !s.is_empty());
                let each = snapshot.contains("each") && !every.is_empty() && !never;
                let alone = replicas.contains('0') && !durable.is_empty() && !never;
                let given = format!("{handoff} {snapshot} {every} {durable} {replicas}");
                let errors = errors(&items(worker_with(&given)));
                let wrong = [never, each, alone].into_iter().filter(|wrong| *wrong).count();
                assert_eq!(errors.len(), wrong, "{given}: {errors:?}");
                assert!(
                    errors.iter().all(|error| error.ends_with("has no meaning; leave one out")),
                    "{given}: {errors:?}"
                );
            }
        }
    }
}

#[test]
fn a_sworm_is_built_from_what_was_given() {
    let input: DeriveInput = parse_quote! {
        #[sworm(name = "carts", restart = "temporary", handoff, ack = "memory", sync_interval = "100ms", mode = "available")]
        struct Carts;
    };
    let text = expand::sworm(&input).to_string();
    assert!(text.contains(r#"SwormSpec :: new ("carts") . restart ("temporary") . handoff (true) . ack ("#));
    assert!(text.contains("Ack :: Memory) . sync_interval ("));
}

#[test]
fn a_majority_is_counted_among_so_many() {
    let input: DeriveInput = parse_quote! {
        #[sworm(mode = "majority", expect_nodes = 3, lease = "2s")]
        struct Carts;
    };
    let text = expand::sworm(&input).to_string();
    assert!(text.contains("Mode :: Majority) . expect_nodes (3) . lease ("), "{text}");
    for (wrong, why) in [
        (
            quote!(expect_nodes = 3),
            "`expect_nodes` is for `mode = \"majority\"` only; add that, or leave `expect_nodes` out",
        ),
        (quote!(lease = "2s"), "`lease` is for `mode = \"majority\"` only; add that, or leave `lease` out"),
        (quote!(mode = "majority", expect_nodes = 100), "`expect_nodes` must be from 1 to 99"),
        (quote!(mode = "majority", expect_nodes = 3, lease = "61s"), "`lease` must be from 1s to 60s"),
    ] {
        let input: DeriveInput = parse_quote! { #[sworm(#wrong)] struct Carts; };
        assert_eq!(errors(&items(expand::sworm(&input))), [why]);
    }
}

#[test]
fn the_interval_has_the_limits_that_opening_has() {
    for (interval, fits) in [("19ms", false), ("20ms", true), ("2s", true), ("2001ms", false)] {
        let input: DeriveInput = parse_quote! { #[sworm(sync_interval = #interval)] struct S; };
        let wrong = errors(&items(expand::sworm(&input)));
        let expected: &[&str] = if fits { &[] } else { &["`sync_interval` must be from 20ms to 2s"] };
        assert_eq!(wrong, expected, "{interval}");
    }
}

#[test]
fn a_message_replies_nothing_unless_told() {
    let input: DeriveInput = parse_quote! { struct Reset; };
    let text = expand::message(&input).to_string();
    assert!(text.contains("type Reply = () ;") && text.contains(r#"const ID : & 'static str = "Reset""#));
}

#[test]
fn a_wrong_method_takes_no_other_away_and_the_order_is_of_no_meaning() {
    let ids = |block: proc_macro2::TokenStream| {
        let items = items(expand::handlers(quote!(), block));
        let messages = items.iter().filter_map(|item| match item {
            Item::Impl(item) if traits(&[Item::Impl(item.clone())]) == ["Message"] => Some(quote!(#item).to_string()),
            _ => None,
        });
        let mut ids: Vec<_> = messages
            .filter_map(|text| Some(text.split("ID : & 'static str = ").nth(1)?.split(' ').next()?.to_owned()))
            .collect();
        ids.sort();
        (ids, errors(&items).len())
    };
    let (one, two) = (
        quote!(
            async fn one(&self) {}
        ),
        quote!(
            async fn two(&mut self, n: i64) {}
        ),
    );
    let both = (vec!["\"Counter.one\"".to_owned(), "\"Counter.two\"".to_owned()], 0);
    assert_eq!(ids(quote!(impl Counter { #one #two })), both);
    assert_eq!(ids(quote!(impl Counter { #two fn between() {} #one })), both);
    assert_eq!(ids(quote!(impl Counter { #two async fn wrong(self) {} #one })), (both.0, 1));
}
