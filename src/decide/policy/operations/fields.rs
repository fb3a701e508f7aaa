//! Which fields an operation takes, as far as the published SDK tells.
//!
//! `config/operation-fields.py` makes the table from the SDK, and says how it is written.

use std::collections::HashMap;

const TABLE: &str = include_str!("../../../../config/operation-fields.tsv");

/// A field at the top level of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, without brackets.
    pub name: &'static str,
    /// What its value can be.
    pub shape: Shape,
}

/// What a parameter's value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One value, perhaps among other shapes.
    Value,
    /// An array: `items[0][price]`.
    Array,
    /// An object with fields that Stripe names: `shipping[name]`.
    Object,
    /// A map with keys that the application names: `metadata[order_id]`.
    Map,
}

/// The parameters of each operation, by its [`key`].
pub(super) fn read() -> HashMap<String, Vec<Parameter>> {
    TABLE.lines().skip(1).filter_map(line).collect()
}

/// Method and path, whatever its placeholders are called.
pub(super) fn key(method: &str, path: &str) -> String {
    let same = |segment| if str::starts_with(segment, '{') { "{id}" } else { segment };
    let path: Vec<&str> = path.split('/').map(same).collect();
    format!("{method} {}", path.join("/"))
}

fn line(text: &'static str) -> Option<(String, Vec<Parameter>)> {
    let mut columns = text.split('\t');
    let key = key(columns.next()?, columns.next()?);
    Some((key, columns.next()?.split_whitespace().map(parameter).collect()))
}

fn parameter(text: &'static str) -> Parameter {
    let shapes = [("[]", Shape::Array), ("{}", Shape::Object), ("{*}", Shape::Map)];
    shapes
        .into_iter()
        .find_map(|(mark, shape)| Some(Parameter { name: text.strip_suffix(mark)?, shape }))
        .unwrap_or(Parameter { name: text, shape: Shape::Value })
}
