//! Every other operation that Stripe lists: objects that echo what they were given.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::answer::Fail;
use super::super::call::Family;
use super::super::ctx::{Ctx, Done, Handled, text};
use super::super::effects::Draft;
use super::Handler;

/// Most objects in one page of a list.
const PAGE: usize = 100;

/// What an operation does, by the look of its path.
pub(crate) fn handler(shape: &str, shapes: &HashSet<String>) -> Handler {
    let (method, path) = shape.split_once(' ').unwrap_or((shape, ""));
    let by_id = path.ends_with("/{}");
    let known = |method: &str, path: &str| shapes.contains(&format!("{method} {path}"));
    let collection =
        known("GET", &format!("{path}/{{}}")) || known("POST", &format!("{path}/{{}}"));
    let nested = path.contains("{}");
    match (method, by_id) {
        ("GET", true) => retrieve,
        ("GET", false) if path.ends_with("/search") => search,
        ("GET", false) if collection || path.ends_with('s') => list,
        ("GET", false) => single,
        ("DELETE", true) => delete,
        ("DELETE", false) => clear,
        (_, true) => update,
        (_, false) if !nested || collection || known("GET", path) => create,
        (_, false) => act,
    }
}

fn place(ctx: &Ctx<'_>) -> String {
    format!("/{}", ctx.call.segments.join("/"))
}

/// The last literal segments of the template: `checkout`, `sessions`.
fn names<'a>(ctx: &'a Ctx<'_>) -> Vec<&'a str> {
    let path = ctx.route.shape.split_once(' ').map_or("", |(_, path)| path);
    let path = path.trim_end_matches("/search");
    path.split('/').skip(2).filter(|segment| *segment != "{}").collect()
}

/// `checkout.session`, `tax_id`, `v2.core.account`.
fn kind(ctx: &Ctx<'_>) -> String {
    let names = names(ctx);
    let (last, before) = names.split_last().map_or(("object", &[][..]), |(l, b)| (*l, b));
    let one = match last {
        "addresses" => "address",
        "accounts" => "account",
        other if other.ends_with("ies") => {
            return format!("{}y", other.trim_end_matches("ies"));
        }
        other => other.strip_suffix('s').unwrap_or(other),
    };
    let one = if one == "people" { "person" } else { one };
    let nested = ctx.route.shape.contains("/{}/");
    match (ctx.call.family(), before) {
        (Family::V2, [group, ..]) => format!("v2.{group}.{one}"),
        (Family::V1, [group]) if !nested => format!("{group}.{one}"),
        (Family::V1 | Family::V2, _) => one.to_owned(),
    }
}

fn prefix(kind: &str) -> &str {
    match kind {
        "account" | "v2.core.account" => "acct",
        "product" => "prod",
        "promotion_code" => "promo",
        "checkout.session" => "cs_test",
        "invoiceitem" => "ii",
        "subscription_item" => "si",
        "subscription_schedule" => "sub_sched",
        "webhook_endpoint" => "we",
        "payment_link" => "plink",
        "quote" => "qt",
        "file_link" => "link",
        "source" => "src",
        "tax_rate" => "txr",
        "tax_id" => "txi",
        "dispute" => "du",
        "credit_note" => "cn",
        "shipping_rate" => "shr",
        "ephemeral_key" => "ephkey",
        "billing_portal.session" => "bps",
        "billing.meter" => "mtr",
        "identity.verification_session" => "vs",
        "terminal.reader" => "tmr",
        "terminal.location" => "tml",
        "issuing.card" => "ic",
        "issuing.cardholder" => "ich",
        "test_helpers.test_clock" => "clock",
        other => {
            let last = other.rsplit('.').next().unwrap_or(other);
            last.get(..5).unwrap_or(last).trim_end_matches('_')
        }
    }
}

fn create(ctx: &mut Ctx<'_>) -> Handled {
    if let ([parent, ..], true) = (ctx.ids.as_slice(), ctx.route.shape.contains("/{}/")) {
        let known = ctx.account.get(parent).is_some() || parent.starts_with("acct_");
        if !known {
            return Err(Fail::no_such("object", parent, "id"));
        }
    }
    let (kind, place) = (kind(ctx), place(ctx));
    let mut fields = ctx.echo(&[]);
    fields.entry("metadata").or_insert(json!({}));
    let chosen = ctx.text("id");
    if chosen.is_some_and(|id| ctx.account.get(id).is_some()) {
        let message = format!("{kind} already exists.");
        return Err(Fail::invalid("id", "resource_already_exists", &message));
    }
    let id = match chosen {
        Some(id) => {
            let mut object = ctx.fresh(id, &kind);
            object.extend(fields);
            ctx.account.insert(&place, id, object, None);
            id.to_owned()
        }
        None => ctx.create(&place, prefix(&kind), &kind, Value::Object(fields), None),
    };
    let effect = effect(ctx, &id);
    ctx.done(&id, effect)
}

/// An effect with the amount and currency that the call named.
fn effect(ctx: &Ctx<'_>, id: &str) -> Draft {
    let mut draft = Draft::change(id);
    draft.amount = ctx.amount("amount").ok().flatten();
    draft.currency = ctx.text("currency").map(str::to_ascii_lowercase);
    draft
}

/// The object that the path names last.
fn named<'a>(ctx: &Ctx<'a>) -> Result<&'a str, Fail> {
    let id = ctx.ids.last().copied().unwrap_or_default();
    match ctx.account.get(id) {
        Some(_) => Ok(id),
        None => Err(Fail::no_such(&kind(ctx), id, "id")),
    }
}

fn update(ctx: &mut Ctx<'_>) -> Handled {
    let id = named(ctx)?;
    ctx.merge(id, &["status"]);
    ctx.done(id, effect(ctx, id))
}

/// `POST …/{id}/verb`: the object takes what it was given, and remembers the verb.
fn act(ctx: &mut Ctx<'_>) -> Handled {
    let id = named(ctx)?;
    let verb = ctx.call.segments.last().cloned().unwrap_or_default();
    ctx.merge(id, &["status"]);
    ctx.set(id, json!({ "last_action": verb }));
    ctx.done(id, effect(ctx, id))
}

fn retrieve(ctx: &mut Ctx<'_>) -> Handled {
    let id = named(ctx)?;
    Ok(Done { body: ctx.shown(id), effect: None })
}

fn delete(ctx: &mut Ctx<'_>) -> Handled {
    let id = named(ctx)?;
    let kind = ctx.account.get(id).map(|object| text(&object.fields, "object").to_owned());
    ctx.account.remove(id);
    let body = json!({ "id": id, "object": kind, "deleted": true });
    Ok(Done { body, effect: Some(Draft::change(id)) })
}

/// `DELETE …/{id}/discount`
fn clear(ctx: &mut Ctx<'_>) -> Handled {
    let id = named(ctx)?;
    let part = ctx.call.segments.last().cloned().unwrap_or_default();
    ctx.set(id, json!({ part.clone(): null }));
    let body = json!({ "object": part, "deleted": true });
    Ok(Done { body, effect: Some(Draft::change(id)) })
}

/// What there is one of: `/v1/account`, `/v1/tax/settings`.
fn single(ctx: &mut Ctx<'_>) -> Handled {
    if !ctx.ids.is_empty() {
        named(ctx)?;
    }
    let kind = kind(ctx);
    let body = match ctx.call.family() {
        Family::V1 if kind == "account" => json!({
            "id": format!("acct_{}", ctx.call.scope.split('|').next().unwrap_or_default()),
            "object": "account", "charges_enabled": true, "payouts_enabled": true,
        }),
        Family::V1 | Family::V2 => json!({ "object": kind, "livemode": false }),
    };
    Ok(Done { body, effect: None })
}

fn list(ctx: &mut Ctx<'_>) -> Handled {
    page(ctx, "list", &place(ctx))
}

fn search(ctx: &mut Ctx<'_>) -> Handled {
    let place = place(ctx);
    page(ctx, "search_result", place.trim_end_matches("/search"))
}

fn page(ctx: &Ctx<'_>, kind: &str, place: &str) -> Handled {
    let limit = ctx.amount("limit")?.unwrap_or(10);
    let limit = usize::try_from(limit).unwrap_or(PAGE).min(PAGE);
    let after = ctx.text("starting_after").or_else(|| ctx.text("page"));
    let objects = ctx
        .account
        .list(place, after)
        .ok_or_else(|| Fail::no_such("object", after.unwrap_or_default(), "starting_after"))?;
    let mut found = objects.filter(|object| wanted(ctx, &object.fields));
    let data: Vec<Value> =
        found.by_ref().take(limit).map(|object| Value::Object(object.fields.clone())).collect();
    let more = found.next().is_some();
    let next = data.last().and_then(|last| last.get("id")).filter(|_| more).and_then(Value::as_str);
    let body = match ctx.call.family() {
        Family::V1 => json!({ "object": kind, "data": data, "has_more": more, "url": place }),
        Family::V2 => json!({
            "data": data, "previous_page_url": null,
            "next_page_url": next.map(|id| format!("{place}?page={id}&limit={limit}")),
        }),
    };
    Ok(Done { body, effect: None })
}

/// Whether an object fits the list's filters: those of its own top-level text fields.
fn wanted(ctx: &Ctx<'_>, fields: &serde_json::Map<String, Value>) -> bool {
    const PAGING: [&str; 7] =
        ["limit", "starting_after", "ending_before", "page", "expand", "created", "query"];
    let params = ctx.call.params.as_object();
    params.into_iter().flatten().all(|(name, value)| {
        // Form values are text: `active=true` is meant for a field that is not.
        let same = |field: &Value| {
            let own = field.as_str().map_or_else(|| field.to_string(), str::to_owned);
            value.as_str().is_none_or(|text| own == text)
        };
        PAGING.contains(&name.as_str()) || fields.get(name).is_none_or(same)
    })
}
