//! A path without what names a customer or a payment: `/v1/charges/{charge}/capture`.
//!
//! Coupons, plans and the like have ids that people chose, so no id is recorded as it is. Paths that
//! Stripe has not published keep their first two segments alone.

use http::Method;

use crate::decide::path::Target;
use crate::decide::policy::operations;

/// The template of a path.
#[must_use]
pub fn of(method: &Method, target: &Target) -> String {
    match operations::find(method, target).and_then(|at| operations::all().get(at)) {
        Some(operation) => operation.path.to_owned(),
        None => join(target.segments().iter().enumerate().map(|(n, it)| shape(n, it))),
    }
}

/// A path that falls under the same rules as this template, unless a rule names a single id.
#[must_use]
pub fn example(template: &str) -> String {
    let filled = |segment: &str| if segment.starts_with('{') { "x" } else { segment }.to_owned();
    template.split('/').map(filled).collect::<Vec<_>>().join("/")
}

fn shape(place: usize, segment: &str) -> &str {
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let plain = match place {
        0 => matches!(segment, "v1" | "v2" | "oauth"),
        1 => segment.len() <= 40 && segment.chars().all(word),
        _deeper => false,
    };
    if plain { segment } else { "{id}" }
}

fn join<'a>(segments: impl Iterator<Item = &'a str>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.push_str(segment);
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(method: &str, path: &str) -> String {
        of(&method.parse().unwrap(), &Target::parse(path).unwrap())
    }

    #[test]
    fn ids_become_placeholders_and_literals_win_over_them() {
        assert_eq!(template("POST", "/v1/charges"), "/v1/charges");
        assert_eq!(template("POST", "/v1/charges/ch_1/capture"), "/v1/charges/{charge}/capture");
        assert_eq!(template("GET", "/v1/charges/search"), "/v1/charges/search");
        assert_eq!(template("GET", "/v1/charges/ch_1"), "/v1/charges/{charge}");
    }

    #[test]
    fn of_a_path_that_nobody_published_no_more_than_the_resource_is_kept() {
        assert_eq!(
            template("POST", "/v1/new_things/jane@example.com/x"),
            "/v1/new_things/{id}/{id}"
        );
        assert_eq!(template("POST", "/Jane/doe"), "/{id}/doe");
    }

    #[test]
    fn an_example_is_a_path_that_a_policy_can_judge() {
        let path = example("/v1/charges/{charge}/capture");
        assert_eq!(path, "/v1/charges/x/capture");
        assert!(Target::parse(&path).is_ok());
    }
}
