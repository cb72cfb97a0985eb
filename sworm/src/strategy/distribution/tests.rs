#![allow(clippy::cast_precision_loss, reason = "shares")]

use super::*;

const NAMES: usize = 100_000;

fn nodes(ids: &[&str]) -> Vec<Candidate> {
    ids.iter().map(|id| Candidate::new(NodeId::new(id).expect("a valid id"))).collect()
}

fn many(count: usize) -> Vec<Candidate> {
    let ids: Vec<String> = (0..count).map(|n| format!("node-{n:02}")).collect();
    nodes(&ids.iter().map(String::as_str).collect::<Vec<_>>())
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("name-{n}"))
}

/// Places the names one after another, and counts them as a cluster would.
fn filled(strategy: &dyn Distribution, mut candidates: Vec<Candidate>, count: usize) -> Vec<Candidate> {
    for name in names(count) {
        let place = strategy.choose(&name, &candidates);
        candidates[place].names += 1;
    }
    candidates
}

/// The largest share, for its weight, against the mean.
fn max_to_mean(candidates: &[Candidate]) -> f64 {
    let (names, weights) = candidates.iter().fold((0, 0), |(n, w), c| (n + c.names, w + c.weight));
    let mean = names as f64 / f64::from(weights);
    candidates.iter().map(|c| c.names as f64 / f64::from(c.weight) / mean).fold(0.0, f64::max)
}

/// The same in zones of four.
fn zoned(count: usize) -> Vec<Candidate> {
    let mut nodes = many(count);
    for (n, candidate) in nodes.iter_mut().enumerate() {
        candidate.labels.insert("zone".into(), ["west", "north", "east"][n / 4].into());
    }
    nodes
}

/// Where each name lives, of those that the strategy does not leave out.
fn homes(strategy: &dyn Distribution, candidates: &[Candidate]) -> Vec<usize> {
    let allowed = (0..candidates.len()).filter(|place| strategy.excludes("x", &candidates[*place]).is_none());
    let allowed: Vec<usize> = allowed.collect();
    let able: Vec<Candidate> = allowed.iter().map(|place| candidates[*place].clone()).collect();
    names(NAMES).map(|name| allowed[strategy.choose(&name, &able)]).collect()
}

fn built_in() -> [(&'static str, Box<dyn Distribution>); 6] {
    [
        ("rendezvous", Box::new(Rendezvous)),
        ("least-loaded", Box::new(LeastLoaded)),
        ("bounded", Box::new(BoundedLoad::default())),
        ("ring", Box::new(HashRing::points(128))),
        ("random", Box::new(Random)),
        ("local-first", Box::new(LocalFirst)),
    ]
}

#[test]
fn scores_are_the_same_on_every_machine() {
    // Nodes with another opinion would place names elsewhere: these numbers may never change.
    let scores = ["a", "b"].map(|node| score("alice", node));
    assert_eq!(scores, [14_137_137_887_285_652_974, 4_013_619_819_869_067_410]);
    assert_eq!(score("", ""), 14_144_645_293_874_801_883);
    assert_eq!(score("né/*", "node-1"), 12_346_612_100_993_169_813);
}

#[test]
fn choices_are_the_same_on_every_machine() {
    let mut four = nodes(&["a", "b", "c", "d"]);
    four[1].weight = 2;
    four[2].asked = true;
    for (candidate, names) in four.iter_mut().zip([3, 9, 1, 4]) {
        candidate.names = names;
    }
    let expected = [
        ("rendezvous", [3, 2, 3, 2, 3, 3, 0, 0, 1, 1]),
        ("least-loaded", [2, 2, 0, 2, 0, 3, 0, 0, 2, 0]),
        ("bounded", [3, 2, 3, 2, 3, 3, 0, 0, 2, 0]),
        ("ring", [1, 0, 0, 1, 3, 3, 1, 2, 1, 2]),
        ("random", [1, 0, 0, 1, 2, 1, 1, 1, 0, 1]),
        ("local-first", [2; 10]),
    ];
    let chosen = built_in().map(|(name, strategy)| {
        let mut places = [0; 10];
        names(10).zip(&mut places).for_each(|(name, place)| *place = strategy.choose(&name, &four));
        (name, places)
    });
    assert_eq!(chosen, expected);
}

#[test]
fn choices_by_label_are_the_same_on_every_machine() {
    let mut six = nodes(&["a", "b", "c", "d", "e", "f"]);
    for (candidate, zone) in six.iter_mut().zip(["east", "east", "east", "west", "west"]) {
        candidate.labels.insert("zone".into(), zone.into());
    }
    six[1].weight = 2;
    let spread: Vec<usize> = names(20).map(|name| Spread::over("zone").choose(&name, &six)).collect();
    assert_eq!(spread, [5, 4, 0, 2, 0, 1, 0, 0, 3, 5, 1, 5, 4, 5, 5, 2, 3, 0, 5, 3]);
}

#[test]
fn shares_are_as_even_as_each_strategy_says() {
    // At 3 and at 50 nodes.
    let limits = [
        ("rendezvous", 1.005, 1.05),
        ("least-loaded", 1.000_1, 1.002),
        ("bounded", 1.005, 1.05),
        ("ring", 1.1, 1.22),
        ("random", 1.005, 1.05),
    ];
    for ((name, strategy), (same, at_3, at_50)) in built_in().iter().zip(limits) {
        assert_eq!(*name, same);
        let (of_3, of_50) = (filled(&**strategy, many(3), NAMES), filled(&**strategy, many(50), NAMES));
        assert!(max_to_mean(&of_3) < at_3, "{name} at 3 nodes: {}", max_to_mean(&of_3));
        assert!(max_to_mean(&of_50) < at_50, "{name} at 50 nodes: {}", max_to_mean(&of_50));
    }
}

#[test]
fn shares_follow_the_weights() {
    for (name, strategy) in &built_in()[..5] {
        let mut candidates = many(4);
        for (candidate, weight) in candidates.iter_mut().zip([1, 2, 3, 10]) {
            candidate.weight = weight;
        }
        let filled = filled(&**strategy, candidates, NAMES);
        let limit = if *name == "ring" { 1.25 } else { 1.03 };
        assert!(max_to_mean(&filled) < limit, "{name}: {filled:?}");
    }
}

/// A strategy that places a name by itself, whatever runs where; the others keep names where they are until their node is
/// gone.
struct ByName {
    name: &'static str,
    strategy: Box<dyn Distribution>,
    /// The share of the last of ten nodes in three zones, of which the last has two.
    of_ten: usize,
    /// That of the last of eleven.
    of_eleven: usize,
    /// How far from that it may be, in hundredths.
    percent: usize,
}

fn by_name() -> [ByName; 4] {
    let rendezvous = ByName {
        name: "rendezvous",
        strategy: Box::new(Rendezvous),
        of_ten: NAMES / 10,
        of_eleven: NAMES / 11,
        percent: 2,
    };
    let pinned = Pinned::to("zone", "east");
    let spread = Spread::over("zone");
    [
        // The share of the fullest of eleven is up to a fifth above the mean on a ring.
        ByName {
            name: "ring",
            strategy: Box::new(HashRing::points(128)),
            percent: 20,
            of_ten: NAMES / 10,
            of_eleven: NAMES / 11,
        },
        ByName { name: "pinned", strategy: Box::new(pinned), of_ten: NAMES / 2, of_eleven: NAMES / 3, percent: 2 },
        ByName { name: "spread", strategy: Box::new(spread), of_ten: NAMES / 6, of_eleven: NAMES / 9, percent: 2 },
        rendezvous,
    ]
}

/// So many of those are as many as these, up to some hundredths.
fn is_about(count: usize, share: usize, percent: usize, what: &str) {
    let limits = share * (100 - percent) / 100..=share * (100 + percent) / 100;
    assert!(limits.contains(&count), "{what}: {count}, and it should be {share}");
}

#[test]
fn a_node_that_joins_takes_its_share_and_nothing_else_moves() {
    let (ten, eleven) = (zoned(10), zoned(11));
    for ByName { name, strategy, of_eleven, percent, .. } in by_name() {
        let (before, after) = (homes(&*strategy, &ten), homes(&*strategy, &eleven));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(_, after)| *after == 10), "{name} moves names between old nodes");
        is_about(moved.count(), of_eleven, percent, name);
    }
    let (before, after) = (homes(&Random, &ten), homes(&Random, &eleven));
    assert!(before.iter().zip(&after).filter(|(a, b)| a != b).count() > NAMES / 2, "as its documentation says");
}

#[test]
fn when_a_node_is_gone_its_names_alone_move_and_the_rest_stay_as_even() {
    let ten = zoned(10);
    let nine = &ten[..9];
    for ByName { name, strategy, of_ten, percent, .. } in by_name() {
        let (before, after) = (homes(&*strategy, &ten), homes(&*strategy, nine));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().all(|(before, _)| *before == 9), "{name} moves names between the others");
        is_about(moved.count(), of_ten, percent, name);
    }
    // The others are asked again for the names of the one that is gone, and for no other.
    for (name, strategy) in [
        ("least-loaded", Box::new(LeastLoaded) as Box<dyn Distribution>),
        ("bounded", Box::new(BoundedLoad::default())),
    ] {
        let full = filled(&*strategy, ten.clone(), NAMES);
        let mut left = full[..9].to_vec();
        for lost in 0..full[9].names {
            let place = strategy.choose(&format!("lost-{lost}"), &left);
            left[place].names += 1;
        }
        assert!(max_to_mean(&left) < 1.05, "{name}: {left:?}");
    }
}

#[test]
fn a_zone_that_comes_takes_as_much_from_each_other_one_and_gives_it_back_when_it_goes() {
    let spread = Spread::over("zone");
    let (two, three) = (homes(&spread, &zoned(8)), homes(&spread, &zoned(10)));
    let moved: Vec<(usize, usize)> =
        two.into_iter().zip(three).filter(|(in_two, in_three)| in_two != in_three).collect();
    assert!(moved.iter().all(|(_, in_three)| *in_three >= 8), "names move between the old zones");
    for zone in [0..4, 4..8] {
        is_about(moved.iter().filter(|(in_two, _)| zone.contains(in_two)).count(), NAMES / 6, 2, "from each zone");
    }
    for node in [8, 9] {
        is_about(moved.iter().filter(|(_, in_three)| *in_three == node).count(), NAMES / 6, 2, "to each node");
    }
}

#[test]
fn who_is_chosen_has_the_highest_score() {
    let mut ten = zoned(10);
    ten.iter_mut().zip([1, 3, 2].into_iter().cycle()).for_each(|(candidate, weight)| candidate.weight = weight);
    ten[4].asked = true;
    let ring = HashRing::points(128);
    let by_label: [&dyn Distribution; 2] = [&Pinned::to("zone", "east"), &Spread::over("zone")];
    let all = [&Rendezvous as &dyn Distribution, &LocalFirst, &ring, &Random].into_iter().chain(by_label);
    for (n, strategy) in all.enumerate() {
        let mut seen = [0; 10];
        for name in names(1_000) {
            let scores = strategy.scores(&name, &ten);
            let chosen = strategy.choose(&name, &ten);
            let others = scores.iter().enumerate().filter(|(place, _)| *place != chosen);
            let highest = others.map(|(_, score)| score.expect("all have one")).max();
            assert!(scores[chosen] > highest, "{n}: {name}: {chosen} of {scores:?}");
            seen[chosen] += 1;
        }
        assert!(n == 1 || seen.iter().all(|count| *count > 0), "{n}: {seen:?}");
    }
}

#[test]
fn a_score_of_the_ring_is_the_way_to_a_point_and_one_of_chance_the_way_to_a_share() {
    let mut three = nodes(&["a", "b", "c"]);
    three[1].weight = 2;
    // Of four shares the third is drawn, which is b's; c has the next one, and a the one after that.
    let name = names(100).find(|name| xxh3_64(name.as_bytes()) % 4 == 2).expect("one in four");
    assert_eq!(Random.scores(&name, &three), [Some(2), Some(4), Some(3)]);
    let key = xxh3_64(name.as_bytes());
    let ring = HashRing::points(1);
    let way = |node: &str| u64::MAX - score("0", node).wrapping_sub(key);
    assert_eq!([&three[0], &three[2]].map(|one| ring.score(&name, one)), [Some(way("a")), Some(way("c"))]);
}

#[test]
fn a_greater_weight_takes_from_all_and_moves_nothing_between_the_others() {
    let before = many(5);
    let mut after = before.clone();
    after[2].weight = 2;
    for name in names(NAMES) {
        let (was, is) = (Rendezvous.choose(&name, &before), Rendezvous.choose(&name, &after));
        assert!(was == is || is == 2, "{name}");
    }
}

#[test]
fn bounded_load_fills_no_node_above_its_limit() {
    let strategy = BoundedLoad::percent(110);
    let mut candidates = many(7);
    for name in names(NAMES) {
        let place = strategy.choose(&name, &candidates);
        candidates[place].names += 1;
        let total: u64 = candidates.iter().map(|candidate| candidate.names).sum();
        assert!(candidates[place].names <= (total * 110).div_ceil(700), "{total}: {}", candidates[place].names);
    }
    // Less than the mean would be nowhere.
    let full: Vec<Candidate> = many(3).into_iter().map(|c| Candidate { names: 10, ..c }).collect();
    assert!(BoundedLoad::percent(1).choose("x", &full) < 3);
}

#[test]
fn local_first_prefers_the_one_that_asked_and_else_is_rendezvous() {
    let mut three = many(3);
    assert_eq!(LocalFirst.choose("x", &three), Rendezvous.choose("x", &three));
    for place in 0..3 {
        three.iter_mut().enumerate().for_each(|(at, candidate)| candidate.asked = at == place);
        assert_eq!(LocalFirst.choose("x", &three), place);
    }
}

#[test]
fn pins_leave_out_all_nodes_without_the_label() {
    let pinned = Pinned::to("disk", "fast");
    let [mut fast, mut slow] = [many(1).remove(0), many(1).remove(0)];
    fast.labels.insert("disk".into(), "fast".into());
    slow.labels.insert("disk".into(), "slow".into());
    assert_eq!(pinned.excludes("x", &fast), None);
    assert_eq!(pinned.excludes("x", &slow).as_deref(), Some("its label \"disk\" is \"slow\", not \"fast\""));
    assert_eq!(pinned.excludes("x", &many(1)[0]).as_deref(), Some("it has no label \"disk\""));
}

#[test]
fn a_spread_gives_equal_shares_to_the_values_of_a_label() {
    let mut four = many(4);
    four.iter_mut().take(3).for_each(|candidate| drop(candidate.labels.insert("zone".into(), "east".into())));
    let spread = Spread::over("zone");
    let filled = filled(&spread, four, NAMES);
    assert!((49_500..50_500).contains(&filled[3].names), "{filled:?}");
}
