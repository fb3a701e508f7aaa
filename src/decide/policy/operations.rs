//! Every operation that Stripe has published: which move money, which come in batches, and which
//! fields they take.
//!
//! Facts, for those who edit a policy ([`coverage`](super::coverage), [`lint`](super::lint)). No
//! request is judged by them: Stripe has operations that are newer than this table.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;

use super::routes::Routes;
use super::template::Pattern;
use crate::decide::path::Target;

pub use self::fields::{Parameter, Shape};
pub use self::money::Money;

mod fields;
mod money;
#[cfg(test)]
mod tests;

/// A line each: method, path template, and what is not needed here. From the published `OpenAPI`
/// documents and SDKs (FACTS, beginning).
const TABLE: &str = include_str!("../../../config/operations.tsv");

/// One operation of Stripe's API.
#[derive(Debug)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, as Stripe writes it: `/v1/charges/{charge}/capture`.
    pub path: &'static str,
    /// Whether money moves or becomes owed by it, and how.
    pub money: Option<Money>,
    /// Whether a batch may well send it several times within seconds with equal content, all of
    /// them meant.
    pub batch: bool,
    target: Target,
    segments: Vec<&'static str>,
    parameters: Option<Vec<Parameter>>,
}

impl Operation {
    /// The path as a request's target. Its placeholders are segments that only `{id}` and `**` of
    /// a policy match, for no literal holds a brace.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// The segments of its path.
    #[must_use]
    pub fn segments(&self) -> &[&'static str] {
        &self.segments
    }

    /// The parameters it takes at the top level of its body, sorted; `None` if they are not known.
    #[must_use]
    pub fn parameters(&self) -> Option<&[Parameter]> {
        self.parameters.as_deref()
    }

    /// The parameter of this name; `None` if it has none, or its parameters are not known.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.as_ref()?.iter().find(|parameter| parameter.name == name)
    }

    /// Whether its path names the thing that it is about.
    #[must_use]
    pub fn names_a_thing(&self) -> bool {
        self.path.contains('{')
    }

    /// Whether it sets something that exists to what the body says, or asks for a step that may be
    /// meant again: the same request can come back later and mean something new.
    #[must_use]
    pub fn may_be_meant_again(&self) -> bool {
        let post = self.method == Method::POST;
        post && (self.path.ends_with('}') || money::REPEATABLE_STEPS.contains(&self.path))
    }

    /// `POST /v1/charges`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// All of them, sorted by path, then method.
#[must_use]
pub fn all() -> &'static [Operation] {
    static ALL: LazyLock<Vec<Operation>> = LazyLock::new(read);
    &ALL
}

/// Which of [`all`] a request asks for, by its index. HEAD asks for what GET does.
#[must_use]
pub fn find(method: &Method, target: &Target) -> Option<usize> {
    static BY_PATH: LazyLock<(Routes, Vec<usize>)> = LazyLock::new(by_path);
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let (routes, order) = &*BY_PATH;
    routes.first(method, target.segments()).and_then(|at| order.get(at)).copied()
}

fn read() -> Vec<Operation> {
    let mut parameters = fields::read();
    let money: HashMap<&str, (Money, bool)> = money::table().collect();
    TABLE.lines().skip(1).filter_map(|line| operation(line, &mut parameters, &money)).collect()
}

fn operation(
    line: &'static str,
    parameters: &mut HashMap<String, Vec<Parameter>>,
    money: &HashMap<&str, (Money, bool)>,
) -> Option<Operation> {
    let mut columns = line.split('\t');
    let (method, path) = (columns.next()?, columns.next()?);
    let known = money.get(format!("{method} {path}").as_str());
    Some(Operation {
        method: Method::from_bytes(method.as_bytes()).ok()?,
        path,
        money: known.map(|(money, _)| *money),
        batch: known.is_some_and(|(_, batch)| *batch),
        target: Target::parse(path).ok()?,
        segments: path.split('/').skip(1).collect(),
        parameters: parameters.remove(&fields::key(method, path)),
    })
}

/// `/v1/invoices/create_preview` also fits `/v1/invoices/{invoice}`: of two that fit, the one with
/// fewer placeholders is asked first.
fn by_path() -> (Routes, Vec<usize>) {
    let mut order: Vec<(usize, &Operation)> = all().iter().enumerate().collect();
    order.sort_by_key(|(_, operation)| operation.path.matches('{').count());
    let mut routes = Routes::default();
    for (at, (_, operation)) in order.iter().enumerate() {
        if let Ok(pattern) = Pattern::parse(&operation.name(), 0) {
            routes.add(&pattern, at);
        }
    }
    (routes, order.into_iter().map(|(index, _)| index).collect())
}
