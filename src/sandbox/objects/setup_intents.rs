//! Setup intents: a card is made ready; no money moves.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, text};
use super::super::effects::{Draft, Outcome};
use super::cards::{Attempt, Card};
use super::instrument::Instrument;

const KIND: &str = "setup_intent";

/// `POST /v1/setup_intents`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let customer = ctx.text("customer");
    if let Some(customer) = customer {
        ctx.object("customer", customer, "customer")?;
    }
    let method = Instrument::given(ctx, "payment_method")?;
    let confirm = ctx.flag("confirm");
    if confirm && method.is_none() {
        return Err(Fail::missing("payment_method"));
    }
    let mut fields = ctx.echo(&["confirm", "return_url"]);
    fields.entry("metadata").or_insert(json!({}));
    fields.entry("usage").or_insert(json!("off_session"));
    fields.insert("next_action".to_owned(), Value::Null);
    fields.insert("status".to_owned(), json!("requires_payment_method"));
    let id = ctx.create("/v1/setup_intents", "seti", KIND, Value::Object(fields), None);
    if let Some(method) = &method {
        let method = method.keep(ctx, customer);
        ctx.set(&id, json!({ "payment_method": method, "status": "requires_confirmation" }));
    }
    match method.filter(|_| confirm) {
        Some(method) => attempt(ctx, &id, method.card, false),
        None => ctx.done(&id, Draft::change(&id)),
    }
}

/// `POST /v1/setup_intents/{intent}/confirm`
pub(crate) fn confirm(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let intent = ctx.object(KIND, id, "intent")?;
    let status = text(&intent.fields, "status").to_owned();
    let stored = text(&intent.fields, "payment_method").to_owned();
    let customer = text(&intent.fields, "customer").to_owned();
    if ["succeeded", "canceled"].contains(&status.as_str()) {
        return Err(unexpected(&status));
    }
    let given = Instrument::given(ctx, "payment_method")?;
    let acted = given.is_none() && status == "requires_action";
    let method = match given {
        Some(method) => method,
        None if stored.is_empty() => return Err(Fail::missing("payment_method")),
        None => Instrument::find(ctx, &stored, "payment_method")?,
    };
    let customer = Some(customer.as_str()).filter(|id| !id.is_empty());
    let stored = method.keep(ctx, customer);
    ctx.set(id, json!({ "payment_method": stored }));
    attempt(ctx, id, method.card, acted)
}

fn attempt(ctx: &mut Ctx<'_>, id: &str, card: Card, acted: bool) -> Handled {
    // A card that is only declined when it is charged is set up all the same.
    let outcome = card.attach().map_or_else(Attempt::Declined, |()| match card.charge() {
        Attempt::Authenticate => Attempt::Authenticate,
        Attempt::Paid | Attempt::Declined(_) => Attempt::Paid,
    });
    match outcome {
        Attempt::Authenticate if !acted => {
            let next = json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} });
            ctx.set(id, json!({ "status": "requires_action", "next_action": next }));
            ctx.done(id, Draft::change(id).ended(Outcome::RequiresAction))
        }
        Attempt::Paid | Attempt::Authenticate => {
            ctx.set(id, json!({ "status": "succeeded", "next_action": null }));
            ctx.done(id, Draft::change(id))
        }
        Attempt::Declined(mut fail) => {
            let error = fail.error.clone();
            ctx.set(id, json!({ "status": "requires_payment_method", "last_setup_error": error }));
            fail.put("setup_intent", ctx.shown(id));
            Err(fail.recorded(Draft::change(id).ended(Outcome::Declined)))
        }
    }
}

/// `POST /v1/setup_intents/{intent}/cancel`
pub(crate) fn cancel(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let intent = ctx.object(KIND, id, "intent")?;
    let status = text(&intent.fields, "status");
    if ["succeeded", "canceled"].contains(&status) {
        return Err(unexpected(status));
    }
    ctx.set(id, json!({ "status": "canceled", "next_action": null }));
    ctx.done(id, Draft::change(id))
}

fn unexpected(status: &str) -> Fail {
    let message = format!("This SetupIntent has a status of {status}.");
    Fail::refused("setup_intent_unexpected_state", &message)
}
