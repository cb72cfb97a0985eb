use super::*;
use crate::core::cell::{Kind, Spec};
use crate::core::fixture::{TYPE, cluster, peer};
use crate::core::ids::Epoch;
use crate::core::message::{GrantOutcome, Phase, Registering};

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

/// Hands a message of b to a node that decides about a name, lets all be durable, and gives what it sends to b.
fn told(core: &mut Core, name: &Arc<str>, message: Message) -> Vec<Message> {
    let me = core.config.me.clone();
    core.on_message(&peer("b"), message);
    core.run_queue(name);
    while let Some(message) = core.inbox.pop_front() {
        core.on_message(&me, message);
    }
    for effect in std::mem::take(&mut core.waiting) {
        match effect {
            Effect::Send { to, message } if to == me => core.on_message(&me, *message),
            effect => core.out.push(effect),
        }
    }
    core.run_queue(name);
    let sent = std::mem::take(&mut core.out).into_iter().filter_map(|effect| match effect {
        Effect::Send { message, .. } => Some(*message),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_registration_whose_start_has_failed_is_refused_when_two_have_that_on_disk_and_starts_nothing_again() {
    let mut core = cluster(&[("a", vec![]), ("b", vec![])]);
    let name = (0..).map(|n| format!("name-{n}")).find(|name| core.view.arbiter(name) == Some(&peer("a")));
    let Ask::Register(mut asked) = registering(&name.expect("there is one")) else { unreachable!("it registers") };
    asked.on = Some(peer("b").node);
    let name = asked.name.clone();
    let attempt = |attempt| {
        let request = Request { id: RequestId { from: peer("b"), number: NUMBER }, attempt };
        Message::Ask { request, ask: Ask::Register(asked.clone()) }
    };
    let answers = |sent: &[Message]| -> Vec<u32> {
        let answered = sent.iter().filter_map(|message| match message {
            Message::Answer { attempt, answer: Err(Refusal::StartFailed { .. }), .. } => Some(*attempt),
            Message::Answer { .. } => panic!("not refused: {message:?}"),
            _ => None,
        });
        answered.collect()
    };
    let grants = |sent: &[Message]| -> Vec<(Epoch, Birth)> {
        let granted = sent.iter().filter_map(|message| match message {
            Message::Grant(grant) => Some((grant.cell.epoch, grant.cell.birth)),
            _ => None,
        });
        granted.collect()
    };
    let sent = told(&mut core, &name, attempt(1));
    let (epoch, birth) = grants(&sent)[0];
    let outcome = GrantOutcome::Failed { reason: "it does not start".into(), timed_out: false };
    let sent = told(&mut core, &name, Message::Granted { name: name.clone(), epoch, outcome });
    let births = BTreeSet::from([birth]);
    let end = Message::End { name: name.clone(), births: births.clone() };
    assert!(sent.contains(&end) && answers(&sent).is_empty(), "its host has it in memory only: {sent:?}");
    // It is asked again meanwhile.
    assert_eq!(answers(&told(&mut core, &name, attempt(2))), [] as [u32; 0]);
    assert_eq!(answers(&told(&mut core, &name, Message::Ended { name: name.clone(), births })), [2]);
    // And when it was answered.
    let sent = told(&mut core, &name, attempt(3));
    assert_eq!((answers(&sent), grants(&sent)), (vec![3], vec![]));
    assert!(core.queues.is_empty(), "nothing is to be started");
    core.now.mono_ms += 60_000;
    core.tick_arbiter();
    assert_eq!(grants(&told(&mut core, &name, attempt(4))).len(), 1, "that is not known for ever");
}
