//! payonce: the binary.
fn main() {}
