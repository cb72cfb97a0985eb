//! Runs the example `flights`, real node processes and all, on small files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

mod program;

use program::{program, texts};

const HEADER: &str = "time_hour,carrier,flight,tailnum,origin,dest,dep_delay,arr_delay,air_time,distance";
const ROWS: u64 = 400;
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

/// `SWORM_FLIGHTS=20` makes so many runs.
#[test]
#[expect(clippy::print_stdout, reason = "the seed tells what happened when")]
fn nodes_that_leave_join_die_and_restart_at_any_row_change_nothing_in_the_totals() {
    let runs = std::env::var("SWORM_FLIGHTS").map_or(2, |runs| runs.parse().expect("a number"));
    for _ in 0..runs {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        let faults = faults(|| rng.u64(1..=ROWS));
        println!("seed {seed}: {faults:?}");
        change_nothing_in_the_totals(&faults);
    }
}

fn change_nothing_in_the_totals(faults: &[String]) {
    let directory = TempDir::new().expect("there is room for temporary files");
    let (rows, totals) = rows_and_totals();
    let (data, out) = (file(&directory, "flights.csv", &rows), directory.path().join("totals.csv"));
    let output =
        flights().args(faults).arg("--data").arg(&data).arg("--out").arg(&out).output().expect("the example starts");
    let said = texts(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("400 rows, 3 nodes: n1, n2, n3\n"), "{said}");
    assert!(said.contains("left in good order"), "{said}");
    assert!(said.contains("n4 joined") && said.contains("n5 joined"), "{said}");
    assert!(said.contains("killed (SIGKILL)") && said.contains("all nodes are back"), "{said}");
    assert!(said.contains("exact: "), "{said}");
    assert_eq!(fs::read_to_string(&out).expect("it was written"), totals, "{said}");
    assert_eq!(sent(&said), [ROWS, ROWS - 32, 32], "{said}");
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
