//! What a handler works with: one call, and the objects of its scope.

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;

use super::answer::Fail;
use super::call::{Call, Family};
use super::effects::Draft;
use super::mint::Mint;
use super::objects::cards::Card;
use super::routes::Route;
use super::store::{Account, Object};

/// What came of an executed call.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) body: Value,
    pub(crate) effect: Option<Draft>,
}

/// A call's end: nothing has been changed where it failed without an effect.
pub(crate) type Handled = Result<Done, Fail>;

/// One call at work.
pub(crate) struct Ctx<'a> {
    pub(crate) call: &'a Call,
    pub(crate) route: &'a Route,
    /// The path segments that stand in the template's braces.
    pub(crate) ids: Vec<&'a str>,
    pub(crate) account: &'a mut Account,
    pub(crate) mint: &'a mut Mint,
    pub(crate) now: Timestamp,
}

impl<'a> Ctx<'a> {
    /// The first id in the path.
    pub(crate) fn id(&self) -> &'a str {
        self.ids.first().copied().unwrap_or_default()
    }

    /// A parameter; `a.b` is `a[b]`.
    pub(crate) fn param(&self, name: &str) -> Option<&'a Value> {
        let call = self.call;
        name.split('.').try_fold(&call.params, |value, part| value.get(part))
    }

    /// A parameter's text, if it is not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.param(name)?.as_str().filter(|text| !text.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'a str, Fail> {
        self.text(name).ok_or_else(|| Fail::missing(name))
    }

    /// Whether a parameter says `true`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        let text = |value: &Value| value.as_str().is_some_and(|it| it.eq_ignore_ascii_case("true"));
        self.param(name).is_some_and(|value| value == &json!(true) || text(value))
    }

    /// A whole number, at least 1.
    pub(crate) fn amount(&self, name: &str) -> Result<Option<i64>, Fail> {
        let Some(value) = self.param(name) else { return Ok(None) };
        let read = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        match read {
            None => Err(Fail::invalid(name, "parameter_invalid_integer", "Invalid integer.")),
            Some(..1) => {
                let message = "This value must be greater than or equal to 1.";
                Err(Fail::invalid(name, "parameter_invalid_integer", message))
            }
            Some(amount) => Ok(Some(amount)),
        }
    }

    /// A whole number that must be there.
    pub(crate) fn required_amount(&self, name: &str) -> Result<i64, Fail> {
        self.amount(name)?.ok_or_else(|| Fail::missing(name))
    }

    /// `currency`, in lower case.
    pub(crate) fn currency(&self) -> Result<String, Fail> {
        let currency = self.required("currency")?.to_ascii_lowercase();
        if currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_lowercase()) {
            return Ok(currency);
        }
        let message = format!("Invalid currency: {currency}.");
        Err(Fail::invalid("currency", "parameter_invalid_string", &message))
    }

    /// The object `id` if it is a `kind`, else 404 that names `param`.
    pub(crate) fn object(&self, kind: &str, id: &str, param: &str) -> Result<&Object, Fail> {
        self.account
            .get(id)
            .filter(|object| is(&object.fields, kind))
            .ok_or_else(|| Fail::no_such(kind, id, param))
    }

    /// The fields every new object begins with.
    pub(crate) fn fresh(&self, id: &str, kind: &str) -> Map<String, Value> {
        let created = match self.call.family() {
            Family::V1 => json!(self.now.as_millis() / 1000),
            Family::V2 => json!(iso8601(self.now)),
        };
        let mut fields = Map::new();
        fields.insert("id".to_owned(), json!(id));
        fields.insert("object".to_owned(), json!(kind));
        fields.insert("created".to_owned(), created);
        fields.insert("livemode".to_owned(), json!(false));
        fields
    }

    /// Makes an object in the collection `place` out of `fields`, with a minted id, and gives the
    /// id.
    pub(crate) fn create(
        &mut self,
        place: &str,
        prefix: &str,
        kind: &str,
        fields: Value,
        card: Option<Card>,
    ) -> String {
        let id = self.mint.id(prefix);
        let mut object = self.fresh(&id, kind);
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        self.account.insert(place, &id, object, card);
        id
    }

    /// Sets fields of an object.
    pub(crate) fn set(&mut self, id: &str, fields: Value) {
        if let (Some(object), Value::Object(fields)) = (self.account.get_mut(id), fields) {
            object.fields.extend(fields);
        }
    }

    /// Merges parameters into an object as Stripe's updates do: metadata by key, an empty value
    /// unsets, `except` are left alone.
    pub(crate) fn merge(&mut self, id: &str, except: &[&str]) {
        let call = self.call;
        let (Some(object), Some(params)) = (self.account.get_mut(id), call.params.as_object())
        else {
            return;
        };
        let skipped = |name: &str| except.contains(&name) || UNSEEN.contains(&name);
        for (name, value) in params.iter().filter(|(name, _)| !skipped(name)) {
            merge(&mut object.fields, name, value);
        }
    }

    /// The parameters as an object would show them, without `except`.
    pub(crate) fn echo(&self, except: &[&str]) -> Map<String, Value> {
        let mut fields = Map::new();
        for (name, value) in self.call.params.as_object().into_iter().flatten() {
            if !except.contains(&name.as_str()) && !UNSEEN.contains(&name.as_str()) {
                merge(&mut fields, name, value);
            }
        }
        fields
    }

    /// An object as the API shows it.
    pub(crate) fn shown(&self, id: &str) -> Value {
        self.account.get(id).map_or(Value::Null, |object| Value::Object(object.fields.clone()))
    }

    /// The end of a call that changed `id`.
    #[expect(clippy::unnecessary_wraps, reason = "what a handler returns")]
    pub(crate) fn done(&self, id: &str, effect: Draft) -> Handled {
        Ok(Done { body: self.shown(id), effect: Some(effect) })
    }
}

/// Parameters that no object shows.
const UNSEEN: [&str; 4] = ["expand", "include", "id", "object"];

fn merge(fields: &mut Map<String, Value>, name: &str, value: &Value) {
    if name == "metadata"
        && let (Some(Value::Object(old)), Value::Object(new)) = (fields.get_mut(name), value)
    {
        for (key, value) in new {
            if value == &json!("") {
                old.remove(key);
            } else {
                old.insert(key.clone(), value.clone());
            }
        }
        return;
    }
    // What an object shows as a list (a subscription's items) is not replaced by parameters.
    if fields.get(name).and_then(|old| old.get("object")) == Some(&json!("list")) {
        return;
    }
    let value = if value == &json!("") { Value::Null } else { typed(name, value) };
    fields.insert(name.to_owned(), value);
}

/// Form values are text; those that every SDK expects as numbers or booleans become such.
fn typed(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if name != "metadata" => {
            let numeric = name.ends_with("amount")
                || ["quantity", "interval_count", "exp_month", "exp_year"].contains(&name);
            match (text.as_str(), numeric) {
                ("true", _) => json!(true),
                ("false", _) => json!(false),
                (text, true) => text.parse::<i64>().map_or_else(|_| value.clone(), |n| json!(n)),
                (_, false) => value.clone(),
            }
        }
        Value::Object(map) if name != "metadata" => {
            Value::Object(map.iter().map(|(k, v)| (k.clone(), typed(k, v))).collect())
        }
        Value::Array(items) => items.iter().map(|item| typed(name, item)).collect(),
        Value::String(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {
            value.clone()
        }
    }
}

/// Whether these are the fields of a `kind`.
pub(crate) fn is(fields: &Map<String, Value>, kind: &str) -> bool {
    fields.get("object").and_then(Value::as_str) == Some(kind)
}

/// A text field.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> &'a str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A numeric field; 0 if it is not there.
pub(crate) fn number(fields: &Map<String, Value>, name: &str) -> i64 {
    fields.get(name).and_then(Value::as_i64).unwrap_or_default()
}

/// `2026-01-02T03:04:05.678Z`, after Howard Hinnant's civil-from-days.
pub(crate) fn iso8601(at: Timestamp) -> String {
    let (seconds, millis) = (at.as_millis() / 1000, at.as_millis() % 1000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, doe) = (shifted / 146_097, shifted % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    let (h, m, s) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_times_are_iso_8601() {
        let at = |millis| iso8601(Timestamp::from_millis(millis));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
    }

    #[test]
    fn form_values_become_what_sdks_expect() {
        assert_eq!(typed("unit_amount", &json!("500")), json!(500));
        assert_eq!(typed("active", &json!("true")), json!(true));
        assert_eq!(typed("metadata", &json!({"amount": "5"})), json!({"amount": "5"}));
    }
}
