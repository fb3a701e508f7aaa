//! Forms against a reader of their own: Rack's nested parameters, written down independently.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn whole(body: &str) -> Option<Vec<u8>> {
    read(body.as_bytes(), false).unwrap().whole
}

#[test]
fn order_means_nothing_across_names_and_something_within_one() {
    assert_eq!(whole("a=1&b=2"), whole("b=2&a=1"));
    assert_eq!(whole("m[a]=1&m[b]=2&c=3"), whole("c=3&m[b]=2&m[a]=1"));
    assert_eq!(whole("a=1&b=2&a=3"), whole("b=2&a=1&a=3"));
    assert_ne!(whole("a=1&a=3"), whole("a=3&a=1"));
    assert_ne!(whole("a[]=1&a[]=3"), whole("a[]=3&a[]=1"));
    assert!(whole("a=1&b=2").is_some());
}

#[test]
fn items_of_a_list_keep_their_fields() {
    let two = "items[][price]=a&items[][quantity]=1&items[][price]=b&items[][quantity]=2";
    let swapped = "items[][price]=a&items[][quantity]=2&items[][price]=b&items[][quantity]=1";
    let split = "items[][price]=a&items[][price]=b&items[][quantity]=1&items[][quantity]=2";
    assert!(whole(two).is_some());
    assert_ne!(whole(two), whole(swapped));
    assert_ne!(whole(two), whole(split));
    assert_eq!(whole(&format!("{two}&a=1")), whole(&format!("a=1&{two}")));
}

#[test]
fn spellings_of_one_character_are_equal() {
    assert_eq!(whole("a=x+y"), whole("a=x%20y"));
    assert_eq!(whole("a=%7e"), whole("a=~"));
    assert_eq!(whole("a%5Bb%5d=1"), whole("a[b]=1"));
    assert_eq!(whole("%61=%31"), whole("a=1"));
    assert_eq!(whole("a=%C3%A9"), whole("a=é"));
    assert_eq!(whole("&a=1&&b=2&"), whole("a=1&b=2"));
    assert_eq!(whole("a=b=c"), whole("a=b%3Dc"));
    assert_eq!(whole("a"), whole("a="));
    assert_ne!(whole("a=%2B"), whole("a=+"));
    assert_ne!(whole("a="), whole(""));
    assert_ne!(whole("a=%26b=1"), whole("a=&b=1"));
}

#[test]
fn where_order_or_shape_is_in_doubt_only_the_bytes_count() {
    for doubtful in [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a=1&a[]=2",
        "a[]=1&a[b]=2",
        "a[b]=1&a[b][c]=2",
        "a[b][]=1&a[b][c]=2",
        "a-x=0&a=1&a[b]=2",
        "a[=1",
        "a]=1",
        "a[b]c=1",
        "=1",
        "[a]=1",
        "a=1;b=2",
    ] {
        let read = read(doubtful.as_bytes(), false).unwrap();
        assert!(read.whole.is_none(), "{doubtful}");
        assert!(!read.fields.is_empty(), "{doubtful}");
    }
}

#[test]
fn bad_encoding_is_not_read() {
    for bad in ["a=%", "a=%4", "%zz=1", "a=%ff", "%ff=1", "?a=1"] {
        assert!(read(bad.as_bytes(), false).is_none(), "{bad}");
    }
}

/// What Rack makes of a form. Errors are a meaning of their own: the request is refused.
#[derive(Clone, Debug, PartialEq)]
enum Rack {
    Text(String),
    List(Vec<Rack>),
    Table(BTreeMap<String, Rack>),
}

/// `Rack::QueryParser#parse_nested_query`, after its text.
fn rack(body: &str) -> Result<Rack, ()> {
    let mut params = BTreeMap::new();
    for pair in body.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        normalize(&mut params, &rack_decode(name), rack_decode(value), 0)?;
    }
    Ok(Rack::Table(params))
}

fn rack_decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.replace('+', " ");
    while !rest.is_empty() {
        if let Some(hex) = rest.strip_prefix('%') {
            out.push(u8::from_str_radix(&hex[..2], 16).unwrap());
            rest = hex[2..].to_owned();
        } else {
            out.push(rest.remove(0).try_into().unwrap());
        }
    }
    String::from_utf8(out).unwrap()
}

fn normalize(
    params: &mut BTreeMap<String, Rack>,
    name: &str,
    value: String,
    depth: usize,
) -> Result<Option<Rack>, ()> {
    let (key, after) = if depth == 0 {
        let start =
            name.char_indices().skip(1).find(|(_, c)| *c == '[').map_or(name.len(), |at| at.0);
        (&name[..start], &name[start..])
    } else if let Some(after) = name.strip_prefix("[]") {
        ("[]", after)
    } else if let Some((key, after)) = name.strip_prefix('[').and_then(|rest| rest.split_once(']'))
    {
        (key, after)
    } else {
        (name, "")
    };
    if key.is_empty() {
        return Ok(None);
    }
    if after.is_empty() {
        if key == "[]" && depth != 0 {
            return Ok(Some(Rack::List(vec![Rack::Text(value)])));
        }
        params.insert(key.into(), Rack::Text(value));
    } else if after == "[" {
        params.insert(name.into(), Rack::Text(value));
    } else if after == "[]" {
        list(params, key)?.push(Rack::Text(value));
    } else if let Some(below) = after.strip_prefix("[]") {
        let inner = below.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let child =
            inner.filter(|key| !key.is_empty() && !key.contains(['[', ']'])).unwrap_or(below);
        let items = list(params, key)?;
        match items.last_mut() {
            Some(Rack::Table(last)) if !has_key(last, child) => {
                normalize(last, child, value, depth + 1)?;
            }
            _ => {
                let mut fresh = BTreeMap::new();
                let made = normalize(&mut fresh, child, value, depth + 1)?;
                items.push(made.unwrap_or(Rack::Table(fresh)));
            }
        }
    } else {
        let slot = params.entry(key.into()).or_insert_with(|| Rack::Table(BTreeMap::new()));
        let Rack::Table(inner) = slot else { return Err(()) };
        if let Some(made) = normalize(inner, after, value, depth + 1)? {
            *slot = made;
        }
    }
    Ok(None)
}

fn list<'a>(params: &'a mut BTreeMap<String, Rack>, key: &str) -> Result<&'a mut Vec<Rack>, ()> {
    match params.entry(key.into()).or_insert_with(|| Rack::List(Vec::new())) {
        Rack::List(items) => Ok(items),
        Rack::Text(_) | Rack::Table(_) => Err(()),
    }
}

fn has_key(table: &BTreeMap<String, Rack>, name: &str) -> bool {
    if name.contains("[]") {
        return false;
    }
    let mut keys = name.split(['[', ']']).filter(|part| !part.is_empty());
    let Some(first) = keys.next() else { return false };
    let mut found = table.get(first);
    for key in keys {
        match found {
            Some(Rack::Table(inner)) => found = inner.get(key),
            _ => return false,
        }
    }
    found.is_some()
}

/// Fields of few names, of a kind at a time, so that two lists often nearly agree.
fn few_names() -> impl Strategy<Value = String> {
    prop_oneof![
        fields_named("[ab](\\[[ab]?\\]){0,3}"),
        fields_named("a\\[\\](\\[[ab]\\]){1,2}"),
        fields_named("a(\\[b\\]|b|\\[|\\]){1,3}"),
    ]
}

fn fields_named(names: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec((names, "[12]?"), 0..6).prop_map(|fields| {
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    })
}

fn shuffled() -> impl Strategy<Value = (String, String)> {
    few_names().prop_flat_map(|body| {
        let pairs: Vec<String> = body.split('&').map(str::to_owned).collect();
        (Just(body), Just(pairs).prop_shuffle().prop_map(|pairs| pairs.join("&")))
    })
}

fn same_form(one: &str, other: &str) -> bool {
    let (one_read, other_read) =
        (read(one.as_bytes(), false).unwrap(), read(other.as_bytes(), false).unwrap());
    match (one_read.whole, other_read.whole) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Characters as some encoder might write them: any of them, or only those that must be.
fn spell(text: &str, style: &[u8]) -> String {
    let mut styles = style.iter().copied().cycle();
    text.bytes()
        .map(|byte| match (byte, styles.next().unwrap_or(0) % 4) {
            (b' ', 0 | 1) => "+".to_owned(),
            (byte, 0) if byte.is_ascii_alphanumeric() || b"-_.~[]*!'()/".contains(&byte) => {
                char::from(byte).to_string()
            }
            (byte, 1) => format!("%{byte:02x}"),
            (byte, _) => format!("%{byte:02X}"),
        })
        .collect()
}

fn join(fields: &[(String, String)], style: &[u8]) -> String {
    let pair = |(name, value): &(String, String)| {
        format!("{}={}", spell(name, style), spell(value, &style[1..]))
    };
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_has_one_form_has_one_meaning((one, other) in shuffled()) {
        if same_form(&one, &other) {
            prop_assert_eq!(rack(&one), rack(&other), "{} / {}", one, other);
        }
    }

    #[test]
    fn different_requests_that_have_one_form_have_one_meaning(one in few_names(), other in few_names()) {
        if same_form(&one, &other) {
            prop_assert_eq!(rack(&one), rack(&other), "{} / {}", one, other);
        }
    }
}

proptest! {
    #[test]
    fn a_list_of_fields_has_one_form_however_it_is_spelled_and_ordered(
        fields in proptest::collection::btree_map("[a-c ~é]{1,3}(\\[[a-c&=+]{1,2}\\])?", "\\PC{0,6}", 0..8),
        styles in (proptest::collection::vec(any::<u8>(), 2..9), proptest::collection::vec(any::<u8>(), 2..9)),
        seed in any::<u64>(),
    ) {
        let mut fields: Vec<_> = fields.into_iter().collect();
        let one = join(&fields, &styles.0);
        fields.sort_by_key(|(name, _)| name.bytes().fold(seed, |sum, byte| {
            sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(byte))
        }));
        let other = join(&fields, &styles.1);
        let (one, other) = (read(one.as_bytes(), false).unwrap(), read(other.as_bytes(), false).unwrap());
        prop_assert_eq!(&one.fields, &other.fields);
        prop_assert_eq!(&one.whole, &other.whole);
        prop_assert_eq!(one.fields.len(), fields.len());
        for (name, value) in &fields {
            prop_assert!(one.fields.iter().any(|field| field.name == *name && field.value == value.as_bytes()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_not_without_harm(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(reading) = read(&body, false) {
            prop_assert!(reading.fields.len() <= 64);
        }
    }
}
