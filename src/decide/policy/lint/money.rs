//! Operations that move money and are not protected.

use super::super::code::Code;
use super::super::coverage::Coverage;
use super::super::operations::Operation;
use super::super::problem::Report;
use super::super::{Class, Mode, Policy};
use super::{Finding, Place, Ruled, some};

pub(super) fn look(rule: &Ruled<'_>, report: &mut Report<'_>) {
    let money: Vec<&Operation> = moving(rule.operations.iter().copied());
    let Some(what) = what(&money) else { return };
    let (name, listed) = (&rule.rule.name, some(&money));
    if rule.rule.class == Class::Pass {
        let finding = Finding {
            code: Code::MoneyPassed,
            at: rule.place.value("class"),
            what: format!("rule `{name}` passes what {what}: {listed}"),
            mend:
                "write class = \"critical\", or give these operations a rule of their own before \
                   this one"
                    .to_owned(),
        };
        rule.place.note(report, None, finding);
    }
    let observed = rule.place.text("mode") == Some(Mode::Observe.as_str());
    if observed && rule.rule.class == Class::Critical {
        let finding = Finding {
            code: Code::MoneyObserved,
            at: rule.place.value("mode"),
            what: format!("rule `{name}` only observes what {what}: {listed}"),
            mend: "write mode = \"enforce\" once the report is as expected".to_owned(),
        };
        rule.place.note(report, None, finding);
    }
}

/// What no rule names, and what holds for all rules.
pub(super) fn of_the_file(
    policy: &Policy,
    coverage: &Coverage,
    (whole, rules): (&Place<'_>, &[Ruled<'_>]),
    report: &mut Report<'_>,
) {
    if policy.mode() == Mode::Observe {
        let enforced = |rule: &&Ruled<'_>| rule.place.text("mode") == Some(Mode::Enforce.as_str());
        let but = match rules.iter().filter(enforced).count() {
            0 => String::new(),
            count => format!(", but for {count} of {} rules", rules.len()),
        };
        let finding = Finding {
            code: Code::ObserveMode,
            at: whole.value("mode"),
            what: format!("the policy only observes{but}"),
            mend: "write mode = \"enforce\" once the report is as expected".to_owned(),
        };
        whole.note(report, None, finding);
    }
    if whole.text("default_writes") == Some(Class::Pass.as_str()) {
        let unnamed = coverage.lines.iter().filter(|line| !line.is_named());
        let money = moving(unnamed.map(|line| line.operation));
        let which = match money.first() {
            None => "none of those that are known moves money".to_owned(),
            Some(_) => format!("{} of them move money: {}", money.len(), some(&money)),
        };
        let finding = Finding {
            code: Code::DefaultWritesPass,
            at: whole.value("default_writes"),
            what: format!("writes that no rule names are passed; {which}"),
            mend: "write \"critical\", and name in a rule what is really to be passed".to_owned(),
        };
        whole.note(report, None, finding);
    }
}

fn moving(operations: impl Iterator<Item = &'static Operation>) -> Vec<&'static Operation> {
    operations.filter(|operation| operation.money.is_some()).collect()
}

/// What they all do with the money; `None` if there is none.
fn what(money: &[&Operation]) -> Option<&'static str> {
    let first = money.first()?.money?;
    let all = money.iter().all(|operation| operation.money == Some(first));
    Some(if all { first.what() } else { "moves money" })
}
