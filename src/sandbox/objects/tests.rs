use serde_json::json;

use super::super::desk::{Desk, body, delete, get, post};
use super::super::effects::Outcome;
use super::super::store::STARTING_BALANCE;

mod payments;

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn available(desk: &mut Desk) -> i64 {
    desk.done(&get("/v1/balance"))["available"][0]["amount"].as_i64().unwrap()
}

#[test]
fn transfers_and_payouts_need_a_balance_and_topups_make_one() {
    let mut desk = Desk::new();
    let all = STARTING_BALANCE;
    desk.made("/v1/payouts", &format!("amount={all}&currency=usd"));
    let transfer = post("/v1/transfers", "amount=100&currency=usd&destination=acct_1");
    assert_eq!(desk.fails(&transfer), refused(400, "balance_insufficient"));
    desk.made("/v1/topups", "amount=100&currency=usd");
    let id = desk.done(&transfer)["id"].as_str().unwrap().to_owned();
    assert_eq!((desk.last().money, available(&mut desk)), (true, 0));
    let reversals = format!("/v1/transfers/{id}/reversals");
    desk.done(&post(&reversals, "amount=60"));
    assert_eq!(desk.fails(&post(&reversals, "amount=41")), refused(400, "amount_too_large"));
    desk.done(&post(&reversals, ""));
    assert_eq!(desk.fails(&post(&reversals, "")), refused(400, "transfer_already_reversed"));
    assert_eq!(available(&mut desk), 100);
}

#[test]
fn a_canceled_payout_gives_the_money_back_once() {
    let mut desk = Desk::new();
    let id = desk.made("/v1/payouts", "amount=70&currency=usd");
    let cancel = post(&format!("/v1/payouts/{id}/cancel"), "");
    desk.done(&cancel);
    assert_eq!(desk.fails(&cancel), refused(400, "payout_not_cancelable"));
    assert_eq!(available(&mut desk), STARTING_BALANCE);
}

fn subscribe(desk: &mut Desk, source: &str, more: &str) -> super::super::answer::Answer {
    let customer = desk.made("/v1/customers", &format!("source={source}"));
    let price = desk.made("/v1/prices", "unit_amount=700&currency=usd&product=prod_1");
    let form = format!("customer={customer}&items[0][price]={price}&items[0][quantity]=2{more}");
    desk.ask(&post("/v1/subscriptions", &form))
}

#[test]
fn a_subscription_charges_the_default_card_for_its_first_invoice() {
    let mut desk = Desk::new();
    let made = body(&subscribe(&mut desk, "tok_visa", ""));
    assert_eq!(made["status"], json!("active"));
    assert_eq!((desk.last().amount, desk.last().money), (Some(1400), true));
    assert_eq!(available(&mut desk), STARTING_BALANCE + 1400);
    let id = made["id"].as_str().unwrap();
    assert_eq!(desk.done(&delete(&format!("/v1/subscriptions/{id}")))["status"], json!("canceled"));
}

#[test]
fn a_subscription_whose_card_fails_is_incomplete_or_an_error() {
    let mut desk = Desk::new();
    let made = body(&subscribe(&mut desk, "tok_chargeCustomerFail", ""));
    assert_eq!(made["status"], json!("incomplete"));
    assert_eq!(desk.last().outcome, Outcome::Declined);
    let strict = "&payment_behavior=error_if_incomplete";
    assert_eq!(subscribe(&mut desk, "tok_chargeCustomerFail", strict).status, 402);
    assert_eq!(available(&mut desk), STARTING_BALANCE);
}

#[test]
fn an_invoice_gathers_pending_items_and_is_paid_once() {
    let mut desk = Desk::new();
    let customer = desk.made("/v1/customers", "source=tok_visa");
    desk.made("/v1/invoiceitems", &format!("customer={customer}&amount=250&currency=usd"));
    let id = desk.made("/v1/invoices", &format!("customer={customer}"));
    desk.done(&post(&format!("/v1/invoices/{id}/finalize"), ""));
    let pay = post(&format!("/v1/invoices/{id}/pay"), "");
    assert_eq!(desk.done(&pay)["status"], json!("paid"));
    assert_eq!((desk.last().amount, desk.last().money), (Some(250), true));
    assert_eq!(desk.ask(&pay).status, 400);
}

#[test]
fn other_objects_are_made_changed_read_listed_and_deleted() {
    let mut desk = Desk::new();
    let made = desk.done(&post("/v1/products", "name=a&active=true&metadata[x]=1"));
    assert_eq!((made["object"].as_str(), made["active"].as_bool()), (Some("product"), Some(true)));
    let path = format!("/v1/products/{}", made["id"].as_str().unwrap());
    assert_eq!(desk.done(&post(&path, "name=b"))["name"], json!("b"));
    assert_eq!(desk.done(&get(&path))["metadata"], json!({"x": "1"}));
    assert_eq!(desk.done(&get("/v1/products"))["data"][0]["name"], json!("b"));
    assert_eq!(desk.done(&delete(&path))["deleted"], json!(true));
    assert_eq!(desk.fails(&get(&path)), refused(404, "resource_missing"));
}

#[test]
fn nested_collections_hang_on_their_parent() {
    let mut desk = Desk::new();
    let customer = desk.made("/v1/customers", "");
    let place = format!("/v1/customers/{customer}/tax_ids");
    let id = desk.made(&place, "type=eu_vat&value=1");
    assert_eq!(desk.done(&get(&place))["data"][0]["id"], json!(id));
    assert_eq!(desk.done(&get(&format!("{place}/{id}")))["object"], json!("tax_id"));
    assert_eq!(desk.fails(&post("/v1/customers/cus_none/tax_ids", "")).0, 404);
}

#[test]
fn a_chosen_id_is_taken_once() {
    let mut desk = Desk::new();
    assert_eq!(desk.made("/v1/coupons", "id=SPRING&percent_off=5"), "SPRING");
    let again = post("/v1/coupons", "id=SPRING");
    assert_eq!(desk.fails(&again), refused(400, "resource_already_exists"));
}

#[test]
fn lists_come_newest_first_in_pages() {
    let mut desk = Desk::new();
    let ids: Vec<String> =
        (0..5).map(|n| desk.made("/v1/customers", &format!("name={n}"))).collect();
    let page = desk.done(&get("/v1/customers?limit=2"));
    assert_eq!(
        (page["data"][0]["id"].as_str(), page["has_more"].as_bool()),
        (Some(ids[4].as_str()), Some(true))
    );
    let rest = desk.done(&get(&format!("/v1/customers?limit=10&starting_after={}", ids[3])));
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), rest["has_more"].as_bool()),
        (3, Some(false))
    );
    assert_eq!(desk.done(&get("/v1/customers?name=2"))["data"][0]["id"], json!(ids[2]));
    assert_eq!(desk.fails(&get("/v1/customers?starting_after=cus_x")).0, 404);
}

#[test]
fn ids_are_expanded_in_objects_and_in_lists() {
    let mut desk = Desk::new();
    let customer = desk.made("/v1/customers", "source=tok_visa");
    let form =
        format!("amount=5&currency=usd&customer={customer}&expand[]=customer.default_source");
    let made = desk.done(&post("/v1/charges", &form));
    assert_eq!(made["customer"]["default_source"]["object"], json!("card"));
    assert_eq!(made.get("expand"), None);
    let list = desk.done(&get("/v1/charges?expand[]=data.customer&expand[]=data.nonsense"));
    assert_eq!(list["data"][0]["customer"]["id"], json!(customer));
    let plain = desk.done(&get(&format!("/v1/charges/{}", made["id"].as_str().unwrap())));
    assert_eq!(plain["customer"], json!(customer));
}

#[test]
fn v2_lists_have_pages_of_their_own_shape() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.done(&post("/v2/core/accounts", "{}").json());
    }
    let page = desk.done(&get("/v2/core/accounts?limit=2"));
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    let next = desk.done(&get(page["next_page_url"].as_str().unwrap()));
    assert_eq!((next["data"].as_array().unwrap().len(), &next["next_page_url"]), (1, &json!(null)));
}

/// Whatever is in the table answers with success or with an error of Stripe's shape.
#[test]
fn every_listed_operation_is_answered() {
    let mut desk = Desk::new();
    let table = include_str!("../../../config/operations.tsv");
    let mut made = 0;
    for line in table.lines().skip(1) {
        let mut columns = line.split('\t');
        let (method, path) = (columns.next().unwrap(), columns.next().unwrap());
        let path = path.replace(['{', '}'], "");
        let ask = match method {
            "POST" => post(&path, "amount=5&currency=usd"),
            "DELETE" => delete(&path),
            _ => get(&path),
        };
        let answer = desk.ask(&ask);
        let told = body(&answer);
        let listed =
            !told["error"]["message"].as_str().unwrap_or_default().contains("Unrecognized");
        assert!(listed, "{line}");
        assert!(answer.status == 200 || told["error"]["type"].is_string(), "{line}: {told}");
        made += usize::from(method == "POST" && answer.status == 200);
    }
    assert!(made > 90, "only {made} creations succeeded");
}
