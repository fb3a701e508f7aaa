//! The ledger in Redis against real servers: the contract on every way to reach one, through
//! fail-overs, and what a whole payonce does with a store that is slow, gone, full or forgetful.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

pub(crate) mod contract;
mod demoted;
mod down;
mod fail_over;
mod forgetting;
mod formats;
mod joins;
mod secrets;
mod shards;
mod wire;

use crate::harness::{Post, Setup};

/// Charges go on without a store, customers do not.
const POLICY: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]

[[rule]]
name = "customers"
match = ["POST /v1/customers"]
class = "critical"
store_down = "refuse"
"#;

/// A payonce on real time (a server's clock is real, too) with its store at `nodes`.
fn on(nodes: &str) -> Setup {
    let setup = Setup { speed: 1, ..Setup::policy(POLICY) };
    setup
        .set("STORE__KIND", "redis")
        .set("STORE__NODES", nodes)
        .set("STORE__TIMEOUT", "300ms")
        .set("STORE__CONNECT_TIMEOUT", "300ms")
        .set("RETRY__BACKOFF", "10ms")
        .set("RETRY__BACKOFF_MAX", "10ms")
}

/// A charge by name.
fn charge(operation: &str) -> Post {
    Post::charge("amount=500&currency=usd&source=tok_visa").with("Payonce-Operation", operation)
}

/// A customer by name.
fn customer(operation: &str) -> Post {
    Post::new("/v1/customers", "name=Ada").with("Payonce-Operation", operation)
}
