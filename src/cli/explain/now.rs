//! What would happen now: asks the payonce that runs with the same settings. It changes nothing
//! there, and gets digests alone: no API key and no content leaves this process.

use http::Method;

use super::{Critical, End, Question, Told};
use crate::admin::judge::{self, Course, Judgement, digest_of};
use crate::cli::ops::{Client, OpsFailure};
use crate::cli::page::Page;
use crate::cli::table;
use crate::decide::identity::{Identified, Kind};
use crate::decide::key::IdempotencyKey;
use crate::decide::path::Api;
use crate::decide::policy::{Indeterminate, Rule};
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

/// Asks for each of the requests that is an operation.
pub(super) async fn ask(told: &mut [Told<'_>], settings: &Settings) {
    let client = Client::of(settings);
    for one in told {
        let Ok(ruled) = &mut one.ruled else { continue };
        let api = ruled.head.target.api();
        let End::Critical(critical) = &mut ruled.end else { continue };
        critical.now = about(critical, ruled.rule, api, client.as_ref()).await;
    }
}

/// The provider of the payonce that answered, if it is not `ours`.
pub(super) fn other_provider(told: &[Told<'_>], ours: &str) -> Option<String> {
    told.iter().find_map(|one| match &one.ruled.as_ref().ok()?.end {
        End::Critical(critical) => match critical.now.as_ref()? {
            Now::Judged(judged) => Some(judged.provider.clone()).filter(|theirs| theirs != ours),
            Now::Unknown(_) => None,
        },
        End::Passed | End::ByPolicy(_) | End::Bad(_) => None,
    })
}

async fn about(
    critical: &Critical,
    rule: &Rule,
    api: Api,
    client: Result<&Client, &OpsFailure>,
) -> Option<Now> {
    let identified = critical.identified.as_ref().ok()?;
    if identified.kind == Kind::Call {
        let why = "a single call has no record: nothing that was sent before changes it";
        return Some(Now::Unknown(why.to_owned()));
    }
    if critical.placeholder {
        let why = "not asked: the operation hangs on the API key; give it with \
                   -H 'Authorization: Bearer …'";
        return Some(Now::Unknown(why.to_owned()));
    }
    let asked = match client {
        Ok(client) => question(client, identified, rule, api).await,
        Err(failure) => Err(failure.to_string()),
    };
    Some(match asked {
        Ok(judgement) => Now::Judged(Box::new(judgement)),
        Err(why) => Now::Unknown(format!("not known: {why}")),
    })
}

async fn question(
    client: &Client,
    identified: &Identified,
    rule: &Rule,
    api: Api,
) -> Result<Judgement, String> {
    let question = judge::Question {
        kind: identified.kind,
        api,
        fingerprint: identified.fingerprint.clone(),
        client_key: identified.client_key,
        call: identified.call,
        twins: identified.twins,
        repeat_window_ms: u64::try_from(rule.repeat_window.as_millis()).unwrap_or(u64::MAX),
        next_after_saved_500: rule.indeterminate == Indeterminate::Next,
    };
    let body = serde_json::to_string(&question).map_err(|error| error.to_string())?;
    let path = format!("/ops/{}/judge", identified.operation);
    let answer = client.ask(Method::POST, &path, Some(body)).await;
    answer.map(|(judgement, _raw)| judgement).map_err(|failure| failure.to_string())
}

/// Which key `judgement` means.
pub(super) fn key(judgement: &Judgement, critical: &Critical, identified: &Identified) -> Key {
    let Some(at) = judgement.occurrence else { return Key::None };
    let own = critical.reading.client_key.as_ref().filter(|_| identified.kind == Kind::OwnKey);
    let (key, known) = match own {
        Some(own) => (own.clone(), Key::Client),
        None => {
            let key = IdempotencyKey::derived(&critical.secret, &identified.operation, at);
            (key.clone(), Key::Derived(key))
        }
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
        question: &Question<'_>,
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
        if judgement.recalled {
            page.say("", "this very call was sent within the last 15 minutes and keeps its key");
        }
        let (theirs, ours) = (&judgement.policy_version, question.policy.version());
        if theirs != ours {
            let theirs = super::words::shown(theirs);
            page.say("", &format!("but the policy in force there is {theirs}, and not {ours}"));
        }
        if question.config.provider != question.settings.upstream.provider_host {
            let provider = super::words::shown(&judgement.provider);
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
