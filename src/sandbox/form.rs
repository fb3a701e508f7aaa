//! Form bodies as Stripe reads them: decoded pairs, nested by their brackets into JSON.
//!
//! Written for the sandbox alone, so that the oracle never agrees with payonce by construction.

use serde_json::{Map, Value};

/// Deepest nesting of brackets that is taken.
const DEPTH: usize = 16;
/// Most fields in one form.
const FIELDS: usize = 10_000;

/// Why a form was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadForm {
    #[error("the form has more than {FIELDS} fields")]
    TooMany,
    #[error("a parameter name is nested more than {DEPTH} deep")]
    TooDeep,
}

/// The nested value of `bodies` (a query, a form body), one after the other.
pub(crate) fn read(bodies: &[&[u8]]) -> Result<Value, BadForm> {
    let mut root = Value::Object(Map::new());
    let pairs = bodies.iter().flat_map(|body| form_urlencoded::parse(body));
    for (n, (name, value)) in pairs.enumerate() {
        if n >= FIELDS {
            return Err(BadForm::TooMany);
        }
        let path = split(&name);
        if path.len() > DEPTH {
            return Err(BadForm::TooDeep);
        }
        insert(&mut root, &path, &value);
    }
    tidy(&mut root);
    Ok(root)
}

/// `a[b][]` is `a`, `b` and an empty part; a name whose brackets do not pair is one plain name.
fn split(name: &str) -> Vec<&str> {
    let plain = || vec![name];
    let Some((first, mut rest)) = name.split_once('[') else { return plain() };
    let mut path = vec![first];
    loop {
        let Some((inner, after)) = rest.split_once(']') else { return plain() };
        path.push(inner);
        match after.strip_prefix('[') {
            Some(next) => rest = next,
            None if after.is_empty() => return path,
            None => return plain(),
        }
    }
}

fn insert(node: &mut Value, path: &[&str], value: &str) {
    match path {
        [] => *node = Value::String(value.to_owned()),
        ["", rest @ ..] if node.is_array() || !node.is_object() => {
            if !node.is_array() {
                *node = Value::Array(Vec::new());
            }
            if let Value::Array(items) = node {
                insert_item(items, rest, value);
            }
        }
        [name, rest @ ..] => {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            if let Value::Object(map) = node {
                insert(map.entry((*name).to_owned()).or_insert(Value::Null), rest, value);
            }
        }
    }
}

/// `a[][x]=1&a[][y]=2` is one item, `a[][x]=1&a[][x]=2` is two, as Rack reads them.
fn insert_item(items: &mut Vec<Value>, rest: &[&str], value: &str) {
    if let ([name, deeper @ ..], Some(Value::Object(last))) = (rest, items.last_mut())
        && !last.contains_key(*name)
    {
        insert(last.entry((*name).to_owned()).or_insert(Value::Null), deeper, value);
        return;
    }
    let mut item = Value::Null;
    insert(&mut item, rest, value);
    items.push(item);
}

/// `a[0]`, `a[1]` … are a list.
fn tidy(node: &mut Value) {
    match node {
        Value::Object(map) => {
            map.values_mut().for_each(tidy);
            let count = map.len();
            let listed = (0..count).all(|n| map.contains_key(&n.to_string()));
            if listed && count > 0 {
                let items = (0..count).filter_map(|n| map.remove(&n.to_string())).collect();
                *node = Value::Array(items);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn brackets_nest_and_numbered_brackets_are_a_list() {
        let read = read(&[b"a[b]=1&items[0][price]=p&items[1][price]=q&x[]=1&x[]=2&s=a+b%7E"]);
        assert_eq!(
            read.unwrap(),
            json!({"a": {"b": "1"}, "items": [{"price": "p"}, {"price": "q"}],
                   "x": ["1", "2"], "s": "a b~"})
        );
    }

    #[test]
    fn the_order_and_the_encoding_of_fields_do_not_matter() {
        let one = read(&[b"amount=5&metadata[order id]=a+b"]).unwrap();
        let two = read(&[b"metadata%5Border%20id%5D=a%20b&amount=5"]).unwrap();
        assert_eq!(one, two);
    }

    #[test]
    fn an_unpaired_bracket_is_part_of_a_plain_name() {
        assert_eq!(read(&[b"a[b=1"]).unwrap(), json!({"a[b": "1"}));
    }

    #[test]
    fn nesting_and_count_are_bounded() {
        let deep = format!("a{}=1", "[x]".repeat(20));
        assert_eq!(read(&[deep.as_bytes()]), Err(BadForm::TooDeep));
        let many = "a=1&".repeat(FIELDS + 1);
        assert_eq!(read(&[many.as_bytes()]), Err(BadForm::TooMany));
    }
}
