//! The API key that payonce holds: put in for the placeholder, rolled under load, never shown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use payonce::admin::Health;
use payonce::decide::digest::ApiKeyDigest;
use payonce::policy_file::PolicyFile;
use payonce::standing::{Serving, Standing};
use tokio_util::sync::CancellationToken;

use crate::exchange::stub::{Stub, success};
use crate::guards::logged;
use crate::harness::{Client, Post, Setup, World, until};

const PLACEHOLDER: &str = "Bearer sk_test_payonce_placeholder";
/// `sk_test_payonce_placeholder:`
const PLACEHOLDER_BASIC: &str = "Basic c2tfdGVzdF9wYXlvbmNlX3BsYWNlaG9sZGVyOg==";
const BODY: &str = "amount=500&currency=usd&source=tok_visa";
const TWINS: &str = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                     class = \"critical\"\nidentity = \"content\"\ndistinguishes = [\"source\"]\n\
                     merge = \"twins\"\nrepeat_window = \"1m\"\n";

/// A Secret as Kubernetes mounts it: the file leads through a link that is swapped.
struct Mounted {
    directory: tempfile::TempDir,
    version: AtomicUsize,
}

impl Mounted {
    fn new(key: &str) -> Self {
        let mounted =
            Self { directory: tempfile::tempdir().unwrap(), version: AtomicUsize::default() };
        mounted.swap(key);
        symlink("..data/stripe-key", mounted.path()).unwrap();
        mounted
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("stripe-key")
    }

    fn swap(&self, key: &str) {
        let version = format!("..{}", self.version.fetch_add(1, Ordering::Relaxed));
        let root = self.directory.path();
        fs::create_dir(root.join(&version)).unwrap();
        fs::write(root.join(&version).join("stripe-key"), key).unwrap();
        symlink(&version, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    fn setup(&self, policy: &str) -> Setup {
        Setup::policy(policy).set("CREDENTIAL__FILE", self.path().display())
    }
}

fn charge(authorization: &str) -> Post {
    Post::charge(BODY).instead("Authorization", authorization)
}

async fn readiness(world: &World) -> Vec<(String, String)> {
    let exchange = world.payonce().exchange.clone();
    let policy = Arc::new(PolicyFile::fixed(
        payonce::decide::policy::Policy::parse("version = 1").unwrap(),
        world.clock.clone(),
    ));
    let standing = Standing::default();
    let closing = CancellationToken::new();
    standing.serves(Serving { exchange, policy, gate: None, listening: Vec::new(), closing });
    standing.ready().await.details
}

#[tokio::test]
async fn the_provider_gets_the_real_key_and_the_scope_is_that_of_the_real_key() {
    let mounted = Mounted::new("rk_test_shop_2\n");
    let world = mounted.setup(TWINS).start().await;
    let placed = world.done(&charge(PLACEHOLDER)).await;
    placed.is(200, "executed");
    assert!(world.effects()[0].scope.starts_with("shop|"), "{:?}", world.effects());
    // Who sends the real key is the same asker, and so is who sends the placeholder as a user name.
    world.done(&charge("Bearer rk_test_shop_2")).await.is(200, "replayed");
    world.done(&charge(PLACEHOLDER_BASIC)).await.is(200, "replayed");
    let other = world.done(&charge("Bearer rk_test_shop_1")).await;
    other.is(200, "executed");
    assert_ne!(placed.header("payonce-operation-id"), other.header("payonce-operation-id"));
}

#[tokio::test]
async fn the_key_is_put_in_as_it_came_for_whatever_passes() {
    let stub = Stub::start(|_, _| success("ch_1")).await;
    let mounted = Mounted::new("rk_test_shop_2");
    for policy in ["", "mode = \"observe\"\n"] {
        let world = mounted.setup(policy).upstream(stub.addr).start().await;
        for authorization in [PLACEHOLDER, PLACEHOLDER_BASIC] {
            let get = Post::new("/v1/charges", "").method("GET");
            assert_eq!(world.ask(&get.instead("Authorization", authorization)).await.status, 200);
            assert_eq!(world.ask(&charge(authorization)).await.status, 200);
        }
    }
    let (bearer, basic) = ("Bearer rk_test_shop_2", "Basic cmtfdGVzdF9zaG9wXzI6");
    let seen: Vec<_> = stub.seen().iter().map(|got| got.all("authorization").join(",")).collect();
    assert_eq!(seen, [bearer, bearer, basic, basic].repeat(2));
}

#[tokio::test]
async fn a_placeholder_without_a_credential_is_refused_in_every_mode() {
    for policy in ["", "mode = \"observe\"\n"] {
        let world = Setup::policy(policy).start().await;
        for authorization in [PLACEHOLDER, PLACEHOLDER_BASIC] {
            let reply = world.ask(&charge(authorization)).await;
            reply.refused(403, "payonce_no_credential");
            insta::assert_snapshot!("no_credential", reply.message());
        }
        assert!(world.seen().is_empty());
    }
}

#[tokio::test]
async fn only_the_placeholder_passes_where_nothing_else_may() {
    let mounted = Mounted::new("rk_test_shop_2");
    let strangers = ["Bearer rk_test_shop_2", "Bearer sk_test_shop_1", ""];
    let world = mounted.setup("").set("CREDENTIAL__ONLY", true).start().await;
    for stranger in strangers {
        let reply = world.ask(&charge(stranger)).await;
        reply.refused(403, "payonce_foreign_api_key");
        insta::assert_snapshot!("foreign_api_key", reply.message());
    }
    assert!(world.seen().is_empty());
    world.done(&charge(PLACEHOLDER)).await.is(200, "executed");
    let setup = mounted.setup("mode = \"observe\"\n").set("CREDENTIAL__ONLY", true);
    let world = setup.start().await;
    for stranger in strangers {
        assert!(!world.done(&charge(stranger)).await.code().starts_with("payonce_"));
    }
    assert_eq!(world.seen().len(), strangers.len());
}

#[tokio::test]
async fn a_key_of_the_wrong_kind_in_the_file_is_found_by_the_guard() {
    let mounted = Mounted::new("sk_test_shop_2");
    let world = mounted.setup("[guard]\napi_keys = [\"rk_test\"]\n").start().await;
    world.ask(&charge(PLACEHOLDER)).await.refused(403, "payonce_api_key_kind");
}

#[tokio::test]
async fn a_roll_under_load_fails_no_request_and_no_placeholder_leaves() {
    const CLIENTS: usize = 4;
    let stub = Arc::new(Stub::start(|n, _| success(&format!("ch_{n}"))).await);
    let mounted = Mounted::new("rk_test_roll_0");
    let world = mounted.setup("").upstream(stub.addr).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stop, port) = (Arc::clone(&stop), world.payonce().port);
            tokio::task::spawn(async move {
                let mut connection = Client::to(("127.0.0.1", port)).await;
                let mut sent = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    let authorization =
                        if client % 2 == 0 { PLACEHOLDER } else { PLACEHOLDER_BASIC };
                    let key = format!("order-{client}-{sent}");
                    let method = if sent.is_multiple_of(3) { "GET" } else { "POST" };
                    let request = charge(authorization).key(&key).method(method);
                    connection.send(&request).await;
                    assert_eq!(connection.reply().await.status, 200);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let bears = |key: &str| {
        let basic = ["Basic ", &encode(&format!("{key}:"))].concat();
        let both = [format!("Bearer {key}"), basic];
        let seen = stub.seen();
        let last = &seen[seen.len().saturating_sub(2 * CLIENTS)..];
        !last.is_empty()
            && last.iter().all(|got| both.iter().any(|it| got.all("authorization") == [it]))
    };
    for key in ["rk_test_roll_0", "rk_test_roll_1", "rk_test_roll_2", "rk_test_roll_3"] {
        if key != "rk_test_roll_0" {
            mounted.swap(key);
        }
        until("the key is used by all", || bears(key)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients {
        sent += client.await.unwrap();
    }
    assert_eq!(stub.count(), sent);
    for got in stub.seen() {
        let value = got.all("authorization").join(",");
        assert!(!value.contains("placeholder") && value != PLACEHOLDER_BASIC, "{value}");
    }
    assert_eq!(world.count("payonce_credential_reloads_total{result=\"taken\"}"), 3);
}

#[tokio::test]
async fn a_call_under_way_keeps_its_key_across_a_roll_of_the_credential() {
    for policy in ["", TWINS] {
        let mounted = Mounted::new("rk_test_shop_1");
        let world = mounted.setup(policy).start().await;
        let credential = Arc::clone(world.payonce().exchange.guards.credential());
        world.lose(&charge(PLACEHOLDER).sdk(1)).await;
        for next in [&b"rk_test_shop_2"[..], b"rk_test_shop_3"] {
            mounted.swap(std::str::from_utf8(next).unwrap());
            until("it is rolled", || credential.current().unwrap().expose() == next).await;
            // The SDK asks again; the answer was lost to it.
            let reply = world.done(&charge(PLACEHOLDER).sdk(1)).await;
            assert_eq!((reply.status, reply.header("idempotent-replayed")), (200, Some("true")));
        }
        let keys = world.keys();
        assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
        assert_eq!(world.effects().len(), 1);
        // Another call is another asker's now.
        world.done(&charge(PLACEHOLDER).sdk(2)).await.is(200, "executed");
        // After a while the former key is forgotten.
        world.clock.advance(std::time::Duration::from_mins(16));
        assert!(credential.former().is_empty());
    }
}

#[tokio::test]
async fn what_is_asked_for_anew_after_a_roll_is_found_if_both_keys_are_one_scope() {
    let digest = |key: &str| hex::encode(ApiKeyDigest::of(key.as_bytes()).0);
    let (old, new) = ("rk_test_shop_1", "rk_test_shop_2");
    let keys = format!("[\"{}\", \"{}\"]", digest(old), digest(new));
    let policy = format!("[[scope]]\nname = \"shop\"\nkeys = {keys}\n{TWINS}");
    let mounted = Mounted::new(old);
    let secret = "0123456789abcdef0123456789abcdef-hush";
    let world = mounted.setup(&policy).set("SECRET__VALUE", secret).start().await;
    let credential = Arc::clone(world.payonce().exchange.guards.credential());
    world.lose(&charge(PLACEHOLDER).sdk(1)).await;
    mounted.swap(new);
    until("it is rolled", || credential.current().unwrap().expose() == new.as_bytes()).await;
    // A job that runs again, with a key of its own.
    world.done(&charge(PLACEHOLDER).sdk(2)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

fn encode(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_file_that_turns_bad_leaves_the_key_as_it_was_and_says_so() {
    let (log, _guard) = logged();
    let mounted = Mounted::new("rk_test_shop_2");
    let world = mounted.setup("").start().await;
    let credential = Arc::clone(world.payonce().exchange.guards.credential());
    for (bad, why) in [
        ("", "it is empty"),
        ("rk_test_canary_1\nrk_test_canary_2\n", "line break inside"),
        ("rk test canary", "a character that no API key has"),
        ("sk_test_payonce_placeholder", "the placeholder itself"),
    ] {
        mounted.swap(bad);
        let said = || credential.status().refused.map(|it| it.why.to_string()).unwrap_or_default();
        until(why, || said().contains(why)).await;
        assert_eq!(world.done(&charge(PLACEHOLDER)).await.status, 200);
        let details = readiness(&world).await;
        let told =
            details.iter().any(|(name, it)| name == "credential_refused" && it.contains(why));
        assert!(told, "{details:?}");
    }
    fs::remove_file(mounted.directory.path().join("..data")).unwrap();
    let gone = || credential.status().refused.map(|it| it.why.to_string()).unwrap_or_default();
    until("the file is gone", || gone().contains("cannot be read")).await;
    assert_eq!(world.done(&charge(PLACEHOLDER)).await.status, 200);
    mounted.swap("rk_test_shop_2");
    until("it is mended", || credential.status().refused.is_none()).await;
    assert!(readiness(&world).await.iter().all(|(name, _)| name != "credential_refused"));
    let count =
        |result| world.count(&format!("payonce_credential_reloads_total{{result=\"{result}\"}}"));
    assert_eq!((count("taken"), count("refused"), count("mended")), (0, 5, 1));
    assert!(world.effects().iter().all(|effect| effect.scope.starts_with("shop|")));
    let log = log();
    assert!(log.contains("the API key stays as it was"), "{log}");
    for canary in ["canary", "rk_test_shop_2", "sk_test_payonce_placeholder", "rk test"] {
        assert!(!log.contains(canary), "{canary}");
        assert!(!format!("{credential:?}").contains(canary));
    }
}

#[test]
fn a_bad_file_at_start_ends_it_before_a_port_is_bound() {
    let mounted = Mounted::new("rk_test_canary_1\nrk_test_canary_2");
    let served = std::process::Command::new(env!("CARGO_BIN_EXE_payonce"))
        .args(["serve"])
        .env("PAYONCE_CREDENTIAL__FILE", mounted.path())
        .env("PAYONCE_STORE__KIND", "memory")
        .output()
        .unwrap();
    let said = String::from_utf8(served.stderr).unwrap();
    assert_eq!(served.status.code(), Some(64), "{said}");
    assert!(said.contains("credential.file"), "{said}");
    assert!(said.contains("is no API key: it has a line break inside"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn a_change_of_which_no_event_tells_is_found_by_the_timer() {
    let mounted = Mounted::new("rk_test_shop_2");
    // The links of the mounted file lead into a directory that nobody watches.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("key");
    fs::write(&target, "rk_test_shop_2").unwrap();
    let linked = mounted.directory.path().join("linked");
    symlink(&target, &linked).unwrap();
    let setup = Setup::policy("").set("CREDENTIAL__FILE", linked.display());
    let world = setup.set("CREDENTIAL__REFRESH", "1s").start().await;
    fs::write(&target, "rk_test_shop_3").unwrap();
    let credential = Arc::clone(world.payonce().exchange.guards.credential());
    until("it is taken", || credential.current().unwrap().expose() == b"rk_test_shop_3").await;
}
