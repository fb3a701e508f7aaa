//! Credentials for a collector: they get there, and nowhere else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use payonce::settings::Settings;

use super::collector::{Collector, Manner};
use super::{CHARGES, charge, exporting, spans};
use crate::guards::logged;
use crate::harness::{Post, Setup, until};
use crate::running;
use crate::upstream::secure::certified;

const ONE: &str = "authorization: Bearer canary-one\nx-team: canary-team\n";
const TWO: &str = "authorization: Bearer canary-two\n";

/// A file of headers, and its directory.
fn file(text: &str) -> (PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("headers");
    std::fs::write(&path, text).unwrap();
    (path, directory)
}

fn with(collector: &Collector, path: &Path) -> Setup {
    exporting(collector).set("TRACING__HEADERS_FILE", path.display())
}

fn another(n: u32) -> Post {
    let mut charge = charge();
    charge.body = format!("amount={n}00&currency=usd&source=tok_visa").into_bytes();
    charge
}

#[tokio::test]
async fn the_headers_of_a_file_reach_the_collector_and_show_nowhere_else() {
    let (log, _guard) = logged();
    let (path, _directory) = file(ONE);
    for manner in [Manner::Takes, Manner::Answers(400)] {
        let collector = Collector::start(manner).await;
        let world = with(&collector, &path).start().await;
        let reply = world.done(&charge()).await;
        assert_eq!(reply.status, 200);
        until("the spans are gone", || spans(&world, "sent") + spans(&world, "failed") == 4).await;
        for headers in collector.headers() {
            assert_eq!(headers["authorization"], "Bearer canary-one");
            assert_eq!(headers["x-team"], "canary-team");
            assert_eq!(headers["content-type"], "application/x-protobuf");
        }
        // Nor the provider: these are the collector's.
        for seen in world.seen() {
            assert!(!seen.headers.iter().any(|name| name == "x-team"), "{seen:?}");
        }
        assert!(!world.payonce().metrics.encode().contains("canary"));
    }
    let log = log();
    assert!(log.contains("the collector did not take spans"), "{log}");
    // What this request itself says stands in no line either.
    assert!(!log.contains("canary-"), "{log}");
    let variables = [
        ("PAYONCE_TRACING__OTLP_ENDPOINT", "https://otel.example"),
        ("PAYONCE_TRACING__HEADERS_FILE", path.to_str().unwrap()),
    ];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let settings = Settings::load(None, variables).unwrap();
    assert!(!format!("{settings:?}").contains("canary-"));
}

#[tokio::test]
async fn rolled_headers_are_taken_and_a_worse_file_is_not() {
    let (log, _guard) = logged();
    let (path, _directory) = file(ONE);
    let collector = Collector::start(Manner::TakesFrom("Bearer canary-two")).await;
    let world = with(&collector, &path).start().await;
    world.done(&another(1)).await;
    until("they are turned away", || spans(&world, "failed") == 4).await;

    // Rolled while the old ones are shown: the same spans are sent once more.
    collector.rolls(&path, TWO);
    world.done(&another(2)).await;
    until("they are taken", || spans(&world, "sent") == 4).await;

    std::fs::write(&path, "canary-half").unwrap();
    world.done(&another(3)).await;
    until("they are taken with what was read before", || spans(&world, "sent") == 8).await;
    std::fs::remove_file(&path).unwrap();
    world.done(&another(4)).await;
    until("likewise without a file", || spans(&world, "sent") == 12).await;
    assert_eq!(spans(&world, "failed"), 4);

    let log = log();
    assert!(log.contains("line 1 is no `name: value`"), "{log}");
    assert!(log.contains("the headers for the collector were read anew"), "{log}");
    assert!(!log.contains("canary-"), "{log}");
}

#[tokio::test]
async fn a_collector_behind_tls_is_trusted_by_an_authority_of_ones_own() {
    let (acceptor, root) = certified("127.0.0.1", &["http/1.1"]);
    let (path, _directory) = file(TWO);
    let collector = Collector::secure(Manner::TakesFrom("Bearer canary-two"), acceptor).await;
    let setup = || {
        Setup::policy(CHARGES)
            .set("TRACING__OTLP_ENDPOINT", format!("https://{}", collector.addr))
            .set("TRACING__HEADERS_FILE", path.display())
    };
    let world = setup().set("TRACING__CA_FILE", root.path().display()).start().await;
    world.done(&charge()).await;
    assert_eq!(collector.got(2).await.len(), 2);

    let stranger = setup().start().await;
    stranger.done(&another(2)).await;
    until("it is not trusted", || spans(&stranger, "failed") == 4).await;
    assert_eq!(collector.spans().len(), 2);
}

#[test]
fn what_is_wrong_with_the_headers_ends_the_start_with_a_reason_that_shows_none_of_them() {
    let (bad, _directory) = file("authorization: Bearer canary-one\napi-key=canary-key\n");
    let (good, _other) = file(ONE);
    let there = "http://127.0.0.1:4318";
    for (endpoint, path, said) in [
        (there, bad.as_path(), "line 2 is no `name: value`"),
        (there, Path::new("/nowhere/headers"), "cannot be read"),
        ("http://otel.internal:4318", &good, "would send credentials to http://otel.internal:4318"),
    ] {
        let variables = [
            ("PAYONCE_TRACING__OTLP_ENDPOINT", endpoint),
            ("PAYONCE_TRACING__HEADERS_FILE", path.to_str().unwrap()),
        ];
        let ended = running::run(&["serve"], &variables);
        ended.failed(64, &["tracing.headers_file: ", said]);
        assert!(!ended.err.contains("canary-") && !ended.out.contains("canary-"), "{}", ended.err);
    }
}
