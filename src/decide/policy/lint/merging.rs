//! Two requests that are taken for one operation, where they can well be two.

use std::time::Duration;

use super::super::code::Code;
use super::super::operations::Operation;
use super::super::problem::Report;
use super::super::{Class, Indeterminate, Merge};
use super::{Finding, Ruled, some};

/// A double click or a job that runs twice is over by then; somebody who buys again may not be.
const LONG: Duration = Duration::from_mins(2);

pub(super) fn look(rule: &Ruled<'_>, report: &mut Report<'_>) {
    match rule.rule.class {
        Class::Pass | Class::Refuse => {}
        Class::Critical => {
            twins(rule, report);
            window(rule, report);
            updates(rule, report);
            next(rule, report);
        }
    }
}

fn those(rule: &Ruled<'_>, which: impl Fn(&Operation) -> bool) -> Vec<&'static Operation> {
    rule.operations.iter().copied().filter(|operation| which(operation)).collect()
}

fn has_twins(rule: &Ruled<'_>) -> bool {
    rule.rule.uses_content() && rule.rule.merge == Merge::Twins
}

fn twins(rule: &Ruled<'_>, report: &mut Report<'_>) {
    let batch = those(rule, |operation| operation.batch);
    if !has_twins(rule) || batch.is_empty() {
        return;
    }
    let finding = Finding {
        code: Code::TwinsOnBatch,
        at: rule.place.value("merge"),
        what: format!(
            "rule `{}` merges equal requests for what is sent in batches: {}",
            rule.rule.name,
            some(&batch)
        ),
        mend: "write merge = \"lost\", or name a field that differs in identity".to_owned(),
    };
    rule.place.note(report, None, finding);
}

fn window(rule: &Ruled<'_>, report: &mut Report<'_>) {
    if !has_twins(rule) || rule.rule.repeat_window <= LONG {
        return;
    }
    let finding = Finding {
        code: Code::LongRepeatWindow,
        at: rule.place.value("repeat_window"),
        what: format!(
            "rule `{}` takes an equal request for the same operation for {}",
            rule.rule.name,
            rule.place.text("repeat_window").unwrap_or_default()
        ),
        mend: "write at most \"2m\"; a job that runs again later is told by identity fields or \
               `Payonce-Operation`"
            .to_owned(),
    };
    rule.place.note(report, None, finding);
}

fn updates(rule: &Ruled<'_>, report: &mut Report<'_>) {
    let again = those(rule, Operation::may_be_meant_again);
    if !rule.rule.recognises() || again.is_empty() {
        return;
    }
    let finding = Finding {
        code: Code::RecognisedUpdate,
        at: rule.place.value("identity"),
        what: format!(
            "rule `{}` recognises by content or fields what may be meant again: {}",
            rule.rule.name,
            some(&again)
        ),
        mend: "give these operations a rule by call: without `identity`".to_owned(),
    };
    rule.place.note(report, None, finding);
}

fn next(rule: &Ruled<'_>, report: &mut Report<'_>) {
    let money = those(rule, |operation| operation.money.is_some());
    if rule.rule.indeterminate != Indeterminate::Next || money.is_empty() {
        return;
    }
    let finding = Finding {
        code: Code::NextOnMoney,
        at: rule.place.value("indeterminate"),
        what: format!(
            "rule `{}` starts anew after an outcome that nobody knows: {}",
            rule.rule.name,
            some(&money)
        ),
        mend: "write \"hold\": a person or a later outcome resolves it (`payonce ops`)".to_owned(),
    };
    rule.place.note(report, None, finding);
}
