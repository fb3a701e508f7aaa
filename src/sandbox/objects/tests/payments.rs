//! Charges, refunds and intents: money moves once, and as the card says.

use super::*;

fn intent(desk: &mut Desk, more: &str) -> String {
    desk.made("/v1/payment_intents", &format!("amount=1000&currency=usd{more}"))
}

#[test]
fn every_decline_has_stripes_code_and_moves_no_money() {
    let cards = [
        ("4000000000000002", "card_declined"),
        ("4000000000009995", "card_declined"),
        ("4000000000000069", "expired_card"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000000119", "processing_error"),
        ("4000000000000341", "card_declined"),
        ("4242424242424241", "incorrect_number"),
    ];
    for (number, code) in cards {
        let mut desk = Desk::new();
        let ask = post("/v1/charges", &format!("amount=5&currency=usd&source[number]={number}"));
        assert_eq!(desk.fails(&ask), refused(402, code), "{number}");
        assert_eq!(available(&mut desk), STARTING_BALANCE);
        assert!(desk.state.effects().iter().all(|effect| !effect.money));
    }
}

#[test]
fn a_charge_takes_a_token_once() {
    let mut desk = Desk::new();
    let token = desk.made("/v1/tokens", "card[number]=4242424242424242");
    let ask = post("/v1/charges", &format!("amount=5&currency=usd&source={token}"));
    desk.done(&ask);
    assert_eq!(desk.fails(&ask), refused(400, "token_already_used"));
}

#[test]
fn a_customers_default_source_is_charged() {
    let mut desk = Desk::new();
    let customer = desk.made("/v1/customers", "source=tok_visa");
    let charge =
        desk.done(&post("/v1/charges", &format!("amount=5&currency=usd&customer={customer}")));
    assert_eq!(
        (charge["paid"].as_bool(), charge["customer"].as_str()),
        (Some(true), Some(customer.as_str()))
    );
    let bare = desk.made("/v1/customers", "");
    let ask = post("/v1/charges", &format!("amount=5&currency=usd&customer={bare}"));
    assert_eq!(desk.fails(&ask), refused(402, "missing"));
}

#[test]
fn a_card_that_is_declined_cannot_be_attached_but_one_that_fails_later_can() {
    let mut desk = Desk::new();
    let customer = desk.made("/v1/customers", "");
    let attach = |desk: &mut Desk, number: &str| {
        let form = format!("type=card&card[number]={number}");
        let method = desk.made("/v1/payment_methods", &form);
        let path = format!("/v1/payment_methods/{method}/attach");
        (method, desk.ask(&post(&path, &format!("customer={customer}"))).status)
    };
    assert_eq!(attach(&mut desk, "4000000000000002").1, 402);
    let (method, status) = attach(&mut desk, "4000000000000341");
    assert_eq!(status, 200);
    let form =
        format!("amount=5&currency=usd&customer={customer}&payment_method={method}&confirm=true");
    assert_eq!(desk.fails(&post("/v1/payment_intents", &form)), refused(402, "card_declined"));
    desk.done(&post(&format!("/v1/payment_methods/{method}/detach"), ""));
    let again = post(&format!("/v1/payment_methods/{method}/detach"), "");
    assert_eq!(desk.fails(&again), refused(400, "payment_method_not_attached"));
}

#[test]
fn an_authorised_charge_moves_money_when_it_is_captured_once() {
    let mut desk = Desk::new();
    let form = "amount=500&currency=usd&source=tok_visa&capture=false";
    let id = desk.made("/v1/charges", form);
    assert!(!desk.last().money);
    let capture = format!("/v1/charges/{id}/capture");
    assert_eq!(desk.fails(&post(&capture, "amount=501")), refused(400, "amount_too_large"));
    desk.done(&post(&capture, "amount=300"));
    assert_eq!((desk.last().money, desk.last().amount), (true, Some(300)));
    assert_eq!(available(&mut desk), STARTING_BALANCE + 300);
    assert_eq!(desk.fails(&post(&capture, "")), refused(400, "charge_already_captured"));
    let over = post("/v1/refunds", &format!("charge={id}&amount=301"));
    assert_eq!(desk.fails(&over), refused(400, "amount_too_large"));
    desk.done(&post("/v1/refunds", &format!("charge={id}")));
    assert_eq!(available(&mut desk), STARTING_BALANCE);
}

#[test]
fn never_more_is_refunded_than_was_paid() {
    let mut desk = Desk::new();
    let id = desk.made("/v1/charges", "amount=500&currency=usd&source=tok_visa");
    let refund = |amount: i64| post("/v1/refunds", &format!("charge={id}&amount={amount}"));
    desk.done(&refund(200));
    assert_eq!(desk.fails(&refund(301)), refused(400, "amount_too_large"));
    desk.done(&post("/v1/refunds", &format!("charge={id}")));
    assert_eq!((desk.last().amount, desk.last().money), (Some(300), true));
    assert_eq!(desk.fails(&refund(1)), refused(400, "charge_already_refunded"));
    assert_eq!(available(&mut desk), STARTING_BALANCE);
    assert_eq!(desk.done(&get(&format!("/v1/charges/{id}")))["refunded"], json!(true));
}

#[test]
fn an_intent_goes_from_creation_over_confirmation_to_success_once() {
    let mut desk = Desk::new();
    let id = intent(&mut desk, "");
    assert!(!desk.last().money);
    let confirm = format!("/v1/payment_intents/{id}/confirm");
    assert_eq!(desk.fails(&post(&confirm, "")), refused(400, "payment_intent_unexpected_state"));
    let done = desk.done(&post(&confirm, "payment_method=pm_card_visa"));
    assert_eq!(
        (done["status"].as_str(), done["amount_received"].as_i64()),
        (Some("succeeded"), Some(1000))
    );
    assert_eq!((desk.last().money, desk.last().amount), (true, Some(1000)));
    assert_eq!(desk.fails(&post(&confirm, "")), refused(400, "payment_intent_unexpected_state"));
    let cancel = post(&format!("/v1/payment_intents/{id}/cancel"), "");
    assert_eq!(desk.fails(&cancel), refused(400, "payment_intent_unexpected_state"));
    desk.done(&post("/v1/refunds", &format!("payment_intent={id}")));
    assert_eq!(available(&mut desk), STARTING_BALANCE);
}

#[test]
fn a_declined_confirmation_leaves_an_intent_that_another_card_pays() {
    let mut desk = Desk::new();
    let form = "amount=1000&currency=usd&payment_method=pm_card_chargeDeclined&confirm=true";
    let answer = desk.ask(&post("/v1/payment_intents", form));
    let error = body(&answer)["error"].clone();
    assert_eq!((answer.status, error["decline_code"].as_str()), (402, Some("generic_decline")));
    assert_eq!(error["payment_intent"]["status"], json!("requires_payment_method"));
    assert_eq!(desk.last().outcome, Outcome::Declined);
    let id = error["payment_intent"]["id"].as_str().unwrap();
    let confirm = post(&format!("/v1/payment_intents/{id}/confirm"), "payment_method=pm_card_visa");
    assert_eq!(desk.done(&confirm)["status"], json!("succeeded"));
}

#[test]
fn an_intent_that_requires_action_succeeds_on_the_next_confirmation() {
    for authenticate in [false, true] {
        let mut desk = Desk::new();
        let more = "&payment_method=pm_card_authenticationRequired&confirm=true";
        let id = intent(&mut desk, more);
        assert_eq!((desk.last().outcome, desk.last().money), (Outcome::RequiresAction, false));
        if authenticate {
            assert!(desk.state.authenticate(&id));
            assert!(!desk.state.authenticate(&id));
        }
        let done = desk.done(&post(&format!("/v1/payment_intents/{id}/confirm"), ""));
        assert_eq!(done["status"], json!("succeeded"));
        assert!(desk.last().money);
    }
}

#[test]
fn an_absent_payer_cannot_authenticate() {
    let mut desk = Desk::new();
    let form = "amount=5&currency=usd&payment_method=pm_card_authenticationRequired&confirm=true\
                &off_session=true";
    let ask = post("/v1/payment_intents", form);
    assert_eq!(desk.fails(&ask), refused(402, "authentication_required"));
}

#[test]
fn a_held_intent_is_captured_up_to_its_amount_or_canceled() {
    let mut desk = Desk::new();
    let held = "&payment_method=pm_card_visa&confirm=true&capture_method=manual";
    let id = intent(&mut desk, held);
    assert!(!desk.last().money);
    let capture = format!("/v1/payment_intents/{id}/capture");
    let over = post(&capture, "amount_to_capture=1001");
    assert_eq!(desk.fails(&over), refused(400, "amount_too_large"));
    desk.done(&post(&capture, "amount_to_capture=400"));
    assert_eq!((desk.last().money, desk.last().amount), (true, Some(400)));
    let again = post(&capture, "");
    assert_eq!(desk.fails(&again), refused(400, "payment_intent_unexpected_state"));
    let other = intent(&mut desk, held);
    desk.done(&post(&format!("/v1/payment_intents/{other}/cancel"), ""));
    let late = post(&format!("/v1/payment_intents/{other}/capture"), "");
    assert_eq!(desk.fails(&late), refused(400, "payment_intent_unexpected_state"));
}

#[test]
fn an_intents_amount_is_fixed_once_it_is_paid() {
    let mut desk = Desk::new();
    let id = intent(&mut desk, "&payment_method=pm_card_visa");
    let path = format!("/v1/payment_intents/{id}");
    assert_eq!(desk.done(&post(&path, "amount=1500&metadata[a]=1"))["amount"], json!(1500));
    desk.done(&post(&format!("{path}/confirm"), ""));
    assert_eq!(desk.last().amount, Some(1500));
    let late = post(&path, "amount=1");
    assert_eq!(desk.fails(&late), refused(400, "payment_intent_unexpected_state"));
    let merged = desk.done(&post(&path, "metadata[b]=2"));
    assert_eq!(merged["metadata"], json!({"a": "1", "b": "2"}));
}

#[test]
fn a_method_of_another_customer_cannot_pay() {
    let mut desk = Desk::new();
    let owner = desk.made("/v1/customers", "");
    let other = desk.made("/v1/customers", "");
    let path = "/v1/payment_methods/pm_card_visa/attach";
    let method = desk.made(path, &format!("customer={owner}"));
    let form = format!("amount=5&currency=usd&customer={other}&payment_method={method}");
    assert_eq!(desk.ask(&post("/v1/payment_intents", &form)).status, 400);
}

#[test]
fn setup_intents_need_a_method_and_may_require_action() {
    let mut desk = Desk::new();
    let id = desk.made("/v1/setup_intents", "payment_method=pm_card_threeDSecure2Required");
    let confirm = format!("/v1/setup_intents/{id}/confirm");
    assert_eq!(desk.done(&post(&confirm, ""))["status"], json!("requires_action"));
    assert_eq!(desk.done(&post(&confirm, ""))["status"], json!("succeeded"));
    assert_eq!(desk.fails(&post(&confirm, "")), refused(400, "setup_intent_unexpected_state"));
    let declined = post("/v1/setup_intents", "confirm=true&payment_method=pm_card_chargeDeclined");
    assert_eq!(desk.fails(&declined), refused(402, "card_declined"));
    let open = desk.made("/v1/setup_intents", "");
    assert_eq!(
        desk.done(&post(&format!("/v1/setup_intents/{open}/cancel"), ""))["status"],
        json!("canceled")
    );
}
