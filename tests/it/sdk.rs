//! Real SDKs through a real payonce process, effects counted by the sandbox, by intent.
//!
//! The SDKs are installed by `./tests/run`; without them these tests fail, and say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

pub(crate) mod app;
mod clients;
mod crashes;
mod faults;
mod many;
mod wire;
mod work;
mod world;
