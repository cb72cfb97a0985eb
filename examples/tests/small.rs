//! Runs the small examples.

use tempfile::TempDir;

mod program;

use program::{program, texts};

#[test]
fn zones_ends_by_itself_with_what_it_says_being_so() {
    // Nodes of one machine find each other through the directory of temporary files.
    let directory = TempDir::new().expect("there is room for temporary files");
    let output = program("zones").env("TMPDIR", directory.path()).output().expect("the example starts");
    let said = texts(&output);
    assert!(output.status.success() && said.contains("west: c runs "), "{said}");
}

#[test]
fn hello_says_1_then_2_and_is_what_the_readme_shows() {
    let directory = TempDir::new().expect("there is room for temporary files");
    for run in ["1\n", "2\n"] {
        let mut hello = program("hello");
        let hello = hello.current_dir(directory.path()).env("TMPDIR", directory.path());
        let output = hello.output().expect("the example starts");
        assert!(output.status.success() && output.stdout == run.as_bytes(), "{}", texts(&output));
    }
    let (_, code) = include_str!("../hello.rs").split_once("\n\n").expect("its head ends with an empty line");
    assert!(include_str!("../../README.md").contains(&format!("```rust,no_run\n{code}```\n")));
}
