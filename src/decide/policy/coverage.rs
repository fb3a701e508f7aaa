//! Which rule every operation that Stripe has falls to, and what of a policy none falls to.
//!
//! For people and tools: `payonce policy coverage` shows it, and [`lint`](super::lint) warns by it.

use std::sync::Arc;

use http::Method;

use super::operations::{self, Operation};
use super::{Pattern, Policy, Rule};

/// What a policy makes of all operations.
#[derive(Debug)]
pub struct Coverage {
    /// Every operation of the table, in its order.
    pub lines: Vec<Line>,
    /// Patterns of the file that no operation falls to, in its order.
    pub idle: Vec<Idle>,
}

/// An operation and its rule.
#[derive(Clone, Debug)]
pub struct Line {
    /// The operation.
    pub operation: &'static Operation,
    /// The rule that it falls to; perhaps a built-in one.
    pub rule: Arc<Rule>,
}

impl Line {
    /// Whether a rule of the file names it.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.rule.line != 0
    }
}

/// A pattern that no operation falls to.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Its rule.
    pub rule: Arc<Rule>,
    /// The pattern.
    pub pattern: Pattern,
    /// The names of the earlier rules that take all it matches; none if it matches no operation.
    pub taken_by: Vec<String>,
    /// How many operations it matches.
    pub matches: usize,
}

impl Coverage {
    /// Judges every operation by `policy`.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let all = operations::all().iter();
        let lines = all.map(|operation| Line {
            operation,
            rule: Arc::clone(policy.judge(&operation.method, operation.target())),
        });
        Self { lines: lines.collect(), idle: idle(policy) }
    }

    /// The operations that fall to the rule of this name.
    pub fn of_rule<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'static Operation> + 'a {
        self.lines.iter().filter(move |line| line.rule.name == name).map(|line| line.operation)
    }
}

fn idle(policy: &Policy) -> Vec<Idle> {
    let mut idle = Vec::new();
    for rule in policy.rules() {
        for pattern in &rule.patterns {
            let falls = matched(policy, pattern);
            if !falls.iter().any(|to| to.name == rule.name) {
                let mut taken_by: Vec<String> = falls.iter().map(|to| to.name.clone()).collect();
                taken_by.sort();
                taken_by.dedup();
                let (rule, pattern) = (Arc::clone(rule), pattern.clone());
                idle.push(Idle { rule, pattern, taken_by, matches: falls.len() });
            }
        }
    }
    idle
}

/// The rules to which the operations fall that `pattern` matches. HEAD asks for what GET does.
fn matched<'p>(policy: &'p Policy, pattern: &Pattern) -> Vec<&'p Arc<Rule>> {
    let mut falls = Vec::new();
    for operation in operations::all() {
        let methods: &[Method] = match operation.method {
            Method::GET => &[Method::GET, Method::HEAD],
            _ => std::slice::from_ref(&operation.method),
        };
        if let Some(method) =
            methods.iter().find(|method| pattern.matches(method, operation.segments()))
        {
            falls.push(policy.judge(method, operation.target()));
        }
    }
    falls
}
