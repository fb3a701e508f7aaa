//! The coverage of a policy, for people: a table, then what to think of.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::super::table;
use super::{Asked, identity, merge, money};
use crate::decide::policy::Class;
use crate::decide::policy::coverage::Line;

/// Longer lists of names are cut.
const SHOWN: usize = 20;

pub(super) fn text(asked: &Asked) -> String {
    let mut page = Page(operations(asked));
    page.line("");
    page.summary(asked);
    page.observed(asked);
    page.idle(asked);
    let unnamed = asked.unnamed(true);
    page.list("that move money fall to no rule of the file", &names(&unnamed));
    let unnamed = asked.unnamed(false);
    page.list("that move no money fall to no rule of the file", &names(&unnamed));
    page.0
}

fn operations(asked: &Asked) -> String {
    let head = ["METHOD", "PATH", "RULE", "CLASS", "IDENTITY", "OTHERWISE", "MERGE", "MONEY"];
    let mut head: Vec<String> = head.map(str::to_owned).into();
    head.extend(asked.observed.iter().map(|_| "CALLS".to_owned()));
    let lines = asked.coverage.lines.iter().enumerate().map(|(index, line)| {
        let (identity, otherwise) = identity(line);
        let mut cells = vec![
            line.operation.method.to_string(),
            line.operation.path.to_owned(),
            line.rule.name.clone(),
            line.rule.class.to_string(),
            identity,
            otherwise.to_owned(),
            merge(line).to_owned(),
            money(line).unwrap_or("-").to_owned(),
        ];
        cells.extend(asked.calls(index).map(|calls| calls.to_string()));
        cells
    });
    table::columns(&std::iter::once(head).chain(lines).collect::<Vec<_>>())
}

struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// How many operations of each kind there are.
    fn summary(&mut self, asked: &Asked) {
        let count = asked.coverage.lines.len();
        let moving = asked.coverage.lines.iter().filter(|line| money(line).is_some()).count();
        self.line(&format!(
            "{count} operations by {} (version {}, {} rules); {moving} of them move money",
            asked.file,
            asked.policy.version(),
            asked.policy.rules().len(),
        ));
        let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for line in &asked.coverage.lines {
            let kind = kinds.entry(kind(line)).or_default();
            kind.0 += 1;
            kind.1 += usize::from(money(line).is_some());
        }
        let head = ["", "OPERATIONS", "MONEY"].map(str::to_owned).to_vec();
        let rows = kinds.iter().map(|(kind, (count, moving))| {
            vec![format!("  {kind}"), count.to_string(), moving.to_string()]
        });
        self.0.push_str(&table::columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    }

    fn observed(&mut self, asked: &Asked) {
        let Some(observed) = &asked.observed else { return };
        let unread = match observed.unread {
            0 => String::new(),
            count => format!("; {count} lines are no recorded decisions"),
        };
        self.line(&format!("{} calls were observed{unread}", observed.total));
        let unknown: Vec<String> = observed
            .unknown()
            .map(|(request, calls)| format!("{request} ({calls} times)"))
            .collect();
        self.list("were called and are not known", &unknown);
        if observed.unlisted > 0 {
            self.line(&format!("  and {} calls of others", observed.unlisted));
        }
    }

    fn idle(&mut self, asked: &Asked) {
        for idle in &asked.coverage.idle {
            let (rule, line) = (&idle.rule.name, idle.pattern.line());
            let why = match idle.taken_by.as_slice() {
                [] => "matches no operation".to_owned(),
                earlier => {
                    format!("gets nothing: earlier rules take it all ({})", earlier.join(", "))
                }
            };
            self.line(&format!("\"{}\" of rule {rule}, line {line}, {why}", idle.pattern));
        }
    }

    fn list(&mut self, what: &str, names: &[String]) {
        if names.is_empty() {
            return;
        }
        self.line(&format!("{} operations {what}:", names.len()));
        for name in names.iter().take(SHOWN) {
            self.line(&format!("  {name}"));
        }
        if let more @ 1.. = names.len().saturating_sub(SHOWN) {
            // Writing to a string cannot fail.
            writeln!(self.0, "  and {more} more").unwrap_or_default();
        }
    }
}

fn kind(line: &Line) -> String {
    match line.rule.class {
        Class::Critical => {
            let (identity, otherwise) = identity(line);
            let identity = match otherwise {
                "-" => identity,
                otherwise => format!("fields, otherwise {otherwise}"),
            };
            format!("critical, {identity}")
        }
        Class::Pass | Class::Refuse => line.rule.class.to_string(),
    }
}

fn names(lines: &[&Line]) -> Vec<String> {
    lines.iter().map(|line| line.operation.name()).collect()
}
