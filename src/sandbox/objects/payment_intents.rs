//! Payment intents: create, confirm, authenticate, capture, cancel.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, number, text};
use super::super::effects::{Draft, Outcome};
use super::cards::{Attempt, Card, authentication_required};
use super::charges::Plan;
use super::instrument::Instrument;

const PLACE: &str = "/v1/payment_intents";
const KIND: &str = "payment_intent";
const OWN: [&str; 10] = [
    "confirm",
    "payment_method",
    "payment_method_data",
    "off_session",
    "error_on_requires_action",
    "return_url",
    "mandate_data",
    "use_stripe_sdk",
    "amount",
    "currency",
];

/// `POST /v1/payment_intents`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let amount = ctx.required_amount("amount")?;
    let currency = ctx.currency()?;
    let customer = ctx.text("customer");
    if let Some(customer) = customer {
        ctx.object("customer", customer, "customer")?;
    }
    let method = instrument(ctx, customer)?;
    let confirm = ctx.flag("confirm");
    if confirm && method.is_none() {
        return Err(no_method());
    }
    let mut fields = ctx.echo(&OWN);
    let known = json!({
        "amount": amount, "currency": currency, "customer": customer,
        "amount_received": 0, "amount_capturable": 0, "latest_charge": null,
        "last_payment_error": null, "next_action": null, "payment_method": null,
        "status": "requires_payment_method", "client_secret": "pi_secret_sandbox",
    });
    if let Value::Object(known) = known {
        fields.extend(known);
    }
    for (name, value) in [
        ("capture_method", json!("automatic")),
        ("confirmation_method", json!("automatic")),
        ("metadata", json!({})),
    ] {
        fields.entry(name).or_insert(value);
    }
    let id = ctx.create(PLACE, "pi", KIND, Value::Object(fields), None);
    if let Some(method) = &method {
        let method = method.keep(ctx, customer);
        ctx.set(&id, json!({ "payment_method": method, "status": "requires_confirmation" }));
    }
    match method.filter(|_| confirm) {
        Some(method) => attempt(ctx, &id, method.card, false),
        None => ctx.done(&id, Draft::change(&id).of(amount, &currency)),
    }
}

/// `POST /v1/payment_intents/{intent}`
pub(crate) fn update(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let intent = ctx.object(KIND, id, "intent")?;
    let (status, customer) = (status(ctx, id), text(&intent.fields, "customer").to_owned());
    let open = ["requires_payment_method", "requires_confirmation", "requires_action"];
    let closed = !open.contains(&status.as_str());
    let fixed = ["amount", "currency", "payment_method", "customer", "capture_method"];
    if closed && fixed.iter().any(|name| ctx.param(name).is_some()) {
        return Err(unexpected(&status, "updated"));
    }
    let amount = ctx.amount("amount")?;
    let customer = ctx.text("customer").or(Some(&customer)).filter(|id| !id.is_empty());
    let method = instrument(ctx, customer)?;
    ctx.merge(id, &OWN);
    if let Some(amount) = amount {
        ctx.set(id, json!({ "amount": amount }));
    }
    if let Some(method) = method {
        let method = method.keep(ctx, customer);
        ctx.set(id, json!({ "payment_method": method, "status": "requires_confirmation" }));
    }
    ctx.done(id, Draft::change(id))
}

/// `POST /v1/payment_intents/{intent}/confirm`
///
/// In `requires_action` a confirmation without a new payment method stands for the payer who has
/// authenticated meanwhile.
pub(crate) fn confirm(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let intent = ctx.object(KIND, id, "intent")?;
    let customer = text(&intent.fields, "customer").to_owned();
    let stored = text(&intent.fields, "payment_method").to_owned();
    let authenticated = intent.fields.get("sandbox_authenticated") == Some(&json!(true));
    let status = status(ctx, id);
    let open = ["requires_payment_method", "requires_confirmation", "requires_action"];
    if !open.contains(&status.as_str()) {
        return Err(unexpected(&status, "confirmed"));
    }
    let customer = Some(customer.as_str()).filter(|id| !id.is_empty());
    let given = instrument(ctx, customer)?;
    let acted = given.is_none() && (authenticated || status == "requires_action");
    let method = match given {
        Some(method) => method,
        None if stored.is_empty() => return Err(no_method()),
        None => Instrument::find(ctx, &stored, "payment_method")?,
    };
    let stored = method.keep(ctx, customer);
    ctx.set(id, json!({ "payment_method": stored }));
    attempt(ctx, id, method.card, acted)
}

/// Charges the card of an intent that has a payment method.
fn attempt(ctx: &mut Ctx<'_>, id: &str, card: Card, acted: bool) -> Handled {
    let Some(intent) = ctx.account.get(id) else {
        return Err(Fail::no_such(KIND, id, "intent"));
    };
    let fields = intent.fields.clone();
    let (amount, currency) = (number(&fields, "amount"), text(&fields, "currency"));
    let capture = text(&fields, "capture_method") != "manual";
    let plan = Plan {
        amount,
        currency,
        customer: fields.get("customer").and_then(Value::as_str),
        method: text(&fields, "payment_method"),
        intent: Some(id),
        capture,
    };
    let draft = Draft::change(id).of(amount, currency);
    let fail = match card.charge() {
        Attempt::Authenticate if !acted => {
            if !ctx.flag("off_session") && !ctx.flag("error_on_requires_action") {
                let next = json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} });
                ctx.set(id, json!({ "status": "requires_action", "next_action": next }));
                return ctx.done(id, draft.ended(Outcome::RequiresAction));
            }
            authentication_required()
        }
        Attempt::Paid | Attempt::Authenticate => {
            let charge = plan.paid(ctx);
            let (received, held) = if capture { (amount, 0) } else { (0, amount) };
            ctx.set(
                id,
                json!({
                    "status": if capture { "succeeded" } else { "requires_capture" },
                    "amount_received": received, "amount_capturable": held,
                    "latest_charge": charge, "next_action": null, "last_payment_error": null,
                }),
            );
            return ctx.done(id, draft.money(capture));
        }
        Attempt::Declined(fail) => fail,
    };
    Err(declined(ctx, id, plan, fail).recorded(draft.ended(Outcome::Declined)))
}

fn declined(ctx: &mut Ctx<'_>, id: &str, plan: Plan<'_>, mut fail: Fail) -> Fail {
    let charge = plan.failed(ctx, &fail);
    ctx.set(
        id,
        json!({
            "status": "requires_payment_method", "payment_method": null, "next_action": null,
            "latest_charge": charge, "last_payment_error": fail.error,
        }),
    );
    fail.put("charge", json!(charge));
    fail.put("payment_intent", ctx.shown(id));
    fail
}

/// `POST /v1/payment_intents/{intent}/capture`
pub(crate) fn capture(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let intent = ctx.object(KIND, id, "intent")?;
    let held = number(&intent.fields, "amount_capturable");
    let currency = text(&intent.fields, "currency").to_owned();
    let charge = text(&intent.fields, "latest_charge").to_owned();
    let status = status(ctx, id);
    if status != "requires_capture" {
        return Err(unexpected(&status, "captured"));
    }
    let amount = ctx.amount("amount_to_capture")?.unwrap_or(held);
    if amount > held {
        let message = "The requested capture amount is greater than the amount you can capture.";
        return Err(Fail::invalid("amount_to_capture", "amount_too_large", message));
    }
    ctx.account.book(&currency, amount);
    ctx.set(
        &charge,
        json!({ "captured": true, "amount_captured": amount, "amount_refunded": held - amount }),
    );
    let done = json!({ "status": "succeeded", "amount_received": amount, "amount_capturable": 0 });
    ctx.set(id, done);
    ctx.done(id, Draft::change(id).of(amount, &currency).money(true))
}

/// `POST /v1/payment_intents/{intent}/cancel`
pub(crate) fn cancel(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    ctx.object(KIND, id, "intent")?;
    let status = status(ctx, id);
    if ["succeeded", "canceled", "processing"].contains(&status.as_str()) {
        return Err(unexpected(&status, "canceled"));
    }
    let reason = ctx.text("cancellation_reason");
    ctx.set(
        id,
        json!({
            "status": "canceled", "amount_capturable": 0, "cancellation_reason": reason,
            "canceled_at": ctx.now.as_millis() / 1000, "next_action": null,
        }),
    );
    ctx.done(id, Draft::change(id))
}

fn instrument(ctx: &Ctx<'_>, customer: Option<&str>) -> Result<Option<Instrument>, Fail> {
    if let Some(number) = ctx.text("payment_method_data.card.number") {
        return Instrument::of_number(number).map(Some);
    }
    if let Some(token) = ctx.text("payment_method_data.card.token") {
        let param = "payment_method_data[card][token]";
        return Instrument::find(ctx, token, param).map(Some);
    }
    let method = Instrument::given(ctx, "payment_method")?;
    if method.as_ref().is_some_and(|method| method.foreign(ctx, customer)) {
        let message = "The provided PaymentMethod belongs to another Customer.";
        return Err(Fail::invalid("payment_method", "payment_method_customer", message));
    }
    Ok(method)
}

fn status(ctx: &Ctx<'_>, id: &str) -> String {
    ctx.account.get(id).map(|o| text(&o.fields, "status").to_owned()).unwrap_or_default()
}

fn no_method() -> Fail {
    Fail::refused(
        "payment_intent_unexpected_state",
        "You cannot confirm this PaymentIntent because it's missing a payment method.",
    )
}

fn unexpected(status: &str, verb: &str) -> Fail {
    let message =
        format!("This PaymentIntent could not be {verb} because it has a status of {status}.");
    Fail::refused("payment_intent_unexpected_state", &message)
}
