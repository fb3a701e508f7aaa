//! Which operation a request is: identity, operation id, fingerprint (DESIGN §2).
//!
//! What leaves this room is a keyed [`digest`](super::digest), so that it tells nobody what was
//! asked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::canonical::{Canonical, Field, FieldPattern};
use super::digest::{
    CallDigest, ClientKeyDigest, FieldDigest, OperationId, Scope, Secret, WholeDigest,
};
use super::key::{Chosen, IdempotencyKey};
use super::path::Target;
use super::policy::{ClientKey, IdentityRule, Merge, Otherwise, Rule};
use crate::seams::{self, Mistake};

/// What makes two requests the same operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The `Payonce-Operation` header.
    Header,
    /// The rule's identity fields.
    Fields,
    /// A key that the application chose.
    OwnKey,
    /// The canonical content.
    Content,
    /// Nothing: every call is its own operation.
    Call,
}

impl Kind {
    /// The name in logs and digests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Fields => "fields",
            Self::OwnKey => "own_key",
            Self::Content => "content",
            Self::Call => "call",
        }
    }
}

/// What a critical request says that bears on its identity.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the provider is: part of the operation, so that a sandbox never meets live records.
    pub provider: &'a str,
    /// The method, in upper case.
    pub method: &'a str,
    /// The target.
    pub target: &'a Target,
    /// The value of `Payonce-Operation`.
    pub header: Option<&'a str>,
    /// The client's key, and who chose it.
    pub client_key: Option<(&'a IdempotencyKey, Chosen)>,
    /// What it says.
    pub content: &'a Canonical,
    /// Random bytes: what tells one call without a key from another.
    pub nonce: [u8; 16],
    /// The scope of its API key alone, whatever a policy says of that: I2 hangs on it.
    pub own_scope: &'a Scope,
}

/// A recognised request.
#[derive(Clone, Debug)]
pub struct Identified {
    /// What it was recognised by.
    pub kind: Kind,
    /// Which operation it is; for a call, which call.
    pub operation: OperationId,
    /// What must match when it is asked for again.
    pub fingerprint: Fingerprint,
    /// Its client key with its content, hashed.
    pub client_key: Option<ClientKeyDigest>,
    /// Its client key with everything that it may not be moved to, hashed: I2 hangs on it.
    pub call: Option<CallDigest>,
    /// Whether it may share a live or freshly delivered answer (`merge = "twins"`).
    pub twins: bool,
}

/// The rule wants something that the request does not have; nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// `otherwise = "refuse"`.
    #[error("the policy wants {0:?} in this request, each with one value")]
    FieldsMissing(Vec<String>),
    /// `client_key = "required"`.
    #[error("the policy wants an Idempotency-Key of the application's own for this request")]
    OwnKeyRequired,
}

/// Says which operation `request` is under `rule`.
///
/// # Errors
/// [`Unidentified`], where the rule refuses what it cannot recognise.
pub fn identify(
    secret: &Secret,
    scope: &Scope,
    request: &Request<'_>,
    rule: &Rule,
) -> Result<Identified, Unidentified> {
    let own = match request.client_key {
        Some((key, Chosen::ByApplication)) => Some(key),
        Some((_, Chosen::BySdk { .. })) | None => None,
    };
    if own.is_none() && rule.client_key == ClientKey::Required {
        return Err(Unidentified::OwnKeyRequired);
    }
    let (kind, identity) = recognise(request, rule, own)?;
    let fingerprint = Fingerprint::of(secret, scope, request.content);
    // No decoded segment holds a slash, so joining them loses nothing.
    let path = request.target.segments().join("/");
    let identity: Vec<&[u8]> = identity.iter().map(Vec::as_slice).collect();
    let operation = secret.digest(&[
        b"payonce operation 1",
        request.provider.as_bytes(),
        &scope.0,
        request.method.as_bytes(),
        path.as_bytes(),
        kind.as_str().as_bytes(),
        &secret.digest(&identity),
    ]);
    let uuid = matches!(request.client_key, Some((_, Chosen::BySdk { uuid: true })));
    Ok(Identified {
        kind,
        operation: OperationId(operation),
        client_key: request.client_key.map(|(key, _)| {
            ClientKeyDigest(secret.short(&[
                b"payonce client key 1",
                key.as_str().as_bytes(),
                &fingerprint.whole.0,
            ]))
        }),
        call: request.client_key.map(|(key, _)| {
            let whole = if request.own_scope == scope {
                fingerprint.whole
            } else {
                Fingerprint::whole(secret, request.own_scope, request.content)
            };
            CallDigest(secret.short(&[
                b"payonce call 1",
                request.provider.as_bytes(),
                &request.own_scope.0,
                request.method.as_bytes(),
                path.as_bytes(),
                key.as_str().as_bytes(),
                &whole.0,
            ]))
        }),
        fingerprint,
        twins: rule.merge == Merge::Twins && !uuid,
    })
}

/// The kind of identity, and what it consists of: the first that applies.
fn recognise(
    request: &Request<'_>,
    rule: &Rule,
    own: Option<&IdempotencyKey>,
) -> Result<(Kind, Vec<Vec<u8>>), Unidentified> {
    if let Some(header) = request.header {
        return Ok((Kind::Header, vec![header.as_bytes().to_vec()]));
    }
    let mut by_content = false;
    match &rule.identity {
        IdentityRule::Call => {}
        IdentityRule::Content => by_content = true,
        IdentityRule::Fields { names, otherwise } => {
            let value = |name: &str| request.content.get(name).filter(|value| !value.is_empty());
            let missing: Vec<String> = names
                .iter()
                .map(FieldPattern::as_str)
                .filter(|name| value(name).is_none())
                .map(str::to_owned)
                .collect();
            if missing.is_empty() {
                let pairs = names.iter().map(FieldPattern::as_str).flat_map(|name| {
                    [name.as_bytes().to_vec(), value(name).unwrap_or_default().to_vec()]
                });
                return Ok((Kind::Fields, pairs.collect()));
            }
            match otherwise {
                Otherwise::Content => by_content = true,
                Otherwise::Call => {}
                Otherwise::Refuse if own.is_some() => {}
                Otherwise::Refuse => return Err(Unidentified::FieldsMissing(missing)),
            }
        }
    }
    if let Some(key) = own {
        return Ok((Kind::OwnKey, vec![key.as_str().as_bytes().to_vec()]));
    }
    if by_content && rule.distinguishes.iter().any(|field| request.content.has(field)) {
        let content = said(request.content, Mistake::IdentityOmitsDescription, &["description"]);
        return Ok((Kind::Content, vec![content.into_owned()]));
    }
    let call = request.client_key.map(|(key, _)| key.as_str().as_bytes().to_vec());
    Ok((Kind::Call, vec![call.unwrap_or_else(|| request.nonce.to_vec())]))
}

/// All that a request says; under `mistake`, the values that are not `omitted`.
fn said<'a>(content: &'a Canonical, mistake: Mistake, omitted: &[&str]) -> Cow<'a, [u8]> {
    if !seams::mistake(mistake) {
        return Cow::Borrowed(content.whole());
    }
    let kept = content.fields().iter().filter(|it| !omitted.contains(&it.name.as_str()));
    Cow::Owned(kept.flat_map(|it| it.value.iter().copied()).collect())
}

/// Digests of a request's fields, one by one and as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Of everything: what must match.
    pub whole: WholeDigest,
    /// Of the first [`Self::MAX_FIELDS`] fields by name: what tells which one did not.
    pub fields: Vec<(String, FieldDigest)>,
}

impl Fingerprint {
    /// How many fields are told apart; the others count in the whole.
    pub const MAX_FIELDS: usize = 64;
    const MAX_NAME: usize = 100;
    /// How many differing fields are named at most.
    const MAX_NAMED: usize = 16;

    /// The fingerprint of `content`.
    #[must_use]
    pub fn of(secret: &Secret, scope: &Scope, content: &Canonical) -> Self {
        let field = |field: &Field| {
            let name = field.name.chars().take(Self::MAX_NAME).collect();
            let parts: [&[u8]; 5] = [
                b"payonce field 1",
                &scope.0,
                field.name.as_bytes(),
                &[field.marker.tag()],
                &field.value,
            ];
            (name, FieldDigest(secret.short(&parts)))
        };
        Self {
            whole: Self::whole(secret, scope, content),
            fields: content.fields().iter().take(Self::MAX_FIELDS).map(field).collect(),
        }
    }

    fn whole(secret: &Secret, scope: &Scope, content: &Canonical) -> WholeDigest {
        let omitted = ["amount", "statement_descriptor"];
        let said = said(content, Mistake::FingerprintOmitsFields, &omitted);
        WholeDigest(secret.short(&[b"payonce request 1", &scope.0, &said]))
    }

    /// Whether both are of the same request.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.whole == other.whole
    }

    fn values(&self, name: &str) -> impl Iterator<Item = FieldDigest> {
        self.fields.iter().filter(move |field| field.0 == name).map(|field| field.1)
    }

    /// The names of the fields that differ, present in one alone or with other values.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (here, there) in [(self, other), (other, self)] {
            // What lies beyond the last of a full list may be there and not be listed.
            let last = there.fields.last().filter(|_| there.fields.len() >= Self::MAX_FIELDS);
            for (name, _digest) in &here.fields {
                let listed = last.is_none_or(|last| *name < last.0);
                if names.len() < Self::MAX_NAMED
                    && listed
                    && !names.contains(name)
                    && !here.values(name).eq(there.values(name))
                {
                    names.push(name.clone());
                }
            }
        }
        names
    }
}

#[cfg(test)]
mod tests;
