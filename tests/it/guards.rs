//! Guards over sockets: what each refuses and in what words, where they only warn, and that nothing
//! of a key shows.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use payonce::settings::{Log, LogFormat, LogLevel};
use payonce::telemetry;

use crate::harness::{Post, Setup, World};

const BODY: &str = "amount=500&currency=usd&source=tok_visa";

fn charge() -> Post {
    Post::charge(BODY)
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// A guard and a request that it finds something in.
fn cases() -> Vec<(&'static str, Post)> {
    let key = |key: &str| charge().key(key);
    vec![
        ("api_keys = [\"rk_test\"]", charge()),
        ("api_keys = [\"rk_test\"]", charge().instead("Authorization", "")),
        ("api_keys = [\"rk_test\"]", charge().instead("Authorization", &bearer("token"))),
        // "sk_test_shop_1:" as a user name.
        (
            "api_keys = [\"rk_test\"]",
            charge().instead("Authorization", "Basic c2tfdGVzdF9zaG9wXzE6"),
        ),
        ("environment = \"live\"", charge()),
        ("environment = \"test\"", charge().instead("Authorization", &bearer("rk_live_51canary"))),
        ("key_with_email = \"refuse\"", key("order-42-canary@example.com")),
        ("key_with_card = \"refuse\"", key("order-42-4242424242424242")),
        ("key_weak = \"refuse\"\nshortest_key = 16", key("canary-42")),
        ("key_weak = \"refuse\"", key("aaaaaaaaaaaaaaaaaaaaaaab")),
    ]
}

fn guarded(guard: &str) -> Setup {
    Setup::policy(&format!("[guard]\n{guard}\n"))
}

#[tokio::test]
async fn each_guard_refuses_in_words_of_its_own_and_nothing_is_sent() {
    let mut told = Vec::new();
    for (guard, post) in cases() {
        let world = guarded(guard).start().await;
        let reply = world.ask(&post).await;
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
        assert_eq!(reply.header("stripe-should-retry"), Some("false"));
        assert!(world.seen().is_empty(), "{guard}");
        told.push(format!("{guard}\n{} {}\n{}", reply.status, reply.code(), reply.message()));
    }
    let world = guarded("key_reused = \"refuse\"").start().await;
    world.done(&charge().key("order-42")).await.is(200, "executed");
    let other = Post::new("/v1/customers", "name=a").key("order-42");
    let reply = world.ask(&other).await;
    told.push(format!("key_reused\n{} {}\n{}", reply.status, reply.code(), reply.message()));
    // The same endpoint, and another scope, are no other use of it.
    world.done(&charge().key("order-42")).await.is(200, "replayed");
    let elsewhere = other.instead("Authorization", &bearer("sk_test_other_1"));
    assert_eq!(world.done(&elsewhere).await.status, 200);
    let get = Post::new("/v1/charges", "").method("GET").key("order-42");
    assert_eq!(world.ask(&get).await.status, 200);
    insta::assert_snapshot!(told.join("\n\n"));
}

#[tokio::test]
async fn where_payonce_does_not_act_guards_only_warn_and_nothing_changes() {
    for bypass in [false, true] {
        for (guard, post) in cases() {
            let mode = if bypass { "enforce" } else { "observe" };
            let policy = format!("mode = \"{mode}\"\n[guard]\n{guard}\n");
            let world = Setup::policy(&policy).set("POLICY__BYPASS", bypass).start().await;
            let reply = world.done(&post).await;
            assert!(!reply.code().starts_with("payonce_"), "{guard}: {}", reply.code());
            assert_eq!(world.seen().len(), 1, "{guard}");
            assert_eq!(findings(&world, "would_refuse"), 1, "{guard}");
        }
    }
}

#[tokio::test]
async fn without_a_guard_section_a_poor_own_key_is_told_of_and_goes_unchanged() {
    let world = Setup::policy("").start().await;
    for key in ["42", "canary@example.com", "4242 4242 4242 4242"] {
        world.done(&charge().key(key)).await.is(200, "executed");
    }
    assert_eq!(world.keys(), ["42", "canary@example.com", "4242 4242 4242 4242"]);
    assert_eq!(findings(&world, "warned"), 3);
    // What an SDK minted is not looked at, however it looks.
    world.done(&charge().sdk(1)).await.is(200, "executed");
    assert_eq!(findings(&world, "warned"), 3);
}

/// All that guards found, by what was done about it.
fn findings(world: &World, done: &str) -> u64 {
    let text = world.payonce().metrics.encode();
    let lines = text.lines().filter(|line| line.starts_with("payonce_guard_findings_total"));
    let these = lines.filter(|line| line.contains(&format!("done=\"{done}\"")));
    these.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

const WANTS_ORDER: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges", "POST /v2/charges"]
class = "critical"
require_field = ["metadata[order_id]", "description"]
"#;

#[tokio::test]
async fn a_request_without_a_required_field_is_refused_with_its_name() {
    let world = Setup::policy(WANTS_ORDER).set("LIMITS__BODY", "1KiB").start().await;
    let reply = world.ask(&charge()).await;
    reply.refused(400, "payonce_field_required");
    let message = reply.message();
    assert!(message.contains("metadata[order_id], description in this request"), "{message}");
    assert!(message.ends_with("Nothing was sent to Stripe."), "{message}");
    // An own name for the operation, or a key, does not do instead; nor does an empty value.
    let named = charge().key("order-42-charge").with("Payonce-Operation", "order-42");
    world.ask(&named).await.refused(400, "payonce_field_required");
    let empty = format!("{BODY}&description=d&metadata[order_id]=");
    let reply = world.ask(&Post::charge(&empty)).await;
    assert!(reply.message().contains("requires metadata[order_id] in"), "{}", reply.message());
    // What is too large to be looked at is not let through unlooked-at.
    let large = format!("{BODY}&description=d&metadata[order_id]=42&x={}", "x".repeat(2_000));
    world.ask(&Post::charge(&large)).await.refused(413, "payonce_body_too_large");
    assert!(world.seen().is_empty());
    let whole = format!("{BODY}&description=d&metadata%5Border_id%5D=42");
    world.done(&Post::charge(&whole)).await.is(200, "executed");
    let json = r#"{"description":"d","metadata":{"order_id":42}}"#;
    let json = Post::new("/v2/charges", json).instead("Content-Type", "application/json");
    assert_ne!(world.done(&json).await.code(), "payonce_field_required");
}

#[tokio::test]
async fn in_observe_a_missing_field_is_only_counted() {
    let world = Setup::policy(&format!("mode = \"observe\"{WANTS_ORDER}")).start().await;
    assert_eq!(world.done(&charge()).await.status, 200);
    let series = "payonce_operations_total{rule=\"charges\",outcome=\"observed_refusable\"}";
    assert_eq!(world.count(series), 1);
}

#[tokio::test]
async fn a_rule_that_requires_an_own_key_takes_no_other() {
    let policy = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                  class = \"critical\"\nclient_key = \"required\"\n";
    let world = Setup::policy(policy).set("LIMITS__BODY", "1KiB").start().await;
    let uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    let php = charge().with("User-Agent", "Stripe/v1 PhpBindings/21.0.0").key(uuid);
    let go = charge().with("User-Agent", "Stripe/v1 GoBindings/86.2.0");
    let go = go.key("1790000000000000000_aB3-_x");
    let named = charge().with("Payonce-Operation", "order-42");
    for post in [charge(), charge().sdk(1), php.clone(), go, named] {
        let reply = world.ask(&post).await;
        reply.refused(400, "payonce_key_required");
        assert!(reply.message().contains("uuid4_keys = \"own\""), "{}", reply.message());
    }
    let large = format!("{BODY}&x={}", "x".repeat(2_000));
    let keyless = world.ask(&Post::charge(&large)).await;
    keyless.refused(413, "payonce_body_too_large");
    assert!(world.seen().is_empty());
    world.done(&charge().key("order-42")).await.is(200, "executed");
    world.reload(&format!("uuid4_keys = \"own\"\n{policy}")).await;
    world.done(&php).await.is(200, "executed");
}

#[tokio::test]
async fn a_call_that_was_sent_before_the_guard_came_is_finished_with_its_key() {
    let world = Setup::policy("").start().await;
    world.lose(&charge().key("42")).await;
    world.reload("[guard]\nkey_weak = \"refuse\"\n").await;
    world.done(&charge().key("42")).await.is(200, "replayed");
    world.ask(&charge().key("43")).await.refused(400, "payonce_key_short");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn a_call_that_was_sent_before_the_demand_came_is_finished_with_its_key() {
    let rule = |more: &str| {
        format!(
            "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
             class = \"critical\"\n{more}"
        )
    };
    let content = "identity = \"content\"\ndistinguishes = [\"source\"]\n";
    for before in ["", content] {
        for demand in [
            "client_key = \"required\"\n",
            "require_field = [\"metadata[order_id]\"]\n",
            "identity = [\"metadata[order_id]\"]\notherwise = \"refuse\"\n",
        ] {
            let world = Setup::policy(&rule(before)).start().await;
            world.lose(&charge().sdk(1)).await;
            world.reload(&rule(demand)).await;
            let reply = world.done(&charge().sdk(1)).await;
            assert_eq!(reply.header("idempotent-replayed"), Some("true"), "{demand}");
            let keys = world.keys();
            assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{demand}");
            assert_eq!(world.ask(&charge().sdk(2)).await.status, 400, "{demand}");
            let other = Post::charge("amount=501&currency=usd&source=tok_visa").sdk(1);
            assert_eq!(world.ask(&other).await.status, 400, "{demand}");
            assert_eq!(world.effects().len(), 1, "{demand}");
        }
    }
}

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that this thread logs from now on.
pub(crate) fn logged() -> (impl Fn() -> String, impl Sized) {
    let page = Page::default();
    let writer = page.clone();
    let log = Log { format: LogFormat::Json, level: LogLevel::Trace };
    let guard =
        tracing::subscriber::set_default(telemetry::subscriber(log, false, move || writer.clone()));
    // With one subscriber alone, tracing asks the thread that comes to a line first, which may be
    // another test's and have none, whether anybody wants it.
    let second = tracing::Dispatch::new(tracing_subscriber::registry());
    (move || String::from_utf8(page.0.lock().unwrap().clone()).unwrap(), (guard, second))
}

#[tokio::test]
async fn nothing_of_a_key_shows_in_a_log_line_a_metric_or_an_answer() {
    let (log, _guard) = logged();
    let mut shown = String::new();
    let canaries = [
        "canary",
        "51canary",
        "4242424242424242",
        "aaaaaaaab",
        "sk_test_shop",
        "c2tfdGVzdF9zaG9wXzE6",
    ];
    for warn in [false, true] {
        for (guard, post) in cases() {
            let mode = if warn { "observe" } else { "enforce" };
            let policy = format!("mode = \"{mode}\"\n[guard]\n{guard}\n");
            let world = Setup::policy(&policy).start().await;
            let reply = world.done(&post).await;
            if !warn {
                shown.extend(reply.fields.iter().map(|(_, value)| value.as_str()));
                shown += &String::from_utf8_lossy(&reply.body);
            }
            shown += &world.payonce().metrics.encode();
        }
    }
    let log = log();
    assert_eq!(log.matches("payonce::guard").count(), 2 * cases().len(), "{log}");
    for canary in canaries {
        assert!(!log.contains(canary) && !shown.contains(canary), "{canary}");
    }
}

#[tokio::test]
async fn a_finding_that_comes_with_every_request_is_logged_once() {
    let (log, _guard) = logged();
    let world = Setup::policy("").start().await;
    for _ in 0..20 {
        world.done(&charge().key("42")).await;
    }
    assert_eq!(findings(&world, "warned"), 20);
    assert_eq!(log().matches("payonce::guard").count(), 1);
    world.clock.advance(std::time::Duration::from_mins(2));
    world.done(&charge().key("42")).await;
    assert!(log().contains("\"times\":20"), "{}", log());
}
