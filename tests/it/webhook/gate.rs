//! Only Stripe's events pass, and they pass unchanged.

use std::time::Duration;

use payonce::clock::Clock;
use payonce::webhook::signature::sign;

use super::{App, OTHER, Plan, SECRET, Site, event, settings, signed, thin, unsigned};
use crate::harness::{Client, Post};
use crate::running::Running;

fn signed_at(body: &str, secret: &str, ahead: i64) -> Post {
    let (now, off) = (Clock::System.now(), Duration::from_secs(ahead.unsigned_abs()));
    let at = if ahead < 0 { now.minus(off) } else { now.plus(off) };
    let signature = sign(body.as_bytes(), [secret.as_bytes()], at);
    unsigned(body).with("Stripe-Signature", &signature)
}

#[tokio::test]
async fn a_verified_event_arrives_byte_for_byte_and_the_applications_answer_goes_back() {
    let app = App::saying(202).await;
    let site = Site::start(&app).await;
    for body in [event("evt_1"), thin("evt_2")] {
        let lie = signed(&body).with("Payonce-Webhook-Verified", "forged");
        let reply = site.send(&lie.with("Payonce-Degraded", "forged")).await;
        assert_eq!((reply.status, reply.header("x-application")), (202, Some("shop")));
        assert_eq!(reply.body, b"the application says 202");
        let got = app.seen().pop().unwrap();
        assert_eq!((got.target.as_str(), got.body), ("/hooks", body.into_bytes()));
        let fields = |name: &str| got.fields.iter().filter(|(it, _)| it == name).count();
        assert_eq!((fields("payonce-webhook-verified"), fields("payonce-degraded")), (1, 0));
        let verified = got.fields.iter().find(|(it, _)| it == "payonce-webhook-verified");
        assert_eq!(verified.unwrap().1, "orders");
        assert!(fields("stripe-signature") == 1 && fields("user-agent") == 1);
    }
}

#[tokio::test]
async fn whatever_is_not_an_event_of_stripes_is_turned_away_by_its_reason() {
    let app = App::saying(200).await;
    let site = Site::with(&app, Plan { webhook: "body = 2048".into(), ..Plan::default() }).await;
    let body = event("evt_1");
    let good = signed(&body);
    let header = |value: &str| unsigned(&body).with("Stripe-Signature", value);
    let mut changed = good.clone();
    changed.body = body.replace("ch_1", "ch_2").into_bytes();
    let now = Clock::System.now().as_millis() / 1000;
    let cases = [
        ("signature_missing", 400, unsigned(&body)),
        ("signature_repeated", 400, good.clone().with("Stripe-Signature", "t=1,v1=00")),
        ("signature_malformed", 400, header("v1=00")),
        ("signature_scheme", 400, header(&format!("t={now},v0=00"))),
        ("signature_mismatch", 400, changed),
        ("signature_mismatch", 400, signed_at(&body, OTHER, 0)),
        ("too_old", 400, signed_at(&body, SECRET, -302)),
        ("too_new", 400, signed_at(&body, SECRET, 302)),
        ("type", 400, good.clone().instead("Content-Type", "text/plain")),
        ("type", 400, good.clone().with("Content-Encoding", "gzip")),
        ("not_json", 400, signed("[1, 2")),
        ("no_event_id", 400, signed("{\"object\":\"event\"}")),
        ("too_large", 413, signed(&" ".repeat(2049))),
        ("method", 405, good.clone().method("GET")),
        ("head", 400, good.clone().with("Content-Type", "application/json")),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (reason, status, post) in cases {
        let reply = site.send(&post).await;
        assert_eq!(reply.status, status, "{reason}");
        assert_eq!(reply.code(), "payonce_webhook_rejected", "{reason}");
        *expected.entry(reason).or_insert(0) += 1;
        assert_eq!(site.rejected("orders", reason), expected[reason], "{reason}");
    }
    let elsewhere = Post::new("/elsewhere", "{}");
    assert_eq!(site.send(&elsewhere).await.status, 404);
    assert_eq!(site.rejected("", "no_endpoint"), 1);
    assert_eq!(app.count(), 0);
    // And the last that is too old for one second is good.
    assert_eq!(site.send(&signed_at(&body, SECRET, -297)).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_or_is_ill_framed_is_not_waited_for() {
    let app = App::saying(200).await;
    let more = "[limits]\nbody_timeout = \"50ms\"".into();
    let site = Site::with(&app, Plan { more, ..Plan::default() }).await;
    let head = "POST /stripe HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let mut client = Client::to(site.gate).await;
    client.send_bytes(format!("{head}Content-Length: 9\r\n\r\n{{").as_bytes()).await;
    assert_eq!(client.reply().await.status, 408);
    let mut client = Client::to(site.gate).await;
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n");
    client.send_bytes(chunked.as_bytes()).await;
    assert_eq!(client.reply().await.status, 400);
    let reasons = (site.rejected("orders", "too_slow"), site.rejected("orders", "broken"));
    assert_eq!((reasons, app.count()), ((1, 1), 0));
}

#[tokio::test]
async fn a_rolled_secret_is_taken_at_once_and_the_old_one_goes_with_its_line() {
    let app = App::saying(200).await;
    let site =
        Site::with(&app, Plan { webhook: "refresh = \"1s\"".into(), ..Plan::default() }).await;
    let write = |text: &str| {
        // As a ConfigMap does it: another file behind the same name.
        let (next, file) = (site.dir.path().join("next"), site.dir.path().join("whsec"));
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, file).unwrap();
    };
    let status =
        async |id: &str, secret: &str| site.send(&signed_at(&event(id), secret, 0)).await.status;
    assert_eq!((status("e1", SECRET).await, status("e2", OTHER).await), (200, 400));
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    write(&format!("{OTHER}\n{SECRET}\n"));
    assert_eq!((status("e3", OTHER).await, status("e4", SECRET).await), (200, 200));
    write(&format!("{OTHER}\n"));
    let until = std::time::Instant::now() + Duration::from_secs(20);
    for n in 0.. {
        if status(&format!("old_{n}"), SECRET).await == 400 {
            break;
        }
        assert!(std::time::Instant::now() < until, "the old secret stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(status("e5", OTHER).await, 200);
}

#[tokio::test]
async fn events_come_from_the_listed_addresses_alone() {
    let app = App::saying(200).await;
    let ranges = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ranges.path(), "192.0.2.0/24\n").unwrap();
    let set = format!("source_ranges_file = {:?}\nrefresh = \"1s\"", ranges.path());
    let site = Site::with(&app, Plan { webhook: set, ..Plan::default() }).await;
    assert_eq!(site.send(&signed(&event("evt_1"))).await.status, 400);
    assert_eq!((site.rejected("orders", "source"), app.count()), (1, 0));
    std::fs::write(ranges.path(), "192.0.2.0/24\n127.0.0.0/8\n").unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while site.send(&signed(&event("evt_1"))).await.status != 200 {
        assert!(std::time::Instant::now() < until, "the new ranges are not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_log_says_why_where_and_from_whom_and_shows_neither_body_nor_secret() {
    let app = App::saying(200).await;
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    // Nothing is ever sent to Stripe here.
    let file = settings(dir.path(), app.address, app.address, &Plan::default());
    let args = ["--settings", file.to_str().unwrap()];
    let payonce = Running::serve_in(dir, &args, &[]);
    let gate = super::gate_of(&payonce);
    let private = event("evt_private").replace("ch_1", "ch_very_private");
    super::send(gate, &signed_at(&private, OTHER, 0)).await;
    super::send(gate, &signed_at(&private, SECRET, 0)).await;
    let turned_away: serde_json::Value =
        serde_json::from_str(&payonce.line("turned away")).unwrap();
    assert_eq!(turned_away["endpoint"], "orders");
    assert_eq!(turned_away["reason"], "signature_mismatch");
    assert_eq!(turned_away["source"], "127.0.0.1");
    let passed = payonce.line("webhook event");
    assert!(passed.contains("evt_private") && passed.contains("acknowledged"), "{passed}");
    payonce.signal("TERM");
    let (code, said) = payonce.ended();
    let said = said.join("\n");
    assert!(code == Some(0) && !said.contains("ch_very_private"), "{said}");
    assert!(!said.contains(SECRET) && !said.contains("v1="), "{said}");
}

#[tokio::test]
async fn an_application_that_does_not_answer_leaves_the_event_to_stripe() {
    let app = App::start(|_got| Box::pin(std::future::pending())).await;
    let site =
        Site::with(&app, Plan { webhook: "timeout = \"50ms\"".into(), ..Plan::default() }).await;
    let reply = site.send(&signed(&event("evt_1"))).await;
    assert_eq!((reply.status, reply.code().as_str()), (504, "payonce_webhook_unanswered"));
    assert!(reply.message().contains("may have got"), "{}", reply.message());
    let gone = App::saying(200).await;
    let site = Site::start(&gone).await;
    drop(gone);
    tokio::task::yield_now().await;
    let reply = site.send(&signed(&event("evt_1"))).await;
    assert_eq!(reply.status, 502);
    assert!(reply.message().contains("did not get"), "{}", reply.message());
    let series = "payonce_webhook_events_total{endpoint=\"orders\",result=\"unanswered\"}";
    assert_eq!(site.count(series), 1);
}
