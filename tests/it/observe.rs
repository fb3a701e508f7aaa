//! Observe, file-wide and by rule: nothing changes on the wire, and what payonce would have kept to
//! once is counted, recorded without values, added up, and judged anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    reason = "a helper of tests may fail the test"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use payonce::chance::Chance;
use payonce::cli::Exit;
use payonce::cli::report::{self, Report};
use payonce::clock::Timestamp;
use payonce::decide::observe::Finding;
use payonce::decide::policy::Policy;
use payonce::decide::traffic::replay::replay;
use payonce::decide::traffic::{Came, Line};
use payonce::recording;
use payonce::sandbox::{Effect, Fault, Kind, Outcome, Strike};
use payonce::settings::Settings;

use crate::exchange::stub::Stub;
use crate::harness::{Post, Reply, Setup, World, until};
use crate::running;

const RULES: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]

[[rule]]
name = "intents"
match = ["POST /v1/payment_intents"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"

[[rule]]
name = "closed"
match = ["POST /v1/payouts"]
class = "refuse"

[[rule]]
name = "customers"
match = ["POST /v1/customers"]
class = "pass"
"#;

fn observing() -> String {
    format!("mode = \"observe\"\nrecord = \"decisions\"\n{RULES}")
}

/// A world that records, and the file.
async fn recorded(policy: &str, directory: &Path) -> (World, PathBuf) {
    let path = directory.join("traffic.ndjson");
    let setup = Setup::policy(policy).set("RECORD__PATH", path.display());
    (setup.start().await, path)
}

/// Waits until the delivery of every answer is known, and all lines are written.
async fn quiet(world: &World) {
    let exchange = world.payonce().exchange.clone();
    until("every delivery is known", || exchange.tasks.running() == 0).await;
    if let Some(recorder) = exchange.observer.recorder() {
        recorder.close().await;
    }
}

async fn done(world: &World, post: &Post) -> Reply {
    let reply = world.ask(post).await;
    quiet(world).await;
    reply
}

async fn lose(world: &World, post: &Post) {
    world.lose(post).await;
    quiet(world).await;
}

fn charge(amount: u32, key: u32) -> Post {
    Post::charge(&format!("amount={amount}&currency=eur&source=tok_visa"))
        .sdk(key)
        .with("Payonce-Caller", "payments-worker")
}

fn intent(order: u32, amount: u32, currency: &str, key: u32) -> Post {
    let body = format!("amount={amount}&currency={currency}&metadata[order_id]={order}");
    Post::new("/v1/payment_intents", &body)
        .sdk(key)
        .instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0 shop-web/1.2 (https://shop.test)")
}

/// A day on which an application does all that goes wrong, and some that does not.
async fn day(world: &World) {
    // Three charges of one purchase: each answer was lost but the last.
    lose(world, &charge(100_000, 1)).await;
    lose(world, &charge(100_000, 2)).await;
    done(world, &charge(100_000, 3)).await;
    // The same once more, as was meant.
    done(world, &charge(100_000, 4)).await;
    // An order that a job was run twice for, and one in a currency without decimals.
    for key in [10, 11] {
        done(world, &intent(7, 121_000, "eur", key)).await;
        done(world, &intent(8, 1_200, "jpy", key + 10)).await;
    }
    // The same order with another amount.
    done(world, &intent(7, 5, "eur", 12)).await;
    // No key; a decline and another try; a retry of the SDK's own; what the policy would refuse.
    done(world, &Post::charge("amount=300&currency=eur&source=tok_visa")).await;
    for key in [25, 26] {
        let declined = "amount=400&currency=eur&source=tok_chargeDeclined";
        done(world, &Post::charge(declined).sdk(key)).await;
    }
    lose(world, &charge(700, 30)).await;
    done(world, &charge(700, 30)).await;
    done(world, &Post::new("/v1/payouts", "amount=5&currency=usd").sdk(40)).await;
    done(world, &Post::new("/v1/customers", "name=a").sdk(41)).await;
    // An outcome that nobody learnt, and the next try.
    world.faults([Fault::new(Kind::ResetAfterEffect { clean: false })]);
    done(world, &charge(800, 50)).await;
    done(world, &charge(800, 51)).await;
}

fn said(path: &Path, days: u32, json: bool) -> String {
    let now = Timestamp::from_millis(1_790_000_000_000).plus(Duration::from_hours(2));
    let args = Report { days, files: vec![path.to_path_buf()], settings: None, json };
    let mut out = Vec::new();
    let settings = Settings::load(None, []).unwrap();
    assert_eq!(report::run(&args, &settings, now, &mut out), Exit::Done);
    String::from_utf8(out).unwrap()
}

fn lines(path: &Path) -> Vec<Line> {
    let recorded = recording::read(path).unwrap();
    assert!(recorded.unreadable.is_none(), "{:?}", recorded.unreadable);
    recorded.lines
}

#[tokio::test]
async fn a_days_report_names_exactly_the_duplicates_of_that_day() {
    let directory = tempfile::tempdir().unwrap();
    let (world, path) = recorded(&observing(), directory.path()).await;
    day(&world).await;
    let page = said(&path, 7, false);
    let first = page.lines().next().unwrap();
    assert_eq!(
        first,
        "last 7 days: 5 suspected duplicate operations, 3,218.00 EUR and 1,200 JPY, 3 of them \
         from payments-worker",
        "{page}"
    );
    let table: Vec<String> = page
        .lines()
        .skip(2)
        .take(4)
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        table,
        [
            "OPERATION RULE CALLER REQUESTS AMOUNT",
            "POST /v1/charges charges payments-worker 3 2,008.00 EUR",
            "POST /v1/payment_intents intents shop-web 1 1,210.00 EUR",
            "POST /v1/payment_intents intents shop-web 1 1,200 JPY",
        ],
        "{page}"
    );
    for words in [
        "      18  requests recorded",
        "       1  critical requests without an Idempotency-Key",
        "       1  conflicts",
        "       1  that the policy would refuse",
        "       1  retries that the application made itself",
        "       1  asked again with the same key",
        "       1  the same again after a delivered success",
        "whether the first of 1 pairs happened",
        "each process remembers by itself",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    // The sandbox has done each of them: the five are money.
    assert_eq!(
        world.count("payonce_observed_findings_total{rule=\"charges\",kind=\"duplicate\"}"),
        3
    );
    assert_eq!(
        world.count("payonce_observed_findings_total{rule=\"intents\",kind=\"conflict\"}"),
        1
    );
    assert_eq!(world.count("payonce_record_lines_total{result=\"written\"}"), 18);
    // Another time finds nothing, and says so.
    let json: serde_json::Value = serde_json::from_str(&said(&path, 7, true)).unwrap();
    assert_eq!(json["report"]["duplicates"]["sums"]["by_currency"]["eur"], 321_800);
}

#[tokio::test]
async fn the_same_policy_replayed_changes_nothing_and_another_says_what_it_would_lose() {
    let directory = tempfile::tempdir().unwrap();
    let (world, path) = recorded(&observing(), directory.path()).await;
    day(&world).await;
    let lines = lines(&path);
    let same = Policy::parse(&format!("version = 1\n{RULES}")).unwrap();
    let found = replay(&same, &lines);
    assert_eq!((found.changed, &found.groups), (0, &Vec::new()));
    assert_eq!((found.duplicates, found.recorded_duplicates), (5, 5));
    assert_eq!(found.duplicate_sums.show(), "3,218.00 EUR and 1,200 JPY");
    let by_call = RULES.replace("identity = \"content\"\ndistinguishes = [\"source\"]", "");
    write(directory.path(), "new.toml", &format!("version = 1\n{by_call}"));
    let file = path.display().to_string();
    let policy = directory.path().join("new.toml").display().to_string();
    let ended = running::run(&["policy", "replay", "--policy", &policy, &file], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let page = ended.out.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "18 requests, 2026-09-21",
        "suspected duplicates that it would have prevented: 2, 1,210.00 EUR and 1,200 JPY",
        "as found when they were recorded: 5, 3,218.00 EUR and 1,200 JPY",
        "CHANGE REQUESTS OPERATION WAS BECOMES AMOUNT no longer merged 3 POST /v1/charges charges \
         (content) charges (call)",
        "No longer one operation",
    ] {
        assert!(page.contains(words), "no {words:?} in\n{}", ended.out);
    }
    let ended = running::run(&["report", "--days", "3650", "--file", &file], &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.out.starts_with("last 3650 days: 5 suspected duplicate operations"));
}

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

#[tokio::test]
async fn what_reaches_the_provider_is_the_same_with_and_without_observing() {
    let directory = tempfile::tempdir().unwrap();
    let (observed, path) = recorded(&observing(), directory.path()).await;
    let passing = Setup::policy("default_writes = \"pass\"\n").start().await;
    day(&observed).await;
    day(&passing).await;
    let seen = |world: &World| {
        let all = world.seen().into_iter();
        let all = all.map(|it| (it.method, it.target, it.key, it.headers, it.body_sha256));
        all.collect::<Vec<_>>()
    };
    assert_eq!(seen(&observed), seen(&passing));
    assert_eq!(observed.effects().len(), passing.effects().len());
    assert_eq!(lines(&path).len(), observed.seen().len());
}

#[tokio::test]
async fn both_sides_get_the_same_bytes_with_and_without_observing() {
    const ANSWERS: [&str; 3] = [
        "HTTP/1.1 200 OK\r\nRequest-Id: req_1\r\nContent-Length: 2\r\n\r\n{}",
        "HTTP/1.1 402 Payment Required\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n{\"error\":{}}\r\n0\r\n\r\n",
        "HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops",
    ];
    let mut sides = Vec::new();
    for policy in [observing(), "default_writes = \"pass\"\n".to_owned()] {
        let stub = Stub::start(|n, _| ANSWERS[n % 3].as_bytes().to_vec()).await;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("traffic.ndjson");
        let setup = Setup::policy(&policy).set("RECORD__PATH", path.display()).upstream(stub.addr);
        let world = setup.start().await;
        let mut replies = Vec::new();
        for key in 1..=3 {
            let reply = done(&world, &charge(500, key)).await;
            let fields: Vec<_> =
                reply.fields.into_iter().filter(|(name, _)| name != "date").collect();
            replies.push((reply.status, fields, reply.body));
        }
        let host = |head: &str| head.replace(&stub.addr.to_string(), "provider");
        let got: Vec<_> = stub.seen().into_iter().map(|got| (host(&got.head), got.body)).collect();
        sides.push((got, replies));
    }
    assert_eq!(sides[0], sides[1]);
}

#[tokio::test]
async fn no_value_of_a_request_is_in_the_record() {
    const CANARY: &str = "canary7f3";
    let directory = tempfile::tempdir().unwrap();
    let (world, path) = recorded(&observing(), directory.path()).await;
    let body = format!(
        "amount=500&currency=eur&source=tok_visa&description={CANARY}&metadata[a]={CANARY}"
    );
    let all = [
        Post::charge(&body).key(CANARY),
        Post::charge(&body).with("Payonce-Operation", CANARY),
        Post::charge(&format!("{body}&amount={CANARY}&currency={CANARY}")).sdk(1),
        Post::charge(&format!("amount={CANARY}&currency={CANARY}&source=tok_visa")).sdk(2),
        Post::new(&format!("/v1/coupons/{CANARY}?x={CANARY}"), &format!("name={CANARY}")),
        Post::new(&format!("/v1/customers/{CANARY}/sources/{CANARY}"), &body),
        Post::charge(&body).instead("Authorization", &format!("Bearer sk_test_{CANARY}")),
        Post::charge(&body)
            .instead("User-Agent", "Stripe/v1 NodeBindings/23.1.0")
            .with("X-Stripe-Client-Telemetry", CANARY),
    ];
    for post in &all {
        done(&world, post).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), all.len());
    assert!(!text.contains(CANARY), "{text}");
    assert!(!text.contains("sk_test") && !text.contains("tok_visa"), "{text}");
    assert!(text.contains("/v1/coupons/{coupon}"), "{text}");
    // Only its owner reads it.
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_rule_can_be_observed_while_the_others_are_enforced_and_the_other_way_round() {
    let one = |name: &str, path: &str, mode: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmatch = [\"POST {path}\"]\nclass = \"critical\"\n\
             identity = \"content\"\ndistinguishes = [\"source\", \"customer\"]\n{mode}"
        )
    };
    let refund = |key| Post::new("/v1/refunds", "customer=c&amount=5").sdk(key);
    for (file, charges, others) in
        [("", "mode = \"observe\"\n", ""), ("mode = \"observe\"\n", "", "mode = \"enforce\"\n")]
    {
        let rules = [
            file.to_owned(),
            one("charges", "/v1/charges", charges),
            one("refunds", "/v1/refunds", others),
            "[[rule]]\nname = \"no\"\nmatch = [\"POST /v1/payouts\"]\nclass = \"refuse\"\n".into(),
            others.to_owned(),
        ];
        let world = Setup::policy(&rules.concat()).start().await;
        let reply = world.done(&charge(500, 1)).await;
        assert_eq!((reply.status, reply.outcome()), (200, "-"), "{file}");
        assert!(world.keys()[0].starts_with("stripe-node-retry-"));
        world.done(&refund(2)).await;
        assert!(!world.keys()[1].starts_with("stripe-node-retry-"), "{file}: a derived key");
        let payout = world.done(&Post::new("/v1/payouts", "amount=5")).await;
        payout.refused(403, "payonce_refused_by_policy");
    }
}

#[tokio::test]
async fn a_refusing_rule_that_is_observed_refuses_nothing() {
    let policy = "[[rule]]\nname = \"no\"\nmatch = [\"POST /v1/payouts\"]\nclass = \"refuse\"\n\
                  mode = \"observe\"\n";
    let world = Setup::policy(policy).start().await;
    let payout = done(&world, &Post::new("/v1/payouts", "amount=5&currency=usd")).await;
    assert!(!payout.code().starts_with("payonce_"), "{}", payout.code());
    assert_eq!(world.count("payonce_observed_findings_total{rule=\"no\",kind=\"refused\"}"), 1);
}

#[tokio::test]
async fn what_is_enforced_is_recorded_with_what_payonce_did() {
    let directory = tempfile::tempdir().unwrap();
    let (world, path) =
        recorded(&format!("record = \"decisions\"\n{RULES}"), directory.path()).await;
    lose(&world, &charge(500, 1)).await;
    done(&world, &charge(500, 2)).await.is(200, "replayed");
    done(&world, &Post::new("/v1/payouts", "amount=5").sdk(3))
        .await
        .refused(403, "payonce_refused_by_policy");
    world.faults((0..9).map(|_| Fault::new(Kind::Status { code: 503, effect: Strike::Before })));
    done(&world, &charge(900, 4)).await;
    world.faults([]);
    // Reading is nobody's business; a write that passes is, without a look at its body.
    done(&world, &Post::new("/v1/charges", "").method("GET")).await;
    done(&world, &Post::new("/v1/customers", "name=a").sdk(5)).await;
    let lines = lines(&path);
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.label.as_deref().unwrap_or("-"), line.outcome, line.delivered))
        .collect();
    assert_eq!(
        told,
        [
            ("executed", Came::Succeeded, Some(false)),
            ("replayed", Came::Succeeded, Some(true)),
            ("-", Came::Refused, Some(true)),
            ("-", Came::Unknown, Some(true)),
            ("-", Came::Succeeded, Some(true)),
        ]
    );
    assert!(lines.iter().all(|line| line.would.is_none() && line.mode == "enforce"));
    assert!(lines[0].said.is_some() && lines[4].said.is_none());
    assert_eq!(lines[0].operation, lines[1].operation);
}

#[tokio::test]
async fn who_hangs_up_before_an_answer_leaves_an_unknown_outcome_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (world, path) = recorded(&observing(), directory.path()).await;
    world.faults([Fault::new(Kind::Stall { millis: Some(60_000), effect: Strike::After })]);
    let mut client = world.client().await;
    client.send(&charge(500, 1)).await;
    world.until_seen(1).await;
    drop(client);
    until("the hang-up is noticed", || {
        recording::read(&path).is_ok_and(|recorded| recorded.lines.len() == 1)
    })
    .await;
    done(&world, &charge(500, 2)).await;
    let lines = lines(&path);
    assert_eq!((lines[0].outcome, lines[0].delivered), (Came::HungUp, Some(false)));
    assert_eq!(lines[1].would.as_ref().map(|would| would.finding), Some(Finding::Duplicate));
}

#[tokio::test]
async fn nothing_is_recorded_unless_both_the_policy_and_the_settings_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let (world, path) = recorded(&format!("mode = \"observe\"\n{RULES}"), directory.path()).await;
    lose(&world, &charge(500, 1)).await;
    done(&world, &charge(500, 2)).await;
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    // It is counted all the same.
    assert_eq!(
        world.count("payonce_observed_findings_total{rule=\"charges\",kind=\"duplicate\"}"),
        1
    );
    let world = Setup::policy(&observing()).start().await;
    done(&world, &charge(500, 1)).await.is(200, "-");
}

#[tokio::test]
async fn the_settings_name_callers_that_do_not_name_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("traffic.ndjson");
    let setup = Setup::policy(&observing())
        .set("RECORD__PATH", path.display())
        .set("LISTEN__CALLER", "night-jobs");
    let world = setup.start().await;
    done(&world, &charge(500, 1).instead("Payonce-Caller", "")).await;
    done(&world, &charge(500, 2)).await;
    let callers: Vec<_> = lines(&path).into_iter().filter_map(|line| line.caller).collect();
    assert_eq!(callers, ["night-jobs", "payments-worker"]);
}

/// Rules of each kind that recognises operations.
const KINDS: &str = r#"
[[rule]]
name = "charges"
match = ["POST /v1/charges"]
class = "critical"
identity = "content"
distinguishes = ["source"]

[[rule]]
name = "twins"
match = ["POST /v1/refunds", "POST /v1/customers"]
class = "critical"
identity = "content"
distinguishes = ["description"]
merge = "twins"
repeat_window = "20h"

[[rule]]
name = "intents"
match = ["POST /v1/payment_intents"]
class = "critical"
identity = ["metadata[order_id]"]
otherwise = "call"
"#;

/// What an application does next: which of its requests, under which key, and whether the answer
/// gets lost.
fn step(chance: &Chance, n: u32) -> (Post, bool) {
    let draw = |most: f64| (chance.share() * most).floor();
    let bodies = [
        ("/v1/charges", "amount=500&currency=eur&source=tok_visa"),
        ("/v1/charges", "amount=500&currency=eur&source=tok_chargeDeclined"),
        ("/v1/customers", "description=a"),
        ("/v1/payment_intents", "amount=700&currency=eur&metadata[order_id]=1"),
        ("/v1/payment_intents", "amount=700&currency=eur"),
    ];
    let which = draw(5.0);
    let (path, body) = *bodies.iter().rev().nth((4.0 - which) as usize).unwrap();
    let post = Post::new(path, body);
    // One request in five has no key, and one in five that of the request before.
    let post = match draw(5.0) as u32 {
        0 => post,
        1 => post.sdk(n.saturating_sub(1) * 10 + which as u32),
        _ => post.sdk(n * 10 + which as u32),
    };
    (post, draw(2.0) < 1.0)
}

#[tokio::test]
async fn what_observing_calls_duplicates_is_what_enforcing_saves() {
    let histories = std::env::var("OBSERVE_HISTORIES").map_or(5, |n| n.parse().unwrap());
    let mut saved = 0;
    for seed in 0..histories {
        let mut effects = [0; 2];
        let mut duplicates = 0;
        for (n, mode) in ["", "mode = \"observe\"\n"].into_iter().enumerate() {
            let world = Setup::policy(&format!("{mode}{KINDS}")).start().await;
            let chance = Chance::seeded(seed);
            for n in 1..=14 {
                let (post, loses) = step(&chance, n);
                if loses {
                    lose(&world, &post).await;
                } else {
                    drop(done(&world, &post).await);
                }
                world.settled().await;
            }
            let done = |effect: &&Effect| effect.outcome == Outcome::Succeeded;
            effects[n] = world.effects().iter().filter(done).count();
            duplicates = ["charges", "twins", "intents"]
                .map(|rule| {
                    let series = "payonce_observed_findings_total";
                    world.count(&format!("{series}{{rule=\"{rule}\",kind=\"duplicate\"}}"))
                })
                .into_iter()
                .sum::<u64>() as usize;
        }
        assert_eq!(effects[1] - effects[0], duplicates, "seed {seed}: {effects:?}");
        saved += duplicates;
    }
    assert!(saved > histories as usize, "{saved}: too few to show anything");
}
