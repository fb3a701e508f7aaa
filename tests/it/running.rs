//! The real binary as a process, and a client that writes and reads bytes. Every process has a
//! directory of its own, takes free ports, and is killed with its test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests may fail the test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::log_schema;

/// Long enough for a busy machine; a test that reaches it has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) const API_KEY: &str = "sk_test_of_this_test_alone";
pub(crate) const TOKEN: &str = "a-token-of-the-tests-own";

/// What every payonce of a test is set to, unless the test says otherwise.
const SETTINGS: [(&str, &str); 7] = [
    ("PAYONCE_LISTEN__PROXY", "127.0.0.1:0"),
    ("PAYONCE_LISTEN__ADMIN", "127.0.0.1:0"),
    ("PAYONCE_LISTEN__HEALTH", "127.0.0.1:0"),
    ("PAYONCE_ADMIN__TOKEN", TOKEN),
    ("PAYONCE_LOG__FORMAT", "json"),
    ("PAYONCE_RETRY__BACKOFF", "1ms"),
    ("PAYONCE_RETRY__BACKOFF_MAX", "1ms"),
];

fn command(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_payonce"));
    command.args(args).current_dir(directory).env_clear();
    command.envs(SETTINGS).envs(env.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command that ends by itself.
pub(crate) fn run(args: &[&str], env: &[(&str, &str)]) -> Ended {
    run_in(tempfile::tempdir().unwrap().path(), args, env)
}

/// Likewise, in a directory of the test's.
pub(crate) fn run_in(directory: &Path, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let child = command(directory, args, env).spawn().unwrap();
    let pid = child.id();
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(LONG) {
        Ok(output) => Ended::from(output.unwrap()),
        Err(_slow) => {
            signal(pid, "KILL");
            panic!("{args:?} did not end");
        }
    }
}

/// How a process ended and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// It ended with `code`, and standard error says all of `words`.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in\n{}", self.err);
        }
    }
}

/// A payonce that serves.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    heard: Mutex<Vec<String>>,
    /// Goes after the process.
    _directory: Arc<TempDir>,
}

impl Running {
    /// `payonce serve …`, once it says that it is set up.
    pub(crate) fn serve(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::serve_in(Arc::new(tempfile::tempdir().unwrap()), args, env)
    }

    /// Likewise, in a directory of the test's.
    pub(crate) fn serve_in(directory: Arc<TempDir>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let this = Self::start(directory, &[&["serve"], args].concat(), env);
        this.line("policy is in force");
        this
    }

    /// Any command that goes on until it is told to stop.
    pub(crate) fn start(directory: Arc<TempDir>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut child = command(directory.path(), args, env).spawn().unwrap();
        let (sender, lines) = channel();
        tell(child.stderr.take().unwrap(), sender.clone());
        tell(child.stdout.take().unwrap(), sender);
        Self { child, lines, heard: Mutex::default(), _directory: directory }
    }

    /// The first line of its output that contains `what`, now or soon.
    pub(crate) fn line(&self, what: &str) -> String {
        self.hear(what).unwrap_or_else(|heard| panic!("no {what:?} in\n{}", heard.join("\n")))
    }

    /// Whether it says `what` before it ends.
    #[cfg(feature = "seams")]
    pub(crate) fn says(&self, what: &str) -> bool {
        self.hear(what).is_ok()
    }

    /// A line, or all that was heard instead.
    fn hear(&self, what: &str) -> Result<String, Vec<String>> {
        let mut heard = self.heard.lock().unwrap();
        if let Some(line) = heard.iter().find(|line| line.contains(what)) {
            return Ok(line.clone());
        }
        let until = Instant::now() + LONG;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    log_schema::check(&line);
                    heard.push(line.clone());
                    if line.contains(what) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(heard.clone());
                }
            }
        }
    }

    /// The address in the start-up line that says `what`.
    fn address(&self, what: &str) -> SocketAddr {
        let line: Value = serde_json::from_str(&self.line(what)).unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        self.address("proxy listens")
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.address("admin listens")
    }

    pub(crate) fn health(&self) -> SocketAddr {
        self.address("health and metrics listen")
    }

    /// The sandbox within.
    pub(crate) fn sandbox(&self) -> SocketAddr {
        self.address("stands in for Stripe")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end: the exit code, and all it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, Vec<String>) {
        let until = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
                // Its ends of the pipes are closed, so that this comes to an end too.
                heard.extend(self.lines.iter().inspect(|line| log_schema::check(line)));
                return (status.code(), heard);
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Hands on each line of `pipe`.
fn tell(pipe: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            // A test that has heard enough no longer listens; the pipe is emptied all the same.
            let Ok(line) = line else { return };
            drop(sender.send(line));
        }
    });
}

pub(crate) fn signal(pid: u32, name: &str) {
    let done = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(done.unwrap().success());
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// It is a refusal in Stripe's shape, with this code, and says what it means for the money.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, words: &str) {
        let error = &self.json()["error"];
        let seen = (self.status, error["code"].as_str());
        assert_eq!(seen, (status, Some(code)), "{self:?}");
        assert!(error["type"].is_string() && self.field("request-id").is_some(), "{self:?}");
        assert!(error["message"].as_str().unwrap().contains(words), "{self:?}");
        assert!(self.field("stripe-should-retry").is_some(), "{self:?}");
    }
}

/// Sends one request on a stream of its own and reads the answer to its end.
pub(crate) fn ask<S: Read + Write>(
    mut stream: S,
    line: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let fields = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    let fields: Vec<String> = fields.collect();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
        fields.concat(),
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head[9..12].parse().unwrap();
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunked(mut text: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&rest[..length]);
        text = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, LONG).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

pub(crate) fn get(to: SocketAddr, path: &str) -> Answer {
    ask(connect(to), &format!("GET {path}"), &[], "")
}

/// Waits until `GET path` is answered as `wanted`.
pub(crate) fn until(to: SocketAddr, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + LONG;
    loop {
        let answer = get(to, path);
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{path} stays {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A form, with an API key.
pub(crate) fn post(to: SocketAddr, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {API_KEY}");
    let all = [&form(&bearer)[..], fields].concat();
    ask(connect(to), &format!("POST {path}"), &all, body)
}

pub(crate) fn form(bearer: &str) -> [(&str, &str); 2] {
    [("Authorization", bearer), ("Content-Type", "application/x-www-form-urlencoded")]
}

/// A charge that the sandbox grants.
pub(crate) const CHARGE: &str = "amount=500&currency=usd&source=tok_visa";

/// How much happened at the sandbox.
pub(crate) fn effects(sandbox: SocketAddr) -> usize {
    let count = get(sandbox, "/_sandbox/effects").json()["count"].as_u64();
    usize::try_from(count.unwrap()).unwrap()
}

/// Plans a fault for the next request at the sandbox.
pub(crate) fn fault(sandbox: SocketAddr, fault: &Value) {
    let json = [("Content-Type", "application/json")];
    let answer = ask(connect(sandbox), "POST /_sandbox/faults", &json, &fault.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// A file of a test's.
pub(crate) fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}
