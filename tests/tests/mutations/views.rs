//! A law of views that chance seldom puts to the test: one that comes back does so while news of before is on its way.

use sworm::core::fault::{Fault, plant};
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

pub(super) const LAWS: &[(&str, Law)] =
    &[("a view that comes back is agreed on anew", a_view_that_comes_back_is_agreed_on_anew)];

/// So many times it is tried, each time with other delays.
const SEEDS: u64 = 60;
const NAMES: usize = 12;

/// A node dies, and one of the two that stay is emptied and taken back at once.
fn a_view_that_comes_back_is_agreed_on_anew() -> Result<(), String> {
    for seed in 0..SEEDS {
        let mut world = World::under(Options { seed, nodes: 3, delay_ms: 400, in_order: true, ..Options::none() });
        let requests: Vec<u64> = (0..NAMES).map(|n| world.register("n1", &format!("name-{n}"), 0)).collect();
        for request in requests {
            world.answer(request).map_err(|refusal| format!("{refusal:?}"))?;
        }
        world.run_until("rest", World::is_at_rest);
        world.kill("n1");
        world.run(100 + seed * 5);
        world.drain("n2", true);
        world.run(300 + seed % 7 * 50);
        world.drain("n2", false);
        world.run(5_000);
        if let Some(violation) = world.violation() {
            return Err(format!("{seed}: {violation}"));
        }
    }
    Ok(())
}

#[test]
fn the_law_of_views_holds() {
    for (name, law) in LAWS {
        assert_eq!(law(), Ok(()), "{name}");
    }
    plant(Some(Fault::AgreedBefore));
    let broken = a_view_that_comes_back_is_agreed_on_anew();
    plant(None);
    assert!(broken.is_err());
}
