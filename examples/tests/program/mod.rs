//! The examples' programs, which Cargo builds together with the tests.

use std::env::consts::EXE_SUFFIX;
use std::process::{Command, Output};

/// One of them, to be started.
pub(crate) fn program(name: &str) -> Command {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests are in <profile>/deps");
    let program = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    assert!(
        program.exists(),
        "the example is not built: run `cargo build --examples` or `cargo test` without `--test`"
    );
    Command::new(program)
}

/// What it wrote to both outputs.
pub(crate) fn texts(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
