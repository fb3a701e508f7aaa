//! Request targets, and the rule that they fall to: `METHOD target`.

use std::sync::{Arc, LazyLock};

use http::Method;
use http::uri::PathAndQuery;
use payonce::decide::path::Target;
use payonce::decide::policy::{Policy, Rule};
use payonce::policy_file::SHIPPED;
use percent_encoding::percent_decode_str;

use super::choices::Choices;

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::parse(SHIPPED).unwrap());

/// What is accepted has one meaning, is kept byte for byte, and falls to the rule of its meaning.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (method, sent) = text.split_once(' ').unwrap_or(("POST", text));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let Ok(target) = Target::parse(sent) else { return };
    check_kept(&target, sent);
    check_segments(&target, sent);
    let rule = judged(&POLICY, &method, &target);
    let mut choices = Choices::of(input);
    for _ in 0..4 {
        let other = respelled(&target, &mut choices);
        assert_eq!(other.segments(), target.segments(), "spelled {}", other.raw_path());
        assert_eq!(other.api(), target.api());
        assert!(
            Arc::ptr_eq(rule, judged(&POLICY, &method, &other)),
            "{sent}, {}",
            other.raw_path()
        );
    }
}

/// I10: what was matched is what is forwarded.
fn check_kept(target: &Target, sent: &str) {
    let (path, query) =
        sent.split_once('?').map_or((sent, None), |(path, query)| (path, Some(query)));
    assert_eq!(target.raw_path(), path);
    assert_eq!(target.query(), query);
    assert_eq!(Target::parse(sent).as_ref(), Ok(target), "read otherwise when read again");
    if let Ok(uri) = PathAndQuery::try_from(sent) {
        assert_eq!(uri.as_str(), sent, "the http crate changes it");
    }
}

/// Nothing that two servers could read in two ways.
fn check_segments(target: &Target, sent: &str) {
    let raw = target.raw_path();
    assert!(sent.bytes().all(|byte| byte.is_ascii_graphic()), "{sent:?}");
    assert!(!raw.contains(['\\', '#', '?']) && !raw.contains("//") && raw.starts_with('/'));
    let lower = raw.to_ascii_lowercase();
    assert!(!lower.contains("%2f") && !lower.contains("%5c") && !lower.contains("%00"), "{raw}");
    let decoded: Vec<String> = raw
        .split('/')
        .skip(1)
        .filter(|_| raw != "/")
        .map(|segment| percent_decode_str(segment).decode_utf8().unwrap().into_owned())
        .collect();
    assert_eq!(target.segments(), decoded);
    for segment in target.segments() {
        assert!(!["", ".", ".."].contains(&segment.as_str()), "{raw}");
        assert!(!segment.chars().any(|c| c == '/' || c == '\\' || c.is_control()), "{raw}");
    }
}

/// The rule that the routes find, which is the first one that matches.
pub fn judged<'p>(policy: &'p Policy, method: &Method, target: &Target) -> &'p Arc<Rule> {
    let rule = policy.judge(method, target);
    let segments: Vec<&str> = target.segments().iter().map(String::as_str).collect();
    let matches = |rule: &&Arc<Rule>| rule.patterns.iter().any(|it| it.matches(method, &segments));
    match policy.rules().iter().find(matches) {
        Some(first) => assert!(Arc::ptr_eq(rule, first), "{} is not {}", rule.name, first.name),
        None => assert!(rule.patterns.is_empty(), "{} does not match", rule.name),
    }
    rule
}

/// The same segments in another spelling.
fn respelled(target: &Target, choices: &mut Choices) -> Target {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@".contains(&byte);
    let mut spelled = String::new();
    for segment in target.segments() {
        spelled.push('/');
        spelled += &choices.percent_encode(segment.as_bytes(), false, plain);
    }
    // Spelled out, a long path may be too long; then it stays as it is.
    let spelled = if spelled.is_empty() { "/".to_owned() } else { spelled };
    if spelled.len() > payonce::decide::path::TARGET_MAX_BYTES {
        return target.clone();
    }
    Target::parse(&spelled).expect("a spelling of an accepted path")
}
