//! `upstream::Direct` against peers that speak bytes: what is said of a request that failed must
//! agree with what the peer saw of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod evidence;
mod fidelity;
mod peer;
mod pooling;
pub(crate) mod secure;
mod streams;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use payonce::clock::Clock;
use payonce::upstream::{
    Body, BoxError, Config, Direct, Host, Origin, Origins, SendError, Upstream,
};
use tokio::net::TcpStream;

/// Long enough for a busy machine; a test that reaches it has failed.
const LONG: Duration = Duration::from_secs(20);

fn config(origin: &str) -> Config {
    Config::new(Origins::all(&Origin::parse(origin).unwrap()))
}

fn direct(config: &Config) -> Direct {
    Direct::new(config, Clock::System).unwrap()
}

fn body(text: impl Into<Bytes>) -> Body {
    Body::new(Full::new(text.into()).map_err(|never| match never {}))
}

fn post(path: &str, text: &'static str) -> Request<Body> {
    Request::post(path).body(body(text)).unwrap()
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(payonce::upstream::empty_body()).unwrap()
}

/// A body of unknown length that comes in pieces, and may break off.
struct Frames(VecDeque<Result<&'static str, &'static str>>);

impl Frames {
    fn of(frames: impl Into<VecDeque<Result<&'static str, &'static str>>>) -> Self {
        Self(frames.into())
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.0.pop_front();
        Poll::Ready(next.map(|piece| match piece {
            Ok(text) => Ok(Frame::data(Bytes::from_static(text.as_bytes()))),
            Err(why) => Err(why.into()),
        }))
    }
}

async fn send(direct: &Direct, request: Request<Body>) -> Result<Response<Body>, SendError> {
    soon(direct.send(Host::Api, request, LONG)).await
}

async fn text(answer: Response<Body>) -> String {
    let whole = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(whole.to_vec()).unwrap()
}

/// Awaits what must happen.
async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(LONG, what).await.expect("did not happen in time")
}

/// Sends one byte between two sockets: once it has come, the runtime has also been told of all that
/// happened on other sockets before.
async fn told_of_everything() {
    let peer = peer::Peer::new().await;
    let address = ("127.0.0.1", peer.port());
    let (stream, mut line) =
        tokio::join!(TcpStream::connect(address), async { peer.accept().await });
    let mut other = peer::Line { stream: stream.unwrap() };
    other.write("x").await;
    line.read_to("x").await;
}
