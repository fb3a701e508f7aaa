//! A collector that speaks OTLP: it reads what it gets with OpenTelemetry's own types, and answers,
//! refuses or hangs as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::until;

/// What it does with what it gets.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    Takes,
    /// All but so many of each request.
    TakesBut(i64),
    Answers(u16),
    Hangs,
    /// Whoever shows it this `authorization`.
    TakesFrom(&'static str),
}

pub(super) struct Collector {
    pub(super) addr: SocketAddr,
    got: Arc<Mutex<Got>>,
}

#[derive(Default)]
struct Got {
    requests: Vec<(Bytes, ExportTraceServiceRequest)>,
    headers: Vec<HeaderMap>,
    wrong: Vec<String>,
    /// What is written where, as soon as somebody is turned away.
    roll: Option<(PathBuf, &'static str)>,
}

impl Collector {
    pub(super) async fn start(manner: Manner) -> Self {
        Self::listening(manner, None).await
    }

    /// One that speaks TLS.
    pub(super) async fn secure(manner: Manner, acceptor: TlsAcceptor) -> Self {
        Self::listening(manner, Some(acceptor)).await
    }

    async fn listening(manner: Manner, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let got: Arc<Mutex<Got>> = Arc::default();
        let shared = Arc::clone(&got);
        tokio::task::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (got, acceptor) = (Arc::clone(&shared), acceptor.clone());
                // It ends with payonce's end of the connection.
                tokio::task::spawn(async move {
                    match acceptor {
                        None => serve(stream, got, manner).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => serve(stream, got, manner).await,
                            Err(_not_trusted) => {}
                        },
                    }
                });
            }
        });
        Self { addr, got }
    }

    /// When it next turns somebody away, `text` is written to `path` before they hear of it.
    pub(super) fn rolls(&self, path: &Path, text: &'static str) {
        self.got.lock().unwrap().roll = Some((path.to_owned(), text));
    }

    /// The fields of each request.
    pub(super) fn headers(&self) -> Vec<HeaderMap> {
        self.got.lock().unwrap().headers.clone()
    }

    /// How often it was asked by whom it listens to.
    pub(super) fn requests(&self) -> usize {
        self.got.lock().unwrap().requests.len()
    }

    /// The bytes that it got, and whatever was not as OTLP has it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let got = self.got.lock().unwrap();
        assert!(got.wrong.is_empty(), "{:?}", got.wrong);
        got.requests.iter().flat_map(|(bytes, _)| bytes.to_vec()).collect()
    }

    /// All spans but those of calls of the store.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.all().into_iter().filter(|span| !is_call(span)).collect()
    }

    /// Those.
    pub(super) fn calls(&self) -> Vec<Span> {
        self.all().into_iter().filter(is_call).collect()
    }

    fn all(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let resources = got.requests.iter().flat_map(|(_, request)| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// What is said of who sent them.
    pub(super) fn resource(&self) -> Vec<KeyValue> {
        let got = self.got.lock().unwrap();
        got.requests[0].1.resource_spans[0].resource.clone().unwrap().attributes
    }

    /// The spans but those of calls, once there are so many.
    pub(super) async fn got(&self, spans: usize) -> Vec<Span> {
        until("the collector gets the spans", || self.spans().len() >= spans).await;
        self.spans()
    }

    /// The spans of calls of the store, once there are so many, in the order in which they began.
    pub(super) async fn got_calls(&self, calls: usize) -> Vec<Span> {
        until("the collector gets the calls", || self.calls().len() >= calls).await;
        let mut calls = self.calls();
        calls.sort_by_key(|call| call.start_time_unix_nano);
        calls
    }
}

fn is_call(span: &Span) -> bool {
    attribute(&span.attributes, "db.system.name").is_some()
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    got: Arc<Mutex<Got>>,
    manner: Manner,
) {
    let service = service_fn(move |request| answer(request, Arc::clone(&got), manner));
    let http = hyper::server::conn::http1::Builder::new();
    drop(http.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    got: Arc<Mutex<Got>>,
    manner: Manner,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let kind = request.headers().get("content-type").cloned();
    let line = format!("{} {} {kind:?}", request.method(), request.uri());
    let right = line == r#"POST /v1/traces Some("application/x-protobuf")"#;
    let headers = request.headers().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let read = ExportTraceServiceRequest::decode(body.clone());
    {
        let mut got = got.lock().unwrap();
        if !right {
            got.wrong.push(line);
        }
        got.headers.push(headers.clone());
        let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
        if let Manner::TakesFrom(wanted) = manner
            && shown != Some(wanted)
        {
            if let Some((path, text)) = got.roll.take() {
                std::fs::write(path, text).unwrap();
            }
            return Ok(Response::builder().status(401).body(Full::default()).unwrap());
        }
        got.requests.push((body, read.unwrap()));
    }
    let (status, rejected) = match manner {
        Manner::Takes | Manner::TakesFrom(_) => (200, 0),
        Manner::TakesBut(rejected) => (200, rejected),
        Manner::Answers(status) => (status, 0),
        Manner::Hangs => return std::future::pending().await,
    };
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected,
        error_message: "no room".to_owned(),
    });
    let said = ExportTraceServiceResponse { partial_success };
    let answer =
        Response::builder().status(status).header("content-type", "application/x-protobuf");
    Ok(answer.body(Full::from(said.encode_to_vec())).unwrap())
}

/// The value of an attribute, as text.
pub(super) fn attribute(list: &[KeyValue], key: &str) -> Option<String> {
    let found = list.iter().find(|pair| pair.key == key)?;
    let AnyValue { value } = found.value.clone()?;
    if let Some(Value::IntValue(number)) = value {
        return Some(number.to_string());
    }
    let Some(Value::StringValue(text)) = value else { panic!("{key} is {value:?}") };
    Some(text)
}
