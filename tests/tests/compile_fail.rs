//! Wrong uses of the derives: each mistake gives one error, and the error names the way out.

#[test]
fn wrong_uses_are_refused_in_one_sentence() {
    let cases = trybuild::TestCases::new();
    cases.pass("compile-fail/every_attribute.rs");
    cases.compile_fail("compile-fail/wrong_*.rs");
}
