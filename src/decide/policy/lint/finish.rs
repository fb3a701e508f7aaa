//! What a rule wants finished and is not: it waits for somebody to ask again.

use super::super::code::Code;
use super::super::operations::Operation;
use super::super::problem::Report;
use super::super::{ClientKey, IdentityRule, StoreDown};
use super::{Finding, Ruled, some};

pub(super) fn look(rule: &Ruled<'_>, report: &mut Report<'_>) {
    if rule.rule.finish.is_none() {
        return;
    }
    let name = &rule.rule.name;
    let by_call = matches!(rule.rule.identity, IdentityRule::Call);
    if by_call && rule.rule.client_key == ClientKey::Optional {
        let finding = Finding {
            code: Code::FinishIgnored,
            at: rule.place.value("finish"),
            what: format!(
                "rule `{name}` recognises by call, and a single call is not finished: only what \
                 bears `Payonce-Operation` or an own key is"
            ),
            mend: "give the rule an `identity`, or leave `finish` out".to_owned(),
        };
        rule.place.note(report, None, finding);
    }
    let v2 = |operation: &&&Operation| operation.path.starts_with("/v2/");
    let v2: Vec<&Operation> = rule.operations.iter().filter(v2).copied().collect();
    if !v2.is_empty() && rule.rule.store_down == StoreDown::Derive && !rule.rule.uses_content() {
        let finding = Finding {
            code: Code::FinishIgnored,
            at: rule.place.value("finish"),
            what: format!(
                "rule `{name}` sends v2 requests also while the store is down, and such are not \
                 finished: {}",
                some(&v2)
            ),
            mend: "write store_down = \"refuse\", or give v2 a rule without `finish`".to_owned(),
        };
        rule.place.note(report, None, finding);
    }
}
