//! From a request to what is asked: its scope, body, key, identity.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Uri};
use zeroize::Zeroizing;

use super::caller::caller;
use super::{Config, Exchange, OtherSecret};
use crate::clock::Timestamp;
use crate::decide::agent;
use crate::decide::canonical::{self, Canonical};
use crate::decide::digest::{ApiKeyDigest, CallHint, IdFormat, Scope, Secret, key_digest};
use crate::decide::guard;
use crate::decide::identity::{self, Identified, Kind, Unidentified};
use crate::decide::key::{self, Chosen, IdempotencyKey};
use crate::decide::operation::Occurrence;
use crate::decide::operation::Retention;
use crate::decide::operation::record::About;
use crate::decide::operation::table::Ask;
use crate::decide::path::Api;
use crate::decide::policy::{Indeterminate, Policy, Rule, Scopes, Uuid4Keys};
use crate::decide::traffic::{Heard, Said};
use crate::forward::{IDEMPOTENCY_KEY, Message};
use crate::ledger::{KeyDigest, Ledger, RecordId};
use crate::refusal::Refusal;
use crate::request::{BadHead, BodyError, Buffered, Head, buffer};
use crate::seams::{self, Mistake};
use crate::upstream::{Body, Upstream, headers, routes};

/// Who asks, as the request says.
pub(crate) struct Credentials {
    api_key: Zeroizing<Vec<u8>>,
    digest: ApiKeyDigest,
    account: Option<Vec<u8>>,
    context: Option<Vec<u8>>,
    /// The scope of this API key, whatever a policy says of it.
    own: Scope,
}

impl Credentials {
    /// What is known of a call without its body, if it bears a key.
    pub(super) fn hint(&self, head: &Head) -> Option<CallHint> {
        let key = head.headers.get(IDEMPOTENCY_KEY)?;
        let path = head.target.segments().join("/");
        Some(CallHint::of(&self.own, head.method.as_str(), &path, key.as_bytes()))
    }

    /// `None` without an `Authorization`.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let field = |name: &str| headers.get(name).map(|value| value.as_bytes().to_vec());
        let api_key = api_key(headers.get(AUTHORIZATION)?.as_bytes());
        let (account, context) = (field("stripe-account"), field("stripe-context"));
        let (api_key, account, context) = if seams::mistake(Mistake::IdentityOmitsScope) {
            (Zeroizing::default(), None, None)
        } else {
            (api_key, account, context)
        };
        let digest = ApiKeyDigest::of(&api_key);
        let own = Scope::of_digest(&digest, account.as_deref(), context.as_deref());
        Some(Self { api_key, digest, account, context, own })
    }

    /// The scope that operations of this request belong to.
    pub(crate) fn scope(&self, scopes: &Scopes) -> Scope {
        self.scope_of(&self.digest, scopes)
    }

    /// The scopes that operations of this request may have belonged to under `former` scopes: those
    /// of every key that counts as one with its own now.
    pub(super) fn scopes_under(
        &self,
        now: &Scopes,
        former: &Scopes,
        format: IdFormat,
    ) -> Vec<Scope> {
        if format == IdFormat::First {
            let (account, context) = (self.account.as_deref(), self.context.as_deref());
            return vec![Scope::first_format(&self.api_key, account, context)];
        }
        let own = [self.digest];
        let keys = now.of(&self.digest).map_or(&own[..], |alias| &alias.keys);
        let mut scopes = vec![self.scope(former)];
        for key in keys {
            let scope = self.scope_of(key, former);
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
        scopes
    }

    fn scope_of(&self, key: &ApiKeyDigest, scopes: &Scopes) -> Scope {
        let (account, context) = (self.account.as_deref(), self.context.as_deref());
        match scopes.of(key) {
            Some(alias) => Scope::named(&alias.name, account, context),
            None => Scope::of_digest(key, account, context),
        }
    }

    /// The scope of its API key, whatever a policy says of it.
    pub(super) const fn own_scope(&self) -> &Scope {
        &self.own
    }

    /// What keys the digests of the request: the configured secret, else one of its API key.
    pub(crate) fn secret(&self, config: &Config) -> Secret {
        config.secret.clone().unwrap_or_else(|| Secret::of_api_key(&self.api_key))
    }

    /// Other secrets that keys may have been derived from, or will be.
    pub(super) fn other_secrets(&self, config: &Config) -> Vec<Secret> {
        let of = |other: &OtherSecret| match other {
            OtherSecret::Configured(secret) => secret.clone(),
            OtherSecret::OfApiKey => Secret::of_api_key(&self.api_key),
        };
        config.other_secrets.iter().map(of).collect()
    }
}

/// What a request says about which operation it is.
pub(crate) struct Reading {
    pub(crate) client_key: Option<IdempotencyKey>,
    /// Who chose the key, if there is one.
    pub(crate) chosen: Option<Chosen>,
    pub(crate) content: Canonical,
    operation: Option<String>,
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

/// The API key, alike for `Basic` (its user name) and `Bearer` (RFC 7617, RFC 6750). Whatever else
/// stands there is taken as it is.
pub(crate) fn api_key(authorization: &[u8]) -> Zeroizing<Vec<u8>> {
    let text = std::str::from_utf8(authorization).unwrap_or_default().trim();
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Zeroizing::new(rest.trim().as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) =
            STANDARD.decode(rest.trim()).or_else(|_| STANDARD_NO_PAD.decode(rest.trim()))
    {
        let pair = Zeroizing::new(pair);
        let user = pair.split(|byte| *byte == b':').next().unwrap_or_default();
        return Zeroizing::new(user.to_vec());
    }
    Zeroizing::new(authorization.to_vec())
}

/// A critical request, recognised.
#[derive(Debug)]
pub struct Asked {
    /// The rule that it fell to.
    pub rule: Arc<Rule>,
    /// What it was recognised as.
    pub identified: Identified,
    /// What is sent for it.
    pub message: Message,
    /// The key that it came with.
    pub client_key: Option<IdempotencyKey>,
    /// The key that its call was sent with before (I2).
    pub recalled: Option<IdempotencyKey>,
    /// What is known of its call without its body.
    pub hint: Option<CallHint>,
    /// What people want to know.
    pub about: About,
    /// What is written down of it, if anything is.
    pub(super) said: Option<Box<Said>>,
    pub(super) secret: Secret,
    /// Its other identities, nearest first.
    pub(super) others: Vec<Other>,
    /// It is recognised as it is today.
    pub(super) today: bool,
    /// Today's rule makes the same two requests the same operation.
    pub(super) same_rule: bool,
    /// How often it has turned from one identity to another.
    pub(super) turns: u32,
    /// Which identity it turned to.
    pub(super) turned: OnceLock<Arc<Self>>,
    nonce: [u8; 16],
    waited: AtomicBool,
    body: Arc<Buffered>,
}

/// Another identity of a request: what it is under a former policy, scope or secret; or, where it
/// goes by such a one, what it is today.
#[derive(Clone, Debug)]
pub struct Other {
    pub(crate) secret: Secret,
    pub(crate) identified: Identified,
    pub(crate) same_rule: bool,
    pub(super) today: bool,
}

impl Asked {
    /// The id of its record.
    #[must_use]
    pub const fn record(&self) -> RecordId {
        self.identified.operation.record()
    }

    /// When it arrived.
    #[must_use]
    pub const fn arrived(&self) -> Timestamp {
        self.message.arrived
    }

    /// It waits for somebody who works on its operation.
    pub(super) fn waits(&self) {
        self.waited.store(true, Ordering::Relaxed);
    }

    /// The same request by the other identity number `n`.
    pub(super) fn under(&self, n: usize) -> Option<Self> {
        let other = self.others.get(n)?;
        let mut others = self.others.clone();
        let this = Other {
            secret: self.secret.clone(),
            identified: self.identified.clone(),
            same_rule: self.same_rule,
            today: self.today,
        };
        if let Some(place) = others.get_mut(n) {
            *place = this;
        }
        Some(Self {
            rule: Arc::clone(&self.rule),
            identified: other.identified.clone(),
            message: self.message.clone(),
            client_key: self.client_key.clone(),
            recalled: self.recalled.clone(),
            hint: self.hint,
            about: self.about.clone(),
            said: None,
            secret: other.secret.clone(),
            others,
            today: other.today,
            same_rule: other.same_rule,
            turns: self.turns.saturating_add(1),
            turned: OnceLock::new(),
            nonce: self.nonce,
            waited: AtomicBool::new(self.waited.load(Ordering::Relaxed)),
            body: Arc::clone(&self.body),
        })
    }

    /// Its client key, for people to look it up by.
    #[must_use]
    pub fn key_digest(&self) -> Option<KeyDigest> {
        self.client_key.as_ref().map(|key| key_digest(key.as_str()))
    }

    /// What was asked, for people.
    #[must_use]
    pub fn request(&self) -> String {
        const LONGEST: usize = 200;
        let path: String = self.message.uri.path().chars().take(LONGEST).collect();
        format!("{} {path}", self.message.method)
    }

    /// The upstream key of a single call: the client's, else one minted for it.
    #[must_use]
    pub fn call_key(&self) -> IdempotencyKey {
        self.client_key.clone().unwrap_or_else(|| IdempotencyKey::minted(self.nonce))
    }

    /// What tells this request's claim from any other, however often it is made: a claim that was
    /// not answered may stand.
    #[must_use]
    pub fn token(&self) -> String {
        hex::encode(self.nonce)
    }

    /// The upstream key of one occurrence.
    #[must_use]
    pub fn key(&self, at: Occurrence) -> IdempotencyKey {
        match (&self.client_key, self.identified.kind) {
            (Some(own), Kind::OwnKey) => own.clone(),
            (_, Kind::Call) => self.call_key(),
            (_, Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content) => {
                IdempotencyKey::derived(&self.secret, &self.identified.operation, at)
            }
        }
    }
}

/// Why a body is not held.
pub(super) enum Unbuffered {
    Refused(Refusal),
    TooLarge(Body),
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    pub(super) async fn buffer(&self, body: Body) -> Result<Buffered, Unbuffered> {
        buffer(body, self.config.body_bytes, &self.bytes).await.map_err(|error| match error {
            BodyError::TooLarge { rest, .. } => Unbuffered::TooLarge(rest),
            BodyError::TooSlow => Unbuffered::Refused(Refusal::BodyTooSlow),
            BodyError::ClientGone | BodyError::Malformed => {
                Unbuffered::Refused(Refusal::BodyBroken)
            }
            BodyError::Busy => Unbuffered::Refused(self.busy("bytes in flight")),
        })
    }

    /// Recognises a request.
    pub(super) fn identify(
        &self,
        head: &Head,
        body: &Arc<Buffered>,
        credentials: &Credentials,
        policy: &Policy,
        rule: &Arc<Rule>,
        arrived: Timestamp,
    ) -> Result<Asked, Refusal> {
        let reading = Reading::of(head, body.bytes(), policy)?;
        let secret = credentials.secret(&self.config);
        let nonce = self.chance.bytes();
        let scope = credentials.scope(policy.scopes());
        let by = By { secret: &secret, scope, uuid4_keys: policy.uuid4_keys(), rule };
        let identified = reading.recognise(&self.config, head, credentials, &by, nonce)?;
        remembered(&identified, head.target.api(), self.ledger.never_forgets())?;
        let of = || Heard {
            secret: &secret,
            scope: &scope,
            path: head.target.raw_path(),
            client_key: reading.client_key.as_ref(),
            agent: head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()),
            header: reading.operation.as_deref(),
            content: &reading.content,
            fingerprint: &identified.fingerprint,
        };
        let said = self.records(policy).then(|| Box::new(Said::of(&of())));
        let others = self.others(head, &reading, credentials, policy, rule, &identified);
        let Reading { client_key, content, .. } = reading;
        let short = |name: &str| {
            let value = content.get(name).and_then(|value| std::str::from_utf8(value).ok());
            let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '.' || *c == '-';
            value.map(|value| value.chars().filter(plain).take(32).collect())
        };
        let about = About {
            rule: rule.name.clone(),
            policy: policy.version().to_owned(),
            // v2 has money as an object.
            amount: short("amount").or_else(|| short("amount[value]")),
            currency: short("currency").or_else(|| short("amount[currency]")),
            caller: caller(&head.headers, self.config.caller.as_deref()),
            account: account(&head.headers),
            api_key: Some(credentials.digest.hint()),
            ..About::default()
        };
        let message = message(head, body.bytes().clone(), arrived)?;
        Ok(Asked {
            rule: Arc::clone(rule),
            identified,
            message,
            client_key,
            recalled: None,
            hint: credentials.hint(head),
            about,
            said,
            secret,
            others,
            today: true,
            same_rule: true,
            turns: 0,
            turned: OnceLock::new(),
            nonce,
            waited: AtomicBool::new(false),
            body: Arc::clone(body),
        })
    }

    /// What the table looks at, now.
    pub(super) fn ask<'a>(&self, asked: &'a Asked) -> Ask<'a> {
        self.ask_as(asked, &asked.identified)
    }

    /// The same, by another identity.
    pub(super) fn ask_as<'a>(&self, asked: &Asked, identified: &'a Identified) -> Ask<'a> {
        let now = self.clock.now();
        let retention = Retention::of(asked.message.api);
        Ask {
            kind: identified.kind,
            fingerprint: &identified.fingerprint,
            client_key: identified.client_key,
            twins: identified.twins,
            repeat_window: asked.rule.repeat_window,
            next_after_saved_500: asked.rule.indeterminate == Indeterminate::Next,
            epoch: retention.epoch_at(&identified.operation, now),
            arrived: asked.arrived(),
            waited: asked.waited.load(Ordering::Relaxed),
            now,
        }
    }
}

/// The message that goes upstream; the client's key, if any, is replaced at each send.
pub(super) fn message(
    head: &Head,
    body: bytes::Bytes,
    arrived: Timestamp,
) -> Result<Message, Refusal> {
    let api = head.target.api();
    let host = routes::host(&head.method, head.target.segments());
    Ok(Message {
        host,
        method: head.method.clone(),
        uri: uri(head)?,
        headers: headers::toward_upstream(&head.headers),
        extensions: head.extensions.clone(),
        body,
        api,
        arrived,
    })
}

/// Path and query, byte for byte (I10).
pub(super) fn uri(head: &Head) -> Result<Uri, Refusal> {
    let path = head.target.raw_path();
    let text = match head.target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    text.parse().map_err(|_bad: http::uri::InvalidUri| {
        Refusal::BadRequest("The request target cannot be forwarded as it is")
    })
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

/// Whose account is asked for, if it is named.
fn account(headers: &HeaderMap) -> Option<String> {
    const LONGEST: usize = 255;
    let field = headers.get("stripe-account").or_else(|| headers.get("stripe-context"))?;
    Some(field.to_str().ok()?.chars().take(LONGEST).collect())
}

fn unidentified(why: Unidentified, rule: &Rule) -> Refusal {
    let rule = rule.name.clone();
    match why {
        Unidentified::FieldsMissing(fields) => Refusal::FieldsMissing { rule, fields },
        Unidentified::OwnKeyRequired => Refusal::OwnKeyRequired { rule },
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Self {
        match bad {
            BadHead::Method(_) => Self::BadRequest("CONNECT and TRACE are not served"),
            BadHead::NotOriginForm => Self::BadRequest("The request target must be a path"),
            BadHead::Path(why) => Self::BadTarget(why),
            BadHead::Repeated(name) => Self::RepeatedHeader(name.as_str().to_owned()),
        }
    }
}
