//! From a request to what is asked: its scope, body, key, identity.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Uri;
use http::header::USER_AGENT;

use super::finishing::Finishes;
use super::reading::remembered;
use super::{By, Credentials, Exchange, Reading};
use crate::clock::Timestamp;
use crate::decide::digest::{CallHint, Secret, key_digest};
use crate::decide::identity::{Identified, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::operation::Occurrence;
use crate::decide::operation::Retention;
use crate::decide::operation::record::About;
use crate::decide::operation::table::Ask;
use crate::decide::policy::{Indeterminate, Policy, Rule};
use crate::decide::traffic::{Heard, Said};
use crate::forward::Message;
use crate::ledger::{KeyDigest, Ledger, RecordId};
use crate::refusal::{Again, Refusal};
use crate::request::{BadHead, BodyError, Buffered, Head, buffer};
use crate::seams::{self, Mistake};
use crate::upstream::{Body, Upstream, headers, routes};

/// A critical request, recognised.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, none a state")]
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
    /// Today's rule names it by its fields.
    pub(super) names: bool,
    /// Which edits were known when it was recognised.
    pub(super) generation: u64,
    /// Today it passes: only what is unfinished elsewhere is finished for it.
    pub(super) passes: bool,
    /// How often it has turned from one identity to another.
    pub(super) turns: u32,
    /// Which identity it turned to.
    pub(super) turned: OnceLock<Arc<Self>>,
    /// The id of the policy's way, if the rule says that it is finished.
    pub(super) way: Option<String>,
    /// Nobody asks: it is what was left in doubt, and to be finished.
    pub(super) finishes: Option<Finishes>,
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
            names: self.names,
            generation: self.generation,
            passes: self.passes,
            turns: self.turns.saturating_add(1),
            turned: OnceLock::new(),
            way: self.way.clone(),
            finishes: None,
            nonce: self.nonce,
            waited: AtomicBool::new(self.waited.load(Ordering::Relaxed)),
            body: Arc::clone(&self.body),
        })
    }

    /// The same request as `message` for nobody, under the same id: no asker's key goes with it, no
    /// other identity is looked for, and nothing is begun.
    pub(super) fn for_nobody(
        &self,
        message: Message,
        nonce: [u8; 16],
        finishes: Option<Finishes>,
    ) -> Self {
        Self {
            rule: Arc::clone(&self.rule),
            identified: Identified { client_key: None, call: None, ..self.identified.clone() },
            message,
            client_key: self.client_key.clone(),
            recalled: None,
            hint: None,
            about: self.about.clone(),
            said: None,
            secret: self.secret.clone(),
            others: Vec::new(),
            today: seams::mistake(Mistake::FinishesAnything),
            same_rule: self.same_rule,
            names: self.names,
            generation: self.generation,
            passes: false,
            turns: 0,
            turned: OnceLock::new(),
            way: self.way.clone(),
            finishes,
            nonce,
            waited: AtomicBool::new(false),
            body: Arc::default(),
        }
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

    /// What this request would be, asked again.
    #[must_use]
    pub fn again(&self) -> Again {
        match (self.identified.kind, &self.client_key) {
            (Kind::Header | Kind::Fields | Kind::OwnKey | Kind::Content, _) => Again::Same,
            (Kind::Call, Some(_)) => Again::SameByKey,
            (Kind::Call, None) => Again::Another,
        }
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
        // Before anything is looked at that an edit changes.
        let generation = self.policies.generation();
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
        let names = identified.kind == Kind::Fields;
        let Reading { client_key, content, .. } = reading;
        let about = self.about(head, &content, credentials, policy, rule);
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
            names,
            generation,
            passes: false,
            turns: 0,
            turned: OnceLock::new(),
            way: rule.finish.map(|_| policy.way().to_owned()),
            finishes: None,
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
