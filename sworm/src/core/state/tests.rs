use super::*;
use crate::core::Input;
use crate::core::fixture::{config, now};

#[test]
fn what_waits_to_be_published_is_shown_to_nobody_before() {
    use crate::core::cell::{Key, Value};
    use crate::core::fixture::{cluster, running};
    let mut core = cluster(&[("a", vec![])]);
    core.flush(now(1));
    core.directory.put(Key::Name("x".into()), Value::Name(Arc::new(running())));
    let is_shown = |effects: &[Effect]| {
        effects.iter().any(|effect| matches!(effect, Effect::Index { name, .. } if **name == *"x"))
    };
    let is_published = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Persist(_)));
    let (effects, waits) = core.flush_some(now(1));
    assert!(waits && !is_shown(&effects) && !is_published(&effects));
    let effects = core.flush(now(1));
    assert!(is_shown(&effects) && is_published(&effects));
    // What is to be on the disk together with it is not performed before it.
    core.directory.put(Key::Name("x".into()), Value::Name(Arc::new(running())));
    core.out.push(Effect::DeleteSnapshot { name: "x".into() });
    let (effects, waits) = core.flush_some(now(1));
    assert!(!waits && is_published(&effects));
}

#[test]
fn what_comes_all_the_time_puts_no_tick_off() {
    let mut core = Core::new(config("a"), Recovered::default(), now(0));
    // Something comes each 20 ms; ticks come when it says so.
    for (number, mono_ms) in (0..).zip((0..1_000).step_by(20)) {
        let due = core.next_tick_ms() <= mono_ms;
        core.handle(now(mono_ms), if due { Input::Tick } else { Input::Durable(number) });
        core.flush(now(mono_ms));
        assert!(core.next_tick_ms() <= core.ticked_ms + TICK_MS);
        assert!(core.ticked_ms + 2 * TICK_MS > mono_ms, "no tick since {} at {mono_ms}", core.ticked_ms);
    }
}
