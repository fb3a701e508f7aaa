//! The journey of requests through a whole payonce: what is kept, joined, refused and passed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

mod doubt;
mod keys;
mod store;
pub(crate) mod stub;
mod waiting;
mod wire;
mod work;
