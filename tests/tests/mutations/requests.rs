//! A law of requests that chance seldom puts to the test: what is refused first may be carried out when it is asked for again.

use sworm::core::fault::{Fault, plant};
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

pub(super) const LAWS: &[(&str, Law)] =
    &[("what was refused before says nothing of what is asked now", what_was_refused_before_says_nothing)];

/// So many times it is tried, each time with other delays.
const SEEDS: u64 = 20;

/// Names are asked for while the first node comes that may run them: those who decide refuse some, and are asked again
/// before that is heard.
fn what_was_refused_before_says_nothing() -> Result<(), String> {
    for seed in 0..SEEDS {
        let mut world = World::new(Options { seed, nodes: 1, delay_ms: 400, in_order: true, ..Options::none() }, false);
        for decides in ["d1", "d2"] {
            world.start_linking(decides, &[("another", 1)]);
        }
        world.start_client("asks");
        world.run(5_000);
        world.start("n1");
        for n in 0..80 {
            world.run(50);
            world.register("asks", &format!("name-{n}"), 0);
        }
        world.run(10_000);
        if let Some(violation) = world.violation() {
            return Err(format!("{seed}: {violation}"));
        }
    }
    Ok(())
}

#[test]
fn the_law_of_requests_holds() {
    for (name, law) in LAWS {
        assert_eq!(law(), Ok(()), "{name}");
    }
    plant(Some(Fault::AnyAttempt));
    let broken = what_was_refused_before_says_nothing();
    plant(None);
    assert!(broken.is_err());
}
