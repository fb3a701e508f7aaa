//! Customers and their sources.

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::ctx::{Ctx, Done, Handled};
use super::super::effects::{Draft, Outcome};
use super::instrument::Instrument;

/// `POST /v1/customers`
pub(crate) fn create(ctx: &mut Ctx<'_>) -> Handled {
    let (source, method) = wanted(ctx)?;
    let mut fields = ctx.echo(&["source", "payment_method"]);
    fields.entry("metadata").or_insert(json!({}));
    let default = json!({ "default_payment_method": null });
    fields.entry("invoice_settings").or_insert(default);
    fields.insert("default_source".to_owned(), Value::Null);
    fields.insert("balance".to_owned(), json!(0));
    let fields = Value::Object(fields);
    let id = ctx.create("/v1/customers", "cus", "customer", fields, None);
    keep(ctx, &id, source.as_ref(), method.as_ref());
    ctx.done(&id, Draft::change(&id))
}

/// `POST /v1/customers/{customer}`
pub(crate) fn update(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    ctx.object("customer", id, "customer")?;
    let (source, method) = wanted(ctx)?;
    ctx.merge(id, &["source", "payment_method"]);
    keep(ctx, id, source.as_ref(), method.as_ref());
    ctx.done(id, Draft::change(id))
}

/// `POST /v1/customers/{customer}/sources`
pub(crate) fn add_source(ctx: &mut Ctx<'_>) -> Handled {
    let id = ctx.id();
    ctx.object("customer", id, "customer")?;
    let (source, _) = wanted(ctx)?;
    let source = source.ok_or_else(|| Fail::missing("source"))?;
    let card = source.keep_source(ctx, id);
    if ctx.account.get(id).is_some_and(|o| o.fields.get("default_source") == Some(&Value::Null)) {
        ctx.set(id, json!({ "default_source": card }));
    }
    Ok(Done { body: ctx.shown(&card), effect: Some(Draft::change(card)) })
}

type Wanted = (Option<Instrument>, Option<Instrument>);

/// The source and the payment method that are to be attached; 402 if one cannot be.
fn wanted(ctx: &Ctx<'_>) -> Result<Wanted, Fail> {
    let source = Instrument::given(ctx, "source")?;
    let method = Instrument::given(ctx, "payment_method")?;
    for instrument in source.iter().chain(&method) {
        let declined = || Draft::change(ctx.id()).ended(Outcome::Declined);
        instrument.card.attach().map_err(|fail| fail.recorded(declined()))?;
    }
    Ok((source, method))
}

fn keep(ctx: &mut Ctx<'_>, id: &str, source: Option<&Instrument>, method: Option<&Instrument>) {
    if let Some(source) = source {
        let card = source.keep_source(ctx, id);
        ctx.set(id, json!({ "default_source": card }));
    }
    if let Some(method) = method {
        let method = method.keep(ctx, Some(id));
        ctx.set(&method, json!({ "customer": id }));
    }
    pin_default(ctx, id);
}

/// `invoice_settings[default_payment_method]` may be a well-known name: it becomes an object.
fn pin_default(ctx: &mut Ctx<'_>, id: &str) {
    let Some(name) = ctx.text("invoice_settings.default_payment_method") else { return };
    let Ok(method) = Instrument::find(ctx, name, "invoice_settings[default_payment_method]") else {
        return;
    };
    let method = method.keep(ctx, Some(id));
    ctx.set(id, json!({ "invoice_settings": { "default_payment_method": method } }));
}
