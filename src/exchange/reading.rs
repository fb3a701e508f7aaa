//! What a request says about which operation it is, and by what that is recognised.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};

use super::{Config, Credentials};
use crate::decide::agent;
use crate::decide::canonical::{self, Canonical};
use crate::decide::digest::{Scope, Secret};
use crate::decide::guard;
use crate::decide::identity::{self, Identified, Kind, Unidentified};
use crate::decide::key::{self, Chosen, IdempotencyKey};
use crate::decide::path::Api;
use crate::decide::policy::{Policy, Rule, Uuid4Keys};
use crate::forward::IDEMPOTENCY_KEY;
use crate::refusal::Refusal;
use crate::request::Head;

/// What a request says about which operation it is.
pub(crate) struct Reading {
    pub(crate) client_key: Option<IdempotencyKey>,
    /// Who chose the key, if there is one.
    pub(crate) chosen: Option<Chosen>,
    pub(crate) content: Canonical,
    pub(super) operation: Option<String>,
}

impl Reading {
    /// Reads header fields, query and body.
    pub(crate) fn of(head: &Head, body: &[u8], policy: &Policy) -> Result<Self, Refusal> {
        let text = |name: http::HeaderName| head.headers.get(name).and_then(|it| it.to_str().ok());
        let client_key = client_key(&head.headers)?;
        let operation = operation_header(&head.headers)?;
        let agent = head.headers.get(USER_AGENT).map(|value| agent::ascii(value.as_bytes()));
        let chosen = client_key.as_ref().map(|key| key::chosen(key, agent, policy.uuid4_keys()));
        let query = head.target.query();
        let content = canonical::read(text(CONTENT_TYPE), text(CONTENT_ENCODING), query, body);
        Ok(Self { client_key, chosen, content, operation })
    }

    /// Says which operation it is. `nonce` is 16 random bytes, for a call without a key.
    pub(crate) fn recognise(
        &self,
        config: &Config,
        head: &Head,
        credentials: &Credentials,
        by: &By<'_>,
        nonce: [u8; 16],
    ) -> Result<Identified, Refusal> {
        let fields = guard::missing(by.rule, &self.content);
        if !fields.is_empty() {
            return Err(Refusal::RequiredFields { rule: by.rule.name.clone(), fields });
        }
        let agent = head.headers.get(USER_AGENT).map(|value| agent::ascii(value.as_bytes()));
        let chosen = |key: &IdempotencyKey| key::chosen(key, agent, by.uuid4_keys);
        let request = identity::Request {
            provider: &config.provider,
            method: head.method.as_str(),
            target: &head.target,
            header: self.operation.as_deref(),
            client_key: self.client_key.as_ref().map(|key| (key, chosen(key))),
            content: &self.content,
            nonce,
            own_scope: &credentials.own,
        };
        identity::identify(by.secret, &by.scope, &request, by.rule)
            .map_err(|why| unidentified(why, by.rule))
    }
}

/// By what a request is recognised.
pub(crate) struct By<'a> {
    /// What keys the digests.
    pub(crate) secret: &'a Secret,
    /// Whose operation it is.
    pub(crate) scope: Scope,
    /// Who a UUID as key is taken to come from.
    pub(crate) uuid4_keys: Uuid4Keys,
    /// What makes two requests the same operation.
    pub(crate) rule: &'a Rule,
}

/// v2 may not mark replays, so that an operation which the ledger forgot would pass for another:
/// such requests are recognised by content only over a ledger that is known not to forget.
pub(crate) fn remembered(
    identified: &Identified,
    api: Api,
    never_forgets: bool,
) -> Result<(), Refusal> {
    if identified.kind == Kind::Content && api == Api::V2 && !never_forgets {
        return Err(Refusal::StoreForgets);
    }
    Ok(())
}

/// The client's key, if it bears one.
pub(super) fn client_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    headers
        .get(IDEMPOTENCY_KEY)
        .map(|value| IdempotencyKey::parse(value.as_bytes()).map_err(Refusal::BadKey))
        .transpose()
}

/// `Payonce-Operation`: the application's own name for the operation.
pub(super) fn operation_header(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get("payonce-operation") else { return Ok(None) };
    let text = value.to_str().map_err(|_not_ascii| Refusal::BadOperation)?;
    if text.is_empty() || text.len() > 255 {
        return Err(Refusal::BadOperation);
    }
    Ok(Some(text.to_owned()))
}

fn unidentified(why: Unidentified, rule: &Rule) -> Refusal {
    let rule = rule.name.clone();
    match why {
        Unidentified::FieldsMissing(fields) => Refusal::FieldsMissing { rule, fields },
        Unidentified::OwnKeyRequired => Refusal::OwnKeyRequired { rule },
    }
}
