//! The balance, and what is paid out of it and into it.

use serde_json::{Map, Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Done, Handled, number, text};
use super::super::effects::Draft;
use super::super::store::STARTING_BALANCE;

/// `GET /v1/balance`
#[expect(clippy::unnecessary_wraps, reason = "a handler")]
pub(crate) fn show(ctx: &mut Ctx<'_>) -> Handled {
    let mut available: Vec<Value> = ctx
        .account
        .balances()
        .iter()
        .map(|(currency, amount)| json!({ "amount": amount, "currency": currency }))
        .collect();
    if available.is_empty() {
        available.push(json!({ "amount": STARTING_BALANCE, "currency": "usd" }));
    }
    let body = json!({
        "object": "balance", "available": available, "pending": [], "livemode": false,
    });
    Ok(Done { body, effect: None })
}

/// `POST /v1/transfers`
pub(crate) fn transfer(ctx: &mut Ctx<'_>) -> Handled {
    ctx.required("destination")?;
    let extra = json!({ "amount_reversed": 0, "reversed": false });
    out(ctx, "/v1/transfers", "tr", "transfer", extra)
}

/// `POST /v1/payouts`
pub(crate) fn payout(ctx: &mut Ctx<'_>) -> Handled {
    let extra = json!({ "status": "pending", "method": "standard", "type": "bank_account" });
    out(ctx, "/v1/payouts", "po", "payout", extra)
}

/// `POST /v1/topups`
pub(crate) fn topup(ctx: &mut Ctx<'_>) -> Handled {
    let (amount, currency) = (ctx.required_amount("amount")?, ctx.currency()?);
    let fields = booked(ctx, amount, &currency, json!({ "status": "succeeded" }));
    ctx.account.book(&currency, amount);
    let id = ctx.create("/v1/topups", "tu", "topup", fields, None);
    ctx.done(&id, Draft::change(&id).of(amount, &currency).money(true))
}

fn out(ctx: &mut Ctx<'_>, place: &str, prefix: &str, kind: &str, extra: Value) -> Handled {
    let (amount, currency) = (ctx.required_amount("amount")?, ctx.currency()?);
    if amount > ctx.account.balance(&currency) {
        let message = "You have insufficient available funds in your Stripe account.";
        return Err(Fail::refused("balance_insufficient", message));
    }
    let fields = booked(ctx, amount, &currency, extra);
    ctx.account.book(&currency, -amount);
    let id = ctx.create(place, prefix, kind, fields, None);
    ctx.done(&id, Draft::change(&id).of(amount, &currency).money(true))
}

fn booked(ctx: &Ctx<'_>, amount: i64, currency: &str, extra: Value) -> Value {
    let mut fields: Map<String, Value> = ctx.echo(&[]);
    fields.entry("metadata").or_insert(json!({}));
    fields.insert("amount".to_owned(), json!(amount));
    fields.insert("currency".to_owned(), json!(currency));
    if let Value::Object(extra) = extra {
        fields.extend(extra);
    }
    Value::Object(fields)
}

/// `POST /v1/transfers/{id}/reversals`
pub(crate) fn reverse(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let transfer = ctx.object("transfer", id, "id")?;
    let currency = text(&transfer.fields, "currency").to_owned();
    let (all, reversed) =
        (number(&transfer.fields, "amount"), number(&transfer.fields, "amount_reversed"));
    let left = all - reversed;
    if left <= 0 {
        let message = format!("Transfer {id} is already fully reversed.");
        return Err(Fail::refused("transfer_already_reversed", &message));
    }
    let amount = ctx.amount("amount")?.unwrap_or(left);
    if amount > left {
        let message = "You cannot reverse more than what was transferred.";
        return Err(Fail::invalid("amount", "amount_too_large", message));
    }
    ctx.account.book(&currency, amount);
    ctx.set(id, json!({ "amount_reversed": reversed + amount, "reversed": amount == left }));
    let fields = json!({
        "amount": amount, "currency": currency, "transfer": id,
        "metadata": ctx.param("metadata").cloned().unwrap_or(json!({})),
    });
    let place = format!("/v1/transfers/{id}/reversals");
    let reversal = ctx.create(&place, "trr", "transfer_reversal", fields, None);
    ctx.done(&reversal, Draft::change(&reversal).of(amount, &currency).money(true))
}

/// `POST /v1/payouts/{payout}/cancel`
pub(crate) fn cancel_payout(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let payout = ctx.object("payout", id, "payout")?;
    let currency = text(&payout.fields, "currency").to_owned();
    let amount = number(&payout.fields, "amount");
    if text(&payout.fields, "status") != "pending" {
        return Err(Fail::refused(
            "payout_not_cancelable",
            "Only pending payouts can be canceled.",
        ));
    }
    ctx.account.book(&currency, amount);
    ctx.set(id, json!({ "status": "canceled" }));
    ctx.done(id, Draft::change(id).of(amount, &currency).money(true))
}
