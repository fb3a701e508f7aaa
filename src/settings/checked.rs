//! From layers to [`Settings`]: ranges of each value, then what must hold between values.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use secrecy::SecretString;

use super::reader::Reader;
use super::{
    Admin, Limits, Listen, Log, LogFormat, LogLevel, Problem, Record, Retry, Settings, Shutdown,
    Store, StoreKind, Token, Upstream, credential, other_secrets, policy, store, webhook,
};
use crate::decide::shown::Shown;
use crate::finishing;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
/// SDKs give up after 80 s (FACTS §1.4), and the answer must still get there.
const LONGEST_DEADLINE: Duration = Duration::from_secs(78);
/// Nobody waits longer for a process that died.
const LONGEST_LEASE: Duration = Duration::from_mins(5);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// `sun_path` holds 108 bytes with its final zero.
const LONGEST_SOCKET_PATH: usize = 107;

/// Reads and checks everything.
pub(super) fn check(mut reader: Reader) -> Result<Settings, Vec<Problem>> {
    let settings = read(&mut reader);
    let problems = reader.finish();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// The settings as far as they can be read; only to be used if the reader found no problem.
pub(super) fn read(r: &mut Reader) -> Settings {
    let listen = listen(r);
    let store = stored(r);
    let mut settings = Settings {
        upstream: upstream(r),
        retry: retry(r),
        limits: limits(r),
        finishing: finishing::Limits {
            operations: number(r, "finishing.max_operations", 100_000),
            bytes: r.size("finishing.max_bytes", KIB..=GIB),
        },
        policy: policy::read(r),
        clients: super::clients::read(r),
        record: Record {
            path: r.path("record.path"),
            max_size: r.size("record.max_size", 64 * KIB..=GIB),
        },
        secret: r.secret("secret.file", "secret.value", 32),
        other_secrets: other_secrets::read(r),
        credential: credential::read(r),
        admin: admin(r, listen.admin, &store.path),
        webhook: webhook::webhook(r),
        metrics: super::metrics::read(r),
        log: log(r),
        tracing: super::traces::read(r),
        shutdown: Shutdown { drain: r.duration("shutdown.drain", Duration::ZERO..=HOUR) },
        warnings: Vec::new(),
        listen,
        store,
    };
    relations(r, &settings);
    other_secrets::relations(r, &settings);
    settings.warnings = warnings(r, &settings);
    settings
}

fn listen(r: &mut Reader) -> Listen {
    let listen = Listen {
        proxy: r.address("listen.proxy"),
        unix_socket: r.path("listen.unix_socket"),
        admin: r.address("listen.admin"),
        health: r.address("listen.health"),
        caller: caller(r),
    };
    if let Some(address) = listen.admin.filter(|address| !address.ip().is_loopback()) {
        r.refuse("listen.admin", format!("must be a loopback address, is {address}"));
    }
    if let Some(path) = &listen.unix_socket {
        let length = path.as_os_str().len();
        if length > LONGEST_SOCKET_PATH {
            let what = format!("must be at most {LONGEST_SOCKET_PATH} bytes, is {length}");
            r.refuse("listen.unix_socket", what);
        }
    }
    listen
}

fn caller(r: &mut Reader) -> Option<String> {
    const PATH: &str = "listen.caller";
    let name = r.optional(PATH, "a name, such as \"payments-worker\"")?;
    if name.len() > 64 || !name.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
        r.refuse(PATH, "must be at most 64 printable ASCII characters");
    }
    Some(name)
}

fn upstream(r: &mut Reader) -> Upstream {
    let api = origin(r, "upstream.api");
    Upstream {
        provider_host: provider_host(r, &api),
        api,
        files: origin(r, "upstream.files"),
        connect: origin(r, "upstream.connect"),
        meter_events: origin(r, "upstream.meter_events"),
        ca_file: ca_file(r, "upstream.ca_file"),
        egress_proxy: egress_proxy(r),
        connect_timeout: r.duration("upstream.connect_timeout", MS..=LONGEST_DEADLINE),
        idle_timeout: r.duration("upstream.idle_timeout", SECOND..=HOUR),
        max_connections_per_host: number(r, "upstream.max_connections_per_host", 65_536),
        http2: r.flag("upstream.http2"),
    }
}

fn stored(r: &mut Reader) -> Store {
    let kinds = [
        ("embedded", StoreKind::Embedded),
        ("memory", StoreKind::Memory),
        ("redis", StoreKind::Redis),
    ];
    Store {
        kind: r.choice("store.kind", &kinds),
        path: r.text("store.path", "a path").map(PathBuf::from).unwrap_or_default(),
        single_instance: r.flag("store.single_instance"),
        timeout: r.duration("store.timeout", MS..=LONGEST_DEADLINE),
        lease: r.duration("store.lease", SECOND..=LONGEST_LEASE),
        cache: r.size("store.cache", MIB..=64 * GIB),
        max_records: number(r, "store.max_records", 100_000_000),
        redis: store::redis(r),
    }
}

fn retry(r: &mut Reader) -> Retry {
    Retry {
        deadline: r.duration("retry.deadline", MS..=LONGEST_DEADLINE),
        attempt_timeout: r.duration("retry.attempt_timeout", MS..=LONGEST_DEADLINE),
        max_attempts: r.count("retry.max_attempts", 1..=20),
        backoff: r.duration("retry.backoff", MS..=LONGEST_DEADLINE),
        backoff_max: r.duration("retry.backoff_max", MS..=LONGEST_DEADLINE),
        budget_ratio: r.ratio("retry.budget_ratio", 0.0..=1.0),
        budget_per_second: r.ratio("retry.budget_per_second", 0.0..=1000.0),
    }
}

fn limits(r: &mut Reader) -> Limits {
    Limits {
        body: r.size("limits.body", KIB..=GIB),
        answer: r.size("limits.answer", KIB..=GIB),
        bytes_in_flight: r.size("limits.bytes_in_flight", KIB..=64 * GIB),
        connections: number(r, "limits.connections", 1_000_000),
        header_timeout: r.duration("limits.header_timeout", MS..=HOUR),
        idle_timeout: r.duration("limits.idle_timeout", MS..=24 * HOUR),
        body_timeout: r.duration("limits.body_timeout", MS..=HOUR),
        headers: number(r, "limits.headers", 1000),
        // hyper takes no smaller read buffer than 8 KiB.
        head_bytes: r.size("limits.head_bytes", 8 * KIB..=MIB),
        waiters: number(r, "limits.waiters", 65_536),
        operations: number(r, "limits.operations", 1_000_000),
    }
}

fn admin(r: &mut Reader, address: Option<SocketAddr>, store: &Path) -> Admin {
    let made = || {
        let port = address.map_or(0, |address| address.port());
        Token::Made(store.with_file_name(format!("payonce-admin-{port}.token")))
    };
    let given = r.secret("admin.token_file", "admin.token", 16);
    // A header carries it: only visible ASCII gets there as it was sent.
    if let Some(token) = &given
        && !token.expose().iter().all(u8::is_ascii_graphic)
    {
        let inline = r.is_set("admin.token");
        let path = if inline { "admin.token" } else { "admin.token_file" };
        r.refuse(path, "must be visible ASCII characters without spaces");
    }
    Admin { token: given.map_or_else(made, Token::Given) }
}

fn log(r: &mut Reader) -> Log {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("human", LogFormat::Human), ("json", LogFormat::Json)];
    Log { format: r.choice("log.format", &formats), level: r.choice("log.level", &levels) }
}

fn number(r: &mut Reader, path: &'static str, most: u32) -> usize {
    usize::try_from(r.count(path, 1..=most)).unwrap_or(usize::MAX)
}

/// Scheme, host and perhaps a port; handed back in lower case without a final slash.
fn origin(r: &mut Reader, path: &'static str) -> String {
    const FORM: &str = "scheme, host and perhaps a port, such as \"https://api.stripe.com\"";
    let Some(text) = r.text(path, FORM) else { return String::new() };
    let plain = text.parse::<Uri>().ok().filter(|uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().is_some_and(|host| !host.is_empty());
        scheme && host && uri.path() == "/" && uri.query().is_none() && port_fits(uri)
    });
    // A "user@" is not quoted back: a password may follow.
    if plain.is_none() || text.contains(['@', '#', '?']) {
        r.refuse(path, format!("must be {FORM}; no path, no user name"));
        return String::new();
    }
    text.trim_end_matches('/').to_lowercase()
}

/// Whether the port, if one is written, is one. (`http` accepts "host:" and "host:99999".)
fn port_fits(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else { return false };
    let written = authority.as_str().rsplit('@').next().unwrap_or_default();
    let after_host = written.strip_prefix(authority.host()).unwrap_or_default();
    after_host.is_empty() || uri.port_u16().is_some_and(|port| port != 0)
}

fn provider_host(r: &mut Reader, api: &str) -> String {
    const PATH: &str = "upstream.provider_host";
    if let Some(host) = r.optional(PATH, "a host name") {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if !host.chars().all(plain) {
            r.refuse(PATH, format!("must be a host name without scheme and port, is {host:?}"));
        }
        return host.to_lowercase();
    }
    let uri = api.parse::<Uri>().ok();
    uri.as_ref().and_then(Uri::host).unwrap_or_default().to_owned()
}

/// A bundle of certificates.
pub(super) fn ca_file(r: &mut Reader, name: &'static str) -> Option<PathBuf> {
    let path = r.path(name)?;
    match super::files::read(&path, 16 * MIB) {
        Ok(pem) if pem.windows(11).any(|window| window == b"-----BEGIN ") => {}
        Ok(_other) => r.refuse(name, format!("holds no PEM certificate: {}", path.display())),
        Err(error) => r.refuse(name, format!("cannot be read: {}: {error}", path.display())),
    }
    Some(path)
}

/// The value may hold a password: no message quotes it.
fn egress_proxy(r: &mut Reader) -> Option<SecretString> {
    const PATH: &str = "upstream.egress_proxy";
    const FORM: &str = "\"http://host:port\" or \"http://user:password@host:port\"";
    // Anything but text is refused without a look at what it is.
    let text = r.optional(PATH, FORM)?;
    let fits = text
        .parse::<Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.path() == "/" && port_fits(&uri));
    if !fits {
        r.refuse(PATH, format!("must be {FORM}; other characters than letters and digits in user and password as %xx"));
    }
    Some(SecretString::from(text))
}

/// What must hold between settings.
fn relations(r: &mut Reader, s: &Settings) {
    let no_longer = [
        ("retry.attempt_timeout", s.retry.attempt_timeout, "retry.deadline", s.retry.deadline),
        ("retry.backoff", s.retry.backoff, "retry.backoff_max", s.retry.backoff_max),
        ("retry.backoff_max", s.retry.backoff_max, "retry.deadline", s.retry.deadline),
        ("store.timeout", s.store.timeout, "retry.deadline", s.retry.deadline),
        (
            "store.connect_timeout",
            s.store.redis.connect_timeout,
            "retry.deadline",
            s.retry.deadline,
        ),
        (
            "upstream.connect_timeout",
            s.upstream.connect_timeout,
            "retry.attempt_timeout",
            s.retry.attempt_timeout,
        ),
    ];
    for (path, time, other, limit) in no_longer {
        let (shown, most) = (super::show_duration(time), super::show_duration(limit));
        let what = format!("must not be longer than {other} ({most}), is {shown}");
        r.require(path, &[other], time <= limit, what);
    }
    let held = s.limits.body.saturating_add(s.limits.answer);
    r.require(
        "limits.bytes_in_flight",
        &["limits.body", "limits.answer"],
        held <= s.limits.bytes_in_flight,
        format!(
            "must hold at least limits.body and limits.answer together ({}), is {}",
            size(held),
            size(s.limits.bytes_in_flight)
        ),
    );
    let reachable = s.listen.proxy.is_some() || s.listen.unix_socket.is_some();
    let nowhere = "is off, and no listen.unix_socket is set: nothing could reach payonce";
    r.require("listen.proxy", &["listen.unix_socket"], reachable, nowhere.to_owned());
    ports(r, s);
    policy::relations(r, &s.policy);
    webhook::relations(r, &s.webhook);
    if s.store.kind == StoreKind::Redis {
        store::relations(r, &s.store.redis);
    }
}

fn ports(r: &mut Reader, s: &Settings) {
    let listen = &s.listen;
    let all = [
        ("listen.proxy", listen.proxy),
        ("listen.admin", listen.admin),
        ("listen.health", listen.health),
        ("webhook.listen", s.webhook.listen),
    ];
    for (n, (path, address)) in all.iter().enumerate() {
        for (earlier, taken) in all.iter().take(n) {
            let (Some(address), Some(taken)) = (address, taken) else { continue };
            let what = format!("must not share its port with {earlier}, is {address}");
            r.require(path, &[earlier], !overlap(*address, *taken), what);
        }
    }
}

fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same
}

fn size(bytes: usize) -> String {
    super::show_size(u64::try_from(bytes).unwrap_or(u64::MAX))
}

/// What is allowed but should be said aloud at start.
fn warnings(r: &Reader, s: &Settings) -> Vec<Shown> {
    let exposed = s.listen.proxy.is_some_and(|address| !address.ip().is_loopback());
    let plain = [
        ("upstream.api", &s.upstream.api),
        ("upstream.files", &s.upstream.files),
        ("upstream.connect", &s.upstream.connect),
        ("upstream.meter_events", &s.upstream.meter_events),
    ];
    let known = [
        (s.policy.bypass, "policy.bypass is on: requests are passed on, nothing new is protected"),
        (s.store.kind == StoreKind::Memory, "store.kind is memory: degraded, forgets on restart"),
        (
            s.secret.is_none(),
            "secret is not set: keys are derived from each request's API key, which whoever knows it can do as well",
        ),
        (exposed, "listen.proxy is not loopback: API keys arrive over the network in plain text"),
        (
            s.shutdown.drain < s.retry.deadline,
            "shutdown.drain is shorter than retry.deadline: a shutdown can leave operations in doubt",
        ),
        (s.listen.admin.is_none(), "listen.admin is off: `payonce ops` cannot reach this process"),
    ];
    let mut said: Vec<String> =
        known.iter().filter(|(holds, _)| *holds).map(|(_, text)| (*text).to_owned()).collect();
    if s.store.kind == StoreKind::Redis {
        said.extend(store::warnings(&s.store.redis));
    }
    said.extend(credential::warnings(&s.credential, exposed));
    said.extend(webhook::warnings(&s.webhook));
    for (path, origin) in plain.iter().filter(|(_, origin)| origin.starts_with("http:")) {
        let from = r.origin(path);
        said.push(format!("{path} is {origin} (from {from}): API keys leave in plain text"));
    }
    said.into_iter().map(Shown::from).collect()
}
