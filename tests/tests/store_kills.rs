//! The store against `kill -9`, and against its own word: what it calls durable is on the disk, and no more than that needs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sworm::store::{Batch, SledStore, Space, Store};
use sworm_tests::batches::{Content, apply, content_of};

/// How often the writer is killed; `SWORM_KILLS=1000` takes some minutes.
const KILLS: u64 = 40;
/// How many batches may have been written that nobody was told of.
const UNTOLD: u64 = 100_000;
/// How many states are written; `SWORM_UPDATES=1000000` takes some minutes.
const UPDATES: u64 = 50_000;
/// How many states there are; `SWORM_STATES=100000` are 22 MB.
const STATES: u64 = 10_000;
/// How many times what is stored the files may take at rest.
const MULTIPLE: u64 = 3;
/// How much more they may take while there are writes: some segments of sled's, of 512 KiB each, wait to be used again.
const WAITING: u64 = 2 << 20;

fn writer(directory: &Path, seed: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-writer"));
    command.arg(directory).args(["--seed", &seed.to_string()]).stdout(Stdio::piped());
    command
}

/// The number in a line of the writer's.
fn durable(line: &str) -> u64 {
    line.strip_prefix("durable ").and_then(|number| number.parse().ok()).expect("it says nothing else")
}

/// Lets a writer work until it has said so much, and somewhat longer, kills it, and gives the last that it called durable.
fn killed(directory: &Path, seed: u64, rng: &mut fastrand::Rng) -> u64 {
    let mut child = writer(directory, seed).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    // Also while it opens the store.
    let enough = rng.usize(0..15);
    let mut last = 0;
    for line in lines.by_ref().take(enough) {
        last = durable(&line.expect("text"));
    }
    std::thread::sleep(Duration::from_micros(rng.u64(0..30_000)));
    child.kill().expect("it runs");
    child.wait().expect("it has ended");
    // What it had said by then.
    for line in lines {
        last = durable(&line.expect("text"));
    }
    last
}

#[test]
fn a_store_whose_process_is_killed_again_and_again_holds_all_that_was_durable_and_no_half_batch() {
    let kills = number("SWORM_KILLS", KILLS);
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let mut content = Content::new();
    for round in 0..kills {
        let batches = rng.u64(..);
        let last = killed(directory.path(), batches, &mut rng);
        (1..=last).for_each(|number| apply(&mut content, batches, number));
        let store = SledStore::open(directory.path()).expect("it always opens");
        let found = content_of(&store).expect("it can be read");
        drop(store);
        let mut number = last;
        while content != found {
            assert!(
                number < last + UNTOLD,
                "seed {seed}, round {round}: it is not what it was after any batch from {last} on"
            );
            number += 1;
            apply(&mut content, batches, number);
        }
        let set_aside = std::fs::read_dir(directory.path()).expect("it is there").flatten();
        let damaged =
            set_aside.map(|entry| entry.file_name()).find(|name| name.to_string_lossy().starts_with("damaged"));
        assert_eq!(damaged, None, "seed {seed}, round {round}: a kill damages nothing");
    }
}

/// What a traced process did with its files, in order.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    Wrote,
    Synced,
    Said,
}

/// The acts in one line of the trace; a call that another thread interrupts comes in two.
fn act(line: &str, store: &str, syncing: &mut BTreeMap<String, bool>) -> Option<Act> {
    let (thread, call) = line.trim_start().split_once(' ')?;
    let call = call.trim_start();
    let is_sync = call.starts_with("fsync(") || call.starts_with("fdatasync(");
    if is_sync && call.contains("<unfinished") {
        syncing.insert(thread.to_owned(), call.contains(store));
        return None;
    }
    if call.starts_with("<... fsync resumed") || call.starts_with("<... fdatasync resumed") {
        return (syncing.remove(thread)? && call.ends_with("= 0")).then_some(Act::Synced);
    }
    if is_sync && call.contains(store) && call.ends_with("= 0") {
        return Some(Act::Synced);
    }
    if call.starts_with("write(1<") && call.contains("durable") {
        return Some(Act::Said);
    }
    ((call.starts_with("pwrite64(") || call.starts_with("write(")) && call.contains(store)).then_some(Act::Wrote)
}

/// Where it cannot be looked at, what is lost with a disk that keeps only what was synced is tested without real ones: by
/// the simulator's faults, and in clusters on [`sworm_tests::FaultyStore`].
#[test]
fn nothing_is_called_durable_before_the_disk_was_told_to_keep_it() {
    if Command::new("strace").arg("-V").output().is_err() {
        // Not by the macros: the harness shows what they print of failures only.
        let skipped =
            b"\nSKIPPED: strace is not installed; it was not looked at whether what sled is to keep is synced\n";
        return std::io::stderr().write_all(skipped).expect("it can be said");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("trace");
    let store = directory.path().join("store");
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=write,pwrite64,fsync,fdatasync", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_test-writer"))
        .arg(&store)
        .args(["--seed", "1", "--batches", "30", "--each"])
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(status.success(), "the writer ended well: {status}");
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let (store, mut syncing) = (store.to_string_lossy().into_owned(), BTreeMap::new());
    let acts: Vec<Act> = text.lines().filter_map(|line| act(line, &store, &mut syncing)).collect();
    let said = acts.iter().filter(|act| **act == Act::Said).count();
    assert_eq!(said, 30, "it has said so after each batch");
    for (n, before) in acts.split(|act| *act == Act::Said).take(30).enumerate() {
        let wrote = before.iter().position(|act| *act == Act::Wrote);
        let synced = before.iter().rposition(|act| *act == Act::Synced);
        assert!(wrote.is_some() && synced > wrote, "batch {} was written and then synced: {before:?}", n + 1);
    }
}

/// What a directory takes on the disk.
fn bytes_in(directory: &Path) -> u64 {
    let each = std::fs::read_dir(directory).expect("it is there").map(|entry| {
        let entry = entry.expect("it is there");
        let about = entry.metadata().expect("it is there");
        if about.is_dir() { bytes_in(&entry.path()) } else { about.len() }
    });
    each.sum()
}

/// The number that an environment variable says, or the default.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

/// Waits until a directory takes no more than that, and gives what it takes.
async fn shrinks_to(directory: &Path, most: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let size = bytes_in(directory);
        if size <= most {
            return size;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{size} bytes, of {most}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn write(store: &SledStore, batch: Batch) {
    let ticket = store.write(batch).expect("there is room");
    store.sync(ticket).await.expect("there is room");
}

fn key(n: u64) -> Vec<u8> {
    format!("sworm/state of worker-{n}").into_bytes()
}

fn state(n: u64) -> Vec<u8> {
    n.to_be_bytes().repeat(25)
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the measured size is worth knowing")]
async fn states_that_are_written_again_and_again_take_at_most_three_times_their_size() {
    const TOGETHER: u64 = 100;
    let (updates, states) = (number("SWORM_UPDATES", UPDATES), number("SWORM_STATES", STATES));
    let directory = tempfile::tempdir().expect("a directory");
    let store = SledStore::open(directory.path()).expect("it opens");
    let live: u64 = (0..states).map(|n| (key(n).len() + state(n).len()) as u64).sum();
    let (begun, mut rng, mut most) = (Instant::now(), fastrand::Rng::new(), 0);
    for round in 0..updates / TOGETHER {
        let mut batch = Batch::new();
        for n in 0..TOGETHER {
            let which = if round < states / TOGETHER { round * TOGETHER + n } else { rng.u64(0..states) };
            batch.put(Space::Snapshots, key(which), state(round));
        }
        write(&store, batch).await;
        most = most.max(bytes_in(directory.path()));
    }
    let (took, last) = (begun.elapsed(), bytes_in(directory.path()));
    let size = shrinks_to(directory.path(), live * MULTIPLE).await;
    println!("{updates} updates of {live} bytes in {took:?}: at most {most}, at the end {last}, then {size} bytes");
    assert!(most <= live * MULTIPLE + WAITING, "{most} of {live}");
}
