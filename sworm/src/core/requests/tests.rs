use super::*;
use crate::core::cell::{Kind, Spec};
use crate::core::fixture::{TYPE, cluster, peer};
use crate::core::message::{Phase, Registering};

const NUMBER: u64 = 7;

fn registering(name: &str) -> Ask {
    let kind = Kind {
        worker_type: TYPE.into(),
        version: 0,
        distribution: "rendezvous".into(),
        handoff: false,
        replicas: 0,
        patient: false,
    };
    Ask::Register(Box::new(Registering {
        name: name.into(),
        spec: Arc::new(Spec { kind: Arc::new(kind), value: Box::default() }),
        on: None,
        metadata: Default::default(),
        attached: false,
        replaces_failed: true,
    }))
}

/// A node that has asked b, then c while b was out of view, and then b again.
fn asked_b_and_c_and_b() -> Core {
    let mut core = cluster(&[("a", vec![]), ("b", vec![]), ("c", vec![])]);
    let decided_by_b = |core: &Core, name: &str| core.view.arbiter(name) == Some(&peer("b"));
    let names = (0..).map(|n| format!("name-{n}"));
    let without_b = cluster(&[("a", vec![]), ("c", vec![])]);
    let name =
        names.into_iter().find(|name| decided_by_b(&core, name) && without_b.view.arbiter(name) == Some(&peer("c")));
    core.on_ask(NUMBER, registering(&name.expect("there is one")), 60_000);
    core.view.members.remove(&peer("b"));
    core.resend_requests();
    core.view.members.insert(peer("b"), Phase::Up);
    core.resend_requests();
    core
}

/// To whom the request was sent, and which attempts that were.
fn sent(core: &Core) -> Vec<(Peer, u32)> {
    let sent = core.out.iter().filter_map(|effect| match effect {
        Effect::Send { to, message } => match &**message {
            Message::Ask { request, .. } => Some((to.clone(), request.attempt)),
            _ => None,
        },
        _ => None,
    });
    sent.collect()
}

fn answers(core: &Core) -> Vec<&Answer> {
    let answers = core.out.iter().chain(&core.answers).filter_map(|effect| match effect {
        Effect::Answer { number: NUMBER, answer } => Some(answer),
        _ => None,
    });
    answers.collect()
}

fn refusal() -> Answer {
    Err(Refusal::NoCandidate { why: "nobody is there".into() })
}

fn taken() -> Answer {
    let pid = crate::core::fixture::running().pid(&"s".into(), &"x".into(), &peer("c"));
    Err(Refusal::AlreadyRegistered { pid, worker_type: TYPE.into() })
}

#[test]
fn what_was_refused_before_says_nothing_of_what_is_asked_now() {
    let mut core = asked_b_and_c_and_b();
    assert_eq!(sent(&core), [(peer("b"), 1), (peer("c"), 2), (peer("b"), 3)]);
    core.on_answer(&peer("b"), NUMBER, 1, refusal());
    assert_eq!(answers(&core), [] as [&Answer; 0], "b was asked again, and may do it");
    core.on_answer(&peer("b"), NUMBER, 3, refusal());
    assert_eq!(answers(&core), [] as [&Answer; 0], "c was never heard, and may have done it");
    core.on_answer(&peer("b"), NUMBER, 3, taken());
    assert_eq!(answers(&core), [&taken()]);
}

#[test]
fn a_refusal_of_the_last_attempt_counts_where_all_others_were_refused() {
    let mut core = asked_b_and_c_and_b();
    core.on_answer(&peer("c"), NUMBER, 2, Err(Refusal::Again));
    core.on_answer(&peer("b"), NUMBER, 1, refusal());
    assert_eq!(answers(&core), [] as [&Answer; 0], "b was asked again, and may do it");
    core.on_answer(&peer("b"), NUMBER, 3, refusal());
    assert_eq!(answers(&core), [&refusal()]);
}

#[test]
fn a_request_counts_as_undone_only_when_its_last_attempt_was_refused() {
    let mut core = asked_b_and_c_and_b();
    let refused = |core: &Core| core.pending[&NUMBER].refused;
    core.on_answer(&peer("b"), NUMBER, 1, Err(Refusal::Again));
    core.on_answer(&peer("c"), NUMBER, 2, Err(Refusal::Again));
    assert!(!refused(&core));
    core.on_answer(&peer("b"), NUMBER, 3, Err(Refusal::Again));
    assert!(refused(&core));
}

#[test]
fn where_answers_take_longer_than_that_it_is_asked_less_often() {
    let mut core = asked_b_and_c_and_b();
    // Each answer comes 2.5 s after its question.
    let (mut on_their_way, mut questions) = (vec![(2_500, 3)], sent(&core).len());
    for ms in (0..60_000).step_by(50) {
        core.now.mono_ms = ms;
        core.tick_requests();
        let sent = sent(&core);
        on_their_way.extend(sent[questions..].iter().map(|(_, attempt)| (ms + 2_500, *attempt)));
        questions = sent.len();
        for (_, attempt) in on_their_way.extract_if(.., |(due, _)| *due <= ms) {
            core.on_answer(&peer("b"), NUMBER, attempt, taken());
        }
        if !answers(&core).is_empty() {
            assert!((3_000..30_000).contains(&ms), "after {ms} ms");
            return;
        }
    }
    panic!("no answer was ever to the last attempt");
}

#[test]
fn a_registration_whose_start_has_failed_starts_nothing_again_though_it_was_asked_for_again_meanwhile() {
    let mut core = cluster(&[("a", vec![]), ("b", vec![])]);
    let name = (0..).map(|n| format!("name-{n}")).find(|name| core.view.arbiter(name) == Some(&peer("a")));
    let ask = registering(&name.expect("there is one"));
    let request = |attempt| Request { id: RequestId { from: peer("b"), number: NUMBER }, attempt };
    let failed = Refusal::StartFailed { reason: "it does not start".into(), timed_out: false };
    core.first_start_failed(&request(1), failed.clone());
    core.on_asked(request(2), ask.clone());
    let told = |core: &Core| -> Vec<u32> {
        let told = core.out.iter().filter_map(|effect| match effect {
            Effect::Send { message, .. } => match &**message {
                Message::Answer { number: NUMBER, attempt, answer } if *answer == Err(failed.clone()) => Some(*attempt),
                _ => None,
            },
            _ => None,
        });
        told.collect()
    };
    assert_eq!(told(&core), [1, 2]);
    assert!(core.queues.is_empty(), "nothing is to be started");
    core.now.mono_ms += 60_000;
    core.tick_arbiter();
    core.on_asked(request(3), ask);
    assert_eq!((told(&core).len(), core.queues.len()), (2, 1), "that is not known for ever");
}
