//! Runs the example `flights`, real node processes and all, on small files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::read::MultiGzDecoder;
use tempfile::TempDir;

mod program;

use program::{program, texts};

const HEADER: &str = "time_hour,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,air_time,distance";
const ROWS: u64 = 400;
/// So many of them have no tail number, where they are drawn from the real file.
const UNNAMED: usize = 20;
const NAMED: usize = 380;
const AIRCRAFT: u64 = 40;

fn flights() -> Command {
    program("flights")
}

fn file(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).expect("a temporary directory can be written");
    path
}

/// Some rows, and what the example must write for them.
fn rows_and_totals() -> (String, String) {
    let mut rows = format!("{HEADER}\n");
    let mut totals: BTreeMap<String, (u64, u64, u64, i64)> = BTreeMap::new();
    for row in 1..=ROWS {
        let tail = match row % 25 {
            0 => "NA".to_owned(),
            1 => String::new(),
            _ => format!("N{}", row * 7 % AIRCRAFT),
        };
        let delay = i64::try_from(row % 90).expect("it is small") - 20;
        let (cancelled, distance) = (row % 11 == 0, 100 + row);
        let dep_delay = if cancelled { "NA".to_owned() } else { delay.to_string() };
        writeln!(rows, "2013-01-01T10:00:00Z,UA,{row},{tail},EWR,IAH,{dep_delay},NA,NA,{distance}")
            .expect("a text takes everything");
        if tail.starts_with("N") && tail != "NA" {
            let total = totals.entry(tail).or_default();
            total.0 += 1;
            total.1 += u64::from(cancelled);
            if !cancelled {
                total.2 += distance;
                total.3 += delay;
            }
        }
    }
    let mut out = "tailnum,flights,cancelled,distance,dep_delay\n".to_owned();
    for (tail, (flights, cancelled, distance, dep_delay)) in totals {
        writeln!(out, "{tail},{flights},{cancelled},{distance},{dep_delay}").expect("a text takes everything");
    }
    (rows, out)
}

/// The rows, those that were sent, and those without tail number, as the example's last table has them.
fn sent(said: &str) -> Vec<u64> {
    let mut lines = said.lines().skip_while(|line| !line.contains("without tail number"));
    let cells = lines.nth(2).expect("a line between").split(|c: char| c.is_whitespace() || c == '│');
    cells.filter_map(|cell| cell.parse().ok()).take(3).collect()
}

/// The faults of a run, each at a row of its own.
fn faults(mut row: impl FnMut() -> u64) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let options = ["--leave-at", "--join-at", "--kill-at", "--join-at", "--restart-at"];
    let mut at =
        || std::iter::repeat_with(&mut row).find(|row| taken.insert(*row)).expect("there are enough").to_string();
    options.into_iter().flat_map(|option| [option.to_owned(), at()]).collect()
}

/// `SWORM_FLIGHTS=20` makes so many runs. Each has other rows of the real file.
#[test]
#[expect(clippy::print_stdout, reason = "the seed tells which rows there were, and what happened when")]
fn nodes_that_leave_join_die_and_restart_at_any_row_change_nothing_in_the_totals() {
    let runs = std::env::var("SWORM_FLIGHTS").map_or(3, |runs| runs.parse().expect("a number"));
    let january = january();
    for _ in 0..runs {
        let seed =
            std::env::var("SWORM_FLIGHTS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("one"));
        let mut rng = fastrand::Rng::with_seed(seed);
        let rows = drawn(&january, &mut rng);
        let faults = faults(|| rng.u64(1..=ROWS));
        println!("SWORM_FLIGHTS_SEED={seed}: {faults:?}");
        change_nothing_in_the_totals(&rows, &faults);
    }
}

/// The real file, unpacked.
fn january() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/flights-2013-01.csv.gz");
    let (mut text, file) = (String::new(), fs::File::open(path).expect("it is there"));
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("it is text");
    text
}

/// So many of its rows, in their order, of few aircraft: each has several flights, so that its worker has a state to lose.
fn drawn(january: &str, rng: &mut fastrand::Rng) -> Vec<String> {
    let rows: Vec<&str> = january.lines().skip(1).collect();
    let mut tails: Vec<&str> = rows.iter().map(|row| tail(row)).collect::<BTreeSet<_>>().into_iter().collect();
    rng.shuffle(&mut tails);
    let enough =
        |some: &BTreeSet<&str>| rows.iter().filter(|row| some.contains(tail(row))).count() >= 2 * (NAMED + UNNAMED);
    // Those without a tail number are many, and always among them.
    let mut some = BTreeSet::from(["NA", ""]);
    while !enough(&some) {
        some.insert(tails.pop().expect("there are enough"));
    }
    let (named, unnamed): (Vec<_>, Vec<_>) =
        rows.iter().enumerate().filter(|(_, row)| some.contains(tail(row))).partition(|(_, row)| is_named(tail(row)));
    let mut taken: Vec<_> = rng.choose_multiple(named, NAMED);
    taken.extend(rng.choose_multiple(unnamed, UNNAMED));
    taken.sort_unstable();
    taken.into_iter().map(|(_, row)| (*row).to_owned()).collect()
}

/// Cells are never quoted in that file.
fn cell(row: &str, column: usize) -> &str {
    row.split(',').nth(column).expect("it has that column")
}

fn tail(row: &str) -> &str {
    cell(row, 3)
}

fn is_named(tail: &str) -> bool {
    !["", "NA"].contains(&tail)
}

/// What the example must write for these rows.
fn totals(rows: &[String]) -> String {
    let mut totals: BTreeMap<&str, (u64, u64, u64, i64)> = BTreeMap::new();
    for row in rows.iter().filter(|row| is_named(tail(row))) {
        let total = totals.entry(tail(row)).or_default();
        total.0 += 1;
        match cell(row, 6) {
            "NA" => total.1 += 1,
            delay => {
                total.2 += cell(row, 9).parse::<u64>().expect("a number");
                total.3 += delay.parse::<i64>().expect("a number");
            }
        }
    }
    let lines = totals.into_iter().map(|(tail, (flights, cancelled, distance, dep_delay))| {
        format!("{tail},{flights},{cancelled},{distance},{dep_delay}\n")
    });
    "tailnum,flights,cancelled,distance,dep_delay\n".to_owned() + &lines.collect::<String>()
}

fn change_nothing_in_the_totals(rows: &[String], faults: &[String]) {
    let directory = TempDir::new().expect("there is room for temporary files");
    let content = format!("{HEADER}\n{}\n", rows.join("\n"));
    let (data, out) = (file(&directory, "flights.csv", &content), directory.path().join("totals.csv"));
    let output =
        flights().args(faults).arg("--data").arg(&data).arg("--out").arg(&out).output().expect("the example starts");
    let said = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("400 rows, 3 nodes: n1, n2, n3\n"), "{said}");
    assert!(said.contains("left in good order"), "{said}");
    assert!(said.contains("n4 joined") && said.contains("n5 joined"), "{said}");
    assert!(said.contains("killed (SIGKILL)") && said.contains("all nodes are back"), "{said}");
    assert!(said.contains("exact: "), "{said}");
    assert_eq!(fs::read_to_string(&out).expect("it was written"), totals(rows), "{said}");
    assert_eq!(sent(&said), [ROWS, ROWS - 20, 20], "{said}");
}

#[test]
fn a_count_that_is_wrong_by_one_mile_ends_the_run_with_the_aircraft_that_differs() {
    let directory = TempDir::new().expect("there is room for temporary files");
    let (rows, totals) = rows_and_totals();
    let data = file(&directory, "flights.csv", &rows);
    let (row, tail) = (2, "N14");
    assert!(rows.lines().nth(row).is_some_and(|line| line.contains(tail)), "it is of another aircraft");
    let output = flights()
        .args(["--nodes", "2", "--falsify", &row.to_string()])
        .arg("--data")
        .arg(&data)
        .arg("--dir")
        .arg(directory.path())
        .output()
        .expect("the example starts");
    let said = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("400 rows, 2 nodes: n1, n2\n"), "{said}");
    assert!(said.contains(&format!("not exact: 1 of {} aircraft differ\n", totals.lines().count() - 1)), "{said}");
    let expected = totals.lines().find_map(|line| line.strip_prefix(&format!("{tail},"))).expect("it has flights");
    let expected: Vec<i64> = expected.split(',').map(|number| number.parse().expect("a number")).collect();
    let [flights, cancelled, distance, dep_delay] = expected[..] else { panic!("{expected:?}") };
    let as_said =
        |distance| format!("{flights} flights, {cancelled} cancelled, distance {distance}, dep_delay {dep_delay}");
    let (has, should) = (as_said(distance + 1), as_said(distance));
    assert!(said.contains(&format!("  {tail}: its worker has {has}; the file has {should}\n")), "{said}");
}

#[test]
fn a_file_with_other_columns_is_refused_by_name() {
    let directory = TempDir::new().expect("there is room for temporary files");
    let data = file(&directory, "flights.csv", "time_hour,tail,dep_delay,distance\n");
    let output = flights().arg("--data").arg(&data).output().expect("the example starts");
    let said = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("flights.csv: line 1: there is no column \"tailnum\""), "{said}");
}

#[test]
fn a_bad_value_is_refused_with_its_line() {
    let directory = TempDir::new().expect("there is room for temporary files");
    let data = file(&directory, "flights.csv", "tailnum,dep_delay,distance\nN1,3,100\nN1,late,100\n");
    let output = flights().arg("--data").arg(&data).output().expect("the example starts");
    let said = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 3: dep_delay is \"late\""), "{said}");
}

#[test]
fn no_nodes_and_impossible_faults_are_wrong_usage() {
    for (options, why) in [
        (&["--nodes", "0"][..], "0 is not in 1..=50"),
        (&["--nodes", "1", "--kill-at", "10"], "--kill-at 10: only one node is there"),
        (&["--nodes", "2", "--kill-at", "10", "--leave-at", "5"], "--kill-at 10: only one node is there"),
        (&["--join-at", "27005"], "--join-at 27005: the file has 27004 rows"),
    ] {
        let output = flights().args(options).output().expect("the example starts");
        let said = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{options:?}: {said}");
        assert!(said.contains(why), "{options:?}: {said}");
    }
}
