//! Multipart bodies: the boundary in the first line, then the body.

use payonce::decide::canonical::{self, Canonical, FIELDS_MAX, Kind};

use super::choices::Choices;
use super::said::{as_sent, check_bounds, check_different, check_same};

/// The boundary, the case of header names and the order of parts mean nothing; all else does.
pub fn check(input: &[u8]) {
    let Some(at) = input.iter().position(|byte| *byte == b'\n') else { return };
    let (Ok(boundary), body) = (std::str::from_utf8(&input[..at]), &input[at + 1..]) else {
        return;
    };
    let read = read(boundary, body);
    check_bounds(&read, input.len());
    if read.kind() != Kind::Multipart {
        return;
    }
    let mut parts = split(boundary, body);
    assert_eq!(parts.len(), read.fields().len());
    if !as_sent(&read) {
        check_same(&read, &joined(&parts), "another boundary");
        let upper: Vec<_> = parts.iter().map(|part| with_upper_names(part)).collect();
        check_same(&read, &joined(&upper), "header names in upper case");
        check_order(&read, &parts, &mut Choices::of(input));
    }
    check_changes(&mut parts, &mut Choices::of(input));
}

fn check_order(read: &Canonical, parts: &[Vec<u8>], choices: &mut Choices) {
    if parts.len() < 2 {
        return;
    }
    let at = choices.one_of(parts.len() - 1);
    let (one, other) = (name(&parts[at]), name(&parts[at + 1]));
    let mut swapped = parts.to_vec();
    swapped.swap(at, at + 1);
    let said = |at: usize| joined(&parts[at..=at]).whole().to_vec();
    if list(&one) == list(&other) && said(at) != said(at + 1) {
        check_different(read, &joined(&swapped), None, "the order within a list");
    } else {
        check_same(read, &joined(&swapped), "the order of parts");
    }
}

fn check_changes(parts: &mut Vec<Vec<u8>>, choices: &mut Choices) {
    let plain = joined(parts);
    let at = choices.one_of(parts.len());
    parts[at].push(b'x');
    check_different(&plain, &joined(parts), Some(&name(&parts[at])), "another value");
    parts[at].pop();
    let other_type = with_a_type(&parts[at]);
    let one = std::mem::replace(&mut parts[at], other_type);
    check_different(&plain, &joined(parts), None, "another or no type");
    parts[at] = one;
    let removed = parts.remove(at);
    check_different(&plain, &joined(parts), None, "a part less");
    if parts.len() + 2 <= FIELDS_MAX {
        parts.extend([removed.clone(), removed]);
        check_different(&plain, &joined(parts), None, "a part twice");
    }
}

fn read(boundary: &str, body: &[u8]) -> Canonical {
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    canonical::read(Some(&content_type), None, None, body)
}

/// What stands between the boundaries.
fn split(boundary: &str, body: &[u8]) -> Vec<Vec<u8>> {
    let delimiter = format!("\r\n--{boundary}");
    let mut body = [b"\r\n", body].concat();
    let mut parts = Vec::new();
    while let Some(at) = body.windows(delimiter.len()).position(|it| it == delimiter.as_bytes()) {
        parts.push(body[..at].to_vec());
        body = body[(at + delimiter.len() + 2).min(body.len())..].to_vec();
    }
    parts.remove(0);
    parts
}

/// The parts behind a boundary that none of them holds.
fn joined(parts: &[Vec<u8>]) -> Canonical {
    let held = |text: &str| {
        parts.iter().any(|part| part.windows(text.len()).any(|it| it == text.as_bytes()))
    };
    let boundary = (0..100_000_usize).map(|n| format!("other{n}")).find(|it| !held(it)).unwrap();
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    read(&boundary, &body)
}

/// The name of a part, as it is read when it stands alone.
fn name(part: &[u8]) -> String {
    joined(&[part.to_vec()]).fields()[0].name.clone()
}

fn list(name: &str) -> &str {
    name.find("[]").map_or(name, |at| &name[..at + 2])
}

/// The part with another `Content-Type`, or with one at all.
fn with_a_type(part: &[u8]) -> Vec<u8> {
    let end = part.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let (head, rest) = part.split_at(end);
    let name = b"content-type:";
    match head.to_ascii_lowercase().windows(name.len()).position(|it| it == name) {
        Some(at) => [&part[..at + name.len()], b"x/", &part[at + name.len()..]].concat(),
        None => [head, b"\r\nContent-Type: x/y", rest].concat(),
    }
}

fn with_upper_names(part: &[u8]) -> Vec<u8> {
    let mut part = part.to_vec();
    let mut in_name = true;
    for at in 0..part.len() {
        if part[at..].starts_with(b"\r\n") {
            if part[at + 2..].starts_with(b"\r\n") {
                break;
            }
            in_name = true;
        }
        in_name &= part[at] != b':';
        if in_name {
            part[at].make_ascii_uppercase();
        }
    }
    part
}
