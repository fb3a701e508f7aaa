//! One recorded request as another policy recognises it, from the digests that were recorded.

use std::sync::Arc;

use http::Method;
use sha2::{Digest, Sha256};

use super::super::{By, Line, Said, template};
use crate::clock::Timestamp;
use crate::decide::canonical::FieldPattern;
use crate::decide::digest::{ClientKeyDigest, OperationId, WholeDigest};
use crate::decide::identity::{Fingerprint, Kind};
use crate::decide::observe;
use crate::decide::path::{Api, Target};
use crate::decide::policy::{
    Class, ClientKey, IdentityRule, Indeterminate, Merge, Otherwise, Policy, Rule, Uuid4Keys,
};

/// A line as the policy judges it.
pub(super) struct Anew {
    /// The rule that it falls to.
    pub(super) rule: Arc<Rule>,
    /// What it is recognised as.
    pub(super) as_what: As,
    uuid_is_sdks: bool,
}

/// What a recorded request is recognised as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// Nothing: it is not critical.
    Nobody,
    /// It is refused.
    Refused,
    /// Too little of it was recorded.
    Untold,
    /// A single call.
    Call,
    /// An operation.
    Operation(Kind, OperationId),
}

impl Anew {
    /// `None` if its method or path is none.
    pub(super) fn of(policy: &Policy, line: &Line) -> Option<Self> {
        let method = Method::from_bytes(line.method.as_bytes()).ok()?;
        let target = Target::parse(&template::example(&line.path)).ok()?;
        let uuid_is_sdks = policy.uuid4_keys() == Uuid4Keys::Sdk;
        let rule = policy.judge(&method, &target);
        let as_what = match (rule.class, &line.said) {
            (Class::Pass, _) => As::Nobody,
            (Class::Refuse, _) => As::Refused,
            (Class::Critical, None) => As::Untold,
            (Class::Critical, Some(said)) => recognise(line, said, rule, uuid_is_sdks),
        };
        Some(Self { rule: Arc::clone(rule), as_what, uuid_is_sdks })
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        match self.as_what {
            As::Nobody | As::Refused | As::Untold => None,
            As::Call => Some(Kind::Call),
            As::Operation(kind, _) => Some(kind),
        }
    }

    pub(super) fn show(&self) -> String {
        let what = match self.as_what {
            As::Nobody => self.rule.class.as_str(),
            As::Refused => "refused",
            As::Untold => "not told",
            As::Call => Kind::Call.as_str(),
            As::Operation(kind, _) => kind.as_str(),
        };
        format!("{} ({what})", self.rule.name)
    }

    /// It, as an observed request, the `n`-th.
    pub(super) fn request(&self, n: usize, line: &Line) -> Option<observe::Request> {
        let (As::Operation(kind, operation), Some(said)) = (self.as_what, &line.said) else {
            return None;
        };
        let key = said.client_key.as_ref();
        let uuid = self.uuid_is_sdks && key.is_some_and(|key| key.chosen == By::Uuid);
        let whole = WholeDigest(short(&[b"whole", said.whole.as_bytes()]));
        Some(observe::Request {
            operation,
            api: if line.path.starts_with("/v2/") { Api::V2 } else { Api::V1 },
            kind,
            fingerprint: Fingerprint { whole, fields: Vec::new() },
            client_key: key.map(|key| {
                let parts = [b"client key", key.digest.as_bytes(), said.whole.as_bytes()];
                ClientKeyDigest(short(&parts))
            }),
            twins: self.rule.merge == Merge::Twins && !uuid,
            repeat_window: self.rule.repeat_window,
            next_after_saved_500: self.rule.indeterminate == Indeterminate::Next,
            arrived: Timestamp::from_millis(line.at),
            token: n.to_string(),
        })
    }
}

/// The order of identities is that of [`identity`](crate::decide::identity), over digests.
fn recognise(line: &Line, said: &Said, rule: &Rule, uuid_is_sdks: bool) -> As {
    let own = said.client_key.as_ref().filter(|key| match key.chosen {
        By::Own => true,
        By::Sdk => false,
        By::Uuid => !uuid_is_sdks,
    });
    if own.is_none() && rule.client_key == ClientKey::Required {
        return As::Refused;
    }
    let operation = |kind: Kind, identity: &[&str]| {
        let fixed = [&said.scope, &line.method, &said.target].map(String::as_bytes);
        let mut parts = vec![kind.as_str().as_bytes()];
        parts.extend(fixed);
        parts.extend(identity.iter().map(|part| part.as_bytes()));
        As::Operation(kind, OperationId(long(&parts)))
    };
    if let Some(header) = &said.header {
        return operation(Kind::Header, &[header]);
    }
    let mut by_content = false;
    match &rule.identity {
        IdentityRule::Call => {}
        IdentityRule::Content => by_content = true,
        IdentityRule::Fields { names, otherwise } => {
            let names: Vec<&str> = names.iter().map(FieldPattern::as_str).collect();
            let pairs: Option<Vec<[&str; 2]>> =
                names.iter().map(|name| Some([*name, value(said, name)?])).collect();
            match (pairs, otherwise) {
                (Some(pairs), _) => return operation(Kind::Fields, pairs.as_flattened()),
                (None, _) if said.more => return As::Untold,
                (None, Otherwise::Content) => by_content = true,
                (None, Otherwise::Call) => {}
                (None, Otherwise::Refuse) if own.is_some() => {}
                (None, Otherwise::Refuse) => return As::Refused,
            }
        }
    }
    if let Some(key) = own {
        return operation(Kind::OwnKey, &[&key.digest]);
    }
    let distinguishes = |name: &str| rule.distinguishes.iter().any(|field| field.matches(name));
    if by_content && said.fields.iter().any(|(name, value)| value.is_some() && distinguishes(name))
    {
        return operation(Kind::Content, &[&said.whole]);
    }
    if by_content && said.more { As::Untold } else { As::Call }
}

/// The digest of a field that is there once and says something.
fn value<'a>(said: &'a Said, name: &str) -> Option<&'a str> {
    let mut named = said.fields.iter().filter(|(known, _)| known == name);
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value.as_deref()?)
}

/// A name for `parts` within this replay: what goes in is digested with a key already.
fn long(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// Likewise, in 16 bytes.
pub(super) fn short(parts: &[&[u8]]) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(long(parts)) {
        *to = from;
    }
    short
}
