//! Invoices, as far as they move money: pending items are gathered, finalised, paid.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Handled, number, text};
use super::super::effects::{Draft, Outcome};
use super::cards::{Attempt, authentication_required};
use super::charges::Plan;
use super::instrument::Instrument;

const KIND: &str = "invoice";
/// Most pending items that one invoice gathers.
const ITEMS: usize = 250;

/// `POST /v1/invoices`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let customer = ctx.required("customer")?;
    ctx.object("customer", customer, "customer")?;
    let mut fields = ctx.echo(&[]);
    fields.entry("metadata").or_insert(json!({}));
    fields.entry("currency").or_insert(json!("usd"));
    fields.insert("status".to_owned(), json!("draft"));
    let id = ctx.create("/v1/invoices", "in", KIND, Value::Object(fields), None);
    let items = pending(ctx, customer);
    let due: i64 = items.iter().map(|(_, amount)| amount).sum();
    for (item, _) in &items {
        ctx.set(item, json!({ "invoice": id }));
    }
    ctx.set(&id, json!({ "amount_due": due, "amount_paid": 0, "total": due, "paid": false }));
    ctx.done(&id, Draft::change(&id))
}

fn pending(ctx: &Ctx<'_>, customer: &str) -> Vec<(String, i64)> {
    let items = ctx.account.list("/v1/invoiceitems", None).into_iter().flatten();
    items
        .filter(|item| text(&item.fields, "customer") == customer)
        .filter(|item| text(&item.fields, "invoice").is_empty())
        .take(ITEMS)
        .map(|item| (text(&item.fields, "id").to_owned(), number(&item.fields, "amount")))
        .collect()
}

/// `POST /v1/invoices/{invoice}/finalize`
pub(crate) fn finalize(ctx: &mut Ctx<'_>) -> Handled {
    step(ctx, &["draft"], "open")
}

/// `POST /v1/invoices/{invoice}/void`
pub(crate) fn void(ctx: &mut Ctx<'_>) -> Handled {
    step(ctx, &["open", "uncollectible"], "void")
}

fn step(ctx: &mut Ctx<'_>, from: &[&str], to: &str) -> Handled {
    let id = ctx.id();
    let invoice = ctx.object(KIND, id, "invoice")?;
    let status = text(&invoice.fields, "status");
    if !from.contains(&status) {
        return Err(unexpected(status));
    }
    ctx.set(id, json!({ "status": to }));
    ctx.done(id, Draft::change(id))
}

/// `POST /v1/invoices/{invoice}/pay`
pub(crate) fn pay(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    let invoice = ctx.object(KIND, id, "invoice")?;
    let status = text(&invoice.fields, "status").to_owned();
    let customer = text(&invoice.fields, "customer").to_owned();
    if !["draft", "open"].contains(&status.as_str()) {
        return Err(unexpected(&status));
    }
    let given = Instrument::given(ctx, "payment_method")?;
    let method = given.or_else(|| Instrument::default_of(ctx, &customer)).ok_or_else(no_source)?;
    charge(ctx, id, &customer, &method)
}

/// Charges what an invoice says is due.
pub(crate) fn charge(ctx: &mut Ctx<'_>, id: &str, customer: &str, method: &Instrument) -> Handled {
    let Some(invoice) = ctx.account.get(id) else { return Err(Fail::no_such(KIND, id, "invoice")) };
    let amount = number(&invoice.fields, "amount_due");
    let currency = text(&invoice.fields, "currency").to_owned();
    let stored = method.keep(ctx, Some(customer));
    let plan = Plan {
        amount,
        currency: &currency,
        customer: Some(customer),
        method: &stored,
        intent: None,
        capture: true,
    };
    let draft = Draft::change(id).of(amount, &currency);
    let mut fail = match method.card.charge() {
        Attempt::Paid => {
            let charge = (amount > 0).then(|| plan.paid(ctx));
            ctx.set(
                id,
                json!({ "status": "paid", "paid": true, "amount_paid": amount, "charge": charge }),
            );
            return ctx.done(id, draft.money(amount > 0));
        }
        Attempt::Authenticate => authentication_required(),
        Attempt::Declined(fail) => fail,
    };
    let charge = plan.failed(ctx, &fail);
    ctx.set(id, json!({ "status": "open", "charge": charge }));
    fail.put("charge", json!(charge));
    Err(fail.recorded(draft.ended(Outcome::Declined)))
}

/// 400: nothing to charge.
pub(crate) fn no_source() -> Fail {
    Fail::refused(
        "resource_missing",
        "This customer has no attached payment source or default payment method.",
    )
}

fn unexpected(status: &str) -> Fail {
    let message = format!("This invoice has a status of {status}.");
    Fail::refused("invoice_not_editable", &message)
}
