//! Form bodies and query strings (`application/x-www-form-urlencoded`), as Stripe's SDKs write
//! them (FACTS §1.7) and as servers with nested parameters (Rack) read them.
//!
//! Spellings made equal: `+` and `%20`; hexadecimal digits of either case; characters encoded
//! though they need not be, brackets in names too; empty pairs (`&&`); `name` and `name=`, which
//! Stripe does not tell apart; the order of fields where no order is meant.
//! Left different, which at worst misses a merge: `a[]=1` and `a[0]=1`. An SDK writes one of them.

use std::cmp::Ordering;

use super::super::path::percent_decode;
use super::field::{self, Field, Marker};
use super::{DEPTH_MAX, FIELDS_MAX, Reading, put};

/// Before the name of each field of a query; a body with such a name is not read.
pub(super) const QUERY_PREFIX: char = '?';

/// Reads a body or (with `of_query`) a query. `None`: bad percent-encoding, not UTF-8, or beyond
/// the limits.
pub(super) fn read(raw: &[u8], of_query: bool) -> Option<Reading> {
    let mut fields = Vec::new();
    for pair in raw.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        if fields.len() == FIELDS_MAX {
            return None;
        }
        fields.push(read_pair(pair, of_query)?);
    }
    // Some servers take a raw `;` for `&`, some do not: then only the bytes say what is meant.
    let one_meaning = settle(&mut fields, |field| &field.name) && !raw.contains(&b';');
    let whole = one_meaning.then(|| write(&fields));
    Some(Reading { fields, whole })
}

fn read_pair(pair: &[u8], of_query: bool) -> Option<Field> {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let (raw_name, raw_value) = (halves.next()?, halves.next().unwrap_or_default());
    let mut name = Vec::with_capacity(raw_name.len().saturating_add(1));
    if of_query {
        name.push(b'?');
    }
    percent_decode(raw_name, true, &mut name).ok()?;
    let mut value = Vec::new();
    percent_decode(raw_value, true, &mut value).ok()?;
    std::str::from_utf8(&value).ok()?;
    let name = String::from_utf8(name).ok()?;
    let readable = of_query || !name.starts_with(QUERY_PREFIX);
    (readable && name.matches('[').count() <= DEPTH_MAX).then_some(Field {
        name,
        value,
        marker: Marker::Text,
    })
}

fn write(fields: &[Field]) -> Vec<u8> {
    let size = fields.iter().map(|field| field.name.len() + field.value.len() + 16).sum();
    let mut out = Vec::with_capacity(size);
    for field in fields {
        put(&mut out, field.name.as_bytes());
        put(&mut out, &field.value);
    }
    out
}

/// Puts fields in an order that does not depend on the one they were sent in, as far as that means
/// nothing; whether that was so everywhere. If not, only what was sent says what is meant.
///
/// Order means something among fields of one name, and among all that share a prefix up to `[]`:
/// `items[][price]=a&items[][quantity]=1&items[][price]=b` begins a second item where a name comes
/// again. Those keep the order sent. It means something that cannot be kept so where a name is both
/// a value and a parent (`metadata=&metadata[a]=1`), both a list and a table (`a[]=1&a[b]=2`), or
/// where brackets do not pair up.
pub(super) fn settle<T>(fields: &mut [T], name: impl Fn(&T) -> &str) -> bool {
    fields.sort_by(|a, b| sort_key(name(a)).cmp(sort_key(name(b))));
    let keys: Vec<&str> = fields.iter().map(|field| sort_key(name(field))).collect();
    fields.iter().all(|field| has_paired_brackets(name(field)))
        && keys.iter().all(|key| has_one_shape(&keys, key))
}

/// The part of a name by which it is sorted: up to its first `[]`.
fn sort_key(name: &str) -> &str {
    let list = name.as_bytes().windows(2).position(|pair| pair == b"[]");
    list.and_then(|at| name.get(..at.saturating_add(2))).unwrap_or(name)
}

fn has_paired_brackets(name: &str) -> bool {
    field::split(name.strip_prefix(QUERY_PREFIX).unwrap_or(name)).is_some()
}

/// Whether no parent of `key` is also a value, or a list though `key` makes it a table.
fn has_one_shape(sorted: &[&str], key: &str) -> bool {
    key.match_indices('[').filter_map(|(at, _)| key.split_at_checked(at)).all(|(parent, below)| {
        let is_value = sorted.binary_search(&parent).is_ok();
        let is_list = || sorted.binary_search_by(|other| compare_to_list(other, parent)).is_ok();
        !is_value && (below == "[]" || !is_list())
    })
}

/// How `key` compares to `parent` with `[]` after it.
fn compare_to_list(key: &str, parent: &str) -> Ordering {
    key.strip_prefix(parent).map_or_else(|| key.cmp(parent), |below| below.cmp("[]"))
}

#[cfg(test)]
mod tests;
