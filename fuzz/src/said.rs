//! What the properties of all body readers share.

use payonce::decide::canonical::{Canonical, FIELDS_MAX};
use payonce::decide::digest::{Scope, Secret};
use payonce::decide::identity::Fingerprint;

/// Whether the form is what was sent: then only the same bytes are the same.
pub fn as_sent(canonical: &Canonical) -> bool {
    canonical.whole().first() == Some(&b'R')
}

/// What holds for whatever was read.
pub fn check_bounds(canonical: &Canonical, sent_bytes: usize) {
    let fields = canonical.fields();
    assert!(fields.len() <= 2 * FIELDS_MAX);
    // A field costs two lengths, a part of a multipart body two more and a digest.
    assert!(canonical.whole().len() <= 256 + 2 * sent_bytes + 80 * fields.len());
    for field in fields.iter().take(50) {
        let named = fields.iter().filter(|other| other.name == field.name);
        if let Some(value) = canonical.get(&field.name) {
            assert_eq!(value, field.value);
            assert_eq!(named.count(), 1, "get() takes a repeated field for one");
        }
    }
}

/// What was asked, hashed as the ledger has it.
pub fn fingerprint(canonical: &Canonical) -> Fingerprint {
    let secret = Secret::configured(b"a secret of the fuzz targets");
    Fingerprint::of(&secret, &Scope::of(b"sk_test_1", None, None), canonical)
}

/// Two requests that mean the same.
pub fn check_same(one: &Canonical, other: &Canonical, why: &str) {
    assert_eq!(one.kind(), other.kind(), "{why}");
    assert!(one.fields() == other.fields(), "other fields: {why}");
    assert!(one.whole() == other.whole(), "another whole: {why}");
    assert_eq!(fingerprint(one), fingerprint(other), "{why}");
}

/// Two requests that differ; `name` is the one field in which they do, if it is one.
pub fn check_different(one: &Canonical, other: &Canonical, name: Option<&str>, why: &str) {
    assert!(one.whole() != other.whole(), "taken for the same: {why}");
    let (one_print, other_print) = (fingerprint(one), fingerprint(other));
    assert!(!one_print.matches(&other_print), "{why}");
    let is_listed = |canonical: &Canonical| canonical.fields().len() < Fingerprint::MAX_FIELDS;
    if let Some(name) = name.filter(|name| name.len() < 100)
        && is_listed(one)
        && is_listed(other)
        && one.kind() == other.kind()
    {
        assert_eq!(one_print.differing(&other_print), [name], "{why}");
    }
}
