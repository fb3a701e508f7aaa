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

mod record;
mod saved;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use payonce::cli::Exit;
use payonce::cli::report::{self, Report};
use payonce::clock::Timestamp;
use payonce::decide::policy::Policy;
use payonce::decide::traffic::Line;
use payonce::decide::traffic::replay::replay;
use payonce::recording;
use payonce::sandbox::{Fault, Kind};
use payonce::settings::Settings;

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
