//! What would happen now: asks the payonce that runs with the same settings. It changes nothing
//! there, and gets digests alone: no API key and no content leaves this process.

use std::sync::Arc;

use http::Method;

use super::{Critical, End, Question as Asked, Ruled, Told};
use crate::admin::judge::{Course, Identity, Judgement, Question, Recognition, digest_of};
use crate::cli::ops::{Client, OpsFailure};
use crate::cli::page::Page;
use crate::cli::table;
use crate::decide::identity::{Identified, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::path::Api;
use crate::decide::policy::{Indeterminate, Rule, Way};
use crate::settings::Settings;

/// What the running payonce says of a request.
pub(super) enum Now {
    /// Nothing, and why.
    Unknown(String),
    /// This.
    Judged(Box<Judgement>),
}

/// Which key would be sent, as far as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// None: it waits or is refused.
    None,
    /// The client's own.
    Client,
    /// The one that these settings derive.
    Derived(IdempotencyKey),
    /// One that these settings do not derive: it is older than the secret, the policy or the API
    /// key that is used here.
    Other,
}

/// A payonce that answers.
pub(super) struct Running {
    client: Client,
    pub(super) provider: String,
    ways: Vec<String>,
}

impl Running {
    /// The one that runs with these settings.
    pub(super) async fn find(settings: &Settings) -> Result<Self, OpsFailure> {
        let client = Client::of(settings)?;
        let (found, _raw): (Recognition, _) = client.ask(Method::GET, "/ways", None).await?;
        Ok(Self { client, provider: found.provider, ways: found.ways })
    }

    /// How operations are or were recognised on its store. What a newer payonce wrote there is left
    /// out, as it is by the one that runs.
    pub(super) fn ways(&self) -> Vec<Arc<Way>> {
        self.ways.iter().filter_map(|text| Way::read(text).ok()).map(Arc::new).collect()
    }

    /// Asks for each of the requests that is an operation.
    pub(super) async fn ask(&self, told: &mut [Told<'_>]) {
        for one in told {
            let Ok(ruled) = &mut one.ruled else { continue };
            let api = ruled.head.target.api();
            let End::Critical(critical) = &mut ruled.end else { continue };
            critical.now = self.about(critical, ruled.rule, api).await;
        }
    }

    async fn about(&self, critical: &Critical, rule: &Rule, api: Api) -> Option<Now> {
        let identified = critical.identified.as_ref().ok()?;
        if let Some(why) = unaskable(critical, identified) {
            return Some(Now::Unknown(why.to_owned()));
        }
        let question = Question {
            today: Identity::of(identified, true),
            others: critical
                .others
                .iter()
                .map(|it| Identity::of(&it.identified, it.same_rule))
                .collect(),
            api,
            call: identified.call,
            repeat_window_ms: u64::try_from(rule.repeat_window.as_millis()).unwrap_or(u64::MAX),
            next_after_saved_500: rule.indeterminate == Indeterminate::Next,
        };
        let body = match serde_json::to_string(&question) {
            Ok(body) => body,
            Err(why) => return Some(Now::Unknown(format!("not known: {why}"))),
        };
        let asked = self.client.ask(Method::POST, "/ops/judge", Some(body)).await;
        Some(match asked {
            Ok((judgement, _raw)) => Now::Judged(Box::new(judgement)),
            Err(failure) => Now::Unknown(format!("not known: {failure}")),
        })
    }
}

/// Nobody could be asked: says so of each request that is an operation.
pub(super) fn unknown(told: &mut [Told<'_>], why: &str) {
    for one in told {
        let Ok(Ruled { end: End::Critical(critical), .. }) = &mut one.ruled else { continue };
        let Ok(identified) = &critical.identified else { continue };
        let unaskable = unaskable(critical, identified).map(str::to_owned);
        critical.now = Some(Now::Unknown(unaskable.unwrap_or_else(|| format!("not known: {why}"))));
    }
}

/// Why nobody need be asked of this request.
fn unaskable(critical: &Critical, identified: &Identified) -> Option<&'static str> {
    if identified.kind == Kind::Call {
        return Some("a single call has no record: nothing that was sent before changes it");
    }
    critical.placeholder.then_some(
        "not asked: the operation hangs on the API key; give it with -H 'Authorization: Bearer …'",
    )
}

/// Which key `judgement` means.
pub(super) fn key(judgement: &Judgement, critical: &Critical, today: &Identified) -> Key {
    let Some(at) = judgement.occurrence else { return Key::None };
    let same = |it: &Identified| it.operation.to_string() == judgement.operation;
    let others = critical.others.iter().map(|other| (&other.secret, &other.identified));
    let mut known = std::iter::once((&critical.secret, today)).chain(others);
    // A call that was sent lately may be an operation that nothing here recognises.
    let Some((secret, identified)) = known.find(|(_, it)| same(it)) else { return Key::Other };
    let own = critical.reading.client_key.as_ref().filter(|_| identified.kind == Kind::OwnKey);
    let derived = || IdempotencyKey::derived(secret, &identified.operation, at);
    let (key, known) = if let Some(own) = own {
        (own.clone(), Key::Client)
    } else {
        (derived(), Key::Derived(derived()))
    };
    match &judgement.key_digest {
        Some(digest) if *digest != digest_of(&key) => Key::Other,
        Some(_) | None => known,
    }
}

impl Now {
    /// What is said of it on a page.
    pub(super) fn say(
        &self,
        page: &mut Page,
        question: &Asked<'_>,
        critical: &Critical,
        identified: &Identified,
    ) {
        let judgement = match self {
            Self::Unknown(why) => return page.say("now", why),
            Self::Judged(judgement) => judgement,
        };
        page.say("now", &format!("row {}: {}", judgement.row, course(judgement)));
        match key(judgement, critical, identified) {
            Key::None => {}
            Key::Client => page.say("", "the key sent: the client's, unchanged"),
            Key::Derived(key) => page.say("", &format!("the key sent: {}", key.as_str())),
            Key::Other => page.say(
                "",
                "the key sent: the one that it was sent with before, which these settings do not \
                 derive",
            ),
        }
        match &judgement.found {
            None => page.say("", "nothing is remembered of the operation"),
            Some(found) => page.say("", &table::sentence(found, question.now)),
        }
        if judgement.live_owner {
            page.say("", "somebody works on it just now");
        }
        if judgement.by > 0 {
            page.say(
                "",
                &format!(
                    "it stands there as operation {}, by a former policy, secret or scope, and goes \
                     on as that until it is over",
                    super::words::shown(&judgement.operation)
                ),
            );
        }
        if judgement.recalled {
            page.say("", "this very call was sent within the last 15 minutes and keeps its key");
        }
        let (theirs, ours) = (&judgement.policy_version, question.policy.version());
        if theirs != ours {
            let theirs = super::words::shown(theirs);
            page.say("", &format!("but the policy in force there is {theirs}, and not {ours}"));
        }
        if question.config.provider != question.settings.upstream.provider_host {
            let provider = super::words::shown(&question.config.provider);
            page.say("", &format!("all of this is for the provider there: {provider}"));
        }
        if judgement.mode != "enforce" {
            let mode = super::words::shown(&judgement.mode);
            page.say("", &format!("but what runs there only forwards: {mode}"));
        }
    }
}

/// What would happen, and what that means for the money.
fn course(judgement: &Judgement) -> String {
    let occurrence = judgement.occurrence.map(|at| format!("{} of epoch {}", at.n, at.epoch));
    let occurrence = occurrence.unwrap_or_default();
    match judgement.course {
        Course::New => format!("it would be sent, as occurrence {occurrence}"),
        Course::Repeat => format!(
            "it would be sent and pay again, as occurrence {occurrence}: an equal one succeeded, and \
             its answer arrived"
        ),
        Course::Abandoning => format!(
            "it would be sent, as occurrence {occurrence}; an earlier one is given up whose outcome \
             nobody knows: look it up at Stripe"
        ),
        Course::TakeOver => {
            "it would be sent with the same key again: it cannot happen twice".to_owned()
        }
        Course::Replay => {
            "the same key again: Stripe's saved answer, and nothing happens".to_owned()
        }
        Course::ReplayEarlier => format!(
            "this client key stands for occurrence {occurrence}: its saved answer, and nothing happens"
        ),
        Course::Share => "it would wait for the one on its way and share its answer".to_owned(),
        Course::Wait => "it would wait for the one on its way and then be judged again".to_owned(),
        Course::Superseded => "409 payonce_superseded: nothing is sent".to_owned(),
        Course::WindowElapsed => {
            "409 payonce_window_elapsed: nothing is sent until `payonce ops resolve`".to_owned()
        }
        Course::AlreadyDone => "409 payonce_already_done: nothing is sent".to_owned(),
        Course::Conflict => {
            let fields: Vec<String> =
                judgement.fields.iter().map(|field| super::words::shown(field)).collect();
            format!(
                "400 idempotency_error: nothing is sent; asked for before with other values of {}",
                fields.join(", ")
            )
        }
    }
}
