//! A store that forgets: what keeps payments to once then, and how people learn of it.

use crate::harness::{World, until};
use crate::redis_servers::{Options, Replicated, Server, beside};
use crate::running::Running;

use super::{charge, on};

#[tokio::test]
async fn a_flush_between_charge_and_repetition_makes_no_second_effect_and_is_noticed() {
    let server = Server::start(&Options::default());
    let world = on(&server.url()).start().await;
    let other = on(&server.url()).upstream(world.sandbox.addr()).start().await;
    let charged = world.done(&charge("order")).await;
    charged.is(200, "executed");
    server.flush();
    // The other process remembers nothing: the derived key is all there is.
    let forgotten = other.done(&charge("order")).await;
    forgotten.is(200, "forgotten");
    let again = world.done(&charge("order")).await;
    assert_eq!((again.status, again.id()), (200, charged.id()));
    assert_eq!((forgotten.id(), world.effects().len()), (charged.id(), 1));
    until("the watch notices", || signs(&world) > 0).await;
}

#[tokio::test]
async fn a_stale_fail_over_makes_no_second_effect() {
    let pair = std::sync::Arc::new(beside(Replicated::start).await);
    let topology = |setup: crate::harness::Setup| {
        setup.set("STORE__TOPOLOGY", "sentinel").set("STORE__MASTER", crate::redis_servers::NAME)
    };
    let world = topology(on(&pair.nodes())).start().await;
    let servers = std::sync::Arc::clone(&pair);
    beside(move || {
        servers.until_replicated();
        servers.cut_replication();
    })
    .await;
    let charged = world.done(&charge("order")).await;
    charged.is(200, "executed");
    assert_eq!(charged.header("payonce-degraded"), None);
    let servers = std::sync::Arc::clone(&pair);
    beside(move || servers.fail_over()).await;
    let other = topology(on(&pair.nodes())).upstream(world.sandbox.addr()).start().await;
    let forgotten = other.done(&charge("order")).await;
    forgotten.is(200, "forgotten");
    assert_eq!((forgotten.id(), world.effects().len()), (charged.id(), 1));
    until("the first process finds the new primary", || signs(&world) > 0).await;
    let again = world.done(&charge("order")).await;
    assert_eq!((again.status, again.id(), world.effects().len()), (200, charged.id(), 1));
}

/// How many signs of forgetting were seen.
fn signs(world: &World) -> u64 {
    ["mark_gone", "mark_changed", "history_changed"]
        .iter()
        .map(|sign| world.count(&format!("payonce_store_forgot_total{{sign=\"{sign}\"}}")))
        .sum()
}

/// A payonce process with its store at `url`.
fn serve(url: &str) -> Running {
    let store = [
        ("PAYONCE_STORE__KIND", "redis"),
        ("PAYONCE_STORE__NODES", url),
        ("PAYONCE_UPSTREAM__API", "http://127.0.0.1:9"),
    ];
    Running::serve(&[], &store)
}

#[test]
fn a_store_that_evicts_or_does_not_persist_is_told_of_at_start() {
    let memory = Some(("100mb", "allkeys-lru"));
    let server = Server::start(&Options { memory, ..Options::default() });
    let payonce = serve(&server.url());
    let line = payonce.line("maxmemory-policy is allkeys-lru");
    assert!(line.contains("MAY FORGET") && line.contains("noeviction"), "{line}");
    let line = payonce.line("writes nothing to disk");
    assert!(line.contains("MAY FORGET"), "{line}");
}

#[test]
fn a_store_that_evicts_nothing_and_persists_is_not_doubted() {
    let server = Server::start(&Options { append_only: true, ..Options::default() });
    let payonce = serve(&server.url());
    // Whoever answers hears signals.
    crate::running::get(payonce.proxy(), "/v1/balance");
    payonce.signal("TERM");
    let (code, heard) = payonce.ended();
    assert_eq!(code, Some(0), "{heard:?}");
    assert!(!heard.iter().any(|line| line.contains("MAY FORGET")), "{heard:?}");
}
