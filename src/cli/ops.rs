//! `payonce ops`: asks the admin port of a running payonce.

use std::io::{self, Read as _, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Exit, table};
use crate::admin::{Detail, List, Outcome, Resolve, token};
use crate::clock::{Clock, Timestamp};
use crate::settings::{Secret, Settings, environment};

mod args;

pub use args::{Ops, OpsAction, OpsOutcome, OpsResolve, OpsShow};

/// For one question and its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer: a thousand operations have room.
const MOST_ANSWER: usize = 4 * 1024 * 1024;
/// Bytes of a key on standard input.
const MOST_KEY: u64 = 1024;

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
            Self::Off | Self::Token(_) | Self::Unreachable { .. } => Exit::Unavailable,
            Self::Refused(_) | Self::Input(_) | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Asks what `ops` asks of the payonce that has these `settings`, and writes the answer to `out`.
///
/// # Errors
/// See [`OpsFailure`]; nothing was changed unless it says otherwise.
pub async fn run(ops: &Ops, settings: &Settings, out: &mut impl Write) -> Result<(), OpsFailure> {
    let client = Client::of(settings)?;
    let now = Clock::System.now();
    match &ops.action {
        OpsAction::List { limit } => {
            let (list, raw) = client.ask(Method::GET, &format!("/ops?limit={limit}"), None).await?;
            let List { operations, more } = list;
            show(out, ops.json, &raw, || table::list(&operations, more, now))
        }
        OpsAction::Show(wanted) => {
            let (method, path, body) = wanted_question(wanted)?;
            let (found, raw) = client.ask(method, &path, body).await?;
            detail(out, ops.json, &raw, &found, now)
        }
        OpsAction::Resolve(said) => {
            let path = format!("/ops/{}/resolve", id(&said.id)?);
            let body = resolution(said)?;
            let (after, raw) = client.ask(Method::POST, &path, Some(body)).await?;
            detail(out, ops.json, &raw, &after, now)
        }
    }
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

fn resolution(said: &OpsResolve) -> Result<String, OpsFailure> {
    let body = Resolve {
        outcome: match said.outcome {
            OpsOutcome::Succeeded => Outcome::Succeeded,
            OpsOutcome::Declined => Outcome::Declined,
        },
        object_id: said.object.clone(),
        by: said.by.clone().or_else(login).unwrap_or_else(|| "unknown".to_owned()),
        why: said.why.clone(),
    };
    serde_json::to_string(&body).map_err(|error| OpsFailure::Input(error.to_string()))
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

/// One admin port, and what it wants to see.
pub(super) struct Client {
    address: SocketAddr,
    token: Secret,
}

/// An error of the admin port.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    message: String,
}

impl Client {
    /// The admin port of the payonce that has these settings.
    pub(super) fn of(settings: &Settings) -> Result<Self, OpsFailure> {
        let address = settings.listen.admin.ok_or(OpsFailure::Off)?;
        let token = token::find(&settings.admin.token).map_err(OpsFailure::Token)?;
        Ok(Self { address, token })
    }

    /// Asks, and gives back the answer as read and as it came.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(T, Bytes), OpsFailure> {
        let unreachable = |why: String| OpsFailure::Unreachable { address: self.address, why };
        let request = self.request(method, path, body).map_err(|e| unreachable(e.to_string()))?;
        let exchange = Clock::System.timeout(TIMEOUT, exchange(self.address, request)).await;
        let (status, bytes) = match exchange {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return Err(unreachable(why)),
            Err(_elapsed) => return Err(unreachable("no answer in 10 s".to_owned())),
        };
        if status.is_success() {
            let value = serde_json::from_slice(&bytes);
            let value = value.map_err(|e| unreachable(format!("not an answer of payonce: {e}")))?;
            return Ok((value, bytes));
        }
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(refusal) => Err(OpsFailure::Refused(refusal.error.message)),
            Err(_other_json) => Err(unreachable(format!("not an answer of payonce: {status}"))),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, http::Error> {
        let bearer = [b"Bearer ", self.token.expose()].concat();
        let mut bearer = HeaderValue::from_bytes(&bearer)?;
        bearer.set_sensitive(true);
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.unwrap_or_default()))
    }
}

/// One request and its answer on a connection of their own.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
    // Dropped, and the connection with it, when the answer is here.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer: Response<Incoming> =
        sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_ANSWER).collect().await;
    Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
}
