//! A node that links all worker types of the tests.

mod held;
mod merging;
mod rough;
mod typed;
mod workers;

fn main() {
    sworm_tests::server::run(typed::Types::default());
}
