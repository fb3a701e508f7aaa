//! `expand[]`: ids in an answer become the objects that they name.

use serde_json::Value;

use super::store::Account;

/// Most paths in one request.
const PATHS: usize = 20;
/// Deepest path, as Stripe has it.
const DEPTH: usize = 4;

/// Expands `body` along the paths that `params` ask for. What is not there stays as it is.
pub(crate) fn expand(account: &Account, params: &Value, body: &mut Value) {
    let paths = params.get("expand").and_then(Value::as_array);
    for path in paths.into_iter().flatten().filter_map(Value::as_str).take(PATHS) {
        let parts: Vec<&str> = path.split('.').collect();
        if parts.len() <= DEPTH {
            along(account, body, &parts);
        }
    }
}

fn along(account: &Account, value: &mut Value, path: &[&str]) {
    if let Some(object) = value.as_str().and_then(|id| account.get(id)) {
        *value = Value::Object(object.fields.clone());
    }
    let [first, rest @ ..] = path else { return };
    match value {
        Value::Array(items) => {
            for item in items {
                along(account, item, path);
            }
        }
        Value::Object(fields) => {
            if let Some(next) = fields.get_mut(*first) {
                along(account, next, rest);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
