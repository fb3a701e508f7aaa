//! A key of Stripe's in a policy that is sound otherwise: in a name, a message, a reason, a path.
//!
//! Such texts go to logs, metrics and answers as they are, so that none may hold a secret.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::code::Code;
use super::problem::Report;
use crate::decide::shown::holds_key;

/// Notes every text in `table` that holds one.
pub(super) fn look(table: &DeTable<'_>, report: &mut Report<'_>) {
    for (_key, value) in table {
        look_at(value, report);
    }
}

fn look_at(value: &Spanned<DeValue<'_>>, report: &mut Report<'_>) {
    match value.get_ref() {
        DeValue::String(text) if holds_key(text) => {
            let what = "this looks like an API key or a webhook's secret, which has no place here";
            let mend = "take it out; if it is a real one, roll it";
            report.add_as(Code::SecretInPolicy, value.span(), what, mend);
        }
        DeValue::Array(items) => items.iter().for_each(|item| look_at(item, report)),
        DeValue::Table(entries) => look(entries, report),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}
