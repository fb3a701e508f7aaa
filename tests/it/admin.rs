//! The admin and health ports over real sockets, and `payonce ops` against them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser as _;
use payonce::admin::bulk::{Bulk, Bulked, Failed, Resolutions, Shown};
use payonce::admin::judge::{Course, Judgement, Question, Recognition};
use payonce::admin::search::{Facts, Found, Wanted};
use payonce::admin::{self, Detail, Operations, OpsError, Resolution, Resolved, State, Summary};
use payonce::admin::{Health, Readiness};
use payonce::cli::ops::OpsFailure;
use payonce::cli::{Cli, Command, Exit};
use payonce::clients::list::List;
use payonce::clock::Timestamp;
use payonce::metrics::Metrics;
use payonce::settings::{Secret, Settings};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const TOKEN: &str = "a-token-of-some-length";

/// Operations in a map, by id; the key of operation X is "key-X".
#[derive(Clone, Default)]
struct Fake {
    held: Arc<Mutex<BTreeMap<String, Detail>>>,
    down: bool,
    /// Writes are not answered.
    mute: bool,
}

impl Fake {
    fn with(ids: &[(&str, State)]) -> Self {
        let fake = Self::default();
        for (id, state) in ids {
            fake.held.lock().unwrap().insert((*id).to_owned(), detail(id, *state));
        }
        fake
    }

    fn up(&self) -> Result<(), OpsError> {
        if self.down { Err(OpsError::Unavailable("no answer in 2s".into())) } else { Ok(()) }
    }
}

impl Operations for Fake {
    async fn list(&self, limit: usize) -> Result<Vec<Summary>, OpsError> {
        self.up()?;
        let held = self.held.lock().unwrap();
        let open = |detail: &&Detail| detail.summary.state == State::InDoubt;
        Ok(held.values().filter(open).take(limit).map(|detail| detail.summary.clone()).collect())
    }

    async fn search(&self, wanted: &Wanted) -> Result<Found, OpsError> {
        self.up()?;
        let held = self.held.lock().unwrap();
        let meant = held.values().filter(|detail| {
            let Detail { summary, request, .. } = detail;
            let facts = Facts {
                id: &summary.operation_id,
                request: request.as_deref().unwrap_or_default(),
                rule: &summary.rule,
                caller: summary.caller.as_deref(),
                object: summary.object_id.as_deref(),
                state: summary.state,
                last_sent: summary.since,
            };
            let answered = |id: &str| summary.request_id.as_deref() == Some(id);
            wanted.is(&facts, answered, Timestamp::from_millis(60_001))
        });
        let operations = meant.take(wanted.most()).cloned().collect();
        Ok(Found { operations, more: false, unreadable: 0 })
    }

    async fn resolve_all(&self, said: &Bulk) -> Result<Bulked, OpsError> {
        let found = self.search(&said.wanted()).await?;
        let set = format!("{}-00000000", found.operations.len());
        if said.expect.is_none() && !said.yes {
            return Ok(Bulked::Shown(Shown { found, set, busy: 0 }));
        }
        if said.expect.as_ref().is_some_and(|expected| *expected != set) {
            return Ok(Bulked::Unexpected(found.operations.len()));
        }
        let mut done = Resolutions::default();
        for detail in found.operations {
            let id = detail.summary.operation_id;
            if self.mute {
                done.unknown.push(Failed { operation_id: id, why: "no answer".to_owned() });
                continue;
            }
            self.resolve(&id, &said.outcome.resolution(), &said.by, &said.why).await?;
            done.done.push(id);
        }
        Ok(Bulked::Done(done))
    }

    async fn show(&self, id: &str) -> Result<Option<Detail>, OpsError> {
        self.up()?;
        Ok(self.held.lock().unwrap().get(id).cloned())
    }

    async fn by_key(&self, key: &SecretString) -> Result<Option<Detail>, OpsError> {
        self.up()?;
        let id = key.expose_secret().strip_prefix("key-").unwrap_or_default().to_owned();
        Ok(self.held.lock().unwrap().get(&id).cloned())
    }

    fn clients(&self) -> List {
        List { other_requests: 7, ..List::default() }
    }

    fn recognition(&self) -> Recognition {
        Recognition { provider: "api.stripe.com".to_owned(), ways: Vec::new() }
    }

    async fn judge(&self, asked: &Question) -> Result<Option<Judgement>, OpsError> {
        self.up()?;
        let found = self.held.lock().unwrap().get(&asked.today.operation).cloned();
        Ok(Some(Judgement {
            row: if found.is_some() { "A11" } else { "A1" }.to_owned(),
            course: if found.is_some() { Course::TakeOver } else { Course::New },
            occurrence: None,
            key_digest: None,
            fields: Vec::new(),
            live_owner: asked.today.twins,
            recalled: false,
            by: 0,
            operation: asked.today.operation.clone(),
            policy_version: "0123456789ab".to_owned(),
            mode: "enforce".to_owned(),
            found,
        }))
    }

    async fn resolve(
        &self,
        id: &str,
        resolution: &Resolution,
        who: &str,
        why: &str,
    ) -> Result<Resolved, OpsError> {
        self.up()?;
        if self.mute {
            return Err(OpsError::Unknown("no answer in 2s".to_owned()));
        }
        let mut held = self.held.lock().unwrap();
        let Some(detail) = held.get_mut(id) else { return Ok(Resolved::NotFound) };
        match detail.summary.state {
            State::InDoubt => {}
            State::InFlight => return Ok(Resolved::Busy(Box::new(detail.clone()))),
            State::Succeeded | State::Declined => {
                return Ok(Resolved::NotOpen(Box::new(detail.clone())));
            }
        }
        match resolution {
            Resolution::Succeeded { object_id } => {
                detail.summary.state = State::Succeeded;
                detail.summary.object_id.clone_from(object_id);
            }
            Resolution::Declined => detail.summary.state = State::Declined,
        }
        detail.resolved = Some(format!("{who}: {why}"));
        Ok(Resolved::Done(Box::new(detail.clone())))
    }
}

impl Health for Fake {
    fn started(&self) -> bool {
        true
    }

    async fn ready(&self) -> Readiness {
        let store = if self.down { "down" } else { "ok" };
        Readiness { ready: !self.down, details: vec![("store".into(), store.into())] }
    }
}

fn detail(id: &str, state: State) -> Detail {
    Detail {
        summary: Summary {
            operation_id: id.to_owned(),
            rule: "charges".to_owned(),
            state,
            since: Timestamp::from_millis(1),
            attempts: 2,
            amount: Some(500),
            currency: Some("usd".to_owned()),
            object_id: None,
            request_id: Some("req_1".to_owned()),
            caller: None,
            policy_version: "0123456789ab".to_owned(),
        },
        identity: "content".to_owned(),
        request: Some("POST /v1/charges".to_owned()),
        occurrence: 0,
        epoch: 7,
        first_sent: Some(Timestamp::from_millis(2)),
        last_sent: None,
        safe_until: None,
        lease_until: None,
        delivery: None,
        advice: None,
        resolved: None,
        api_key: None,
        event: None,
        client_keys: 0,
        timeline: Vec::new(),
    }
}

/// A port that is served until this is dropped.
struct Port {
    address: SocketAddr,
    _until: oneshot::Sender<()>,
}

impl Port {
    async fn admin(ops: Fake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (until, ended) = oneshot::channel();
        let token = Secret::new(TOKEN.as_bytes().to_vec());
        tokio::spawn(admin::serve(listener, ops, token, async { drop(ended.await) }));
        Self { address, _until: until }
    }

    async fn health(health: Fake, metrics: Metrics) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (until, ended) = oneshot::channel();
        let until_ended = async { drop(ended.await) };
        tokio::spawn(admin::health::serve(listener, health, metrics, until_ended));
        Self { address, _until: until }
    }

    /// Sends these bytes and reads to the end of the connection.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// An allowed request; its status and body.
    async fn ask(&self, line: &str, body: &str) -> (u16, String) {
        let host = self.address;
        let length = body.len();
        let answer = self
            .raw(&format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            ))
            .await;
        (status(&answer), answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// Runs `payonce ops …` against this port.
    async fn ops(&self, line: &[&str], token: &str) -> Result<String, OpsFailure> {
        let env = [
            ("PAYONCE_LISTEN__ADMIN", self.address.to_string()),
            ("PAYONCE_ADMIN__TOKEN", token.to_owned()),
        ];
        let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let settings = Settings::load(None, env).unwrap();
        let cli = Cli::parse_from([&["payonce", "ops"], line].concat());
        let Command::Ops(ops) = cli.command else { panic!("not ops") };
        let mut out = Vec::new();
        payonce::cli::ops::run(&ops, &settings, &mut out).await?;
        Ok(String::from_utf8(out).unwrap())
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn in_doubt() -> Fake {
    Fake::with(&[("abc", State::InDoubt), ("def", State::InDoubt), ("ghi", State::Succeeded)])
}

#[tokio::test]
async fn nobody_gets_in_without_the_token_or_under_a_strange_host() {
    let port = Port::admin(in_doubt()).await;
    let host = port.address;
    let get = |fields: &str| format!("GET /ops HTTP/1.1\r\n{fields}Connection: close\r\n\r\n");
    let table = [
        (format!("Host: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"), 200),
        (format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"), 200),
        (format!("Host: {host}\r\n"), 401),
        (format!("Host: {host}\r\nAuthorization: Bearer {TOKEN}x\r\n"), 401),
        (format!("Host: {host}\r\nAuthorization: Basic {TOKEN}\r\n"), 401),
        (format!("Host: evil.example:8421\r\nAuthorization: Bearer {TOKEN}\r\n"), 421),
        (format!("Authorization: Bearer {TOKEN}\r\n"), 421),
    ];
    for (fields, expected) in table {
        let answer = port.raw(&get(&fields)).await;
        assert_eq!(status(&answer), expected, "{fields}\n{answer}");
        assert_eq!(answer.contains("charges"), expected == 200, "{answer}");
    }
}

#[tokio::test]
async fn what_is_open_is_listed_up_to_the_limit() {
    let port = Port::admin(in_doubt()).await;
    let (status, body) = port.ask("GET /ops", "").await;
    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, list["operations"].as_array().unwrap().len()), (200, 2), "{body}");
    assert_eq!(list["operations"][0]["operation_id"], "abc");
    assert_eq!(list["more"], false);
    let (_, body) = port.ask("GET /ops?limit=1", "").await;
    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((list["operations"].as_array().unwrap().len(), &list["more"]), (1, &true.into()));
    for bad in ["limit=0", "limit=1001", "limit=x", "x=1", "limit=1&x=2"] {
        assert_eq!(port.ask(&format!("GET /ops?{bad}"), "").await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn an_operation_is_found_by_id_and_by_key_and_the_answer_repeats_no_key() {
    let port = Port::admin(in_doubt()).await;
    let (by_id, first) = port.ask("GET /ops/abc", "").await;
    let (by_key, second) = port.ask("POST /ops/lookup", r#"{"key":"key-abc"}"#).await;
    assert_eq!((by_id, by_key), (200, 200));
    assert_eq!(first, second);
    assert!(!second.contains("key-abc"), "{second}");
    assert_eq!(port.ask("GET /ops/nothing", "").await.0, 404);
    assert_eq!(port.ask("POST /ops/lookup", r#"{"key":"other"}"#).await.0, 404);
    let (status, body) = port.ask("POST /ops/lookup", r#"{"kei":"hunter2"}"#).await;
    assert_eq!((status, body.contains("hunter2")), (400, false), "{body}");
}

#[tokio::test]
async fn a_person_ends_what_is_in_doubt_once() {
    let fake = in_doubt();
    let port = Port::admin(fake.clone()).await;
    let said = r#"{"as":"succeeded","object_id":"pi_1","by":"ann","why":"saw it"}"#;
    let (status, body) = port.ask("POST /ops/abc/resolve", said).await;
    assert_eq!(status, 200, "{body}");
    let after = fake.held.lock().unwrap()["abc"].clone();
    assert_eq!(after.summary.state, State::Succeeded);
    assert_eq!(after.summary.object_id.as_deref(), Some("pi_1"));
    assert_eq!(after.resolved.as_deref(), Some("ann: saw it"));
    let (status, body) = port.ask("POST /ops/abc/resolve", said).await;
    assert_eq!(status, 409);
    assert!(body.contains("nothing was changed"), "{body}");
    assert_eq!(port.ask("POST /ops/nothing/resolve", said).await.0, 404);
}

#[tokio::test]
async fn a_resolution_that_makes_no_sense_changes_nothing() {
    let fake = in_doubt();
    let port = Port::admin(fake.clone()).await;
    for said in [
        "",
        "{}",
        r#"{"as":"succeeded","by":"ann"}"#,
        r#"{"as":"succeeded","by":"","why":"x"}"#,
        r#"{"as":"succeeded","by":"ann","why":" "}"#,
        r#"{"as":"succeeded","by":"ann","why":"two\nlines"}"#,
        r#"{"as":"perhaps","by":"ann","why":"x"}"#,
        r#"{"as":"declined","object_id":"pi_1","by":"ann","why":"x"}"#,
        r#"{"as":"succeeded","object_id":"pi 1","by":"ann","why":"x"}"#,
        r#"{"as":"succeeded","by":"ann","why":"x","more":1}"#,
    ] {
        let (status, body) = port.ask("POST /ops/abc/resolve", said).await;
        assert_eq!(status, 400, "{said}: {body}");
    }
    assert_eq!(fake.held.lock().unwrap()["abc"].summary.state, State::InDoubt);
}

#[tokio::test]
async fn a_body_beyond_the_limit_changes_nothing() {
    let fake = in_doubt();
    let port = Port::admin(fake.clone()).await;
    let body = format!(r#"{{"as":"declined","by":"ann","why":"x"{}}}"#, " ".repeat(200_000));
    let head = format!(
        "POST /ops/abc/resolve HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // payonce may close, or reset, before all of it is written: then the answer may be lost.
    let written = stream.write_all(body.as_bytes()).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    let answered = String::from_utf8(answer).unwrap();
    let lost = answered.is_empty() && (written.is_err() || read.is_err());
    assert!(lost || status(&answered) == 400, "{answered}");
    assert_eq!(fake.held.lock().unwrap()["abc"].summary.state, State::InDoubt);
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let port = Port::admin(in_doubt()).await;
    for (line, expected) in [
        ("GET /", 404),
        ("GET /opsy", 404),
        ("GET /ops/abc/resolve/x", 404),
        ("POST /ops", 405),
        ("DELETE /ops/abc", 405),
        ("GET /ops/abc/resolve", 405),
        ("GET /ops/lookup", 405),
        ("GET /ops/search", 405),
        ("GET /ops/resolve", 405),
        ("POST /ops/search", 400),
        ("POST /ops/resolve", 400),
        ("GET /ops/a%2Fb", 400),
        ("GET /ops/", 400),
    ] {
        assert_eq!(port.ask(line, "").await.0, expected, "{line}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_told_as_such() {
    let port = Port::admin(Fake { down: true, ..in_doubt() }).await;
    let (status, body) = port.ask("GET /ops", "").await;
    assert_eq!(status, 503);
    assert!(body.contains("the store did not answer"), "{body}");
}

#[tokio::test]
async fn a_slow_head_is_cut_off_and_holds_nobody_up() {
    let port = Port::admin(in_doubt()).await;
    let slow = port.raw("GET /ops HTTP/1.1\r\nHost:");
    let (answer, quick) = tokio::join!(slow, port.ask("GET /ops", ""));
    assert_eq!(quick.0, 200);
    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn payonce_ops_lists_shows_and_resolves() {
    let port = Port::admin(in_doubt()).await;
    let list = port.ops(&["list"], TOKEN).await.unwrap();
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(
        list.contains("abc") && list.contains("in_doubt") && list.contains("500 usd"),
        "{list}"
    );
    let shown = port.ops(&["show", "--key", "key-abc"], TOKEN).await.unwrap();
    assert!(shown.contains("request     POST /v1/charges"), "{shown}");
    let resolve = ["resolve", "abc", "--as", "declined", "--by", "ann", "--why", "asked Stripe"];
    let after = port.ops(&resolve, TOKEN).await.unwrap();
    assert!(after.contains("resolved    ann: asked Stripe"), "{after}");
    let json = port.ops(&["show", "abc", "--json"], TOKEN).await.unwrap();
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["state"], "declined");
    let again = port.ops(&resolve, TOKEN).await.unwrap_err();
    assert_eq!(again.exit(), Exit::Failed);
    assert!(again.to_string().contains("nothing was changed"), "{again}");
}

#[tokio::test]
async fn a_word_of_which_nobody_knows_whether_it_is_written_has_an_exit_code_of_its_own() {
    const BY: [&str; 4] = ["--by", "ann", "--why", "asked Stripe"];
    let one = [&["resolve", "abc", "--as", "declined"][..], &BY].concat();
    let all = [&["resolve", "--rule", "charges", "--as", "declined", "--yes"][..], &BY].concat();
    let port = Port::admin(Fake { mute: true, ..in_doubt() }).await;
    let said = r#"{"as":"declined","by":"ann","why":"asked Stripe"}"#;
    let (status, body) = port.ask("POST /ops/abc/resolve", said).await;
    assert!(status == 504 && body.contains("\"unknown\""), "{status} {body}");
    for (line, look) in [(&one, "`payonce ops show abc`"), (&all, "`payonce ops show ID`")] {
        let unknown = port.ops(line, TOKEN).await.unwrap_err();
        assert_eq!((unknown.exit(), unknown.exit().code()), (Exit::Unknown, 75), "{unknown}");
        let said = unknown.to_string();
        assert!(said.contains("not known whether") && said.contains(look), "{said}");
    }
    // Likewise if payonce itself falls silent once it was told; a question is only not answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (until, _ended) = oneshot::channel();
    let silent = Port { address: listener.local_addr().unwrap(), _until: until };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let read = stream.read(&mut [0; 64]).await;
            drop((read, stream));
        }
    });
    for (line, exit) in [(&one[..], Exit::Unknown), (&all, Exit::Unknown)] {
        let failure = silent.ops(line, TOKEN).await.unwrap_err();
        assert_eq!(failure.exit(), exit, "{failure}");
        assert!(failure.to_string().contains("before you say it again"), "{failure}");
    }
    assert_eq!(silent.ops(&["list"], TOKEN).await.unwrap_err().exit(), Exit::Unavailable);
}

#[tokio::test]
async fn what_the_store_did_not_say_before_a_word_was_written_changed_nothing() {
    let port = Port::admin(Fake { down: true, ..in_doubt() }).await;
    let said = r#"{"as":"declined","by":"ann","why":"asked Stripe"}"#;
    let (status, body) = port.ask("POST /ops/abc/resolve", said).await;
    assert_eq!(status, 503);
    assert!(
        body.contains("the store did not answer") && body.contains("nothing was changed"),
        "{body}"
    );
}

#[tokio::test]
async fn payonce_ops_says_why_it_cannot_ask() {
    let port = Port::admin(in_doubt()).await;
    let wrong = port.ops(&["list"], "another-token-than-that").await.unwrap_err();
    assert!(wrong.to_string().contains("admin token"), "{wrong}");
    let bad = port.ops(&["show", "a/../b"], TOKEN).await.unwrap_err();
    assert!(bad.to_string().contains("letters, digits"), "{bad}");
    // A port that nobody has: bound, and let go.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (until, _ended) = oneshot::channel();
    let nobody = Port { address, _until: until };
    let refused = nobody.ops(&["list"], TOKEN).await.unwrap_err();
    assert_eq!(refused.exit(), Exit::Unavailable);
    assert!(refused.to_string().contains("is it running"), "{refused}");
}

#[tokio::test]
async fn the_health_port_tells_life_readiness_and_metrics_to_anybody() {
    let metrics = Metrics::new();
    metrics.row("A1");
    let port = Port::health(in_doubt(), metrics).await;
    let get =
        |path: &str| format!("GET {path} HTTP/1.1\r\nHost: 10.1.2.3\r\nConnection: close\r\n\r\n");
    let alive = port.raw(&get("/livez")).await;
    assert!(status(&alive) == 200 && alive.ends_with("alive\n"), "{alive}");
    let ready = port.raw(&get("/readyz")).await;
    assert!(status(&ready) == 200 && ready.ends_with("ready\nstore: ok\n"), "{ready}");
    let scraped = port.raw(&get("/metrics")).await;
    assert!(scraped.contains("payonce_decisions_total{row=\"A1\"} 1"), "{scraped}");
    assert!(scraped.contains("application/openmetrics-text; version=1.0.0"), "{scraped}");
    assert_eq!(status(&port.raw(&get("/ops")).await), 404);
    for method in ["POST", "DELETE", "PUT"] {
        assert_eq!(port.ask(&format!("{method} /readyz"), "").await.0, 405, "{method}");
    }
    assert_eq!(port.ask("HEAD /metrics", "").await, (200, String::new()));
}

#[tokio::test]
async fn what_is_not_ready_says_so_with_503() {
    let port = Port::health(Fake { down: true, ..Fake::default() }, Metrics::new()).await;
    let (status, body) = port.ask("GET /readyz", "").await;
    assert_eq!((status, body.as_str()), (503, "not ready\nstore: down\n"));
    assert_eq!(port.ask("GET /livez", "").await.0, 200);
}

#[tokio::test]
async fn a_port_that_closes_finishes_what_is_open_and_takes_nothing_new() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (until, ended) = oneshot::channel::<()>();
    let served = tokio::spawn(admin::health::serve(listener, in_doubt(), Metrics::new(), async {
        drop(ended.await);
    }));
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut start = [0; 12];
    idle.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    drop(until);
    tokio::time::timeout(Duration::from_secs(10), served).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"alive\n"));
}
