//! Payment methods and tokens.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled};
use super::super::effects::{Draft, Outcome};
use super::cards::Card;
use super::instrument::Instrument;

/// `POST /v1/payment_methods`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let kind = ctx.required("type")?;
    let instrument = match (kind, ctx.text("card.token")) {
        ("card", Some(token)) => Some(Instrument::find(ctx, token, "card[token]")?),
        ("card", None) => {
            let card = Instrument::given(ctx, "card")?;
            Some(card.ok_or_else(|| Fail::missing("card"))?)
        }
        (_, _) => None,
    };
    let mut fields = ctx.echo(&["card"]);
    fields.entry("metadata").or_insert(json!({}));
    fields.insert("customer".to_owned(), Value::Null);
    if let Some(instrument) = &instrument {
        instrument.spend(ctx);
        fields.insert("card".to_owned(), shown(ctx));
    }
    let card = instrument.map_or(Card::Good, |instrument| instrument.card);
    let fields = Value::Object(fields);
    let id = ctx.create("/v1/payment_methods", "pm", "payment_method", fields, Some(card));
    ctx.done(&id, Draft::change(&id))
}

/// `POST /v1/payment_methods/{payment_method}/attach`
pub(crate) fn attach(ctx: &mut Ctx<'_>) -> Handled {
    let method = Instrument::find(ctx, ctx.id(), "payment_method")?;
    let customer = ctx.required("customer")?;
    ctx.object("customer", customer, "customer")?;
    if method.foreign(ctx, Some(customer)) {
        return Err(Fail::refused(
            "payment_method_already_attached",
            "The payment method you provided has already been attached to a customer.",
        ));
    }
    let declined = || Draft::change(ctx.id()).ended(Outcome::Declined);
    method.card.attach().map_err(|fail| fail.recorded(declined()))?;
    let id = method.keep(ctx, Some(customer));
    ctx.set(&id, json!({ "customer": customer }));
    ctx.done(&id, Draft::change(&id))
}

/// `POST /v1/payment_methods/{payment_method}/detach`
pub(crate) fn detach(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let method = ctx.object("payment_method", id, "payment_method")?;
    if method.fields.get("customer").is_none_or(Value::is_null) {
        return Err(Fail::refused(
            "payment_method_not_attached",
            "The payment method you provided is not attached to a customer.",
        ));
    }
    ctx.set(id, json!({ "customer": null }));
    ctx.done(id, Draft::change(id))
}

/// `POST /v1/tokens`
pub(crate) fn token(ctx: &mut Ctx<'_>) -> Handled {
    let card = Instrument::given(ctx, "card")?;
    let fields = json!({ "type": "card", "used": false, "card": shown(ctx) });
    let card = card.map_or(Card::Good, |instrument| instrument.card);
    let id = ctx.create("/v1/tokens", "tok", "token", fields, Some(card));
    ctx.done(&id, Draft::change(&id))
}

fn shown(ctx: &Ctx<'_>) -> Value {
    let number = ctx.text("card.number").unwrap_or("4242");
    let last4: String = number.chars().skip(number.chars().count().saturating_sub(4)).collect();
    json!({ "brand": "visa", "last4": last4, "exp_month": 12, "exp_year": 2040 })
}
