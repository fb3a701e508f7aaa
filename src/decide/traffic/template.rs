//! A path without what names a customer or a payment: `/v1/charges/{charge}/capture`.
//!
//! Coupons, plans and the like have ids that people chose, so no id is recorded as it is. Paths that
//! Stripe has not published keep their first two segments alone.

use std::collections::HashMap;
use std::sync::LazyLock;

use http::Method;

use crate::decide::operations;

type Templates = HashMap<(Method, usize), Vec<Vec<&'static str>>>;

/// The templates, by method and number of segments.
static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| {
    let mut all = Templates::new();
    for operation in operations::published() {
        let segments = operation.segments();
        all.entry((operation.method, segments.len())).or_default().push(segments);
    }
    all
});

/// The template of a path, by its decoded segments.
#[must_use]
pub fn of(method: &Method, segments: &[String]) -> String {
    let candidates =
        TEMPLATES.get(&(method.clone(), segments.len())).map_or(&[][..], Vec::as_slice);
    // Where a literal and a placeholder both fit, Stripe means the literal.
    let best = candidates.iter().filter_map(|it| Some((literals(it, segments)?, it))).max();
    match best {
        Some((_, template)) => join(template.iter().copied()),
        None => join(segments.iter().enumerate().map(|(n, segment)| shape(n, segment))),
    }
}

/// A path that falls under the same rules as this template, unless a rule names a single id.
#[must_use]
pub fn example(template: &str) -> String {
    let filled = |segment: &str| if segment.starts_with('{') { "x" } else { segment }.to_owned();
    template.split('/').map(filled).collect::<Vec<_>>().join("/")
}

/// How many segments of `template` are literally those; `None` if it does not match.
fn literals(template: &[&str], segments: &[String]) -> Option<usize> {
    let mut literals = 0;
    for (wanted, segment) in template.iter().zip(segments) {
        if wanted == segment {
            literals += 1;
        } else if !wanted.starts_with('{') {
            return None;
        }
    }
    Some(literals)
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
        let method = method.parse().unwrap();
        of(&method, &path.split('/').skip(1).map(str::to_owned).collect::<Vec<_>>())
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
        assert_eq!(template("GET", "/"), "/{id}");
    }

    #[test]
    fn an_example_is_a_path_that_a_policy_can_judge() {
        let path = example("/v1/charges/{charge}/capture");
        assert_eq!(path, "/v1/charges/x/capture");
        assert!(crate::decide::path::Target::parse(&path).is_ok());
    }
}
