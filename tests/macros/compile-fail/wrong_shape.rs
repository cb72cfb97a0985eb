use sworm::prelude::*;

#[derive(Clone, Copy, Worker)]
union A {
    n: u8,
}

#[derive(Clone, Copy, Message)]
union B {
    n: u8,
}

#[derive(Sworm)]
struct C {
    name: String,
}

#[derive(Sworm)]
struct D<T>(T);

#[derive(Sworm)]
enum E {}

fn main() {}
