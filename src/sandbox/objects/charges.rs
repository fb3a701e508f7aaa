//! Charges: of their own, and those that a payment intent or an invoice makes.

use serde_json::json;

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, number, text};
use super::super::effects::{Draft, Outcome};
use super::cards::{Attempt, authentication_required};
use super::instrument::Instrument;

/// A charge about to be written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) amount: i64,
    pub(crate) currency: &'a str,
    pub(crate) customer: Option<&'a str>,
    pub(crate) method: &'a str,
    pub(crate) intent: Option<&'a str>,
    /// `false`: only held, to be captured later.
    pub(crate) capture: bool,
}

impl Plan<'_> {
    /// Writes a paid charge down, and books the money if it was captured.
    pub(crate) fn paid(self, ctx: &mut Ctx<'_>) -> String {
        if self.capture {
            ctx.account.book(self.currency, self.amount);
        }
        self.write(ctx, None)
    }

    /// Writes a failed charge down.
    pub(crate) fn failed(self, ctx: &mut Ctx<'_>, fail: &Fail) -> String {
        self.write(ctx, Some(fail))
    }

    fn write(self, ctx: &mut Ctx<'_>, fail: Option<&Fail>) -> String {
        let paid = fail.is_none();
        let captured = if paid && self.capture { self.amount } else { 0 };
        let fields = json!({
            "amount": self.amount, "amount_captured": captured, "amount_refunded": 0,
            "currency": self.currency, "customer": self.customer,
            "payment_method": self.method, "payment_intent": self.intent,
            "paid": paid, "captured": captured > 0, "refunded": false, "disputed": false,
            "status": if paid { "succeeded" } else { "failed" },
            "failure_code": fail.and_then(|fail| fail.error.get("code")),
            "failure_message": fail.and_then(|fail| fail.error.get("message")),
            "metadata": ctx.param("metadata").cloned().unwrap_or(json!({})),
            "description": ctx.text("description"),
        });
        ctx.create("/v1/charges", "ch", "charge", fields, None)
    }
}

/// `POST /v1/charges`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let amount = ctx.required_amount("amount")?;
    let currency = ctx.currency()?;
    let customer = ctx.text("customer");
    if let Some(customer) = customer {
        ctx.object("customer", customer, "customer")?;
    }
    let source = source(ctx, customer)?;
    let method = source.name(ctx);
    let capture = ctx.text("capture") != Some("false");
    let plan =
        Plan { amount, currency: &currency, customer, method: &method, intent: None, capture };
    let mut fail = match source.card.charge() {
        Attempt::Paid => {
            let id = plan.paid(ctx);
            return ctx.done(&id, Draft::change(&id).of(amount, &currency).money(capture));
        }
        Attempt::Authenticate => authentication_required(),
        Attempt::Declined(fail) => fail,
    };
    let id = plan.failed(ctx, &fail);
    fail.put("charge", json!(id));
    Err(fail.recorded(Draft::change(id).of(amount, &currency).ended(Outcome::Declined)))
}

fn source(ctx: &Ctx<'_>, customer: Option<&str>) -> Result<Instrument, Fail> {
    for param in ["source", "card"] {
        if let Some(source) = Instrument::given(ctx, param)? {
            if source.foreign(ctx, customer) {
                let id = ctx.text(param).unwrap_or_default();
                return Err(Fail::no_such("source", id, param));
            }
            return Ok(source);
        }
    }
    let customer = customer.ok_or_else(|| Fail::missing("source"))?;
    Instrument::default_of(ctx, customer).ok_or_else(|| {
        Fail::declined("missing", None, "Cannot charge a customer that has no active card")
    })
}

/// `POST /v1/charges/{charge}/capture`
pub(crate) fn capture(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let charge = ctx.object("charge", id, "charge")?;
    let held = number(&charge.fields, "amount");
    let currency = text(&charge.fields, "currency").to_owned();
    let open = text(&charge.fields, "status") == "succeeded"
        && number(&charge.fields, "amount_refunded") == 0;
    if charge.fields.get("captured") == Some(&json!(true)) || !open {
        let message = format!("Charge {id} has already been captured.");
        return Err(Fail::refused("charge_already_captured", &message));
    }
    let amount = ctx.amount("amount")?.unwrap_or(held);
    if amount > held {
        let message = "You cannot capture a charge for an amount greater than it already has.";
        return Err(Fail::invalid("amount", "amount_too_large", message));
    }
    ctx.account.book(&currency, amount);
    ctx.set(
        id,
        json!({ "captured": true, "amount_captured": amount, "amount_refunded": held - amount }),
    );
    ctx.done(id, Draft::change(id).of(amount, &currency).money(true))
}
