//! `/_sandbox/…`: what happened, what is to go wrong, what time it is. No API key is asked for: the
//! sandbox holds nothing but play money.

use std::time::Duration;

use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

use super::answer::{Answer, Fail, bad_request, unrecognized};
use super::effects::Effect;
use super::faults::Fault;
use super::{Rules, Shared, Webhook};

/// Answers a control request.
pub(crate) fn answer(shared: &Shared, head: &Parts, body: &[u8]) -> Answer {
    match route(shared, head, body) {
        Ok(body) => Answer::json(200, &body),
        Err(fail) => fail.into(),
    }
}

fn route(shared: &Shared, head: &Parts, body: &[u8]) -> Result<Value, Fail> {
    let path = head.uri.path();
    let what = path.strip_prefix("/_sandbox/").unwrap_or_default();
    match (what, &head.method) {
        ("effects", &Method::GET) => Ok(effects(shared, head.uri.query().unwrap_or_default())),
        ("effects", &Method::DELETE) => {
            shared.lock().state.clear_effects();
            Ok(json!({ "cleared": true }))
        }
        ("faults", &Method::GET) => Ok(faults(shared)),
        ("faults", &Method::POST) => add_faults(shared, &object(body)?),
        ("faults", &Method::DELETE) => {
            shared.lock().plan.clear();
            Ok(faults(shared))
        }
        ("clock", &Method::GET) => Ok(json!({ "now_ms": shared.now() })),
        ("clock", &Method::POST) => advance(shared, &object(body)?),
        ("requests", &Method::GET) => {
            let inner = shared.lock();
            Ok(json!({ "requests": inner.log.all().collect::<Vec<_>>() }))
        }
        ("requests", &Method::DELETE) => {
            shared.lock().log.clear();
            Ok(json!({ "cleared": true }))
        }
        ("authenticate", &Method::POST) => authenticate(shared, &object(body)?),
        ("rules", &Method::POST) => {
            let rules: Rules = serde_json::from_slice(body)
                .map_err(|error| bad_request(&format!("Not a set of rules: {error}.")))?;
            shared.lock().state.set_rules(rules);
            Ok(json!(rules))
        }
        ("webhooks", &Method::GET) => Ok(webhooks(shared)),
        ("webhooks", &Method::POST) => add_webhooks(shared, &object(body)?),
        ("webhooks", &Method::DELETE) => {
            shared.set_webhooks(Vec::new());
            Ok(webhooks(shared))
        }
        ("reset", &Method::POST) => {
            shared.reset();
            Ok(json!({ "reset": true }))
        }
        (_, _) => Err(unrecognized(&head.method, path)),
    }
}

fn object(body: &[u8]) -> Result<Value, Fail> {
    serde_json::from_slice(body).map_err(|error| bad_request(&format!("Invalid JSON: {error}.")))
}

/// All effects, or those with this `intent`, `key`, `operation`, `object` or `money`.
fn effects(shared: &Shared, query: &str) -> Value {
    let filters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let wanted = |effect: &Effect| {
        filters.iter().all(|(name, value)| match name.as_ref() {
            "intent" => effect.intent.as_deref() == Some(value),
            "key" => effect.key.as_deref() == Some(value),
            "operation" => effect.operation == *value,
            "object" => effect.object == *value,
            "scope" => effect.scope == *value,
            "money" => effect.money.to_string() == *value,
            _ => false,
        })
    };
    let inner = shared.lock();
    let found: Vec<&Effect> = inner.state.effects().iter().filter(|e| wanted(e)).collect();
    json!({ "count": found.len(), "effects": found })
}

fn faults(shared: &Shared) -> Value {
    let inner = shared.lock();
    let counts = inner.plan.counts();
    let total: u64 = counts.values().sum();
    json!({ "faults": inner.plan.faults(), "counts": counts, "total": total })
}

/// One fault, a list of them, or `{"faults": […]}`.
fn add_faults(shared: &Shared, body: &Value) -> Result<Value, Fail> {
    let one = std::slice::from_ref(body);
    let list = body.as_array().or_else(|| body.get("faults")?.as_array());
    let list = list.map_or(one, Vec::as_slice);
    let read = list.iter().map(Fault::read).collect::<Result<Vec<_>, _>>();
    let added = read.and_then(|read| shared.lock().plan.add(read));
    added.map_err(|problem| bad_request(&format!("Not a fault: {problem}.")))?;
    Ok(faults(shared))
}

fn webhooks(shared: &Shared) -> Value {
    let inner = shared.lock();
    json!({ "webhooks": inner.webhooks, "sent": inner.sent })
}

/// One endpoint, or a list of them.
fn add_webhooks(shared: &Shared, body: &Value) -> Result<Value, Fail> {
    let list = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
    let read = list.iter().map(Webhook::read).collect::<Result<Vec<_>, _>>();
    let read =
        read.map_err(|problem| bad_request(&format!("Not a webhook endpoint: {problem}.")))?;
    let mut all = shared.lock().webhooks.clone();
    all.extend(read);
    shared.set_webhooks(all);
    Ok(webhooks(shared))
}

fn advance(shared: &Shared, body: &Value) -> Result<Value, Fail> {
    let seconds = body.get("advance_seconds").and_then(Value::as_u64);
    let seconds = seconds.ok_or_else(|| Fail::missing("advance_seconds"))?;
    shared.advance(Duration::from_secs(seconds));
    Ok(json!({ "now_ms": shared.now() }))
}

fn authenticate(shared: &Shared, body: &Value) -> Result<Value, Fail> {
    let id = body.get("payment_intent").and_then(Value::as_str);
    let id = id.ok_or_else(|| Fail::missing("payment_intent"))?;
    if shared.lock().state.authenticate(id) {
        return Ok(json!({ "authenticated": id }));
    }
    Err(Fail::no_such("payment_intent in requires_action", id, "payment_intent"))
}
