//! `payonce ops`: asks the admin port of a running payonce.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http::Method;

use super::{Exit, table};
use crate::admin::search::{Found, Wanted};
use crate::admin::{Detail, List, Outcome, Resolve, Summary};
use crate::clock::{Clock, Timestamp};
use crate::settings::{Settings, environment};

mod args;
mod bulk;
mod client;
mod export;
mod watch;

pub use args::{
    Ops, OpsAction, OpsExport, OpsFilter, OpsOpen, OpsOutcome, OpsResolve, OpsSearch, OpsShow,
    OpsWatch,
};
pub(super) use client::{Client, exchange};

/// Bytes of a key on standard input.
const MOST_KEY: u64 = 1024;
/// Digits of a whole operation id, and of the shortest beginning of one.
const DIGITS: std::ops::Range<usize> = 8..64;

/// Why a question about operations has no answer.
#[derive(Debug, thiserror::Error)]
pub enum OpsFailure {
    /// Settings say that there is nobody to ask.
    #[error("listen.admin is off in these settings: there is no admin port to ask")]
    Off,
    /// No token is at hand.
    #[error(
        "the admin token cannot be read: {0}; is payonce running, with these settings, as this user and \
         in this folder? (it lies beside store.path, or is admin.token_file)"
    )]
    Token(io::Error),
    /// Nobody answers.
    #[error("no payonce answers on {address}: {why}; is it running, with these settings?")]
    Unreachable {
        /// The admin port.
        address: SocketAddr,
        /// What happened instead.
        why: String,
    },
    /// Nobody answered what was asked.
    #[error("payonce on {address} did not answer: {why}")]
    Unanswered {
        /// The admin port.
        address: SocketAddr,
        /// What happened instead.
        why: String,
    },
    /// What somebody said of an operation may be written, or not.
    #[error("{0}")]
    Unknown(String),
    /// payonce answered that it cannot be.
    #[error("{0}")]
    Refused(String),
    /// What was typed cannot be asked.
    #[error("{0}")]
    Input(String),
    /// The answer could not be shown.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
}

impl OpsFailure {
    /// The exit code that says so.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Self::Off | Self::Token(_) | Self::Unreachable { .. } | Self::Unanswered { .. } => {
                Exit::Unavailable
            }
            Self::Unknown(_) => Exit::Unknown,
            Self::Refused(_) | Self::Input(_) | Self::Output(_) => Exit::Failed,
        }
    }

    /// The same where it was asked that something be changed, which may have happened: `look` tells.
    fn of_a_word(self, look: &str) -> Self {
        match self {
            Self::Unanswered { .. } => Self::Unknown(format!(
                "{self}; it is not known whether this was written: ask `{look}` before you say it again"
            )),
            Self::Off
            | Self::Token(_)
            | Self::Unreachable { .. }
            | Self::Unknown(_)
            | Self::Refused(_)
            | Self::Input(_)
            | Self::Output(_) => self,
        }
    }
}

/// Asks what `ops` asks of the payonce that has these `settings`, and writes the answer to `out`.
///
/// # Errors
/// See [`OpsFailure`]; nothing was changed unless it says otherwise.
pub async fn run(ops: &Ops, settings: &Settings, out: &mut impl Write) -> Result<(), OpsFailure> {
    if let OpsAction::Export(OpsExport { schema: true, .. }) = &ops.action {
        return Ok(out.write_all(export::SCHEMA.as_bytes())?);
    }
    let client = Client::of(settings)?;
    let now = Clock::System.now();
    match &ops.action {
        OpsAction::List { limit } => {
            let (list, raw) = client.ask(Method::GET, &format!("/ops?limit={limit}"), None).await?;
            let List { operations, more } = list;
            show(out, ops.json, &raw, || table::list(&operations, more, now))
        }
        OpsAction::Show(OpsShow { id: Some(id), key: None }) if is_beginning(id) => {
            shown_by_beginning(&client, id, ops.json, out, now).await
        }
        OpsAction::Show(wanted) => {
            let (method, path, body) = wanted_question(wanted)?;
            let (found, raw) = client.ask(method, &path, body).await?;
            detail(out, ops.json, &raw, &found, now)
        }
        OpsAction::Search(OpsSearch { filter, limit }) => {
            let limit = usize::try_from(*limit).ok();
            let wanted = Wanted { limit, ..wanted(filter)? };
            let (found, raw): (Found, _) = client.post("/ops/search", &wanted).await?;
            show(out, ops.json, &raw, || found_text(&found, now))
        }
        OpsAction::Watch(args) => watch::run(args, ops.json, settings, client, out).await,
        OpsAction::Export(args) => export::run(args, &client, out).await,
        OpsAction::Resolve(said @ OpsResolve { rule: Some(rule), .. }) => {
            bulk::run(said, rule, ops.json, client, out).await
        }
        OpsAction::Resolve(said) => {
            // What was said should not be given up on before payonce does.
            let client = client.patient();
            let one = whole_id(&client, said.id.as_deref().unwrap_or_default()).await?;
            let answer = client.post(&format!("/ops/{one}/resolve"), &resolution(said)).await;
            let look = format!("payonce ops show {one}");
            let (after, raw) = answer.map_err(|failure| failure.of_a_word(&look))?;
            detail(out, ops.json, &raw, &after, now)
        }
    }
}

/// Whether only the beginning of an id was typed.
fn is_beginning(id: &str) -> bool {
    DIGITS.contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The id as typed, or that of the one open operation whose id begins so.
async fn whole_id(client: &Client, typed: &str) -> Result<String, OpsFailure> {
    if !is_beginning(typed) {
        return Ok(id(typed)?.to_owned());
    }
    let wanted = Wanted { id: Some(typed.to_owned()), open: true, ..Wanted::default() };
    let (found, _raw): (Found, _) = client.post("/ops/search", &wanted).await?;
    match found.operations.as_slice() {
        [one] if !found.more => Ok(one.summary.operation_id.clone()),
        [] => Err(OpsFailure::Refused(format!(
            "nothing was changed: no open operation begins with {typed}; `payonce ops show {typed}` \
             tells more"
        ))),
        [_, ..] => Err(OpsFailure::Refused(format!(
            "nothing was changed: more than one open operation begins with {typed}, or may; say \
             which, with more of its id"
        ))),
    }
}

async fn shown_by_beginning(
    client: &Client,
    id: &str,
    json: bool,
    out: &mut impl Write,
    now: Timestamp,
) -> Result<(), OpsFailure> {
    let wanted = Wanted { id: Some(id.to_owned()), ..Wanted::default() };
    let (found, raw): (Found, _) = client.post("/ops/search", &wanted).await?;
    match found.operations.as_slice() {
        [] => Err(OpsFailure::Refused(
            "no operation that is open, or was handled lately, begins so: one that is settled is \
             found by its whole id"
                .to_owned(),
        )),
        [one] if json => {
            serde_json::to_writer(&mut *out, one).map_err(io::Error::from)?;
            Ok(out.write_all(b"\n")?)
        }
        [one] => Ok(out.write_all(table::detail(one, now).as_bytes())?),
        [_, _, ..] => show(out, json, &raw, || found_text(&found, now)),
    }
}

fn found_text(found: &Found, now: Timestamp) -> String {
    if found.operations.is_empty() {
        return "Nothing was found. What is settled is found by its whole id, a key, a Request-Id or \
                an object.\n"
            .to_owned();
    }
    let summaries: Vec<Summary> =
        found.operations.iter().map(|detail| detail.summary.clone()).collect();
    let mut text = table::list(&summaries, found.more, now);
    if found.unreadable > 0 {
        // Writing to a string cannot fail.
        writeln!(text, "{} records could not be read.", found.unreadable).unwrap_or_default();
    }
    text
}

fn wanted(filter: &OpsFilter) -> Result<Wanted, OpsFailure> {
    let wanted = Wanted {
        id: filter.id.clone(),
        ids: Vec::new(),
        key: filter.key.as_deref().map(typed_key).transpose()?,
        request_id: filter.request_id.clone(),
        object_id: filter.object.clone(),
        caller: filter.caller.clone(),
        rule: filter.rule.clone(),
        state: filter.state,
        older_ms: filter.older.map(millis),
        open: filter.open,
        limit: None,
    };
    wanted.check().map_err(|why| OpsFailure::Input(why.to_owned()))?;
    Ok(wanted)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn wanted_question(wanted: &OpsShow) -> Result<(Method, String, Option<String>), OpsFailure> {
    match (&wanted.id, &wanted.key) {
        (_, Some(key)) => {
            let body = serde_json::json!({ "key": typed_key(key)? });
            Ok((Method::POST, "/ops/lookup".to_owned(), Some(body.to_string())))
        }
        (Some(wanted), None) => Ok((Method::GET, format!("/ops/{}", id(wanted)?), None)),
        (None, None) => Err(OpsFailure::Input("say which: an ID, or --key".to_owned())),
    }
}

/// The key as typed, or from standard input without the newline at its end.
fn typed_key(key: &str) -> Result<String, OpsFailure> {
    if key != "-" {
        return Ok(key.to_owned());
    }
    let mut text = String::new();
    let read = io::stdin().take(MOST_KEY).read_to_string(&mut text);
    read.map_err(|error| OpsFailure::Input(format!("the key cannot be read: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// An id becomes part of a path: only what needs no escaping.
fn id(text: &str) -> Result<&str, OpsFailure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text);
    }
    let why = "an operation id has letters, digits, - and _ only, as in Payonce-Operation-Id";
    Err(OpsFailure::Input(why.to_owned()))
}

fn resolution(said: &OpsResolve) -> Resolve {
    Resolve {
        outcome: outcome(said.outcome),
        object_id: said.object.clone(),
        by: said.by.clone().or_else(login).unwrap_or_else(|| "unknown".to_owned()),
        why: said.why.clone(),
    }
}

const fn outcome(said: OpsOutcome) -> Outcome {
    match said {
        OpsOutcome::Succeeded => Outcome::Succeeded,
        OpsOutcome::Declined => Outcome::Declined,
    }
}

/// Who is logged in, as far as the environment says.
fn login() -> Option<String> {
    let (_, name) = environment().find(|(variable, _)| variable == "USER")?;
    name.into_string().ok().filter(|name| !name.is_empty())
}

fn detail(
    out: &mut impl Write,
    json: bool,
    raw: &Bytes,
    found: &Detail,
    now: Timestamp,
) -> Result<(), OpsFailure> {
    show(out, json, raw, || table::detail(found, now))
}

/// Writes the answer as it came, or as text.
pub(super) fn show(
    out: &mut impl Write,
    json: bool,
    raw: &Bytes,
    text: impl FnOnce() -> String,
) -> Result<(), OpsFailure> {
    if json {
        out.write_all(raw)?;
        out.write_all(b"\n")?;
    } else {
        out.write_all(text().as_bytes())?;
    }
    Ok(())
}
