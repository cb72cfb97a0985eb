//! Every option and attribute that there is, and the test that shows what it does.
//!
//! What there is comes from the sources: an option that is not listed here, or whose test is gone, fails the walk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sworm::prelude::*;
use sworm::transport::MemoryNetwork;
use sworm::{Ack, Rebalance, RegisterError, Temporary};

use super::{Room, opened, running};

/// Where it is accepted, what it is called, and the test that fails when it is not honoured.
type Listed = (&'static str, &'static str, &'static str);

const RESTART: &str = "a_restart_strategy_is_the_types_else_the_sworms_else_the_default";
const DISTRIBUTION: &str = "a_distribution_strategy_is_the_types_else_the_sworms_else_the_default";
const HANDOFF: &str = "what_moves_along_is_said_by_the_type_else_by_the_sworm_else_nothing_does";
const DERIVED: &str = "what_a_derived_sworm_says_is_what_a_spec_says";
const WIRE: &str = "types_and_messages_go_by_the_names_that_their_attributes_give_them";
/// It runs `compile-fail/every_attribute.rs`, too.
const COMPILED: &str = "wrong_uses_are_refused_in_one_sentence";

const WALK: &[Listed] = &[
    (BUILDER, "cluster", "clusters_with_other_names_never_see_each_other_even_when_told_to_join"),
    (BUILDER, "store", "a_killed_cluster_comes_back_in_any_order_with_every_name_once"),
    (BUILDER, "store_plugin", "a_store_of_a_plugin_keeps_what_a_node_has_and_whose_it_is"),
    (BUILDER, "in_memory", "what_is_in_memory_only_is_gone_with_the_last_node"),
    (BUILDER, "store_with", "only_a_registration_on_a_sworm_with_ack_in_memory_is_answered_before_the_sync"),
    (BUILDER, "listen", "a_port_in_use_and_an_endpoint_that_is_none_are_refused"),
    (BUILDER, "advertise", "what_is_advertised_stands_for_where_the_node_listens_and_must_be_an_endpoint"),
    (BUILDER, "join", "nodes_find_each_other_through_the_endpoints_that_they_join"),
    (BUILDER, "label", "a_pinned_worker_runs_on_nodes_with_its_label_only"),
    (BUILDER, "weight", "a_node_of_weight_three_gets_three_of_four_names"),
    (BUILDER, "concurrent_starts", "so_many_slow_starts_delay_no_other_as_a_node_makes_at_a_time"),
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
    (SPEC, "sync_interval", "heartbeats_come_once_in_a_sync_interval"),
    (REGISTER, "timeout", "a_registration_that_runs_out_of_time_says_that_its_outcome_is_unknown"),
    (REGISTER, "on", "names_are_found_by_prefix_node_and_type"),
    (REGISTER, "metadata", "names_are_found_on_every_node_and_disappear_from_every_node"),
    (CALL, "timeout", "a_call_that_outlives_its_time_has_an_unknown_outcome"),
    (WORKER, "name", WIRE),
    (WORKER, "version", COMPILED),
    (WORKER, "handles", "a_worker_can_send_messages_to_itself"),
    (WORKER, "restart", RESTART),
    (WORKER, "distribution", DISTRIBUTION),
    (WORKER, "handoff", HANDOFF),
    (WORKER, "replicas", "a_checkpoint_is_kept_by_as_many_peers_as_the_type_asks_for"),
    (WORKER, "mailbox", "a_full_mailbox_refuses_and_what_it_refused_was_not_handled"),
    (WORKER, "start_timeout", "a_worker_that_cannot_start_tells_why_and_leaves_no_name"),
    (WORKER, "lifecycle", "a_stop_inside_run_ends_the_worker_without_any_message"),
    (WORKER, "crate", "paths_start_where_the_attribute_says"),
    (MESSAGE, "reply", "each_loser_of_a_conflict_is_told_once_and_can_give_its_state_to_the_winner"),
    (MESSAGE, "id", WIRE),
    (MESSAGE, "crate", COMPILED),
    (SWORM, "name", DERIVED),
    (SWORM, "restart", RESTART),
    (SWORM, "distribution", DISTRIBUTION),
    (SWORM, "handoff", DERIVED),
    (SWORM, "mode", COMPILED),
    (SWORM, "expect_nodes", COMPILED),
    (SWORM, "lease", COMPILED),
    (SWORM, "ack", DERIVED),
    (SWORM, "rebalance", DERIVED),
    (SWORM, "sync_interval", DERIVED),
    (SWORM, "crate", COMPILED),
];

const BUILDER: &str = "NodeBuilder";
const SPEC: &str = "SwormSpec";
const REGISTER: &str = "RegisterBuilder";
const CALL: &str = "CallBuilder";
const WORKER: &str = "WorkerAttrs";
const MESSAGE: &str = "MessageAttrs";
const SWORM: &str = "SwormAttrs";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is a folder of it").to_owned()
}

fn source(path: &str) -> String {
    let path = repository().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The public methods of a file that take the builder itself.
fn setters(path: &str) -> Vec<String> {
    let source = source(path);
    let signatures = source.lines().filter_map(|line| line.trim().strip_prefix("pub fn "));
    let setters = signatures.filter(|signature| signature.contains("(mut self") || signature.contains("(self"));
    setters.map(|signature| signature.split(['(', '<']).next().expect("a name").to_owned()).collect()
}

/// The keys that an attribute accepts.
fn keys(of: &str) -> Vec<String> {
    let source = source("sworm-macros/src/attr.rs");
    let (_, reads) = source.split_once(&format!("impl Keys for {of} ")).expect("it reads its keys");
    let (arms, _) = reads.split_once("_ =>").expect("other keys are refused");
    let accepted = arms.lines().filter(|line| line.contains(" => ") && !line.contains("not_there_yet"));
    accepted.filter_map(|line| line.trim().strip_prefix('"')?.split_once('"')).map(|(key, _)| key.to_owned()).collect()
}

/// The names of all tests in the sources.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).expect("it can be read");
            let mut lines = source.lines().map(str::trim);
            while let Some(line) = lines.next() {
                if line == "#[test]" || line.starts_with("#[tokio::test") {
                    let signature = lines.find(|line| line.contains("fn ")).unwrap_or_default();
                    let name = signature.split("fn ").nth(1).and_then(|rest| rest.split('(').next());
                    found.extend(name.map(str::to_owned));
                }
            }
        }
    }
}

#[test]
fn every_option_and_attribute_has_a_test_that_shows_what_it_does() {
    let mut there: BTreeSet<(&str, String)> = BTreeSet::new();
    for (of, file) in [(BUILDER, "builder"), (SPEC, "spec"), (REGISTER, "register"), (CALL, "call")] {
        there.extend(setters(&format!("sworm/src/api/{file}.rs")).into_iter().map(|name| (of, name)));
    }
    for of in [WORKER, MESSAGE, SWORM] {
        there.extend(keys(of).into_iter().map(|name| (of, name)));
    }
    let listed: BTreeSet<(&str, String)> = WALK.iter().map(|(of, name, _)| (*of, (*name).to_owned())).collect();
    assert_eq!(listed.len(), WALK.len(), "one is listed twice");
    assert_eq!(there.difference(&listed).collect::<Vec<_>>(), [] as [&(&str, String); 0], "these are not listed");
    assert_eq!(listed.difference(&there).collect::<Vec<_>>(), [] as [&(&str, String); 0], "these are not there");
    let mut tests = BTreeSet::new();
    for folder in ["tests/tests", "sworm/src", "sworm-macros/src", "plugins"] {
        tests_in(&repository().join(folder), &mut tests);
    }
    for (of, name, test) in WALK {
        assert!(tests.contains(*test), "{of}: {name} is shown by {test}, which is not there");
    }
}

#[derive(Worker, Serialize, Deserialize)]
#[worker(name = "walk.worker", handles(Asked))]
struct RustCallsItOtherwise;

#[derive(Message, Serialize, Deserialize)]
#[message(id = "walk.message", reply = String)]
struct Asked;

impl Handler<Asked> for RustCallsItOtherwise {
    async fn handle(&mut self, _: Asked, _: &mut Context<Self>) -> String {
        "an answer".into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_messages_go_by_the_names_that_their_attributes_give_them() {
    let [(_a, on_a), (b, on_b)] = opened("s").await;
    let worker = on_a.register("x", RustCallsItOtherwise).on(b.id()).await.expect("free");
    assert_eq!(&*running(&on_b, "x").await.worker_type, "walk.worker");
    assert_eq!(worker.call(Asked).await, Ok("an answer".to_owned()));
    let _inbox = on_a.attach_name::<Asked>("task").await.expect("free");
    assert_eq!(&*running(&on_b, "task").await.worker_type, "inbox:walk.message");
    let taken = on_a.register_name("x", Room).await;
    assert!(matches!(taken, Err(RegisterError::AlreadyRegistered { worker_type, .. }) if worker_type == "walk.worker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_only_is_gone_with_the_last_node() {
    let directory = tempfile::tempdir().expect("a directory");
    for in_memory in [true, false] {
        for life in 1..=2 {
            let builder = Node::builder("a").memory_network(&MemoryNetwork::new()).store(directory.path());
            let builder = if in_memory { builder.in_memory() } else { builder };
            let node = builder.start().await.expect("it starts");
            let sworm = node.sworm("s").await.expect("it opens");
            let kept = sworm.whereis("x").is_some();
            assert_eq!(kept, life == 2 && !in_memory);
            if life == 1 {
                sworm.register_name("x", RustCallsItOtherwise).await.expect("free");
            }
            node.leave().await.expect("it leaves");
            assert_eq!(fs::read_dir(directory.path()).expect("it is there").count() > 0, !in_memory);
        }
    }
}

#[derive(Sworm)]
#[sworm(name = "walk", restart = Temporary, distribution = "ring", handoff, mode = "available")]
#[sworm(ack = "memory", rebalance = "manual", sync_interval = "70ms")]
struct Derived;

#[derive(Sworm)]
struct Walk;

/// What each setting of a spec does is shown elsewhere; here, that each attribute is that setting.
#[test]
fn what_a_derived_sworm_says_is_what_a_spec_says() {
    let said = |spec: SwormSpec| format!("{spec:?}");
    let steps: [fn(SwormSpec) -> SwormSpec; 6] = [
        |spec| spec.restart_value(&Temporary),
        |spec| spec.distribution("ring"),
        |spec| spec.handoff(true),
        |spec| spec.ack(Ack::Memory),
        |spec| spec.rebalance(Rebalance::Manual),
        |spec| spec.sync_interval(Duration::from_millis(70)),
    ];
    let whole = |but: Option<usize>| {
        let chosen = steps.iter().enumerate().filter(|(n, _)| Some(*n) != but);
        said(chosen.fold(SwormSpec::new("walk"), |spec, (_, step)| step(spec)))
    };
    assert_eq!(said(Derived.into()), whole(None));
    assert!((0..steps.len()).all(|n| whole(Some(n)) != whole(None)), "each of them is seen");
    assert_eq!(said(Walk.into()), said(SwormSpec::new("Walk")));
}
