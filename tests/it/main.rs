//! Integration tests: real sockets, real processes, real files. One module a subject.
#![allow(clippy::disallowed_methods, reason = "a test may wait on the wall clock for a condition")]
#![allow(missing_docs, clippy::missing_panics_doc, reason = "test names are the documentation")]

mod admin;
mod bad_input;
mod chaos;
mod cli;
mod clients;
mod credential;
mod delivery;
mod demo;
mod drain;
mod edits;
mod edits_again;
mod exchange;
mod explain;
mod finishing;
mod fuzz;
mod guards;
mod harness;
mod health;
#[cfg(feature = "seams")]
mod kill;
mod ledger_contract;
mod ledger_embedded;
mod ledger_redis;
mod lifecycle;
mod log_schema;
mod metrics;
#[cfg(feature = "seams")]
mod mistakes;
mod observe;
mod operation_fields;
mod ops;
mod people;
mod pods;
mod policy;
mod policy_guide;
mod policy_schema;
mod policy_trust;
mod port;
mod probe;
mod proof;
mod reconcile;
mod redis_ledger;
mod redis_server;
mod redis_servers;
mod relay;
mod rows;
mod running;
mod sandbox;
mod sandbox_imports;
mod sdk;
mod second_look;
mod server;
mod serving;
#[cfg(feature = "seams")]
mod sim;
mod third_look;
#[cfg(feature = "otlp")]
mod traces;
mod upstream;
mod webhook;
