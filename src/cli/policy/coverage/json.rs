//! The coverage of a policy, for tools.

use serde_json::{Value, json};

use super::{Asked, Failure, identity, merge, money, name_of};
use crate::decide::canonical::FieldPattern;
use crate::decide::policy::coverage::{Idle, Line};
use crate::decide::policy::{Class, IdentityRule};

pub(super) fn text(asked: &Asked, failures: &[Failure]) -> String {
    let lines = asked.coverage.lines.iter().enumerate();
    let operations: Vec<Value> =
        lines.map(|(index, line)| operation(line, asked.calls(index))).collect();
    let name = |line: &&Line| line.operation.name();
    let page = json!({
        "policy": asked.file,
        "version": asked.policy.version(),
        "rules": asked.policy.rules().len(),
        "operations": operations,
        "unnamed_money_moving": asked.unnamed(true).iter().map(name).collect::<Vec<_>>(),
        "unnamed_other": asked.unnamed(false).iter().map(name).collect::<Vec<_>>(),
        "unmatched": asked.coverage.idle.iter().map(idle).collect::<Vec<_>>(),
        "observed": observed(asked),
        "failed": failures
            .iter()
            .map(|failure| json!({ "what": name_of(failure.what), "names": failure.names }))
            .collect::<Vec<_>>(),
    });
    format!("{page:#}\n")
}

fn operation(line: &Line, calls: Option<u64>) -> Value {
    let (word, otherwise) = identity(line);
    let identity = match (line.rule.class, &line.rule.identity) {
        (Class::Pass | Class::Refuse, _) => Value::Null,
        (Class::Critical, IdentityRule::Call | IdentityRule::Content) => json!(word),
        (Class::Critical, IdentityRule::Fields { names, .. }) => {
            json!(names.iter().map(FieldPattern::as_str).collect::<Vec<_>>())
        }
    };
    json!({
        "method": line.operation.method.as_str(),
        "path": line.operation.path,
        "rule": line.rule.name,
        "line": Some(line.rule.line).filter(|line| *line > 0),
        "named": line.is_named(),
        "class": line.rule.class.as_str(),
        "identity": identity,
        "otherwise": Some(otherwise).filter(|word| *word != "-"),
        "merge": Some(merge(line)).filter(|word| *word != "-"),
        "money": money(line),
        "calls": calls,
    })
}

fn idle(idle: &Idle) -> Value {
    json!({
        "rule": idle.rule.name,
        "pattern": idle.pattern.as_str(),
        "line": idle.pattern.line(),
        "taken_by": idle.taken_by,
    })
}

fn observed(asked: &Asked) -> Option<Value> {
    asked.observed.as_ref().map(|observed| {
        let unknown: Vec<Value> = observed
            .unknown()
            .map(|(request, calls)| json!({ "request": request, "calls": calls }))
            .collect();
        json!({
            "calls": observed.total,
            "unread_lines": observed.unread,
            "unknown": unknown,
            "unlisted_unknown_calls": observed.unlisted,
        })
    })
}
