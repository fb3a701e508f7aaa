//! Integration tests: real sockets, real processes, real files. One module a subject.
#![allow(clippy::disallowed_methods, reason = "a test may wait on the wall clock for a condition")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "test names are the documentation")]

mod admin;
mod delivery;
mod drain;
mod ledger_contract;
mod ledger_embedded;
mod policy;
mod sdk;
mod server;
mod serving;
mod upstream;
