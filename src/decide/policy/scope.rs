//! `[[scope]]`: API keys of one account, which count as one.
//!
//! A rolled API key is otherwise another scope, and what was in doubt under the old key another
//! operation. The file names a key by its SHA-256, never by itself.

use std::collections::HashMap;

use super::problem::Report;
use super::table::{Table, Text};
use crate::decide::digest::ApiKeyDigest;

/// Keys that may stand in one `[[scope]]`: those of one account, while they are rolled.
const MOST_KEYS: usize = 64;

const MEND: &str = "write the SHA-256 of the key: printf %s \"$STRIPE_API_KEY\" | sha256sum";

/// Which API keys count as one. By default each is a scope of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    aliases: Vec<ScopeAlias>,
    by_key: HashMap<ApiKeyDigest, usize>,
}

/// API keys of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeAlias {
    /// Its name, part of every operation id in it.
    pub name: String,
    /// Its keys.
    pub keys: Vec<ApiKeyDigest>,
}

impl Scopes {
    /// These; of a key that stands in two, the first counts.
    #[must_use]
    pub fn new(aliases: Vec<ScopeAlias>) -> Self {
        let mut by_key = HashMap::new();
        for (index, alias) in aliases.iter().enumerate() {
            for key in &alias.keys {
                by_key.entry(*key).or_insert(index);
            }
        }
        Self { aliases, by_key }
    }

    /// The one that this key belongs to.
    #[must_use]
    pub fn of(&self, key: &ApiKeyDigest) -> Option<&ScopeAlias> {
        self.by_key.get(key).and_then(|index| self.aliases.get(*index))
    }

    /// All of them, in the order of the file.
    #[must_use]
    pub fn aliases(&self) -> &[ScopeAlias] {
        &self.aliases
    }
}

/// Reads every `[[scope]]`.
pub(super) fn read(root: &Table<'_, '_>, report: &mut Report<'_>) -> Scopes {
    let mut names: Vec<String> = Vec::new();
    let mut owners: HashMap<ApiKeyDigest, String> = HashMap::new();
    let mut aliases = Vec::new();
    for table in root.tables(report, "scope", "a [[scope]]") {
        table.allow(report, &["name", "keys"], &[]);
        let name = name(&table, report, &names);
        names.push(name.clone());
        let keys = keys(&table, report, &name, &mut owners);
        aliases.push(ScopeAlias { name, keys });
    }
    Scopes::new(aliases)
}

fn name(table: &Table<'_, '_>, report: &mut Report<'_>, known: &[String]) -> String {
    if table.get("name").is_none() {
        table.missing(report, "name", "give it one, and keep it: operations are recognised by it");
    }
    let Some(Text { value, span }) = table.text(report, "name") else { return String::new() };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    if value.is_empty() || value.len() > 64 || !value.chars().all(plain) {
        report.add(span, "this is no name for a scope", "write 1 to 64 of a-z, 0-9, `_`, `-`, `.`");
    } else if known.iter().any(|name| name == value) {
        let what = format!("a scope named `{value}` stands above already");
        report.add(span, what, "put the keys of one account into one [[scope]]");
    }
    value.to_owned()
}

fn keys(
    table: &Table<'_, '_>,
    report: &mut Report<'_>,
    name: &str,
    owners: &mut HashMap<ApiKeyDigest, String>,
) -> Vec<ApiKeyDigest> {
    if table.get("keys").is_none() {
        table.missing(report, "keys", MEND);
    }
    let texts = table.texts(report, "keys").unwrap_or_default();
    if let Some(value) = table.get("keys").filter(|_| texts.is_empty()) {
        report.add(value.span(), "the scope has no key", MEND);
    }
    let mut keys = Vec::new();
    for Text { value, span } in texts {
        let Some(digest) = digest(value) else {
            let what = if value.contains('_') {
                "this looks like an API key, which has no place in this file; if it is a real one, \
                 roll it"
            } else {
                "this is no SHA-256: 64 hexadecimal digits"
            };
            report.add(span, what, MEND);
            continue;
        };
        if let Some(other) = owners.insert(digest, name.to_owned()) {
            let what = format!("this key stands in the scope `{other}` already");
            report.add(span, what, "a key belongs to one account: remove it from one of them");
        } else if keys.len() == MOST_KEYS {
            let what = format!("a scope has at most {MOST_KEYS} keys");
            report.add(span, what, "remove the keys that are rolled since a month");
        } else {
            keys.push(digest);
        }
    }
    keys
}

fn digest(text: &str) -> Option<ApiKeyDigest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok().map(|()| ApiKeyDigest(bytes))
}

#[cfg(test)]
mod tests {
    use crate::decide::digest::ApiKeyDigest;
    use crate::decide::policy::Policy;

    fn problems(scopes: &str) -> Vec<String> {
        let problems = Policy::parse(&format!("version = 1\n{scopes}")).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_digest_is_what_sha256sum_prints() {
        let digest = "73475cb40a568e8da8a045ced110137e159f890ac4da883b6b17dc651b3a8049";
        let text = format!("version = 1\n[[scope]]\nname = \"shop\"\nkeys = [\"{digest}\"]");
        let policy = Policy::parse(&text).unwrap();
        let alias = policy.scopes().of(&ApiKeyDigest::of(b"42")).unwrap();
        assert_eq!(alias.name, "shop");
        assert_eq!(policy.scopes().of(&ApiKeyDigest::of(b"43")), None);
    }

    #[test]
    fn an_api_key_in_the_file_is_refused_and_not_shown() {
        let key = "sk_live_51HqWhisperItSoftly0000";
        let problems = problems(&format!("[[scope]]\nname = \"a\"\nkeys = [\"{key}\"]"));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("looks like an API key"), "{}", problems[0]);
        assert!(problems[0].contains("sk_live_•"), "{}", problems[0]);
        assert!(!problems[0].contains("Whisper"), "{}", problems[0]);
    }

    #[test]
    fn every_mistake_is_named_where_it_stands() {
        let one = "0a".repeat(32);
        let said = problems(&format!(
            "[[scope]]\nkeys = [\"{one}\"]\n[[scope]]\nname = \"b\"\nkeys = [\"{one}\", \"xyz\"]\n\
             [[scope]]\nname = \"b\"\nkeys = []\n[[scope]]\nname = \"C\"\nkey = 1"
        ));
        insta::assert_snapshot!(said.join("\n\n"));
    }
}
