//! What of a policy decides *which operation* a request is, apart from all else that it says.
//!
//! Two policies with the same way recognise every request as the same operation. Ways are kept in
//! the store for as long as an operation may stand there that was recognised by them, so that an
//! edit loses none ([`ways`](crate::ways)). Their text is JSON that a person can read.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::template::Pattern;
use super::{Class, IdentityRule, Otherwise, Policy, Rule, ScopeAlias, Scopes, Uuid4Keys};
use crate::decide::canonical::FieldPattern;
use crate::decide::digest::{ApiKeyDigest, IdFormat};

/// The form of a way that this payonce writes.
const FORMAT: u32 = 1;

/// How a policy recognises operations.
#[derive(Debug)]
pub struct Way {
    id: String,
    text: String,
    ids: IdFormat,
    policy: Policy,
}

/// A text is no way that this payonce reads: it is damaged, or a newer payonce wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a former policy in the store cannot be read: {0}")]
pub struct UnreadableWay(String);

#[derive(Serialize, Deserialize)]
struct Text {
    format: u32,
    /// The format of operation ids.
    ids: u32,
    uuid4_keys: String,
    default_writes: String,
    scopes: Vec<ScopeText>,
    rules: Vec<RuleText>,
}

#[derive(Serialize, Deserialize)]
struct ScopeText {
    name: String,
    keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct RuleText {
    #[serde(rename = "match")]
    patterns: Vec<String>,
    class: String,
    identity: IdentityText,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    distinguishes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum IdentityText {
    Call,
    Content,
    Fields { names: Vec<String>, otherwise: String },
}

impl Way {
    /// The way of a policy.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self::with(policy, IdFormat::default())
    }

    /// The way of a policy in another format of ids.
    #[must_use]
    pub fn with(policy: &Policy, ids: IdFormat) -> Self {
        let rules = policy.rules.iter().map(|rule| RuleText::of(rule)).collect();
        let text = Text {
            format: FORMAT,
            ids: match ids {
                IdFormat::First => 1,
                IdFormat::Second => 2,
            },
            uuid4_keys: policy.uuid4_keys.as_str().to_owned(),
            default_writes: policy.default_writes.class.as_str().to_owned(),
            scopes: policy.scopes.aliases().iter().map(ScopeText::of).collect(),
            rules,
        };
        let text = serde_json::to_string(&text).unwrap_or_default();
        let rules = policy.rules.iter().map(|rule| Rule::clone(rule)).collect();
        let scopes = policy.scopes.clone();
        let class = policy.default_writes.class;
        Self::new(text, ids, policy.uuid4_keys, class, scopes, rules)
    }

    /// Reads what [`Self::text`] wrote.
    ///
    /// # Errors
    /// [`UnreadableWay`].
    pub fn read(text: &str) -> Result<Self, UnreadableWay> {
        let bad = |what: &str| UnreadableWay(what.to_owned());
        let read: Text =
            serde_json::from_str(text).map_err(|error| UnreadableWay(error.to_string()))?;
        if read.format != FORMAT {
            return Err(UnreadableWay(format!("its format is {}, not {FORMAT}", read.format)));
        }
        let ids = match read.ids {
            1 => IdFormat::First,
            2 => IdFormat::Second,
            _newer => return Err(bad("its ids")),
        };
        let uuid4_keys = named(&Uuid4Keys::NAMES, &read.uuid4_keys).ok_or_else(|| bad("keys"))?;
        let writes = named(&Class::NAMES, &read.default_writes).ok_or_else(|| bad("writes"))?;
        let scopes = read.scopes.iter().map(ScopeText::read).collect::<Option<Vec<_>>>();
        let scopes = Scopes::new(scopes.ok_or_else(|| bad("a scope"))?);
        let rules = read.rules.iter().map(RuleText::read).collect::<Option<Vec<_>>>();
        let rules = rules.ok_or_else(|| bad("a rule"))?;
        Ok(Self::new(text.to_owned(), ids, uuid4_keys, writes, scopes, rules))
    }

    fn new(
        text: String,
        ids: IdFormat,
        uuid4_keys: Uuid4Keys,
        writes: Class,
        scopes: Scopes,
        rules: Vec<Rule>,
    ) -> Self {
        let mut id = hex::encode(Sha256::digest(&text));
        id.truncate(16);
        let mut policy = super::document::assemble(&text, rules);
        policy.uuid4_keys = uuid4_keys;
        policy.default_writes = std::sync::Arc::new(Rule::call("default_writes".into(), writes));
        policy.scopes = scopes;
        policy.way.clone_from(&id);
        Self { id, text, ids, policy }
    }

    /// What tells it from other ways: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As it is kept.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The format of its operations' ids.
    #[must_use]
    pub const fn ids(&self) -> IdFormat {
        self.ids
    }

    /// A policy that recognises in this way; whatever else it says is the default.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }
}

impl ScopeText {
    fn of(alias: &ScopeAlias) -> Self {
        let keys = alias.keys.iter().map(|key| hex::encode(key.0)).collect();
        Self { name: alias.name.clone(), keys }
    }

    fn read(&self) -> Option<ScopeAlias> {
        let key = |text: &String| {
            let mut bytes = [0; 32];
            hex::decode_to_slice(text, &mut bytes).ok().map(|()| ApiKeyDigest(bytes))
        };
        let keys = self.keys.iter().map(key).collect::<Option<Vec<_>>>()?;
        Some(ScopeAlias { name: self.name.clone(), keys })
    }
}

impl RuleText {
    fn of(rule: &Rule) -> Self {
        let names = |fields: &[FieldPattern]| {
            fields.iter().map(|field| field.as_str().to_owned()).collect::<Vec<_>>()
        };
        let identity = match &rule.identity {
            IdentityRule::Call => IdentityText::Call,
            IdentityRule::Content => IdentityText::Content,
            IdentityRule::Fields { names: fields, otherwise } => IdentityText::Fields {
                names: names(fields),
                otherwise: otherwise.as_str().to_owned(),
            },
        };
        Self {
            patterns: rule.patterns.iter().map(|it| it.as_str().to_owned()).collect(),
            class: rule.class.as_str().to_owned(),
            identity,
            distinguishes: names(&rule.distinguishes),
        }
    }

    fn read(&self) -> Option<Rule> {
        let fields = |names: &[String]| {
            names.iter().map(|name| FieldPattern::parse(name).ok()).collect::<Option<Vec<_>>>()
        };
        let pattern = |text: &String| Pattern::parse(text, 0).ok();
        let identity = match &self.identity {
            IdentityText::Call => IdentityRule::Call,
            IdentityText::Content => IdentityRule::Content,
            IdentityText::Fields { names, otherwise } => IdentityRule::Fields {
                names: fields(names)?,
                otherwise: named(&Otherwise::NAMES, otherwise)?,
            },
        };
        let class = named(&Class::NAMES, &self.class)?;
        Some(Rule {
            identity,
            distinguishes: fields(&self.distinguishes)?,
            patterns: self.patterns.iter().map(pattern).collect::<Option<Vec<_>>>()?,
            ..Rule::call("former".to_owned(), class)
        })
    }
}

fn named<T: Copy>(names: &[(&str, T)], text: &str) -> Option<T> {
    names.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(&format!("version = 1\n{text}")).unwrap()
    }

    const CHARGES: &str = "[[rule]]\nname = \"charges\"\nmatch = [\"POST /v1/charges\"]\n\
                           class = \"critical\"\n";

    fn charges(more: &str) -> Way {
        Way::of(&policy(&format!("{CHARGES}{more}")))
    }

    #[test]
    fn a_way_is_read_as_it_was_written() {
        let shipped = Policy::parse(crate::policy_file::SHIPPED).unwrap();
        let way = Way::of(&shipped);
        assert_eq!(shipped.way(), way.id());
        let read = Way::read(way.text()).unwrap();
        assert_eq!((read.id(), read.text()), (way.id(), way.text()));
        for (rule, of) in read.policy().rules().iter().zip(shipped.rules()) {
            assert_eq!((&rule.identity, rule.class), (&of.identity, of.class), "{}", of.name);
            assert_eq!(rule.distinguishes, of.distinguishes);
        }
        let scoped = policy(&format!(
            "[[scope]]\nname = \"acme\"\nkeys = [\"{}\", \"{}\"]\n",
            "0a".repeat(32),
            "0b".repeat(32)
        ));
        let read = Way::read(Way::of(&scoped).text()).unwrap();
        assert_eq!(read.policy().scopes(), scoped.scopes());
    }

    #[test]
    fn what_changes_no_identity_changes_no_way() {
        let content = "identity = \"content\"\ndistinguishes = [\"customer\"]\n";
        let before = charges(content);
        for same in [
            "merge = \"twins\"\nrepeat_window = \"30s\"\n",
            "store_down = \"refuse\"\n",
            "indeterminate = \"next\"\n",
            "finish = \"30m\"\n",
        ] {
            assert_eq!(charges(&format!("{content}{same}")).id(), before.id(), "{same}");
        }
        let renamed = format!("{CHARGES}{content}").replace("\"charges\"", "\"renamed\"");
        assert_eq!(Way::of(&policy(&renamed)).id(), before.id());
    }

    #[test]
    fn what_changes_an_identity_changes_the_way() {
        let text = format!("{CHARGES}identity = \"content\"\ndistinguishes = [\"customer\"]\n");
        let before = policy(&text).way().to_owned();
        for (from, to) in [
            ("\"customer\"", "\"customer\", \"source\""),
            ("identity = \"content\"\ndistinguishes = [\"customer\"]", "identity = \"call\""),
            (
                "identity = \"content\"",
                "identity = [\"metadata[order_id]\"]\notherwise = \"content\"",
            ),
            ("/v1/charges", "/v1/refunds"),
            ("[[rule]]", "uuid4_keys = \"own\"\n[[rule]]"),
            ("[[rule]]", "default_writes = \"pass\"\n[[rule]]"),
        ] {
            assert_ne!(policy(&text.replace(from, to)).way(), before, "{to}");
        }
    }

    #[test]
    fn a_way_of_a_newer_payonce_is_said_to_be_one() {
        let text = charges("").text().replace("\"format\":1", "\"format\":2");
        assert_eq!(
            Way::read(&text).unwrap_err().to_string(),
            "a former policy in the store cannot be read: its format is 2, not 1"
        );
        assert!(Way::read("{}").is_err());
    }
}
