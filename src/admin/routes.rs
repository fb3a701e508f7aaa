//! The admin port's paths, for requests that are allowed in.
//!
//! | request | answer |
//! |---|---|
//! | `GET /ops?limit=100` | `{"operations": [summary…], "more": bool}` |
//! | `GET /ops/{id}` | a detail |
//! | `GET /clients` | the [list](crate::clients::list::List) of the clients that were seen |
//! | `POST /ops/lookup` `{"key": "…"}` | the detail of the operation with that idempotency key |
//! | `GET /ways` | a [`Recognition`](super::judge::Recognition): how operations are recognised here |
//! | `POST /ops/judge` a [`Question`] | the [`Judgement`](super::judge::Judgement): what such a request would come to now |
//! | `POST /ops/search` a [`Wanted`](super::search::Wanted) | what was [`Found`](super::search::Found) |
//! | `POST /ops/resolve` a [`Bulk`] | what is meant is [`Shown`](super::bulk::Shown); or, confirmed, the [`Resolutions`](super::bulk::Resolutions) of all operations of a rule |
//! | `POST /ops/{id}/resolve` `{"as": "succeeded", "object_id": …, "by": "…", "why": "…"}` | the detail after it |
//!
//! The key travels in a body, and not in a path: paths get logged.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bulk::{Bulk, Bulked};
use super::http1::{self, Answer};
use super::judge::Question;
use super::operations::{Detail, Operations, OpsError, Resolution, Resolved, Summary};
use super::search::Wanted;
use crate::clock::Clock;

/// Bytes of a request's body.
const MOST_BODY: usize = 64 * 1024;
/// For a request's body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Operations on one list.
const MOST_LISTED: usize = 1000;
/// On a list for which nobody said how many.
const USUALLY_LISTED: usize = 100;
/// Bytes of an idempotency key (FACTS §2), of an object id, of a name.
const MOST_NAME: usize = 255;
/// Other identities of one request.
const MOST_IDENTITIES: usize = 16;
/// Bytes of a reason.
const MOST_WHY: usize = 1000;

/// The code of an error after which it is not known whether a person's word was written.
pub(crate) const UNKNOWN: &str = "unknown";

/// The answer to `GET /ops`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct List {
    /// What is open.
    pub(crate) operations: Vec<Summary>,
    /// Whether there may be more than that.
    pub(crate) more: bool,
}

/// The body of `POST /ops/lookup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lookup {
    key: String,
}

/// The body of `POST /ops/{id}/resolve`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolve {
    /// What became of the operation.
    #[serde(rename = "as")]
    pub(crate) outcome: Outcome,
    /// What it made, if it succeeded and that is known.
    #[serde(default)]
    pub(crate) object_id: Option<String>,
    /// Who says so.
    pub(crate) by: String,
    /// How they know.
    pub(crate) why: String,
}

/// What a person may say of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It happened.
    Succeeded,
    /// It did not.
    Declined,
}

impl Outcome {
    /// As on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
        }
    }

    /// Without an object.
    #[must_use]
    pub const fn resolution(self) -> Resolution {
        match self {
            Self::Succeeded => Resolution::Succeeded { object_id: None },
            Self::Declined => Resolution::Declined,
        }
    }
}

/// Answers a request that was allowed in.
pub(super) async fn answer<O: Operations>(ops: &O, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    if path == "/ways" {
        return match *request.method() {
            Method::GET => http1::json(StatusCode::OK, &ops.recognition()),
            _ => http1::wrong_method("GET"),
        };
    }
    if path == "/clients" {
        return match request.method() {
            &Method::GET => http1::json(StatusCode::OK, &ops.clients()),
            _other => http1::wrong_method("GET"),
        };
    }
    let Some(rest) = path.strip_prefix("/ops") else { return nowhere() };
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    let (get, post) = (request.method() == Method::GET, request.method() == Method::POST);
    match parts.as_slice() {
        [] if !rest.is_empty() => nowhere(),
        [] if get => list(ops, request.uri().query().unwrap_or_default()).await,
        [] => http1::wrong_method("GET"),
        ["lookup"] if post => lookup(ops, request).await,
        ["search"] if post => search(ops, request).await,
        ["resolve"] if post => resolve_all(ops, request).await,
        ["lookup" | "search" | "resolve"] => http1::wrong_method("POST"),
        ["judge"] if post => judge(ops, request).await,
        [id] | [id, "resolve"] if !is_id(id) => bad("an id has letters, digits, - and _ only"),
        [id] if get => told(ops.show(id).await),
        [_id] => http1::wrong_method("GET"),
        [id, "resolve"] if post => resolve(ops, id, request).await,
        [_id, "resolve"] => http1::wrong_method("POST"),
        _other => nowhere(),
    }
}

async fn list<O: Operations>(ops: &O, query: &str) -> Answer {
    let limit = match query.strip_prefix("limit=") {
        None if query.is_empty() => Some(USUALLY_LISTED),
        given => given.and_then(|limit| limit.parse().ok()),
    };
    let Some(limit) = limit.filter(|limit| (1..=MOST_LISTED).contains(limit)) else {
        return bad("limit must be 1 to 1000, and nothing else is asked");
    };
    match ops.list(limit).await {
        Ok(operations) => {
            let more = operations.len() >= limit;
            http1::json(StatusCode::OK, &List { operations, more })
        }
        Err(error) => failed(&error, ""),
    }
}

async fn lookup<O: Operations>(ops: &O, request: Request<Incoming>) -> Answer {
    match read::<Lookup>(request).await {
        Ok(Lookup { key }) if !is_name_length(&key) => bad("a key has 1 to 255 bytes"),
        Ok(Lookup { key }) => told(ops.by_key(&SecretString::from(key)).await),
        Err(answer) => *answer,
    }
}

async fn judge<O: Operations>(ops: &O, request: Request<Incoming>) -> Answer {
    let asked = match read::<Question>(request).await {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    if asked.others.len() > MOST_IDENTITIES {
        return bad("a request has at most 16 other identities");
    }
    match ops.judge(&asked).await {
        Ok(Some(judgement)) => http1::json(StatusCode::OK, &judgement),
        Ok(None) => bad("an operation id has 64 hexadecimal digits"),
        Err(error) => failed(&error, ""),
    }
}

async fn search<O: Operations>(ops: &O, request: Request<Incoming>) -> Answer {
    let wanted = match read::<Wanted>(request).await {
        Ok(wanted) => wanted,
        Err(answer) => return *answer,
    };
    if let Err(why) = wanted.check() {
        return bad(why);
    }
    match ops.search(&wanted).await {
        Ok(found) => http1::json(StatusCode::OK, &found),
        Err(error) => failed(&error, ""),
    }
}

async fn resolve_all<O: Operations>(ops: &O, request: Request<Incoming>) -> Answer {
    let said = match read::<Bulk>(request).await {
        Ok(said) => said,
        Err(answer) => return *answer,
    };
    if let Err(why) = is_said(&said.by, &said.why).and_then(|()| said.wanted().check()) {
        return bad(why);
    }
    if said.yes && said.expect.is_some() {
        return bad("say \"expect\" or \"yes\", and not both");
    }
    match ops.resolve_all(&said).await {
        Ok(Bulked::Shown(shown)) => http1::json(StatusCode::OK, &shown),
        Ok(Bulked::Done(done)) => http1::json(StatusCode::OK, &done),
        Ok(Bulked::Unexpected(found)) => {
            let why = format!(
                "nothing was changed: {found} operations are meant by now, and those are not the very \
                 ones that were shown, as they were then; look again"
            );
            http1::error(StatusCode::CONFLICT, "unexpected", &why)
        }
        Err(error) => failed(&error, "payonce ops list"),
    }
}

async fn resolve<O: Operations>(ops: &O, id: &str, request: Request<Incoming>) -> Answer {
    let said = match read::<Resolve>(request).await {
        Ok(said) => said,
        Err(answer) => return *answer,
    };
    let resolution = match understood(&said) {
        Ok(resolution) => resolution,
        Err(why) => return bad(why),
    };
    match ops.resolve(id, &resolution, said.by.trim(), said.why.trim()).await {
        Ok(Resolved::Done(detail)) => http1::json(StatusCode::OK, &*detail),
        Ok(Resolved::NotFound) => unknown(),
        Ok(Resolved::NotOpen(detail)) => conflict("not_open", "it has an outcome already", &detail),
        Ok(Resolved::Busy(detail)) => {
            conflict("in_flight", "it is being worked on; ask again when it has settled", &detail)
        }
        Err(error) => failed(&error, &format!("payonce ops show {id}")),
    }
}

/// What a person said, if it makes sense. These words go to logs and records.
fn understood(said: &Resolve) -> Result<Resolution, &'static str> {
    is_said(&said.by, &said.why)?;
    match (said.outcome, &said.object_id) {
        (Outcome::Succeeded, Some(id)) if !is_name(id) => {
            Err("\"object_id\" must be an id as Stripe shows it, such as pi_123")
        }
        (Outcome::Succeeded, id) => Ok(Resolution::Succeeded { object_id: id.clone() }),
        (Outcome::Declined, None) => Ok(Resolution::Declined),
        (Outcome::Declined, Some(_)) => {
            Err("what was declined made no object: leave object_id out")
        }
    }
}

/// Whether somebody says it, and why.
fn is_said(by: &str, why: &str) -> Result<(), &'static str> {
    let line = |text: &str, most: usize| {
        let text = text.trim();
        !text.is_empty() && text.len() <= most && !text.contains(char::is_control)
    };
    if !line(by, MOST_NAME) {
        return Err("\"by\" must be one line of 1 to 255 bytes");
    }
    if !line(why, MOST_WHY) {
        return Err("\"why\" must be one line of 1 to 1000 bytes");
    }
    Ok(())
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Box<Answer>> {
    let body = Limited::new(request.into_body(), MOST_BODY).collect();
    let collected = Clock::System.timeout(BODY_TIMEOUT, body).await;
    let bytes = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_too_large_or_cut)) => {
            return Err(Box::new(bad("the body must arrive whole, and have at most 64 KiB")));
        }
        Err(_elapsed) => return Err(Box::new(bad("the body did not arrive in time"))),
    };
    parse(&bytes).map_err(|why| Box::new(bad(&why)))
}

/// The message says where the JSON is wrong and never what it holds: that may be a key.
fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| {
        let form =
            "such as {\"key\": \"…\"} or {\"as\": \"declined\", \"by\": \"…\", \"why\": \"…\"}";
        let (line, column) = (error.line(), error.column());
        format!("the body is not the expected JSON ({form}): line {line}, column {column}")
    })
}

fn told(found: Result<Option<Detail>, OpsError>) -> Answer {
    match found {
        Ok(Some(detail)) => http1::json(StatusCode::OK, &detail),
        Ok(None) => unknown(),
        Err(error) => failed(&error, ""),
    }
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&text.len()) && text.bytes().all(plain)
}

fn is_name(text: &str) -> bool {
    is_name_length(text) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_name_length(text: &str) -> bool {
    (1..=MOST_NAME).contains(&text.len())
}

fn unknown() -> Answer {
    let why = "no such operation is remembered: is the id whole? Else it never was, or settled and was forgotten";
    http1::error(StatusCode::NOT_FOUND, "unknown_operation", why)
}

fn nowhere() -> Answer {
    http1::error(
        StatusCode::NOT_FOUND,
        "not_found",
        "this port has /clients, and /ops and what is below it",
    )
}

fn bad(why: &str) -> Answer {
    http1::error(StatusCode::BAD_REQUEST, "bad_request", why)
}

fn conflict(code: &str, why: &str, detail: &Detail) -> Answer {
    let state = detail.summary.state.name();
    let message = format!("the operation is {state}: {why}; nothing was changed");
    http1::error(StatusCode::CONFLICT, code, &message)
}

/// `look`: what tells whether a word was written, where that is not known.
fn failed(error: &OpsError, look: &str) -> Answer {
    let (status, code) = match error {
        OpsError::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store"),
        OpsError::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        OpsError::Unrecorded(_) => (StatusCode::SERVICE_UNAVAILABLE, "audit"),
        OpsError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        OpsError::Unknown(_) => {
            let why = format!("{error}; ask `{look}` before you say it again");
            return http1::error(StatusCode::GATEWAY_TIMEOUT, UNKNOWN, &why);
        }
    };
    let nothing = match error {
        OpsError::Unavailable(_) | OpsError::Damaged(_) if !look.is_empty() => {
            "; nothing was changed"
        }
        OpsError::Unavailable(_)
        | OpsError::Damaged(_)
        | OpsError::Unrecorded(_)
        | OpsError::Busy
        | OpsError::Unknown(_) => "",
    };
    http1::error(status, code, &format!("{error}{nothing}"))
}
