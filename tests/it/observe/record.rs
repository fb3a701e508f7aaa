//! What is written down of requests, observed or enforced, and what never is.

use payonce::decide::observe::Finding;
use payonce::decide::traffic::Came;
use payonce::recording;
use payonce::sandbox::{Fault, Kind, Strike};

use super::{RULES, charge, done, lines, lose, observing, recorded};
use crate::harness::{Post, Setup, until};

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
