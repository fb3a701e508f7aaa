//! Who may ask, before anything leaves: the credential is put in, the guards are asked.
//!
//! What a guard looks for is decided in [`decide::guard`](crate::decide::guard). Here it is counted
//! and logged, and refused where payonce acts: in `observe` and under the bypass nothing changes, so
//! that guards warn there. The placeholder is no guard: it never leaves, in no mode.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, USER_AGENT};
use tracing::warn;
use zeroize::Zeroizing;

use super::Exchange;
use super::asked::{Asked, Credentials, api_key};
use crate::clock::Timestamp;
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
use crate::settings::Secret;
use crate::upstream::Upstream;

/// Own keys whose endpoint is remembered, and for how long: as long as Stripe keeps them (v1).
const MAX_KEYS: usize = 16_384;
const KEYS_FOR: Duration = Duration::from_hours(24);

/// A finding is logged once in this time for each rule, with how often it came.
const LINE_EVERY: Duration = Duration::from_mins(1);
/// Rules come and go with the policy; so many of them, times findings, are told apart.
const MAX_LINES: usize = 1_024;

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
        // A call that was sent lately is finished as it was begun, whatever the policy has come to say
        // of its key: to be told that nothing was sent would be half the truth.
        let known = self.may_be_known(head, credentials.as_ref());
        let mut worst = None;
        for (finding, action) in findings(policy.guard(), &facts) {
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

    /// The real key, if the request bore the placeholder: now it bears that key.
    fn place_credential(
        &self,
        head: &mut Head,
        came: Option<&[u8]>,
    ) -> Result<Option<Arc<Secret>>, Refusal> {
        if !came.is_some_and(|came| self.guards.credential.stands_for_it(came)) {
            return Ok(None);
        }
        let real = self.guards.credential.current().ok_or(Refusal::NoCredential)?;
        bear(&mut head.headers, &real)?;
        Ok(Some(real))
    }

    /// Who asked when a call was sent that is asked for again with the same client key, if its API
    /// key was rolled meanwhile. The scope goes by the API key, and derived keys by the scope: the
    /// client of a call that is under way cannot know of a roll, and would be charged twice (I2). It
    /// is sent with the new API key all the same.
    fn as_it_began(&self, head: &Head) -> Option<Credentials> {
        head.headers.get(IDEMPOTENCY_KEY)?;
        self.guards.credential.former().iter().find_map(|former| {
            let mut headers = head.headers.clone();
            bear(&mut headers, &former.key).ok()?;
            let credentials = Credentials::of(&headers);
            self.may_be_known(head, credentials.as_ref()).then_some(credentials)?
        })
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

/// Puts `key` into an `Authorization` in the place of the key there.
fn bear(headers: &mut HeaderMap, key: &Secret) -> Result<(), Refusal> {
    let came = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    // Nothing is put in that was not seen to be fit for a header.
    let value = authorization(came, key.expose()).ok_or(Refusal::NoCredential)?;
    headers.insert(AUTHORIZATION, value);
    Ok(())
}

/// An `Authorization` with `real` for its API key: `Basic` if it `came` so (RFC 7617), else `Bearer`
/// (RFC 6750). Marked so that no library shows or indexes it.
fn authorization(came: &[u8], real: &[u8]) -> Option<HeaderValue> {
    let basic = came.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    let (scheme, rest) = if basic {
        let pair = Zeroizing::new([real, b":"].concat());
        (&b"Basic "[..], Zeroizing::new(STANDARD.encode(&*pair).into_bytes()))
    } else {
        (&b"Bearer "[..], Zeroizing::new(real.to_vec()))
    };
    let text = Zeroizing::new([scheme, rest.as_slice()].concat());
    let mut value = HeaderValue::from_bytes(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// When which finding was logged last.
#[derive(Default)]
struct Lines(HashMap<(&'static str, String), Line>);

struct Line {
    at: Timestamp,
    unsaid: u64,
}

impl Lines {
    /// How often it came since it was logged last, this time included, if it is to be logged now.
    fn due(&mut self, finding: &'static str, rule: &str, now: Timestamp) -> Option<u64> {
        let key = (finding, rule.to_owned());
        if let Some(line) = self.0.get_mut(&key) {
            if now.since(line.at) < LINE_EVERY {
                line.unsaid = line.unsaid.saturating_add(1);
                return None;
            }
            let times = std::mem::take(&mut line.unsaid).saturating_add(1);
            line.at = now;
            return Some(times);
        }
        if self.0.len() >= MAX_LINES {
            // A policy that was edited very often: say some lines once more.
            self.0.clear();
        }
        self.0.insert(key, Line { at: now, unsaid: 0 });
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_logged_once_a_minute_for_each_rule_with_how_often_it_came() {
        let at = |seconds: u64| Timestamp::from_millis(seconds * 1000);
        let mut lines = Lines::default();
        assert_eq!(lines.due("key_short", "charges", at(0)), Some(1));
        assert_eq!(lines.due("key_short", "refunds", at(1)), Some(1));
        assert_eq!(lines.due("key_plain", "charges", at(1)), Some(1));
        for second in 1..60 {
            assert_eq!(lines.due("key_short", "charges", at(second)), None);
        }
        assert_eq!(lines.due("key_short", "charges", at(60)), Some(60));
        assert_eq!(lines.due("key_short", "charges", at(61)), None);
    }

    #[test]
    fn what_is_remembered_of_lines_is_bounded() {
        let mut lines = Lines::default();
        for n in 0..5_000 {
            lines.due("key_short", &n.to_string(), Timestamp::default());
        }
        assert!(lines.0.len() <= MAX_LINES);
    }

    #[test]
    fn the_scheme_stays_as_it_came_and_the_value_is_not_shown() {
        let bearer = authorization(b"Bearer stand-in", b"rk_test_1").unwrap();
        assert_eq!(bearer.as_bytes(), b"Bearer rk_test_1");
        let basic = authorization(b"basic c3RhbmQtaW46", b"rk_test_1").unwrap();
        assert_eq!(basic.as_bytes(), b"Basic cmtfdGVzdF8xOg==");
        assert_eq!(*api_key(basic.as_bytes()), b"rk_test_1");
        assert!(!format!("{bearer:?}").contains("rk_test_1"));
    }
}
