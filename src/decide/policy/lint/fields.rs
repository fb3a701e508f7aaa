//! Fields that an operation does not have, and fields that tell nothing apart.

use toml::Spanned;

use super::super::code::Code;
use super::super::operations::{Operation, Shape};
use super::super::problem::{Report, did_you_mean};
use super::super::{IdentityRule, Otherwise};
use super::{COMPARE, Finding, Ruled, some};
use crate::decide::canonical::FieldPattern;

/// They say who pays or is paid, and how much: the same in the next payment that is meant.
const WHO_AND_HOW_MUCH: [&str; 17] = [
    "account",
    "amount",
    "card",
    "customer",
    "customer_account",
    "destination",
    "email",
    "payment_method",
    "receipt_email",
    "source",
    "metadata[account_id]",
    "metadata[customer]",
    "metadata[customer_id]",
    "metadata[email]",
    "metadata[merchant_id]",
    "metadata[user]",
    "metadata[user_id]",
];

/// They say how it is done, and are often the same in everything that an application sends.
const HOW: [&str; 38] = [
    "amount",
    "application_fee",
    "application_fee_amount",
    "auto_advance",
    "automatic_payment_methods",
    "business_type",
    "cancel_url",
    "capture",
    "capture_method",
    "collection_method",
    "confirm",
    "confirmation_method",
    "country",
    "currency",
    "days_until_due",
    "default_currency",
    "description",
    "error_on_requires_action",
    "expand",
    "locale",
    "method",
    "mode",
    "off_session",
    "on_behalf_of",
    "payment_behavior",
    "payment_method_types",
    "proration_behavior",
    "quantity",
    "reason",
    "return_url",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "success_url",
    "type",
    "ui_mode",
    "unit_amount",
    "use_stripe_sdk",
];

/// Keys of metadata that say where a request comes from.
const WHENCE: [&str; 12] = [
    "app",
    "application",
    "channel",
    "country",
    "env",
    "environment",
    "platform",
    "region",
    "service",
    "source",
    "tenant",
    "version",
];

pub(super) fn look(rule: &Ruled<'_>, report: &mut Report<'_>) {
    let named = Named::of(rule);
    let mut unknown = Vec::new();
    for (key, fields) in named.all() {
        for field in fields {
            if is_unknown(rule, field) {
                unknown.push(*field);
                unknown_field(rule, key, field, report);
            }
        }
    }
    missing(rule, &named, &unknown, report);
    without_value(rule, &named, report);
    too_wide(rule, &named, report);
    weak(rule, &named, report);
}

/// The fields that a rule names, as they are written.
struct Named<'a> {
    identity: Vec<&'a str>,
    distinguishes: Vec<&'a str>,
    required: Vec<&'a str>,
}

impl<'a> Named<'a> {
    fn of(rule: &'a Ruled<'_>) -> Self {
        let identity = match &rule.rule.identity {
            IdentityRule::Call | IdentityRule::Content => Vec::new(),
            IdentityRule::Fields { names, .. } => names.iter().map(FieldPattern::as_str).collect(),
        };
        let required = rule.place.table.get("require_field").map(Spanned::get_ref);
        let required = required.and_then(|value| value.as_array());
        let required = required.into_iter().flat_map(|items| items.iter());
        Self {
            identity,
            distinguishes: rule.rule.distinguishes.iter().map(FieldPattern::as_str).collect(),
            required: required.filter_map(|item| item.get_ref().as_str()).collect(),
        }
    }

    fn all(&self) -> [(&'static str, &[&'a str]); 3] {
        [
            ("identity", &self.identity),
            ("distinguishes", &self.distinguishes),
            ("require_field", &self.required),
        ]
    }
}

/// The parameter that a field is, or is a part of; `None` for one of the query, of which the table
/// knows nothing.
fn root(field: &str) -> Option<&str> {
    field.split('[').next().filter(|root| !root.starts_with('?'))
}

/// Whether the operation may take the field.
fn may_have(operation: &Operation, field: &str) -> bool {
    let known = operation.parameters().is_some();
    !known || root(field).is_none_or(|root| operation.parameter(root).is_some())
}

fn is_unknown(rule: &Ruled<'_>, field: &str) -> bool {
    !rule.operations.is_empty() && !rule.operations.iter().any(|each| may_have(each, field))
}

fn unknown_field(rule: &Ruled<'_>, key: &str, field: &str, report: &mut Report<'_>) {
    let parameters = rule.operations.iter().filter_map(|operation| operation.parameters());
    let mut known: Vec<&str> = parameters.flatten().map(|parameter| parameter.name).collect();
    known.sort_unstable();
    known.dedup();
    let hint = did_you_mean(root(field).unwrap_or_default(), &known, '`');
    let whose = match rule.operations.as_slice() {
        [one] => format!("{} has no field `{field}`{hint}", one.name()),
        many => format!("none of {} has a field `{field}`{hint}", some(many)),
    };
    let finding = Finding {
        code: Code::UnknownField,
        at: rule.place.item(key, field),
        what: whose,
        mend: format!("{COMPARE}, allow = [\"{} {field}: why\"]", Code::UnknownField),
    };
    rule.place.note(report, Some(field), finding);
}

/// Operations of the rule for which the fields can never come together. What no operation has is
/// told already.
fn missing(rule: &Ruled<'_>, named: &Named<'_>, unknown: &[&str], report: &mut Report<'_>) {
    let lacks_one = |fields: &[&str]| -> Vec<&Operation> {
        let known = |field: &&&str| !unknown.contains(field);
        let lacks = |operation: &&&Operation| {
            fields.iter().filter(known).any(|field| !may_have(operation, field))
        };
        rule.operations.iter().filter(lacks).copied().collect()
    };
    let (identity, required) = (lacks_one(&named.identity), lacks_one(&named.required));
    let otherwise = match &rule.rule.identity {
        IdentityRule::Fields { otherwise: Otherwise::Refuse, .. } => Code::RefusedAlways,
        IdentityRule::Call | IdentityRule::Content | IdentityRule::Fields { .. } => {
            Code::FieldMissingOnOperation
        }
    };
    say_missing(rule, otherwise, ("identity", "lack a field of its `identity`"), &identity, report);
    let refused = ("require_field", "lack a field of its `require_field`");
    say_missing(rule, Code::RefusedAlways, refused, &required, report);
    if named.distinguishes.iter().any(|field| !unknown.contains(field)) {
        let lacks_all = |operation: &&&Operation| {
            !named.distinguishes.iter().any(|field| may_have(operation, field))
        };
        let all: Vec<&Operation> = rule.operations.iter().filter(lacks_all).copied().collect();
        let none = ("distinguishes", "have no field of its `distinguishes`");
        say_missing(rule, Code::FieldMissingOnOperation, none, &all, report);
    }
}

fn say_missing(
    rule: &Ruled<'_>,
    code: Code,
    (key, lack): (&str, &str),
    lacking: &[&Operation],
    report: &mut Report<'_>,
) {
    if lacking.is_empty() {
        return;
    }
    let (name, count, all) = (&rule.rule.name, lacking.len(), rule.operations.len());
    let finding = Finding {
        code,
        at: rule.place.value(key),
        what: format!("{count} of {all} operations of rule `{name}` {lack}: {}", some(lacking)),
        mend: "give them a rule of their own, or name a field that they have".to_owned(),
    };
    rule.place.note(report, None, finding);
}

fn without_value(rule: &Ruled<'_>, named: &Named<'_>, report: &mut Report<'_>) {
    for field in named.identity.iter().filter(|field| !field.contains('[')) {
        let shapes = rule.operations.iter().filter_map(|each| each.parameter(field));
        let shapes: Vec<Shape> = shapes.map(|parameter| parameter.shape).collect();
        let Some(first) = shapes.first().filter(|_| !shapes.contains(&Shape::Value)) else {
            continue;
        };
        let (kind, example) = match first {
            Shape::Value => continue,
            Shape::Array => ("an array", format!("{field}[0]")),
            Shape::Object => ("an object", format!("{field}[name]")),
            Shape::Map => ("a map", format!("{field}[order_id]")),
        };
        let finding = Finding {
            code: Code::FieldWithoutValue,
            at: rule.place.item("identity", field),
            what: format!("`{field}` is {kind}, and has no value of its own"),
            mend: format!("name what is in it, as in `{example}`"),
        };
        rule.place.note(report, Some(field), finding);
    }
}

fn too_wide(rule: &Ruled<'_>, named: &Named<'_>, report: &mut Report<'_>) {
    let money = rule.operations.iter().any(|operation| operation.money.is_some());
    let wide = |field: &&str| WHO_AND_HOW_MUCH.contains(field) || says_how(field);
    if !money || named.identity.is_empty() || !named.identity.iter().all(wide) {
        return;
    }
    let finding = Finding {
        code: Code::IdentityTooWide,
        at: rule.place.value("identity"),
        what: format!(
            "the identity of rule `{}` says who pays, how much or how, and not what for",
            rule.rule.name
        ),
        mend: "add the field that names the order, such as `metadata[order_id]`".to_owned(),
    };
    rule.place.note(report, None, finding);
}

fn weak(rule: &Ruled<'_>, named: &Named<'_>, report: &mut Report<'_>) {
    // Where the path names what it is about, even an amount tells most things apart.
    let told_by_path = rule.operations.iter().all(|operation| operation.names_a_thing());
    if told_by_path {
        return;
    }
    for field in named.distinguishes.iter().filter(|field| says_how(field)) {
        let finding = Finding {
            code: Code::WeakDistinguishingField,
            at: rule.place.item("distinguishes", field),
            what: format!(
                "`{field}` does not tell two requests of rule `{}` apart",
                rule.rule.name
            ),
            mend: "name fields that say who pays or what for: `customer`, `metadata[order_id]`"
                .to_owned(),
        };
        rule.place.note(report, Some(field), finding);
    }
}

fn says_how(field: &str) -> bool {
    match field.strip_prefix("metadata") {
        Some("" | "[*]" | "[**]") => true,
        Some(key) => {
            let key = key.strip_prefix('[').and_then(|key| key.strip_suffix(']'));
            key.is_some_and(|key| WHENCE.contains(&key))
        }
        None => root(field).is_some_and(|root| HOW.contains(&root)),
    }
}
