//! Wrong uses of the derives: each mistake gives one error, and the error names the way out.

use std::process::Command;

/// The compiler that wrote the `.stderr` files: others say the same in other words.
const COMPILER: &str = "rustc 1.95.";

#[test]
#[expect(clippy::print_stderr, reason = "a test that could not be made must say so")]
fn wrong_uses_are_refused_in_one_sentence() {
    let compiler = compiler();
    if compiler.starts_with(COMPILER) {
        // None that passes: what all of them need is only checked then, and not built.
        trybuild::TestCases::new().compile_fail("compile-fail/wrong_*.rs");
    } else {
        eprintln!("skipped: the expected errors are those of {COMPILER}*, and this is {compiler}");
    }
}

/// What the compiler of these tests calls itself.
fn compiler() -> String {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).arg("--version").output().expect("a compiler has built this test");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}
