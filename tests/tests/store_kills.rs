//! The store against `kill -9`, and against its own word: what it calls durable is on the disk, and no more than that needs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sworm::store::{Batch, Space, Store};
use sworm_tests::batches::{Content, Kind, apply, content_of};

/// How often the writer is killed; `SWORM_KILLS=1000` takes some minutes.
const KILLS: u64 = 40;
/// The same of redb, which writes more for each batch.
#[cfg(feature = "processes")]
const KILLS_OF_REDB: u64 = 15;
/// How many batches may have been written that nobody was told of.
const UNTOLD: u64 = 100_000;
/// How many states are written; `SWORM_UPDATES=1000000` takes some minutes.
const UPDATES: u64 = 50_000;
/// How many states there are; `SWORM_STATES=100000` are 22 MB.
const STATES: u64 = 10_000;
/// How many of them are written in one batch.
const TOGETHER: u64 = 100;
/// How many times what is stored the files may take at rest.
const MULTIPLE: u64 = 3;
/// The same of redb's file while it is open.
#[cfg(feature = "processes")]
const MULTIPLE_OF_REDB: u64 = 6;
/// How much more they may take while there are writes: some segments of sled's, of 512 KiB each, wait to be used again.
const WAITING: u64 = 2 << 20;

fn writer(kind: Kind, directory: &Path, seed: u64) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_test-writer"));
    command.arg(directory).args(["--seed", &seed.to_string(), "--store", kind.name()]).stdout(Stdio::piped());
    command
}

/// The number in a line of the writer's.
fn durable(line: &str) -> u64 {
    line.strip_prefix("durable ").and_then(|number| number.parse().ok()).expect("it says nothing else")
}

/// Lets a writer work until it has said so much, and somewhat longer, kills it, and gives the last that it called durable.
fn killed(kind: Kind, directory: &Path, seed: u64, rng: &mut fastrand::Rng) -> u64 {
    let mut child = writer(kind, directory, seed).spawn().expect("it starts");
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
    is_killed_again_and_again(Kind::Sled, number("SWORM_KILLS", KILLS));
}

#[cfg(feature = "processes")]
#[test]
fn so_does_one_of_redb() {
    is_killed_again_and_again(Kind::Redb, number("SWORM_KILLS", KILLS_OF_REDB));
}

fn is_killed_again_and_again(kind: Kind, kills: u64) {
    let seed = fastrand::u64(..);
    let mut rng = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().expect("a directory");
    let mut content = Content::new();
    for round in 0..kills {
        let batches = rng.u64(..);
        let last = killed(kind, directory.path(), batches, &mut rng);
        (1..=last).for_each(|number| apply(&mut content, batches, number));
        let store = kind.open(directory.path()).expect("it always opens");
        let found = content_of(&*store).expect("it can be read");
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

/// What a traced process does with one file, and what it has said.
#[derive(Default)]
struct Traced {
    /// How many writes have begun, and how many have ended, all in all.
    wrote: usize,
    /// What that was when the last sync that succeeded began: the disk has so much.
    kept: usize,
    /// Both whenever it said that something is durable.
    said: Vec<(usize, usize)>,
    /// What threads have begun and not ended: a call that another thread interrupts comes in two lines.
    underway: BTreeMap<String, Begun>,
}

enum Begun {
    Write,
    /// How much had been written then.
    Sync(usize),
}

impl Traced {
    /// Takes in a line of the trace. In it the file stands as `</its/path>`.
    fn line(&mut self, line: &str, file: &str) {
        let Some((thread, call)) = line.trim_start().split_once(' ') else { return };
        let call = call.trim_start();
        if call.starts_with("<... ") {
            match self.underway.remove(thread) {
                Some(Begun::Write) => self.wrote += 1,
                Some(Begun::Sync(wrote)) => self.synced(wrote, call),
                None => {}
            }
            return;
        }
        if call.starts_with("write(1<") && call.contains("durable") {
            // What is being written is not there yet.
            let writing = self.underway.values().filter(|begun| matches!(begun, Begun::Write)).count();
            return self.said.push((self.wrote + writing, self.kept));
        }
        if !call.contains(file) {
            return;
        }
        let is_over = !call.ends_with("<unfinished ...>");
        match call.split('(').next() {
            Some("write" | "pwrite64") if is_over => self.wrote += 2,
            Some("write" | "pwrite64") => {
                self.wrote += 1;
                self.underway.insert(thread.to_owned(), Begun::Write);
            }
            Some("fsync" | "fdatasync") if is_over => self.synced(self.wrote, call),
            Some("fsync" | "fdatasync") => {
                self.underway.insert(thread.to_owned(), Begun::Sync(self.wrote));
            }
            _ => {}
        }
    }

    /// A sync is over that began when so much had been written.
    fn synced(&mut self, wrote: usize, call: &str) {
        if call.ends_with("= 0") {
            self.kept = self.kept.max(wrote);
        }
    }
}

#[test]
fn in_a_trace_a_sync_keeps_what_was_written_before_it_began_and_nothing_else() {
    const WRITE: &str = "1 pwrite64(9</s/db>, \"x\", 1, 0) = 1";
    const SYNC: &str = "2 fdatasync(9</s/db>)  = 0";
    const SAY: &str = "3 write(1</dev/null>, \"durable 1\\n\", 10) = 10";
    let kept = |lines: &[&str]| {
        let mut traced = Traced::default();
        lines.iter().for_each(|line| traced.line(line, "</s/db>"));
        let (wrote, kept) = traced.said[0];
        wrote > 0 && kept == wrote
    };
    assert!(kept(&[WRITE, WRITE, SYNC, SAY]));
    assert!(!kept(&[WRITE, SAY]) && !kept(&[SYNC, WRITE, SAY]) && !kept(&[WRITE, SYNC, WRITE, SAY]));
    assert!(!kept(&[WRITE, "2 fdatasync(9</s/db>) = -1 EIO (Input/output error)", SAY]));
    assert!(!kept(&[WRITE, "2 fdatasync(9</s/synced>) = 0", SAY]), "another file");
    let [begins, ends] = ["2 fdatasync(9</s/db> <unfinished ...>", "2 <... fdatasync resumed>) = 0"];
    assert!(kept(&[WRITE, begins, ends, SAY]) && !kept(&[WRITE, begins, SAY, ends]));
    assert!(!kept(&[begins, WRITE, ends, SAY]) && !kept(&[WRITE, begins, WRITE, ends, SAY]));
    let [begins, ends] = ["1 pwrite64(9</s/db>, \"x\", 1, 0 <unfinished ...>", "1 <... pwrite64 resumed>) = 1"];
    assert!(kept(&[begins, ends, SYNC, SAY]) && !kept(&[begins, SYNC, ends, SAY]) && !kept(&[begins, SYNC, SAY, ends]));
}

/// Where it cannot be looked at, what is lost with a disk that keeps only what was synced is tested without real ones: by
/// the simulator's faults, and in clusters on [`sworm_tests::FaultyStore`].
#[test]
fn nothing_is_called_durable_before_the_disk_was_told_to_keep_it() {
    is_synced_before_it_is_called_durable(Kind::Sled, "sled/db");
}

#[cfg(feature = "processes")]
#[test]
fn nor_is_it_by_redb() {
    is_synced_before_it_is_called_durable(Kind::Redb, "sworm.redb");
}

/// That file of the store holds what is to be on the disk.
fn is_synced_before_it_is_called_durable(kind: Kind, file: &str) {
    if Command::new("strace").arg("-V").output().is_err() {
        // Not by the macros: the harness shows what they print of failures only.
        let skipped =
            b"\nSKIPPED: strace is not installed; it was not looked at whether what a store is to keep is synced\n";
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
        .args(["--seed", "1", "--store", kind.name(), "--batches", "30", "--each"])
        .stdout(Stdio::null())
        .status()
        .expect("strace runs");
    assert!(status.success(), "the writer ended well: {status}");
    let text = std::fs::read_to_string(&trace).expect("a trace");
    let file = store.join(file).canonicalize().expect("it is there");
    let (file, mut traced) = (format!("<{}>", file.display()), Traced::default());
    text.lines().for_each(|line| traced.line(line, &file));
    assert_eq!(traced.said.len(), 30, "it has said so after each batch");
    let mut before = 0;
    for (n, (wrote, kept)) in traced.said.into_iter().enumerate() {
        assert!(wrote > before, "batch {} was written", n + 1);
        assert_eq!(kept, wrote, "a sync began after the last write, and succeeded before batch {} was durable", n + 1);
        before = wrote;
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

async fn write(store: &dyn Store, batch: Batch) {
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
    let directory = tempfile::tempdir().expect("a directory");
    let (_store, live, most) = written_again_and_again(Kind::Sled, directory.path()).await;
    let size = shrinks_to(directory.path(), live * MULTIPLE).await;
    println!("then {size} bytes");
    assert!(most <= live * MULTIPLE + WAITING, "{most} of {live}");
}

#[cfg(feature = "processes")]
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the measured size is worth knowing")]
async fn those_in_redb_take_at_most_six_times_their_size_and_three_times_as_soon_as_they_are_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, live, most) = written_again_and_again(Kind::Redb, directory.path()).await;
    drop(store);
    let store = Kind::Redb.open(directory.path()).expect("it opens");
    let size = bytes_in(directory.path());
    println!("then {size} bytes");
    assert!(most <= live * MULTIPLE_OF_REDB + WAITING, "{most} of {live}");
    assert!(size <= live * MULTIPLE, "{size} of {live}");
    assert!(content_of(&*store).expect("it can be read").values().all(|value| value.len() == state(0).len()));
}

/// Writes states again and again. Gives their store, the bytes of the keys and values, and the most that it has taken.
#[expect(clippy::print_stdout, reason = "the measured size is worth knowing")]
async fn written_again_and_again(kind: Kind, directory: &Path) -> (Box<dyn Store>, u64, u64) {
    let together = number("SWORM_TOGETHER", TOGETHER);
    let (updates, states) = (number("SWORM_UPDATES", UPDATES), number("SWORM_STATES", STATES));
    let store = kind.open(directory).expect("it opens");
    let live: u64 = (0..states).map(|n| (key(n).len() + state(n).len()) as u64).sum();
    let (begun, mut rng, mut most) = (Instant::now(), fastrand::Rng::new(), 0);
    for round in 0..updates / together {
        let mut batch = Batch::new();
        for n in 0..together {
            let which = if round < states / together { round * together + n } else { rng.u64(0..states) };
            batch.put(Space::Snapshots, key(which), state(round));
        }
        write(&*store, batch).await;
        most = most.max(bytes_in(directory));
    }
    let (took, last, kind) = (begun.elapsed(), bytes_in(directory), kind.name());
    println!("{kind}: {updates} updates of {live} bytes in {took:?}: at most {most}, at the end {last}");
    (store, live, most)
}
