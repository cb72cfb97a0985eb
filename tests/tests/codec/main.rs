//! Every frame comes back as it was sent, and what is no frame costs little and does no harm.
//!
//! Alone in its process: the allocator counts what decoding takes.

mod values;

use fastrand::Rng;
use peak_alloc::PeakAlloc;
use sworm::__private::{decode, encode};
use sworm::core::message::Message;
use sworm::internals::Frame;

use values::Gen;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Random frames for each test.
const CASES: u64 = 3_000;
/// What decoding may take beside a multiple of what came.
const SPARE_BYTES: usize = 2 << 20;
/// A cell of a few bytes becomes one of some hundred in memory.
const TIMES: usize = 64;

/// How many kinds of messages there are.
const KINDS: usize = 29;

/// The kind of a message: with a new one this does not compile, until it is made as well.
fn kind(message: &Message) -> usize {
    match message {
        Message::Beat(_) => 0,
        Message::NotOpen => 1,
        Message::Versions(_) => 2,
        Message::Pull(_) => 3,
        Message::Delta(_) => 4,
        Message::Ask { .. } => 5,
        Message::Answer { .. } => 6,
        Message::Grant(_) => 7,
        Message::Granted { .. } => 8,
        Message::End { .. } => 9,
        Message::Ended { .. } => 10,
        Message::Move { .. } => 11,
        Message::MoveTo { .. } => 12,
        Message::Offer { .. } => 13,
        Message::OfferAnswer { .. } => 14,
        Message::Keep { .. } => 15,
        Message::Kept { .. } => 16,
        Message::Best { .. } => 17,
        Message::BestIs { .. } => 18,
        Message::Goodbye { .. } => 19,
        Message::Part(_) => 20,
        Message::PullPart { .. } => 21,
        Message::Rebalance(_) => 22,
        Message::Votes(_) => 23,
        Message::Diverged { .. } => 24,
        Message::DivergedRefused { .. } => 25,
        Message::PullChunk { .. } => 26,
        Message::Chunk { .. } => 27,
        Message::NoChunk { .. } => 28,
    }
}

fn every_message_comes_back() {
    for seed in 0..200 {
        let mut g = Gen(Rng::with_seed(seed));
        for n in 0..KINDS {
            let message = g.message(n).expect("a kind");
            assert_eq!(kind(&message), n);
            let bytes = encode(&message).expect("plain data");
            assert_eq!(decode(&bytes), Ok(message), "seed {seed}, kind {n}");
        }
        assert!(g.message(KINDS).is_none());
    }
}

fn every_frame_comes_back() {
    for seed in 0..CASES {
        let frame = Gen(Rng::with_seed(seed)).frame();
        let bytes = frame.encode().expect("plain data");
        let back = Frame::decode(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}: {frame:?}"));
        assert_eq!(format!("{back:?}"), format!("{frame:?}"), "seed {seed}");
        assert_eq!(back.encode().expect("plain data"), bytes, "seed {seed}");
    }
}

/// Decodes what may be anything, and gives what that took at most beyond what is allowed.
fn cost(bytes: &[u8]) -> usize {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    // Without its checksum: whoever wants to do harm computes it.
    drop(decode::<Frame>(bytes));
    (HEAP.peak_usage() - before).saturating_sub(bytes.len() * TIMES)
}

fn anything_costs_little() {
    let mut worst = (0, String::new());
    for seed in 0..CASES {
        let mut g = Gen(Rng::with_seed(seed));
        let mut bytes = encode(&g.frame()).expect("plain data");
        for round in 0..20 {
            match g.0.u8(0..5) {
                0 => bytes.truncate(g.0.usize(0..=bytes.len())),
                1 => bytes = g.bytes().to_vec(),
                // A length that nothing of the sort follows.
                2 if !bytes.is_empty() => {
                    let at = g.0.usize(0..bytes.len());
                    let major = g.0.u8(2..6) << 5;
                    bytes.splice(at..=at, [&[major | 27][..], &(g.0.u64(..) >> g.0.u32(0..48)).to_be_bytes()].concat());
                }
                _ if !bytes.is_empty() => {
                    let at = g.0.usize(0..bytes.len());
                    bytes[at] = g.0.u8(..);
                }
                _ => bytes.push(g.0.u8(..)),
            }
            let cost = cost(&bytes);
            if cost > worst.0 {
                worst = (cost, format!("seed {seed}, round {round}: {bytes:02x?}"));
            }
        }
    }
    assert!(worst.0 <= SPARE_BYTES, "{} bytes: {}", worst.0, worst.1);
}

fn depth_costs_little() {
    for byte in [0x81, 0xa1, 0x9f, 0xbf, 0xc1, 0xd8] {
        let cost = cost(&vec![byte; 1 << 20]);
        assert!(cost <= SPARE_BYTES, "a million times {byte:02x} take {cost} bytes");
    }
}

// One test: no other allocates beside it.
#[test]
fn frames_come_back_and_what_is_none_costs_little() {
    every_message_comes_back();
    every_frame_comes_back();
    anything_costs_little();
    depth_costs_little();
}
