//! Subscriptions: the first invoice is paid with the customer's card.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, number, text};
use super::super::effects::{Draft, Outcome};
use super::instrument::Instrument;
use super::invoices;

const PLACE: &str = "/v1/subscriptions";

/// `POST /v1/subscriptions`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let customer = ctx.required("customer")?;
    ctx.object("customer", customer, "customer")?;
    let (due, currency) = due(ctx)?;
    let method = Instrument::given(ctx, "default_payment_method")?
        .or_else(|| Instrument::default_of(ctx, customer));
    let behaviour = ctx.text("payment_behavior").unwrap_or("allow_incomplete");
    let trial = ctx.amount("trial_period_days")?.is_some();
    let later = trial || due == 0 || behaviour == "default_incomplete";
    if !later && method.is_none() {
        return Err(invoices::no_source());
    }
    let status = match (trial || due == 0, later) {
        (true, _) if trial => "trialing",
        (true, _) => "active",
        (false, _) => "incomplete",
    };
    let mut fields = ctx.echo(&["payment_behavior", "items"]);
    fields.entry("metadata").or_insert(json!({}));
    fields.insert("status".to_owned(), json!(status));
    fields.insert("currency".to_owned(), json!(currency));
    fields.insert("items".to_owned(), items(ctx));
    let id = ctx.create(PLACE, "sub", "subscription", Value::Object(fields), None);
    let invoice = first_invoice(ctx, &id, customer, if trial { 0 } else { due }, &currency);
    let draft = Draft::change(&id).of(due, &currency);
    let (Some(method), false) = (method, later) else { return ctx.done(&id, draft.money(false)) };
    match invoices::charge(ctx, &invoice, customer, &method) {
        Ok(_) => {
            ctx.set(&id, json!({ "status": "active" }));
            ctx.done(&id, draft.money(true))
        }
        Err(mut fail) => {
            let draft = draft.ended(Outcome::Declined);
            if behaviour != "error_if_incomplete" {
                return ctx.done(&id, draft);
            }
            ctx.account.remove(&id);
            fail.effect = None;
            Err(fail.recorded(draft))
        }
    }
}

fn first_invoice(
    ctx: &mut Ctx<'_>,
    subscription: &str,
    customer: &str,
    due: i64,
    currency: &str,
) -> String {
    let fields = json!({
        "customer": customer, "subscription": subscription, "currency": currency,
        "amount_due": due, "amount_paid": 0, "total": due, "paid": false, "status": "open",
        "metadata": {},
    });
    let invoice = ctx.create("/v1/invoices", "in", "invoice", fields, None);
    ctx.set(subscription, json!({ "latest_invoice": invoice }));
    invoice
}

/// What the items come to, out of their prices.
fn due(ctx: &Ctx<'_>) -> Result<(i64, String), Fail> {
    let items =
        ctx.param("items").and_then(Value::as_array).ok_or_else(|| Fail::missing("items"))?;
    let mut sum = 0;
    let mut currency = None;
    for (n, item) in items.iter().enumerate() {
        let (unit, of) = unit(ctx, item, n)?;
        let quantity = item.get("quantity").map_or(Some(1), whole);
        let bad = || {
            let param = format!("items[{n}][quantity]");
            Fail::invalid(&param, "parameter_invalid_integer", "Invalid integer.")
        };
        sum += quantity.filter(|n| *n >= 0).and_then(|n| unit.checked_mul(n)).ok_or_else(bad)?;
        currency.get_or_insert(of);
    }
    Ok((sum, currency.unwrap_or_else(|| "usd".to_owned())))
}

fn unit(ctx: &Ctx<'_>, item: &Value, n: usize) -> Result<(i64, String), Fail> {
    let id = item.get("price").or_else(|| item.get("plan")).and_then(Value::as_str);
    if let Some(id) = id {
        let param = format!("items[{n}][price]");
        let price = ctx.account.get(id).ok_or_else(|| Fail::no_such("price", id, &param))?;
        let amount = number(&price.fields, "unit_amount").max(number(&price.fields, "amount"));
        return Ok((amount, text(&price.fields, "currency").to_owned()));
    }
    let data =
        item.get("price_data").ok_or_else(|| Fail::missing(&format!("items[{n}][price]")))?;
    let amount = data.get("unit_amount").and_then(whole).unwrap_or_default();
    let currency = data.get("currency").and_then(Value::as_str).unwrap_or("usd");
    Ok((amount, currency.to_owned()))
}

fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn items(ctx: &mut Ctx<'_>) -> Value {
    let items = ctx.param("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let data: Vec<Value> = items
        .into_iter()
        .map(|item| {
            let id = ctx.mint.id("si");
            let quantity = item.get("quantity").and_then(whole).unwrap_or(1);
            let named = item.get("price").or_else(|| item.get("plan")).and_then(Value::as_str);
            let price = match named {
                Some(price) => ctx.shown(price),
                None => item.get("price_data").cloned().unwrap_or_default(),
            };
            json!({ "id": id, "object": "subscription_item", "quantity": quantity, "price": price })
        })
        .collect();
    json!({ "object": "list", "data": data, "has_more": false, "url": "/v1/subscription_items" })
}

/// `DELETE /v1/subscriptions/{subscription_exposed_id}`
pub(crate) fn cancel(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let subscription = ctx.object("subscription", id, "id")?;
    if text(&subscription.fields, "status") == "canceled" {
        return Err(Fail::no_such("subscription", id, "id"));
    }
    let at = ctx.now.as_millis() / 1000;
    ctx.set(id, json!({ "status": "canceled", "canceled_at": at, "ended_at": at }));
    ctx.done(id, Draft::change(id))
}
