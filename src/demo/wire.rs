//! One request over a real socket, from a process that may die with it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back, as far as the application looks at it.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) should_retry: Option<bool>,
    /// The id of the object in it.
    pub(super) object: Option<String>,
    /// payonce's name for the operation, if payonce answered.
    pub(super) operation: Option<String>,
}

/// No whole answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed;

/// A request as it is sent.
#[derive(Clone, Debug)]
pub(super) struct Post<'a> {
    pub(super) path: &'a str,
    pub(super) body: Bytes,
    pub(super) user_agent: &'static str,
    pub(super) key: Option<&'a str>,
    pub(super) intent: Option<&'a str>,
}

impl Post<'_> {
    fn request(&self, to: SocketAddr) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut request = Request::post(self.path)
            .header(header::HOST, to.to_string())
            .header(header::AUTHORIZATION, "Bearer sk_test_demo_1")
            .header(header::USER_AGENT, self.user_agent)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(key) = self.key {
            request = request.header("idempotency-key", key);
        }
        if let Some(intent) = self.intent {
            request = request.header("sandbox-intent", intent);
        }
        request.body(Full::new(self.body.clone()))
    }

    /// Sends it on a connection of its own. Dropped before it is done, the connection is dropped
    /// with it: so a process dies.
    pub(super) async fn send(&self, to: SocketAddr) -> Result<Reply, Failed> {
        let request = self.request(to).map_err(|_bad| Failed)?;
        let stream = TcpStream::connect(to).await.map_err(|_refused| Failed)?;
        stream.set_nodelay(true).map_err(|_gone| Failed)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_gone| Failed)?;
        let exchange = async move {
            let (head, body) =
                sender.send_request(request).await.map_err(|_lost| Failed)?.into_parts();
            let body = body.collect().await.map_err(|_cut| Failed)?.to_bytes();
            Ok(read(head.status, &head.headers, &body))
        };
        // How the connection ended is in what the exchange came to.
        let (_ended, reply) = tokio::join!(connection, exchange);
        reply
    }
}

fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Reply {
    let text = |name: &str| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let object = serde_json::from_slice::<serde_json::Value>(body).ok();
    let object = object.as_ref().and_then(|body| body.get("id")?.as_str());
    Reply {
        status,
        should_retry: text("stripe-should-retry").and_then(|value| value.parse().ok()),
        object: object.map(str::to_owned),
        operation: text("payonce-operation-id").map(str::to_owned),
    }
}
