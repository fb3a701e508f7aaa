//! Each fault does to a connection what it says.

use super::*;

#[tokio::test]
async fn refuse_resets_before_the_body_is_read() {
    let sandbox = with(Fault::new(Kind::Refuse));
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    let head = charge();
    let head = head.split(CHARGE).next().unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let ended = stream.read(&mut [0; 1]).await.map(drop);
    assert!(is_reset(&ended), "{ended:?}");
    assert!(sandbox.effects().is_empty());
    assert_eq!(sandbox.struck("refuse"), 1);
    assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), None);
}

#[tokio::test]
async fn a_reset_before_the_effect_leaves_the_key_free() {
    let sandbox = with(Fault::new(Kind::ResetBeforeEffect { clean: false }));
    let (got, ended) = raw(sandbox.addr(), &charge()).await;
    assert!(got.is_empty() && is_reset(&ended), "{ended:?}");
    assert!(sandbox.effects().is_empty());
    assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), None);
    assert_eq!(sandbox.effects().len(), 1);
}

#[tokio::test]
async fn a_reset_after_the_effect_loses_the_answer_and_the_key_replays_it() {
    let sandbox = with(Fault::new(Kind::ResetAfterEffect { clean: false }));
    let (got, ended) = raw(sandbox.addr(), &charge()).await;
    assert!(got.is_empty() && is_reset(&ended), "{ended:?}");
    assert_eq!(sandbox.effects().len(), 1);
    assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), Some("true"));
    assert_eq!(sandbox.effects().len(), 1);
}

#[tokio::test]
async fn a_clean_end_instead_of_a_reset_is_an_end_of_file() {
    let sandbox = with(Fault::new(Kind::ResetAfterEffect { clean: true }));
    let (got, ended) = raw(sandbox.addr(), &charge()).await;
    assert!(got.is_empty() && ended.is_ok(), "{ended:?}");
    assert_eq!(sandbox.effects().len(), 1);
}

#[tokio::test]
async fn an_answer_is_cut_after_just_so_many_bytes() {
    for bytes in [0, 1, 40] {
        let cut = Kind::CutAfterBytes { bytes, in_body: false, reset: false };
        let sandbox = with(Fault::new(cut));
        let (got, ended) = raw(sandbox.addr(), &charge()).await;
        assert!(ended.is_ok(), "{ended:?}");
        assert_eq!(u64::try_from(got.len()).unwrap(), bytes);
        assert_eq!(sandbox.effects().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_cut_within_its_body_cleanly_or_by_a_reset() {
    for reset in [false, true] {
        let cut = Kind::CutAfterBytes { bytes: 9, in_body: true, reset };
        let sandbox = with(Fault::new(cut));
        let (got, ended) = raw(sandbox.addr(), &charge()).await;
        let text = String::from_utf8(got).unwrap();
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 9);
        assert_eq!(is_reset(&ended), reset, "{ended:?}");
        assert_eq!(
            ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"),
            Some("true")
        );
    }
}

#[tokio::test]
async fn a_stall_for_ever_ends_with_its_connection_and_frees_the_key() {
    let stall = Kind::Stall { millis: None, effect: Strike::Before };
    let sandbox = with(Fault::new(stall));
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    stream.write_all(charge().as_bytes()).await.unwrap();
    until(|| sandbox.struck("stall") == 1).await;
    assert_eq!(ask(sandbox.addr(), &charge()).await.status, 409);
    drop(stream);
    let freed = async { while ask(sandbox.addr(), &charge()).await.status == 409 {} };
    tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
    assert_eq!(sandbox.effects().len(), 1);
}

#[tokio::test]
async fn a_stall_after_the_effect_withholds_an_answer_that_the_key_replays() {
    let stall = Kind::Stall { millis: None, effect: Strike::After };
    let sandbox = with(Fault::new(stall));
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    stream.write_all(charge().as_bytes()).await.unwrap();
    until(|| sandbox.effects().len() == 1).await;
    assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), Some("true"));
    sandbox.shutdown().await;
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(got.is_empty());
}

#[tokio::test]
async fn what_is_stalled_for_a_while_is_executed_though_its_client_hung_up() {
    let stall = Kind::Stall { millis: Some(300), effect: Strike::Before };
    let sandbox = with(Fault::new(stall));
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    stream.write_all(charge().as_bytes()).await.unwrap();
    until(|| sandbox.struck("stall") == 1).await;
    drop(stream);
    assert!(sandbox.effects().is_empty());
    until(|| sandbox.effects().len() == 1).await;
    assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), Some("true"));
}

#[tokio::test]
async fn a_delayed_call_is_in_use_meanwhile_and_then_answered() {
    for effect in [Strike::Before, Strike::After] {
        let sandbox = with(Fault::new(Kind::Delay { millis: 200, effect }));
        let addr = sandbox.addr();
        let delayed = tokio::spawn(async move { ask(addr, &charge()).await });
        until(|| sandbox.struck("delay") == 1).await;
        let meanwhile = ask(addr, &charge()).await;
        match effect {
            Strike::Before => assert_eq!(meanwhile.status, 409),
            Strike::After => {
                assert_eq!(meanwhile.header("idempotent-replayed"), Some("true"));
            }
        }
        assert_eq!(delayed.await.unwrap().status, 200);
        assert_eq!(sandbox.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_delay_runs_on_the_sandboxs_clock() {
    let clock = Clock::driven(Timestamp::from_millis(1_000_000), 1000);
    let sandbox = Sandbox::start(Config::local(clock, 1)).unwrap();
    let delay = Kind::Delay { millis: 60_000, effect: Strike::Before };
    sandbox.set_faults(vec![Fault::new(delay)]);
    let sent = charge();
    let reply = ask(sandbox.addr(), &sent);
    let reply = tokio::time::timeout(Duration::from_secs(10), reply).await.unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_dripping_answer_comes_whole_in_the_end() {
    let sandbox = with(Fault::new(Kind::Drip { bytes: 50, millis: 1 }));
    let reply = ask(sandbox.addr(), &charge()).await;
    assert_eq!(reply.json()["amount"], json!(500));
    assert_eq!(sandbox.struck("drip"), 1);
}

#[tokio::test]
async fn a_dripping_answer_comes_in_pieces() {
    let sandbox = with(Fault::new(Kind::Drip { bytes: 10, millis: 30_000 }));
    let mut stream = TcpStream::connect(sandbox.addr()).await.unwrap();
    stream.write_all(charge().as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let first = async {
        while !got.windows(4).any(|bytes| bytes == b"\r\n\r\n") || got.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0);
        }
    };
    tokio::time::timeout(Duration::from_secs(10), first).await.unwrap();
    let text = String::from_utf8(got).unwrap();
    assert_eq!(text.split_once("\r\n\r\n").unwrap().1.len(), 10);
}

#[tokio::test]
async fn refusals_of_the_provider_execute_nothing() {
    let limited = Kind::RateLimited { reason: Some("endpoint-rate".to_owned()) };
    for (kind, status, code) in [
        (Kind::InUse, 409, "idempotency_key_in_use"),
        (limited, 429, "rate_limit"),
        (Kind::LockTimeout, 429, "lock_timeout"),
    ] {
        let sandbox = with(Fault::new(kind.clone()));
        let reply = ask(sandbox.addr(), &charge()).await;
        assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (status, Some(code)));
        let reason = reply.header("stripe-rate-limited-reason");
        assert_eq!(reason, (code == "rate_limit").then_some("endpoint-rate"));
        assert!(sandbox.effects().is_empty());
        assert_eq!(sandbox.struck(kind.name()), 1);
        assert_eq!(ask(sandbox.addr(), &charge()).await.header("idempotent-replayed"), None);
    }
}

#[tokio::test]
async fn a_saved_500_is_replayed_and_an_unsaved_one_is_not() {
    for effect in [Strike::Before, Strike::After] {
        let executed = usize::from(effect == Strike::After);
        let sandbox = with(Fault::new(Kind::Saved500 { effect }));
        assert_eq!(ask(sandbox.addr(), &charge()).await.status, 500);
        let again = ask(sandbox.addr(), &charge()).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (500, Some("true")));
        assert_eq!(sandbox.effects().len(), executed);

        let sandbox = with(Fault::new(Kind::Unsaved500 { effect }));
        assert_eq!(ask(sandbox.addr(), &charge()).await.status, 500);
        assert_eq!(sandbox.effects().len(), executed);
        let again = ask(sandbox.addr(), &charge()).await;
        assert_eq!(
            (again.status, again.header("idempotent-replayed").is_some()),
            (200, executed == 1)
        );
        assert_eq!(sandbox.effects().len(), 1);
    }
}

#[tokio::test]
async fn a_saved_500_does_not_strike_a_replay() {
    let sandbox = start();
    ask(sandbox.addr(), &charge()).await;
    sandbox.set_faults(vec![Fault::new(Kind::Saved500 { effect: Strike::After })]);
    assert_eq!(ask(sandbox.addr(), &charge()).await.status, 200);
    assert_eq!(sandbox.struck("saved500"), 0);
}

#[tokio::test]
async fn balancer_errors_strike_on_either_side_of_the_effect() {
    for code in [408, 424, 502, 503, 504] {
        for effect in [Strike::Before, Strike::After] {
            let sandbox = with(Fault::new(Kind::Status { code, effect }));
            assert_eq!(ask(sandbox.addr(), &charge()).await.status, code);
            assert_eq!(sandbox.effects().len(), usize::from(effect == Strike::After));
            assert_eq!(ask(sandbox.addr(), &charge()).await.status, 200);
            assert_eq!(sandbox.effects().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_balancers_error_may_be_html() {
    let mut fault = Fault::new(Kind::Status { code: 502, effect: Strike::Before });
    fault.html = true;
    let sandbox = with(fault);
    let reply = ask(sandbox.addr(), &charge()).await;
    assert_eq!((reply.status, reply.header("content-type")), (502, Some("text/html")));
    assert_eq!(reply.header("request-id"), None);
    assert!(reply.text.starts_with("<html>"));
}

#[tokio::test]
async fn a_redirect_executes_nothing() {
    let location = "https://api.stripe.com/".to_owned();
    let sandbox = with(Fault::new(Kind::Redirect { location }));
    let reply = ask(sandbox.addr(), &charge()).await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("https://api.stripe.com/")));
    assert!(sandbox.effects().is_empty());
}

#[tokio::test]
async fn marks_override_what_the_answer_says_of_itself() {
    let mut told = Fault::new(Kind::Status { code: 503, effect: Strike::Before });
    told.should_retry = Some(false);
    told.retry_after = Some("3".to_owned());
    let mut unmarked = Fault::new(Kind::Mark);
    unmarked.replayed = Some(false);
    let mut marked = Fault::new(Kind::Mark);
    marked.replayed = Some(true);
    let sandbox = start();
    sandbox.set_faults(vec![told, marked, unmarked]);
    let reply = ask(sandbox.addr(), &charge()).await;
    assert_eq!(reply.header("stripe-should-retry"), Some("false"));
    assert_eq!(reply.header("retry-after"), Some("3"));
    let fresh = ask(sandbox.addr(), &charge()).await;
    assert_eq!((fresh.status, fresh.header("idempotent-replayed")), (200, Some("true")));
    let again = ask(sandbox.addr(), &charge()).await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (200, None));
    assert_eq!(sandbox.effects().len(), 1);
}
