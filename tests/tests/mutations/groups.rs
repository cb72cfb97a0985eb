//! A law of groups that chance seldom puts to the test: who comes twice must come late.

use sworm::core::message::Ask;
use sworm_tests::sim::{Options, World};

use crate::lanes::Law;

pub(super) const LAWS: &[(&str, Law)] =
    &[("a request that comes twice does not undo what came in between", nothing_is_undone)];

fn nothing_is_undone() -> Result<(), String> {
    let mut world =
        World::under(Options { nodes: 3, delay_ms: 60, in_order: false, repeated: 1_000, ..Options::none() });
    let request = world.register("n1", "name", 0);
    world.answer(request).map_err(|refusal| format!("{refusal:?}"))?;
    world.run_until("rest", World::is_at_rest);
    let host = world.worker("name").ok_or("it runs")?.0;
    let other = ["n1", "n2"].into_iter().find(|node| **node != *host).ok_or("two nodes")?;
    for n in 0..30 {
        let group: std::sync::Arc<str> = format!("group-{n}").into();
        for (on, ask) in [
            (other, Ask::Join { name: "name".into(), group: group.clone() }),
            (&*host, Ask::Leave { name: "name".into(), group }),
        ] {
            let request = world.ask(on, ask);
            world.answer(request).map_err(|refusal| format!("{refusal:?}"))?;
        }
    }
    world.run(1_000);
    world.run_until("rest", World::is_at_rest);
    match world.groups("name").into_iter().find(|groups| !groups.is_empty()) {
        Some(groups) => Err(format!("it has left them all and is in {groups:?}")),
        None => Ok(()),
    }
}

#[test]
fn the_law_of_groups_holds() {
    for (name, law) in LAWS {
        assert_eq!(law(), Ok(()), "{name}");
    }
    sworm::core::fault::plant(Some(sworm::core::fault::Fault::RegroupAgain));
    let broken = nothing_is_undone();
    sworm::core::fault::plant(None);
    assert!(broken.is_err());
}
