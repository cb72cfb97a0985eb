//! Every option and attribute that there is, and the test that shows what it does.
//!
//! What there is comes from the sources: an option that is not listed here, or whose test is gone, is ignored or makes no use of
//! the option, fails the walk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

mod shown;
mod source;

use source::Test;

/// Where it is accepted, what it is called, and the test that fails when it is not honoured.
type Listed = (&'static str, &'static str, &'static str);

const RESTART: &str = "a_restart_strategy_is_the_types_else_the_sworms_else_the_default";
const DISTRIBUTION: &str = "a_distribution_strategy_is_the_types_else_the_sworms_else_the_default";
const HANDOFF: &str = "what_moves_along_is_said_by_the_type_else_by_the_sworm_else_nothing_does";
const DERIVED: &str = "what_a_derived_sworm_says_is_what_a_spec_says";
const WIRE: &str = "types_and_messages_go_by_the_names_that_their_attributes_give_them";
const PATHS: &str = "paths_start_where_the_attribute_says";

const WALK: &[Listed] = &[
    (BUILDER, "cluster", "clusters_on_one_memory_network_are_two"),
    (BUILDER, "store", "what_is_in_memory_only_is_gone_with_the_last_node"),
    (BUILDER, "store_plugin", "a_store_of_a_plugin_keeps_what_a_node_has_and_whose_it_is"),
    (BUILDER, "in_memory", "what_is_in_memory_only_is_gone_with_the_last_node"),
    (BUILDER, "store_with", "only_a_registration_on_a_sworm_with_ack_in_memory_is_answered_before_the_sync"),
    (BUILDER, "listen", "a_port_in_use_and_an_endpoint_that_is_none_are_refused"),
    (BUILDER, "advertise", "what_is_advertised_stands_for_where_the_node_listens_and_must_be_an_endpoint"),
    (BUILDER, "join", "nodes_find_each_other_through_the_endpoints_that_they_join"),
    (BUILDER, "label", "a_pinned_worker_runs_on_nodes_with_its_label_only"),
    (BUILDER, "weight", "a_node_of_weight_three_gets_three_of_four_names"),
    (BUILDER, "concurrent_starts", "starts_that_hang_make_way_for_others_however_many_they_are"),
    (BUILDER, "recover_wait", "a_node_that_starts_waits_as_long_as_it_is_told_for_those_that_were_there_before"),
    (BUILDER, "snapshot_limit", "a_node_says_how_large_a_state_may_be"),
    (
        BUILDER,
        "encode_local_calls",
        "a_message_that_does_not_survive_its_encoding_is_found_by_local_calls_that_are_encoded",
    ),
    (BUILDER, "client", "a_client_runs_nothing_and_says_so"),
    (BUILDER, "zenoh", "a_node_with_a_configuration_of_the_callers_is_found_on_this_machine_and_takes_part"),
    (BUILDER, "memory_network", "clusters_on_one_memory_network_are_two"),
    (SPEC, "restart", RESTART),
    (SPEC, "restart_value", RESTART),
    (SPEC, "distribution", DISTRIBUTION),
    (SPEC, "distribution_value", DISTRIBUTION),
    (SPEC, "handoff", HANDOFF),
    (SPEC, "ack", "only_a_registration_on_a_sworm_with_ack_in_memory_is_answered_before_the_sync"),
    (SPEC, "mode", "a_side_without_a_majority_refuses_and_parks_and_the_other_goes_on_from_what_was_acknowledged"),
    (SPEC, "expect_nodes", "nothing_is_registered_before_the_voters_have_seen_each_other"),
    (SPEC, "lease", "a_longer_lease_waits_longer_for_a_silent_node"),
    (SPEC, "rebalance", "balance_comes_by_itself_when_the_members_are_the_same_for_a_while"),
    (SPEC, "state_wait", "a_name_starts_from_what_there_is_when_its_sworm_says_so"),
    (SPEC, "sync_interval", "heartbeats_come_once_in_a_sync_interval"),
    (REGISTER, "timeout", "a_registration_is_waited_for_as_long_as_its_timeout"),
    (REGISTER, "on", "names_are_found_by_prefix_node_and_type"),
    (REGISTER, "metadata", "a_failed_worker_starts_again_from_its_state_and_its_restarts_are_forgotten"),
    (CALL, "timeout", "a_call_that_outlives_its_time_has_an_unknown_outcome"),
    (MULTI_CALL, "timeout", "a_member_that_moves_meanwhile_is_waited_for_and_handles_it_once"),
    (WORKER, "name", WIRE),
    (WORKER, "version", "what_an_older_version_has_stored_is_read_once_and_replaced"),
    (WORKER, "handles", "a_worker_can_send_messages_to_itself"),
    (WORKER, "restart", RESTART),
    (WORKER, "distribution", DISTRIBUTION),
    (WORKER, "handoff", HANDOFF),
    (WORKER, "snapshot", "a_state_is_saved_once_in_a_period_and_no_reply_waits_for_it"),
    (WORKER, "every", "a_state_is_saved_after_so_many_messages_and_no_reply_waits_for_it"),
    (WORKER, "durable", "a_local_checkpoint_does_not_wait_for_a_replica_which_gets_it_all_the_same"),
    (WORKER, "replicas", "a_checkpoint_is_kept_by_as_many_peers_as_the_type_asks_for"),
    (WORKER, "mailbox", "a_full_mailbox_refuses_and_what_it_refused_was_not_handled"),
    (WORKER, "start_timeout", "what_follows_an_exit_is_up_to_the_strategy_or_settled"),
    (WORKER, "lifecycle", "a_stop_inside_run_ends_the_worker_without_any_message"),
    (WORKER, "methods", "methods_are_called_on_references_wherever_the_worker_is"),
    (WORKER, "crate", PATHS),
    (MESSAGE, "reply", WIRE),
    (MESSAGE, "id", WIRE),
    (MESSAGE, "crate", PATHS),
    (HANDLERS, "crate", PATHS),
    (SWORM, "name", DERIVED),
    (SWORM, "restart", DERIVED),
    (SWORM, "distribution", DERIVED),
    (SWORM, "handoff", DERIVED),
    (SWORM, "mode", DERIVED),
    (SWORM, "expect_nodes", DERIVED),
    (SWORM, "lease", DERIVED),
    (SWORM, "ack", DERIVED),
    (SWORM, "rebalance", DERIVED),
    (SWORM, "sync_interval", DERIVED),
    (SWORM, "state_wait", DERIVED),
    (SWORM, "crate", PATHS),
];

const BUILDER: &str = "NodeBuilder";
const SPEC: &str = "SwormSpec";
const REGISTER: &str = "RegisterBuilder";
const CALL: &str = "CallBuilder";
const MULTI_CALL: &str = "MultiCallBuilder";
const WORKER: &str = "WorkerAttrs";
const MESSAGE: &str = "MessageAttrs";
const HANDLERS: &str = "HandlersAttrs";
const SWORM: &str = "SwormAttrs";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is a folder of it").to_owned()
}

fn source(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The public methods in a source that take the builder itself.
fn setters(source: &str) -> Vec<String> {
    let signatures = source.split("pub fn ").skip(1).filter_map(|rest| rest.split('{').next());
    let takes_itself = |signature: &&str| {
        let arguments = signature.split('(').skip(1).map(|arguments| arguments.trim_start());
        arguments
            .map(|all| all.strip_prefix("mut ").unwrap_or(all))
            .any(|all| all.split([',', ')', ':']).next().is_some_and(|first| first.trim() == "self"))
    };
    signatures.filter(takes_itself).map(|s| s.split(['(', '<']).next().expect("a name").to_owned()).collect()
}

#[test]
fn a_setter_is_found_however_its_signature_is_broken_into_lines() {
    let source = "
        impl Builder {
            pub fn new(name: &str) -> Self { make(name) }
            pub fn short(self, on: bool) -> Self { self.with(on) }
            pub fn long<F: Fn(u8)>(
                mut self,
                done: F,
            ) -> Self
            where
                F: Send,
            { self }
            pub fn alone(
                self
            ) -> Self { self }
            pub fn look(&self) -> u8 { 1 }
            fn private(self) -> Self { self }
            pub fn other(selfish: u8) -> Self { make(selfish) }
        }";
    assert_eq!(setters(source), ["short", "long", "alone"]);
}

/// The keys that an attribute accepts.
fn keys(of: &str) -> Vec<String> {
    let source = source("sworm-macros/src/attr.rs");
    let (_, reads) = source.split_once(&format!("impl Keys for {of} ")).expect("it reads its keys");
    let (arms, _) = reads.split_once("_ =>").expect("other keys are refused");
    // What is refused with a word on where it belongs is no key.
    let accepted = arms.lines().filter(|line| line.contains(" => ") && !line.trim_end().ends_with('{'));
    accepted.filter_map(|line| line.trim().strip_prefix('"')?.split_once('"')).map(|(key, _)| key.to_owned()).collect()
}

/// All tests in the sources, by their names.
fn tests_in(folder: &Path, found: &mut BTreeMap<String, Vec<Test>>) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for (name, test) in source::tests(&fs::read_to_string(&path).expect("it can be read")) {
                found.entry(name).or_default().push(test);
            }
        }
    }
}

#[test]
fn every_option_and_attribute_has_a_test_that_shows_what_it_does() {
    let mut there: BTreeSet<(&str, String)> = BTreeSet::new();
    let builders =
        [(BUILDER, "builder"), (SPEC, "spec"), (REGISTER, "register"), (CALL, "call"), (MULTI_CALL, "groups")];
    for (of, file) in builders {
        there.extend(setters(&source(&format!("sworm/src/api/{file}.rs"))).into_iter().map(|name| (of, name)));
    }
    for of in [WORKER, MESSAGE, HANDLERS, SWORM] {
        there.extend(keys(of).into_iter().map(|name| (of, name)));
    }
    let listed: BTreeSet<(&str, String)> = WALK.iter().map(|(of, name, _)| (*of, (*name).to_owned())).collect();
    assert_eq!(listed.len(), WALK.len(), "one is listed twice");
    assert_eq!(there.difference(&listed).collect::<Vec<_>>(), [] as [&(&str, String); 0], "these are not listed");
    assert_eq!(listed.difference(&there).collect::<Vec<_>>(), [] as [&(&str, String); 0], "these are not there");
    let mut tests = BTreeMap::new();
    for folder in ["tests/tests", "sworm/src", "sworm-macros/src", "plugins"] {
        tests_in(&repository().join(folder), &mut tests);
    }
    let told_otherwise = ["advertise", "join"];
    let wrong = WALK.iter().filter_map(|(of, name, test)| {
        let why = match tests.get(*test).map_or(&[][..], Vec::as_slice) {
            [] => "is not there",
            [test] if test.is_ignored => "is ignored",
            // Nodes of their own processes, and derived sworms, are told otherwise than by a call.
            [test] if !test.calls(name) && !test.has_word(name) => "makes no use of it",
            [test] if of.ends_with("Builder") && !told_otherwise.contains(name) && !test.calls(name) => {
                "does not call it"
            }
            [_] => return None,
            _ => "is there twice",
        };
        Some(format!("{of}: {name} is shown by {test}, which {why}"))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [] as [&str; 0]);
}
