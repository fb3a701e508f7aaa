//! An edit of the policy, the secret or the scopes while operations are open: each of them keeps its
//! key, in the process that took the edit, in one that starts with it, and between processes of which
//! one has it and the other has not; and what was over before the edit begins anew.
#![allow(clippy::unwrap_used, reason = "a test may stop at what is not")]

use std::sync::Arc;
use std::time::Duration;

use payonce::decide::canonical;
use payonce::decide::digest::{Scope, Secret};
use payonce::decide::identity;
use payonce::decide::key::IdempotencyKey;
use payonce::decide::operation::codec;
use payonce::decide::path::Target;
use payonce::decide::policy::Policy;
use payonce::ledger::memory::Memory;
use payonce::ledger::{Entry, Ledger};
use payonce::sandbox::{Fault, Kind, Strike};
use sha2::{Digest, Sha256};

use crate::harness::{Post, Setup, Shared, World, lost};

const BODY: &str = "amount=500&currency=usd&source=tok_visa&metadata[order_id]=42";
const SECRET: &str = "a secret of the tests, 32 bytes and more";

/// The ways in which charges are recognised here.
const WAYS: [(&str, &str); 7] = [
    ("content", "identity = \"content\"\ndistinguishes = [\"source\"]"),
    ("wider content", "identity = \"content\"\ndistinguishes = [\"source\", \"customer\"]"),
    (
        "fields",
        "identity = [\"metadata[order_id]\"]\notherwise = \"content\"\ndistinguishes = [\"source\"]",
    ),
    ("other fields", "identity = [\"source\"]\notherwise = \"call\""),
    ("an earlier rule", "identity = [\"source\", \"amount\"]\notherwise = \"refuse\""),
    ("call", "identity = \"call\""),
    ("pass", ""),
];

fn policy(way: &str) -> String {
    let (_, identity) = WAYS.iter().find(|(name, _)| *name == way).unwrap();
    let class = if way == "pass" { "pass" } else { "critical" };
    let rule = |name: &str, of: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = [\"{of}\"]\nclass = \"{class}\"\n{identity}\n"
        )
    };
    match way {
        "an earlier rule" => {
            let later = policy("content").replace("v1/charges", "v1/{kind}");
            format!("{}{later}", rule("earlier", "POST /v1/charges"))
        }
        _ => rule("charges", "POST /v1/charges"),
    }
}

/// Whether the way has records, so that an edit from it must find what is open.
fn records(way: &str) -> bool {
    !matches!(way, "call" | "pass")
}

fn charge(n: u32) -> Post {
    Post::charge(BODY).sdk(n)
}

fn one_attempt(policy: &str) -> Setup {
    Setup::policy(policy).set("RETRY__MAX_ATTEMPTS", 1).set("STORE__LEASE", "2s")
}

/// A store that outlives the process.
fn kept(policy: &str) -> Setup {
    one_attempt(policy).set("STORE__KIND", "embedded").set("STORE__SINGLE_INSTANCE", true)
}

/// A charge that was executed, and nobody knows.
async fn in_doubt<L: Ledger>(world: &World<L>, post: &Post) {
    in_doubt_at(world, world, post).await;
}

/// The same, by the provider of another world.
async fn in_doubt_at<L: Ledger, M>(world: &World<L>, provider: &World<M>, post: &Post) {
    provider.faults([lost()]);
    let reply = world.done(post).await;
    assert!(reply.status >= 400, "{}", reply.message());
    provider.faults([]);
}

#[tokio::test]
async fn what_is_in_doubt_keeps_its_key_through_every_edit() {
    for (from, _) in WAYS.iter().filter(|(name, _)| records(name)) {
        for (to, _) in WAYS.iter().filter(|(name, _)| name != from) {
            let world = one_attempt(&policy(from)).start().await;
            in_doubt(&world, &charge(1)).await;
            world.reload(&policy(to)).await;
            let reply = world.done(&charge(2)).await;
            assert_eq!(reply.status, 200, "{from} → {to}: {}", reply.message());
            assert_eq!(world.effects().len(), 1, "{from} → {to}");
            let keys = world.keys();
            assert_eq!(keys.first(), keys.last(), "{from} → {to}");
        }
    }
}

#[tokio::test]
async fn what_is_in_doubt_keeps_its_key_through_an_edit_and_a_restart() {
    for (from, to) in [("content", "fields"), ("fields", "call"), ("fields", "pass")] {
        let mut world = kept(&policy(from)).start().await;
        in_doubt(&world, &charge(1)).await;
        world.write_policy(&policy(to));
        world.restart().await;
        let reply = world.done(&charge(2)).await;
        assert_eq!(reply.status, 200, "{from} → {to}: {}", reply.message());
        assert_eq!(world.effects().len(), 1, "{from} → {to}");
    }
}

#[tokio::test]
async fn a_success_whose_answer_was_lost_is_answered_after_an_edit() {
    let world = one_attempt(&policy("content")).start().await;
    world.lose(&charge(1)).await;
    world.reload(&policy("fields")).await;
    let reply = world.done(&charge(2)).await;
    reply.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}

#[tokio::test]
async fn what_was_over_before_an_edit_begins_anew() {
    let world = one_attempt(&policy("content")).start().await;
    let declined = BODY.replace("tok_visa", "tok_chargeDeclined");
    world.done(&Post::charge(&declined).sdk(1)).await;
    let before = world.effects().len();
    world.done(&charge(2)).await.is(200, "executed");
    world.reload(&policy("fields")).await;
    // Another order is another payment; the order that was paid is paid.
    let other = Post::charge(&BODY.replace("=42", "=43"));
    world.done(&other.clone().sdk(3)).await.is(200, "executed");
    world.done(&other.sdk(4)).await.is(200, "replayed");
    world.done(&charge(5)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), before + 2);
}

#[tokio::test]
async fn what_is_open_under_the_new_policy_is_found_when_the_edit_is_taken_back() {
    let world = one_attempt(&policy("content")).start().await;
    world.done(&charge(1)).await.is(200, "executed");
    world.reload(&policy("fields")).await;
    let other = Post::charge(&BODY.replace("=42", "=43"));
    in_doubt(&world, &other.clone().sdk(2)).await;
    world.reload(&policy("content")).await;
    assert_eq!(world.done(&other.sdk(3)).await.status, 200);
    assert_eq!(world.effects().len(), 2);
}

#[tokio::test]
async fn other_content_for_a_named_order_that_is_in_doubt_is_refused_after_an_edit() {
    let world = one_attempt(&policy("fields")).start().await;
    in_doubt(&world, &charge(1)).await;
    world.reload(&policy("content")).await;
    let other = Post::charge(&BODY.replace("tok_visa", "tok_mastercard")).sdk(2);
    world.done(&other).await.refused(400, "payonce_conflict");
    assert_eq!(world.effects().len(), 1);
}

/// Two processes on one store, of which the first has another policy.
async fn two(first: &str, second: &str) -> (World<Arc<Shared>>, World<Arc<Shared>>) {
    let mut store = None;
    let one = one_attempt(&policy(second))
        .start_with(|clock| Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000))))))
        .await;
    let same = store.unwrap();
    let two = one_attempt(&policy(second)).upstream(one.sandbox.addr()).clock(&one.clock);
    let two = two.start_with(|_clock| same).await;
    one.edit(&policy(first)).await;
    (one, two)
}

#[tokio::test]
async fn a_process_that_has_the_edit_and_one_that_has_not_find_each_others_operations() {
    for (new, old) in [("fields", "content"), ("content", "fields"), ("pass", "content")] {
        let (one, two) = two(new, old).await;
        let first = if records(new) { &one } else { &two };
        in_doubt_at(first, &one, &charge(1)).await;
        assert_eq!(one.done(&charge(2)).await.status, 200, "{new} beside {old}");
        assert_eq!(two.done(&charge(2)).await.status, 200, "{new} beside {old}");
        let keys: std::collections::BTreeSet<_> = one.keys().into_iter().collect();
        assert_eq!((one.effects().len(), keys.len()), (1, 1), "{new} beside {old}");
    }
}

#[tokio::test]
async fn both_at_once_make_one_payment() {
    for round in 0..12 {
        let (one, two) = two("fields", "content").await;
        one.faults([Fault::new(Kind::Delay { millis: 500, effect: Strike::Before })]);
        let (first, second) = (charge(1), charge(2));
        let (a, b) = tokio::join!(one.ask(&first), two.ask(&second));
        one.settled().await;
        two.settled().await;
        assert_eq!(one.effects().len(), 1, "round {round}: {} {}", a.message(), b.message());
        assert!(a.status == 200 || b.status == 200, "round {round}");
        assert_eq!(one.done(&charge(3)).await.status, 200);
    }
}

#[tokio::test]
async fn a_payment_in_doubt_survives_a_roll_of_the_api_key() {
    let digest = |key: &str| hex::encode(Sha256::digest(key));
    let scope = format!(
        "[[scope]]\nname = \"shop\"\nkeys = [\"{}\", \"{}\"]\n",
        digest("sk_test_shop_1"),
        digest("sk_test_shop_2")
    );
    let rolled = |n| charge(n).instead("Authorization", "Bearer sk_test_shop_2");
    for way in ["content", "fields"] {
        let setup = one_attempt(&policy(way)).set("SECRET__VALUE", SECRET);
        let world = setup.start().await;
        in_doubt(&world, &charge(1)).await;
        world.reload(&format!("{scope}{}", policy(way))).await;
        // The same payment with the old key or the new one; another account's is another.
        assert_eq!(world.done(&rolled(2)).await.status, 200);
        assert_eq!(world.effects().len(), 1, "{way}");
        in_doubt(&world, &rolled(3)).await;
        assert_eq!(world.done(&charge(4)).await.status, 200);
        let other = charge(5).instead("Authorization", "Bearer sk_test_other");
        assert_eq!(world.done(&other).await.status, 200);
        let expected = if way == "fields" { 2 } else { 3 };
        assert_eq!(world.effects().len(), expected, "{way}");
    }
}

#[tokio::test]
async fn a_payment_in_doubt_survives_a_change_of_the_secret() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, secret: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, secret).unwrap();
        path.display().to_string()
    };
    let (old, new) = (file("old", SECRET), file("new", &SECRET.to_uppercase()));
    let mut world = kept(&policy("content")).set("SECRET__OTHER_API_KEY", false).start().await;
    in_doubt(&world, &charge(1)).await;
    world.set("SECRET__FILE", &old);
    world.set("SECRET__OTHER_API_KEY", "true");
    world.restart().await;
    assert_eq!(world.done(&charge(2)).await.status, 200);
    assert_eq!(world.effects().len(), 1, "from the API key's to a configured one");
    in_doubt(&world, &charge(3)).await;
    world.set("SECRET__FILE", &new);
    world.set("SECRET__OTHER_FILES", &old);
    world.restart().await;
    assert_eq!(world.done(&charge(4)).await.status, 200);
    assert_eq!(world.effects().len(), 2, "from one configured to another");
    assert_eq!(world.done(&charge(5)).await.status, 200);
    assert_eq!(world.effects().len(), 3, "another payment");
}

/// A record as the first format of ids would have left it, of a payment that the provider executed.
async fn left_by_the_first_format(world: &World<Arc<Shared>>, store: &Shared) {
    let api_key = b"sk_test_shop_1";
    let secret = Secret::of_api_key(api_key);
    let scope = Scope::first_format(api_key, None, None);
    let target = Target::parse("/v1/charges").unwrap();
    let form = Some("application/x-www-form-urlencoded");
    let content = canonical::read(form, None, None, BODY.as_bytes());
    let request = identity::Request {
        provider: "provider.test",
        method: "POST",
        target: &target,
        header: None,
        client_key: None,
        content: &content,
        nonce: [0; 16],
        own_scope: &scope,
    };
    let policy = Policy::parse(&format!("version = 1\n{}", policy("content"))).unwrap();
    let rule = policy.judge(&http::Method::POST, &target);
    let identified = identity::identify(&secret, &scope, &request, rule).unwrap();
    // What today's format left, made to be the other's.
    in_doubt(world, &charge(1)).await;
    let held = store.open(1).await.unwrap().remove(0);
    let mut record = codec::decode(&held.record).unwrap();
    record.fingerprint = identified.fingerprint;
    record.client_keys.clear();
    record.key = IdempotencyKey::derived(&secret, &identified.operation, record.occurrence);
    let sent = Post::charge(BODY).key(record.key.as_str());
    assert_eq!(world.provider(&sent).await.status, 200);
    let entry = Entry {
        record: codec::encode(&record).unwrap(),
        ttl: Duration::from_hours(24),
        open: true,
        keys: Vec::new(),
    };
    store.claim(&[identified.operation.record()], entry).await.unwrap();
    store.remove(held.id, held.version).await.unwrap();
}

#[tokio::test]
async fn what_the_first_format_of_ids_left_open_keeps_its_key() {
    let mut store = None;
    let before = one_attempt(&policy("content"))
        .start_with(|clock| Arc::clone(store.insert(Arc::new(Shared(Memory::new(clock, 1_000))))))
        .await;
    let written = store.unwrap();
    left_by_the_first_format(&before, &written).await;
    let count = before.effects().len();
    // The same records in a store without a list of ways, as that payonce had it.
    let old = Arc::new(Shared(Memory::new(before.clock.clone(), 1_000)));
    let open = written.open(1).await.unwrap().remove(0);
    let entry =
        Entry { record: open.record, ttl: Duration::from_hours(24), open: true, keys: Vec::new() };
    old.claim(&[open.id], entry).await.unwrap();
    let after = one_attempt(&policy("content")).upstream(before.sandbox.addr());
    let after = after.clock(&before.clock).start_with(|_clock| old).await;
    assert_eq!(after.done(&charge(2)).await.status, 200);
    assert_eq!(before.effects().len(), count);
}

#[tokio::test]
async fn scopes_want_a_secret() {
    let scope = format!("[[scope]]\nname = \"shop\"\nkeys = [\"{}\"]\n", "0a".repeat(32));
    let world = one_attempt(&policy("content")).start().await;
    let before = world.payonce().exchange.policies.current().version().to_owned();
    world.write_policy(&format!("{scope}{}", policy("content")));
    crate::harness::until("the edit is refused", || {
        world.count("payonce_policy_refused_total") > 0
    })
    .await;
    assert_eq!(world.payonce().exchange.policies.current().version(), before);
}

#[tokio::test]
async fn an_answer_told_after_an_edit_ends_the_order_under_its_new_name() {
    let world = one_attempt(&policy("content")).start().await;
    in_doubt(&world, &charge(1)).await;
    world.reload(&policy("fields")).await;
    world.done(&charge(2)).await.is(200, "replayed");
    world.done(&charge(3)).await.is(200, "replayed");
    assert_eq!(world.effects().len(), 1);
}
