//! What must hold for any input, said once: each module here has one `check`, which panics where
//! something does not hold. The fuzz targets of this package feed it what libFuzzer makes up;
//! `tests/it/fuzz.rs` includes this file and replays the kept corpora, and changed ones, on stable.
//!
//! Inputs are lines of text as far as possible, so that a person can read and write a case. Only
//! the public API of payonce is used, and an expected result is worked out by other means than the
//! code under test.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a property may fail its test, and is public to the fuzz targets"
)]

pub mod agent;
pub mod answer;
pub mod body;
mod choices;
pub mod form;
pub mod headers;
pub mod json;
pub mod key;
pub mod multipart;
pub mod pair;
pub mod path;
pub mod policy;
pub mod record;
mod said;

/// A property: it panics where an input breaks it.
pub type Check = fn(&[u8]);

/// Every target by name, which is also the name of its corpus.
pub const TARGETS: [(&str, Check); 12] = [
    ("agent", agent::check),
    ("answer", answer::check),
    ("body", body::check),
    ("form", form::check),
    ("headers", headers::check),
    ("json", json::check),
    ("key", key::check),
    ("multipart", multipart::check),
    ("pair", pair::check),
    ("path", path::check),
    ("policy", policy::check),
    ("record", record::check),
];
