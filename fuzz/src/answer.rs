//! Answers of the provider: a line with the status, lines of header fields, an empty line, a body.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use payonce::decide::outcome::{self, Conclusion, ErrorBody, Meaning, Signals, Tally};
use payonce::decide::path::Api;
use serde_json::Value;

/// An answer never panics, only a 2xx is a success, and only a failure of Stripe's own making says
/// that nothing happened.
pub fn check(input: &[u8]) {
    let at = input.windows(2).position(|it| it == b"\n\n");
    let (head, body) = at.map_or((input, &b""[..]), |at| (&input[..at], &input[at + 2..]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
    let Some(status) = status else { return };
    let signals = Signals::of(&fields(lines));
    let error = ErrorBody::read(body);
    check_shape(body, error.as_ref());
    for api in [Api::V1, Api::V2] {
        let meaning = outcome::read(status, signals, error.as_ref(), api);
        check_meaning(meaning, status, error.is_some(), api);
    }
}

/// The same as a reader of any JSON sees in it.
fn check_shape(body: &[u8], read: Option<&ErrorBody>) {
    let Some(read) = read else { return };
    // A lone surrogate in a member that payonce does not look at is no JSON to that reader.
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return };
    // A list in place of the object has its members by position.
    let said = json.get("error").or_else(|| json.get(0)).expect("an error");
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    if let Value::Object(more) = said {
        assert_eq!(read.kind, text(more.get("type")));
        assert_eq!(read.code, text(more.get("code")));
    } else if !said.is_array() {
        assert_eq!(read.code, text(Some(said)), "{said}");
        assert!(read.kind.is_none() && read.code.is_some(), "{said}");
    }
}

fn check_meaning(meaning: Meaning, status: StatusCode, from_stripe: bool, api: Api) {
    assert_eq!(meaning == Meaning::Succeeded, status.is_success(), "{status}");
    if let Meaning::Declined { spent } = meaning {
        assert!(status.is_client_error() && from_stripe, "{status}");
        assert!(!spent || api == Api::V1);
    }
    assert!(meaning != Meaning::NotSent);
    // I5: after an attempt that is unknown, no later refusal hides it.
    let mut tally = Tally::default();
    tally.add(Meaning::Unknown);
    tally.add(meaning);
    let settles = matches!(meaning, Meaning::Succeeded | Meaning::Declined { .. });
    let in_doubt = matches!(tally.conclusion(), Conclusion::InDoubt { .. });
    assert_eq!(in_doubt, !settles, "{status}");
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let field = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.take(100).filter_map(field) {
        map.append(name, value);
    }
    map
}
