use std::time::Duration;

use super::super::desk::{Ask, Desk, body, delete, get, post};
use super::*;

const CHARGE: &str = "amount=500&currency=usd&source=tok_visa";
const TICK: Duration = Duration::from_millis(1);

/// A moment before so many hours are over.
fn nearly(hours: u64) -> Duration {
    Duration::from_hours(hours).saturating_sub(TICK)
}

fn charge() -> Ask {
    post("/v1/charges", CHARGE)
}

#[test]
fn a_call_without_a_key_is_executed_each_time() {
    let mut desk = Desk::new();
    desk.done(&charge());
    desk.done(&charge());
    assert_eq!(desk.state.effects().len(), 2);
}

#[test]
fn the_same_key_replays_the_answer_and_makes_no_effect() {
    let mut desk = Desk::new();
    let first = desk.ask(&charge().key("k"));
    let again = desk.ask(&charge().key("k"));
    assert_eq!((first.status, &first.body), (200, &again.body));
    assert_eq!(first.header("idempotent-replayed"), None);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("original-request"), first.header("request-id"));
    assert_ne!(again.header("request-id"), first.header("request-id"));
    assert_eq!(again.header("idempotency-key"), Some("k"));
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn an_effect_says_what_was_asked_by_whom_and_why() {
    let mut desk = Desk::new();
    let ask = charge().key("k").with("sandbox-intent", "order-7").with("stripe-account", "acct_1");
    let made = desk.done(&ask);
    let effect = desk.last().clone();
    assert_eq!(effect.operation, "POST /v1/charges");
    assert_eq!(effect.object, made["id"].as_str().unwrap());
    assert_eq!((effect.amount, effect.currency.as_deref()), (Some(500), Some("usd")));
    assert_eq!(effect.intent.as_deref(), Some("order-7"));
    assert_eq!((effect.key.as_deref(), effect.scope.as_str()), (Some("k"), "shop|acct_1|-"));
    assert!(effect.money);
    assert_eq!((effect.n, effect.at), (0, desk.now));
}

#[test]
fn the_same_parameters_in_another_order_and_encoding_are_a_replay() {
    let mut desk = Desk::new();
    let one = "amount=500&currency=usd&source=tok_visa&metadata[a b]=~+x";
    let two = "metadata%5Ba%20b%5D=%7E%20x&source=tok_visa&currency=usd&amount=500";
    desk.done(&post("/v1/charges", one).key("k"));
    let again = desk.ask(&post("/v1/charges", two).key("k"));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    let respelt = desk.ask(&post("/v1/%63harges", two).key("k"));
    assert_eq!(respelt.header("idempotent-replayed"), Some("true"));
}

#[test]
fn the_same_key_with_other_parameters_or_on_another_endpoint_is_an_error() {
    let mut desk = Desk::new();
    desk.done(&charge().key("k"));
    let other = post("/v1/charges", "amount=501&currency=usd&source=tok_visa").key("k");
    assert_eq!(desk.fails(&other), (400, "idempotency_error".to_owned()));
    let elsewhere = post("/v1/payment_intents", CHARGE).key("k");
    assert_eq!(desk.fails(&elsewhere), (400, "idempotency_error".to_owned()));
    assert_eq!(desk.ask(&elsewhere).header("idempotent-replayed"), None);
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn a_decline_is_saved_and_replayed() {
    let mut desk = Desk::new();
    let declined =
        post("/v1/charges", "amount=500&currency=usd&source=tok_chargeDeclined").key("k");
    let first = desk.ask(&declined);
    let again = desk.ask(&declined);
    assert_eq!((first.status, &first.body), (402, &again.body));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(desk.state.effects().len(), 1);
    assert!(!desk.last().money);
    assert_eq!(desk.last().outcome, super::super::Outcome::Declined);
}

#[test]
fn failed_validation_is_not_saved_and_leaves_the_key_free() {
    let mut desk = Desk::new();
    let missing = post("/v1/charges", "currency=usd&source=tok_visa").key("k");
    assert_eq!(desk.fails(&missing), (400, "parameter_missing".to_owned()));
    let unknown = post("/v1/charges", "amount=5&currency=usd&customer=cus_x").key("k");
    assert_eq!(desk.fails(&unknown), (404, "resource_missing".to_owned()));
    assert_eq!(desk.ask(&charge().key("k")).header("idempotent-replayed"), None);
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn a_running_key_is_in_use_until_its_call_ends() {
    let mut desk = Desk::new();
    let call = charge().key("k").call();
    let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!("not running") };
    let meanwhile = desk.ask(&charge().key("k"));
    assert_eq!(
        (meanwhile.status, body(&meanwhile)["error"]["code"].as_str()),
        (409, Some("idempotency_key_in_use"))
    );
    assert_eq!(meanwhile.header("stripe-should-retry"), Some("true"));
    assert_eq!(desk.state.effects().len(), 0);
    assert_eq!(desk.state.end(ticket, &call, desk.now, Forced::No).status, 200);
    assert_eq!(desk.ask(&charge().key("k")).header("idempotent-replayed"), Some("true"));
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn an_abandoned_call_frees_its_key() {
    let mut desk = Desk::new();
    let call = charge().key("k").call();
    let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!("not running") };
    desk.state.abandon(ticket, &call);
    assert_eq!(desk.ask(&charge().key("k")).header("idempotent-replayed"), None);
}

#[test]
fn a_call_that_began_before_a_reset_is_not_executed_after_it() {
    let mut desk = Desk::new();
    let call = charge().key("k").call();
    let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!("not running") };
    desk.state.reset();
    assert_eq!(desk.state.end(ticket, &call, desk.now, Forced::No).status, 503);
    assert_eq!(desk.state.effects().len(), 0);
}

#[test]
fn v1_forgets_a_key_after_24_hours_and_runs_it_anew() {
    let mut desk = Desk::new();
    desk.done(&charge().key("k"));
    desk.later(nearly(24));
    assert_eq!(desk.ask(&charge().key("k")).header("idempotent-replayed"), Some("true"));
    desk.later(TICK);
    let late = desk.ask(&charge().key("k"));
    assert_eq!((late.status, late.header("idempotent-replayed")), (200, None));
    assert_eq!(desk.state.effects().len(), 2);
}

#[test]
fn a_saved_500_is_replayed_with_and_without_its_effect() {
    for executed in [false, true] {
        let mut desk = Desk::new();
        let call = charge().key("k").call();
        let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!() };
        let first = desk.state.end(ticket, &call, desk.now, Forced::Saved500 { executed });
        let again = desk.ask(&charge().key("k"));
        assert_eq!((first.status, again.status), (500, 500));
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(desk.state.effects().len(), usize::from(executed));
    }
}

#[test]
fn v1_deletes_take_no_key() {
    let mut desk = Desk::new();
    let id = desk.made("/v1/customers", "");
    let gone = delete(&format!("/v1/customers/{id}")).key("k");
    assert_eq!(desk.ask(&gone).header("idempotency-key"), None);
    assert_eq!(desk.fails(&gone), (404, "resource_missing".to_owned()));
}

#[test]
fn a_get_takes_no_key_and_makes_no_effect() {
    let mut desk = Desk::new();
    let id = desk.made("/v1/customers", "name=a");
    let read = get(&format!("/v1/customers/{id}")).key("k");
    desk.done(&read);
    assert_eq!(desk.ask(&read).header("idempotent-replayed"), None);
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn scopes_share_neither_keys_nor_objects() {
    let mut desk = Desk::new();
    let scopes = [
        charge(),
        charge().with("stripe-account", "acct_1"),
        charge().with("stripe-account", "acct_2"),
        charge().with("stripe-account", ""),
        charge().with("stripe-context", "ctx"),
        charge().with("authorization", "Bearer sk_test_other"),
    ];
    for ask in scopes.clone() {
        assert_eq!(desk.ask(&ask.key("k")).header("idempotent-replayed"), None);
    }
    let id = desk.made("/v1/customers", "");
    let foreign = get(&format!("/v1/customers/{id}")).with("stripe-account", "acct_1");
    assert_eq!(desk.fails(&foreign).0, 404);
    assert_eq!(desk.state.effects().len(), scopes.len() + 1);
}

#[test]
fn two_keys_of_one_account_share_its_idempotency_keys() {
    let mut desk = Desk::new();
    desk.done(&charge().key("k").with("authorization", "Bearer sk_test_shop_1"));
    let other = charge().key("k").with("authorization", "Bearer rk_test_shop_2");
    assert_eq!(desk.ask(&other).header("idempotent-replayed"), Some("true"));
}

fn v2_account(key: &str) -> Ask {
    post("/v2/core/accounts", r#"{"display_name": "a"}"#).json().key(key)
}

#[test]
fn v2_shows_the_object_as_it_is_now_unmarked() {
    let mut desk = Desk::new();
    let id = desk.done(&v2_account("k"))["id"].as_str().unwrap().to_owned();
    let renamed = r#"{"display_name": "b"}"#;
    desk.done(&post(&format!("/v2/core/accounts/{id}"), renamed).json());
    let again = desk.ask(&v2_account("k"));
    assert_eq!(again.header("idempotent-replayed"), None);
    assert_eq!(
        (body(&again)["id"].as_str(), body(&again)["display_name"].as_str()),
        (Some(id.as_str()), Some("b"))
    );
    assert_eq!(desk.state.effects().len(), 2);
    desk.state.set_rules(Rules { mark_v2_replays: true, ..Rules::default() });
    assert_eq!(desk.ask(&v2_account("k")).header("idempotent-replayed"), Some("true"));
}

#[test]
fn v2_executes_again_after_a_failure() {
    let mut desk = Desk::new();
    let call = v2_account("k").call();
    let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!() };
    desk.state.end(ticket, &call, desk.now, Forced::Saved500 { executed: false });
    desk.done(&v2_account("k"));
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn v2_does_not_execute_twice_what_was_done_behind_a_500() {
    let mut desk = Desk::new();
    let call = v2_account("k").call();
    let Begun::Running(ticket) = desk.state.begin(&call, desk.now) else { panic!() };
    let told = desk.state.end(ticket, &call, desk.now, Forced::Saved500 { executed: true });
    assert_eq!(told.status, 500);
    desk.done(&v2_account("k"));
    assert_eq!(desk.state.effects().len(), 1);
}

#[test]
fn v2_keeps_keys_for_30_days_and_takes_them_on_deletes() {
    let mut desk = Desk::new();
    desk.done(&v2_account("k"));
    desk.later(nearly(30 * 24));
    desk.done(&v2_account("k"));
    assert_eq!(desk.state.effects().len(), 1);
    desk.later(TICK);
    desk.done(&v2_account("k"));
    assert_eq!(desk.state.effects().len(), 2);
    let id = desk.done(&post("/v2/core/event_destinations", "{}").json())["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let gone = delete(&format!("/v2/core/event_destinations/{id}")).key("d");
    let (first, again) = (desk.ask(&gone), desk.ask(&gone));
    assert_eq!((first.status, again.status, &first.body), (200, 200, &again.body));
}

#[test]
fn a_refusal_by_the_state_of_things_is_saved_only_if_the_rules_say_so() {
    for save_refusals in [false, true] {
        let mut desk = Desk::new();
        desk.state.set_rules(Rules { save_refusals, ..Rules::default() });
        let ask = post("/v1/payouts", "amount=999999999&currency=usd").key("k");
        assert_eq!(desk.fails(&ask), (400, "balance_insufficient".to_owned()));
        let again = desk.ask(&ask);
        assert_eq!(again.header("idempotent-replayed").is_some(), save_refusals);
    }
}

#[test]
fn nothing_is_executed_that_could_not_be_written_down() {
    let full = |limits| {
        let mut desk = Desk::limited(limits);
        desk.done(&charge().key("k"));
        assert_eq!(desk.ask(&charge().key("k")).header("idempotent-replayed"), Some("true"));
        let other = charge().key("other").with("authorization", "Bearer sk_test_other");
        assert_eq!(desk.fails(&other), (503, "sandbox_full".to_owned()));
        assert_eq!(desk.state.effects().len(), 1);
    };
    full(Limits { effects: 1, ..Limits::default() });
    full(Limits { objects: 1, ..Limits::default() });
    full(Limits { keys: 1, ..Limits::default() });
    full(Limits { scopes: 1, ..Limits::default() });
}

#[test]
fn an_unknown_path_is_no_operation() {
    let mut desk = Desk::new();
    assert_eq!(desk.fails(&post("/v1/chargers", CHARGE).key("k")).0, 404);
    desk.done(&charge().key("k"));
}

#[test]
fn the_same_seed_and_calls_give_the_same_answers() {
    let day = || {
        let mut desk = Desk::new();
        (0..20).map(|_| desk.ask(&charge()).body).collect::<Vec<_>>()
    };
    assert_eq!(day(), day());
}

/// One step of a random history; `n` chooses among what there is.
fn step(desk: &Desk, what: u8, n: usize, amount: u16) -> Option<Ask> {
    let made = |prefix: &str| {
        let ids = desk.state.effects().iter().map(|effect| effect.object.clone());
        let ids: Vec<String> = ids.filter(|id| id.starts_with(prefix)).collect();
        ids.get(n.checked_rem(ids.len())?).cloned()
    };
    let paid = format!("amount={amount}&currency=usd");
    let card = ["visa", "chargeDeclined", "authenticationRequired"][n % 3];
    Some(match what {
        0 => post(
            "/v1/charges",
            &format!("{paid}&source=tok_{card}&capture={}", n.is_multiple_of(2)),
        ),
        1 => post(&format!("/v1/charges/{}/capture", made("ch_")?), &format!("amount={amount}")),
        2 => post("/v1/refunds", &format!("charge={}&amount={amount}", made("ch_")?)),
        3 => post("/v1/refunds", &format!("payment_intent={}", made("pi_")?)),
        4 => {
            let manual = if n.is_multiple_of(2) { "manual" } else { "automatic" };
            let rest = format!("payment_method=pm_card_{card}&capture_method={manual}");
            post("/v1/payment_intents", &format!("{paid}&{rest}&confirm={}", n % 5 < 3))
        }
        5 => post(&format!("/v1/payment_intents/{}/confirm", made("pi_")?), ""),
        6 => post(
            &format!("/v1/payment_intents/{}/capture", made("pi_")?),
            &format!("amount_to_capture={amount}"),
        ),
        7 => post(&format!("/v1/payment_intents/{}/cancel", made("pi_")?), ""),
        8 => post("/v1/transfers", &format!("{paid}&destination=acct_1")),
        9 => {
            post(&format!("/v1/transfers/{}/reversals", made("tr_")?), &format!("amount={amount}"))
        }
        10 => post("/v1/payouts", &paid),
        11 => post(&format!("/v1/payouts/{}/cancel", made("po_")?), ""),
        _ => post("/v1/topups", &paid),
    })
}

/// What an effect did to the balance.
fn signed(effect: &Effect) -> i64 {
    let amount = if effect.money { effect.amount.unwrap() } else { 0 };
    let out = ["POST /v1/refunds", "POST /v1/transfers", "POST /v1/payouts"];
    if out.contains(&effect.operation.as_str()) { -amount } else { amount }
}

proptest::proptest! {
    /// The log of effects accounts for every cent of the balance, and nothing else moves it.
    #[test]
    fn effects_account_for_the_balance(
        steps in proptest::collection::vec((0..13_u8, 0..40_usize, 1..900_u16, 0..20_u8), 1..120)
    ) {
        let mut desk = Desk::new();
        for (what, n, amount, key) in steps {
            let Some(ask) = step(&desk, what, n, amount) else { continue };
            let ask = if key < 3 { ask } else { ask.key(&key.to_string()) };
            let before = desk.state.effects().len();
            let answer = desk.ask(&ask);
            let made = desk.state.effects().len() - before;
            let replayed = answer.header("idempotent-replayed").is_some();
            proptest::prop_assert!(made <= 1);
            proptest::prop_assert_eq!(made == 1, !replayed && matches!(answer.status, 200 | 402));
        }
        let moved: i64 = desk.state.effects().iter().map(signed).sum();
        let shown = desk.done(&get("/v1/balance"));
        let start = super::super::store::STARTING_BALANCE;
        proptest::prop_assert_eq!(shown["available"][0]["amount"].as_i64(), Some(start + moved));
    }
}
