//! Refunds: never more than was paid.

use serde_json::json;

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, number, text};
use super::super::effects::Draft;

/// `POST /v1/refunds`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let charge = match (ctx.text("charge"), ctx.text("payment_intent")) {
        (Some(charge), _) => charge.to_owned(),
        (None, Some(intent)) => {
            let intent = ctx.object("payment_intent", intent, "payment_intent")?;
            text(&intent.fields, "latest_charge").to_owned()
        }
        (None, None) => return Err(Fail::missing("charge")),
    };
    refund(ctx, &charge)
}

/// `POST /v1/charges/{charge}/refunds`
pub(crate) fn of_charge(ctx: &mut Ctx<'_>) -> Handled {
    refund(ctx, ctx.id())
}

fn refund(ctx: &mut Ctx<'_>, id: &str) -> Handled {
    let charge = ctx.object("charge", id, "charge")?;
    let fields = &charge.fields;
    let currency = text(fields, "currency").to_owned();
    let intent = fields.get("payment_intent").cloned();
    let captured = fields.get("captured") == Some(&json!(true));
    let held = if captured { "amount_captured" } else { "amount" };
    // What a partial capture let go counts as refunded on the charge, but was never paid.
    let released = if captured { number(fields, "amount") - number(fields, held) } else { 0 };
    let refunded = number(fields, "amount_refunded") - released;
    let left = number(fields, held) - refunded;
    if text(fields, "status") != "succeeded" {
        let message = format!("Charge {id} was not paid and cannot be refunded.");
        return Err(Fail::refused("charge_not_refundable", &message));
    }
    if left <= 0 {
        let message = format!("Charge {id} has already been refunded.");
        return Err(Fail::refused("charge_already_refunded", &message));
    }
    let amount = ctx.amount("amount")?.unwrap_or(left);
    if amount > left {
        let message = format!(
            "Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        );
        return Err(Fail::invalid("amount", "amount_too_large", &message));
    }
    if captured {
        ctx.account.book(&currency, -amount);
    }
    let total = refunded + released + amount;
    ctx.set(id, json!({ "amount_refunded": total, "refunded": amount == left }));
    let fields = json!({
        "amount": amount, "currency": currency, "charge": id, "payment_intent": intent,
        "reason": ctx.text("reason"), "status": "succeeded",
        "metadata": ctx.param("metadata").cloned().unwrap_or(json!({})),
    });
    let refund = ctx.create("/v1/refunds", "re", "refund", fields, None);
    let effect = Draft::change(&refund).of(amount, &currency).money(captured);
    ctx.done(&refund, effect)
}
