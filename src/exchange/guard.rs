//! Who may ask, before anything leaves: the credential is put in, the guards are asked.
//!
//! What a guard looks for is decided in [`decide::guard`](crate::decide::guard). Here it is counted
//! and logged, and refused where payonce acts: in `observe` and under the bypass nothing changes, so
//! that guards warn there. The placeholder is no guard: it never leaves, in no mode.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, USER_AGENT};
use tracing::warn;

use super::Exchange;
use super::{Asked, Credentials, api_key};
use crate::credential::Credential;
use crate::decide::digest::CallHint;
use crate::decide::guard::{Facts, Finding, findings};
use crate::decide::key::{self, Chosen, IdempotencyKey};
use crate::decide::path::Api;
use crate::decide::policy::{Action, Policy, Rule, is_write};
use crate::forward::IDEMPOTENCY_KEY;
use crate::ledger::Ledger;
use crate::recent::Bounded;
use crate::refusal::Refusal;
use crate::request::Head;
use crate::upstream::Upstream;

mod lines;
mod placeholder;

use lines::Lines;

/// Own keys whose endpoint is remembered, and for how long: as long as Stripe keeps them (v1).
const MAX_KEYS: usize = 16_384;
const KEYS_FOR: Duration = Duration::from_hours(24);

/// What guards remember, and the API key that payonce holds.
pub struct Guards {
    credential: Arc<Credential>,
    endpoints: Mutex<Bounded<CallHint, CallHint>>,
    lines: Mutex<Lines>,
}

impl Guards {
    /// With this credential.
    #[must_use]
    pub fn new(credential: Arc<Credential>) -> Self {
        let endpoints = Mutex::new(Bounded::new(MAX_KEYS, KEYS_FOR));
        Self { credential, endpoints, lines: Mutex::default() }
    }

    /// The API key that payonce holds.
    #[must_use]
    pub const fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }
}

impl Default for Guards {
    fn default() -> Self {
        Self::new(Arc::new(Credential::none()))
    }
}

impl<L: Ledger, U: Upstream> Exchange<L, U> {
    /// Puts the credential in and asks the guards, which may refuse if payonce `acts`. What comes
    /// back is who asks; `None` without an `Authorization`.
    pub(super) fn admit(
        &self,
        head: &mut Head,
        policy: &Policy,
        rule: &Rule,
        acts: bool,
    ) -> Result<Option<Credentials>, Refusal> {
        let came = head.headers.get(AUTHORIZATION).map(|value| api_key(value.as_bytes()));
        let placed = self.place_credential(head, came.as_deref().map(Vec::as_slice))?;
        let key = placed.as_ref().map(|real| real.expose()).or(came.as_deref().map(Vec::as_slice));
        let credentials = match &placed {
            Some(_) => self.as_it_began(head).or_else(|| Credentials::of(&head.headers)),
            None => Credentials::of(&head.headers),
        };
        let own = own_key(head, policy);
        let endpoint = own.as_ref().and_then(|own| endpoint(head, credentials.as_ref()?, own));
        let facts = Facts {
            api_key: key,
            foreign: self.guards.credential.only() && placed.is_none(),
            own_key: own.as_ref().map(IdempotencyKey::as_str),
            reused: endpoint.is_some_and(|(key, here)| self.is_reused(key, here)),
        };
        let found = findings(policy.guard(), &facts);
        // A call that was sent lately is finished as it was begun, whatever the policy has come to say
        // of its key: to be told that nothing was sent would be half the truth.
        let known = !found.is_empty() && self.may_be_known(head, credentials.as_ref());
        let mut worst = None;
        for (finding, action) in found {
            let spared = known && !finding.is_about_api_key();
            let refuse = acts && action == Action::Refuse && !spared;
            self.found(head, rule, finding, if refuse { "refused" } else { told(action) });
            if refuse {
                worst = worst.or(Some(finding));
            }
        }
        match (worst, endpoint) {
            (Some(finding), _) => return Err(Refusal::Guarded(finding)),
            (None, Some((key, here))) => self.remember_endpoint(key, here),
            (None, None) => {}
        }
        Ok(credentials)
    }

    /// What the policy `refused` for a field or a key that it has come to demand is finished as it was
    /// begun, if its call was sent lately: then it is as good as recognised `again`.
    pub(super) fn begun(
        &self,
        refused: Refusal,
        again: Result<Asked, Refusal>,
    ) -> Result<Asked, Refusal> {
        let Ok(mut asked) = again else { return Err(refused) };
        if self.recall(&mut asked) { Ok(asked) } else { Err(refused) }
    }

    fn is_reused(&self, key: CallHint, here: CallHint) -> bool {
        let endpoints = self.guards.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.get(&key, self.clock.now()).is_some_and(|there| *there != here)
    }

    /// Of the first one alone: that is where Stripe knows the key from.
    fn remember_endpoint(&self, key: CallHint, here: CallHint) {
        let now = self.clock.now();
        let mut endpoints = self.guards.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoints.get(&key, now).is_none() {
            endpoints.insert(key, here, now);
        }
    }

    /// Counts a finding, and says so now and then.
    fn found(&self, head: &Head, rule: &Rule, finding: Finding, done: &'static str) {
        const LONGEST: usize = 200;
        self.metrics.guard(&rule.name, finding.kind(), done);
        let due = {
            let mut lines = self.guards.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.due(finding.kind(), &rule.name, self.clock.now())
        };
        let Some(times) = due else { return };
        let path: String = head.target.raw_path().chars().take(LONGEST).collect();
        warn!(
            target: "payonce::guard",
            finding = finding.kind(),
            rule = rule.name,
            request = format!("{} {path}", head.method),
            done,
            times,
            "{finding}"
        );
    }
}

/// What the policy's guards find in a request, beside what hangs on earlier ones; for people who ask.
pub(crate) fn found_in(head: &Head, policy: &Policy) -> Vec<(Finding, Action)> {
    let key = head.headers.get(AUTHORIZATION).map(|value| api_key(value.as_bytes()));
    let own = own_key(head, policy);
    let facts = Facts {
        api_key: key.as_deref().map(Vec::as_slice),
        own_key: own.as_ref().map(IdempotencyKey::as_str),
        ..Facts::default()
    };
    findings(policy.guard(), &facts)
}

/// What becomes of a finding where nothing is refused.
const fn told(action: Action) -> &'static str {
    match action {
        Action::Off | Action::Warn => "warned",
        Action::Refuse => "would_refuse",
    }
}

/// The key that the application chose. An ill-formed one is for others to judge.
fn own_key(head: &Head, policy: &Policy) -> Option<IdempotencyKey> {
    let key = IdempotencyKey::parse(head.headers.get(IDEMPOTENCY_KEY)?.as_bytes()).ok()?;
    let agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    match key::chosen(&key, agent, policy.uuid4_keys()) {
        Chosen::ByApplication => Some(key),
        Chosen::BySdk { .. } => None,
    }
}

/// The key within its scope, and the same with the endpoint, both hashed; `None` where a key has no
/// effect.
fn endpoint(
    head: &Head,
    credentials: &Credentials,
    own: &IdempotencyKey,
) -> Option<(CallHint, CallHint)> {
    let v2 = matches!(head.target.api(), Api::V2);
    let everywhere = CallHint::of(credentials.own_scope(), "", "", own.as_str().as_bytes());
    is_write(&head.method, v2).then_some(everywhere).zip(credentials.hint(head))
}
