//! Asking the admin port of a running payonce.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::OpsFailure;
use crate::admin::{UNKNOWN, token};
use crate::clock::Clock;
use crate::settings::{Secret, Settings, show_duration};

/// For one question and its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// For one about many operations: under the time that the port gives a connection.
const LONG_TIMEOUT: Duration = Duration::from_secs(100);
/// Bytes of an answer: a thousand operations with their stories have room.
const MOST_ANSWER: usize = 16 * 1024 * 1024;

/// One admin port, and what it wants to see.
pub(crate) struct Client {
    address: SocketAddr,
    token: Secret,
    limit: Duration,
}

/// An error of the admin port.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    #[serde(default)]
    code: String,
    message: String,
}

/// Why a question has no answer.
pub(crate) enum Silence {
    /// It was not asked: nobody listens.
    NotAsked(String),
    /// It was asked, and perhaps acted on.
    Unanswered(String),
}

impl Silence {
    /// What happened instead.
    pub(crate) fn why(self) -> String {
        match self {
            Self::NotAsked(why) | Self::Unanswered(why) => why,
        }
    }
}

impl Client {
    /// The admin port of the payonce that has these settings.
    pub(crate) fn of(settings: &Settings) -> Result<Self, OpsFailure> {
        let address = settings.listen.admin.ok_or(OpsFailure::Off)?;
        let token = token::find(&settings.admin.token).map_err(OpsFailure::Token)?;
        Ok(Self { address, token, limit: TIMEOUT })
    }

    /// One that waits longer: for an answer about many operations.
    pub(super) fn patient(self) -> Self {
        Self { limit: LONG_TIMEOUT, ..self }
    }

    /// Asks with a question in JSON.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<(T, Bytes), OpsFailure> {
        let body = serde_json::to_string(question);
        let body = body.map_err(|error| OpsFailure::Input(error.to_string()))?;
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Asks, and gives back the answer as read and as it came.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(T, Bytes), OpsFailure> {
        let address = self.address;
        let unreachable = |why: String| OpsFailure::Unreachable { address, why };
        let unanswered = |why: String| OpsFailure::Unanswered { address, why };
        let request = self.request(method, path, body).map_err(|e| unreachable(e.to_string()))?;
        let exchange = Clock::System.timeout(self.limit, exchange(self.address, request)).await;
        let (status, bytes) = match exchange {
            Ok(Ok(answer)) => answer,
            Ok(Err(Silence::NotAsked(why))) => return Err(unreachable(why)),
            Ok(Err(Silence::Unanswered(why))) => return Err(unanswered(why)),
            Err(_elapsed) => {
                return Err(unanswered(format!("no answer in {}", show_duration(self.limit))));
            }
        };
        if status.is_success() {
            let value = serde_json::from_slice(&bytes);
            let value = value.map_err(|e| unanswered(format!("not an answer of payonce: {e}")))?;
            return Ok((value, bytes));
        }
        match serde_json::from_slice::<Refusal>(&bytes) {
            Ok(Refusal { error }) if error.code == UNKNOWN => {
                Err(OpsFailure::Unknown(error.message))
            }
            Ok(Refusal { error }) => Err(OpsFailure::Refused(error.message)),
            Err(_other_json) => Err(unanswered(format!("not an answer of payonce: {status}"))),
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
pub(crate) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Silence> {
    let not_asked = |error: std::io::Error| Silence::NotAsked(error.to_string());
    let unanswered = |error: hyper::Error| Silence::Unanswered(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(not_asked)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(unanswered)?;
    // Dropped, and the connection with it, when the answer is here.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let answer: Response<Incoming> = sender.send_request(request).await.map_err(unanswered)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MOST_ANSWER).collect().await;
    let body = body.map_err(|error| Silence::Unanswered(error.to_string()))?;
    Ok((status, body.to_bytes()))
}
