//! What the provider and the client see is what the other one wrote.

use http::Request;
use http_body::Body as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use payonce::chance::Chance;
use payonce::clock::Clock;
use payonce::passthrough;
use payonce::upstream::{Body, BoxError, Direct, Host, headers};
use tokio::net::TcpStream;

use http_body_util::BodyExt;

use super::peer::{Line, Peer};
use super::{LONG, config, direct, get, post, send, soon, text};

/// A client's connection to a server that hands everything on, as payonce's front door does.
async fn through(direct: Direct) -> Line {
    let front = Peer::new().await;
    let stream = TcpStream::connect(("127.0.0.1", front.port())).await.unwrap();
    let accepted = front.accept().await.stream;
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let direct = direct.clone();
        async move {
            let mut request = request.map(|body| Body::new(body.map_err(Into::into)));
            *request.headers_mut() = headers::toward_upstream(request.headers());
            passthrough::forward(&direct, &Clock::System, &Chance::System, request, Host::Api, LONG)
                .await
                .map_err(|error| BoxError::from(format!("{error:?}")))
        }
    });
    let mut server = http1::Builder::new();
    server.preserve_header_case(true);
    tokio::spawn(server.serve_connection(TokioIo::new(accepted), service));
    Line { stream }
}

#[tokio::test]
async fn names_keep_their_case_and_repeats_their_order_both_ways() {
    let peer = Peer::new().await;
    let mut client = through(direct(&config(&peer.origin()))).await;
    client
        .write(
            "POST /v1/x?a[]=1&b=%7e HTTP/1.1\r\nHOST: evil\r\nX-sTrange: 1\r\nstripe-Version: 2\r\n\
             X-sTrange: 2\r\nPayonce-Operation: o\r\nConnection: keep-alive\r\nContent-LENGTH: 3\r\n\r\na=b",
        )
        .await;
    let mut line = peer.accept().await;
    let (head, body) = line.request().await;
    let host = format!("127.0.0.1:{}", peer.port());
    assert_eq!(
        head,
        format!(
            "POST /v1/x?a[]=1&b=%7e HTTP/1.1\r\nHOST: {host}\r\nX-sTrange: 1\r\nX-sTrange: 2\r\n\
             stripe-Version: 2\r\nContent-LENGTH: 3\r\n\r\n"
        )
    );
    assert_eq!(body, "a=b");
    line.write(
        "HTTP/1.1 200 Fine\r\nrequest-ID: req_1\r\nSet-Cookie: a\r\nSET-COOKIE: b\r\n\
         Payonce-Outcome: x\r\nKeep-Alive: 5\r\nDate: now\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let answer = client.read_to("\r\n\r\nok").await;
    assert_eq!(
        answer,
        "HTTP/1.1 200 Fine\r\nrequest-ID: req_1\r\nSet-Cookie: a\r\nSET-COOKIE: b\r\nDate: now\r\n\
         Content-Length: 2\r\n\r\nok"
    );
}

#[tokio::test]
async fn a_chunked_body_without_a_length_arrives_as_one() {
    let peer = Peer::new().await;
    let mut client = through(direct(&config(&peer.origin()))).await;
    client
        .write(
            "POST /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\na=b\r\n4\r\n&c=d\r\n0\r\n\r\n",
        )
        .await;
    let mut line = peer.accept().await;
    let (head, body) = line.request().await;
    assert!(!head.to_lowercase().contains("content-length"), "{head}");
    let data: String = body.split("\r\n").skip(1).step_by(2).collect();
    assert_eq!(data, "a=b&c=d");
    line.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let answer = client.read_to("2\r\nok\r\n0\r\n\r\n").await;
    assert!(answer.to_lowercase().contains("transfer-encoding: chunked"), "{answer}");
}

#[tokio::test]
async fn an_old_answer_that_ends_with_its_connection_is_reframed() {
    let peer = Peer::new().await;
    let mut client = through(direct(&config(&peer.origin()))).await;
    client.write("POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
    let mut line = peer.accept().await;
    line.request().await;
    line.write("HTTP/1.0 200 OK\r\n\r\nok").await;
    drop(line);
    let answer = client.read_to("2\r\nok\r\n0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_get_with_a_chunked_body_keeps_it() {
    let peer = Peer::new().await;
    let mut client = through(direct(&config(&peer.origin()))).await;
    client
        .write("GET /v1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        .await;
    assert_eq!(peer.accept().await.request().await.1, "1\r\na\r\n0\r\n\r\n");
}

#[tokio::test]
async fn compressed_bytes_are_not_touched() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (answer, _) = tokio::join!(send(&direct, get("/v1/a")), async {
        let mut line = peer.accept().await;
        let request = line.request().await;
        line.write(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x0bAB",
        )
        .await;
        request
    });
    let answer = answer.unwrap();
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(text(answer).await, "\x1f\x0bAB");
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_free_their_connection() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let client = async {
        let head = Request::head("/v1/a").body(payonce::upstream::empty_body()).unwrap();
        for request in [get("/v1/a"), get("/v1/a"), head] {
            let answer = send(&direct, request).await.unwrap();
            assert!(answer.body().is_end_stream());
            assert_eq!(text(answer).await, "");
        }
        assert_eq!(text(send(&direct, get("/v1/a")).await.unwrap()).await, "ok");
    };
    tokio::join!(client, async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write("HTTP/1.1 204 No Content\r\n\r\n").await;
        line.request().await;
        line.write("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n").await;
        line.request().await;
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        line.serve("ok").await;
    });
}

#[tokio::test]
async fn early_hints_are_passed_over() {
    let peer = Peer::new().await;
    let direct = direct(&config(&peer.origin()));
    let (answer, ()) = tokio::join!(send(&direct, post("/v1/a", "x")), async {
        let mut line = peer.accept().await;
        line.request().await;
        line.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            .await;
        line.write("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok").await;
    });
    let answer = answer.unwrap();
    assert_eq!(answer.status(), 201);
    assert!(!answer.headers().contains_key("link"));
    assert_eq!(soon(text(answer)).await, "ok");
}

#[tokio::test]
async fn a_read_is_tried_again_until_it_is_answered() {
    let peer = Peer::new().await;
    let mut client = through(direct(&config(&peer.origin()))).await;
    client.write("GET /v1/a HTTP/1.1\r\nHost: x\r\nX-Mine: 1\r\n\r\n").await;
    for _ in 0..2 {
        let mut line = peer.accept().await;
        line.request().await;
        line.reset();
    }
    let (head, _) = peer.accept().await.serve("ok").await;
    assert!(head.contains("X-Mine: 1\r\n"), "{head}");
    client.read_to("\r\n\r\nok").await;
}

#[tokio::test]
async fn a_write_whose_fate_is_unknown_is_not_tried_again() {
    for method in ["POST", "DELETE"] {
        let peer = Peer::new().await;
        let mut client = through(direct(&config(&peer.origin()))).await;
        client.write(&format!("{method} /v1/a HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let mut line = peer.accept().await;
        line.request().await;
        line.reset();
        client.closed().await;
        assert!(peer.is_quiet().await, "{method}");
    }
}
