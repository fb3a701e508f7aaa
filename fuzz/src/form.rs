//! Forms: a body, or a query if the input begins with `?`.

use payonce::decide::canonical::{self, Canonical, FIELDS_MAX, Kind};

use super::choices::Choices;
use super::said::{as_sent, check_bounds, check_different, check_same};

/// A field by other means than the reader's: name and value, decoded.
type Pair = (Vec<u8>, Vec<u8>);

/// Spelling and order mean nothing, everything else does.
pub fn check(input: &[u8]) {
    let (of_query, sent) = input.strip_prefix(b"?").map_or((false, input), |query| (true, query));
    let Some(read) = read(sent, of_query) else { return };
    check_bounds(&read, sent.len());
    let readable = !sent.is_empty() && read.kind() != Kind::Raw && !read.fields().is_empty();
    if !readable {
        return;
    }
    let mut pairs: Vec<Pair> = split(sent);
    assert_eq!(pairs.len(), read.fields().len());
    let mut choices = Choices::of(input);
    let again = |pairs: &[Pair], choices: &mut Choices| {
        self::read(spell(pairs, choices).as_bytes(), of_query).unwrap()
    };
    let plain = again(&pairs, &mut choices);
    let one_meaning = !is_raw(&plain, of_query);
    if one_meaning {
        for _ in 0..3 {
            check_same(&plain, &again(&pairs, &mut choices), "another spelling");
            check_order(&plain, &mut pairs, of_query, &mut choices);
        }
        if !is_raw(&read, of_query) {
            check_same(&read, &again(&pairs, &mut choices), "as sent and spelled anew");
        }
    }
    check_changes(&pairs, of_query, &mut choices);
}

/// Neighbours change places: that means something only within one name or list.
fn check_order(plain: &Canonical, pairs: &mut [Pair], of_query: bool, choices: &mut Choices) {
    if pairs.len() < 2 {
        return;
    }
    let at = choices.one_of(pairs.len() - 1);
    let (one, other) = (&pairs[at], &pairs[at + 1]);
    let (same_list, same) = (list(&one.0) == list(&other.0), one == other);
    pairs.swap(at, at + 1);
    let swapped = read(spell(pairs, choices).as_bytes(), of_query).unwrap();
    if same_list && !same {
        check_different(plain, &swapped, None, "the order within a list");
        pairs.swap(at, at + 1);
    } else {
        check_same(plain, &swapped, "the order of fields");
    }
}

/// A field's value, its name, a field less and a field more.
fn check_changes(pairs: &[Pair], of_query: bool, choices: &mut Choices) {
    let exact = |pairs: &[Pair]| read(spell_one_way(pairs).as_bytes(), of_query).unwrap();
    let plain = exact(pairs);
    let at = choices.one_of(pairs.len());
    let mut changed = pairs.to_vec();
    changed[at].1.push(b'x');
    let name = String::from_utf8(pairs[at].0.clone()).unwrap();
    let name = if of_query { format!("?{name}") } else { name };
    check_different(&plain, &exact(&changed), Some(&name), "another value");
    changed = pairs.to_vec();
    changed[at].0.push(b'x');
    check_different(&plain, &exact(&changed), None, "another name");
    changed = pairs.to_vec();
    let removed = changed.remove(at);
    check_different(&plain, &exact(&changed), None, "a field less");
    if pairs.len() < FIELDS_MAX {
        changed.extend([removed.clone(), removed]);
        check_different(&plain, &exact(&changed), None, "a field twice");
    }
}

fn read(sent: &[u8], of_query: bool) -> Option<Canonical> {
    let form = Some("application/x-www-form-urlencoded");
    if of_query {
        let query = std::str::from_utf8(sent).ok()?;
        return Some(canonical::read(None, None, Some(query), b""));
    }
    Some(canonical::read(form, None, None, sent))
}

/// Whether only what was sent says what is meant. The query has a tag of its own in the whole.
fn is_raw(read: &Canonical, of_query: bool) -> bool {
    if of_query { read.whole().get(9) == Some(&b'R') } else { as_sent(read) }
}

fn split(sent: &[u8]) -> Vec<Pair> {
    let decoded = |half: &[u8]| {
        let spaced: Vec<u8> = half.iter().map(|it| if *it == b'+' { b' ' } else { *it }).collect();
        percent_encoding::percent_decode(&spaced).collect()
    };
    let pair = |pair: &[u8]| match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (decoded(&pair[..at]), decoded(&pair[at + 1..])),
        None => (decoded(pair), Vec::new()),
    };
    sent.split(|byte| *byte == b'&').filter(|it| !it.is_empty()).map(pair).collect()
}

/// What two names have in common if the order of their fields means something.
fn list(name: &[u8]) -> &[u8] {
    let end = name.windows(2).position(|two| two == b"[]").map_or(name.len(), |at| at + 2);
    &name[..end]
}

fn spell(pairs: &[Pair], choices: &mut Choices) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~[]*!'()/?:@,$".contains(&byte);
    let mut out = String::new();
    for (name, value) in pairs {
        out.push_str(if choices.one_of(8) == 0 { "&&" } else { "&" });
        out.push_str(&choices.percent_encode(name, true, plain));
        let bare = value.is_empty() && !name.is_empty() && choices.flip();
        out.push_str(if bare { "" } else { "=" });
        out.push_str(&choices.percent_encode(value, true, plain));
    }
    out
}

fn spell_one_way(pairs: &[Pair]) -> String {
    let all = percent_encoding::NON_ALPHANUMERIC;
    let text = |text: &[u8]| percent_encoding::percent_encode(text, all).to_string();
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", text(name), text(value))).collect();
    pairs.join("&")
}
