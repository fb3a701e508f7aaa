//! TLS: whom it trusts, which version of HTTP it settles on, and the way through a proxy.

use std::convert::Infallible;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use payonce::upstream::{Cause, Config, Direct, EgressProxy, Host, SendError, Upstream};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::peer::Peer;
use super::{config, direct, post, send, soon, text, told_of_everything};

/// An HTTPS server for one name, and the root that vouches for it.
struct Secure {
    port: u16,
    root: NamedTempFile,
    connections: Connections,
    requests: Arc<AtomicUsize>,
}

/// The tasks that serve one each.
type Connections = Arc<Mutex<Vec<JoinHandle<()>>>>;

impl Secure {
    async fn new(name: &str, alpn: &[&str]) -> Self {
        let (acceptor, root) = certified(name, alpn);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, requests) = (Arc::default(), Arc::default());
        tokio::spawn(serve(listener, acceptor, Arc::clone(&connections), Arc::clone(&requests)));
        Self { port, root, connections, requests }
    }

    fn config(&self, host: &str) -> Config {
        let mut config = config(&format!("https://{host}:{}", self.port));
        config.ca_file = Some(self.root.path().to_owned());
        config
    }

    fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Closes all connections without a word.
    async fn hang_up(&self) {
        let all = self.connections.lock().unwrap().split_off(0);
        for connection in all {
            connection.abort();
            drop(connection.await);
        }
        told_of_everything().await;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A certificate for this name, and the root that vouches for it.
pub(crate) fn certified(name: &str, alpn: &[&str]) -> (TlsAcceptor, NamedTempFile) {
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(root.self_signed(&root_key).unwrap().pem().as_bytes()).unwrap();
    let issuer = Issuer::new(root, root_key);

    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), file)
}

/// Answers each request with its version and authority.
async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    connections: Connections,
    requests: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, requests) = (acceptor.clone(), Arc::clone(&requests));
        let connection = tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let service = service_fn(move |request: Request<Incoming>| {
                requests.fetch_add(1, Ordering::Relaxed);
                echo(request)
            });
            let io = TokioIo::new(stream);
            // How a connection ends is no concern of the server's.
            drop(if h2 {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(io, service)
                    .await
            } else {
                hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
            });
        });
        connections.lock().unwrap().push(connection);
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/stall" {
        std::future::pending::<()>().await;
    }
    let version = request.version();
    let host = request.headers().get("host").and_then(|host| host.to_str().ok());
    let authority = request.uri().authority().map(ToString::to_string);
    let at = authority.as_deref().or(host).unwrap_or_default().to_owned();
    let both = host.is_some() && authority.is_some();
    let path = request.uri().path_and_query().unwrap().clone();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = format!("{version:?} {at} {path} {} {both}", String::from_utf8_lossy(&body));
    let mut answer = Response::new(Full::from(text));
    if path == "/huge" {
        answer.headers_mut().insert("x", "z".repeat(80 * 1024).parse().unwrap());
    }
    Ok(answer)
}

fn refused_by_tls(answer: &Result<Response<payonce::upstream::Body>, SendError>) -> bool {
    matches!(answer, Err(SendError::NeverSent(_, Cause::Tls)))
}

#[tokio::test]
async fn http2_is_spoken_where_both_sides_can_over_one_connection() {
    let server = Secure::new("localhost", &["h2", "http/1.1"]).await;
    let direct = direct(&server.config("localhost"));
    let burst = (0..20).map(|_| {
        let direct = direct.clone();
        tokio::spawn(async move { send(&direct, post("/v1/a?b[]=%7E", "x=1")).await.unwrap() })
    });
    for answer in burst.collect::<Vec<_>>() {
        let answer = soon(answer).await.unwrap();
        assert_eq!(answer.version(), Version::HTTP_2);
        let expected = format!("HTTP/2.0 localhost:{} /v1/a?b[]=%7E x=1 false", server.port);
        assert_eq!(text(answer).await, expected);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.requests(), 20);
}

#[tokio::test]
async fn http1_is_spoken_where_the_server_or_the_setting_wants_it() {
    let server = Secure::new("localhost", &["http/1.1"]).await;
    let answer = send(&direct(&server.config("localhost")), post("/v1/a", "x")).await.unwrap();
    assert_eq!(text(answer).await, format!("HTTP/1.1 localhost:{} /v1/a x false", server.port));

    let server = Secure::new("localhost", &["h2", "http/1.1"]).await;
    let mut config = server.config("localhost");
    config.http2 = false;
    let answer = send(&direct(&config), post("/v1/a", "x")).await.unwrap();
    assert_eq!(answer.version(), Version::HTTP_11);
}

#[tokio::test]
async fn a_burst_on_a_server_without_http2_is_answered() {
    let server = Secure::new("localhost", &["http/1.1"]).await;
    let mut config = server.config("localhost");
    config.max_connections_per_host = 4;
    let direct = direct(&config);
    let burst = (0..20).map(|_| {
        let direct = direct.clone();
        tokio::spawn(async move { text(send(&direct, post("/v1/a", "x")).await.unwrap()).await })
    });
    for answer in burst.collect::<Vec<_>>() {
        assert!(soon(answer).await.unwrap().starts_with("HTTP/1.1"));
    }
    assert!((1..=4).contains(&server.connections()), "{}", server.connections());
}

#[tokio::test]
async fn an_http2_stream_without_an_answer_leaves_the_others_alone() {
    let server = Secure::new("localhost", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    assert_eq!(send(&direct, post("/v1/a", "x")).await.unwrap().status(), 200);
    let within = Duration::from_millis(100);
    let stalled = direct.send(Host::Api, post("/stall", "x"), within);
    let answer = soon(stalled).await;
    assert!(matches!(answer, Err(SendError::Unknown(Cause::AnswerTimeout))));
    assert_eq!(send(&direct, post("/v1/a", "x")).await.unwrap().status(), 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_http2_answer_head_beyond_the_limit_is_unknown() {
    let server = Secure::new("localhost", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    let answer = send(&direct, post("/huge", "x")).await;
    assert!(matches!(answer, Err(SendError::Unknown(_))), "{answer:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_full_http2_connection_is_followed_by_another() {
    let server = Secure::new("localhost", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    assert_eq!(send(&direct, post("/v1/a", "x")).await.unwrap().status(), 200);
    let stalled: Vec<_> = (0..120)
        .map(|_| {
            let direct = direct.clone();
            tokio::spawn(async move { send(&direct, post("/stall", "x")).await })
        })
        .collect();
    while server.requests() < 121 {
        told_of_everything().await;
    }
    assert_eq!(server.connections(), 2);
    for request in stalled {
        request.abort();
    }
}

#[tokio::test]
async fn an_http2_connection_that_ended_while_idle_costs_nothing() {
    let server = Secure::new("localhost", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    assert_eq!(send(&direct, post("/v1/a", "x")).await.unwrap().status(), 200);
    server.hang_up().await;
    assert_eq!(send(&direct, post("/v1/a", "x")).await.unwrap().status(), 200);
    assert_eq!((server.connections(), server.requests()), (1, 2));
}

#[tokio::test]
async fn an_http2_connection_that_ends_before_the_answer_leaves_it_unknown() {
    let server = Secure::new("localhost", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    let (answer, ()) = tokio::join!(send(&direct, post("/stall", "x")), async {
        while server.requests() == 0 {
            told_of_everything().await;
        }
        server.hang_up().await;
    });
    assert!(matches!(answer, Err(SendError::Unknown(Cause::Closed))), "{answer:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_certificate_for_another_name_stops_everything() {
    let server = Secure::new("other.example", &["h2"]).await;
    let direct = direct(&server.config("localhost"));
    assert!(refused_by_tls(&send(&direct, post("/v1/a", "x")).await));
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_root_that_is_not_trusted_stops_everything() {
    let server = Secure::new("localhost", &["h2"]).await;
    let mut config = server.config("localhost");
    let (_, other) = certified("localhost", &[]);
    config.ca_file = Some(other.path().to_owned());
    assert!(refused_by_tls(&send(&direct(&config), post("/v1/a", "x")).await));
    config.ca_file = None;
    match Direct::new(&config, payonce::clock::Clock::System) {
        Ok(direct) => assert!(refused_by_tls(&send(&direct, post("/v1/a", "x")).await)),
        // A machine without any roots says so at once.
        Err(error) => assert!(error.to_string().starts_with("upstream.ca_file: not set")),
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_tunnel_hides_the_request_from_the_proxy() {
    let server = Secure::new("api.test", &["h2"]).await;
    let proxy = Peer::new().await;
    let mut config = server.config("api.test");
    let url = format!("http://user:secret@127.0.0.1:{}", proxy.port());
    config.egress_proxy = Some(EgressProxy::parse(&url).unwrap());
    let port = server.port;
    let tunnel = tokio::spawn(async move {
        let mut line = proxy.accept().await;
        let head = line.read_to("\r\n\r\n").await;
        line.write("HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n").await;
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // It ends when the test does.
        drop(copy_bidirectional(&mut line.stream, &mut server).await);
        head
    });
    let direct = direct(&config);
    let answer = send(&direct, post("/v1/a", "x")).await.unwrap();
    assert_eq!(text(answer).await, format!("HTTP/2.0 api.test:{port} /v1/a x false"));
    drop(direct);
    let head = soon(tunnel).await.unwrap();
    assert_eq!(
        head,
        format!(
            "CONNECT api.test:{port} HTTP/1.1\r\nHost: api.test:{port}\r\n\
             Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_or_breaks_means_never_sent() {
    for reply in ["HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "nonsense\r\n\r\n", ""] {
        let proxy = Peer::new().await;
        let mut config = config("https://api.test");
        let url = format!("http://127.0.0.1:{}", proxy.port());
        config.egress_proxy = Some(EgressProxy::parse(&url).unwrap());
        let direct = direct(&config);
        let (answer, ()) = tokio::join!(send(&direct, post("/v1/a", "x")), async {
            let mut line = proxy.accept().await;
            line.read_to("\r\n\r\n").await;
            line.write(reply).await;
        });
        let proven = matches!(answer, Err(SendError::NeverSent(_, Cause::Proxy)));
        assert!(proven, "{reply:?}");
    }
}
