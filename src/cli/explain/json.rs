//! What became of requests, for programs. The shape is told in `payonce explain --help`: keys are
//! added, never changed.

use std::time::Duration;

use serde::Serialize;

use super::asked::All;
use super::judged::Judged;
use super::now::{self, Key, Now};
use super::{Critical, End, Question, Ruled, Told, words};
use crate::admin::judge::Judgement;
use crate::decide::identity::{Identified, Kind};
use crate::decide::key::{Chosen, IdempotencyKey};
use crate::decide::operation::{Occurrence, Retention};
use crate::decide::policy::{Merge, Pattern};
use crate::refusal::Refusal;

/// How many fields of a body are named.
const MOST_FIELDS: usize = 500;

/// The answer to all.
#[derive(Serialize)]
struct Answer<'a> {
    policy: Policy<'a>,
    requests: Vec<Request<'a>>,
    /// Requests of a recording that are not explained, and why not.
    left_out: &'a [String],
}

#[derive(Serialize)]
struct Policy<'a> {
    file: &'a str,
    version: &'a str,
    mode: &'static str,
}

#[derive(Default, Serialize)]
struct Request<'a> {
    #[serde(rename = "request")]
    line: String,
    /// The path as it was matched; null if the request itself is refused.
    matched_as: Option<String>,
    rule: Option<Rule<'a>>,
    passed_over: Vec<PassedOver<'a>>,
    passed_over_more: usize,
    did_you_mean: Option<&'a str>,
    notes: &'a [String],
    refused: Option<Refused>,
    body: Option<Body<'a>>,
    client_key: Option<ClientKey>,
    identity: Option<&'static str>,
    merge: Option<MergeWith>,
    /// For how long it is asked for again though nobody waits, should its outcome stay unknown; null
    /// where the rule does not say so, and for a single call.
    finish_ms: Option<u64>,
    /// No API key was given, so that ids and keys are left out.
    placeholder: bool,
    operation_id: Option<String>,
    upstream_key: Option<UpstreamKey>,
    now: Option<NowShape<'a>>,
}

#[derive(Serialize)]
struct Rule<'a> {
    name: &'a str,
    /// 0 for a rule that is built in.
    line: usize,
    /// The pattern that matched, and its line.
    pattern: Option<&'a str>,
    pattern_line: Option<usize>,
    class: &'static str,
}

#[derive(Serialize)]
struct PassedOver<'a> {
    rule: &'a str,
    line: usize,
    pattern: &'a str,
    why: &'a str,
}

#[derive(Serialize)]
struct Refused {
    status: u16,
    code: &'static str,
    message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    kind: &'static str,
    fields: Vec<Field<'a>>,
    fields_more: usize,
    identity_absent: Vec<&'a str>,
    distinguishing_absent: Vec<&'a str>,
}

#[derive(Serialize)]
struct Field<'a> {
    name: &'a str,
    /// `identity`, `distinguishes` or `other`.
    role: &'static str,
    /// Of its value, which is not told.
    bytes: usize,
}

#[derive(Serialize)]
struct ClientKey {
    chosen_by: &'static str,
    characters: usize,
}

#[derive(Serialize)]
struct MergeWith {
    rule: &'static str,
    /// Whether an equal request in flight or just answered counts.
    twins: bool,
    repeat_window_ms: u64,
}

#[derive(Serialize)]
struct UpstreamKey {
    /// `client`, `minted` or `derived`.
    kind: &'static str,
    /// Told where it is derived, of an API key that was given.
    key: Option<String>,
    occurrence: Option<Occurrence>,
}

#[derive(Serialize)]
struct NowShape<'a> {
    /// Why the running payonce says nothing.
    unknown: Option<&'a str>,
    judgement: Option<&'a Judgement>,
    /// `none`, `client`, `derived` or `other`, and the key where it is derived.
    key: Option<&'static str>,
    derived_key: Option<String>,
}

/// All answers as one JSON object.
pub(super) fn of(question: &Question<'_>, all: &All, told: &[Told<'_>]) -> String {
    let policy = Policy {
        file: &question.file,
        version: question.policy.version(),
        mode: question.policy.mode().as_str(),
    };
    let requests = told.iter().map(|one| request(question, one)).collect();
    let answer = Answer { policy, requests, left_out: &all.left_out };
    // Texts, numbers and lists have a JSON form.
    let text = serde_json::to_string_pretty(&answer);
    text.unwrap_or_else(|why| serde_json::json!({ "error": why.to_string() }).to_string()) + "\n"
}

fn request<'a>(question: &Question<'_>, told: &'a Told<'_>) -> Request<'a> {
    let line = format!("{} {}", told.asked.method, told.asked.target);
    let ruled = match &told.ruled {
        Err(refusal) => {
            let refused = Some(refused(refusal));
            return Request { line, refused, notes: &told.asked.notes, ..Request::default() };
        }
        Ok(ruled) => ruled,
    };
    let passed_over = ruled.near.passed_over.iter().map(|passed| PassedOver {
        rule: &passed.rule.name,
        line: passed.rule.line,
        pattern: passed.pattern.as_str(),
        why: &passed.why,
    });
    let shape = Request {
        line,
        matched_as: Some(format!("/{}", ruled.head.target.segments().join("/"))),
        rule: Some(rule(ruled)),
        passed_over: passed_over.collect(),
        passed_over_more: ruled.near.others,
        did_you_mean: ruled.near.did_you_mean.as_deref(),
        notes: &ruled.notes,
        ..Request::default()
    };
    match &ruled.end {
        End::Passed => shape,
        End::ByPolicy(refusal) | End::Bad(refusal) => {
            Request { refused: Some(refused(refusal)), ..shape }
        }
        End::Critical(of) => critical(question, ruled, of, shape),
    }
}

fn critical<'a>(
    question: &Question<'_>,
    ruled: &'a Ruled<'_>,
    of: &'a Critical,
    shape: Request<'a>,
) -> Request<'a> {
    let judged = Judged { head: &ruled.head, rule: ruled.rule, reading: &of.reading };
    let chosen = of.reading.client_key.as_ref().zip(of.reading.chosen);
    let client_key = chosen.map(|(key, chosen)| ClientKey {
        chosen_by: match chosen {
            Chosen::ByApplication => "application",
            Chosen::BySdk { .. } => "sdk",
        },
        characters: key.as_str().len(),
    });
    let shape =
        Request { body: Some(body(&judged)), client_key, placeholder: of.placeholder, ..shape };
    let identified = match &of.identified {
        Err(refusal) => return Request { refused: Some(refused(refusal)), ..shape },
        Ok(identified) => identified,
    };
    // A call without a key is another operation each time.
    let named = !of.placeholder && (identified.kind != Kind::Call || client_key_is(of));
    Request {
        identity: Some(identified.kind.as_str()),
        merge: (identified.kind == Kind::Content).then(|| MergeWith {
            rule: ruled.rule.merge.as_str(),
            twins: identified.twins && ruled.rule.merge == Merge::Twins,
            repeat_window_ms: millis(ruled.rule.repeat_window),
        }),
        finish_ms: ruled.rule.finish.filter(|_| identified.kind != Kind::Call).map(millis),
        operation_id: named.then(|| identified.operation.to_string()),
        upstream_key: Some(upstream_key(question, ruled, of, identified)),
        now: of.now.as_ref().map(|now| now_shape(now, of, identified)),
        ..shape
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const fn client_key_is(of: &Critical) -> bool {
    of.reading.client_key.is_some()
}

fn upstream_key(
    question: &Question<'_>,
    ruled: &Ruled<'_>,
    of: &Critical,
    identified: &Identified,
) -> UpstreamKey {
    match identified.kind {
        Kind::OwnKey => UpstreamKey { kind: "client", key: None, occurrence: None },
        Kind::Call if client_key_is(of) => {
            UpstreamKey { kind: "client", key: None, occurrence: None }
        }
        Kind::Call => UpstreamKey { kind: "minted", key: None, occurrence: None },
        Kind::Header | Kind::Fields | Kind::Content => {
            let operation = &identified.operation;
            let retention = Retention::of(ruled.head.target.api());
            let at = Occurrence::first(retention.epoch_at(operation, question.now));
            let key = IdempotencyKey::derived(&of.secret, operation, at);
            let key = (!of.placeholder).then(|| key.as_str().to_owned());
            UpstreamKey { kind: "derived", key, occurrence: Some(at) }
        }
    }
}

fn now_shape<'a>(now: &'a Now, of: &Critical, identified: &Identified) -> NowShape<'a> {
    match now {
        Now::Unknown(why) => {
            NowShape { unknown: Some(why), judgement: None, key: None, derived_key: None }
        }
        Now::Judged(judgement) => {
            let (key, derived_key) = match now::key(judgement, of, identified) {
                Key::None => ("none", None),
                Key::Client => ("client", None),
                Key::Derived(key) => ("derived", Some(key.as_str().to_owned())),
                Key::Other => ("other", None),
            };
            NowShape { unknown: None, judgement: Some(judgement), key: Some(key), derived_key }
        }
    }
}

fn rule<'a>(ruled: &'a Ruled<'_>) -> Rule<'a> {
    let pattern = words::pattern(ruled.rule, &ruled.head);
    Rule {
        name: &ruled.rule.name,
        line: ruled.rule.line,
        pattern: pattern.map(Pattern::as_str),
        pattern_line: pattern.map(Pattern::line),
        class: ruled.rule.class.as_str(),
    }
}

fn body<'a>(judged: &Judged<'a>) -> Body<'a> {
    let all = judged.named_fields();
    let fields = all.iter().take(MOST_FIELDS).map(|field| Field {
        name: &field.name,
        role: judged.role_of(&field.name),
        bytes: field.value.len(),
    });
    Body {
        kind: judged.body_kind(),
        fields: fields.collect(),
        fields_more: all.len().saturating_sub(MOST_FIELDS),
        identity_absent: judged.identity_absent(),
        distinguishing_absent: judged.distinguishing_absent(),
    }
}

fn refused(refusal: &Refusal) -> Refused {
    Refused { status: refusal.status().as_u16(), code: refusal.code(), message: refusal.message() }
}
