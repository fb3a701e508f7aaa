//! Why not another rule: those that came near a request, and what kept each of them from it.
//!
//! For people who wrote a rule and see another one apply. Nothing is decided here.

use std::cmp::Reverse;
use std::sync::Arc;

use http::Method;

use super::operations;
use super::template::{Methods, Segment, is_write};
use super::{Pattern, Policy, Rule};

/// A rule before the one that applies, and why it does not.
#[derive(Clone, Debug)]
pub struct PassedOver<'a> {
    /// The rule.
    pub rule: &'a Arc<Rule>,
    /// The one of its patterns that came nearest.
    pub pattern: &'a Pattern,
    /// What kept it from the request.
    pub why: String,
}

/// Whatever is told about rules that do not apply.
#[derive(Clone, Debug, Default)]
pub struct Near<'a> {
    /// The nearest first; those that differ from the second segment on are left out.
    pub passed_over: Vec<PassedOver<'a>>,
    /// How many rules more stand before the one that applies.
    pub others: usize,
    /// What may have been meant, where Stripe is not known to have such an operation: a method and
    /// a template.
    pub did_you_mean: Option<String>,
}

/// Says which rules before the one that applies came nearest, at most `most`.
#[must_use]
pub fn near<'a>(policy: &'a Policy, method: &Method, segments: &[&str], most: usize) -> Near<'a> {
    let applies = policy.falls_to(method, segments);
    let before: Vec<&Arc<Rule>> =
        policy.rules().iter().take_while(|rule| !Arc::ptr_eq(rule, applies)).collect();
    let mut nearest: Vec<(usize, PassedOver<'_>)> = Vec::new();
    for rule in &before {
        let closeness = |pattern: &&Pattern| closeness(pattern, method, segments);
        let Some(pattern) = rule.patterns.iter().max_by_key(closeness) else { continue };
        // Every path of one API has its first segment: that alone is not near.
        if shared(pattern, segments) >= 2.min(segments.len()) {
            let why = why_not(pattern, method, segments);
            nearest.push((closeness(&pattern), PassedOver { rule, pattern, why }));
        }
    }
    nearest.sort_by_key(|(closeness, _)| Reverse(*closeness));
    nearest.truncate(most);
    let others = before.len().saturating_sub(nearest.len());
    let passed_over = nearest.into_iter().map(|(_, passed)| passed).collect();
    Near { passed_over, others, did_you_mean: did_you_mean(policy, method, segments) }
}

/// How many segments from the start agree.
fn shared(pattern: &Pattern, segments: &[&str]) -> usize {
    let mut pairs = pattern.segments.iter().zip(segments);
    let differs = pairs.position(|(template, segment)| !template.matches(segment));
    differs.unwrap_or_else(|| pattern.segments.len().min(segments.len()))
}

/// More is nearer: segments that agree, of these the literal ones, then length and method.
fn closeness(pattern: &Pattern, method: &Method, segments: &[&str]) -> usize {
    let shared = shared(pattern, segments);
    let literal = |segment: &&Segment| match segment {
        Segment::Literal(_) => true,
        Segment::One => false,
    };
    let literals = pattern.segments.iter().take(shared).filter(literal).count();
    let length = usize::from(pattern.tail || pattern.segments.len() == segments.len());
    (shared + literals) * 4 + length * 2 + usize::from(pattern.methods.matches(method))
}

/// The first thing that keeps `pattern` from matching.
fn why_not(pattern: &Pattern, method: &Method, segments: &[&str]) -> String {
    let shared = shared(pattern, segments);
    match (pattern.segments.get(shared), segments.get(shared)) {
        (Some(Segment::Literal(wanted)), Some(found)) => {
            return format!("segment {} is `{}`, not `{wanted}`", shared + 1, found.escape_debug());
        }
        (Some(_), None) => {
            let more = pattern.segments.len() - segments.len();
            return format!(
                "it goes on for {more} more segment{}",
                if more == 1 { "" } else { "s" }
            );
        }
        (None, None) if pattern.tail => {
            return "its `**` wants at least one segment more".to_owned();
        }
        (None, Some(_)) if !pattern.tail => {
            return format!("the path goes on after segment {shared}, and it does not");
        }
        // `{id}` agrees with whatever is there.
        (Some(Segment::One) | None, Some(_)) | (None, None) => {}
    }
    match &pattern.methods {
        Methods::One(wanted) if wanted != method => format!("it is for {wanted}"),
        // It would have applied.
        Methods::One(_) | Methods::Any => "nothing keeps it".to_owned(),
    }
}

/// The nearest template of the policy or operation of Stripe's, if the request is none of these.
fn did_you_mean(policy: &Policy, method: &Method, segments: &[&str]) -> Option<String> {
    let published = operations::all();
    let is = |known: &[&str]| distance(known, segments) == Some(0);
    if published.iter().any(|it| it.method == *method && is(it.segments())) {
        return None;
    }
    let patterns = policy.rules().iter().flat_map(|rule| &rule.patterns);
    // A template that ends in `**` names nothing that one can mean.
    let patterns = patterns.filter(|it| !it.tail).filter_map(|pattern| {
        let known: Vec<&str> = pattern.as_str().split('/').skip(1).collect();
        let other_method = match &pattern.methods {
            Methods::Any => 0,
            Methods::One(one) => apart(one, method),
        };
        Some((distance(&known, segments)? + other_method, pattern.as_str().to_owned()))
    });
    let published = published.iter().filter_map(|it| {
        Some((distance(it.segments(), segments)? + apart(&it.method, method), it.name()))
    });
    let length: usize = segments.iter().map(|segment| segment.len()).sum();
    let near = |far: usize| far > 0 && far <= 2.max(length / 6);
    patterns.chain(published).filter(|it| near(it.0)).min_by_key(|it| it.0).map(|it| it.1)
}

/// How far methods are apart: who writes is less likely to have meant to read.
fn apart(one: &Method, other: &Method) -> usize {
    match (one == other, is_write(one, true) == is_write(other, true)) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    }
}

/// How many letters of the literal segments differ; `None` if the lengths do.
fn distance(known: &[&str], segments: &[&str]) -> Option<usize> {
    let pairs = || known.iter().zip(segments).filter(|(known, _)| !known.starts_with('{'));
    let far = |(known, found): (&&str, &&str)| strsim::damerau_levenshtein(known, found);
    (known.len() == segments.len()).then(|| pairs().map(far).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
version = 1
[[rule]]
name = "refunds"
match = ["POST /v1/refunds", "POST /v1/charges/{id}/refund"]
class = "critical"
[[rule]]
name = "lists"
match = ["GET /v1/charges/{id}/capture", "GET /v1/charges"]
class = "pass"
[[rule]]
name = "deep"
match = ["POST /v1/charges/{id}/capture/**"]
class = "critical"
[[rule]]
name = "shallow"
match = ["POST /v1/charges"]
class = "critical"
[[rule]]
name = "other"
match = ["POST /v1/**"]
class = "critical"
"#;

    fn told(method: &Method, path: &str, most: usize) -> (Vec<String>, usize, Option<String>) {
        let policy = Policy::parse(POLICY).unwrap();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let near = near(&policy, method, &segments, most);
        let shown = |it: &PassedOver<'_>| format!("{} by {}: {}", it.rule.name, it.pattern, it.why);
        (near.passed_over.iter().map(shown).collect(), near.others, near.did_you_mean)
    }

    #[test]
    fn the_nearest_rules_say_what_kept_them_nearest_first() {
        let (passed, others, meant) = told(&Method::POST, "/v1/charges/ch_1/capture", 9);
        let expected = [
            "lists by GET /v1/charges/{id}/capture: it is for GET",
            "deep by POST /v1/charges/{id}/capture/**: its `**` wants at least one segment more",
            "refunds by POST /v1/charges/{id}/refund: segment 4 is `capture`, not `refund`",
            "shallow by POST /v1/charges: the path goes on after segment 2, and it does not",
        ];
        let mut sorted = (passed.clone(), expected.to_vec());
        sorted.0.sort();
        sorted.1.sort_unstable();
        assert_eq!(sorted.0, sorted.1);
        assert_eq!(passed[3], expected[3]);
        assert_eq!((others, meant), (0, None));
        let (few, others, _) = told(&Method::POST, "/v1/charges/ch_1/capture", 1);
        assert_eq!((few.len(), others), (1, 3));
    }

    #[test]
    fn a_path_that_stops_short_is_told_so() {
        let (passed, _, _) = told(&Method::POST, "/v1/charges/ch_1", 9);
        assert!(
            passed.iter().any(|it| it.ends_with("refund: it goes on for 1 more segment")),
            "{passed:?}"
        );
    }

    #[test]
    fn what_has_nothing_but_the_api_in_common_is_only_counted() {
        let (passed, others, _) = told(&Method::POST, "/v1/payouts", 9);
        assert_eq!((passed.len(), others), (0, 4));
    }

    #[test]
    fn a_misspelt_path_is_told_what_may_have_been_meant() {
        let meant = |method, path| told(&method, path, 0).2;
        assert_eq!(meant(Method::POST, "/v1/refnds").as_deref(), Some("POST /v1/refunds"));
        assert_eq!(
            meant(Method::POST, "/v1/payment_intent/pi_1/confirm").as_deref(),
            Some("POST /v1/payment_intents/{intent}/confirm")
        );
        assert_eq!(meant(Method::PUT, "/v1/charges").as_deref(), Some("POST /v1/charges"));
        assert_eq!(meant(Method::POST, "/v1/charges/ch_1/capture"), None);
        assert_eq!(meant(Method::POST, "/v1/something/else"), None);
    }
}
