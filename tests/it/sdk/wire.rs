//! Requests as the SDKs of go, ruby, php, java and dotnet write them, byte for byte (FACTS §1.7,
//! §1.8): `tests/fixtures/wire`, replayed over a socket.
//!
//! All five say the same: the order of the fields, `~` or `%7E`, chunked or not, differ; so do the
//! keys, of which php's request has none.

use std::net::SocketAddr;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use payonce::sandbox::{Fault, Kind, Strike};

use super::world::{PATIENCE, World};

const INTENT: &str = "order 42";
const GO: &[u8] = include_bytes!("../../fixtures/wire/go-charge.http");
const RUBY: &[u8] = include_bytes!("../../fixtures/wire/ruby-charge.http");
const PHP: &[u8] = include_bytes!("../../fixtures/wire/php-charge.http");
const JAVA: &[u8] = include_bytes!("../../fixtures/wire/java-charge.http");
const DOTNET: &[u8] = include_bytes!("../../fixtures/wire/dotnet-charge.http");
const GO_CANCEL: &[u8] = include_bytes!("../../fixtures/wire/go-cancel-without-params.http");
const RUBY_LIST: &[u8] = include_bytes!("../../fixtures/wire/ruby-list.http");
const CHARGES: [(&str, &[u8]); 5] =
    [("go", GO), ("ruby", RUBY), ("php", PHP), ("java", JAVA), ("dotnet", DOTNET)];

/// A connection that says bytes and reads answers.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(to).await.unwrap(), buffer: Vec::new() }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.say(bytes).await;
        tokio::time::timeout(PATIENCE, self.answer()).await.expect("no answer for a minute")
    }

    async fn answer(&mut self) -> Answer {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break String::from_utf8(self.buffer.drain(..end + 4).collect()).unwrap();
            }
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "no whole head");
        };
        let mut answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        while self.buffer.len() < length {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0, "cut short");
        }
        answer.body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        answer
    }

    /// Gone without having read the answer: a reset, as when a process dies.
    pub(crate) fn vanish(self) {
        self.stream.set_zero_linger().unwrap();
    }
}

fn parts(fixture: &[u8]) -> (&str, &str) {
    std::str::from_utf8(fixture).unwrap().split_once("\r\n\r\n").unwrap()
}

fn client_key(fixture: &[u8]) -> Option<&str> {
    parts(fixture).0.lines().find_map(|line| line.strip_prefix("Idempotency-Key: "))
}

/// The body, out of its one chunk where it comes in one.
fn body(fixture: &[u8]) -> &str {
    let (head, body) = parts(fixture);
    if !head.contains("Transfer-Encoding: chunked") {
        return body;
    }
    body.split("\r\n").nth(1).unwrap()
}

#[tokio::test]
async fn each_sdks_bytes_are_recognised_by_content_and_forwarded_as_they_are() {
    let mut operations = Vec::new();
    for (sdk, fixture) in CHARGES {
        let world = World::start().await;
        let answer = Wire::connect(world.payonce.proxy).await.ask(fixture).await;
        assert_eq!(answer.status, 200, "{sdk}: {}", answer.body);
        assert_eq!(answer.header("payonce-outcome"), Some("executed"), "{sdk}");
        let operation = answer.header("payonce-operation-id").unwrap().to_owned();
        let effects = world.effects(INTENT);
        assert_eq!(effects.len(), 1, "{sdk}");
        // An SDK's own key says nothing about the operation: Stripe gets a derived one instead.
        let sent = effects[0].key.as_deref().expect(sdk);
        assert_ne!(Some(sent), client_key(fixture), "{sdk}");
        assert_eq!(uuid::Uuid::try_parse(sent).unwrap().get_version_num(), 8, "{sdk}");
        let seen = &world.seen(INTENT)[0];
        let digest = hex::encode(Sha256::digest(body(fixture)));
        assert_eq!(seen.body_sha256.as_ref(), Some(&digest), "{sdk}: other bytes went out");
        let secrets: Vec<&str> = client_key(fixture).into_iter().collect();
        let log = world.end(&secrets).await;
        let line = log.lines().find(|it| it.contains(&operation) && it.contains("\"rule\""));
        assert!(line.unwrap().contains(r#""identity":"content""#), "{sdk}: {log}");
        operations.push(operation);
    }
    operations.dedup();
    assert_eq!(operations.len(), 1, "one meaning, one operation, whoever writes it");
}

#[tokio::test]
async fn a_charge_redelivered_by_one_sdk_after_another_over_lost_answers_is_made_once() {
    let world = World::start().await;
    let stall = Kind::Stall { millis: Some(50), effect: Strike::After };
    world.fault(Fault::new(stall).times(4).of_intent(INTENT));
    for (nth, (_sdk, fixture)) in CHARGES[..4].iter().enumerate() {
        let mut wire = Wire::connect(world.payonce.proxy).await;
        wire.say(fixture).await;
        super::world::until("the request is under way", || {
            world.seen(INTENT).iter().filter(|seen| seen.body_bytes.is_some()).count() > nth
        })
        .await;
        wire.vanish();
        world.settled().await;
    }
    let answer = Wire::connect(world.payonce.proxy).await.ask(DOTNET).await;
    assert_eq!((answer.status, answer.header("payonce-outcome")), (200, Some("replayed")));
    assert_eq!(world.effects(INTENT).len(), 1);
    let keys: Vec<_> = world.seen(INTENT).into_iter().map(|seen| seen.key).collect();
    assert_eq!(keys.len(), 5);
    assert!(keys.iter().all(|key| *key == keys[0]), "one occurrence, one key");
    world.end(&[]).await;
}

#[tokio::test]
async fn a_call_without_a_key_or_a_body_gets_a_key() {
    let world = World::start().await;
    let answer = Wire::connect(world.payonce.proxy).await.ask(GO_CANCEL).await;
    assert_eq!(answer.status, 404, "there is no such payment intent");
    assert!(world.seen(INTENT)[0].key.is_some());
    world.end(&[]).await;
}

#[tokio::test]
async fn a_bare_question_mark_is_forwarded() {
    let world = World::start().await;
    let answer = Wire::connect(world.payonce.proxy).await.ask(RUBY_LIST).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.seen(INTENT)[0].target, "/v1/charges?");
    world.end(&[]).await;
}
