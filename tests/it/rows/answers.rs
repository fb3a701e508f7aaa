//! O1–O8: what an answer means.

use super::*;

pub(super) async fn o1_what_never_left_is_tried_again_and_leaves_no_trace() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = Setup::policy(CONTENT_LOST).upstream(closed).start().await;
    let refused = world.done(&good()).await;
    refused.refused(502, "payonce_upstream_unreachable");
    assert!(refused.message().contains("Nothing was sent"), "{}", refused.message());
    assert_eq!(refused.header("payonce-attempts"), Some("4"));
    world.done(&good()).await.refused(502, "payonce_upstream_unreachable");
    assert_eq!((world.row("O1"), world.row("A1"), world.row("A11")), (8, 2, 0));
}

pub(super) async fn o2_what_may_have_happened_is_asked_for_again_with_the_same_key() {
    let status = |code, effect| Fault::new(Kind::Status { code, effect });
    let faults = [
        lost(),
        Fault::new(Kind::ResetBeforeEffect { clean: true }),
        Fault::new(Kind::CutAfterBytes { bytes: 10, in_body: true, reset: false }),
        Fault::new(Kind::InUse),
        Fault::new(Kind::LockTimeout),
        status(408, Strike::Before),
        status(424, Strike::Before),
        status(502, Strike::After),
        status(503, Strike::Before),
        status(504, Strike::After),
        status(599, Strike::After),
        Fault::new(Kind::Redirect { location: "https://elsewhere.test/".to_owned() }),
    ];
    let world = world(CONTENT_LOST).await;
    for (n, fault) in faults.into_iter().enumerate() {
        let kind = format!("{:?}", fault.kind);
        world.faults([fault]);
        let before = world.keys().len();
        let charge = Post::charge(&format!("{GOOD}&metadata[n]={n}"));
        let reply = world.done(&charge).await;
        assert_eq!((reply.status, reply.header("payonce-attempts")), (200, Some("2")), "{kind}");
        let keys = &world.keys()[before..];
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{kind}");
        assert_eq!(paid(&world), n + 1, "{kind}");
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(world.row("O2"), 12);
}

pub(super) async fn o3_a_rate_limit_is_waited_for_and_passed_on_at_the_end() {
    let world = world(CONTENT_LOST).await;
    let limited = || Fault::new(Kind::RateLimited { reason: None });
    world.faults([limited()]);
    let began = world.clock.now();
    world.done(&good()).await.is(200, "executed");
    let took = world.clock.now().since(began);
    assert!(took >= Duration::from_millis(2_400), "a rate limit is waited for slowly: {took:?}");
    world.faults([limited().times(9)]);
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    let passed = world.done(&other).await;
    passed.is(429, "-");
    assert_eq!(passed.header("stripe-should-retry"), Some("false"));
    world.faults([]);
    world.done(&other).await.is(200, "executed");
    assert_eq!((world.row("O3"), world.row("A1"), world.row("A11")), (5, 3, 0));
}

pub(super) async fn o4_a_500_gets_one_more_try_unless_stripe_says_no() {
    let world = world(CONTENT_LOST).await;
    let failed = || Fault::new(Kind::Unsaved500 { effect: Strike::Before });
    world.faults([failed()]);
    world.done(&good()).await.is(200, "executed");
    world.faults([failed().times(9)]);
    let other = Post::charge("amount=700&currency=usd&source=tok_visa");
    let gave_up = world.done(&other).await;
    gave_up.is(500, "-");
    assert_eq!(gave_up.header("stripe-should-retry"), Some("false"));
    assert_eq!(gave_up.header("payonce-attempts"), Some("2"));
    world.faults([failed().should_retry(false)]);
    let told_not_to = world.done(&other).await;
    assert_eq!((told_not_to.status, told_not_to.header("payonce-attempts")), (500, Some("1")));
    assert_eq!((world.row("O4"), world.row("A11")), (4, 1));
}

pub(super) async fn o5_a_whole_2xx_settles_it() {
    let world = world(CONTENT_LOST).await;
    let reply = world.done(&good()).await;
    reply.is(200, "executed");
    assert_eq!(reply.id(), world.effects()[0].object);
    assert_eq!(world.row("O5"), 1);
}

pub(super) async fn o6_a_401_is_passed_on_and_nothing_is_remembered() {
    let world = world(CONTENT_LOST).await;
    let stranger = good().instead("Authorization", "Bearer nonsense");
    for _ in 0..2 {
        let passed = world.done(&stranger).await;
        passed.is(401, "-");
        assert_eq!(passed.header("payonce-attempts"), Some("1"));
    }
    world.faults([Fault::new(Kind::Status { code: 403, effect: Strike::Before })]);
    world.done(&good()).await.is(403, "-");
    world.done(&good()).await.is(200, "executed");
    assert_eq!((world.row("O6"), world.row("A1")), (3, 4));
}

pub(super) async fn o7_a_conflict_at_stripe_is_passed_on_unchanged_and_alarms() {
    let world = world("").await;
    world.done(&Post::new("/v1/customers", "name=a").key("mine")).await.is(200, "executed");
    for _ in 0..2 {
        let conflict = world.done(&good().key("mine")).await;
        conflict.is(400, "-");
        assert_eq!(conflict.json()["error"]["type"], "idempotency_error");
    }
    assert_eq!(world.count("payonce_alarms_total{kind=\"conflict_at_stripe\"}"), 2);
    assert_eq!((world.row("O7"), world.row("A1"), world.keys().len()), (2, 3, 3));
}

pub(super) async fn o8_any_other_4xx_is_a_decline() {
    let world = world(CONTENT_LOST).await;
    world.done(&declined()).await.is(402, "executed");
    world.done(&Post::charge("source=tok_visa")).await.is(400, "executed");
    world.done(&Post::charge("source=tok_nobody&amount=1&currency=usd")).await;
    assert_eq!(world.row("O8"), 3);
}
