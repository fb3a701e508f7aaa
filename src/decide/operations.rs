//! Every operation that Stripe has published, as method and path template.
//!
//! The table is shipped with payonce; an operation that is newer than it is no mistake of whoever
//! names it. What an operation is to the policy is not known here.

use http::Method;

/// `config/operations.tsv`: a line each, with method, path template, form of the body, host, source.
const TABLE: &str = include_str!("../../config/operations.tsv");

/// One of Stripe's operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, with placeholders such as `{charge}`.
    pub path: &'static str,
}

impl Operation {
    /// The segments of its path; a placeholder is one, braces and all.
    #[must_use]
    pub fn segments(&self) -> Vec<&'static str> {
        self.path.split('/').skip(1).collect()
    }
}

/// All of them, in the order of the table.
pub fn published() -> impl Iterator<Item = Operation> {
    TABLE.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        let method = Method::from_bytes(columns.next()?.as_bytes()).ok()?;
        let path = columns.next().filter(|path| path.starts_with('/'))?;
        Some(Operation { method, path })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_an_operation() {
        assert_eq!(published().count(), TABLE.lines().count() - 1);
        assert_eq!(published().count(), 705);
    }
}
